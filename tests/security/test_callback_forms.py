"""Group B: answers that reach us without the browser's cookies: posted forms, and sessions that are strictly same-site."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client, RequestFactory

from django_oauth_flows.flows import answers
from django_oauth_flows.models import AuthorizationRequest, Connection
from django_oauth_flows.testing.factories import answer, begin, make_provider, posted_form
from django_oauth_flows.views.callback import callback
from tests.security.test_callback import CALLBACK, nothing_happened, refused, with_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def posting(db: None, fake: FakeProvider) -> Provider:
    """Return a provider that answers with a form."""
    return make_provider(fake, response_mode="form_post")


def posted(browser: Client, provider: Provider) -> dict[str, str]:
    """Start, consent, and return what the provider's form holds."""
    started: Any = browser.post(f"/oauth/connect/{provider.slug}/")
    assert parse_qs(urlsplit(started["Location"]).query)["response_mode"] == ["form_post"]
    action, fields = posted_form(started["Location"])
    assert urlsplit(action).path == CALLBACK
    return fields


def from_elsewhere(fields: dict[str, str], *, query: str = "") -> Any:
    """Post as a browser does from another site: without one cookie of ours, and without a CSRF token."""
    stranger = Client(enforce_csrf_checks=True)
    response = stranger.post(CALLBACK + query, urlencode(fields), content_type=FORM, headers={"Origin": "null"})
    assert not response.cookies  # none of the browser's is replaced
    return response


def onward(response: Any) -> str:
    """Return where the page leads by itself."""
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    url: str = response["Refresh"].removeprefix("0; url=")
    assert url.replace("&", "&amp;") in response.content.decode()
    return url


