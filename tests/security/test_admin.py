"""Group M: staff see state, not secrets, and cannot send secrets elsewhere without knowing them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin import site as admin_site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from django_oauth_flows import flows
from django_oauth_flows.admin.connection import ConnectionAdmin
from django_oauth_flows.admin.provider import ProviderAdmin
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation, Token
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing.factories import begin, make_connection, make_provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.forms import Form
    from django.http import HttpRequest
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PROVIDERS = "/admin/oauth_flows/provider/"
CONNECTIONS = "/admin/oauth_flows/connection/"
TYPED = "typed-secret-9f8e7d"
SEALED = re.compile(r"v1\.[0-9a-f]{8}\.")


@pytest.fixture
def staff(make_user: Callable[..., User], client_for: Callable[..., Client]) -> Callable[..., Client]:
    """Return a maker of browsers of staff with just these permissions."""

    def make(*codenames: str, superuser: bool = False) -> Client:
        user = make_user(f"staff{len(codenames)}{superuser}", is_staff=True, is_superuser=superuser)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="oauth_flows", codename__in=codenames)
        )
        return client_for(user)

    return make


@pytest.fixture
def root(staff: Callable[..., Client]) -> Client:
    """Return a superuser's browser."""
    return staff(superuser=True)


def form_of(response: Any) -> dict[str, Any]:
    """Return what a browser would send back of a change page, untouched."""
    form: Form = response.context["adminform"].form
    data: dict[str, Any] = {}
    for name in form.fields:
        value = form[name].value()
        if value is True:
            data[name] = "on"
        elif value not in (None, False, []):
            data[name] = value
    for part in response.context["inline_admin_formsets"]:
        management = part.formset.management_form
        data |= {management.add_prefix(name): management[name].value() for name in management.fields}
    return data


def change(client: Client, provider: Provider, **values: Any) -> Any:
    """Change a provider through its page."""
    url = f"{PROVIDERS}{provider.pk}/change/"
    data = form_of(client.get(url)) | values
    return client.post(url, {name: value for name, value in data.items() if value is not None})


def press(client: Client, page: str, action: str, *keys: Any) -> Any:
    """Choose an action for rows of a list, and say yes to the question."""
    chosen = {"action": action, "_selected_action": [str(key) for key in keys], "post": "yes"}
    return client.post(page, chosen, follow=True)


@pytest.mark.security("M01")
def test_no_page_shows_a_secret_a_ciphertext_or_a_length(
    root: Client, browser: Client, connection: Connection, oauth1_connection: Connection, fake: FakeProvider
) -> None:
    begin(browser, connection.provider)
    flows.revoke(oauth1_connection)
    secrets = [
        fake.oauth2.client_secret,
        fake.oauth1.client_secret,
        *fake.oauth2.grants[0].access,
        *fake.oauth2.grants[0].refresh,
    ]
    pages = [
        "/admin/",
        PROVIDERS,
        f"{PROVIDERS}add/",
        CONNECTIONS,
        f"{CONNECTIONS}import/",
        "/admin/oauth_flows/revocation/",
    ]
    for row in Provider.objects.all():
        pages += [f"{PROVIDERS}{row.pk}/{page}/" for page in ("change", "history", "delete")]
    for row in Connection.objects.all():
        pages += [f"{CONNECTIONS}{row.pk}/{page}/" for page in ("change", "history")]
    pages += [f"/admin/oauth_flows/revocation/{row.pk}/change/" for row in Revocation.objects.all()]
    for page in pages:
        response = root.get(page, follow=True)
        html = response.content.decode()
        assert response.status_code in (200, 403), page
        assert not any(secret in html for secret in secrets), page
        assert not SEALED.search(html), page
        assert str(len(secrets[0])) not in re.findall(r"secret[^<]{0,40}?(\d+)", html), page


