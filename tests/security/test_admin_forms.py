"""Group M: whatever staff type is stored or refused at its field; nothing is a server error, no refusal repeats a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django import forms
from django.contrib.admin import AdminSite
from django.contrib.auth.models import Group, Permission
from django.urls import path

from django_oauth_flows import flows
from django_oauth_flows.admin import ConnectionAdmin, ProviderAdmin
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing.factories import make_connection, make_provider
from tests.security.test_admin import CONNECTIONS, PROVIDERS, change, form_of
from tests.urls import urlpatterns as site

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client, RequestFactory

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

second_site = AdminSite(name="second")
second_site.register(Connection, ConnectionAdmin)
second_site.register(Provider, ProviderAdmin)
urlpatterns = [*site, path("second/", second_site.urls)]

UNSTORABLE = [
    "nope", "[" * 20_001, "[" * 15_000, "9" * 5_000, "NaN", "Infinity", "1e999", '["\\ud800"]', '{"shop":"\\u0000"}', "1", "true", "null", '"x"',
]  # fmt: skip
GERMAN = {"Accept-Language": "de"}


@pytest.fixture
def root(make_user: Callable[..., User], client_for: Callable[[User], Client]) -> Client:
    """Return a superuser's browser."""
    return client_for(make_user("root", is_staff=True, is_superuser=True))


def errors_of(response: Any) -> dict[str, Any]:
    """Return the errors of a provider page by field."""
    assert response.status_code == 200
    errors: dict[str, Any] = response.context["adminform"].form.errors
    return errors


def imported(client: Client, provider: Provider, **values: str) -> Any:
    """Import a token of ada's."""
    form = {"provider": str(provider.pk), "owner": "ada", "access_token": "tok-1", **values}
    return client.post(f"{CONNECTIONS}import/", form)


@pytest.mark.parametrize("name", ["api_hosts", "parameters", "dialect"])
@pytest.mark.parametrize("text", UNSTORABLE, ids=lambda text: text[:12])
def test_json_that_cannot_be_used_is_an_error_at_its_field(
    name: str, text: str, root: Client, provider: Provider
) -> None:
    assert set(errors_of(change(root, provider, **{name: text}))) == {name}


@pytest.mark.parametrize(
    ("name", "text"),
    [("api_hosts", "[[1]]"), ("api_hosts", '[{"a":1}]'), ("api_hosts", "{}"), ("dialect", "[]"), ("dialect", '""')],
)
def test_json_of_another_shape_is_an_error_at_its_field(name: str, text: str, root: Client, provider: Provider) -> None:
    errors = errors_of(change(root, provider, **{name: text}))
    assert name in errors
    assert set(errors) <= {name, "current_client_secret"}


def test_blank_json_is_the_columns_default(root: Client, provider: Provider) -> None:
    assert change(root, provider, api_hosts="", parameters="", dialect="").status_code == 302
    row = Provider.objects.get()
    assert (row.api_hosts, row.parameters, row.dialect) == ([], {}, {})


@pytest.mark.parametrize(
    "name",
    ["access_token_lifetime", "refresh_token_lifetime", "refresh_token_idle_lifetime", "reuse_grace", "refresh_margin"],
)
@pytest.mark.parametrize("value", ["9223372036854775807", "316224001"])
def test_a_time_beyond_ten_years_is_an_error_at_its_field(
    name: str, value: str, root: Client, provider: Provider
) -> None:
    assert name in errors_of(change(root, provider, **{name: value}))


@pytest.mark.parametrize(
    "url", ["http://[x", "javascript:alert(1)", "https://a.example/path", "https://a.example?x=1", "https://u:p@a.example", "x", "https://a:99999999"],
)  # fmt: skip
def test_a_redirect_base_url_is_an_origin(url: str, root: Client, provider: Provider) -> None:
    assert "redirect_base_url" in errors_of(change(root, provider, redirect_base_url=url))


def test_a_redirect_base_url_is_https_except_on_this_machine(root: Client, fake: FakeProvider, settings: Any) -> None:
    public = make_provider(fake, internal=False)
    for name, value in (("token_endpoint", "https://as.example/t"), ("authorization_endpoint", "https://as.example/a")):
        setattr(public, name, value)
    public.api_base_url = public.revocation_endpoint = public.userinfo_endpoint = ""
    public.identity_source = "none"
    public.save()
    assert "redirect_base_url" in errors_of(change(root, public, redirect_base_url="http://site.example"))
    for allowed in ("http://localhost:8000", "https://site.example/"):
        assert change(root, public, redirect_base_url=allowed).status_code == 302
    settings.DEBUG = True
    assert change(root, public, redirect_base_url="http://site.example").status_code == 302


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scopes", "lesen schreiben-ä"), ("allowed_scopes", 'a "quoted"'), ("scopes", "a\u202eb"), ("scope_separator", "😀"),
    ],
)  # fmt: skip
def test_scopes_are_what_a_provider_can_read(name: str, value: str, root: Client, provider: Provider) -> None:
    assert name in errors_of(change(root, provider, **{name: value}))


