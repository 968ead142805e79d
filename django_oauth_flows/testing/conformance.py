"""What the OpenID Foundation's conformance suite does to a relying party, by the names of its test modules.

Each module is something that the fake provider does, and what a client must make of it::

    with FakeProvider() as fake:
        module = MODULES["oidcc-client-test-invalid-iss"]
        module.set_up(fake)

``expects`` is ``connected``, ``refreshed``, ``called``, ``refused`` (a page that takes nothing), or the stable code of the error. What
the client does not offer (request objects by reference, userinfo tokens in a body, logout by the provider, a login that somebody
else starts) has a module as well: it must fail cleanly, with nothing connected.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from django_oauth_flows.testing.faults import Answer
from django_oauth_flows.testing.openid import assemble, b64, nameless, new_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_oauth_flows.testing.openid import Claims
    from django_oauth_flows.testing.server import FakeProvider

Act = Literal["login", "second login", "refresh", "discover", "visit", "call"]
MISSING: Any = object()
"""As a claim's value: take it out."""


def _honest(_: FakeProvider) -> None:
    """Change nothing."""


@dataclass(frozen=True, slots=True)
class Module:
    """One test module: what is done, what the provider does to it, and how it must end.

    ``then`` happens between the two steps of an act that has two. ``dialect`` is how the client is registered.
    """

    expects: str
    set_up: Callable[[FakeProvider], None] = _honest
    act: Act = "login"
    then: Callable[[FakeProvider], None] = _honest
    dialect: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)  # of the provider's row, beside the dialect
    dpop: bool = False  # whether the client is registered for tokens that are bound to keys
    visit: str = ""  # the path of ours that is asked for


def claims(**changes: Any) -> Callable[[FakeProvider], None]:
    """Return a set-up after which ID tokens claim this."""
    return lambda fake: setattr(fake.openid, "change_claims", _changing(changes))


def refreshed_claims(**changes: Any) -> Callable[[FakeProvider], None]:
    """Return a set-up after which the ID tokens of refreshes claim this."""
    return lambda fake: setattr(fake.openid, "change_refreshed", _changing(changes))


def header(**changes: Any) -> Callable[[FakeProvider], None]:
    """Return a set-up after which the headers of ID tokens say this."""
    return lambda fake: setattr(fake.openid, "change_header", _changing(changes))


def callback(**changes: Any) -> Callable[[FakeProvider], None]:
    """Return a set-up after which the browser comes back with these parameters."""
    return lambda fake: setattr(fake.oauth2, "change_response", _changing(changes))


def answer_claims(**changes: Any) -> Callable[[FakeProvider], None]:
    """Return a set-up after which signed authorization responses claim this."""
    return lambda fake: setattr(fake.openid, "change_answer", _changing(changes))


def both(*steps: Callable[[FakeProvider], None]) -> Callable[[FakeProvider], None]:
    """Return a set-up that does all of these."""

    def all_of_them(fake: FakeProvider) -> None:
        for step in steps:
            step(fake)

    return all_of_them


def _changing(changes: Mapping[str, Any]) -> Callable[[Claims], None]:
    def change(members: Claims) -> None:
        for name, value in changes.items():
            if value is MISSING:
                members.pop(name, None)
            else:
                members[name] = value(members) if callable(value) else value

    return change


def _unsigned(fake: FakeProvider) -> None:
    fake.openid.change_token = lambda token: f"{b64(json.dumps({'alg': 'none'}).encode())}.{token.split('.')[1]}."


def _forged(fake: FakeProvider) -> None:
    fake.openid.change_token = lambda token: token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB")


def _forged_es256(fake: FakeProvider) -> None:
    fake.openid.keys = [new_key(1, "ES256")]
    _forged(fake)


def _forged_hs256(fake: FakeProvider) -> None:
    fake.openid.shared_secret = "another secret than the client's, of 32 bytes and more"


def _rs256_key_as_secret(fake: FakeProvider) -> None:
    """Sign with another algorithm than the one registered, by a key that is published."""

    def resigned(token: str) -> str:
        body = json.loads(_decoded(token.split(".")[1]))
        head = {"alg": "PS256", "kid": fake.openid.key.kid}
        return assemble(head, body, fake.openid.key.private, "PS256")

    fake.openid.change_token = resigned


def _nameless_keys(count: int) -> Callable[[FakeProvider], None]:
    def set_up(fake: FakeProvider) -> None:
        fake.openid.keys = [nameless(new_key(number)) for number in range(1, count + 1)]

    return set_up


def _nameless_token(fake: FakeProvider) -> None:
    fake.openid.keys = [new_key(2), new_key(1)]
    fake.openid.signing_key = nameless(new_key(1))


def _userinfo(**changes: Any) -> Callable[[FakeProvider], None]:
    return lambda fake: setattr(fake.openid, "change_userinfo", _changing(changes))


def _answers_signed_by_another(fake: FakeProvider) -> None:
    fake.openid.keys, fake.openid.signing_key = [new_key(1)], replace(new_key(2), kid="key-1")


