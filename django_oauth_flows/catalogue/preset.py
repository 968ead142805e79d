"""One entry of the catalogue: typed, and checked key by key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from django_oauth_flows.catalogue import reader
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.placeholders import decides_domain, placeholders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CREDENTIALED = (
    "token_endpoint",
    "temporary_credential_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "userinfo_endpoint",
    "api_base_url",
)
"""The addresses that receive the client's secret or a token."""

UNLESS_TOLD_OTHERWISE = "client_secret_post"
"""How the clients that entries are compiled from authenticate where they say nothing of it."""

ADDRESSES = ("authorization_endpoint", *CREDENTIALED, "jwks_uri")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What one ``{placeholder}`` of the addresses stands for."""

    name: str
    help: str = ""
    pattern: str = ""  # beside what may stand in an address at all; "" for nothing more
    values: tuple[str, ...] = ()  # the only ones that there are; () for others, too
    example: str = ""
    for_staff: bool = False  # the site's own, such as the key of its application: never asked of users

    @property
    def as_pattern(self) -> str:
        """Return what a value must match, as one regular expression; "" for anything."""
        return "|".join(map(re.escape, self.values)).replace("\\-", "-") if self.values else self.pattern

    @property
    def meaning(self) -> str:
        """Say in a line what it is and what it looks like."""
        looks = f"one of {', '.join(self.values)}" if self.values else f"such as {self.example}" if self.example else ""
        return ", ".join(text for text in (self.help, looks) if text)

    def accepts(self, value: str) -> bool:
        """Tell whether the service can have such a value; what may stand in an address is checked elsewhere as well."""
        return not self.as_pattern or re.fullmatch(self.as_pattern, value) is not None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A page of the service's own documentation, or of a client that is maintained, and what it shows."""

    page: str
    shows: str


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of one service. None and empty mean unknown; the columns are those of ``Provider``, by name.

    ``confidence``: ``high`` if several sources agree on the addresses, ``medium`` if one names them. ``checked`` is the day
    on which the entry was last compared with its sources; it is the entry's version as well.
    """

    slug: str
    name: str
    status: Literal["live", "unverified", "legacy"]
    confidence: Literal["high", "medium"]
    checked: date
    sources: int = 0  # how many independent compilations name the service
    aliases: tuple[str, ...] = ()
    extends: str = ""
    confirmed_by: tuple[Confirmation, ...] = ()
    chosen: tuple[tuple[str, str], ...] = ()  # key → why this value, where sources disagree
    notes: tuple[str, ...] = ()
    docs_url: str = ""
    grant_types: tuple[str, ...] = ("authorization_code",)
    parameters: tuple[Parameter, ...] = ()
    pkce: Literal["required", "supported", "tolerated", "off", "unknown"] = "unknown"
    refresh_scope: str = ""  # the scope without which no refresh token is issued
    revocation: Literal["endpoint", "none", "unknown"] = "unknown"
    access_token_never_expires: bool | None = None

    protocol: Literal["oauth2", "oauth1"] = "oauth2"
    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    temporary_credential_endpoint: str = ""
    revocation_endpoint: str = ""
    userinfo_endpoint: str = ""
    jwks_uri: str = ""
    device_authorization_endpoint: str = ""
    identity_source: str = ""
    subject_path: str = ""
    label_path: str = ""
    api_base_url: str = ""
    api_hosts: tuple[str, ...] = ()
    console_url: str = ""
    account_url: str = ""
    token_endpoint_auth_method: str = ""
    tls_client_certificate_bound_access_tokens: bool | None = None
    response_mode: str = ""
    scopes: tuple[str, ...] = ()
    scope_separator: str = ""
    signature_method: str = ""
    signature_placement: str = ""
    realm: str = ""
    access_token_lifetime: int | None = None
    refresh_token_lifetime: int | None = None
    refresh_token_idle_lifetime: int | None = None
    rotates_refresh_token: bool | None = None
    reuse_grace: int | None = None
    tokens_per_user: int | None = None
    revocation_effect: str = ""
    dialect: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_entry(cls, slug: str, entry: Mapping[str, Any]) -> Preset:
        """Build from an entry as written; raise ``ValueError`` naming the entry and the first key that is unknown or wrong."""
        try:
            if unknown := sorted(set(entry) - set(READERS)):
                raise ValueError(f"unknown key {unknown[0]!r}")  # noqa: TRY301 - one message for every reader
            values: dict[str, Any] = {key: READERS[key](value) for key, value in entry.items()}
            preset = cls(slug=reader.slug(slug), **values)
            _check(preset)
        except (TypeError, ValueError) as problem:
            raise ValueError(f"catalogue entry {slug!r}: {problem}") from problem
        return preset

    @property
    def version(self) -> int:
        """Return what ``Provider.preset_version`` remembers: the day of the last check, as the number 20251231."""
        return int(self.checked.strftime("%Y%m%d"))

    @property
    def is_discovered(self) -> bool:
        """Return whether the service's addresses have to be read from its issuer's metadata."""
        return not self.token_endpoint

    @property
    def code_challenge_method(self) -> str:
        """Return how PKCE is used: always, unless the service is known to refuse it."""
        return "" if self.pkce == "off" else "S256"

    def placeholders(self) -> tuple[str, ...]:
        """Return the names in the addresses and in the dialect's texts, in order of appearance."""
        return tuple(dict.fromkeys([*self._in_addresses(), *placeholders(self.issuer)]))

    def _in_addresses(self) -> list[str]:
        texts = [*(getattr(self, address) for address in ADDRESSES), *self.api_hosts]
        return [name for text in (*texts, *Dialect.from_json(self.dialect).templates) for name in placeholders(text)]

    def staff_parameters(self) -> tuple[str, ...]:
        """Return the placeholders that staff fill in, never users.

        They decide who receives a secret, are in the issuer alone, or are the site's own; for client credentials alone, there
        is no user to ask.
        """
        if "client_credentials" in self.grant_types and len(self.grant_types) == 1:
            return self.placeholders()
        deciding = [n for address in CREDENTIALED for n in decides_domain(getattr(self, address))]
        deciding += [name for name in placeholders(self.issuer) if name not in self._in_addresses()]
        return tuple(dict.fromkeys(deciding + [known.name for known in self.parameters if known.for_staff]))

    def parameter(self, name: str) -> Parameter:
        """Return what is known of a placeholder."""
        return next((known for known in self.parameters if known.name == name), Parameter(name))

    def columns(self) -> dict[str, Any]:
        """Return what the entry says for the columns of ``Provider``, as that stores it; what is unknown is absent."""
        found = {name: getattr(self, name) for name in COLUMNS if getattr(self, name) not in ("", None, ())}
        found |= {name: list(found[name]) for name in ("api_hosts",) if name in found}
        if dialect := {**self.dialect, **self._placeholders_explained()}:
            found["dialect"] = dialect
        if self.protocol == "oauth2":
            found["code_challenge_method"] = self.code_challenge_method
            found.setdefault("token_endpoint_auth_method", UNLESS_TOLD_OTHERWISE)
        return found

    def _placeholders_explained(self) -> dict[str, dict[str, str]]:
        """Return what the connect form says of the placeholders that users fill in, in the dialect's own keys."""
        for_staff = self.staff_parameters()
        asked = [parameter for parameter in self.parameters if parameter.name not in for_staff]
        said = {
            "placeholder_patterns": {p.name: p.as_pattern for p in asked if p.as_pattern},
            "placeholder_help": {p.name: p.meaning for p in asked if p.meaning},
        }
        return {key: texts for key, texts in said.items() if texts}


