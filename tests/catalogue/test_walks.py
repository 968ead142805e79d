"""Every entry, walked over real HTTP against a server that speaks its dialect: start, callback, identity, call, refresh, revoke."""

from __future__ import annotations

import ssl
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
import trustme
from django.test import Client

from django_oauth_flows import catalogue, flows
from django_oauth_flows.exceptions import ConnectionUnusable
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation
from django_oauth_flows.models.provider_rules import open_parameters
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import FakeProvider
from django_oauth_flows.testing.factories import posted_form, shift_expiry, walk
from django_oauth_flows.testing.openid import new_key
from tests.protocol.test_assertions import pem
from tests.protocol.test_certificates import pem_of

if TYPE_CHECKING:
    from pathlib import Path

    from django.contrib.auth.models import User

    from django_oauth_flows.catalogue import Preset

pytestmark = pytest.mark.django_db(transaction=True)

INITIALS: dict[str, list[str]] = defaultdict(list)
for _slug in catalogue.slugs():
    INITIALS[_slug[0]].append(_slug)


@pytest.mark.parametrize("initial", INITIALS)
def test_every_entry_is_walked_through(initial: str, fake: FakeProvider, client: Client, user: User) -> None:
    client.force_login(user)
    stumbled = {}
    for slug in INITIALS[initial]:
        if _needs_tls(catalogue.find(slug)):
            continue  # below
        fake.requests.clear()
        try:
            _walk(catalogue.find(slug), fake, client)
        except Exception as problem:  # noqa: BLE001 - every entry is tried, and every stumble told
            stumbled[slug] = f"{type(problem).__name__}: {problem} {[(r.method, r.url) for r in fake.requests]}"
    assert not stumbled, "\n".join(f"{slug}: {what}" for slug, what in stumbled.items())


def test_an_entry_whose_secret_or_certificate_tls_carries_is_walked_over_it(
    client: Client, user: User, tmp_path: Path
) -> None:
    client.force_login(user)
    presets = [preset for preset in catalogue.presets() if _needs_tls(preset)]
    assert {preset.slug for preset in presets} >= {"smugmug", "adp"}
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = pem_of(authority.issue_cert("client.example"))
    context.verify_mode = ssl.CERT_OPTIONAL
    with FakeProvider(tls=context) as fake:
        for preset in presets:
            shows = preset.tls_client_certificate_bound_access_tokens
            fake.requests.clear()
            _walk(preset, fake, client, ca_bundle=str(tmp_path / "ca.pem"), certificate=certificate if shows else None)
            assert all(bool(r.certificate) == bool(shows) for e in ("token", "api") for r in fake.received(e)), (
                preset.slug
            )


def test_entries_that_give_out_codes_for_other_devices_are_connected_by_one(
    fake: FakeProvider, client: Client, user: User
) -> None:
    client.force_login(user)
    fake.oauth2.device_interval = 0
    by_code = {p.device_authorization_endpoint: p for p in catalogue.presets() if p.device_authorization_endpoint}
    assert {"github", "gitlab", "twitch"} <= {p.extends or p.slug for p in by_code.values()}
    for preset in by_code.values():
        provider = _provider(preset, fake, ca_bundle="")
        started = client.post(f"/oauth/connect/{provider.slug}/", {"way": "device"})
        assert started.status_code == 303, preset.slug
        fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
        AuthorizationRequest.objects.filter(taken_at=None).update(next_poll_at=DatabaseNow())
        assert client.get(started["Location"]).status_code == 303, preset.slug
        connection = Connection.objects.get(provider=provider)
        assert connection.grant_type == Connection.GrantType.DEVICE_CODE
        _call(connection)


def _needs_tls(preset: Preset) -> bool:
    return preset.signature_method == "PLAINTEXT" or bool(preset.tls_client_certificate_bound_access_tokens)


