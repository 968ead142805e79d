"""What a provider row and its dialect must be like together."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from django_oauth_flows.protocol.placeholders import decides_domain, decides_host, fill, placeholders, runtime_names
from django_oauth_flows.protocol.urls import check_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.utils.functional import _StrOrPromise as StrOrPromise

    from django_oauth_flows.models.provider import Provider
    from django_oauth_flows.protocol.dialect import Dialect

VARIABLES = {"userinfo_endpoint": ("access_token", "client_id", "kept"), "api_base_url": ("kept",)}
"""Addresses that may have variables in them, and which."""

_PLAIN_ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "pushed_authorization_request_endpoint",
    "temporary_credential_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
)
_REUSABLE = frozenset(
    {"email", "emailaddress", "mail", "upn", "preferredusername", "username", "login", "screenname", "nickname", "name",
     "displayname"}
)  # fmt: skip
_PATHS = r"\{([^{}]+)\}"


def sample_of(template: str) -> str:
    """Return an address with something harmless for each variable, so that its shape can be checked."""
    start = "https://x.example" if template.startswith("{kept.") else ""
    rest = template.partition("}")[2] if start else template
    return start + re.sub("|".join(re.escape("{" + name + "}") for name in runtime_names(rest)) or "(?!)", "x", rest)


def names_a_person(path: str) -> bool:
    """Tell whether a path leads to what people may change, and others may get after them: never the key of an account."""
    return re.split(r"[./]", path)[-1].lower().replace("_", "").replace("-", "") in _REUSABLE


def secrets_in_query(provider: Provider) -> bool:
    """Tell whether tokens or the client's secret travel in addresses, which servers and proxies write down."""
    if not isinstance(provider.dialect, dict):
        return False
    dialect = provider.dialect
    in_query = dialect.get("token_request_method") == "GET" or dialect.get("refresh_request_method") == "GET"
    return in_query or dialect.get("token_request_format") == "query" or bool(dialect.get("api_token_parameter"))


def signs_for_endpoint(provider: Provider) -> bool:
    """Tell whether client assertions name the token endpoint, which another server can name as well, and not the issuer."""
    asserts = provider.token_endpoint_auth_method in (
        provider.AuthMethod.SECRET_JWT,
        provider.AuthMethod.PRIVATE_KEY_JWT,
    )
    audience = provider.dialect.get("client_assertion_audience") if isinstance(provider.dialect, dict) else None
    return asserts and audience == "token_endpoint"


def dialect_problems(provider: Provider) -> Iterator[tuple[str, StrOrPromise]]:
    """Yield what the dialect and the row's columns say together that could not work or would be unsafe."""
    from django_oauth_flows.protocol.dialect import Dialect  # not needed to load the models

    with suppress(ValueError, TypeError):  # said elsewhere
        dialect = Dialect.from_json(provider.dialect)
        yield from _variables(provider, dialect)
        yield from _endpoints(provider, dialect)
        yield from _bound_tokens(provider, dialect)
        if any(names_a_person(path) for path in re.findall(_PATHS, dialect.subject_template)):
            yield "dialect", _("An e-mail address or user name can be given to somebody else: name a lasting id.")


def _variables(provider: Provider, dialect: Dialect) -> Iterator[tuple[str, StrOrPromise]]:
    kept = {f"kept.{name}" for name in (*dialect.kept_token_fields, *dialect.kept_callback_parameters)}
    for name in (*_PLAIN_ENDPOINTS, *VARIABLES):
        url = getattr(provider, name)
        for variable in runtime_names(url):
            if variable.partition(".")[0] not in VARIABLES.get(name, ()):
                yield name, _("This address cannot have {%(name)s} in it.") % {"name": variable}
            elif variable.startswith("kept.") and variable not in kept:
                yield name, _("{%(name)s} is not listed among what the dialect keeps.") % {"name": variable}
        host = url.partition("://")[2].partition("/")[0]
        if decides_host(url) and not dialect.api_host_patterns:
            yield name, _("The service would decide which host receives tokens: list api_host_patterns in the dialect.")
        if any(not variable.startswith("kept.") for variable in runtime_names(host)):
            yield name, _("A token must not stand in the name of a host.")


def _bound_tokens(provider: Provider, dialect: Dialect) -> Iterator[tuple[str, StrOrPromise]]:
    elsewhere = dialect.api_token_header or dialect.api_token_parameter or dialect.userinfo_auth_scheme
    if provider.dpop_bound_access_tokens and (elsewhere or dialect.api_auth_scheme != "Bearer"):
        yield (
            "dpop_bound_access_tokens",
            _("A token that is bound to a key stands behind the word DPoP (RFC 9449), not where the dialect puts it."),
        )


def _endpoints(provider: Provider, dialect: Dialect) -> Iterator[tuple[str, StrOrPromise]]:
    """Check what receives refresh tokens and the client's secret as the row's own endpoints are checked."""
    filled = provider.parameters if isinstance(provider.parameters, dict) else {}
    for key, url in dialect.endpoints.items():
        names = placeholders(url)
        try:
            check_endpoint(fill(url, dict.fromkeys(names, "x") | filled), internal=provider.internal)
        except ValueError as problem:
            yield "dialect", f"{key}: {problem}"
        if set(decides_domain(url)) - set(filled):
            yield (
                "dialect",
                _("%(key)s: fill the placeholder in yourself: it decides which domain receives secrets.")
                % {"key": key},
            )
