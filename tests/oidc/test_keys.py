"""A server's keys: fetched, kept, renewed, and never asked for without end."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol import jwks
from django_oauth_flows.protocol.jwks import ASKED_EVERY, KEPT_FOR, RENEWED_AFTER, KeyCache, verified
from django_oauth_flows.protocol.jws import TokenRefused
from django_oauth_flows.testing import Answer, Drop, Endless
from django_oauth_flows.testing.openid import assemble, new_key
from tests.oidc.tokens import Verifier

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider


@dataclass
class Site:
    """A process with a clock that is set by hand."""

    fake: FakeProvider
    now: float = 1_000_000.0
    cache: KeyCache = field(init=False)

    def __post_init__(self) -> None:
        self.cache = KeyCache(lambda: self.now)

    def verify(self, token: str) -> dict[str, Any]:
        """Verify a signature with this process's keys."""
        return verified(token, Verifier(self.fake).registration(), algorithm="RS256", cache=self.cache)

    def accepts(self) -> bool:
        """Tell whether what the fake signs now is believed."""
        try:
            return self.verify(self.fake.openid.sign({"sub": "a"})) == {"sub": "a"}
        except TokenRefused:
            return False


@pytest.fixture
def site(fake: FakeProvider) -> Site:
    """Return a process that has not asked for any keys."""
    return Site(fake)


def test_keys_are_fetched_once_and_again_after_an_hour(site: Site) -> None:
    assert all(site.accepts() for _ in range(5))
    assert site.fake.count("jwks") == 1
    site.now += RENEWED_AFTER
    assert site.accepts()
    assert site.fake.count("jwks") == 2


@pytest.mark.security("I09")
@pytest.mark.parametrize("keeps_old", [True, False])
def test_a_new_key_is_found_at_once(site: Site, keeps_old: bool) -> None:
    assert site.accepts()
    site.fake.openid.rotate(keeps_old=keeps_old)
    assert site.accepts()
    assert site.fake.count("jwks") == 2


@pytest.mark.security("I09")
def test_a_key_that_was_replaced_under_its_old_name_is_found(site: Site) -> None:
    assert site.accepts()
    site.fake.openid.rotate(number=7)
    site.fake.openid.keys = [type(site.fake.openid.keys[0])(site.fake.openid.keys[0].private, "RS256", "key-1")]
    assert site.accepts()


@pytest.mark.security("I09")
def test_a_thousand_unknown_keys_cost_one_request_in_a_minute(site: Site) -> None:
    assert site.accepts()
    own = new_key(8)
    for number in range(1000):
        header = {"alg": "RS256", "kid": f"unknown-{number}"}
        with pytest.raises(TokenRefused):
            site.verify(assemble(header, {"sub": "a"}, own.private, "RS256"))
    assert site.fake.count("jwks") == 2
    site.fake.openid.rotate()
    assert not site.accepts()  # the price: a key that is new within this minute waits for the next
    site.now += ASKED_EVERY
    assert site.accepts()
    assert site.fake.count("jwks") == 3


FAULTS: dict[str, Any] = {
    "500": Answer(500, "no"),
    "404 with keys": Answer(404, {"keys": []}),
    "html": Answer(200, "<html>"),
    "no set": Answer(200, {}),
    "no keys": Answer(200, {"keys": []}),
    "keys is an object": Answer(200, {"keys": {"a": 1}}),
    "only nonsense": Answer(200, {"keys": [1, None, "x"]}),
    "only shared keys": Answer(200, {"keys": [{"kty": "oct", "k": "AAAA"}]}),
    "keys twice": Answer(200, '{"keys": [{"kty": "RSA"}], "keys": []}'),
    "redirect": Answer(302, headers={"Location": "/jwks"}),
    "dropped": Drop(),
    "endless": Endless(limit=4 << 20),
}


