"""Write ``docs/fapi.md``: FAPI 2.0's requirements for clients, and the tests behind them: ``python -m tests.contract.fapi``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "fapi.md"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What the profile demands, in our words; where it says so; what makes it so here; the tests that fail otherwise.

    ``awaited`` marks a part that is built apart from this page: its tests are named here before they are there.
    """

    section: str
    demands: str
    here: str
    tests: tuple[str, ...]
    awaited: bool = False


DPOP = "flows/test_dpop.py::"
MTLS = "protocol/test_certificates.py::"
SIGNED, ANSWERS = "modern/test_signed_requests.py::", "modern/test_signed_answers.py::"

REQUIREMENTS = (
    Requirement(
        "SP 5.2.1",
        "TLS everywhere, the server's certificate checked",
        "Always; plain http only to loopback, with `internal`",
        (
            "protocol/test_outbound.py::test_tls_that_cannot_be_trusted_is_not_used",
            "protocol/test_outbound.py::test_the_name_is_resolved_once_and_tls_still_checks_the_name",
            "protocol/test_outbound.py::test_a_redirect_from_https_to_http_is_not_followed",
        ),
    ),
    Requirement(
        "SP 5.3.3.1",
        "Sender-constrained access tokens, by DPoP or mutual TLS",
        "`dpop_bound_access_tokens`; a client certificate",
        (
            f"{DPOP}test_one_key_goes_with_a_grant_from_its_start_to_its_end",
            f"{DPOP}test_a_token_that_anybody_could_use_is_refused",
            f"{MTLS}test_a_bound_token_is_used_with_the_certificate",
        ),
        awaited=True,
    ),
    Requirement(
        "SP 5.3.3.1",
        "With DPoP: the nonces that servers hand out",
        "One repetition with the nonce, at token endpoint and API",
        (
            f"{DPOP}test_a_nonce_at_the_token_endpoint_costs_neither_code_nor_grant",
            f"{DPOP}test_a_nonce_at_the_api_is_given_once_and_remembered",
        ),
        awaited=True,
    ),
    Requirement(
        "SP 5.3.3.1",
        "With mutual TLS: the endpoints' aliases in the metadata",
        "Taken from discovery, and used by who shows a certificate alone",
        (
            f"{MTLS}test_aliases_are_taken_from_metadata_and_vetted",
            f"{MTLS}test_an_alias_is_used_by_who_shows_a_certificate_and_by_nobody_else",
        ),
        awaited=True,
    ),
    Requirement(
        "SP 5.3.3.1",
        "Client authentication by `private_key_jwt` or mutual TLS",
        "`token_endpoint_auth_method`; our keys at `/oauth/jwks/<slug>/`",
        (
            "protocol/test_assertions.py::test_a_connection_lives_by_a_key_that_the_service_has_fetched_from_us",
            "modern/test_key_rotation.py::test_no_moment_of_a_rotation_is_one_in_which_we_are_not_known",
        ),
    ),
    Requirement(
        "SP 5.3.3.1",
        "`aud` of an assertion is the issuer, as one string",
        "The default; another choice raises `oauth_flows.W060`",
        (
            "protocol/test_assertions.py::test_an_assertion_is_for_the_issuer_alone_short_lived_and_made_anew",
            "protocol/test_assertions.py::test_a_foreign_token_endpoint_does_not_change_whom_an_assertion_is_for",
        ),
    ),
    Requirement(
        "SP 5.3.3.1",
        "Access tokens in the Authorization header",
        "Unless the dialect says otherwise",
        ("modern/test_fapi.py::test_everything_at_once_from_discovery_to_revocation",),
    ),
    Requirement(
        "SP 5.3.3.1",
        "No open redirector",
        "`next` is a path of this site, or dropped",
        ("security/test_start.py::test_a_foreign_next_falls_back_to_the_default_page_at_start_and_at_the_end",),
    ),
    Requirement(
        "SP 5.3.3.1",
        "Refresh tokens, and their rotation",
        "The rotated token is stored before anybody sees it",
        (
            "journeys/test_oauth2.py::test_an_expired_token_is_refreshed_on_the_way_and_the_rotated_one_is_kept",
            "concurrency/test_storing_answers.py::test_a_database_that_fails_for_a_moment_does_not_lose_the_rotated_token",
        ),
    ),
    Requirement(
        "SP 5.3.3.1",
        "Only what the metadata document says is used",
        "`add_provider --issuer`; pinned, and a change waits for staff",
        (
            "oidc/test_toolkit.py::test_a_discovered_provider_is_connected_called_refreshed_and_revoked",
            "oidc/test_discovery.py::test_a_fault_of_the_issuer_is_refused_and_nothing_else_is_asked",
        ),
    ),
    Requirement(
        "SP 5.3.3.1",
        "The issuer's URL comes from who may say so, by a safe way",
        "Staff enter it, over https",
        ("oidc/test_discovery.py::test_what_can_be_no_issuer_is_not_asked",),
    ),
    Requirement(
        "SP 5.3.3.1",
        "The metadata's issuer is the one that was asked",
        "Compared as an exact string",
        ("oidc/test_discovery.py::test_metadata_of_another_issuer_are_refused",),
    ),
    Requirement(
        "SP 5.3.3.1",
        "The user starts, knowingly, and nobody can start for them",
        "POST with a CSRF token; a page that says what is asked for",
        ("security/test_start.py::test_a_start_is_a_post_with_a_csrf_token_from_our_own_origin",),
    ),
    Requirement(
        "SP 5.3.3.1",
        "As few privileges as needed",
        "Default scopes, more later; authorization details",
        (
            "modern/test_incremental.py::test_named_scopes_are_asked_for_beside_what_was_granted",
            "modern/test_authorization_details.py::test_a_caller_asks_for_listed_types_only",
        ),
    ),
    Requirement(
        "SP 5.3.3.2",
        "The authorization code grant",
        "The only one with a user",
        ("modern/test_fapi.py::test_everything_at_once_from_discovery_to_revocation",),
    ),
    Requirement(
        "SP 5.3.3.2",
        "Pushed authorization requests",
        "`pushed_authorization_request_endpoint`; from then on always",
        ("security/test_par.py::test_the_browser_carries_a_reference_and_nothing_else",),
    ),
    Requirement(
        "SP 5.3.3.2",
        "Nothing but `client_id` and `request_uri` in the browser",
        "Always, where requests are pushed",
        ("security/test_par.py::test_the_browser_carries_a_reference_and_nothing_else",),
    ),
    Requirement(
        "SP 5.3.3.2",
        "PKCE with S256, made for each request and bound to client and browser",
        "The default; anything else raises a check",
        (
            "security/test_start.py::test_pkce_is_s256_with_a_fresh_verifier_each_time",
            "security/test_callback.py::test_the_same_user_in_another_browser_cannot_finish",
        ),
    ),
    Requirement(
        "SP 5.3.3.2",
        "`iss` in the answer is checked",
        "`authorization_response_iss_parameter_supported`, from discovery",
        (
            "security/test_callback.py::test_another_spelling_of_the_issuer_is_another_issuer",
            "security/test_callback.py::test_a_stripped_issuer_is_noticed_and_an_unannounced_one_must_match",
        ),
    ),
    Requirement(
        "SP 5.3.3.2",
        "With OpenID Connect: a nonce of at most 64 characters",
        "43 characters, made for each login",
        ("oidc/test_login.py::test_every_login_has_a_nonce_of_its_own_that_only_we_know",),
    ),
    Requirement(
        "SP 5.3.3.1, note 2",
        "With DPoP: the code may be bound to the key, too",
        "`dpop_jkt`",
        (f"{DPOP}test_the_authorization_commits_to_the_key",),
        awaited=True,
    ),
    Requirement(
        "SP 5.4.1",
        "JWTs by RFC 8725, signed with PS256, ES256 or EdDSA; never `none`",
        "`token_endpoint_auth_signing_alg`, `request_object_signing_alg`, `authorization_signed_response_alg`, "
        "`id_token_signed_response_alg`: one algorithm each",
        (
            "modern/test_key_rotation.py::test_assertions_are_signed_by_the_algorithm_agreed",
            f"{ANSWERS}test_an_answer_that_the_service_has_not_signed_is_refused",
            "oidc/test_conformance.py::test_the_module_ends_as_it_must",
        ),
    ),
    Requirement(
        "SP 5.4.1",
        "RSA keys of 2048 bits or more",
        "3072 for those made here; shorter ones of others verify nothing",
        ("oidc/test_signatures.py::test_a_short_rsa_key_verifies_nothing",),
    ),
    Requirement(
        "SP 5.4.3",
        "Keys that share a `kid`",
        "All of them that fit are tried",
        ("oidc/test_signatures.py::test_keys_that_share_a_kid_are_all_tried",),
    ),
    Requirement(
        "MS 5.3",
        "Signed requests (RFC 9101) with `aud`, `nbf`, `exp` and `typ`, pushed",
        "`request_object_signing_alg`",
        (
            f"{SIGNED}test_the_browser_carries_one_signed_object_and_nothing_else_counts",
            f"{SIGNED}test_a_signed_object_is_pushed",
        ),
    ),
    Requirement(
        "MS 5.4",
        "Signed answers (JARM): `iss`, `aud`, `exp`, signature",
        "`response_mode`: `jwt`",
        (
            f"{ANSWERS}test_an_answer_that_is_not_for_us_now_is_refused",
            f"{ANSWERS}test_an_answer_that_the_service_has_not_signed_is_refused",
            f"{ANSWERS}test_an_unsigned_answer_is_refused_where_a_signed_one_was_agreed",
        ),
    ),
)

