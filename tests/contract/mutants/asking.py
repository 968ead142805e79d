"""Front ends ask by an API, popups tell their page, devices show a code: rows B28, T20, T21 and P02 to P10."""

from __future__ import annotations

from tests.contract.mutants.base import mutant

API, MORE, CALLS = "surfaces/test_api.py::", "surfaces/test_api_more.py::", "surfaces/test_api_calls.py::"
MANAGING, POPUP, DEVICE = "surfaces/test_views_managing.py::", "browser/test_popup.py::", "security/test_device.py::"

ASKING = (
    mutant(
        "B28", "what is no window of ours is no popup", "views/popup.py", "if not _WINDOW.fullmatch(window):", "if not window:",
        f"{MANAGING}test_what_is_no_window_of_ours_is_no_popup",
    ),
    mutant(
        "B28", "the popup's page names what its user may see", "views/popup.py",
        'return row if row is not None and allows(request.user, "view", row) else None', "return row",
        f"{MANAGING}test_the_popups_page_names_no_connection_that_its_user_may_not_see",
    ),
    mutant(
        "B28", "windows of this origin are told, and no others", "static/oauth_flows/popup.js",
        "to.postMessage(said, window.location.origin)", 'to.postMessage(said, "*")',
        f"{POPUP}test_an_opener_of_another_origin_hears_nothing",
    ),
    mutant(
        "B28", "a page goes on to its own site", "static/oauth_flows/popup.js",
        "if (address.origin !== window.location.origin || address.href", "if (address.href",
        f"{POPUP}test_a_page_goes_on_to_its_own_site_only",
    ),
    mutant(
        "T20", "an interval has bounds", "protocol/device.py",
        "interval=max(DEFAULT_INTERVAL, min(interval, LONGEST_INTERVAL)),", "interval=interval,",
        f"{DEVICE}test_an_interval_is_five_seconds_at_least_and_a_minute_at_most",
    ),
    mutant(
        "T20", "who is told to slow down does", "flows/devices.py", "        interval += SLOW_DOWN\n", "        pass\n",
        f"{DEVICE}test_every_slow_down_makes_the_interval_five_seconds_longer_for_good",
    ),
    mutant(
        "T20", "many pages are one poller", "flows/devices.py", "        next_poll_at__lte=DatabaseNow(),\n", "",
        f"{DEVICE}test_ten_pages_are_one_poller",
        f"{DEVICE}test_a_code_is_shown_entered_elsewhere_and_becomes_a_connection",
    ),
    mutant(
        "T20", "both tries of a poll have the time of one", "flows/either_secret.py", "if left < took:", "if False:",
        "flows/test_policy.py::test_both_tries_for_a_code_on_another_device_are_one_poll",
    ),
    mutant(
        "T21", "a code is for the browser and the user that asked for it", "flows/devices.py",
        "browser = check_binding(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)", 'browser = Secret("x")',
        f"{DEVICE}test_nobody_else_sees_polls_or_cancels_it",
    ),
    mutant(
        "T21", "the page to enter a code at is one that may be opened", "protocol/device.py",
        "    check_endpoint(url, internal=internal)\n", "",
        f"{DEVICE}test_what_is_no_code_and_no_page_ends_the_start",
    ),
    mutant(
        "P02", "a token that a provider repeats is blacked out", "protocol/delegation.py",
        'data = data.replace(secret, b"*" * len(secret))', "pass",
        f"{CALLS}test_a_token_that_the_provider_repeats_is_blacked_out",
    ),
    mutant(
        "P02", "a fault of ours is told without its values", "api/problems.py",
        '_broken("internal_error"), HTTPStatus', '{**_broken("internal_error"), "detail": str(error)}, HTTPStatus',
        f"{MORE}test_a_fault_of_ours_is_a_problem_without_its_values",
    ),
    mutant(
        "P04", "a body is small", "api/base.py", "MAX_BODY = 16 * 1024", "MAX_BODY = 1 << 30",
        f"{API}test_a_hostile_body_is_a_problem_and_not_a_crash",
    ),
    mutant(
        "P04", "a body that is nested too deeply is refused", "api/base.py", "except RecursionError:", "except MemoryError:",
        f"{API}test_a_hostile_body_is_a_problem_and_not_a_crash",
    ),
    mutant(
        "P04", "a cursor is one of ours", "api/base.py",
        "if cursor is not None and cursor.position is not None and not self.is_position(str(cursor.position)):", "if False:",
        f"{MORE}test_a_cursor_that_we_have_not_made_leads_nowhere",
    ),
    mutant(
        "P05", "no other page makes a browser call", "api/calls.py",
        'if site not in ("", "same-origin", "none") or purpose not in _DATA:', "if False:",
        f"{CALLS}test_no_page_makes_a_browser_call_or_render_with_the_users_session",
    ),
    mutant(
        "P05", "no parameter makes another call of it", "protocol/delegation.py",
        'if overrides or lowered == "access_token" or lowered.startswith("oauth_"):', "if False:",
        f"{CALLS}test_a_query_that_would_make_another_call_of_it_is_refused",
    ),
    mutant(
        "P05", "a form in a body is looked at", "flows/delegating.py",
        'if body and is_read_as_form(passed.get("Content-Type", "")):', "if False:",
        f"{CALLS}test_what_could_be_read_as_a_form_is_looked_at",
    ),
    mutant(
        "P05", "few headers are passed on", "protocol/delegation.py",
        "found = {name: given[name] for name in SENT if name in given}", "found = dict(given)",
        f"{CALLS}test_only_a_few_headers_reach_the_provider",
    ),
    mutant(
        "P06", "a start by a client leads to a page for the same user", "tickets.py", "if user_pk != str(user.pk):", "if False:",
        f"{API}test_a_start_answers_with_a_page_that_needs_the_same_users_login",
    ),
    mutant(
        "P07", "each endpoint can be throttled", "api/base.py",
        "return [*super().get_throttles(), OptionalThrottle()]", "return super().get_throttles()",
        f"{API}test_a_site_may_throttle_each_endpoint_by_name",
        f"{CALLS}test_calls_are_throttled_unless_the_site_says_otherwise",
    ),
    mutant(
        "P07", "who is throttled is told how long", "api/problems.py", 'if wait := getattr(error, "wait", None):', "if wait := 0:",
        f"{API}test_a_site_may_throttle_each_endpoint_by_name",
    ),
    mutant(
        "P10", "a problem is what the schema says", "api/problems.py",
        ", status=status, content_type=CONTENT_TYPE)", ", status=status)",
        "surfaces/test_api_fuzz.py::test_no_request_breaks_the_api_or_its_schema",
    ),
)  # fmt: skip
