"""The pages in another language, and a catalogue without gaps."""

from __future__ import annotations

import gettext
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import translation

import django_oauth_flows
from django_oauth_flows import notices
from django_oauth_flows.views.wording import BROKEN, EXPLANATIONS, MISCONFIGURED
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from django.test import Client

    from django_oauth_flows.models import Connection

FOLDER = Path(django_oauth_flows.__file__).parent
CATALOGUES = sorted((FOLDER / "locale").glob("*/LC_MESSAGES/django.mo"))


@pytest.mark.django_db(transaction=True)
def test_pages_speak_the_browsers_language(browser: Client, connection: Connection) -> None:
    german = {"Accept-Language": "de"}
    page = text_of(browser.get("/oauth/", headers=german))
    for said in ("Verbundene Konten", "In Ordnung.", "Trennen", "Mit Fake verbinden"):
        assert said in page
    refused = browser.get("/oauth/callback/fake/?state=x", headers=german)
    assert "Das hat nicht geklappt" in text_of(refused)
    assert "Beginnen Sie von vorn." in text_of(refused)
    assert '<html lang="de">' in refused.content.decode()


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_what_users_read_is_translated_and_keeps_its_placeholders(path: Path) -> None:
    with path.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    said = {str(text) for text in _texts_of_pages()}
    with translation.override("en"):
        for explanation in [*EXPLANATIONS.values(), MISCONFIGURED, BROKEN]:
            said |= {str(explanation.message), str(explanation.hint)}
        said |= {str(text) for text in notices.EXPLANATIONS.values()}
    assert len(said) > 100
    for text in said:
        assert catalogue.gettext(text) != text, text
        assert set(re.findall(r"%\(\w+\)s|</?strong>", catalogue.gettext(text))) == set(
            re.findall(r"%\(\w+\)s|</?strong>", text)
        )


def _texts_of_pages() -> set[str]:
    """Return what the templates mark for translation, spelled as in a catalogue."""
    texts: set[str] = set()
    for template in (FOLDER / "templates" / "oauth_flows").rglob("*.*"):
        html = template.read_text(encoding="utf-8")
        texts |= set(re.findall(r'{% translate "(.+?)" %}', html)) | set(re.findall(r'_\("(.+?)"\)', html))
        blocks = re.findall(r"{% blocktranslate[^%]*%}(.+?){% endblocktranslate %}", html)
        texts |= {re.sub(r"{{ (\w+) }}", r"%(\1)s", block) for block in blocks}
    return texts