@pytest.mark.security("I10")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_last_good_keys_serve_for_a_day(site: Site, fault: Any) -> None:
    assert site.accepts()
    site.now += RENEWED_AFTER
    site.fake.script("jwks", fault)
    assert site.accepts()
    assert site.fake.count("jwks") == 2
    assert site.accepts()  # and the server is left alone for a minute
    assert site.fake.count("jwks") == 2
    site.now += ASKED_EVERY
    assert site.accepts()
    assert site.fake.count("jwks") == 3


@pytest.mark.security("I10")
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_without_any_good_keys_nobody_can_tell(site: Site, fault: Any) -> None:
    site.fake.script("jwks", fault)
    with pytest.raises(TokenEndpointError) as raised:
        site.accepts()
    assert raised.value.code == "keys_unavailable"
    assert site.accepts()


@pytest.mark.security("I10")
def test_keys_older_than_a_day_serve_no_more(site: Site) -> None:
    assert site.accepts()
    site.now += KEPT_FOR
    with site.fake.down(), pytest.raises(TokenEndpointError) as raised:
        site.accepts()
    assert raised.value.code == "keys_unavailable"


@pytest.mark.security("I10")
def test_a_set_is_replaced_as_a_whole_and_a_bad_key_in_it_is_skipped(site: Site) -> None:
    good = new_key(1)
    site.fake.openid.published = {"keys": [{"kty": "RSA", "kid": "key-1", "n": "!", "e": "AQAB"}, 7, good.public()]}
    assert site.accepts()
    site.fake.openid.published = {"keys": [new_key(2).public()]}
    site.now += RENEWED_AFTER
    assert not site.accepts()


@pytest.mark.security("I10", "H04", "H06")
@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/jwks", "file:///etc/passwd", "https://ok@127.0.0.1/jwks", "ftp://x/"]
)
def test_a_key_set_is_asked_for_where_endpoints_may_be_and_nowhere_else(address: str, fake: FakeProvider) -> None:
    from dataclasses import replace

    registration = Verifier(fake).registration()
    elsewhere = replace(registration, server=replace(registration.server, jwks_uri=address))
    with pytest.raises(TokenEndpointError) as raised:
        verified(fake.openid.sign({}), elsewhere, algorithm="RS256", cache=KeyCache())
    assert raised.value.code == "keys_unavailable"


def test_two_providers_share_no_keys(fake: FakeProvider) -> None:
    from django_oauth_flows.testing import FakeProvider as Another

    with Another() as other:
        other.openid.keys = [new_key(4)]
        first, second = Verifier(fake), Verifier(other)
        assert first.check()
        assert second.check()
        with pytest.raises(TokenEndpointError):
            second.verify(fake.openid.sign(second.claims()))
    assert len(jwks.CACHE._kept) == 2


@pytest.mark.security("I10")
def test_a_private_half_that_a_server_publishes_is_not_looked_at(site: Site) -> None:
    site.fake.openid.sign({})  # makes the key
    key = site.fake.openid.keys[0]
    numbers = key.private.private_numbers()
    private = {
        name: encoded(getattr(numbers, member))
        for name, member in {"d": "d", "p": "p", "q": "q", "dp": "dmp1", "dq": "dmq1", "qi": "iqmp"}.items()
    }
    site.fake.openid.published = {"keys": [{**key.public(), **private}]}
    assert site.accepts()
    ((kept,),) = (entry.keys for entry in site.cache._kept.values())
    assert set(private).isdisjoint(kept)


@pytest.mark.security("I10")
def test_numbers_longer_than_any_key_cost_no_time(site: Site) -> None:
    long = {"kty": "RSA", "kid": "key-1", "n": new_key(7).public()["n"], "e": "AQAB", "d": "A" * 40_000}
    endless = {**long, "n": "A" * 40_000}
    site.fake.openid.published = {"keys": [*[long] * 19, endless]}
    token = assemble({"alg": "RS256"}, {"sub": "a"}, new_key(8).private, "RS256")
    began = time.process_time()
    with pytest.raises(TokenRefused):
        site.verify(token)
    assert time.process_time() - began < 1.0  # with the private number 19 x 4 s


def encoded(number: int) -> str:
    """Return a number as JSON Web Keys write it."""
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