@pytest.mark.security("B20")
def test_a_posted_answer_waits_sealed_for_the_browser_that_started(
    posting: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fields = posted(browser, posting)
    page = from_elsewhere(fields)
    back = onward(page)
    assert fields["code"] not in page.content.decode() + str(page.headers)
    assert fields["code"] not in str(AuthorizationRequest.objects.values().get())
    nothing_happened(fake)
    response = browser.get(back)
    assert response.status_code == 303
    assert response["Location"] == "/oauth/"
    assert user.oauth_connections.get().is_active
    assert AuthorizationRequest.objects.get().kept_answer is None
    assert fake.count("token") == 1
    assert browser.get(back).status_code == 303  # a reload
    assert fake.count("token") == 1


@pytest.mark.security("B20", "B03", "B04")
def test_a_posted_answer_is_for_the_browser_that_posted_it_and_that_started(
    posting: Provider, fake: FakeProvider, browser: Client, make_user: Callable[..., User], client_for: Any
) -> None:
    back = onward(from_elsewhere(posted(browser, posting)))
    refused(client_for(make_user("victim")).get(back), "session_mismatch")
    refused(Client().get(back), "session_mismatch")
    nothing_happened(fake)
    # Whoever started here, and had somebody else consent in another browser, was never given the handle.
    for guess in ({}, {"answer": ""}, {"answer": "x" * 43}):
        fields = posted(browser, posting)
        from_elsewhere(fields)
        refused(browser.get(f"{CALLBACK}?{urlencode({'state': fields['state'], **guess})}"), "unexpected_response")
    nothing_happened(fake)
    assert browser.get(back).status_code == 303


@pytest.mark.security("B20")
def test_a_posted_answer_waits_for_a_minute(
    posting: Provider, fake: FakeProvider, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LIFETIME", timedelta(seconds=0))
    refused(browser.get(onward(from_elsewhere(posted(browser, posting)))), "state_expired")
    nothing_happened(fake)


@pytest.mark.security("B20")
def test_only_the_last_of_several_posted_answers_counts(posting: Provider, fake: FakeProvider, browser: Client) -> None:
    fields = posted(browser, posting)
    first = onward(from_elsewhere({**fields, "code": "injected"}))
    last = onward(from_elsewhere(fields))
    assert first != last
    assert browser.get(last).status_code == 303
    assert fake.received("token")[0].form["code"] == fields["code"]
    assert browser.get(first).status_code == 303  # it is done, whoever asks
    assert fake.count("token") == 1


@pytest.mark.security("B20")
def test_what_is_posted_without_a_state_of_ours_is_refused_and_nothing_kept(
    posting: Provider, fake: FakeProvider, browser: Client
) -> None:
    fields = posted(browser, posting)
    refused(from_elsewhere({**fields, "state": ""}), "state_missing")
    refused(from_elsewhere({**fields, "state": "x" * 43}), "state_unknown")
    refused(from_elsewhere(fields, query="?state=" + fields["state"]), "duplicate_parameter")
    refused(browser.post(CALLBACK, fields), "state_missing")  # multipart is no form of a service
    refused(from_elsewhere({**fields, "x": "y" * 70_000}), "state_missing")
    other = make_provider(fake, slug="other", response_mode="form_post")
    stray = Client().post(f"/oauth/callback/{other.slug}/", urlencode(fields), content_type=FORM)
    refused(stray, "provider_mismatch")
    assert AuthorizationRequest.objects.get().kept_answer is None
    assert browser.get(onward(from_elsewhere(fields))).status_code == 303


@pytest.mark.security("B11", "B20")
def test_a_posted_answer_goes_through_the_same_checks(posting: Provider, fake: FakeProvider, browser: Client) -> None:
    fields = posted(browser, posting)
    refused(browser.get(onward(from_elsewhere({**fields, "iss": "https://attacker.example"}))), "issuer_mismatch")
    fields = posted(browser, posting)
    doubled = urlencode(fields) + "&code=B"
    page = Client().post(CALLBACK, doubled, content_type=FORM)
    refused(browser.get(onward(page)), "duplicate_parameter")
    fake.oauth2.denies = True
    refused(browser.get(onward(from_elsewhere(posted(browser, posting)))), "access_denied")
    nothing_happened(fake)


@pytest.mark.security("B22")
def test_a_query_where_a_form_was_agreed_and_the_other_way_round(
    posting: Provider, fake: FakeProvider, browser: Client
) -> None:
    fields = posted(browser, posting)
    refused(browser.get(f"{CALLBACK}?{urlencode(fields)}"), "unexpected_response")
    posting.response_mode = "query"
    posting.save()
    redirected = begin(browser, posting)
    form = {name: values[0] for name, values in parse_qs(urlsplit(redirected).query).items()}
    refused(from_elsewhere(form), "unexpected_response")
    nothing_happened(fake)
    assert answer(browser, redirected).status_code == 303


@pytest.mark.security("B24")
def test_a_provider_that_was_edited_before_the_browser_came_back_does_not_get_the_code(
    posting: Provider, fake: FakeProvider, browser: Client
) -> None:
    back = onward(from_elsewhere(posted(browser, posting)))
    posting.client_id = "another"
    posting.save()
    refused(browser.get(back), "provider_changed")
    nothing_happened(fake)


@pytest.mark.security("B21")
def test_a_strict_session_comes_back_once_from_a_page_of_ours(
    provider: Provider, fake: FakeProvider, browser: Client, settings: Any
) -> None:
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    redirected = begin(browser, provider)
    across = Client()  # what a browser sends along from the provider's page
    across.cookies.update({k: v for k, v in browser.cookies.items() if k.startswith("oauth_flows_")})
    page = across.get(with_query(redirected))
    back = onward(page)
    code = parse_qs(urlsplit(redirected).query)["code"][0]
    assert code not in back
    assert code not in page.content.decode()
    nothing_happened(fake)
    assert browser.get(back).status_code == 303
    assert Connection.objects.get().is_active
    # Who has no session at all is told so, and not sent round in circles.
    redirected = begin(browser, provider)
    across.cookies.update({k: v for k, v in browser.cookies.items() if k.startswith("oauth_flows_")})
    refused(across.get(onward(across.get(with_query(redirected)))), "session_mismatch")


@pytest.mark.security("B21", "B03")
def test_a_lax_session_that_is_missing_is_missing(provider: Provider, fake: FakeProvider, browser: Client) -> None:
    refused(Client().get(with_query(begin(browser, provider))), "session_mismatch")
    nothing_happened(fake)


@pytest.mark.security("L01")
def test_a_posted_answer_is_gone_from_the_request_before_anything_can_print_it(
    posting: Provider, browser: Client
) -> None:
    fields = posted(browser, posting)
    request = RequestFactory().post(f"{CALLBACK}?x=y", urlencode(fields), content_type=FORM)
    request.user = AnonymousUser()
    onward(callback(request, slug=posting.slug))
    assert not request.POST
    assert not request.body
    assert not request.META["QUERY_STRING"]
