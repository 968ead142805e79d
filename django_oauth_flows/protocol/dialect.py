"""How one server deviates from the RFCs, as typed, checked data: the schema of ``Provider.dialect``.

What a column of ``Provider`` says (endpoints, client authentication, scope separator, PKCE, where the identity is) is not said
again here. Texts may contain placeholders, ``{shop}``, that staff or the connection fill in, and, where a key says so, variables:
``{client_id}``, ``{client_secret}``, ``{code}``, ``{state}``, ``{redirect_uri}``, ``{refresh_token}``, ``{access_token}``, and
``{kept.name}``, a member listed in ``kept_token_fields`` or ``kept_callback_parameters``. Paths lead into JSON: names and numbers
joined by dots (``data.users.0.id``), or, beginning with a slash, a JSON pointer (RFC 6901).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from django_oauth_flows.protocol import dialect_values as read
from django_oauth_flows.protocol.details import PARAMETER as DETAILS
from django_oauth_flows.protocol.details import details_text, types_of
from django_oauth_flows.protocol.dialect_contradictions import contradictions
from django_oauth_flows.protocol.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_oauth_flows.protocol.dialect_values import Pairs, Paths

MAX_SIZE = 20_000
"""Characters of a whole dialect as JSON."""


MAX_PLACEHOLDER = 200
"""Characters of what is filled into a placeholder."""


def _key(default: Any, reader: Callable[[str, Any], Any], help_text: str) -> Any:
    return field(default=default, metadata={"read": reader, "help": help_text})


ENDPOINT_KEYS = frozenset({"refresh_endpoint", "second_exchange", "mtls_endpoint_aliases"})
"""Keys that name an endpoint which receives secrets: they are part of a provider's fingerprint."""


MTLS_ALIASES = (
    "token_endpoint", "pushed_authorization_request_endpoint", "device_authorization_endpoint", "introspection_endpoint",
    "revocation_endpoint", "userinfo_endpoint",
)  # fmt: skip
"""Endpoints that may be elsewhere for a client that shows a certificate. RFC 8705 §5."""


@dataclass(frozen=True, slots=True)
class SecondExchange:
    """A request that swaps the code's token for another one at once: a short-lived one for one that lives long."""

    endpoint: str = _key("", read.endpoint, "Where to; it receives the token, and is part of the fingerprint.")
    method: Literal["GET", "POST"] = _key("GET", read.one_of("GET", "POST"), "GET puts the parameters into the query.")
    grant_type: str = _key("", read.word, "The value of `grant_type`.")
    token_parameter: str = _key("access_token", read.free_name, "The name under which the first token is presented.")
    client_authentication: bool = _key(True, read.boolean, "Whether the client authenticates as at the token endpoint.")


def _second_exchange(key: str, value: Any) -> SecondExchange | None:
    if value is None:
        return None
    found = SecondExchange(**_members(SecondExchange, value, where=f"{key!r}: "))
    if not found.endpoint or not found.grant_type or not found.token_parameter:
        raise ValueError(f"{key!r} needs an endpoint, a grant_type and a token_parameter")
    return found


DEFAULT_ALGORITHM = "RS256"
"""What a server signs ID tokens with that was not asked for anything else. OpenID Connect Dynamic Client Registration 1.0 §2."""