@pytest.mark.security("M01")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("new_private_key", "typed-secret-9f8e7d"),
        ("new_private_key", "-----BEGIN RSA PRIVATE KEY-----\ntyped-secret-9f8e7d\n-----END RSA PRIVATE KEY-----"),
        ("new_client_certificate", "typed-secret-9f8e7d"),
        (
            "new_client_certificate",
            (
                "-----BEGIN CERTIFICATE-----\ntyped-secret-9f8e7d\n-----END CERTIFICATE-----\n"
                "-----BEGIN PRIVATE KEY-----\ntyped-secret-9f8e7d\n-----END PRIVATE KEY-----"
            ),
        ),
        ("new_proxy", "typed-secret-9f8e7d"),
        ("new_proxy", "http://typed-secret-9f8e7d@[x"),
        ("new_proxy", "socks5://typed-secret-9f8e7d@proxy:1080"),
    ],
)
def test_a_secret_that_cannot_work_is_refused_without_being_repeated(
    name: str, value: str, root: Client, provider: Provider
) -> None:
    response = change(root, provider, **{name: value})
    assert set(errors_of(response)) == {name}
    assert "typed-secret-9f8e7d" not in response.content.decode()


@pytest.mark.security("M04")
def test_a_private_key_proves_itself_through_an_input_of_one_line(root: Client, fake: FakeProvider) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    provider = make_provider(fake, protocol="oauth1", signature_method="RSA-SHA256")
    provider.client_secret = None
    provider.save()
    assert change(root, provider, new_private_key=key.decode()).status_code == 302
    moved = {"revocation_endpoint": "https://elsewhere.example/revoke"}
    assert "current_client_secret" in errors_of(change(root, provider, **moved, current_client_secret="guess"))
    one_line = key.decode().replace("\n", "")
    assert change(root, provider, **moved, current_client_secret=one_line).status_code == 302


@pytest.mark.security("M04", "T18")
def test_a_client_certificate_goes_in_and_never_comes_out(root: Client, provider: Provider) -> None:
    issued = trustme.CA().issue_cert("client.example")
    pem = b"".join(blob.bytes() for blob in (*issued.cert_chain_pems, issued.private_key_pem)).decode().strip()
    columns = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_certificate_bound_access_tokens": "on"}
    assert change(root, provider, new_client_certificate=pem, **columns).status_code == 302
    row = Provider.objects.get()
    assert row.registration().client_certificate == Secret(pem)
    page = root.get(f"{PROVIDERS}{row.pk}/change/").content.decode()
    assert pem.splitlines()[1] not in page
    assert pem.splitlines()[-2] not in page
    assert change(root, row, cleared=["client_certificate"], **columns).status_code == 302
    assert Provider.objects.get().client_certificate is None


def test_a_new_client_secret_ends_the_alarm_about_the_old_one(root: Client, provider: Provider) -> None:
    Provider.objects.update(alarm="invalid_client")
    assert change(root, provider, name="Renamed").status_code == 302
    assert Provider.objects.get().alarm == "invalid_client"
    assert change(root, provider, new_client_secret="fresh").status_code == 302
    row = Provider.objects.get()
    assert (row.alarm, row.alarm_at) == ("", None)


def test_the_add_page_shows_what_the_redirect_uri_will_be(root: Client) -> None:
    assert "http://testserver/oauth/callback/&lt;slug&gt;/" in root.get(f"{PROVIDERS}add/").content.decode()


