"""Keep the loggers of the libraries below us from printing secrets, whatever level the site sets."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

QUIET = ("oauthlib", "requests_oauthlib")
"""Loggers that print tokens, codes and client secrets at DEBUG: INFO, unless the site has set a level."""

SIGNING = (
    "oauthlib",
    "oauthlib.oauth1.rfc5849",
    "oauthlib.oauth1.rfc5849.signature",
    "requests_oauthlib.oauth1_auth",
    "requests_oauthlib.oauth1_session",
    "requests_oauthlib.oauth2_session",
)
"""Every logger of those libraries' client side. A filter holds for one logger, not for those below it."""

CARRYING = (
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)
"""Loggers that print URLs: a query may hold an OAuth 1.0a signature, which for PLAINTEXT is the secrets themselves."""

REDACTED = "(redacted)"

_QUERY = re.compile(r"\?[^\s'\">]*")
_LONG_STEP = re.compile(r"(?<!/)/[^/?\s'\">]{25,}")
_LONG_WORD = re.compile(r"\S{25,}")
_HARMLESS = (bool, int, float, type(None))


class RedactValues(logging.Filter):
    """Keep what a record says, drop every value it says it about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact ``record`` in place; always let it pass."""
        if record.args:
            record.args = _map(_redacted, record.args)
        elif isinstance(record.msg, str):
            # Formatted before it was logged ("Collected params: …"): what precedes the colon is the library's own text.
            said, colon, _ = record.msg.partition(":")
            record.msg = _LONG_WORD.sub(REDACTED, said) + (f": {REDACTED}" if colon else "")
        else:
            record.msg = REDACTED
        return True


class RedactQueries(logging.Filter):
    """Keep where a request went, drop the query of its URL, and steps of its path that are long enough to be tokens."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact ``record`` in place; always let it pass."""
        if record.args:
            record.args = _map(_without_query, record.args)
        return True


def protect() -> None:
    """Install the filters, and quieten what the site has not configured. Doing it twice changes nothing."""
    for name in QUIET:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.INFO)
    for names, redaction in ((SIGNING, _VALUES), (CARRYING, _QUERIES)):
        for name in names:
            logging.getLogger(name).addFilter(redaction)


def _map(change: Callable[[object], object], args: object) -> tuple[object, ...] | dict[str, object]:
    """Apply ``change`` to every argument that is not a number."""
    if isinstance(args, dict):
        return {key: value if isinstance(value, _HARMLESS) else change(value) for key, value in args.items()}
    values = args if isinstance(args, tuple) else (args,)
    return tuple(value if isinstance(value, _HARMLESS) else change(value) for value in values)


def _redacted(value: object) -> object:
    return REDACTED


def _without_query(value: object) -> object:
    return _LONG_STEP.sub(f"/{REDACTED}", _QUERY.sub(f"?{REDACTED}", str(value)))


_VALUES, _QUERIES = RedactValues(), RedactQueries()
