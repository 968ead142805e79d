"""What a failed call says: its kind, the host and the cause, and nothing of what was sent.

The errors of ``requests`` and ``urllib3`` quote URLs, whose query may hold an OAuth 1.0a signature (for PLAINTEXT the
secrets themselves), and their frames hold headers. Error mails and trackers print both.
"""

from __future__ import annotations

from ssl import SSLCertVerificationError
from urllib.parse import urlsplit

import requests

from django_oauth_flows.exceptions import RequestBlocked

_DEPTH = 8
"""Causes of causes that are looked at; chains may be circular."""


class FailedRequest(requests.Request):
    """What an error tells of its request: method and address, without query, headers and body."""


def presentable(error: Exception, *, method: str | None, url: str | None) -> Exception:
    """Return the error to raise instead: the same kind, without URL query, secrets, frames and causes.

    Raise it after the ``except`` block, or Python ties the original to it again.
    """
    if isinstance(error, UnicodeError):
        error = RequestBlocked("The request contains characters that may not be sent.", code="header_not_allowed")
    elif isinstance(error, requests.RequestException) and not isinstance(error.request, FailedRequest):
        address = str(url).partition("?")[0].partition("#")[0]
        error.args = (f"The call to {urlsplit(address).netloc} failed: {_reason(error)}.",)
        error.request = FailedRequest(method, address)
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _reason(error: requests.RequestException) -> str:
    """Name the cause in words that no peer can choose."""
    if error.response is not None:
        return f"{type(error).__name__}, status {error.response.status_code}"
    root: BaseException = error
    for _ in range(_DEPTH):
        root = root.__cause__ or root.__context__ or root
    return root.verify_message if isinstance(root, SSLCertVerificationError) else type(root).__name__
