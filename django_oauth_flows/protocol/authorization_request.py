"""The authorization request in a server's own dialect: other names, raw values, a fragment. RFC 6749 §4.1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_oauth_flows.protocol.dialect import Dialect
    from django_oauth_flows.protocol.messages import Params
    from django_oauth_flows.protocol.secret import Secret

_RAW = "!$'()*+,-./:;=?@_~"
"""What may stand in a query as it is and ends neither a parameter nor the query. RFC 3986 §3.4."""


def redirect_uri_of(redirect_uri: str, state: Secret | None, dialect: Dialect) -> str:
    """Return the redirect URI as it is sent: with the state in its query where the server would drop it otherwise."""
    if not dialect.state_in_redirect_uri or state is None:
        return redirect_uri
    return f"{redirect_uri}?{urlencode({'state': state.reveal()})}"


def scope_parameters(scopes: Sequence[str], separator: str, dialect: Dialect) -> dict[str, str]:
    """Return the scope parameter, and the second one where a server has one; without those that are empty."""
    wanted = tuple(dict.fromkeys([*scopes, *dialect.refresh_scopes]))
    second = dialect.second_scope_parameter
    if not second:
        return {"scope": separator.join(wanted)} if wanted else {}
    prefix = f"{second}:"
    groups = {
        "scope": [scope for scope in wanted if not scope.startswith(prefix)],
        second: [scope.removeprefix(prefix) for scope in wanted if scope.startswith(prefix)],
    }
    return {name: separator.join(group) for name, group in groups.items() if group}


def beyond(url: str, page: str) -> list[tuple[str, str]]:
    """Return the parameters of an authorization URL that are not the page's own."""
    own = len(parse_qsl(urlsplit(page).query, keep_blank_values=True))
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)[own:]


def referring(page: str, parameters: Params) -> str:
    """Return the page's URL with these parameters alone."""
    return f"{page}{'&' if urlsplit(page).query else '?'}{urlencode(parameters)}"


def parameters_in_dialect(parameters: Params, dialect: Dialect) -> list[tuple[str, str]]:
    """Return the parameters of an authorization request, named as in the RFC, by the server's names and values."""
    found = []
    for name, value in parameters:
        text = dialect.response_type if name == "response_type" else value
        if text or name != "response_type":
            found.append((_name(name, dialect), text))
    return found


def _name(name: str, dialect: Dialect) -> str:
    return dict(dialect.authorization_parameter_names).get(name, name)


def in_dialect(url: str, endpoint: str, dialect: Dialect) -> str:
    """Return an authorization request, as the RFC has it, in the dialect; ``endpoint`` is what it was built on."""
    if not _deviates(dialect):
        return url
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    own = len(parse_qsl(urlsplit(endpoint).query, keep_blank_values=True))
    raw = {_name(name, dialect) for name in dialect.unquoted_parameters}
    query = [urlencode([pair]) for pair in pairs[:own]]
    query += [
        f"{quote_plus(name)}={quote(value, safe=_RAW) if name in raw else quote_plus(value)}"
        for name, value in parameters_in_dialect(pairs[own:], dialect)
    ]
    text = "&".join(query)
    if dialect.authorization_route:
        return f"{SplitResult(parts.scheme, parts.netloc, parts.path, '', '').geturl()}#{dialect.authorization_route}?{text}"
    return SplitResult(parts.scheme, parts.netloc, parts.path, text, dialect.authorization_fragment).geturl()


def _deviates(dialect: Dialect) -> bool:
    return (
        bool(dialect.authorization_parameter_names)
        or dialect.response_type != "code"
        or bool(dialect.unquoted_parameters)
        or bool(dialect.authorization_fragment or dialect.authorization_route)
    )