def _answers_without_signature(fake: FakeProvider) -> None:
    none = b64(b'{"alg":"none"}')
    fake.openid.change_signed_answer = lambda token: f"{none}.{token.split('.')[1]}."


def _signed_userinfo(fake: FakeProvider) -> None:
    fake.openid.signs_userinfo = True


def _userinfo_wants_body(fake: FakeProvider) -> None:
    fake.script("userinfo", Answer(400, {"error": "invalid_request"}))


def _metadata(**changes: Any) -> Callable[[FakeProvider], None]:
    return lambda fake: setattr(fake.openid, "change_metadata", _changing(changes))


def _wants_nonces(fake: FakeProvider) -> None:
    fake.oauth2.requires_dpop = True
    fake.oauth2.dpop.demands_nonces = fake.api.dpop.demands_nonces = True
    fake.oauth2.dpop.rotates_nonces = fake.api.dpop.rotates_nonces = True


def _wants_proofs_alone(fake: FakeProvider) -> None:
    fake.oauth2.requires_dpop = True


def _spells_its_scheme_oddly(fake: FakeProvider) -> None:
    _wants_nonces(fake)
    fake.api.dpop.scheme = "dPOP"


def _wants_request_uri(fake: FakeProvider) -> None:
    callback(code=MISSING, error="invalid_request")(fake)
    _metadata(require_request_uri_registration=True, request_uri_parameter_supported=True)(fake)


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


INVALID = "id_token_invalid"
OTHER = "https://attacker.example"
DISTANT = {"endpoint": "http://169.254.169.254/latest", "access_token": "x"}

