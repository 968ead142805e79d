"""Where users are sent afterwards: only ever a path of this site."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_oauth_flows import flows

HOSTILE = [
    "",
    "e.com",
    "//e.com",
    "///e.com",
    "////e.com",
    "/\\e.com",
    "\\\\e.com",
    "\\/e.com",
    "/%09/e.com",
    "/\t/e.com",
    "/%0a/e.com",
    "/\n/e.com",
    "/%0d%0aLocation:%20https://e.com",
    "/%5ce.com",
    "/%5Ce.com",
    "/%2f%2fe.com",
    "/%2F/e.com",
    "/%2e%2e//e.com/%2f",
    "/./\\e.com",
    "/.//e.com",
    "/../\\e.com",
    "/..//e.com",
    "/ /e.com",
    "/%20/e.com",
    "/\x0b/e.com",
    "/\x0c/e.com",
    "/\x00/e.com",
    "/\x7f/e.com",
    "/\u00a0/e.com",
    "/\u2028/e.com",
    "/\u202ee.com",
    "/\u200b/e.com",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\nscript:alert(1)",
    "java%0ascript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "http:e.com",
    "https:e.com",
    "http:/e.com",
    "https:///e.com",
    "http://e.com/",
    "https://ok@e.com",
    "https://ok\\@e.com",
    "//e%E3%80%82com",
    "〱e.com",
    "//〱e.com",
    "ok.e.com",
    "/" + "a" * 10_000,
    "/a\ud800b",
    "?next=//e.com",
    "#//e.com",
    " /e.com",
    "/%c0%ae%c0%ae/\\e.com",
    "/a%00b",
]


@pytest.mark.security("A12")
@pytest.mark.parametrize("url", HOSTILE)
def test_anything_but_a_plain_path_of_this_site_falls_back_to_the_default(url: str) -> None:
    assert flows.safe_next_url(url) == ""


@pytest.mark.parametrize(
    "url", ["/", "/notes/", "/notes/?page=2&q=a%20b", "/a/b#c", "/caf%C3%A9/", "/é/", "/notes/?next=//x", "/a.b-c_d~e/"]
)
def test_a_plain_path_is_kept(url: str) -> None:
    assert flows.safe_next_url(url) == url


@pytest.mark.security("A12")
@given(st.text(alphabet=st.sampled_from("/\\.:@%2f5c0a9e ?#\t\r\n\x00\x0b"), max_size=30))
def test_what_is_kept_stays_on_this_site_however_a_browser_reads_it(tail: str) -> None:
    kept = flows.safe_next_url("/" + tail)
    # Browsers drop tabs and line ends, and read backslashes as slashes.
    read = kept.replace("\\", "/").translate({9: None, 10: None, 13: None})
    assert not read.startswith("//")
    assert "\\" not in kept
    assert not any(ord(c) < 32 for c in kept)


@pytest.mark.security("V08")
@pytest.mark.parametrize("unit", ["/", "%2f", "/.", "\\", "%", "a?", "é"])
def test_checking_a_huge_address_costs_next_to_nothing(unit: str) -> None:
    url = "/" + unit * (100_000 // len(unit))
    started = time.process_time()
    assert flows.safe_next_url(url) == ""
    assert time.process_time() - started < 0.05
