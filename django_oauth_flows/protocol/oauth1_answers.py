"""Read what OAuth 1.0a credential endpoints answer: form members, and the errors that no RFC describes. RFC 5849 §2."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from django_oauth_flows.exceptions import ProviderUnreachable, TokenEndpointError
from django_oauth_flows.protocol.clocks import HINT, suspect_clock
from django_oauth_flows.protocol.parsing import excerpt, parse_retry_after, suspected
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.tokens import is_token

if TYPE_CHECKING:
    from django_oauth_flows.protocol.transport import ProtocolResponse

CLOCK_PROBLEMS = frozenset({"timestamp_refused", "nonce_used"})
CLIENT_PROBLEMS = frozenset(
    {"consumer_key_unknown", "consumer_key_rejected", "consumer_key_refused", "signature_invalid"}
)


def read_members(response: ProtocolResponse) -> list[tuple[str, str]]:
    """Return the form members of a credential response, none of the protocol's twice."""
    try:
        members = parse_qsl(
            response.body.decode().strip(), keep_blank_values=True, strict_parsing=True, max_num_fields=100
        )
    except ValueError:
        raise TokenEndpointError("The service's answer is not what OAuth prescribes.", status=response.status) from None
    names = [name for name, _ in members if name.startswith("oauth_") and name != "oauth_callback_confirmed"]
    if len(names) != len(set(names)):
        raise TokenEndpointError("The service's answer contains a parameter twice.", status=response.status)
    return members


def read_pair(members: list[tuple[str, str]]) -> tuple[Secret, Secret]:
    """Return a token and its secret; raise :class:`TokenEndpointError` (``bad_response``) without."""
    values = dict(members)
    token, token_secret = values.get("oauth_token", ""), values.get("oauth_token_secret", "")
    if not is_token(token) or not is_token(token_secret):
        raise TokenEndpointError("The service's answer contains no usable token and secret.")
    return Secret(token), Secret(token_secret)


def problem_of(response: ProtocolResponse) -> str:
    """Return the ``oauth_problem`` that the answer names, in its body or its challenge, "" if none."""
    text = response.body[:2000].decode("utf-8", "replace")
    if "oauth_problem=" not in text:
        text = response.headers.get("www-authenticate", "").replace('"', "").replace(",", "&").replace(" ", "&")
    problem = dict(parse_qsl(text[:2000])).get("oauth_problem", "")
    return excerpt(problem, length=100)


def raise_for_problem(response: ProtocolResponse) -> None:
    """Raise if the answer is an error, in whichever way it says so."""
    status, problem = response.status, problem_of(response)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = parse_retry_after(response.headers.get("retry-after", ""))
        raise ProviderUnreachable("The service cannot answer just now.", status=status, retry_after=wait)
    if problem in CLOCK_PROBLEMS:
        raise TokenEndpointError(
            "The service refuses the time or the number of our request.",
            code="clock_refused",
            hint=HINT,
            error=problem,
            status=status,
        )
    if problem or status >= HTTPStatus.BAD_REQUEST:
        raise _refusal(response, problem)


def _refusal(response: ProtocolResponse, problem: str) -> TokenEndpointError:
    refused = problem in CLIENT_PROBLEMS or (response.status == HTTPStatus.UNAUTHORIZED and not problem)
    code = "invalid_client" if refused else "provider_error" if problem else "bad_response"
    error = TokenEndpointError("The service refused the request.", code=code, error=problem, status=response.status)
    error.suspect = suspected(response.body[:1000].decode("utf-8", "replace"), response.status)
    if not problem:  # most servers that refuse a timestamp do not say that it was for that
        suspect_clock(error, response)
    return error