_BASIC = {
    "": Module("connected"),
    "-invalid-iss": Module(INVALID, claims(iss=OTHER)),
    "-missing-sub": Module(INVALID, claims(sub=MISSING)),
    "-invalid-aud": Module(INVALID, claims(aud="somebody")),
    "-missing-iat": Module(INVALID, claims(iat=MISSING)),
    "-kid-absent-single-jwks": Module("connected", _nameless_keys(1)),
    "-kid-absent-multiple-jwks": Module("connected", _nameless_token),
    "-idtoken-sig-rs256": Module("connected"),
    "-idtoken-sig-none": Module(INVALID, _unsigned),
    "-invalid-sig-rs256": Module(INVALID, _forged),
    "-userinfo-invalid-sub": Module("userinfo_mismatch", _userinfo(sub="account-2")),
    "-nonce-invalid": Module(INVALID, claims(nonce="another")),
    "-scope-userinfo-claims": Module("connected", _userinfo(name="Ada of the userinfo")),
    "-client-secret-basic": Module("connected"),
}
_COMPREHENSIVE = {
    "-missing-aud": Module(INVALID, claims(aud=MISSING)),
    "-invalid-sig-es256": Module(INVALID, _forged_es256, dialect={"id_token_signed_response_alg": "ES256"}),
    "-invalid-sig-hs256": Module(INVALID, _forged_hs256, dialect={"id_token_signed_response_alg": "HS256"}),
    "-invalid-athash": Module(INVALID, claims(at_hash=b64(bytes(16)))),
    "-invalid-chash": Module(INVALID, claims(c_hash=b64(bytes(16)))),
    "-missing-athash": Module("connected", claims(at_hash=MISSING)),  # REQUIRED in the implicit flow only
    "-missing-chash": Module("connected", claims(c_hash=MISSING)),  # … in the hybrid flow only
    "-nonce-unless-code-flow": Module(INVALID, claims(nonce=MISSING)),  # we always send one
    "-userinfo-signed": Module("connected", _signed_userinfo, dialect={"userinfo_signed_response_alg": "RS256"}),
    "-userinfo-bearer-header": Module("connected"),
    "-userinfo-bearer-body": Module("identity_unavailable", _userinfo_wants_body),  # RFC 6750 §2.2: not offered
    "-mtls-endpoint-aliases": Module(
        "connected", _metadata(mtls_endpoint_aliases={"token_endpoint": OTHER}), act="discover"
    ),
    "-aggregated-claims": Module(
        "connected", _userinfo(_claim_names={"a": "s"}, _claim_sources={"s": {"JWT": "e30.e30."}})
    ),
    "-distributed-claims": Module("connected", _userinfo(_claim_names={"a": "s"}, _claim_sources={"s": DISTANT})),
    "-request-uri-signed-rs256": Module(
        "provider_error", _wants_request_uri
    ),  # signed requests by reference: not offered here
    "-request-uri-signed-none": Module("provider_error", _wants_request_uri),
    "-3rd-party-init-login": Module("refused", act="visit", visit="/oauth/connect/fake/?iss={issuer}&login_hint=ada"),
}
_CONFIG = {
    "-discovery-openid-config": Module("connected", act="discover"),
    "-discovery-jwks-uri-keys": Module("connected", act="discover"),
    "-discovery-issuer-mismatch": Module("discovered_issuer_mismatch", _metadata(issuer=OTHER), act="discover"),
    "-signing-key-rotation": Module("connected", act="second login", then=lambda fake: fake.openid.rotate()),
    "-signing-key-rotation-just-before-signing": Module(
        "connected", act="second login", then=lambda fake: fake.openid.rotate(keeps_old=True)
    ),
}
_REFRESH = {
    "-refresh-token": Module("refreshed", act="refresh"),
    "-refresh-token-invalid-issuer": Module("identity_changed", refreshed_claims(iss=OTHER), act="refresh"),
    "-refresh-token-invalid-sub": Module("identity_changed", refreshed_claims(sub="account-2"), act="refresh"),
}
_FORM_POST = {"-form-post-error": Module("refused", act="visit", visit="POST /oauth/callback/fake/")}
_LOGOUT = {
    f"-rp-backchannel-rpinitlogout-{fault}": Module("refused", act="visit", visit="POST /oauth/logout/fake/")
    for fault in ("alg-none", "no-event", "with-nonce", "wrong-alg", "wrong-aud", "wrong-event", "wrong-iss")
}
_FAPI2 = {
    "refresh-token-test": Module("refreshed", act="refresh"),
    "test-discovery-issuer-mismatch": _CONFIG["-discovery-issuer-mismatch"],
    "test-ensure-authorization-response-with-invalid-state-fails": Module("state_unknown", callback(state="invented")),
    "test-ensure-authorization-response-with-invalid-missing-state-fails": Module(
        "state_missing", callback(state=MISSING)
    ),
    "test-invalid-authorization-response-iss": Module("issuer_mismatch", callback(iss=OTHER)),
    "test-remove-authorization-response-iss": Module("issuer_missing", callback(iss=MISSING)),
    "test-invalid-iss": _BASIC["-invalid-iss"],
    "test-invalid-aud": _BASIC["-invalid-aud"],
    "test-invalid-secondary-aud": Module(INVALID, claims(aud=lambda members: [members["aud"], "somebody"])),
    "test-invalid-missing-aud": _COMPREHENSIVE["-missing-aud"],
    "test-invalid-missing-iss": Module(INVALID, claims(iss=MISSING)),
    "test-invalid-missing-exp": Module(INVALID, claims(exp=MISSING)),
    "test-invalid-expired-exp": Module(INVALID, claims(exp=lambda members: members["iat"] - 301)),
    "test-invalid-nonce": _BASIC["-nonce-invalid"],
    "test-invalid-missing-nonce": _COMPREHENSIVE["-nonce-unless-code-flow"],
    "test-invalid-null-alg": _BASIC["-idtoken-sig-none"],
    "test-invalid-alternate-alg": Module(INVALID, _rs256_key_as_secret),
    "test-valid-aud-as-array": Module("connected", claims(aud=lambda members: [members["aud"]])),
    "test-token-type-case-insensitivity": Module(
        "connected", lambda fake: setattr(fake.oauth2, "token_type", "bEARER")
    ),
    "test-token-endpoint-response-without-expires_in": Module(
        "connected", lambda fake: setattr(fake.oauth2, "expires_in", None)
    ),
    "test-rs-dpop-auth-scheme-case-insensitivity": Module("called", _spells_its_scheme_oddly, act="call", dpop=True),
    "test-happy-path": Module("called", _wants_nonces, act="call", dpop=True),
    "test-happy-path-no-dpop-nonce": Module("called", _wants_proofs_alone, act="call", dpop=True),
}
_JARM = {
    f"test-ensure-jarm-{fault}": Module("signed_response_invalid", set_up, columns={"response_mode": "jwt"})
    for fault, set_up in {
        "without-iss-fails": answer_claims(iss=MISSING),
        "with-invalid-iss-fails": answer_claims(iss=OTHER),
        "without-aud-fails": answer_claims(aud=MISSING),
        "with-invalid-aud-fails": answer_claims(aud="somebody-else"),
        "without-exp-fails": answer_claims(exp=MISSING),
        "with-expired-exp-fails": answer_claims(exp=lambda members: members["exp"] - 600),
        "with-invalid-sig-fails": _answers_signed_by_another,
        "signature-is-not-none": _answers_without_signature,
    }.items()
}


def _named(prefix: str, modules: Mapping[str, Module]) -> dict[str, Module]:
    return {prefix + name: module for name, module in modules.items()}


def _with_iss(module: Module) -> Module:
    """In FAPI 2.0 the server always names itself in the callback."""
    sends = lambda fake: setattr(fake.oauth2, "sends_iss", True)  # noqa: E731
    return replace(module, set_up=both(sends, module.set_up))


OIDCC, FAPI2 = "oidcc-client-test", "fapi2-security-profile-final-client-"
MODULES: dict[str, Module] = {
    **_named(OIDCC, {**_BASIC, **_COMPREHENSIVE, **_CONFIG, **_REFRESH, **_FORM_POST, **_LOGOUT}),
    **{FAPI2 + name: _with_iss(module) for name, module in {**_FAPI2, **_JARM}.items()},
}
"""Every module by its name in the suite."""
