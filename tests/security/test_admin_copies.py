"""Row M07: nothing in the admin exports secrets, and no copy of a provider takes them along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin import site as admin_site
from django.core import serializers

from django_oauth_flows.models import Connection, Provider, Token
from tests.security.test_admin import PROVIDERS, SEALED, form_of, root, staff

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

__all__ = ["root", "staff"]

pytestmark = pytest.mark.django_db(transaction=True)


def secrets_of(connection: Connection) -> list[str]:
    """Return what must not be handed out."""
    kept = [connection.token.open("access_token"), connection.token.open("refresh_token")]
    return [secret.reveal() for secret in [*kept, connection.provider.open("client_secret")] if secret is not None]


@pytest.mark.security("M07")
def test_no_action_of_a_list_exports_a_secret(root: Client, connection: Connection, user: User) -> None:
    secrets = secrets_of(connection)
    assert len(secrets) == 3
    pressed = 0
    for model, admin in admin_site._registry.items():
        if model._meta.app_label != "oauth_flows":
            continue
        page = f"/admin/oauth_flows/{model._meta.model_name}/"
        keys = [str(key) for key in model._default_manager.values_list("pk", flat=True)]
        for action in [*(admin.actions or ()), "delete_selected"] if keys else ():
            name = action if isinstance(action, str) else action.__name__
            answer: Any = root.post(page, {"action": name, "_selected_action": keys}, follow=True)
            exports = name == "export_selected"
            text = b"".join(answer.streaming_content).decode() if exports else answer.content.decode()
            assert answer["Content-Type"].startswith("text/csv" if exports else "text/html")
            assert ("Content-Disposition" in answer) == exports
            assert not SEALED.search(text)
            assert not any(secret in text for secret in secrets)
            pressed += 1
    assert pressed >= 4


@pytest.mark.security("M07")
def test_a_provider_is_not_copied_with_its_secret(
    root: Client, staff: Callable[..., Client], provider: Provider
) -> None:
    page = f"{PROVIDERS}{provider.pk}/change/"
    shown: Any = root.get(page)
    assert "_saveasnew" not in shown.content.decode()
    as_new = {**form_of(shown), "slug": "copy", "name": "Copy", "_saveasnew": "Save as new"}
    assert staff("view_provider", "change_provider").post(page, as_new).status_code == 403
    root.post(page, as_new)  # Django takes this for adding, button or not
    made = Provider.objects.exclude(pk=provider.pk).get()
    assert not any(getattr(made, name) for name in Provider.sealed_fields())
    secret = provider.open("client_secret")
    assert secret is not None
    copied: Any = root.get(f"{PROVIDERS}add/?client_secret={secret.reveal()}&new_client_secret={secret.reveal()}")
    assert secret.reveal() not in copied.content.decode()


@pytest.mark.security("M07")
@pytest.mark.parametrize("form", ["json", "jsonl", "xml"])
def test_what_a_sites_own_export_writes_is_ciphertext(form: str, connection: Connection) -> None:
    rows = [*Provider.objects.all(), *Connection.objects.all(), *Token.objects.all()]
    written = serializers.serialize(form, rows)
    assert SEALED.search(written)
    assert not any(secret in written for secret in secrets_of(connection))