INTRODUCTION = """# FAPI 2.0

Generated by `python -m tests.contract.fapi`; a test fails if this page is stale or names a test that is not there.

What the FAPI 2.0 Security Profile (*SP*) demands of a client, in our words, and the tests that fail without it; below, the parts of FAPI 2.0 Message Signing (*MS*) that are here: signed
requests and signed answers, not HTTP signatures. [modern.md](modern.md) says how a provider is set up for it. The OpenID Foundation's modules are played by the fake provider
([oidc.md](oidc.md#conformance)); nobody has certified this package.
"""

OPEN = "**open**: not in this version"


def render() -> str:
    """Return the page's text."""
    lines = [INTRODUCTION, "| where | the client | here | tests |", "|---|---|---|---|"]
    return "\n".join([*lines, *map(_row, REQUIREMENTS)]) + "\n"


def named() -> Iterator[tuple[Requirement, str]]:
    """Yield each requirement with each test that it names."""
    for requirement in REQUIREMENTS:
        for test in requirement.tests:
            yield requirement, test


@cache
def exists(test: str) -> bool:
    """Tell whether there is a test of that name in that file, below ``tests``."""
    place, _, name = test.partition("::")
    path = TESTS / place
    if not path.exists():
        return False
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, functions) and node.name == name for node in ast.walk(tree))


def _row(requirement: Requirement) -> str:
    there = [test for test in requirement.tests if exists(test)]
    tests = "<br>".join(f"`{test}`" for test in there) if there else OPEN
    return f"| {requirement.section} | {requirement.demands} | {requirement.here if there else ''} | {tests} |"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