SIGNING = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")
"""What a private key of ours signs with, and what answers are signed with: never with a secret that both have."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Rare deviations; the defaults are the RFC's behaviour."""

    # The authorization request
    authorization_parameters: Pairs = _key(
        (), read.parameters("client_id"),
        "Constant additions to the authorization request. OAuth 1.0a: to the address the browser is sent to.",
    )  # fmt: skip
    incremental_parameters: Pairs = _key(
        (), read.parameters("client_id"),
        "Additions where more is asked for on behalf of a connection that there is, such as `include_granted_scopes=true`.",
    )  # fmt: skip
    authorization_parameter_names: Pairs = _key(
        (), read.renamed("client_id", "redirect_uri", "scope"), "Other names for these parameters.",
    )  # fmt: skip
    response_type: str = _key("code", read.response_type, 'Sent for `response_type=code`; "" sends none.')
    second_scope_parameter: str = _key(
        "", read.free_name,
        "A second scope parameter, such as `user_scope`: scopes that are written `user_scope:name` are sent there as `name`.",
    )  # fmt: skip
    refresh_scopes: tuple[str, ...] = _key(
        (), read.strings,
        "Scopes without which no refresh token is issued, such as `offline_access`: asked for whatever else is.",
    )  # fmt: skip
    unquoted_parameters: tuple[str, ...] = _key(
        (), read.strings, "Authorization parameters sent without percent-encoding what needs none: `:`, `/`, `,` and the like.",
    )  # fmt: skip
    authorization_fragment: str = _key("", read.fragment, "Appended to the finished address after a `#`.")
    authorization_route: str = _key(
        "", read.fragment, "The route of a one-page application: put after a `#` before the query.",
    )  # fmt: skip
    state_in_redirect_uri: bool = _key(
        False, read.boolean,
        "The server drops `state`, and takes redirect URIs with a query: the state is put there as well.",
    )  # fmt: skip

    resources: tuple[str, ...] = _key(
        (), read.resources,
        "What the tokens are for, as absolute URIs: `resource` (RFC 8707), once each, in authorization and token requests.",
    )  # fmt: skip

    authorization_details: str = _key(
        "", details_text, "What exactly is asked for (RFC 9396): a list of objects, each with a `type`.",
    )  # fmt: skip
    authorization_details_types: tuple[str, ...] = _key(
        (), read.strings, "Further types that a caller may ask for; with any, what is granted is kept.",
    )  # fmt: skip
    request_object_signing_alg: str = _key(
        "", read.one_of("", *SIGNING), "Requests are signed with the private key, by this algorithm (RFC 9101).",
    )  # fmt: skip

    # The callback
    authorization_signed_response_alg: str = _key(
        DEFAULT_ALGORITHM, read.one_of(*SIGNING), "What answers are signed with where `response_mode` is one of `jwt` (JARM).",
    )  # fmt: skip
    callback_code_parameter: str = _key("code", read.word, "The name under which the code comes back.")
    kept_callback_parameters: tuple[str, ...] = _key((), read.strings, "Other callback parameters to store.")

    # The token request
    token_request_method: Literal["POST", "GET"] = _key(
        "POST", read.one_of("POST", "GET"), "GET puts every parameter into the query. OAuth 1.0a: of the token request.",
    )  # fmt: skip
    token_request_format: Literal["form", "json", "query"] = _key(
        "form", read.one_of("form", "json", "query"), "How a POST carries its parameters.",
    )  # fmt: skip
    token_request_headers: Pairs = _key(
        (), read.headers("client_id", "client_secret", "kept"),
        "Headers of token, refresh and revocation requests; with variables. Not sent where a variable has no value; what was kept has none in a revocation.",
    )  # fmt: skip
    token_parameters: Pairs = _key(
        (), read.token_parameters("client_id", "client_secret", "code", "state", "redirect_uri", "kept"),
        "Additions to the token request; with variables. Not sent where a variable has no value (client credentials have no "
        "code).",
    )  # fmt: skip
    token_parameter_names: Pairs = _key(
        (),
        read.renamed(
            "client_id", "client_secret", "code", "code_verifier", "grant_type", "redirect_uri", "refresh_token", "scope",
            may_omit=("grant_type", "redirect_uri"),
        ),
        'Other names for these parameters of token and refresh requests; "" leaves `redirect_uri` or `grant_type` out.',
    )  # fmt: skip
    grant_type_values: Pairs = _key(
        (), read.values("authorization_code", "client_credentials", "refresh_token"), "Other values of `grant_type`.",
    )  # fmt: skip
    raw_basic_auth: bool = _key(False, read.boolean, "client_secret_basic without RFC 6749 §2.3.1's form-encoding.")
    basic_credentials: str = _key(
        "", read.template("client_id", "client_secret"),
        "What is sent with client_secret_basic instead of `{client_id}:{client_secret}`, such as `{client_secret}:`.",
    )  # fmt: skip
    token_endpoint_auth_signing_alg: str = _key(
        "", read.one_of("", *SIGNING), 'What assertions are signed with, such as `PS256`; "": as the private key\'s kind has it.',
    )  # fmt: skip
    client_assertion_audience: str = _key(
        "issuer", read.audience,
        "Whom assertions name as their reader (`aud`): `issuer`, or, for servers that want no other, `token_endpoint` or a text "
        "of theirs that begins with https. Another server's row that names the same could have us sign for this one.",
    )  # fmt: skip
    client_assertion_issuer: str = _key(
        "", read.template(), "Who assertions say that they are from (`iss`), where that is not the client, such as `{team_id}`.",
    )  # fmt: skip
    client_assertion_parameter: Literal["client_assertion", "client_secret"] = _key(
        "client_assertion", read.one_of("client_assertion", "client_secret"),
        "`client_secret` sends the assertion as if it were a secret, without a type.",
    )  # fmt: skip
    second_exchange: SecondExchange | None = _key(
        None, _second_exchange, "A request that swaps the code's token for a long-lived one at once: an object.",
    )  # fmt: skip

    # Service accounts: assertions as grants (RFC 7523)
    assertion_audience: str = _key(
        "", read.template(), "Whom an assertion is for, where that is not the issuer, such as Google's token endpoint.",
    )  # fmt: skip
    assertion_claims: Pairs = _key(
        (), read.claims, 'Further claims of an assertion, such as `box_sub_type`; "" leaves `sub` or `scope` out.',
    )  # fmt: skip
    assertion_key_id: str = _key(
        "", read.template(), "What the service calls the key that signs assertions of either kind (`kid`); otherwise, its thumbprint.",
    )  # fmt: skip

    # The token response
    token_response_format: Literal["json", "form"] = _key(
        "json", read.one_of("json", "form"), '"form" also accepts JSON.',
    )  # fmt: skip
    token_response_envelope: str = _key(
        "", read.optional_path, "The path of the object that the members stand in.",
    )  # fmt: skip
    token_response_paths: Paths = _key(
        (),
        read.paths(
            "access_token", "refresh_token", "token_type", "expires_in", "refresh_token_expires_in", "scope", "second_scope",
            "id_token", "error", "error_description",
        ),
        "Where these stand: a path within the envelope, or a list of paths of which the first that leads somewhere counts. "
        "`error` and `error_description`: from the top.",
    )  # fmt: skip
    expiry_format: Literal["seconds", "milliseconds", "epoch", "epoch_milliseconds", "date"] = _key(
        "seconds", read.one_of("seconds", "milliseconds", "epoch", "epoch_milliseconds", "date"),
        "What `expires_in` and `refresh_token_expires_in` hold: a lifetime, a moment since 1970, or an ISO 8601 date.",
    )  # fmt: skip
    zero_expiry_is_never: bool = _key(False, read.boolean, "A lifetime of 0 means that the token does not expire.")
    token_success_codes: tuple[str, ...] = _key(
        (), read.strings, 'Values at the `error` path that mean success, such as "0".',
    )  # fmt: skip
    token_type_aliases: tuple[str, ...] = _key((), read.strings, "token_type values that mean Bearer.")
    invalid_grant_errors: tuple[str, ...] = _key((), read.strings, "Error codes that mean invalid_grant.")
    kept_token_fields: tuple[str, ...] = _key(
        (), read.strings, "Other members of the token response to store: names, or paths, under which they are kept.",
    )  # fmt: skip

    # The refresh request
    refresh_endpoint: str = _key(
        "", read.endpoint, "Where refresh tokens go, if not to the token endpoint; it is part of the fingerprint.",
    )  # fmt: skip
    refresh_request_method: Literal["", "POST", "GET"] = _key(
        "", read.one_of("", "POST", "GET"), "As `token_request_method`, for the refresh request alone.",
    )  # fmt: skip
    refresh_parameters: Pairs = _key(
        (), read.token_parameters("client_id", "client_secret", "refresh_token", "kept"),
        "Additions to the refresh request; with variables.",
    )  # fmt: skip
    refresh_client_authentication: bool = _key(
        True, read.boolean, "Whether the client authenticates when it refreshes.",
    )  # fmt: skip
    refreshes_with_access_token: str = _key(
        "", read.free_name,
        "There are no refresh tokens: the access token is presented under this name, and must still be valid. Let the refresh "
        "margin be long.",
    )  # fmt: skip

    mtls_endpoint_aliases: Pairs = _key(
        (), read.endpoints(*MTLS_ALIASES),
        "Where these are for a client that shows a certificate (RFC 8705); they are part of the fingerprint.",
    )  # fmt: skip

    # Revocation
    revocation_request_method: Literal["POST", "GET", "DELETE"] = _key(
        "POST", read.one_of("POST", "GET", "DELETE"), "GET and DELETE put the parameters into the query.",
    )  # fmt: skip
    revocation_authentication: Literal["client", "token"] = _key(
        "client", read.one_of("client", "token"), '"token": the token is presented as in an API call, and the client is not named.',
    )  # fmt: skip
    revocation_token_parameter: str = _key(
        "token", read.free_name, 'The name under which the token is presented; "" does not.',
    )  # fmt: skip

    # API calls
    api_auth_scheme: str = _key("Bearer", read.scheme, "The word before the token in the Authorization header.")
    api_token_header: str = _key(
        "", read.header_name, "The header that takes the bare token instead; `Authorization` takes it without a word before it.",
    )  # fmt: skip
    api_token_parameter: str = _key("", read.token_name, "The query parameter that takes the token instead.")
    api_headers: Pairs = _key(
        (), read.headers("client_id", "client_secret", "kept"),
        "Headers of every API call and of userinfo; the caller's own of the same name wins.",
    )  # fmt: skip
    api_parameters: Pairs = _key(
        (), read.parameters("client_id", "kept"), "Query parameters of every API call and of userinfo.",
    )  # fmt: skip
    api_host_patterns: tuple[str, ...] = _key(
        (), read.host_patterns,
        "Which hosts a `{kept.…}` in the API base URL or the userinfo endpoint may lead to: exact, or `*.domain.example`.",
    )  # fmt: skip

    # Identity
    userinfo_method: Literal["GET", "POST"] = _key("GET", read.one_of("GET", "POST"), "How userinfo is asked for.")
    userinfo_parameters: Pairs = _key(
        (), read.parameters("client_id", "access_token", "kept"), "Query parameters of userinfo; with variables.",
    )  # fmt: skip
    userinfo_headers: Pairs = _key(
        (), read.headers("client_id", "client_secret", "kept"), "Headers of userinfo, beside `api_headers`.",
    )  # fmt: skip
    userinfo_body: str = _key("", read.json_text, "A JSON object to post, such as a GraphQL query.")
    userinfo_auth_scheme: str = _key(
        "", read.scheme, '`api_auth_scheme` for userinfo alone; "none" if the token stands in the address or its parameters.',
    )  # fmt: skip
    userinfo_format: Literal["json", "xml"] = _key(
        "json", read.one_of("json", "xml"), "XML: elements are members, `@name` is an attribute, `#text` the text beside them.",
    )  # fmt: skip
    subject_template: str = _key(
        "", read.subject_template,
        "An id made of several, such as `{hub_id}:{user_id}`: paths in braces, `{kept.name}` for what was kept. Instead of the "
        "path of the account id.",
    )  # fmt: skip
    subject_prefix: str = _key(
        "", read.template(), "What the id begins with, and is taken off, such as `/users/`; without it, there is no id.",
    )  # fmt: skip

    # OAuth 1.0a
    temporary_request_method: Literal["POST", "GET"] = _key(
        "POST", read.one_of("POST", "GET"), "Of the request for temporary credentials.",
    )  # fmt: skip
    temporary_parameters: Pairs = _key(
        (), read.parameters("client_id"), "Additions to the request for temporary credentials; they are signed.",
    )  # fmt: skip
    oauth1_scopes_in: Literal["", "temporary", "authorization"] = _key(
        "", read.one_of("", "temporary", "authorization"),
        "Which request names the scopes, as `scope` or as `authorization_parameter_names` says.",
    )  # fmt: skip

    # OpenID Connect
    id_token_signed_response_alg: str = _key(
        DEFAULT_ALGORITHM, read.algorithm,
        "What ID tokens are signed with, and nothing else; `HS256` and its like are keyed with the client's secret.",
    )  # fmt: skip
    userinfo_signed_response_alg: str = _key(
        "", read.algorithm, "What userinfo must be signed with; without it, it may be unsigned, or is signed as ID tokens are.",
    )  # fmt: skip
    clock_skew: int = _key(
        60, read.clock_skew, "Seconds by which the server's clock may differ from ours, at most 300.",
    )  # fmt: skip

    # What users fill in
    placeholder_patterns: Pairs = _key(
        (), read.patterns,
        "What users may fill into a placeholder, as a regular expression that Python and browsers read alike, beside the rule "
        "for all of them.",
    )  # fmt: skip
    placeholder_help: Pairs = _key((), read.labels, "What the form says about a placeholder.")

    # What only code can say
    quirk: str = _key("", read.quirk, "The name of a deviation that is code.")

    @classmethod
    def from_json(cls, value: Any) -> Dialect:
        """Build from the stored JSON object; raise ``ValueError`` if it is none, or naming the first key that is unknown or wrong."""
        if value == {}:
            return _OF_THE_RFC  # most servers'
        members = _members(cls, value)
        if len(json.dumps(value)) > MAX_SIZE:
            raise ValueError(f"must be at most {MAX_SIZE} characters long")
        found = cls(**members)
        for problem in contradictions(found):
            raise ValueError(problem)
        return found

    def filled(self, values: Mapping[str, str]) -> Dialect:
        """Return the dialect with every placeholder filled in; raise ``ValueError`` as :func:`fill` does."""
        if self is _OF_THE_RFC:
            return self
        changes: dict[str, Any] = {}
        for name in _PAIRS:
            if any("{" in text for _, text in getattr(self, name)):
                changes[name] = tuple((key, fill(text, values)) for key, text in getattr(self, name))
        for name in _TEXTS:
            if "{" in getattr(self, name):
                changes[name] = fill(getattr(self, name), values)
        if any("{" in url for _, url in self.mtls_endpoint_aliases):
            changes["mtls_endpoint_aliases"] = tuple(
                (name, fill(url, values)) for name, url in self.mtls_endpoint_aliases
            )
        if self.second_exchange is not None:
            changes["second_exchange"] = replace(
                self.second_exchange, endpoint=fill(self.second_exchange.endpoint, values)
            )
        return replace(self, **changes) if changes else self

    def accepts(self, name: str, value: str) -> bool:
        """Tell whether users may fill ``value`` into this placeholder; whether addresses can take it, :func:`fill` says."""
        pattern = dict(self.placeholder_patterns).get(name)
        return pattern is None or re.fullmatch(pattern, value[:MAX_PLACEHOLDER]) is not None

    @property
    def detail_types(self) -> tuple[str, ...]:
        """Return the types of authorization details that may be asked for; none where the server knows none."""
        own = types_of(json.loads(self.authorization_details)) if self.authorization_details else ()
        return tuple(dict.fromkeys([*own, *self.authorization_details_types]))

    @property
    def kept_members(self) -> tuple[str, ...]:
        """Return the members of the token response to store."""
        return (*self.kept_token_fields, DETAILS) if self.detail_types else self.kept_token_fields

    def asking(self, details: str, *, extends: bool) -> Dialect:
        """Return the dialect of one authorization request: with ``details`` if any, and what ``extends`` a grant if it does."""
        more = self.incremental_parameters if extends else ()
        parameters = (*self.authorization_parameters, *more)
        return replace(
            self, authorization_parameters=parameters, authorization_details=details or self.authorization_details
        )

    @property
    def endpoints(self) -> dict[str, str]:
        """Return the endpoints that the dialect names, by key; they receive secrets like those of the row."""
        named = {"refresh_endpoint": self.refresh_endpoint}
        if self.second_exchange is not None:
            named["second_exchange"] = self.second_exchange.endpoint
        named |= {f"mtls_endpoint_aliases.{name}": url for name, url in self.mtls_endpoint_aliases}
        return {name: url for name, url in named.items() if url}

    @property
    def templates(self) -> tuple[str, ...]:
        """Return every text that may hold placeholders."""
        texts = (getattr(self, name) for name in _TEXTS if name not in ENDPOINT_KEYS)
        return (*self.endpoints.values(), *texts, *(text for name in _PAIRS for _, text in getattr(self, name)))


_PAIRS = (
    "authorization_parameters", "incremental_parameters", "token_request_headers", "token_parameters", "refresh_parameters", "api_headers",
    "api_parameters", "userinfo_parameters", "userinfo_headers", "temporary_parameters",
)  # fmt: skip
"""Keys whose values may hold placeholders."""

_TEXTS = ("refresh_endpoint", "client_assertion_issuer", "assertion_key_id")
"""Keys of one text that may hold placeholders."""


_OF_THE_RFC = Dialect()
"""What a server speaks that deviates in nothing."""


def _members(cls: type, value: Any, *, where: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}must be an object")  # noqa: TRY004 - every reader raises ValueError
    readers = {item.name: item.metadata["read"] for item in fields(cls)}
    if unknown := sorted(set(value) - set(readers)):
        raise ValueError(f"{where}unknown key {unknown[0]!r}; known keys: {', '.join(sorted(readers))}")
    return {name: readers[name](name, item) for name, item in value.items()}
