"""The names of the test modules in the OpenID Foundation's plans for relying parties, as its suite spells them."""

from __future__ import annotations

OIDCC, FAPI2 = "oidcc-client-test", "fapi2-security-profile-final-client-"

BASIC = (
    "", "-invalid-iss", "-missing-sub", "-invalid-aud", "-missing-iat", "-kid-absent-single-jwks", "-kid-absent-multiple-jwks",
    "-idtoken-sig-rs256", "-idtoken-sig-none", "-invalid-sig-rs256", "-userinfo-invalid-sub", "-nonce-invalid",
    "-scope-userinfo-claims", "-client-secret-basic",
)  # fmt: skip
COMPREHENSIVE = (
    "-missing-aud", "-invalid-sig-es256", "-invalid-sig-hs256", "-invalid-athash", "-invalid-chash", "-missing-athash",
    "-missing-chash", "-nonce-unless-code-flow", "-userinfo-signed", "-userinfo-bearer-header", "-userinfo-bearer-body",
    "-mtls-endpoint-aliases", "-aggregated-claims", "-distributed-claims", "-request-uri-signed-rs256",
    "-request-uri-signed-none", "-3rd-party-init-login",
)  # fmt: skip
CONFIG = (
    "-discovery-openid-config", "-discovery-jwks-uri-keys", "-discovery-issuer-mismatch", "-signing-key-rotation",
    "-signing-key-rotation-just-before-signing",
)  # fmt: skip
REFRESH = ("-refresh-token", "-refresh-token-invalid-issuer", "-refresh-token-invalid-sub")
FORM_POST = ("-form-post-error",)
LOGOUT = tuple(
    f"-rp-backchannel-rpinitlogout-{fault}"
    for fault in ("alg-none", "no-event", "with-nonce", "wrong-alg", "wrong-aud", "wrong-event", "wrong-iss")
)
FAPI2_SECURITY_PROFILE = (
    "refresh-token-test",
    "test-discovery-issuer-mismatch",
    "test-ensure-authorization-response-with-invalid-state-fails",
    "test-ensure-authorization-response-with-invalid-missing-state-fails",
    "test-invalid-authorization-response-iss",
    "test-remove-authorization-response-iss",
    "test-invalid-iss", "test-invalid-aud", "test-invalid-secondary-aud", "test-invalid-missing-aud",
    "test-invalid-missing-iss", "test-invalid-missing-exp", "test-invalid-expired-exp", "test-invalid-nonce",
    "test-invalid-missing-nonce", "test-invalid-null-alg", "test-invalid-alternate-alg",
    "test-valid-aud-as-array",
    "test-token-type-case-insensitivity",
    "test-token-endpoint-response-without-expires_in",
    "test-rs-dpop-auth-scheme-case-insensitivity",
    "test-happy-path",
    "test-happy-path-no-dpop-nonce",
)  # fmt: skip
FAPI2_MESSAGE_SIGNING = tuple(
    f"test-ensure-jarm-{fault}"
    for fault in (
        "without-iss-fails", "with-invalid-iss-fails", "without-aud-fails", "with-invalid-aud-fails", "without-exp-fails",
        "with-expired-exp-fails", "with-invalid-sig-fails", "signature-is-not-none",
    )
)  # fmt: skip

NAMES = [OIDCC + name for name in (*BASIC, *COMPREHENSIVE, *CONFIG, *REFRESH, *FORM_POST, *LOGOUT)]
NAMES += [FAPI2 + name for name in (*FAPI2_SECURITY_PROFILE, *FAPI2_MESSAGE_SIGNING)]