@pytest.mark.security("M01", "M02")
@pytest.mark.parametrize("superuser", [True, False])
def test_popups_and_autocompletion_show_no_secret(
    superuser: bool, staff: Callable[..., Client], connection: Connection, fake: FakeProvider
) -> None:
    client = staff("view_provider", "view_connection", superuser=superuser)
    pages = [
        f"{PROVIDERS}{connection.provider_id}/change/?_popup=1&_to_field=id",
        f"{CONNECTIONS}?_popup=1",
        f"{CONNECTIONS}?q={fake.oauth2.client_secret[-20:]}",
        "/admin/autocomplete/?app_label=oauth_flows&model_name=connection&field_name=provider&term=",
    ]
    for page in pages:
        response = client.get(page)
        assert response.status_code == 200, page
        assert fake.oauth2.client_secret not in response.content.decode(), page
        assert not SEALED.search(response.content.decode()), page


@pytest.mark.security("M01")
def test_a_typed_secret_is_sealed_and_never_shown_again_not_even_with_an_error(
    root: Client, provider: Provider
) -> None:
    wrong = change(
        root, provider, new_client_secret=TYPED, new_private_key=TYPED, new_proxy=TYPED, token_endpoint="nonsense"
    )
    assert wrong.status_code == 200
    assert TYPED not in wrong.content.decode()
    assert change(root, provider, new_client_secret=TYPED).status_code == 302
    fresh = Provider.objects.get()
    stored = fresh.open("client_secret")
    assert stored is not None
    assert stored.reveal() == TYPED
    assert TYPED not in root.get(f"{PROVIDERS}{provider.pk}/change/").content.decode()


@pytest.mark.security("M01")
def test_a_blank_field_keeps_the_secret_and_a_tick_removes_it(
    root: Client, provider: Provider, fake: FakeProvider
) -> None:
    assert change(root, provider, name="Renamed").status_code == 302
    kept = Provider.objects.get().open("client_secret")
    assert kept is not None
    assert kept.reveal() == fake.oauth2.client_secret
    assert change(root, provider, cleared=["client_secret"]).status_code == 302
    assert Provider.objects.get().client_secret is None


@pytest.mark.security("M02")
def test_staff_who_may_only_look_can_only_look(
    staff: Callable[..., Client], connection: Connection, fake: FakeProvider
) -> None:
    viewer = staff("view_provider", "view_connection", "view_revocation")
    for page in (
        PROVIDERS,
        f"{PROVIDERS}{connection.provider_id}/change/",
        CONNECTIONS,
        f"{CONNECTIONS}{connection.pk}/change/",
    ):
        html = viewer.get(page).content.decode()
        assert fake.oauth2.client_secret not in html
        assert "new_client_secret" not in html
        assert "/refresh/" not in html
        assert "/revoke/" not in html
    assert viewer.post(f"{PROVIDERS}{connection.provider_id}/change/", {"name": "x"}).status_code == 403
    assert viewer.post(f"{CONNECTIONS}{connection.pk}/refresh/").status_code == 403
    assert viewer.post(f"{CONNECTIONS}{connection.pk}/revoke/").status_code == 403
    assert viewer.get(f"{CONNECTIONS}import/").status_code == 403
    for page, action in (
        (PROVIDERS, "disconnect_all"),
        (PROVIDERS, "pause"),
        (CONNECTIONS, "revoke_selected"),
        (CONNECTIONS, "refresh_selected"),
    ):
        viewer.post(page, {"action": action, "_selected_action": [str(connection.provider_id), str(connection.pk)]})
    connection.refresh_from_db()
    assert connection.status == "active"
    assert not Provider.objects.get().paused
    assert not fake.requests


@pytest.mark.security("M03")
@pytest.mark.parametrize(
    ("codename", "allowed"),
    [("refresh_connection", "refresh"), ("revoke_connection", "revoke"), ("change_connection", "")],
)
def test_each_action_needs_its_own_permission_and_a_post(
    codename: str, allowed: str, staff: Callable[..., Client], connection: Connection
) -> None:
    client = staff("view_connection", codename)
    for verb in ("refresh", "revoke"):
        url = f"{CONNECTIONS}{connection.pk}/{verb}/"
        assert client.get(url).status_code == 405
        assert client.post(url).status_code == (302 if verb == allowed else 403)
    connection.refresh_from_db()
    assert (connection.status == "revoked") == (allowed == "revoke")
    assert connection.token.generation == 2 if allowed == "refresh" else True


