"""Bulk actions on connections: a question with the number, rounds with progress, an export without secrets, a timeline."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission

from django_oauth_flows import flows
from django_oauth_flows.admin import ConnectionAdmin, connection_actions
from django_oauth_flows.admin.exporting import COLUMNS
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.testing.factories import make_connection
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/oauth_flows/connection/"


@pytest.fixture
def root(make_user: Callable[..., User], client_for: Callable[[User], Client]) -> Client:
    return client_for(make_user("root", is_staff=True, is_superuser=True))


@pytest.fixture
def rows(provider: Provider, user: User, fake: FakeProvider) -> list[Connection]:
    return [make_connection(provider, user, fake, subject=str(number), label=f"Label {number}") for number in range(5)]


def choose(client: Client, action: str, rows: list[Connection], **more: str) -> Any:
    return client.post(LIST, {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}, follow=True)


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def body_of(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def test_refreshing_in_bulk_asks_first_and_says_how_it_went(
    root: Client, rows: list[Connection], fake: FakeProvider
) -> None:
    question = choose(root, "refresh_selected", rows)
    assert "Refresh 5 connections now?" in text_of(question)
    assert fake.count("token") == 0
    fake.oauth2.grants[0].alive = False
    done = choose(root, "refresh_selected", rows, post="yes")
    assert "4 connections refreshed. 1 was not (reauthorization_required: 1)." in said(done)
    assert LogEntry.objects.count() == 5


@pytest.mark.parametrize("action", ["refresh_selected", "revoke_selected"])
def test_what_takes_longer_goes_on_in_rounds_and_nothing_is_done_twice(
    action: str, root: Client, rows: list[Connection], fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_actions, "BATCH", 2)
    monkeypatch.setattr(connection_actions, "SECONDS", 0.000001)  # a round is over when it has begun
    page, seen = choose(root, action, rows, post="yes", select_across="1"), [0]
    while "progress" in page.context and len(seen) < 50:
        progress = page.context["progress"]
        assert progress.total == 5
        assert f"{progress.done} of 5 are done." in text_of(page)
        seen.append(progress.done)
        fields = {name: str(value) for name, value in page.context["fields"].items() if value is not None}
        page = choose(root, action, rows[:1], post="yes", select_across="1", **fields)
    assert seen == sorted(seen)
    assert len(seen) > 2
    if action == "refresh_selected":
        assert "5 connections refreshed." in said(page)
        assert fake.count("token") == 5
    else:
        assert "5 connections disconnected" in said(page)
        assert set(Connection.objects.values_list("status", flat=True)) == {"revoked"}


@pytest.mark.parametrize("broken", ["x", "[]", '{"a": "b"}', '{"a": null}'])
def test_a_form_of_progress_that_nobody_has_made_starts_anew(
    broken: str, root: Client, rows: list[Connection], fake: FakeProvider
) -> None:
    more = {"post": "yes", "after": str(rows[0].pk), "total": "9", "tally": broken}
    assert "5 connections refreshed." in said(choose(root, "refresh_selected", rows, **more))


@pytest.mark.security("M03")
@pytest.mark.parametrize("verb", ["refresh", "revoke"])
def test_a_verb_that_a_site_denies_for_one_connection_is_denied(
    verb: str, root: Client, rows: list[Connection], fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hooks of the verbs get the object, as Django's own do."""
    hook = f"has_{verb}_permission"
    monkeypatch.setattr(ConnectionAdmin, hook, lambda _self, _request, obj=None: obj is None or obj.pk != rows[3].pk)
    for more in ({}, {"post": "yes"}):
        assert choose(root, f"{verb}_selected", rows, **more).status_code == 403
    assert root.post(f"{LIST}{rows[3].pk}/{verb}/").status_code == 403
    assert fake.requests == []
    assert f"/{verb}/" not in root.get(f"{LIST}{rows[3].pk}/change/").content.decode()
    assert f"/{verb}/" in root.get(f"{LIST}{rows[2].pk}/change/").content.decode()


@pytest.mark.security("M01", "M07")
def test_the_export_has_every_row_and_no_secret(root: Client, rows: list[Connection], fake: FakeProvider) -> None:
    response = choose(root, "export_selected", rows)
    assert response["Content-Disposition"].startswith("attachment")
    assert "no-store" in response["Cache-Control"]
    text = body_of(response)
    table = list(csv.DictReader(io.StringIO(text)))
    assert {row["id"] for row in table} == {str(row.pk) for row in rows}
    assert {row["provider_slug"] for row in table} == {"fake"}
    assert "canary_" not in text
    assert "v1." not in text
    sealed = {*Token.sealed_fields(), "extra", "client_id", "configuration_fingerprint"}
    assert not [name for name in COLUMNS if name.rpartition("__")[2] in sealed]


@pytest.mark.security("M06")
@pytest.mark.parametrize("label", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_an_accounts_name_is_no_formula(label: str, root: Client, rows: list[Connection]) -> None:
    Connection.objects.filter(pk=rows[0].pk).update(label=label)
    (row,) = csv.DictReader(io.StringIO(body_of(choose(root, "export_selected", rows[:1]))))
    assert row["label"] == f"'{label}"


@pytest.mark.security("M02", "M03")
def test_the_export_leaves_out_what_the_site_hides_and_needs_the_permission_to_look(
    root: Client, rows: list[Connection], monkeypatch: pytest.MonkeyPatch,
    make_user: Callable[..., User], client_for: Callable[[User], Client],
) -> None:  # fmt: skip
    nobody = make_user("nobody", is_staff=True)
    nobody.user_permissions.set(Permission.objects.filter(codename="view_provider"))
    assert choose(client_for(nobody), "export_selected", rows).status_code == 403
    hidden = rows[0].pk
    monkeypatch.setattr(
        ConnectionAdmin, "has_view_permission", lambda _self, _request, obj=None: obj is None or obj.pk != hidden
    )
    text = body_of(choose(root, "export_selected", rows))
    assert str(hidden) not in text
    assert str(rows[1].pk) in text


def test_the_timeline_tells_what_happened_the_newest_first(root: Client, user: User, rows: list[Connection]) -> None:
    flows.revoke(rows[0], actor=user)
    page = root.get(f"{LIST}{rows[0].pk}/change/")
    whats = [entry.what for entry in page.context["timeline"]]
    assert whats[-1] == "imported"
    assert {"disconnected", "revocation at the service finished", "tokens to be revoked: disconnected"} <= set(whats)
    assert "by ada" in text_of(page)


@pytest.mark.security("M05")
def test_no_address_sorts_the_list_by_anything_else(root: Client, rows: list[Connection]) -> None:
    newest = [row.pk for row in Connection.objects.order_by("-created_at", "-pk")]
    for query in ("", "o=1", "o=8", "o=-6", "o=x", "o=token__access_token"):
        assert [row.pk for row in root.get(f"{LIST}?{query}").context["cl"].result_list] == newest