COLUMNS = (
    "access_token_lifetime",
    "account_url",
    "api_base_url",
    "api_hosts",
    "authorization_endpoint",
    "console_url",
    "device_authorization_endpoint",
    "identity_source",
    "issuer",
    "jwks_uri",
    "label_path",
    "name",
    "protocol",
    "realm",
    "refresh_token_idle_lifetime",
    "refresh_token_lifetime",
    "response_mode",
    "reuse_grace",
    "revocation_effect",
    "revocation_endpoint",
    "rotates_refresh_token",
    "scope_separator",
    "scopes",
    "signature_method",
    "signature_placement",
    "subject_path",
    "temporary_credential_endpoint",
    "tls_client_certificate_bound_access_tokens",
    "token_endpoint",
    "token_endpoint_auth_method",
    "tokens_per_user",
    "userinfo_endpoint",
)
"""The columns that an entry may fill, beside ``code_challenge_method`` and ``dialect``."""


def _dialect(value: Any) -> dict[str, Any]:
    """Check against the dialect's own schema; what is kept is what a row stores."""
    Dialect.from_json(value)
    return dict(value)


READERS: dict[str, Callable[[Any], Any]] = {
    "access_token_lifetime": reader.seconds,
    "access_token_never_expires": reader.boolean,
    "account_url": reader.web_page,
    "aliases": reader.texts,
    "api_base_url": reader.base_url,
    "api_hosts": reader.texts,
    "authorization_endpoint": reader.address,
    "checked": lambda value: date.fromisoformat(reader.text(value)),
    "chosen": reader.text_pairs,
    "confidence": reader.one_of("high", "medium"),
    "confirmed_by": lambda value: tuple(Confirmation(**reader.texts_of(item, "page", "shows")) for item in value),
    "console_url": reader.web_page,
    "device_authorization_endpoint": reader.address,
    "dialect": _dialect,
    "docs_url": reader.web_page,
    "extends": reader.slug,
    "grant_types": reader.texts,
    "identity_source": reader.text,
    "issuer": reader.address,
    "jwks_uri": reader.address,
    "label_path": reader.text,
    "name": reader.text,
    "notes": reader.texts,
    "parameters": lambda value: tuple(
        Parameter(name=name, **reader.parameter(item)) for name, item in reader.mapping(value).items()
    ),
    "pkce": reader.one_of("required", "supported", "tolerated", "off", "unknown"),
    "protocol": reader.one_of("oauth2", "oauth1"),
    "realm": reader.text,
    "refresh_scope": reader.text,
    "refresh_token_idle_lifetime": reader.seconds,
    "refresh_token_lifetime": reader.seconds,
    "response_mode": reader.one_of("query", "form_post"),
    "reuse_grace": reader.seconds,
    "revocation": reader.one_of("endpoint", "none", "unknown"),
    "revocation_effect": reader.one_of("token", "grant"),
    "revocation_endpoint": reader.address,
    "rotates_refresh_token": reader.boolean,
    "scope_separator": reader.text,
    "scopes": reader.texts,
    "signature_method": reader.text,
    "signature_placement": reader.one_of("header", "query", "body"),
    "sources": reader.seconds,
    "status": reader.one_of("live", "unverified", "legacy"),
    "subject_path": reader.text,
    "temporary_credential_endpoint": reader.address,
    "tls_client_certificate_bound_access_tokens": reader.boolean,
    "token_endpoint": reader.address,
    "token_endpoint_auth_method": reader.text,
    "tokens_per_user": reader.seconds,
    "userinfo_endpoint": reader.address,
}
"""Key of an entry → what reads its value. Choices that ``Provider`` restricts are checked where a provider is made."""


def _check(preset: Preset) -> None:
    """Raise ``ValueError`` for an entry that contradicts itself."""
    if not preset.token_endpoint and not preset.issuer:
        raise ValueError("needs a 'token_endpoint', or an 'issuer' to find it by")
    if bool(preset.revocation_endpoint) != (preset.revocation == "endpoint"):
        raise ValueError("'revocation' is \"endpoint\" where 'revocation_endpoint' is given, and only there")
    if preset.identity_source == "userinfo" and not preset.userinfo_endpoint and not preset.is_discovered:
        raise ValueError("'identity_source' needs a 'userinfo_endpoint'")
    if preset.identity_source == "id_token" and not (preset.issuer and preset.jwks_uri):
        raise ValueError("'identity_source' needs an 'issuer' and a 'jwks_uri'")
    if unexplained := {p.name for p in preset.parameters} - set(preset.placeholders()):
        raise ValueError(f"'parameters' explains {min(unexplained)!r}, which is in no address")
    if unknown := {name for name, _ in preset.chosen} - {known.name for known in fields(Preset)}:
        raise ValueError(f"'chosen' names {min(unknown)!r}, which is no key")
