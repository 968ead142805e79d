"""How an authorization begins and comes back, and what the pages, the admin, the API and the checks let pass."""

from __future__ import annotations

from tests.contract.mutants.base import Change, mutant

START = "security/test_start.py::"
CALLBACK = "security/test_callback.py::"
ANSWERS = "modern/test_signed_answers.py::"
FORMS = "security/test_callback_forms.py::"
CHECKS = "surfaces/test_checks.py::"
ADMIN = "security/test_admin.py::"
API = "surfaces/test_api.py::"
DISCONNECT = "security/test_disconnect.py::"

ENTERING = (
    mutant(
        "A11", "so many requests are pending, and no more", "flows/starting.py",
        "if surplus := pending[LIVE_REQUESTS - 1 :]:", "if surplus := pending[:0]:",
        START + "test_a_flood_of_starts_leaves_at_most_twenty_live_requests_and_is_slowed",
    ),
    mutant(
        "A11", "starts that come too fast are refused", "flows/starting.py", ">= STARTS_PER_MINUTE:", ">= 10**6:",
        START + "test_a_flood_of_starts_leaves_at_most_twenty_live_requests_and_is_slowed",
    ),
    mutant(
        "A14", "a link is for one user", "tickets.py", "if user_pk != str(user.pk):", "if False:",
        "surfaces/test_tickets.py::test_it_is_for_one_user_only",
    ),
    mutant(
        "A14", "a link ends", "tickets.py", "max_age=MAX_AGE)", "max_age=None)",
        "surfaces/test_tickets.py::test_it_ends_after_ten_minutes",
    ),
    mutant(
        "A15", "what is no reference is none", "protocol/par.py",
        "if response.status != HTTPStatus.CREATED or not is_reference or not lifetime:", "if False:",
        "security/test_par.py::test_what_is_no_reference_ends_the_start",
    ),
    mutant(
        "A16", "no page is framed", "views/shielding.py",
        '    response["X-Frame-Options"] = "DENY"\n    _forbid_framing(response)\n', "",
        START + "test_a_site_that_lets_itself_be_framed_does_not_let_our_pages",
        START + "test_no_page_can_be_framed_or_cached_and_none_loads_foreign_assets",
    ),
    mutant(
        "B11", "the issuer is compared exactly", "protocol/authorization.py",
        'if not hmac.compare_digest(values["iss"].encode("utf-8", "surrogatepass"), server.known_issuer.encode()):',
        'if values["iss"].strip("/").lower() != server.known_issuer.strip("/").lower():',
        CALLBACK + "test_another_spelling_of_the_issuer_is_another_issuer",
    ),
    mutant(
        "B12", "an issuer that is always sent is missed", "protocol/authorization.py",
        "if server.authorization_response_iss_parameter_supported:", "if False:",
        CALLBACK + "test_a_stripped_issuer_is_noticed_and_an_unannounced_one_must_match",
    ),
    mutant(
        "B20", "a kept answer is for the browser that brought it", "flows/answers.py",
        'if len(handles) > 1 or not hmac.compare_digest(hash_secret(Secret(handles[0])), kept.get("handle", "")):', "if not kept:",
        FORMS + "test_a_posted_answer_is_for_the_browser_that_posted_it_and_that_started",
    ),
    mutant(
        "B20", "a posted answer waits for a minute", "flows/answers.py",
        'if datetime.fromisoformat(kept["until"]) <= _now(request):', "if False:",
        FORMS + "test_a_posted_answer_waits_for_a_minute",
    ),
    mutant(
        "B21", "a strict session comes back from a page of ours", "views/callback.py",
        "return is_strict and not request.user.is_authenticated and", "return False and",
        FORMS + "test_a_strict_session_comes_back_once_from_a_page_of_ours",
    ),
    mutant(
        "B21", "it comes back once", "views/callback.py", "and all(name != HANDLE for name, _ in params)", "and bool(params)",
        FORMS + "test_a_strict_session_comes_back_once_from_a_page_of_ours",
        FORMS + "test_a_lax_session_that_is_missing_is_missing",
    ),
    mutant(
        "B22", "an answer comes in the way that was agreed", "flows/answers.py",
        'raise AuthorizationError("The service answered in another way than agreed.", code="unexpected_response")', "return",
        FORMS + "test_a_query_where_a_form_was_agreed_and_the_other_way_round",
    ),
    mutant(
        "B11", "a signed answer names the issuer that was asked", "protocol/jarm.py",
        'if not _says(claims.get("iss"), registration.server.issuer):', "if False:",
        ANSWERS + "test_an_answer_that_is_not_for_us_now_is_refused",
    ),
    mutant(
        "B11", "a signed answer is made for this client alone", "protocol/jarm.py",
        "if not _says(alone, registration.client_id):", "if False:",
        ANSWERS + "test_an_answer_that_is_not_for_us_now_is_refused",
    ),
    mutant(
        "B11", "a signed answer is over in time", "protocol/jarm.py", 'if moment(claims, "exp") <= now - skew:', "if False:",
        ANSWERS + "test_an_answer_that_is_not_for_us_now_is_refused",
    ),
    mutant(
        "B22", "an unsigned answer is none where a signed one was agreed", "protocol/jarm.py",
        "if registration.response_mode not in SIGNED_MODES:", 'if "response" not in dict(params):',
        ANSWERS + "test_an_unsigned_answer_is_refused_where_a_signed_one_was_agreed",
    ),
    mutant(
        "B24", "a provider that was edited does not get the code", "flows/binding.py", "if not _is_as_it_was(request):", "if False:",
        CALLBACK + "test_a_provider_that_was_edited_meanwhile_does_not_get_the_code",
    ),
    mutant(
        "B26", "an account that somebody else holds is asked about", "flows/completing.py",
        "if met.shared and met.mine is None:", "if False:",
        CALLBACK + "test_an_account_that_somebody_else_holds_is_connected_after_a_yes",
    ),
    mutant(
        "B26", "an account that must be unique is", "flows/holding.py", "if shared and holding.provider.unique_subject:", "if False:",
        CALLBACK + "test_an_account_that_somebody_else_holds_is_refused_where_it_must_be_unique",
    ),
    mutant(
        "B27", "another account is asked about", "flows/completing.py",
        "if _is_other_account(request.reconnects, holding.identity):", "if False:",
        CALLBACK + "test_reconnecting_with_another_account_asks_first_and_overwrites_nothing",
    ),
    mutant(
        "C02", "a session for other sites is reported", "checks/site.py", 'if policy.lower() in ("none", "false"):', "if False:",
        CHECKS + "test_a_session_cookie_for_all_sites_or_for_none_is_reported",
    ),
    mutant(
        "C02", "a session without TLS is reported", "checks/site.py", "if not settings.SESSION_COOKIE_SECURE:", "if False:",
        CHECKS + "test_cookies_and_proxies_that_lose_https_are_reported_before_deployment",
    ),
    mutant(
        "C07", "providers that are one client are reported", "checks/rows.py",
        'if (one.client_id, _address(one, "token_endpoint")) == (other.client_id, _address(other, "token_endpoint")):', "if False:",
        CHECKS + "test_two_providers_of_which_one_could_be_taken_for_the_other_are_reported",
    ),
    mutant(
        "C07", "providers that share users but not codes are reported", "checks/rows.py",
        'elif _host(one, "authorization_endpoint") == _host(other, "authorization_endpoint") != "" and (', "elif False and (",
        CHECKS + "test_two_providers_of_which_one_could_be_taken_for_the_other_are_reported",
    ),
    mutant(
        "C07", "ID tokens that nobody can verify are reported", "models/provider_rules.py",
        'not oauth1 and "openid" in provider.scopes and not _verifies_id_tokens(provider)', "False",
        CHECKS + "test_a_dangerous_provider_setting_is_reported",
    ),
    mutant(
        "D01", "disconnecting needs a token of ours", "views/shielding.py",
        "shielded(require_http_methods(methods)(csrf_protect(entrance)))", "shielded(require_http_methods(methods)(entrance))",
        "surfaces/test_views_connecting.py::test_csrf_protection_does_not_depend_on_the_sites_middleware",
    ),
    mutant(
        "D01", "disconnecting is a POST", "views/shielding.py",
        "shielded(require_http_methods(methods)(csrf_protect(entrance)))", "shielded(csrf_protect(entrance))",
        DISCONNECT + "test_disconnecting_is_a_post_with_a_csrf_token",
    ),
    mutant(
        "D02", "somebody else's connection does not exist", "views/connecting.py",
        'if connection is None or not allows(request.user, "manage", connection):', "if connection is None:",
        DISCONNECT + "test_somebody_elses_connection_does_not_exist",
    ),
    mutant(
        "M01", "a typed secret is not repeated", "admin/provider_form.py",
        "return super().get_context(name, None, attrs)", "return super().get_context(name, value, attrs)",
        ADMIN + "test_a_typed_secret_is_sealed_and_never_shown_again_not_even_with_an_error",
        "security/test_admin_forms.py::test_a_secret_that_cannot_work_is_refused_without_being_repeated",
    ),
    mutant(
        "M02", "who may only look sees no field for a secret", "admin/provider.py",
        "left_out = () if self.has_change_permission(request, obj) else WRITE_ONLY", "left_out = ()",
        ADMIN + "test_staff_who_may_only_look_can_only_look",
    ),
    mutant(
        "M03", "importing needs its own permission", "admin/connection.py",
        'return request.user.has_perm("oauth_flows.import_connection")', "return True",
        ADMIN + "test_draining_and_importing_need_permissions_of_their_own",
    ),
    mutant(
        "M04", "who sends a secret elsewhere knows it", "admin/provider_form.py",
        "if self.before is None or self._knows_secret(cleaned):", "if True:",
        ADMIN + "test_nobody_sends_secrets_to_another_host_without_knowing_them",
    ),
    mutant(
        "M05", "no filter asks for a token", "admin/connection.py",
        'return not lookup.startswith("token") and super().lookup_allowed(lookup, value, request)', "return True",
        ADMIN + "test_no_filter_tells_what_a_connections_token_has",
    ),
    mutant(
        "M09", "a provider in use is not deleted", "admin/provider.py",
        'return obj is None or request.method == "GET" or not obstacles(obj)', "return True",
        ADMIN + "test_a_provider_in_use_is_drained_before_it_is_deleted",
        "security/test_admin_draining.py::test_an_enabled_provider_is_not_deleted",
        also=(
            Change(
                "admin/provider.py",
                "protected = [f\"{provider}: {', '.join(reasons)}\" for provider, reasons in waiting if reasons]",
                "protected: list[str] = []",
            ),
        ),
    ),
    mutant(
        "P01", "an inactive user is nobody", "api/base.py",
        "return user is not None and user.is_authenticated and user.is_active", "return user is not None and user.is_authenticated",
        API + "test_an_inactive_user_whom_the_sites_authentication_lets_pass_is_refused",
    ),
    mutant(
        "P03", "a member without a meaning is refused", "api/serializers.py",
        "if isinstance(data, Mapping) and (unknown :=", "if False and (unknown :=",
        API + "test_a_start_refuses_members_it_has_no_use_for",
    ),
    mutant(
        "P08", "no cache keeps an answer", "api/base.py", '        response["Cache-Control"] = "private, no-store"\n', "",
        API + "test_no_cache_may_keep_an_answer",
    ),
)  # fmt: skip
