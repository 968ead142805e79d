"""Whom we believe: ID tokens, keys, userinfo and metadata; and what we sign ourselves."""

from __future__ import annotations

from tests.contract.mutants.base import Change, mutant

TOKEN = "protocol/id_token.py"
KEYS = "protocol/jwks.py"
SHAPE = "protocol/jws.py"
CLAIMS = "oidc/test_id_token.py::"
SIGNATURES = "oidc/test_signatures.py::"
KEY_SETS = "oidc/test_keys.py::"
LOGIN = "oidc/test_login.py::"
DISCOVERY = "oidc/test_discovery.py::"
ASSERTIONS = "protocol/test_assertions.py::"
VETTED = "protocol/test_vetted_endpoints.py::"

BELIEVING = (
    mutant(
        "I01", "the issuer is the configured one", TOKEN,
        "if not isinstance(issuer, str) or not same(issuer, registration.server.issuer):", "if False:",
        CLAIMS + "test_the_issuer_is_the_configured_one_and_nothing_like_it",
    ),
    mutant(
        "I02", "we are the only audience", TOKEN,
        "if len(audiences) != 1 or not isinstance(audiences[0], str) or not same(audiences[0], client_id):",
        "if client_id not in audiences:",
        CLAIMS + "test_the_audience_is_this_client_alone",
    ),
    mutant(
        "I03", "an expired token is refused", TOKEN, "if expires_at <= now - skew:", "if False:",
        CLAIMS + "test_the_times_are_whole_numbers_and_now",
    ),
    mutant(
        "I03", "an old token is refused", TOKEN, "if issued_at < now - skew - OLDEST:", "if False:",
        CLAIMS + "test_the_times_are_whole_numbers_and_now",
    ),
    mutant(
        "I03", "the authorized party is this client", TOKEN,
        'if "azp" in claims and not (isinstance(party, str) and same(party, client_id)):', "if False:",
         CLAIMS + "test_one_audience_may_stand_in_a_list_and_azp_may_repeat_it",
    ),
    mutant(
        "I04", "the nonce is this login's", TOKEN,
        "if nonce is None or not isinstance(given, str) or not same(given, nonce.reveal()):", "if False:",
        CLAIMS + "test_the_nonce_is_this_logins",
    ),
    mutant(
        "I05", "a wrong signature is wrong", KEYS,
        "    except (jwt.PyJWTError, ValueError, TypeError):\n        return False", "    except (jwt.PyJWTError, ValueError, TypeError):\n        return True",
        SIGNATURES + "test_every_algorithm_verifies_and_no_flipped_bit_passes",
    ),
    mutant(
        "I06", "an unsigned token is refused", SHAPE,
        'if not isinstance(header.get("alg"), str) or header["alg"] != algorithm:', "if False:",
        SIGNATURES + "test_an_unsigned_token_is_refused_whatever_it_calls_itself",
        also=(
            Change(
                KEYS, "algorithms=[algorithm])",
                'algorithms=[algorithm], options={"verify_signature": parts.header.get("alg") == algorithm})',
            ),
        ),
    ),
    mutant(
        "I07", "a key is for signatures of its own kind", KEYS, "if family.admits(key) and ", "if ",
        SIGNATURES + "test_an_algorithm_admits_keys_of_its_own_curve",
        SIGNATURES + "test_a_key_that_is_for_something_else_verifies_nothing",
        SIGNATURES + "test_a_key_of_another_curve_verifies_nothing_though_the_set_says_it_does",
    ),
    mutant(
        "I07", "a short key verifies nothing", KEYS, "if family.is_strong(made.key):", "if True:",
        SIGNATURES + "test_a_short_rsa_key_verifies_nothing",
    ),
    mutant(
        "I08", "a token that names a key is verified with that one", KEYS,
        'if parts.key_id is not None and key.get("kid") != parts.key_id:', "if False:",
        SIGNATURES + "test_an_odd_kid_finds_no_key",
    ),
    mutant(
        "I08", "so many keys of a set are looked at, and no more", KEYS, "return usable[:MOST_KEYS]", "return usable",
        SIGNATURES + "test_no_more_than_twenty_keys_are_looked_at",
    ),
    mutant(
        "I09", "unknown keys cost one request in a minute", KEYS,
        "if now - present.asked_at < ASKED_EVERY and now - present.fetched_at < KEPT_FOR:", "if False:",
        KEY_SETS + "test_a_thousand_unknown_keys_cost_one_request_in_a_minute",
    ),
    mutant(
        "I09", "a new key is looked for", KEYS, "if known is before and (newer", "if False and (newer",
        KEY_SETS + "test_a_new_key_is_found_at_once",
    ),
    mutant(
        "I10", "the last good keys serve while the server does not answer", KEYS,
        "if present is None or now - present.fetched_at >= KEPT_FOR:", "if True:",
        KEY_SETS + "test_the_last_good_keys_serve_for_a_day",
    ),
    mutant(
        "I10", "a key's private half is not looked at", KEYS, "for name in (*_ABOUT, *members) if name in key}", "for name in key}",
        KEY_SETS + "test_a_private_half_that_a_server_publishes_is_not_looked_at",
    ),
    mutant(
        "I11", "a header that changes what the token is is refused", SHAPE,
        "if any(name in header for name in _UNDERSTOOD_BY_NONE):", "if False:",
        SIGNATURES + "test_a_header_that_changes_what_the_token_is_is_refused",
    ),
    mutant(
        "I11", "a token of another kind is refused", SHAPE, "if not isinstance(kind, str) or kind.lower() not in types:", "if False:",
        SIGNATURES + "test_a_header_that_changes_what_the_token_is_is_refused",
    ),
    mutant(
        "I12", "a hash is of this code and token", TOKEN,
        "if not isinstance(claims[name], str) or not same(claims[name], expected):", "if False:",
        CLAIMS + "test_a_hash_of_another_token_or_code_is_refused",
    ),
    mutant(
        "I13", "no claim occurs twice", SHAPE, "if len(found) != len(items):", "if False:",
        CLAIMS + "test_a_claim_that_occurs_twice_is_refused_though_it_is_signed",
    ),
    mutant(
        "I14", "an ID token that was asked for must come", TOKEN,
        "    if tokens.id_token is None:\n        raise", "    if tokens.id_token is None:\n        return {}\n        raise",
        LOGIN + "test_a_missing_id_token_is_refused_and_nothing_is_stored",
    ),
    mutant(
        "I15", "userinfo speaks of the ID token's account", "protocol/userinfo.py",
        "if id_token and not _is_of(claims, id_token):", "if False:",
        LOGIN + "test_userinfo_of_another_person_is_refused",
    ),
    mutant(
        "I15", "userinfo that must be signed is", "protocol/userinfo.py",
        '        if algorithm:\n            raise _mismatch("it is not signed")', "        pass",
        LOGIN + "test_userinfo_that_must_be_signed_is_nothing_else",
    ),
    mutant(
        "I16", "what is no text and no number is no id", "protocol/identity.py",
        "    if not isinstance(value, str) or not value or", "    value = str(value)\n    if not value or",
        "flows/test_identity_documents.py::test_what_is_no_id_is_none",
    ),
    mutant(
        "I17", "a refresh answers for the same account", TOKEN,
        'return bool(claims["sub"] != first.subject)', "return False",
        LOGIN + "test_a_refresh_for_somebody_else_is_discarded_and_staff_are_told",
    ),
    mutant(
        "I19", "metadata speak for the issuer that was asked", "protocol/discovery.py",
        'if document.get("issuer") != issuer:', "if False:",
        DISCOVERY + "test_metadata_of_another_issuer_are_refused",
    ),
    mutant(
        "I20", "a server that cannot do what we need is refused", "protocol/discovery.py",
        "    _check_offers(document)\n", "",
        DISCOVERY + "test_a_server_that_lacks_what_we_need_is_refused_by_the_members_name",
    ),
    mutant(
        "I20", "a discovered endpoint is one that may be called", "protocol/discovery.py",
        "        check_endpoint(url, internal=internal)\n", "",
        DISCOVERY + "test_an_endpoint_that_may_not_be_called_is_refused_by_its_name",
    ),
    mutant(
        "I21", "a changed endpoint is told and not adopted", "flows/discovering.py",
        "    if noted.differences:\n", "    if Provider.objects.filter(pk=provider.pk).update(token_endpoint=found['token_endpoint']) == 0:\n",
        DISCOVERY + "test_a_changed_endpoint_waits_for_staff",
    ),
    mutant(
        "T17", "an assertion is for the issuer, wherever it goes", "protocol/assertions.py",
        'if audience == "token_endpoint":', "if True:",
        ASSERTIONS + "test_an_assertion_is_for_the_issuer_alone_short_lived_and_made_anew",
        ASSERTIONS + "test_a_foreign_token_endpoint_does_not_change_whom_an_assertion_is_for",
    ),
    mutant(
        "T17", "an assertion holds for a minute", "protocol/assertions.py", "LIFETIME = 60", "LIFETIME = 3600",
        ASSERTIONS + "test_an_assertion_is_for_the_issuer_alone_short_lived_and_made_anew",
    ),
    mutant(
        "T17", "no assertion is sent twice", "protocol/assertions.py", '"jti": secrets.token_urlsafe(32),', '"jti": "1",',
        ASSERTIONS + "test_an_assertion_is_for_the_issuer_alone_short_lived_and_made_anew",
    ),
    mutant(
        "H06", "an endpoint is vetted when it is used", "protocol/endpoints.py",
        "        check_endpoint(url, internal=registration.transport.internal)\n", "",
        VETTED + "test_what_can_be_no_endpoint_is_refused_before_anything_is_sent",
    ),
    mutant(
        "H06", "an address is vetted when it is connected to", "protocol/addresses.py",
        "    if _in_any(address, INTERNAL):\n        return internal", "    if _in_any(address, INTERNAL):\n        return True",
        VETTED + "test_a_private_address_is_not_connected_to",
    ),
)  # fmt: skip
