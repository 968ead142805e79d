"""One service for this folder's tests, in a process of its own; members are made as needed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from example_project.browser import Browser, Page
from example_project.servers import Member, Service, start_service

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

CALLBACK = "http://127.0.0.1:9/oauth/callback/notebook/"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run the service over plain http."""
    with start_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def member(service: Service) -> Member:
    """Add a member of its own for one test."""
    return service.add_member(f"member{next(_numbers)}")


@pytest.fixture
def consent(service: Service, member: Member) -> Iterator[Callable[..., Page]]:
    """Return a function that opens an authorization URL as ``member``, logs in, takes out ticks, and answers."""
    browser = Browser()

    def answer(url: str, *, button: str = "Allow", untick: Collection[str] = ()) -> Page:
        page = browser.get(url)
        if "/login/" in page.url:
            credentials = {"username": member.username, "password": member.password}
            page = browser.submit(page, page.form(button="Log in"), credentials, button="Log in")
        form = page.form(button=button)
        for name, values in form.ticked.items():
            form.ticked[name] = [value for value in values if value not in untick]
        return browser.submit(page, form, button=button, follow=False)

    yield answer
    browser.close()