def _walk(
    preset: Preset, fake: FakeProvider, client: Client, *, ca_bundle: str = "", certificate: Secret | None = None
) -> None:
    provider = _provider(preset, fake, ca_bundle=ca_bundle)
    if certificate is not None:
        provider.seal("client_certificate", certificate)
        provider.save()
    if preset.grant_types == ("client_credentials",):
        with flows.client_session(provider) as http:
            assert http.get("echo").ok, "the call of a client"
        return
    form = {f"parameter-{name}": _value(preset, name) for name in open_parameters(provider)}
    answer = _walked(client, provider, form)
    assert answer.status_code == 303, f"the callback was answered with {answer.status_code}"
    connection = Connection.objects.get(provider=provider)
    assert fake.played is not None
    assert connection.subject == (fake.played.subject or None), "identity"
    _call(connection)
    if provider.protocol == Provider.Protocol.OAUTH2:
        shift_expiry(connection, timedelta(minutes=2))
        assert flows.refresh(connection).refreshed, "refresh"
        _call(connection)
    _revoke(connection)


def _walked(client: Client, provider: Provider, form: dict[str, str]) -> Any:
    """Connect; an answer that is posted comes without a cookie, and waits for the browser that started."""
    if provider.response_mode != Provider.ResponseMode.FORM_POST:
        return walk(client, provider, **form)
    started: Any = client.post(f"/oauth/connect/{provider.slug}/", form)
    action, fields = posted_form(started["Location"])
    page = Client().post(urlsplit(action).path, urlencode(fields), content_type="application/x-www-form-urlencoded")
    return client.get(page["Refresh"].removeprefix("0; url="))


def _provider(preset: Preset, fake: FakeProvider, *, ca_bundle: str) -> Provider:
    """Return a saved row that is the entry's, at the fake's address."""
    staff = {name: _value(preset, name) for name in preset.staff_parameters()}
    row = Provider.from_preset(preset.slug, client_id="x", parameters=staff)
    columns = preset.columns()
    if preset.is_discovered:  # as the issuer's metadata would have it
        columns |= {name: f"{preset.issuer}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
    else:
        row.full_clean()
    if columns.get("authorization_endpoint"):
        # The fake tells endpoints apart by their path, and the suite knows pages that a request token may be sent to by theirs.
        columns["authorization_endpoint"] = columns["authorization_endpoint"].rstrip("/") + "/authorize"
    columns.setdefault("api_base_url", "https://api.service.example/")
    for name, value in fake.play(columns).items():
        setattr(row, name, value)
    server: Any = fake.oauth1 if preset.protocol == "oauth1" else fake.oauth2
    row.client_id = server.client_id
    if row.signature_method.startswith("RSA"):
        row.signature_method = Provider.SignatureMethod.HMAC_SHA1  # the fake knows no RSA; other tests sign with it
    if row.token_endpoint_auth_method != Provider.AuthMethod.NONE:
        row.seal("client_secret", Secret(server.client_secret))
    row.issuer, row.ca_bundle = "", ca_bundle
    if row.identity_source == Provider.IdentitySource.ID_TOKEN:
        row.issuer = fake.url
    if row.token_endpoint_auth_method == Provider.AuthMethod.PRIVATE_KEY_JWT:
        _sign(row, fake)
    row.save()
    return row


def _sign(row: Provider, fake: FakeProvider) -> None:
    """Give the client a key, and let the fake expect what the entry says of assertions."""
    signing, server = new_key(7, "ES256"), fake.oauth2
    row.seal("private_key", pem(signing.private))
    server.signing.jwk = signing.public()
    registration = row.registration(dict.fromkeys(open_parameters(row), "x"))
    audience = registration.dialect.client_assertion_audience
    named = {"issuer": fake.url, "token_endpoint": registration.server.token_endpoint}
    server.audience = named.get(audience, audience)
    server.assertion_issuer = registration.dialect.client_assertion_issuer


SAMPLES = ("x1", "12345", "0123456789", "AN0123", "00000000-0000-0000-0000-000000000000")


def _value(preset: Preset, name: str) -> str:
    parameter = preset.parameter(name)
    tried = (*parameter.values, *filter(None, [parameter.example]), *SAMPLES)
    return next(value for value in tried if parameter.accepts(value))


def _call(connection: Connection) -> None:
    with flows.session(connection) as http:
        answer = http.get("echo")
        assert answer.ok, f"the call was answered with {answer.status_code}"


def _revoke(connection: Connection) -> None:
    flows.revoke(connection)
    if connection.provider.revocation_endpoint:
        outcome = Revocation.objects.get(provider=connection.provider).outcome
        assert outcome == Revocation.Outcome.REVOKED, f"the revocation ended as {outcome}"
    with pytest.raises(ConnectionUnusable):
        flows.access_token(Connection.objects.get(pk=connection.pk))