@pytest.mark.security("M03")
@pytest.mark.parametrize(
    ("codename", "done"),
    [("refresh_connection", "refresh"), ("revoke_connection", "revoke"), ("change_connection", "")],
)
def test_each_action_of_the_list_needs_its_own_permission(
    codename: str, done: str, staff: Callable[..., Client], connection: Connection, fake: FakeProvider
) -> None:
    client = staff("view_connection", codename)
    for action in ("refresh_selected", "revoke_selected"):
        client.get(CONNECTIONS, {"action": action, "_selected_action": [str(connection.pk)]})
        assert fake.requests == []
    for action in ("refresh_selected", "revoke_selected"):
        client.post(CONNECTIONS, {"action": action, "_selected_action": [str(connection.pk)], "post": "yes"})
    assert fake.count("token") == (done == "refresh")
    connection.refresh_from_db()
    assert (connection.status == "revoked") == (done == "revoke")


@pytest.mark.security("M03")
@pytest.mark.parametrize("how", ["button", "list"])
@pytest.mark.parametrize("verb", ["refresh", "revoke"])
def test_a_connection_that_the_site_hides_from_these_staff_is_not_acted_on(
    *, how: str, verb: str, root: Client, connection: Connection, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site narrows the permissions object by object, with Django's own hooks."""
    monkeypatch.setattr(ConnectionAdmin, "has_view_permission", lambda _self, _request, obj=None: obj is None)
    if how == "button":
        response = root.post(f"{CONNECTIONS}{connection.pk}/{verb}/")
    else:
        response = root.post(CONNECTIONS, {"action": f"{verb}_selected", "_selected_action": [str(connection.pk)]})
    assert response.status_code == 403
    connection.refresh_from_db()
    assert connection.status == "active"
    assert fake.requests == []


@pytest.mark.security("M03")
@pytest.mark.parametrize("action", ["enable", "disable", "pause", "resume", "disconnect_all"])
def test_a_provider_that_the_site_hides_from_these_staff_is_not_acted_on(
    action: str, root: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProviderAdmin, "has_change_permission", lambda _self, _request, obj=None: obj is None)
    before = Provider.objects.values().get()
    response = root.post(PROVIDERS, {"action": action, "_selected_action": [str(connection.provider_id)]})
    assert response.status_code == 403
    assert Provider.objects.values().get() == before
    connection.refresh_from_db()
    assert connection.status == "active"


@pytest.mark.security("M03")
def test_draining_and_importing_need_permissions_of_their_own(
    staff: Callable[..., Client], connection: Connection
) -> None:
    client = staff("view_provider", "change_provider")
    chosen = {"action": "disconnect_all", "_selected_action": [str(connection.provider_id)], "post": "yes"}
    client.post(PROVIDERS, chosen)
    connection.refresh_from_db()
    assert connection.status == "active"
    assert client.post(f"{CONNECTIONS}import/", {}).status_code == 403


@pytest.mark.security("M04")
@pytest.mark.parametrize(
    "field", ["token_endpoint", "revocation_endpoint", "userinfo_endpoint", "api_base_url", "api_hosts"]
)
def test_nobody_sends_secrets_to_another_host_without_knowing_them(
    field: str, staff: Callable[..., Client], connection: Connection, fake: FakeProvider
) -> None:
    client = staff("view_provider", "change_provider", "change_internal_provider")
    value = '["evil.example"]' if field == "api_hosts" else "https://evil.example/x"
    refused = change(client, connection.provider, **{field: value})
    assert refused.status_code == 200
    assert "current_client_secret" in refused.context["adminform"].form.errors
    assert "1 connection" in str(refused.context["adminform"].form.errors["current_client_secret"])
    wrong = change(
        client, connection.provider, **{field: value}, current_client_secret="guess", new_client_secret="mine"
    )
    assert wrong.status_code == 200
    assert "evil.example" not in str(vars(Provider.objects.get()))
    right = change(client, connection.provider, **{field: value}, current_client_secret=fake.oauth2.client_secret)
    assert right.status_code == 302
    assert "evil.example" in str(getattr(Provider.objects.get(), field))


@pytest.mark.security("M04")
@pytest.mark.parametrize(
    "dialect",
    [
        {"refresh_endpoint": "https://evil.example/x"},
        {"second_exchange": {"endpoint": "https://evil.example/x", "grant_type": "swap"}},
        {"api_host_patterns": ["*.evil.example"]},
    ],
)
def test_nobody_sends_secrets_to_another_host_by_way_of_the_dialect(
    dialect: dict[str, Any], staff: Callable[..., Client], connection: Connection, fake: FakeProvider
) -> None:
    client, provider = staff("view_provider", "change_provider", "change_internal_provider"), connection.provider
    assert change(client, provider, dialect='{"token_request_format": "json"}').status_code == 302
    refused = change(client, provider, dialect=json.dumps(dialect))
    assert "current_client_secret" in refused.context["adminform"].form.errors
    assert "evil.example" not in str(Provider.objects.get().dialect)
    right = change(client, provider, dialect=json.dumps(dialect), current_client_secret=fake.oauth2.client_secret)
    assert right.status_code == 302
    assert Provider.objects.get().dialect == dialect
    assert change(client, provider, dialect="{}").status_code == 302


@pytest.mark.security("M04")
@pytest.mark.parametrize("how", [{"new_client_secret": "mine"}, {"cleared": ["client_secret"]}])
def test_nobody_replaces_the_secret_first_while_connections_use_it(
    how: dict[str, Any], staff: Callable[..., Client], connection: Connection, fake: FakeProvider
) -> None:
    client, provider = staff("view_provider", "change_provider", "change_internal_provider"), connection.provider
    refused = change(client, provider, **how)
    assert list(refused.context["adminform"].form.errors) == ["current_client_secret"]
    assert change(client, provider, **how, current_client_secret="guess").status_code == 200
    assert Provider.objects.get().open("client_secret") == Secret(fake.oauth2.client_secret)
    assert change(client, provider, **how, current_client_secret=fake.oauth2.client_secret).status_code == 302
    flows.revoke(connection)
    assert change(client, provider, new_client_secret="another").status_code == 302


@pytest.mark.security("M04")
def test_a_secret_of_ones_own_beside_none_is_no_proof(
    staff: Callable[..., Client], user: User, fake: FakeProvider
) -> None:
    provider = make_provider(fake, token_endpoint_auth_method="none", client_secret=None)
    Provider.objects.update(client_secret=None)
    make_connection(provider, user, fake)
    client = staff("view_provider", "change_provider", "change_internal_provider")
    moved = {"api_base_url": "https://evil.example/x"}
    assert change(client, provider, **moved).status_code == 200
    assert change(client, provider, new_client_secret="mine").status_code == 200
    assert change(client, provider, **moved, current_client_secret="mine").status_code == 200
    assert "evil.example" not in Provider.objects.get().api_base_url


@pytest.mark.security("M04")
def test_nobody_sends_an_oauth_1_secret_to_another_host_without_knowing_it(
    staff: Callable[..., Client], oauth1_provider: Provider, fake: FakeProvider
) -> None:
    client = staff("view_provider", "change_provider", "change_internal_provider")
    moved = {"temporary_credential_endpoint": "https://evil.example/x"}
    refused = change(client, oauth1_provider, **moved)
    assert "current_client_secret" in refused.context["adminform"].form.errors
    assert "evil.example" not in str(vars(Provider.objects.get()))
    assert change(client, oauth1_provider, **moved, current_client_secret=fake.oauth1.client_secret).status_code == 302


@pytest.mark.security("M04")
@pytest.mark.parametrize("change_of", ["scheme", "port", "subdomain"])
def test_another_scheme_port_or_subdomain_is_another_host(
    change_of: str, staff: Callable[..., Client], provider: Provider
) -> None:
    Provider.objects.update(token_endpoint="https://localhost:8443/token")
    url = {"scheme": "http://localhost:8443/token", "port": "https://localhost:8444/token"}
    client = staff("view_provider", "change_provider", "change_internal_provider")
    refused = change(client, provider, token_endpoint=url.get(change_of, "https://a.localhost:8443/token"))
    assert list(refused.context["adminform"].form.errors) == ["current_client_secret"]
    assert Provider.objects.get().token_endpoint == "https://localhost:8443/token"


@pytest.mark.security("M04")
def test_filling_a_placeholder_with_another_host_is_pointing_at_another_host(
    staff: Callable[..., Client], provider: Provider, fake: FakeProvider
) -> None:
    Provider.objects.update(token_endpoint="https://{host}/token", parameters={"host": "as.example"})
    client = staff("view_provider", "change_provider", "change_internal_provider")
    moved = {"parameters": '{"host": "evil.example"}'}
    refused = change(client, provider, **moved)
    assert "current_client_secret" in refused.context["adminform"].form.errors
    assert Provider.objects.get().parameters == {"host": "as.example"}
    assert change(client, provider, parameters='{"host": "as.example", "other": "x"}').status_code == 302
    assert change(client, provider, **moved, current_client_secret=fake.oauth2.client_secret).status_code == 302


@pytest.mark.security("M04")
@pytest.mark.parametrize("field", ["new_proxy", "ca_bundle"])
def test_nobody_puts_a_listener_on_the_way_without_knowing_the_secret(
    field: str, staff: Callable[..., Client], connection: Connection, fake: FakeProvider
) -> None:
    client = staff("view_provider", "change_provider", "change_internal_provider")
    value = {"new_proxy": "http://evil.example:3128", "ca_bundle": "/srv/media/evil.pem"}[field]
    refused = change(client, connection.provider, **{field: value})
    assert refused.status_code == 200
    assert list(refused.context["adminform"].form.errors) == ["current_client_secret"]
    row = Provider.objects.get()
    assert (row.proxy, row.ca_bundle) == (None, "")
    right = change(client, connection.provider, **{field: value}, current_client_secret=fake.oauth2.client_secret)
    assert right.status_code == 302


@pytest.mark.security("M04")
def test_another_path_on_the_same_host_needs_no_secret(root: Client, provider: Provider, fake: FakeProvider) -> None:
    assert change(root, provider, token_endpoint=f"{fake.url}/v2/token").status_code == 302


@pytest.mark.security("M05")
@pytest.mark.parametrize(
    "query",
    [
        "client_secret__startswith=v", "client_secret__regex=.", "client_secret__isnull=0", "private_key=x",
        "token__access_token__startswith=v", "token__refresh_token__isnull=0", "token__refresh_token__isnull=1", "connections__token__access_token__gt=a", "o=client_secret",
    ],
)  # fmt: skip
def test_no_filter_or_order_probes_a_secret(query: str, root: Client, connection: Connection) -> None:
    for page in (PROVIDERS, CONNECTIONS):
        response = root.get(f"{page}?{query}")
        assert response.status_code in (200, 302, 400)
        if response.status_code == 200:
            assert response.context["cl"].result_count == 1
        if response.status_code == 302:
            assert response["Location"].endswith("?e=1")


@pytest.mark.security("M05")
@pytest.mark.parametrize("value", ["0", "1"])
@pytest.mark.parametrize("column", ["client_secret", "second_client_secret", "private_key", "proxy"])
def test_no_filter_tells_whether_there_is_a_secret(
    column: str, value: str, root: Client, connection: Connection
) -> None:
    response = root.get(f"{PROVIDERS}?{column}__isnull={value}")
    assert response.status_code == 400 or response["Location"].endswith("?e=1")


@pytest.mark.security("M05")
@pytest.mark.parametrize("value", ["0", "1"])
@pytest.mark.parametrize("column", ["access_token", "refresh_token", "token_secret"])
def test_no_filter_tells_what_a_connections_token_has(
    column: str, value: str, root: Client, connection: Connection
) -> None:
    response = root.get(f"{CONNECTIONS}?token__{column}__isnull={value}")
    assert response.status_code == 400 or response["Location"].endswith("?e=1")


@pytest.mark.security("M06")
@pytest.mark.parametrize("field", ["account_url", "console_url"])
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "http://as.example/"]
)
def test_no_link_leads_to_a_script(field: str, url: str, root: Client, provider: Provider) -> None:
    refused = change(root, provider, **{field: url})
    assert list(refused.context["adminform"].form.errors) == [field]
    assert getattr(Provider.objects.get(), field) == ""


