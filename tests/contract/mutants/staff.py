"""Staff see state, not secrets, and each verb has a permission of its own: rows M03 to M10."""

from __future__ import annotations

from tests.contract.mutants.base import mutant

TESTING, DISCOVERY = "surfaces/test_admin_testing.py::", "surfaces/test_admin_discovery.py::"
BULK, ADMIN = "surfaces/test_admin_bulk.py::", "security/test_admin.py::"

STAFF = (
    mutant(
        "M03", "a test needs its own permission", "admin/provider_testing.py",
        'return self.has_view_permission(request, obj) and request.user.has_perm("oauth_flows.test_provider")',
        "return self.has_view_permission(request, obj)",
        f"{TESTING}test_testing_needs_its_own_permission_and_a_post",
    ),
    mutant(
        "M03", "a hidden provider is not tested", "admin/provider_testing.py",
        "if not self.has_test_permission(request, provider):", "if not self.has_test_permission(request):",
        f"{TESTING}test_a_provider_that_the_site_hides_is_not_tested",
    ),
    mutant(
        "M03", "a bulk action asks the hooks about each row", "admin/connection_actions.py",
        "if not all(work.permitted(request, row) for row in rows):", "if not rows:",
        f"{BULK}test_a_verb_that_a_site_denies_for_one_connection_is_denied",
    ),
    mutant(
        "M03", "a button asks the hooks about its row", "admin/connection.py",
        "if not work.permitted(request, connection):", "if not connection:",
        f"{BULK}test_a_verb_that_a_site_denies_for_one_connection_is_denied",
    ),
    mutant(
        "M03", "a report is its tester's alone", "flows/rehearsing.py",
        "rows = AuthorizationRequest.objects.filter(user_id=user.pk, provider=provider, report__isnull=False)",
        "rows = AuthorizationRequest.objects.filter(provider=provider, report__isnull=False)",
        f"{TESTING}test_nobody_reads_the_report_of_another",
    ),
    mutant(
        "M05", "the list has one order", "admin/connection.py",
        'return ["-created_at", "-pk"]', "return list(super().get_ordering(request, queryset))",
        f"{BULK}test_no_address_sorts_the_list_by_anything_else",
    ),
    mutant(
        "M06", "an account's name is no formula", "admin/exporting.py",
        """return f"'{text}" if text.startswith(FORMULA) else text""", "return text",
        f"{BULK}test_an_accounts_name_is_no_formula",
    ),
    mutant(
        "M06", "no link leads to a script", "models/provider_rules.py", 'for name in ("console_url", "account_url"):', "for name in ():",
        f"{ADMIN}test_no_link_leads_to_a_script",
    ),
    mutant(
        "M06", "an answer that a browser would run is passed on as bytes", "protocol/delegation.py",
        "return content_type if is_inert and is_one and _is_plain(content_type) else OPAQUE", "return content_type",
        "surfaces/test_api_calls.py::test_a_hostile_page_is_passed_on_as_bytes_that_no_browser_runs",
    ),
    mutant(
        "M07", "an export leaves secrets out", "admin/exporting.py",
        '"token__failure_count",', '"token__failure_count", "token__access_token",',
        f"{BULK}test_the_export_has_every_row_and_no_secret",
    ),
    mutant(
        "M08", "discovery needs the permission to add", "admin/provider_discovery.py",
        "if not self.has_add_permission(request):", "if not self.has_view_permission(request):",
        f"{DISCOVERY}test_discovery_needs_a_post_and_the_permission_to_add",
    ),
    mutant(
        "M08", "the inner network needs a permission", "admin/provider_discovery.py",
        'internal = "internal" in request.POST and self._may_be_internal(request)', 'internal = "internal" in request.POST',
        f"{DISCOVERY}test_the_inner_network_is_asked_only_by_who_may",
    ),
    mutant(
        "M08", "a report repeats no endpoint's words", "flows/rehearsing.py",
        "if isinstance(error, TokenEndpointError) and error.error in NAMED else", "if isinstance(error, TokenEndpointError) else",
        f"{TESTING}test_a_test_never_repeats_what_an_endpoint_answers",
    ),
    mutant(
        "M10", "a changed secret is named by its field", "admin/provider_form.py",
        'new_client_secret = _secret_field(_("Client secret"))', 'new_client_secret = _secret_field(" ")',
        f"{ADMIN}test_the_log_names_what_changed_and_no_value",
    ),
)  # fmt: skip
