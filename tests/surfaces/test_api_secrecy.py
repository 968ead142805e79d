"""Row P09: the API has no way to get a token out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.urls import reverse

from django_oauth_flows.api import urls

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)


def addresses(connection: Connection) -> list[str]:
    """Return every address of the API that is about this connection, its provider, or nothing in particular."""
    known = {"pk": connection.pk, "slug": connection.provider.slug, "path": "echo"}
    found = []
    for pattern in urls.urlpatterns:
        wanted = pattern.pattern.converters
        if pattern.name not in (None, "disconnect") and wanted.keys() <= known.keys():
            found.append(reverse(f"oauth_flows_api:{pattern.name}", kwargs={name: known[name] for name in wanted}))
    return found


@pytest.mark.security("P09")
@pytest.mark.parametrize("superuser", [False, True])
def test_no_address_hands_out_a_token_not_even_to_its_owner(
    superuser: bool, connection: Connection, user: User, browser: Client
) -> None:
    user.is_staff = user.is_superuser = superuser
    user.save()
    kept = [connection.token.open(name) for name in ("access_token", "refresh_token")]
    tokens = [secret.reveal() for secret in kept if secret is not None]
    assert len(tokens) == 2
    asked = addresses(connection)
    assert len(asked) >= 4
    for query in ("", "?fields=access_token,refresh_token", "?expand=token", "?format=api"):
        for method in ("GET", "OPTIONS", "PUT", "PATCH"):
            for url in asked:
                answer = browser.generic(method, url + query, b"{}", "application/json")
                text = answer.content.decode() + str(answer.headers)
                assert not any(token in text for token in tokens)
