"""Every language says everything that the source says, whole, and safe to put on a page."""

from __future__ import annotations

import gettext
import re
import shutil
import subprocess
from collections import defaultdict
from contextlib import chdir
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import translation

import django_oauth_flows

PACKAGE = Path(django_oauth_flows.__file__).parent
PLURAL_FORMS = {"ar": 6, "de": 2, "es": 2, "fr": 2, "ja": 1, "pt_BR": 2, "zh_Hans": 1}
PARTS = re.compile(r"%\(\w+\)[sd]|</?\w+>|\bRFC \d+\b|\b[a-z]+(?:_[a-z]+)+\b|\b[A-Z]+_[A-Z_]+\b|application/json")
"""What a translation keeps as it is: placeholders, HTML, names of parameters and settings."""

ALIKE = {
    "ar": {"%(reason)s."},
    "de": {"%(reason)s.", "Client", "Token"},
    "es": {"%(reason)s.", "Token", "proxy", "token", "tokens"},
    "fr": {"%(reason)s.", "Client", "Pages", "Permissions", "active", "date", "message", "proxy"},
    "ja": set[str](),
    "pt_BR": {"%(reason)s.", "Token", "proxy", "token", "tokens"},
    "zh_Hans": set[str](),
}
"""What is spelled in a language as in English, beside names."""
NAMES = {"OAuth 1.0a", "PKCE"}

every_language = pytest.mark.parametrize("language", PLURAL_FORMS)


def test_there_are_these_languages() -> None:
    assert {folder.name for folder in (PACKAGE / "locale").iterdir()} == set(PLURAL_FORMS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what code and templates mark for translation, each as its own translation."""
    copy = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.json", "*.po", "*.mo", "__pycache__"))
    (copy / "locale" / "en").mkdir(parents=True)
    template = copy / "locale" / "en" / "LC_MESSAGES" / "django.po"
    compiled = template.with_suffix(".mo")
    with chdir(copy):
        call_command("makemessages", locale=["en"], verbosity=0)
    subprocess.run(["msgen", f"--output-file={template}", template], check=True)  # noqa: S607 - our own
    subprocess.run(["msgfmt", f"--output-file={compiled}", template], check=True)  # noqa: S607 - our own
    return _messages(compiled)


@pytest.mark.needs("gettext")
@every_language
def test_a_language_says_all_and_nothing_else(source: dict[str, list[str]], language: str) -> None:
    """Fuzzy, empty and obsolete entries are left out of a compiled catalogue."""
    spoken = _messages(_catalogue(language))
    assert len(source) > 500
    assert set(source) - set(spoken) == set(), "not translated"
    assert set(spoken) - set(source) == set(), "no longer said"
    for message, forms in source.items():
        assert len(spoken[message]) == (PLURAL_FORMS[language] if len(forms) > 1 else 1), message


@every_language
def test_a_translation_keeps_what_is_no_language(language: str) -> None:
    for message, forms in _messages(_catalogue(language)).items():
        for form in forms:
            assert form.strip() == form != "", message
            assert sorted(PARTS.findall(form)) == sorted(PARTS.findall(message)), form
            # Templates put translations into attributes and text as they are.
            for mark in '"<>&':
                assert form.count(mark) == message.count(mark), form


@every_language
def test_a_translation_is_one(language: str) -> None:
    messages = _messages(_catalogue(language))
    assert {message for message, forms in messages.items() if message in forms} == ALIKE[language] | NAMES


@every_language
def test_numbers_are_said_in_the_language(language: str) -> None:
    with translation.override(translation.to_language(language)):
        for count in (0, 1, 2, 3, 11, 100):
            said = translation.ngettext("%(count)d live connection", "%(count)d live connections", count)
            assert "connection" not in said.split()
            assert str(count) in said % {"count": count}


def _catalogue(language: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / "django.mo"


def _messages(path: Path) -> dict[str, list[str]]:
    """Return a compiled catalogue's translations, each with its plural forms, by what they translate."""
    with path.open("rb") as file:
        entries = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    messages: dict[str, list[str]] = defaultdict(list)
    for key, form in entries.items():
        if key:
            messages[key if isinstance(key, str) else key[0]].append(form)
    return dict(messages)
