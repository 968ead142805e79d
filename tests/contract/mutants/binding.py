"""Tokens that are bound to a key or to a certificate: who has found one can do nothing with it."""

from __future__ import annotations

from tests.contract.mutants.base import Change, mutant

FLOWS, VALUES, CERTIFICATES = "flows/test_dpop.py::", "protocol/test_dpop.py::", "protocol/test_certificates.py::"

BINDING = (
    mutant(
        "T08", "a token that anybody could use is refused", "protocol/parsing.py",
        'if isinstance(value, str) and value.lower() == "dpop":', "if True:",
        FLOWS + "test_a_token_that_anybody_could_use_is_refused",
    ),
    mutant(
        "T18", "a certificate is shown to an API only where tokens are bound to it", "protocol/messages.py",
        "return self.own_transport if self.tls_client_certificate_bound_access_tokens else self.transport",
        "return self.own_transport",
        CERTIFICATES + "test_the_certificate_alone_says_who_the_client_is",
    ),
    mutant(
        "T18", "a certificate has connections of its own", "protocol/pool.py",
        "_digest(policy.client_certificate))", 'b"")',
        CERTIFICATES + "test_connections_of_one_certificate_are_nobody_elses",
    ),
    mutant(
        "T18", "an alias is for who shows a certificate", "models/provider_registration.py",
        "    if certificate is not None:\n        endpoints", "    if True:\n        endpoints",
        CERTIFICATES + "test_an_alias_is_used_by_who_shows_a_certificate_and_by_nobody_else",
    ),
    mutant(
        "T18", "a certificate's key lies on the disk encrypted", "protocol/certificates.py",
        "BestAvailableEncryption(password)", "NoEncryption()",
        CERTIFICATES + "test_the_key_lies_on_the_disk_encrypted_and_for_a_moment",
        also=(Change("protocol/certificates.py", "    BestAvailableEncryption,\n", "    NoEncryption,\n"),),
    ),
    mutant(
        "T18", "the end of a certificate is spoken of a month ahead", "checks/rows.py",
        "ENDS_SOON = timedelta(days=30)", "ENDS_SOON = timedelta(0)",
        CERTIFICATES + "test_a_month_before_its_end_a_check_speaks_of_it",
    ),
    mutant(
        "T19", "the token endpoint is given the nonce that it asks for", "protocol/dpop.py",
        "    if not _wants_nonce(response):\n", "    if True:\n",
        FLOWS + "test_a_nonce_at_the_token_endpoint_costs_neither_code_nor_grant",
    ),
    mutant(
        "T19", "a request that is sent once more is authenticated anew", "protocol/dpop.py",
        "    response = _sent(make(), key, policy=policy, deadline=policy.deadline, token=token)\n",
        "    made = make()\n    response = _sent(made, key, policy=policy, deadline=policy.deadline, token=token)\n",
        FLOWS + "test_a_repeated_request_is_authenticated_anew",
        also=(Change("protocol/dpop.py", "return _sent(make(), key", "return _sent(made, key"),),
    ),
    mutant(
        "T19", "an API is given a nonce once for a request", "protocol/use.py",
        "if not asks or self.challenged or not rewindable:", "if not asks or not rewindable:",
        FLOWS + "test_an_api_that_is_never_content_has_its_answer_returned",
    ),
    mutant(
        "T19", "what blames the proof has no token refreshed", "protocol/use.py",
        "return self.credentials.dpop_key is None or not dpop.blames_proof(headers)", "return True",
        FLOWS + "test_a_proof_that_is_refused_says_nothing_of_the_token",
    ),
    mutant(
        "T19", "a challenge is understood in any case", "protocol/dpop.py",
        r'_CHALLENGE = re.compile(r"(?:^|[\s,])dpop\s", re.IGNORECASE)', r'_CHALLENGE = re.compile(r"(?:^|[\s,])DPoP\s")',
        VALUES + "test_a_challenge_is_understood_however_it_is_spelled",
    ),
    mutant(
        "T19", "a nonce is for the key that it was given to", "protocol/dpop.py",
        "hashlib.sha256(key.reveal().encode()).digest()", 'b""',
        VALUES + "test_a_nonce_is_for_one_server_and_one_key_and_few_are_remembered",
    ),
    mutant(
        "T19", "few nonces are remembered", "protocol/dpop.py",
        "while len(self._kept) > MAX_NONCES:", "while False:",
        VALUES + "test_a_nonce_is_for_one_server_and_one_key_and_few_are_remembered",
    ),
    mutant(
        "T19", "a proof is for once", "protocol/dpop.py",
        '"jti": secrets.token_urlsafe(16)', '"jti": "once"',
        FLOWS + "test_one_key_goes_with_a_grant_from_its_start_to_its_end",
    ),
    mutant(
        "T19", "a refresh is proven with the key of the grant", "flows/asking.py",
        'flow.refresh(refresh_token, dpop_key=snapshot.token.open("dpop_key"))', "flow.refresh(refresh_token)",
        FLOWS + "test_one_key_goes_with_a_grant_from_its_start_to_its_end",
    ),
)  # fmt: skip
