"""Beside other apps on one site: whatever is ours says so in its name, and touches nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from django.apps import apps
from django.urls import get_resolver

import django_oauth_flows

FOLDER = Path(django_oauth_flows.__file__).parent


def test_templates_and_static_files_lie_in_folders_of_our_own() -> None:
    for kind, own in (("templates", {"oauth_flows", "admin/oauth_flows"}), ("static", {"oauth_flows"})):
        files = [path.relative_to(FOLDER / kind).as_posix() for path in (FOLDER / kind).rglob("*") if path.is_file()]
        assert files
        assert [file for file in files if not any(file.startswith(f"{folder}/") for folder in own)] == []


def test_tables_labels_and_url_names_are_our_own() -> None:
    config = apps.get_app_config("oauth_flows")
    assert {model._meta.db_table.startswith("oauth_flows_") for model in config.get_models()} == {True}
    ours = {space for space in get_resolver("tests.urls").namespace_dict if "oauth" in space}
    assert ours == {"oauth_flows", "oauth_flows_api"}


def test_on_a_page_of_the_site_the_style_sheet_speaks_of_our_own_classes_only() -> None:
    css = (FOLDER / "static" / "oauth_flows" / "components.css").read_text(encoding="utf-8")
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    selectors = [
        selector.strip()
        for rule in re.findall(r"([^{};]+)\{", css)
        if not rule.strip().startswith("@")
        for selector in re.split(r",(?![^(]*\))", rule)
    ]
    assert len(selectors) > 50
    assert [selector for selector in selectors if not selector.startswith(".oauth-")] == []


def test_a_page_of_the_site_gets_its_style_within_our_own_part_of_it() -> None:
    """A block of the host's, such as ``extra_head``, is never ours to fill."""
    base = (FOLDER / "templates" / "oauth_flows" / "base.html").read_text(encoding="utf-8")
    assert set(re.findall(r"{% block (\w+) %}", base)) == {
        "title", "content", "oauth_flows_title", "oauth_flows_style", "oauth_flows_content",
    }  # fmt: skip


def test_the_script_listens_to_forms_and_messages_of_ours_and_sends_to_no_foreign_window() -> None:
    script = (FOLDER / "static" / "oauth_flows" / "popup.js").read_text(encoding="utf-8")
    assert re.findall(r"\.postMessage\(([^)]*)\)", script) == ["said", "said, window.location.origin"]
    assert "innerHTML" not in script
    assert "eval" not in script
