"""Random callbacks, as many as ``FUZZ_EXAMPLES`` says: never a crash, never a slow answer. The seed is in the test's id."""

from __future__ import annotations

import os
import random
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import RequestFactory

from django_oauth_flows import flows
from django_oauth_flows.models import AuthorizationRequest
from django_oauth_flows.testing.factories import begin
from django_oauth_flows.views.callback import callback

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

FUZZ_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2000"))
SEEDS = [20261124, 20261125]  # one for each core of a small machine

NAMES = [
    "state",
    "code",
    "error",
    "error_description",
    "iss",
    "oauth_token",
    "oauth_verifier",
    "denied",
    "access_token",
    "x",
    "",
]
PIECES = [
    "&",
    "=",
    "%",
    "%00",
    "%0d%0a",
    "%ff",
    "%C0%80",
    "%ED%A0%80",
    "+",
    ";",
    "[]",
    "\x00",
    "\n",
    "é",
    "\udc80",
    "<script>",
    "{{7*7}}",
    "'",
    '"',
    "\u202e",
    "A" * 300,
]


def hostile_query(dice: random.Random, state: str) -> str:
    """Return a query made of what callbacks contain and of what they should not."""
    parts = [f"state={state}"] if dice.random() < 0.5 else []  # else hardly one would get past the binding
    for _ in range(dice.randrange(0, 8)):
        value = dice.choice([state, "", "code", *(dice.choice(PIECES) * dice.randrange(1, 4) for _ in range(3))])
        if dice.random() < 0.3:
            value = bytes(dice.randrange(256) for _ in range(dice.randrange(40))).decode("latin-1")
        parts.append(f"{dice.choice(NAMES)}{dice.choice(['=', '=', '==', '', '%3D'])}{value}")
    return dice.choice(["&", "&&", ";", "&"]).join(parts)


@pytest.mark.security("V02")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_random_callback_crashes_or_is_slow(
    seed: int, browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    dice, factory, slowest, understood = random.Random(seed), RequestFactory(), 0.0, 0
    callback_url = begin(browser, provider)
    state = callback_url.partition("state=")[2].partition("&")[0]
    cookies = {name: morsel.value for name, morsel in browser.cookies.items()}
    for number in range(FUZZ_EXAMPLES // len(SEEDS)):
        request: HttpRequest = factory.get("/oauth/callback/fake/")
        request.META["QUERY_STRING"] = query = hostile_query(dice, state)
        request.user, request.COOKIES = user, cookies
        started = time.process_time()
        response = callback(request, "fake")
        slowest = max(slowest, time.process_time() - started if number else 0.0)
        assert response.status_code == 400, (number, query)
        taken = AuthorizationRequest.objects.filter(taken_at__isnull=False)
        understood += taken.update(taken_at=None, outcome="", failure="")  # as if it had just been started
    assert slowest < 0.5, slowest  # the promise is 0.05; a garbage collection may fall into one
    assert understood > FUZZ_EXAMPLES / len(SEEDS) / 10, "hardly an answer was looked at"
    codes = [request.form["code"] for request in fake.received("token")]
    assert codes
    assert all(re.fullmatch(r"[\x21-\x7e]+", code) for code in codes), "a code that cannot be one has left the site"


@pytest.mark.security("A04")
@pytest.mark.django_db
def test_no_state_comes_twice(user: User, provider: Provider) -> None:
    """Ten thousand starts, or fewer if ``FUZZ_EXAMPLES`` says so."""
    states = set()
    for number in range(starts := min(FUZZ_EXAMPLES, 10_000)):
        if number % 50 == 0:
            AuthorizationRequest.objects.all().delete()  # else this would be a flood
        started = flows.start_authorization(provider, user=user, session_auth_hash="")
        states |= {*parse_qs(urlsplit(started.authorization_url).query)["state"]}
    assert len(states) == starts
