"""A person at a browser: logs in on either side, presses buttons, reads pages."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.utils import timezone

from django_oauth_flows.models import Connection, Token
from example_project.browser import Browser
from example_project.demo.report import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from example_project.browser import Page
    from example_project.demo.stage import Person, Stage


class Visitor:
    """One person in one browser, with an account on each side."""

    def __init__(self, stage: Stage, person: Person, browser: Browser) -> None:
        self.stage = stage
        self.person = person
        self.browser = browser

    def at_site(self, path: str) -> Page:
        """Open a page of the site and expect it to be one."""
        page = self.browser.get(self.stage.site_url + path)
        expect(page.status == HTTPStatus.OK, f"{path} answered {page.status}: {page.text[:300]}")
        return page

    def log_in_to_site(self) -> None:
        """Log in to the site."""
        page = self.at_site("/accounts/login/")
        credentials = {"username": self.person.username, "password": self.person.password}
        page = self.browser.submit(page, page.form(button="Log in"), credentials, button="Log in")
        expect(page.form(action="logout"), "The site did not let her in.")

    def log_in_to_service(self, page: Page) -> Page:
        """Log in to the service, where ``page`` asks for it; return the page that she wanted."""
        credentials = {"username": self.person.member.username, "password": self.person.member.password}
        return self.browser.submit(page, page.form(button="Log in"), credentials, button="Log in")

    def press_connect(self, slug: str, *, at: str = "/") -> Page:
        """Press the connect button of one provider, by default on the first page; return the redirect, not followed."""
        page = self.at_site(at)
        answer = self.browser.submit(page, page.form(action=f"/oauth/connect/{slug}/"), follow=False)
        expect(answer.location, f"Connect answered {answer.status} and no redirect: {answer.text[:300]}")
        return answer

    def disconnect(self, connection: Connection) -> Page:
        """Press disconnect on the connections page."""
        page = self.at_site("/oauth/")
        return self.browser.submit(page, page.form(action=f"/connections/{connection.pk}/disconnect/"))

    def add_note(self, path: str, text: str) -> None:
        """Write a note on the site; find it on the page that follows."""
        page = self.at_site(path)
        page = self.browser.submit(page, page.form(button="Add note"), {"text": text}, button="Add note")
        expect(page.status == HTTPStatus.OK and text in page.text, f"The note is not there: {page.text[:300]}")

    def add_photo(self, path: str, name: str, content: bytes) -> None:
        """Send a photo through the site; download it again and compare every byte."""
        page = self.at_site(path)
        form = page.form(button="Add photo")
        page = self.browser.upload(page, form, "photo", file=(name, content, "image/png"))
        expect(page.status == HTTPStatus.OK and name in page.text, f"The photo is not there: {page.text[:300]}")
        newest = page.images[name]
        expect(self.browser.bytes_of(newest) == content, "The photo came back different.")

    def connection(self, slug: str) -> Connection:
        """Return what the site has stored of her newest connection at one provider."""
        mine = Connection.objects.select_related("provider", "token").filter(
            user__username=self.person.username, provider__slug=slug
        )
        found = mine.order_by("-created_at").first()
        expect(found is not None, f"The site has stored no connection of {self.person.username} at {slug}.")
        return found

    def expect_own_account(self, slug: str) -> None:
        """Expect what was connected to be hers, and its token to be what the site needs."""
        connection = self.connection(slug)
        expect(connection.subject == self.person.member.account_id, "It is another account.")
        expect("notes:read" in connection.granted_scopes, "The granted scopes are not recorded.")

    def let_token_expire_at_service(self, connection: Connection) -> None:
        """End her access tokens early; the site is not told.

        The site's last refresh is made an hour old: when an API rejects a token that was refreshed this very minute, a
        newer one would fare no better, and the site does not ask for it.
        """
        expect(self.stage.service.expire_access_tokens(self.person.member.username) > 0, "There was none to expire.")
        refreshed = Token.objects.filter(connection=connection, last_refreshed_at__isnull=False)
        refreshed.update(last_refreshed_at=timezone.now() - timedelta(hours=1))


@contextmanager
def visitor(stage: Stage, person: Person) -> Iterator[Visitor]:
    """Give ``person`` a new browser."""
    browser = Browser()
    try:
        yield Visitor(stage, person, browser)
    finally:
        browser.close()
