"""The API's OpenAPI schema: whole, without warnings, there with the extra, and not missed without it."""

from __future__ import annotations

import json
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from django_oauth_flows.api import openapi, urls
from tests.contract.test_startup import site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_django.fixtures import SettingsWrapper

SCHEMA = "/api/oauth/v1/schema/"
PROBLEM = "application/problem+json"
TOKENS = ("access_token", "refresh_token", "token_secret", "client_secret", "private_key", "id_token", "code_verifier")


@pytest.fixture
def document() -> dict[str, Any]:
    return openapi.document()


@pytest.fixture(autouse=True)
def _made_anew() -> Iterator[None]:
    openapi._document.cache_clear()
    yield
    openapi._document.cache_clear()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {o["operationId"]: o for path in document["paths"].values() for o in path.values()}


def test_it_is_made_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    from drf_spectacular.drainage import GENERATOR_STATS

    GENERATOR_STATS.reset()
    assert openapi.document()["openapi"] == "3.1.0"
    assert not GENERATOR_STATS, capfd.readouterr().err
    assert capfd.readouterr().err == ""


def test_every_endpoint_is_in_it_by_a_name(document: dict[str, Any]) -> None:
    described = {path.removeprefix("/api/oauth/v1/") for path in document["paths"]}
    served = {str(p.pattern) for p in urls.urlpatterns if p.name} - {"v1/schema/"}
    as_described = {
        p.removeprefix("v1/")
        .replace("<uuid:pk>", "{id}")
        .replace("<slug:slug>", "{slug}")
        .replace("<path:path>", "{path}")
        for p in served
    }
    assert described == as_described
    assert set(operations(document)) == {
        "list_providers", "retrieve_provider", "start_connection", "list_connections", "retrieve_connection",
        "label_connection", "pause_connection", "resume_connection", "disconnect", "start_device", "ask_device", "list_events", "retrieve_health", "call_get", "call_post", "call_put",
        "call_patch", "call_delete",
    }  # fmt: skip


def test_every_answer_and_every_refusal_is_described(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        answers = operation["responses"]
        assert ("default" if name.startswith("call_") else "201" if name == "start_device" else "200") in answers, name
        assert {"401", "403", "406", "413", "429", "500", "503"} <= set(answers), name
        assert all(answer["description"] for answer in answers.values()), name
        assert operation["description"]
        for status, answer in answers.items():
            if status not in ("200", "201", "default"):
                assert answer["content"] == {PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}


def test_what_clients_send_is_closed(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["StartRequest"]["additionalProperties"] is False
    assert schemas["LabelRequest"]["additionalProperties"] is False


@pytest.mark.security("P02", "P09")
def test_nothing_in_it_has_the_name_of_a_secret(document: dict[str, Any]) -> None:
    def names(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from value.get("properties", {})
            for inner in value.values():
                yield from names(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from names(inner)

    assert set(names(document)) & set(TOKENS) == set()
    assert not [path for path in document["paths"] if "token" in path]


def test_the_sites_own_schema_settings_stay_as_they_are(settings: SettingsWrapper) -> None:
    from drf_spectacular.settings import spectacular_settings

    before = spectacular_settings.OAS_VERSION, spectacular_settings.TITLE
    openapi.document()
    assert before == (spectacular_settings.OAS_VERSION, spectacular_settings.TITLE)
    assert "unrelated" not in json.dumps(openapi.document())


@pytest.mark.django_db
def test_it_is_served_to_whoever_is_logged_in(browser: Client, document: dict[str, Any]) -> None:
    answer = browser.get(SCHEMA)
    assert answer.json() == json.loads(json.dumps(document))
    assert Client().get(SCHEMA).status_code == 403
    as_openapi = browser.get(SCHEMA, headers={"Accept": "application/vnd.oai.openapi+json"})
    assert as_openapi["Content-Type"] == "application/vnd.oai.openapi+json"


def test_the_command_prints_it_and_writes_it(document: dict[str, Any], tmp_path: Path) -> None:
    printed = StringIO()
    call_command("export_api_schema", stdout=printed)
    assert json.loads(printed.getvalue()) == json.loads(json.dumps(document))
    call_command("export_api_schema", file=tmp_path / "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text()) == json.loads(printed.getvalue())


@pytest.mark.urls("tests.contract.urls_without_api")
def test_the_command_says_which_line_is_missing() -> None:
    with pytest.raises(CommandError, match="does not include the API"):
        call_command("export_api_schema")


WITHOUT_SPECTACULAR = """
import importlib.machinery
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "drf_spectacular" else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""


def test_the_api_works_without_the_extra() -> None:
    script = """
import django
settings.INSTALLED_APPS += ["rest_framework"]
django.setup()
urls.urlpatterns = [path("api/oauth/", include("django_oauth_flows.api.urls"))]
sys.modules["urls_of_this_site"] = urls
from django.core.management import call_command, CommandError
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
from django.test import Client
client = Client()
client.force_login(get_user_model().objects.create_user("ada"))
statuses = [client.get(f"/api/oauth/v1/{name}/").status_code for name in ("providers", "health", "schema")]
try:
    call_command("export_api_schema")
except CommandError as error:
    said = str(error)
print(json.dumps([statuses, "openapi" in said, "drf_spectacular" in sys.modules]))
"""
    assert site(WITHOUT_SPECTACULAR + script) == [[200, 200, 404], True, False]
    assert "drf_spectacular" in sys.modules
