"""The documents say what the code does: a stale page is a red build."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from django.core.management import load_command_class
from django.dispatch import Signal
from django.urls import get_resolver

from django_oauth_flows import conf, exceptions, signals
from tests.contract import catalogue, dialect, proofs
from tests.contract.reference import PACKAGE, ROOT, documented, error_codes, section, strings

if TYPE_CHECKING:
    from pathlib import Path

PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    assert documented("Settings") == set(conf.DEFAULTS)


def test_every_check_is_documented_and_every_documented_one_exists() -> None:
    ids = {found for text in strings() for found in re.findall(r"^oauth_flows\.[EWI]\d{3}$", text)}
    assert documented("System checks") == ids


def test_every_signal_is_documented_and_every_documented_one_exists() -> None:
    assert documented("Signals") == {name for name, value in vars(signals).items() if isinstance(value, Signal)}


def test_every_command_is_documented_with_its_options() -> None:
    commands = {path.stem for path in (PACKAGE / "management" / "commands").glob("[!_]*.py")}
    assert documented("Commands") == commands
    for name in commands:
        parser = load_command_class("django_oauth_flows", name).create_parser("manage.py", name)
        own = [a for a in parser._actions if a.option_strings and not _is_djangos(a.option_strings[-1])]
        for action in own:
            assert f"`{action.option_strings[-1]}" in section("Commands"), f"{name} {action.option_strings[-1]}"


def _is_djangos(option: str) -> bool:
    from django.core.management.base import BaseCommand

    return option in {
        a.option_strings[-1] for a in BaseCommand().create_parser("manage.py", "x")._actions if a.option_strings
    }


def test_every_error_code_is_documented_and_every_documented_one_exists() -> None:
    assert documented("Error codes") == error_codes()


def test_every_reason_is_documented_and_every_documented_one_exists() -> None:
    from django_oauth_flows.models import Connection

    assert documented("Reasons") == set(Connection.Reason.values)


def test_every_code_of_the_api_is_documented_and_every_documented_one_exists() -> None:
    from django_oauth_flows.api.problems import HINTS

    assert documented("REST API") == set(HINTS)


def test_the_exception_tree_is_drawn_as_it_is() -> None:
    tree = exceptions.__doc__ or ""
    classes = {
        n: c for n, c in vars(exceptions).items() if isinstance(c, type) and issubclass(c, exceptions.OAuthFlowsError)
    }
    drawn = re.findall(r"^(?:    )([│ ├└─]*)(\w+)(?: |$)", tree.split("::")[1], re.MULTILINE)
    assert {name for _, name in drawn if name in classes} == set(classes)
    stack: list[str] = []
    for lead, name in drawn:
        if name in classes:
            depth = (len(lead)) // 4
            del stack[depth:]
            if stack:
                assert classes[name].__base__ is classes[stack[-1]], name
            stack.append(name)
    assert documented("Exceptions") == set(classes)


def test_every_url_name_is_documented_and_every_documented_one_exists() -> None:
    names = {
        f"{space}:{name}"
        for space, (_, resolver) in get_resolver("tests.contract.urls").namespace_dict.items()
        for name in resolver.reverse_dict
        if isinstance(name, str)
    }
    assert documented("URLs") == names


def test_every_provider_column_is_documented() -> None:
    from django_oauth_flows.models import Provider

    machinery = {"id", "created_at", "updated_at"}
    columns = {field.name for field in Provider._meta.concrete_fields} - machinery
    assert documented("Columns", page="providers.md") == columns


def test_the_dialect_page_explains_every_key() -> None:
    assert dialect.PAGE.read_text(encoding="utf-8") == dialect.render(), "run: python -m tests.contract.dialect"


def test_every_failpoint_is_documented_and_every_documented_one_exists() -> None:
    from django_oauth_flows.failpoints import Failpoint

    assert documented("Failpoints", page="chaos.md") == {str(point) for point in Failpoint}


def test_the_proofs_page_is_what_the_marks_say() -> None:
    assert proofs.PAGE.read_text(encoding="utf-8") == proofs.render(), "run: python -m tests.contract.proofs"


def test_the_catalogue_page_is_what_the_entries_say() -> None:
    assert catalogue.PAGE.read_text(encoding="utf-8") == catalogue.render(), "run: python -m tests.contract.catalogue"


def test_every_entry_that_was_left_out_has_a_reason_and_is_no_entry() -> None:
    from django_oauth_flows.catalogue import slugs

    left_out = json.loads(catalogue.LEFT_OUT.read_text(encoding="utf-8"))
    assert not set(left_out) & set(slugs())
    assert all(left_out.values())


def test_every_security_row_of_the_docs_has_a_test_and_every_marked_row_is_explained() -> None:
    explained = documented("Rows", page="security.md")
    proven = {row for rows in proofs.marks("security") for row in rows}
    assert explained - proven == set(), "rows without a test"
    assert proven - explained == set(), "rows without a line in docs/security.md"


def test_every_rule_of_the_refresh_page_names_a_function_and_a_test_that_exist() -> None:
    text = (ROOT / "docs" / "refresh.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `([\w.]+)` \| `([\w./]+)::(\w+)` \|$", text, re.MULTILINE)
    assert len(rows) == text.count("\n| ") - 1
    for function, file, test in rows:
        module, _, path = function.partition(".")
        assert attrgetter(path)(import_module(f"django_oauth_flows.flows.{module}"))
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_promises_name_rows_that_exist() -> None:
    explained = documented("Rows", page="security.md")
    named = set(re.findall(r"\b[A-Z]\d{2}\b", section("Promises", page="security.md")))
    assert named <= explained


@pytest.mark.security("L09")
def test_operations_say_what_an_access_log_in_front_of_the_site_sees() -> None:
    advice = section("Access logs", page="operations.md")
    for word in ("?code=", "state", "log_format", "PKCE"):
        assert word in advice


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        parts = urlsplit(target)
        if parts.scheme:
            continue
        linked = (page.parent / parts.path).resolve() if parts.path else page
        assert linked.exists(), target
        if parts.fragment and linked.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert parts.fragment in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target


def test_no_page_names_a_machine() -> None:
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(?:root|home|work|Users)/", page.read_text(encoding="utf-8")), page


def test_every_task_is_documented_with_its_parameters() -> None:
    from django_oauth_flows import tasks

    named = re.findall(
        r"django_oauth_flows\.tasks\.(\w+)", (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    )
    assert set(named) <= documented("Tasks")
    made = {name: getattr(task, "func", task) for name, task in vars(tasks).items() if name in documented("Tasks")}
    assert set(made) == documented("Tasks")
    assert set(made) == {name for name, found in vars(tasks).items() if _is_task(found)}
    for name, function in made.items():
        row = next(line for line in section("Tasks").splitlines() if line.startswith(f"| `{name}("))
        assert all(parameter in row for parameter in inspect.signature(function).parameters), name


def _is_task(found: object) -> bool:
    function = getattr(found, "func", found)
    own = inspect.isfunction(function) and function.__module__ == "django_oauth_flows.tasks"
    return own and not function.__name__.startswith("_")
