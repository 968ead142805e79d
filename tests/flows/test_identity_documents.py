"""Which account it is: exact ids from documents of every shape, and none where a document does not say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ValidationError

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.models import Connection, Revocation
from django_oauth_flows.protocol.identity import read_identity
from django_oauth_flows.protocol.messages import IdentityClaims
from django_oauth_flows.protocol.xml_document import read_xml
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider


def subject(document: Any, path: str = "id", **claims: Any) -> str | None:
    kept = claims.pop("kept", None)
    return read_identity(IdentityClaims("userinfo", path, **claims), document, kept=kept).subject


def is_refused(document: Any, path: str = "id", **claims: Any) -> bool:
    with pytest.raises(TokenEndpointError) as caught:
        subject(document, path, **claims)
    return caught.value.code == "identity_unavailable"


@pytest.mark.security("I16")
def test_numbers_become_their_exact_digits() -> None:
    assert subject(json.loads('{"id": 12345678901234567890123}')) == "12345678901234567890123"
    assert subject({"id": 7}) == "7"
    assert subject({"id": "007"}) == "007"
    assert subject({"id": "Abc"}) != subject({"id": "abc"})
    composed, decomposed = "\u00e9", "e\u0301"
    assert subject({"id": composed}) != subject({"id": decomposed})


@pytest.mark.security("I16")
@pytest.mark.parametrize(
    "value", [None, "", 0, -1, 1.0, 1e21, True, False, [], {}, ["a"], "a" * 256, "a\nb", 10**255, "a\u202eb"]
)
def test_what_is_no_id_is_none(value: Any) -> None:
    assert is_refused({"id": value})
    assert is_refused({"a": value, "b": "x"}, subject_template="{a}:{b}")


@pytest.mark.parametrize(
    ("document", "path", "found"),
    [
        ({"data": {"users": [{"id": 5}]}}, "data.users.0.id", "5"),
        ([{"tenantId": "t"}], "0.tenantId", "t"),
        ({"https://slack.com/user_id": "U1"}, "/https:~1~1slack.com~1user_id", "U1"),
        ({"a~b": {"c": ["x", "y"]}}, "/a~0b/c/1", "y"),
        ({"a.b": "x"}, "/a.b", "x"),
    ],
)
def test_paths_lead_into_objects_and_lists(document: Any, path: str, found: str) -> None:
    assert subject(document, path) == found


@pytest.mark.parametrize(
    "path",
    [
        "data.users.1.id",
        "data.users.x",
        "data.users.-1.id",
        "data.users.00000000000.id",
        "data.id.x",
        "",
        "/",
        "data.users.²",
    ],
)
def test_a_path_that_leads_nowhere_is_no_id(path: str) -> None:
    assert is_refused({"data": {"users": [{"id": 5}], "id": "text"}}, path)


@pytest.mark.security("I16")
def test_no_two_accounts_compose_the_same_id() -> None:
    template = "user-{owner.id}_workspace-{kept.workspace}"
    kept = {"kept.workspace": "w1"}
    assert subject({"owner": {"id": 3}}, subject_template=template, kept=kept) == "user-3_workspace-w1"
    assert is_refused({"owner": {"id": "3_workspace-w0"}}, subject_template=template, kept=kept)
    assert is_refused({"owner": {"id": 3}}, subject_template=template, kept={})
    assert is_refused({"a": "x:y", "b": "z"}, subject_template="{a}:{b}")
    assert subject({"a": "x", "b": "y:z"}, subject_template="{a}:{b}") == "x:y:z"
    assert is_refused({"a": "x" * 200, "b": "y" * 200}, subject_template="{a}:{b}")


def test_a_prefix_is_taken_off_and_must_be_there() -> None:
    assert subject({"id": "/users/42"}, subject_prefix="/users/") == "42"
    assert is_refused({"id": "/videos/42"}, subject_prefix="/users/")
    assert is_refused({"id": "/users/"}, subject_prefix="/users/")


XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<Response><ts>1</ts><Profile ref="abc&amp;d"><name>Ada &lt;L&gt;</name><mail kind="home">a@b</mail><mail>c@d</mail></Profile></Response>"""


def test_xml_is_read_as_objects_lists_and_texts() -> None:
    assert read_xml(XML) == {
        "Response": {
            "ts": "1",
            "Profile": {"@ref": "abc&d", "name": "Ada <L>", "mail": [{"@kind": "home", "#text": "a@b"}, "c@d"]},
        }
    }


@pytest.mark.security("T04", "V08")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<a>",
        b"<a></b>",
        b"\xff\xfe<",
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b"<!DOCTYPE a><a/>",
        b"<a>&undefined;</a>",
        b"<a>" * 60 + b"</a>" * 60,
        b"<a>" + b"<b/>" * 10_001 + b"</a>",
        b'<?xml version="1.0" encoding="nosuch"?><a/>',
        b"<a><b>" + b"\x00" + b"</b></a>",
    ],
)
def test_xml_with_a_document_type_or_without_an_end_is_refused(body: bytes) -> None:
    with pytest.raises(TokenEndpointError) as caught:
        read_xml(body)
    assert caught.value.code == "bad_response"


@pytest.mark.security("I15")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"name": "Ada"}),
        Answer(200, {"sub": None}),
        Answer(200, "<html>", {"Content-Type": "text/html"}),
        Answer(200, "null"),
        Answer(200, "[]"),
        Answer(200, {"ok": False, "error": "missing_scope", "sub": "1"}),
        Answer(200, b'{"sub": "a", "sub": "b"}'),
        Answer(401, {"sub": "1"}),
        Answer(204),
    ],
)
def test_an_account_that_is_not_told_is_no_connection_and_the_grant_is_given_back(
    fake: FakeProvider, client: Client, user: User, answer: Answer
) -> None:
    provider = make_provider(fake)
    client.force_login(user)
    fake.script("userinfo", answer)
    assert walk(client, provider).status_code >= 400
    assert not Connection.objects.exists()
    assert Revocation.objects.exists()


@pytest.mark.security("I16")
@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    [
        "email",
        "user.email",
        "users.0.Email",
        "data/email_address",
        "preferred_username",
        "userName",
        "login",
        "/name",
        "upn",
    ],
)
def test_what_can_be_given_to_somebody_else_is_refused_as_the_key_of_an_account(fake: FakeProvider, path: str) -> None:
    provider = make_provider(fake)
    provider.subject_path = path
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert list(caught.value.message_dict) == ["subject_path"]
    provider.subject_path, provider.dialect = "sub", {"subject_template": f"{{hub}}:{{{path}}}"}
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert list(caught.value.message_dict) == ["dialect"]