@pytest.mark.security("M06")
def test_what_providers_and_staff_write_is_text(root: Client, browser: Client, connection: Connection) -> None:
    evil = '"><img src=x onerror=1><script>1</script>'
    Connection.objects.update(label=evil, subject=evil, last_purpose=evil)
    Provider.objects.update(name=evil, alarm=evil[:40], account_url="javascript:alert(1)")
    Token.objects.update(last_failure=evil[:40], failure_count=1)
    pages = [
        root.get(p)
        for p in (
            PROVIDERS,
            CONNECTIONS,
            f"{CONNECTIONS}{connection.pk}/change/",
            f"{PROVIDERS}{connection.provider_id}/change/",
        )
    ]
    pages += [
        browser.get("/oauth/"),
        browser.get("/oauth/connect/fake/confirm/"),
        root.get("/api/oauth/v1/connections/"),
    ]
    pages.append(root.post(f"{CONNECTIONS}{connection.pk}/revoke/", follow=True))
    for response in pages:
        if response.status_code == 200:
            assert "<img src=x" not in response.content.decode()
            assert "<script>1" not in response.content.decode()
            assert 'href="javascript:' not in response.content.decode()


@pytest.mark.security("M09")
def test_a_provider_in_use_is_drained_before_it_is_deleted(
    root: Client, connection: Connection, fake: FakeProvider
) -> None:
    pk = connection.provider_id
    assert root.post(f"{PROVIDERS}{pk}/delete/", {"post": "yes"}).status_code == 403
    listed = root.post(PROVIDERS, {"action": "delete_selected", "_selected_action": [str(pk)]})
    assert "1 live connection" in listed.content.decode()
    root.post(PROVIDERS, {"action": "delete_selected", "_selected_action": [str(pk)], "post": "yes"})
    assert Provider.objects.count() == 1
    drained = press(root, PROVIDERS, "disconnect_all", pk)
    assert "1 connection disconnected" in drained.content.decode()
    assert not Provider.objects.get().enabled
    assert not fake.oauth2.grants[0].alive
    assert root.post(f"{PROVIDERS}{pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Provider.objects.exists()


@pytest.mark.security("M10")
def test_the_log_names_what_changed_and_no_value(root: Client, provider: Provider) -> None:
    assert change(root, provider, new_client_secret=TYPED, name="Renamed").status_code == 302
    entry = LogEntry.objects.get()
    assert "client secret" in entry.get_change_message().lower()
    assert TYPED not in entry.change_message


def test_a_provider_can_be_added_from_its_page(root: Client, fake: FakeProvider) -> None:
    data = form_of(root.get(f"{PROVIDERS}add/")) | {
        "name": "New",
        "slug": "new",
        "client_id": "c",
        "new_client_secret": TYPED,
        "scopes": "read write",
        "authorization_endpoint": "https://as.example/a",
        "token_endpoint": "https://as.example/t",
    }
    response = root.post(f"{PROVIDERS}add/", data)
    assert response.status_code == 302, response.context["adminform"].form.errors
    row = Provider.objects.get()
    stored = row.open("client_secret")
    assert stored is not None
    assert (row.scopes, stored.reveal()) == (("read", "write"), TYPED)
    page = root.get(f"{PROVIDERS}{row.pk}/change/").content.decode()
    assert "http://testserver/oauth/callback/new/" in page
    assert 'name="slug"' not in page


@pytest.mark.security("A07")
def test_a_forged_host_header_is_no_redirect_uri_to_copy(root: Client, provider: Provider, settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.OAUTH_FLOWS = ["*"], {}
    page = root.get(f"{PROVIDERS}{provider.pk}/change/", headers={"Host": "evil.example"}).content
    assert b"evil.example" not in page
    settings.ALLOWED_HOSTS = ["testserver"]
    page = root.get(f"{PROVIDERS}{provider.pk}/change/").content
    assert b"http://testserver/oauth/callback/fake/" in page


@pytest.mark.security("A06")
def test_a_slug_that_is_part_of_a_redirect_uri_cannot_be_renamed(root: Client, provider: Provider) -> None:
    assert change(root, provider, slug="renamed", name="Renamed").status_code == 302
    provider.refresh_from_db()
    assert (provider.slug, provider.name) == ("fake", "Renamed")


def test_internal_needs_its_own_permission(staff: Callable[..., Client], provider: Provider) -> None:
    client = staff("view_provider", "change_provider")
    assert 'name="internal"' not in client.get(f"{PROVIDERS}{provider.pk}/change/").content.decode()
    allowed = staff("view_provider", "change_provider", "change_internal_provider")
    assert 'name="internal"' in allowed.get(f"{PROVIDERS}{provider.pk}/change/").content.decode()


@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_tokens_that_exist_already_are_imported_and_never_shown(
    protocol: str, root: Client, user: User, fake: FakeProvider
) -> None:
    provider = make_provider(fake, protocol=protocol)
    pair = fake.oauth1.issue() if protocol == "oauth1" else fake.oauth2.issue()
    names = ("access_token", "token_secret") if protocol == "oauth1" else ("access_token", "refresh_token")
    form = {"provider": str(provider.pk), "owner": "ada", "label": "Imported", **dict(zip(names, pair, strict=True))}
    wrong = root.post(f"{CONNECTIONS}import/", form | {"owner": "nobody"})
    assert "no such user" in wrong.content.decode()
    assert not any(secret in wrong.content.decode() for secret in pair)
    if protocol == "oauth1":
        refused = root.post(f"{CONNECTIONS}import/", form | {"token_secret": ""})
        assert "token&#x27;s secret" in str(refused.context["form"].errors["token_secret"])
    assert root.post(f"{CONNECTIONS}import/", form).status_code == 302
    with flows.session(user.oauth_connections.get()) as http:
        assert http.get("/echo").status_code == 200


def test_refresh_and_revoke_say_how_it_went(root: Client, connection: Connection, fake: FakeProvider) -> None:
    url = f"{CONNECTIONS}{connection.pk}"
    assert "refreshed" in root.post(f"{url}/refresh/", follow=True).content.decode()
    fake.oauth2.grants[0].alive = False
    failed = root.post(f"{url}/refresh/", follow=True).content.decode()
    assert "reauthorization_required" in failed
    assert "revoked at the service: 1" in press(root, CONNECTIONS, "revoke_selected", connection.pk).content.decode()
    page = root.get(f"{url}/change/").content.decode()
    assert "invalid_grant" in page


def test_the_list_costs_the_same_for_one_and_for_ten(
    root: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    def count(query: str) -> int:
        with CaptureQueriesContext(database) as captured:
            assert root.get(f"{CONNECTIONS}?{query}").status_code == 200
        return len(captured)

    queries = ("", "q=ada", "state=active", "dying=7", f"provider__id__exact={provider.pk}")
    make_connection(provider, user, fake, subject="0")
    one = [count(query) for query in queries]
    for number in range(1, 10):
        make_connection(provider, user, fake, subject=str(number))
    assert [count(query) for query in queries] == one
    assert max(one) <= 12
    assert root.get(f"{CONNECTIONS}add/").status_code == 404


def test_a_sites_own_subclass_gets_the_pages_that_it_opens() -> None:
    class OpenAdmin(ConnectionAdmin):
        def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
            return True

    names = {url.name for url in OpenAdmin(Connection, admin_site).get_urls()}
    assert "oauth_flows_connection_delete" in names
    assert "oauth_flows_connection_add" not in names


def test_pending_dances_are_nobodys_business(root: Client, browser: Client, provider: Provider) -> None:
    begin(browser, provider)
    assert AuthorizationRequest.objects.exists()
    assert root.get("/admin/oauth_flows/authorizationrequest/").status_code == 404
    assert root.get("/admin/oauth_flows/token/").status_code == 404


def test_two_staff_on_two_hosts_each_see_their_own_redirect_uri(
    root: Client, provider: Provider, settings: Any
) -> None:
    settings.OAUTH_FLOWS = {}
    url = f"{PROVIDERS}{provider.pk}/change/"
    for host in ("localhost", "testserver"):
        assert f"http://{host}/oauth/callback/fake/" in root.get(url, headers={"Host": host}).content.decode()


# Changing a client secret


UNTIL = {"previous_until": "2099-01-01T00:00"}


@pytest.mark.security("M04")
def test_who_does_not_know_the_present_secret_cannot_keep_it_beside_another(
    staff: Callable[..., Client], provider: Provider, fake: FakeProvider
) -> None:
    client = staff("view_provider", "change_provider", "change_internal_provider")
    refused = change(client, provider, new_client_secret="mine", **UNTIL)
    assert list(refused.context["adminform"].form.errors) == ["current_client_secret"]
    right = {"new_client_secret": "mine", **UNTIL, "current_client_secret": fake.oauth2.client_secret}
    assert change(client, provider, **right).status_code == 302
    row = Provider.objects.get()
    assert [row.open(name) for name in ("client_secret", "second_client_secret")] == [
        Secret("mine"),
        Secret(fake.oauth2.client_secret),
    ]
    page = client.get(f"{PROVIDERS}{provider.pk}/change/").content.decode()
    assert fake.oauth2.client_secret not in page
    assert not SEALED.search(page)


def test_how_long_the_secret_from_before_is_tried_goes_with_another_one(
    root: Client, provider: Provider, fake: FakeProvider
) -> None:
    for known in ({}, {"current_client_secret": fake.oauth2.client_secret}):
        refused = change(root, provider, **UNTIL, **known)
        assert list(refused.context["adminform"].form.errors) == ["previous_until"]


@pytest.mark.security("M04")
@pytest.mark.parametrize("how", [{"cleared": ["second_client_secret"]}, {"token_endpoint": "https://other.example/"}])
def test_the_secret_from_before_goes_when_it_is_removed_and_never_to_another_host(
    how: dict[str, Any], root: Client, provider: Provider, fake: FakeProvider
) -> None:
    both = {"new_client_secret": "mine", **UNTIL, "current_client_secret": fake.oauth2.client_secret}
    assert change(root, provider, **both).status_code == 302
    assert change(root, provider, **how, current_client_secret="mine").status_code == 302
    row = Provider.objects.get()
    assert (row.second_client_secret, row.second_client_secret_expires_at) == (None, None)
    assert row.open("client_secret") == Secret("mine")


def test_saving_a_provider_lets_it_be_tried_at_once(root: Client, provider: Provider) -> None:
    until = DatabaseNow() + timedelta(minutes=5)
    Provider.objects.update(failure_count=9, circuit_open_until=until)
    listed = root.get(PROVIDERS).content.decode()
    assert "failing, left alone until" in listed
    assert change(root, provider).status_code == 302
    row = Provider.objects.get()
    assert (row.failure_count, row.circuit_open_until) == (0, None)
    assert "left alone" not in root.get(PROVIDERS).content.decode()


def test_connections_that_will_need_their_user_are_listed(root: Client, connection: Connection) -> None:
    found = [root.get(f"{CONNECTIONS}?dying={days}").context["cl"].result_count for days in (7, 30, "x")]
    assert found == [0, 0, 1]
    Token.objects.update(refresh_token_expires_at=DatabaseNow() + timedelta(days=10))
    found = [root.get(f"{CONNECTIONS}?dying={days}").context["cl"].result_count for days in (7, 30, "x")]
    assert found == [0, 1, 1]
