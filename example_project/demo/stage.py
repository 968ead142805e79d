"""Set the stage: the service in a child process, the site in threads of this one, people and providers on both."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import reverse

from django_oauth_flows.models import Provider
from django_oauth_flows.protocol.secret import Secret
from example_project.servers import DEVICE_CODE, start_service
from example_project.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from example_project.servers import Consumer, Member, Service

PERMISSIONS = {
    "profile": "see your name",
    "notes:read": "read your notes",
    "notes:write": "add and delete notes",
    "photos:read": "see your photos",
    "photos:write": "add and delete photos",
}
"""What the site's users read of the service's scopes."""

OAUTH2, OAUTH1, TOTALS = "notebook", "notebook-classic", "notebook-totals"
BY_CODE, BY_POST = "notebook-by-code", "notebook-by-post"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account on each side; the two have nothing in common but their owner."""

    username: str
    password: str
    member: Member


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and everybody who is on it. ``consumer`` is the site's OAuth 1.0a registration."""

    site_url: str
    service: Service
    ada: Person
    grace: Person
    staff: tuple[str, str]
    consumer: Consumer

    def callback(self, slug: str) -> str:
        """Return the redirect URI of one provider."""
        return self.site_url + reverse("oauth_flows:callback", args=[slug])


@contextmanager
def set_up(*, site_port: int = 0, service_port: int = 0) -> Iterator[Stage]:
    """Start both sites with fresh databases; end them with the context."""
    call_command("migrate", verbosity=0)
    with (
        start_service(settings.VAR / "service", port=service_port) as service,
        serve(StaticFilesHandler(get_wsgi_application()), port=site_port) as site_url,
    ):
        consumer = _providers(service, site_url)
        people = [_person(name, member) for name, member in zip(("ada", "grace"), service.members, strict=True)]
        yield Stage(site_url, service, *people, staff=_staff(), consumer=consumer)


def _person(username: str, member: Member) -> Person:
    password = f"{username}-at-her-desk"
    get_user_model().objects.create_user(username, password=password)
    return Person(username, password, member)


def _staff() -> tuple[str, str]:
    username, password = "admin", "admin-at-the-desk"
    get_user_model().objects.create_superuser(username, password=password)
    return username, password


def _providers(service: Service, site_url: str) -> Consumer:
    """Register the site at the service five times, and tell the site of it: what staff would do in the admin."""
    names = (site_url, site_url.replace("127.0.0.1", "localhost"))  # the site answers to both

    def callbacks(slug: str) -> list[str]:
        return [name + reverse("oauth_flows:callback", args=[slug]) for name in names]

    application = service.register_application("Desk", redirect_uris=callbacks(OAUTH2))
    _provider(OAUTH2, "Notebook", service.oauth2, application.client_id, application.client_secret)
    consumer = service.register_consumer("Desk", callbacks=callbacks(OAUTH1))
    _provider(OAUTH1, "Notebook Classic", service.oauth1, consumer.key, consumer.secret)
    reporter = service.register_application("Desk's totals", grant="client-credentials")
    totals = {**service.oauth2, "authorization_endpoint": "", "scopes": ["statistics"], "identity_source": "none"}
    _provider(TOTALS, "Notebook's totals", totals, reporter.client_id, reporter.client_secret)
    screen = service.register_application("Desk's screen", grant=DEVICE_CODE)
    _provider(BY_CODE, "Notebook by code", service.by_code, screen.client_id, screen.client_secret)
    letterbox = service.register_application("Desk's letterbox", redirect_uris=callbacks(BY_POST))
    posting = {**service.oauth2, "response_mode": "form_post"}
    _provider(BY_POST, "Notebook by post", posting, letterbox.client_id, letterbox.client_secret)
    return consumer


def _provider(slug: str, name: str, endpoints: dict[str, Any], client_id: str, client_secret: str) -> None:
    provider = Provider(slug=slug, name=name, client_id=client_id, scope_descriptions=PERMISSIONS, **endpoints)
    provider.seal("client_secret", Secret(client_secret))
    provider.full_clean()
    provider.save()