def test_tokens_are_imported_for_a_provider_whose_addresses_have_a_placeholder(
    root: Client, user: User, fake: FakeProvider
) -> None:
    provider = make_provider(fake, authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    for wrong in ("", '{"shop": "a/b"}', '{"shop": 1}', '{"shop": "a", "other": "b"}', "[]", "[" * 20_001):
        assert "parameters" in imported(root, provider, parameters=wrong).context["form"].errors
    assert imported(root, provider, parameters='{"shop": "acme"}').status_code == 302
    assert user.oauth_connections.get().parameters == {"shop": "acme"}


def test_an_import_without_its_token_or_with_odd_scopes_is_refused_at_the_field(
    root: Client, user: User, provider: Provider
) -> None:
    assert "access_token" in imported(root, provider, access_token="").context["form"].errors
    assert "scopes" in imported(root, provider, scopes="lesen-ä").context["form"].errors


def test_who_may_import_and_not_look_is_sent_to_a_page_that_is_allowed(
    make_user: Callable[..., User], client_for: Callable[[User], Client], user: User, provider: Provider
) -> None:
    importer = make_user("importer", is_staff=True)
    importer.user_permissions.add(Permission.objects.get(codename="import_connection"))
    client = client_for(importer)
    response = client.get(imported(client, provider)["Location"])
    assert response.status_code == 200
    assert "The connection was imported." in response.content.decode()


@pytest.mark.urls(__name__)
def test_a_second_admin_site_stays_on_itself(root: Client, connection: Connection) -> None:
    change_page = f"/second/oauth_flows/connection/{connection.pk}/change/"
    assert f"/second/oauth_flows/connection/{connection.pk}/refresh/" in root.get(change_page).content.decode()
    answer = root.post(f"/second/oauth_flows/connection/{connection.pk}/refresh/")
    assert answer["Location"] == change_page
    page = root.get("/second/oauth_flows/connection/import/").content.decode()
    assert 'href="/admin/' not in page


def test_the_owner_is_the_group_and_not_the_user_of_the_same_number(
    root: Client, user: User, provider: Provider, fake: FakeProvider, settings: Any
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_MODELS": ["auth.Group"]}
    group = Group.objects.create(pk=user.pk, name="Team")
    connection = make_connection(provider, group, fake, user=user)
    assert f"auth.group {group.pk}" in root.get(f"{CONNECTIONS}{connection.pk}/change/").content.decode()


def test_a_connection_is_found_by_the_name_of_its_user(root: Client, connection: Connection) -> None:
    for asked, expected in (("ada", 1), ("ad", 0), ("bob", 0), ("account-1", 1), (str(connection.pk), 1)):
        assert root.get(f"{CONNECTIONS}?q={asked}").context["cl"].result_count == expected


def test_buttons_are_offered_for_what_they_can_do(
    root: Client, connection: Connection, oauth1_connection: Connection
) -> None:
    def offered(row: Connection) -> tuple[bool, bool]:
        page = root.get(f"{CONNECTIONS}{row.pk}/change/").content.decode()
        return "/refresh/" in page, "/revoke/" in page

    assert offered(connection) == (True, True)
    assert offered(oauth1_connection) == (False, True)
    flows.revoke(connection)
    assert offered(connection) == (False, False)


def test_outcomes_and_rows_are_told_in_words(root: Client, connection: Connection) -> None:
    answer = root.post(f"{CONNECTIONS}{connection.pk}/revoke/", follow=True, headers=GERMAN)
    assert "beim Dienst" in " ".join(str(message) for message in answer.context["messages"])
    page = root.get(f"{CONNECTIONS}{connection.pk}/change/").content.decode()
    assert "revoked at the service" in page
    assert "revocation_finished" not in page
    revocation = connection.revocations.get()
    assert str(revocation.pk) not in root.get(f"/admin/oauth_flows/revocation/{revocation.pk}/change/").context["title"]
    assert str(revocation) == "disconnected: revoked at the service"


@pytest.mark.security("M05")
def test_no_filter_probes_what_waits_to_be_revoked(root: Client, connection: Connection) -> None:
    flows.revoke(connection)
    for query in ("access_token__isnull=0", "refresh_token__startswith=v", "token_secret=x"):
        assert root.get(f"/admin/oauth_flows/revocation/?{query}").status_code in (302, 400)


def test_a_provider_is_added_with_what_the_page_offers(root: Client) -> None:
    data = form_of(root.get(f"{PROVIDERS}add/")) | {"name": "New", "slug": "new", "client_id": "c"}
    wrong = root.post(f"{PROVIDERS}add/", data | {"token_endpoint": "https://as.example/t", "scope_separator": "ä"})
    assert set(errors_of(wrong)) == {"scope_separator"}
    assert "/oauth/callback/new/" in wrong.content.decode()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"internal": False, "code_challenge_method": ""}, "enabled, without PKCE"),
        ({"internal": True}, "enabled, internal"),
        ({"internal": False, "protocol": "oauth1", "signature_method": "PLAINTEXT"}, "enabled, PLAINTEXT signatures"),
        ({"internal": False, "dialect": {"raw_basic_auth": True}}, "enabled, unencoded client credentials"),
    ],
)
def test_the_list_of_providers_names_dangerous_settings(
    columns: dict[str, Any], said: str, root: Client, provider: Provider
) -> None:
    Provider.objects.update(**columns)
    assert f">{said}</td>" in root.get("/admin/oauth_flows/provider/").content.decode()


def test_a_site_may_build_on_the_provider_form(rf: RequestFactory, admin_user: User) -> None:
    class Longer(ProviderAdmin.form):  # type: ignore[misc,name-defined]
        cost_centre = forms.CharField()

    class Own(ProviderAdmin):
        form = Longer
        fieldsets = None

    request = rf.get("/")
    request.user = admin_user
    fields = Own(Provider, AdminSite()).get_form(request, fields=None).base_fields
    assert {"cost_centre", "new_client_secret", "slug"} <= set(fields)
