"""What a provider row must be like: every rule names the field that breaks it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.models.provider_dialect_rules import (
    dialect_problems,
    names_a_person,
    sample_of,
    secrets_in_query,
    signs_for_endpoint,
)
from django_oauth_flows.protocol.endpoints import check_authorization_query
from django_oauth_flows.protocol.placeholders import decides_domain, fill, placeholders
from django_oauth_flows.protocol.urls import check_endpoint, check_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.utils.functional import _StrOrPromise as StrOrPromise

    from django_oauth_flows.models.provider import Provider

Problem = tuple[str, "StrOrPromise"]
"""Field name and message."""

ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "pushed_authorization_request_endpoint",
    "temporary_credential_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
)

CREDENTIALED_ENDPOINTS = (
    "token_endpoint",
    "pushed_authorization_request_endpoint",
    "temporary_credential_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "userinfo_endpoint",
    "api_base_url",
)
"""URLs that receive the client secret or a token: pointing one at another host demands the secret again."""


TEN_YEARS = 10 * 366 * 24 * 60 * 60
"""The longest time that a column in seconds may name: nothing that lives longer would tell, and later moments overflow."""

_SCOPE = r"[!#-\[\]-~]+"  # RFC 6749 §3.3, scope-token


def problems(provider: Provider) -> Iterator[Problem]:
    """Yield everything that could not work or would be unsafe."""
    for rule in (
        _parameters,
        _urls,
        _redirect_base_url,
        _api_hosts,
        _delegated_calls,
        _scopes,
        _dialect,
        dialect_problems,
        _oauth1,
        _assertions,
        _issuer,
        _identity,
        _placeholders,
        _timing,
    ):
        yield from rule(provider)


def odd_scopes(scopes: Iterable[str]) -> list[str]:
    """Return what no provider can have meant as a scope."""
    return [scope for scope in scopes if not re.fullmatch(_SCOPE, scope)]


def dangers(provider: Provider) -> list[str]:
    """Return which dangerous settings the row has, each by a short name."""
    oauth1 = provider.protocol == provider.Protocol.OAUTH1
    switched_on = {
        "no_pkce": not oauth1 and provider.code_challenge_method == provider.CodeChallengeMethod.OFF,
        "plain_pkce": not oauth1 and provider.code_challenge_method == provider.CodeChallengeMethod.PLAIN,
        "internal": provider.internal,
        "endpoint_audience": signs_for_endpoint(provider),
        "plaintext": oauth1 and provider.signature_method == provider.SignatureMethod.PLAINTEXT,
        "raw_basic_auth": bool(_said(provider, "raw_basic_auth")),
        "unverified_id_tokens": not oauth1 and "openid" in provider.scopes and not _verifies_id_tokens(provider),
    }
    switched_on["secrets_in_query"] = not oauth1 and secrets_in_query(provider)
    return [name for name, is_on in switched_on.items() if is_on]


def open_parameters(provider: Provider) -> tuple[str, ...]:
    """Return the placeholders in the provider's addresses that the user has to fill in, such as a shop's name."""
    from django_oauth_flows.protocol.dialect import Dialect  # not needed to load the app

    addresses = [getattr(provider, name) for name in (*ENDPOINTS, "api_base_url")]
    with suppress(ValueError, TypeError):  # said where they are used
        addresses += [host for host in provider.api_hosts if isinstance(host, str)]
        addresses += Dialect.from_json(provider.dialect).templates
    names = dict.fromkeys(name for address in addresses for name in placeholders(address))
    return tuple(name for name in names if name not in _filled(provider))


def _parameters(provider: Provider) -> Iterator[Problem]:
    if _filled(provider) != provider.parameters:
        yield "parameters", _("Must be an object whose values are texts.")


def _filled(provider: Provider) -> dict[str, str]:
    """Return what staff have filled into placeholders; whatever else a JSON column can hold is nothing."""
    entered = provider.parameters
    if not isinstance(entered, dict):
        return {}
    return {name: value for name, value in entered.items() if isinstance(value, str)}


def _urls(provider: Provider) -> Iterator[Problem]:
    for name in (*ENDPOINTS, "api_base_url"):
        value = getattr(provider, name)
        try:
            if value:
                sample = fill(sample_of(value), dict.fromkeys(placeholders(value), "x") | _filled(provider))
                check_endpoint(sample, internal=provider.internal)
                if name == "authorization_endpoint":
                    check_authorization_query(sample)
        except ValueError as problem:
            yield name, str(problem)
    for name in ("console_url", "account_url"):
        if (value := getattr(provider, name)) and not value.startswith("https://"):
            yield name, _("Only https URLs are allowed.")


def _redirect_base_url(provider: Provider) -> Iterator[Problem]:
    """Demand an origin; what comes back to it is a code, so plain http is for this machine and for development."""
    scheme, _separator, rest = provider.redirect_base_url.rstrip("/").partition("://")
    if not scheme:
        return
    try:
        origin = check_endpoint(f"https://{rest}")
    except ValueError as problem:
        yield "redirect_base_url", str(problem)
        return
    if any(mark in rest for mark in "/?"):
        yield "redirect_base_url", _("Scheme and host only, without a path: https://your.site")
    may_be_plain = origin.is_loopback or provider.internal or django_settings.DEBUG
    if scheme != "https" and not (scheme == "http" and may_be_plain):
        yield "redirect_base_url", _("Only https URLs are allowed.")


def _scopes(provider: Provider) -> Iterator[Problem]:
    for name in ("scopes", "allowed_scopes", "required_scopes"):
        if odd_scopes(getattr(provider, name)):
            yield name, _("A scope is printable ASCII without quotes and backslashes (RFC 6749 §3.3).")
    if not (provider.scope_separator.isascii() and provider.scope_separator.isprintable()):
        yield "scope_separator", _("The separator is one printable ASCII character.")
    described = provider.scope_descriptions
    if not isinstance(described, dict) or not all(map(_is_description, described.values())):
        yield "scope_descriptions", _('Must be like {"repo": "read your code"} or {"repo": {"en": "read your code"}}.')


def _is_description(value: object) -> bool:
    """Tell whether it is a text, or texts by language."""
    texts = value.values() if isinstance(value, dict) else [value]
    return bool(texts) and all(isinstance(text, str) and text.strip() for text in texts)


def _api_hosts(provider: Provider) -> Iterator[Problem]:
    hosts = provider.api_hosts if isinstance(provider.api_hosts, list) else [None]
    for host in hosts:
        try:
            check_host(host)
        except ValueError as problem:
            yield "api_hosts", str(problem)


def _delegated_calls(provider: Provider) -> Iterator[Problem]:
    from django_oauth_flows.protocol.delegation import read_rule  # not needed to load the models

    rules = provider.delegated_calls if isinstance(provider.delegated_calls, list) else [None]
    for rule in rules:
        try:
            read_rule(rule)
        except ValueError as problem:
            yield "delegated_calls", str(problem)
    if rules and not provider.api_base_url:
        yield "api_base_url", _("Needed: delegated calls are made below it.")


def _dialect(provider: Provider) -> Iterator[Problem]:
    from django_oauth_flows.protocol.dialect import Dialect  # not needed to load the models

    try:
        Dialect.from_json(provider.dialect)
    except (ValueError, TypeError) as problem:
        yield "dialect", str(problem)


def _oauth1(provider: Provider) -> Iterator[Problem]:
    if provider.protocol != provider.Protocol.OAUTH1:
        return
    for name in ("authorization_endpoint", "temporary_credential_endpoint"):
        if not getattr(provider, name):
            yield name, _("OAuth 1.0a needs this endpoint.")
    if provider.dpop_bound_access_tokens:
        yield "dpop_bound_access_tokens", _("OAuth 1.0a signs every request with the token's secret already.")
    if provider.signature_method != provider.SignatureMethod.PLAINTEXT:
        return
    for name in ("temporary_credential_endpoint", "token_endpoint", "api_base_url"):
        if getattr(provider, name).lower().startswith("http:"):
            yield name, _("PLAINTEXT signatures are only allowed over https (RFC 5849 §3.4.4).")


def _assertions(provider: Provider) -> Iterator[Problem]:
    if _asserts_for_issuer(provider) and not provider.issuer:
        yield "issuer", _("Needed: a client assertion is made for the issuer alone (RFC 7523).")
    if _said(provider, "request_object_signing_alg") and not provider.issuer:
        yield "issuer", _("Needed: requests are signed for the issuer alone (RFC 9101).")
    modes = provider.ResponseMode
    if provider.response_mode not in (modes.JWT, modes.QUERY_JWT, modes.FORM_POST_JWT):
        return
    for name in ("issuer", "jwks_uri"):
        if not getattr(provider, name):
            yield name, _("Needed to verify signed answers.")
    if provider.protocol != provider.Protocol.OAUTH2:
        yield "response_mode", _("OAuth 1.0a has no signed answers.")


def _asserts_for_issuer(provider: Provider) -> bool:
    methods = (provider.AuthMethod.SECRET_JWT, provider.AuthMethod.PRIVATE_KEY_JWT)
    audience = _said(provider, "client_assertion_audience") or "issuer"
    return provider.token_endpoint_auth_method in methods and audience == "issuer"


def _issuer(provider: Provider) -> Iterator[Problem]:
    """Refuse an issuer that something depends on and nobody fills in: users are asked for what is in addresses."""
    needed = (
        _verifies_id_tokens(provider)
        or _asserts_for_issuer(provider)
        or _said(provider, "request_object_signing_alg")
        or provider.authorization_response_iss_parameter_supported
    )
    try:
        if needed:
            fill(provider.issuer, dict.fromkeys(open_parameters(provider), "x") | _filled(provider))
    except ValueError as problem:
        yield "issuer", str(problem)


def _identity(provider: Provider) -> Iterator[Problem]:
    if provider.identity_source != provider.IdentitySource.NONE and names_a_person(provider.subject_path):
        yield "subject_path", _("An e-mail address or user name can be given to somebody else: name a lasting id.")
    if provider.identity_source == provider.IdentitySource.USERINFO and not provider.userinfo_endpoint:
        yield "userinfo_endpoint", _("Needed to read the account's identity.")
    if provider.identity_source != provider.IdentitySource.ID_TOKEN:
        return
    for name in ("issuer", *(() if _has_shared_key(provider) else ("jwks_uri",))):
        if not getattr(provider, name):
            yield name, _("Needed to verify ID tokens.")


def _verifies_id_tokens(provider: Provider) -> bool:
    return bool(provider.issuer and (provider.jwks_uri or _has_shared_key(provider)))


def _has_shared_key(provider: Provider) -> bool:
    """Tell whether ID tokens are signed with the client's secret."""
    algorithm = _said(provider, "id_token_signed_response_alg")
    return isinstance(algorithm, str) and algorithm.startswith("HS")


def _said(provider: Provider, key: str) -> Any:
    """Return what the dialect says under that key; None if it says nothing, or is none."""
    return provider.dialect.get(key) if isinstance(provider.dialect, dict) else None


def _placeholders(provider: Provider) -> Iterator[Problem]:
    """Refuse a user-filled placeholder that decides who receives the client secret."""
    for name in CREDENTIALED_ENDPOINTS:
        url = getattr(provider, name)
        if set(decides_domain(url)) - set(_filled(provider)):
            yield name, _("Fill this placeholder in yourself: it decides which domain receives the client secret.")


def _timing(provider: Provider) -> Iterator[Problem]:
    if provider.reuse_grace and provider.lease_duration * 2 > provider.reuse_grace:
        yield "lease_duration", _("The lease may last at most half of the reuse grace.")
    if provider.lease_duration <= provider.refresh_deadline:
        yield "lease_duration", _("The lease must be longer than the refresh deadline.")
