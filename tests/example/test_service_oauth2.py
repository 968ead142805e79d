"""The service's OAuth 2 server and its API, spoken to by Authlib's client over real HTTP."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from example_project.browser import Browser
from example_project.servers import DEVICE_CODE, MEMBER_SCOPES, Application, Member, Service
from tests.example.conftest import CALLBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from example_project.browser import Page

VERIFIER = "v" * 64
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400


@pytest.fixture(scope="module")
def application(service: Service) -> Application:
    """Register a client with a secret."""
    return service.register_application("Dashboard", redirect_uris=[CALLBACK])


def _client(application: Application, *, redirect_uri: str = CALLBACK) -> OAuth2Session:
    return OAuth2Session(
        application.client_id,
        application.client_secret,
        scope=" ".join(MEMBER_SCOPES),
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
    )


def _connect(
    service: Service, client: OAuth2Session, consent: Callable[..., Page], *, untick: Collection[str] = ()
) -> None:
    url, state = client.create_authorization_url(service.oauth2["authorization_endpoint"], code_verifier=VERIFIER)
    back = consent(url, untick=untick).location
    query = parse_qs(urlsplit(back).query)
    assert query["state"] == [state]
    assert query["iss"] == [service.oauth2["issuer"]]
    client.fetch_token(service.oauth2["token_endpoint"], authorization_response=back, code_verifier=VERIFIER)


@pytest.mark.rfc("6749", "4.1")
def test_the_code_flow_with_pkce_ends_in_an_api_call(
    service: Service, application: Application, member: Member, consent: Callable[..., Page]
) -> None:
    with _client(application) as client:
        _connect(service, client, consent)
        assert client.get(f"{service.url}/api/me/").json() == {"id": member.account_id, "name": member.name}


@pytest.mark.rfc("7636", "4.6")
def test_a_code_is_worth_nothing_with_another_verifier(
    service: Service, application: Application, consent: Callable[..., Page]
) -> None:
    with _client(application) as client:
        url, _ = client.create_authorization_url(service.oauth2["authorization_endpoint"], code_verifier=VERIFIER)
        with pytest.raises(OAuthError, match="invalid_grant"):
            client.fetch_token(
                service.oauth2["token_endpoint"], authorization_response=consent(url).location, code_verifier="w" * 64
            )


@pytest.mark.rfc("7636", "4.4.1")
def test_an_authorization_request_without_pkce_is_refused(
    service: Service, application: Application, member: Member
) -> None:
    query = {"response_type": "code", "client_id": application.client_id, "redirect_uri": CALLBACK, "state": "s"}
    browser = Browser()
    page = browser.get(f"{service.url}/login/")
    browser.submit(
        page, page.form(button="Log in"), {"username": member.username, "password": member.password}, button="Log in"
    )
    url = requests.Request("GET", service.oauth2["authorization_endpoint"], params=query).prepare().url
    answer = parse_qs(urlsplit(browser.get(str(url), follow=False).location).query)
    browser.close()
    assert answer["error"] == ["invalid_request"]


@pytest.mark.parametrize(("prompt", "error"), [("none", "consent_required"), ("none login", "invalid_request")])
def test_nobody_is_connected_without_being_asked(
    prompt: str, error: str, service: Service, application: Application, member: Member
) -> None:
    """OpenID Connect Core §3.1.2.1: ``prompt=none`` is answered at once, and goes with nothing else."""
    with _client(application) as client:
        client.scope = "openid profile"
        url, state = client.create_authorization_url(
            service.oauth2["authorization_endpoint"], code_verifier=VERIFIER, prompt=prompt
        )
    browser = Browser()
    answers = [browser.get(url, follow=False)]
    page = browser.get(f"{service.url}/login/")
    who = {"username": member.username, "password": member.password}
    browser.submit(page, page.form(button="Log in"), who, button="Log in")
    answers.append(browser.get(url, follow=False))
    browser.close()
    for answer, expected in zip(answers, ("login_required" if prompt == "none" else error, error), strict=True):
        assert answer.location.startswith(CALLBACK), answer.status
        query = parse_qs(urlsplit(answer.location).query)
        assert (query["error"], query["state"], query["iss"]) == ([expected], [state], [service.url])


@pytest.mark.rfc("6749", "6")
def test_refreshing_rotates_the_refresh_token_and_reuse_ends_the_grant(
    service: Service, application: Application, member: Member, consent: Callable[..., Page]
) -> None:
    endpoint = service.oauth2["token_endpoint"]
    with _client(application) as client:
        _connect(service, client, consent)
        first = dict(client.token)
        second = client.refresh_token(endpoint, refresh_token=first["refresh_token"])
        assert second["refresh_token"] != first["refresh_token"]
        assert client.get(f"{service.url}/api/me/").status_code == 200
        with pytest.raises(OAuthError, match="invalid_grant"):
            client.refresh_token(endpoint, refresh_token=first["refresh_token"])
    assert service.live_tokens(member.username) == {"access_tokens": 0, "refresh_tokens": 0, "token_credentials": 0}


@pytest.mark.rfc("6749", "4.4")
def test_client_credentials_read_totals_and_nobodys_notes(service: Service) -> None:
    reporter = service.register_application("Reporter", grant="client-credentials")
    with OAuth2Session(reporter.client_id, reporter.client_secret, scope="statistics notes:read") as client:
        client.fetch_token(service.oauth2["token_endpoint"], grant_type="client_credentials")
        assert client.get(f"{service.url}/api/statistics/").json()["notes"] >= 2
        assert client.get(f"{service.url}/api/notes/").status_code == 403


@pytest.mark.rfc("7009", "2.1")
def test_revoking_the_refresh_token_ends_the_access_token_as_well(
    service: Service, application: Application, consent: Callable[..., Page]
) -> None:
    with _client(application) as client:
        _connect(service, client, consent)
        answer = client.revoke_token(
            service.oauth2["revocation_endpoint"], client.token["refresh_token"], token_type_hint="refresh_token"
        )
        assert answer.status_code == 200
        assert client.get(f"{service.url}/api/me/").status_code == 401


@pytest.mark.rfc("9207", "2")
def test_a_member_can_refuse(service: Service, application: Application, consent: Callable[..., Page]) -> None:
    with _client(application) as client:
        url, _ = client.create_authorization_url(service.oauth2["authorization_endpoint"], code_verifier=VERIFIER)
    query = parse_qs(urlsplit(consent(url, button="Do not allow").location).query)
    assert query["error"] == ["access_denied"]
    assert query["iss"] == [service.oauth2["issuer"]]


def test_an_id_token_has_the_time_that_the_services_clock_shows(
    service: Service, application: Application, consent: Callable[..., Page]
) -> None:
    with _client(application) as client, service.wrong_clock(fast_by=3600):
        client.scope = "openid"
        _connect(service, client, consent)
    payload = client.token["id_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    assert claims["iat"] - time.time() == pytest.approx(3600, abs=10)
    assert claims["auth_time"] <= claims["iat"] < claims["exp"]


@pytest.mark.rfc("6749", "3.3")
def test_a_member_grants_less_than_is_asked_for_and_the_answer_says_so(
    service: Service, application: Application, member: Member, consent: Callable[..., Page]
) -> None:
    untick = {"notes:write", "photos:read", "photos:write"}
    with _client(application) as client:
        _connect(service, client, consent, untick=untick)
        assert client.token["scope"] == "profile notes:read"
        assert client.get(f"{service.url}/api/me/").json()["id"] == member.account_id
        assert client.get(f"{service.url}/api/photos/").status_code == 403


def test_who_unticks_everything_has_refused(
    service: Service, application: Application, consent: Callable[..., Page]
) -> None:
    with _client(application) as client:
        url, _ = client.create_authorization_url(service.oauth2["authorization_endpoint"], code_verifier=VERIFIER)
    query = parse_qs(urlsplit(consent(url, untick=MEMBER_SCOPES).location).query)
    assert query["error"] == ["access_denied"]


def test_a_permission_that_was_not_asked_for_cannot_be_ticked(
    service: Service, application: Application, member: Member
) -> None:
    browser = Browser()
    with _client(application) as client:
        client.scope = "profile"
        url, _ = client.create_authorization_url(service.oauth2["authorization_endpoint"], code_verifier=VERIFIER)
    page = browser.get(url)
    who = {"username": member.username, "password": member.password}
    page = browser.submit(page, page.form(button="Log in"), who, button="Log in")
    form = page.form(button="Allow")
    assert form.ticked == {"scope": ["profile"]}
    form.ticked["scope"].append("notes:write")
    page = browser.submit(page, form, button="Allow", follow=False)
    browser.close()
    assert (page.status, page.location) == (400, "")


def test_a_member_ends_the_access_of_an_application_on_a_page(
    service: Service, application: Application, member: Member
) -> None:
    access, _ = service.issue_oauth2(member.username, client_id=application.client_id)
    bearer = {"Authorization": f"Bearer {access}"}
    assert requests.get(f"{service.url}/api/me/", headers=bearer, timeout=5).status_code == 200
    browser = Browser()
    page = browser.get(f"{service.url}/applications/")
    page = browser.submit(
        page, page.form(button="Log in"), {"username": member.username, "password": member.password}, button="Log in"
    )
    browser.submit(page, page.form(button="End access"), button="End access")
    browser.close()
    assert requests.get(f"{service.url}/api/me/", headers=bearer, timeout=5).status_code == 401


def test_an_expired_token_is_told_to_be_invalid(service: Service, application: Application, member: Member) -> None:
    access, _ = service.issue_oauth2(member.username, client_id=application.client_id)
    assert service.expire_access_tokens(member.username) == 1
    refused = requests.get(f"{service.url}/api/me/", headers={"Authorization": f"Bearer {access}"}, timeout=5)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


def test_a_token_without_the_scope_is_told_which_one_it_lacks(
    service: Service, application: Application, member: Member
) -> None:
    access, _ = service.issue_oauth2(member.username, client_id=application.client_id, scopes=["profile"])
    refused = requests.get(f"{service.url}/api/notes/", headers={"Authorization": f"Bearer {access}"}, timeout=5)
    assert refused.status_code == 403
    assert 'error="insufficient_scope", scope="notes:read"' in refused.headers["WWW-Authenticate"]


def test_notes_and_photos_come_back_as_they_were_sent_and_to_their_member_only(
    service: Service, application: Application, member: Member
) -> None:
    access, _ = service.issue_oauth2(member.username, client_id=application.client_id)
    stranger, _ = service.issue_oauth2(
        service.add_member(f"{member.username}b").username, client_id=application.client_id
    )
    api = f"{service.url}/api"
    with requests.Session() as http:
        http.headers["Authorization"] = f"Bearer {access}"
        note = http.post(f"{api}/notes/", json={"text": "Buy ink"}).json()
        photo = http.post(f"{api}/photos/?name=Ink", data=PNG, headers={"Content-Type": "image/png"}).json()
        assert http.get(f"{api}/notes/").json()["notes"] == [note]
        assert http.get(f"{api}/photos/").json()["photos"] == [photo]
        assert http.get(f"{api}/photos/{photo['id']}/").content == PNG
        others = {"Authorization": f"Bearer {stranger}"}
        assert http.get(f"{api}/notes/{note['id']}/", headers=others).status_code == 404
        assert http.get(f"{api}/photos/{photo['id']}/", headers=others).status_code == 404
        assert http.delete(f"{api}/notes/{note['id']}/").status_code == 204
        assert http.delete(f"{api}/photos/{photo['id']}/").status_code == 204
        assert http.get(f"{api}/notes/").json()["notes"] == []


@pytest.mark.rfc("8414", "3")
def test_the_metadata_document_names_the_same_endpoints(service: Service) -> None:
    document = requests.get(f"{service.url}/.well-known/oauth-authorization-server", timeout=5).json()
    assert document["issuer"] == service.oauth2["issuer"]
    assert document["token_endpoint"] == service.oauth2["token_endpoint"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["device_authorization_endpoint"] == service.by_code["device_authorization_endpoint"]
    assert document["response_modes_supported"] == ["query", "form_post"]


def test_the_openid_configuration_says_the_same(service: Service) -> None:
    documents = [
        requests.get(f"{service.url}/.well-known/{name}", timeout=5).json()
        for name in ("oauth-authorization-server", "openid-configuration")
    ]
    for name in ("issuer", "token_endpoint", "revocation_endpoint", "device_authorization_endpoint", "jwks_uri"):
        assert documents[0][name] == documents[1][name]


def _device(service: Service) -> tuple[tuple[str, str], dict[str, str]]:
    screen = service.register_application("Screen", grant=DEVICE_CODE)
    credentials = (screen.client_id, screen.client_secret)
    asked = {"client_id": screen.client_id, "scope": "profile"}
    endpoint = service.by_code["device_authorization_endpoint"]
    return credentials, requests.post(endpoint, data=asked, auth=credentials, timeout=5).json()


def _poll(service: Service, credentials: tuple[str, str], device_code: str) -> dict[str, str]:
    asked = {"grant_type": DEVICE_CODE, "device_code": device_code, "client_id": credentials[0]}
    answer: dict[str, str] = requests.post(
        service.oauth2["token_endpoint"], data=asked, auth=credentials, timeout=5
    ).json()
    return answer


def _answer(member: Member, given: dict[str, str], *, button: str, typed: str = "") -> Page:
    browser = Browser()
    page = browser.get(given["verification_uri_complete"])
    who = {"username": member.username, "password": member.password}
    page = browser.submit(page, page.form(button="Log in"), who, button="Log in")
    entered = {"user_code": typed or given["user_code"]}
    page = browser.submit(page, page.form(button="Go on"), entered, button="Go on")
    page = browser.submit(page, page.form(button=button), button=button)
    browser.close()
    return page


@pytest.mark.rfc("8628", "3.5")
@pytest.mark.parametrize(("button", "said"), [("Allow", "Allowed"), ("Do not allow", "Not allowed")])
def test_a_code_waits_for_its_member_and_is_good_for_one_answer(
    button: str, said: str, service: Service, member: Member
) -> None:
    credentials, given = _device(service)
    assert given["verification_uri"] == f"{service.url}/device/"
    assert _poll(service, credentials, given["device_code"])["error"] == "authorization_pending"
    assert said in _answer(member, given, button=button).text
    answers = [_poll(service, credentials, given["device_code"]) for _ in range(2)]
    if button == "Allow":
        bearer = {"Authorization": f"Bearer {answers[0]['access_token']}"}
        assert requests.get(f"{service.url}/api/me/", headers=bearer, timeout=5).json()["id"] == member.account_id
        assert answers[1]["error"] == "expired_token"
    else:
        assert [answer["error"] for answer in answers] == ["access_denied", "access_denied"]


@pytest.mark.rfc("8628", "6.1")
def test_a_code_is_taken_as_people_type_it(service: Service, member: Member) -> None:
    credentials, given = _device(service)
    code = given["user_code"]
    typed = f"{code[:4]}-{code[4:]}".lower()
    assert "Allowed" in _answer(member, given, button="Allow", typed=typed).text
    assert "access_token" in _poll(service, credentials, given["device_code"])


@pytest.mark.rfc("8628", "3.4")
def test_a_code_is_worth_nothing_to_another_client(service: Service, member: Member) -> None:
    _, given = _device(service)
    stranger, _ = _device(service)
    _answer(member, given, button="Allow")
    assert _poll(service, stranger, given["device_code"])["error"] == "invalid_grant"


@pytest.mark.parametrize(("button", "brings"), [("Allow", "code"), ("Do not allow", "error")])
def test_an_answer_is_posted_if_the_client_asks_for_that(
    button: str, brings: str, service: Service, application: Application, consent: Callable[..., Page]
) -> None:
    with _client(application) as client:
        url, state = client.create_authorization_url(
            service.oauth2["authorization_endpoint"], code_verifier=VERIFIER, response_mode="form_post"
        )
        page = consent(url, button=button)
    form = page.form(action=CALLBACK)
    assert (page.location, form.action, form.method) == ("", CALLBACK, "POST")
    assert (form.fields["state"], form.fields["iss"]) == (state, service.url)
    assert form.fields[brings]
    assert page.headers["cache-control"].startswith("max-age=0, no-cache, no-store")


def test_a_posted_answer_leaves_the_clients_own_query_in_the_address(
    service: Service, consent: Callable[..., Page]
) -> None:
    """The client's address may have a query of its own; the answer is in the form, and nowhere in the address."""
    own = f"{CALLBACK}?site=a%26b&empty="
    application = service.register_application("Letterbox", redirect_uris=[own])
    with _client(application, redirect_uri=own) as client:
        url, state = client.create_authorization_url(
            service.oauth2["authorization_endpoint"], code_verifier=VERIFIER, response_mode="form_post"
        )
        form = consent(url).form(action=CALLBACK)
    assert form.action == own
    assert set(form.fields) == {"code", "state", "iss"}
    assert form.fields["state"] == state
