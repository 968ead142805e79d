"""The pages in every language that the package speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.utils import translation

from django_oauth_flows.models import Connection
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db(transaction=True)

SAID = {
    "ar": ("الحسابات المتصلة", "يعمل.", "قطع الاتصال", "الاتصال بـ Fake", "لم ينجح ذلك", "ابدأ من جديد."),
    "de": ("Verbundene Konten", "In Ordnung.", "Trennen", "Mit Fake verbinden", "Das hat nicht geklappt", "Beginnen Sie von vorn."),
    "en": ("Connected accounts", "Working.", "Disconnect", "Connect Fake", "That did not work", "Start again."),
    "es": ("Cuentas conectadas", "Funciona.", "Desconectar", "Conectar Fake", "No ha funcionado", "Empiece de nuevo."),
    "fr": ("Comptes connectés", "Fonctionne.", "Déconnecter", "Connecter Fake", "Cela n’a pas fonctionné", "Recommencez."),
    "ja": ("接続済みアカウント", "正常に動作しています。", "切断", "Fake に接続", "うまくいきませんでした", "最初からやり直してください。"),
    "pt-br": ("Contas conectadas", "Funciona.", "Desconectar", "Conectar Fake", "Não funcionou", "Comece de novo."),
    "zh-hans": ("已连接的账号", "正常。", "断开连接", "连接 Fake", "操作未成功", "请重新开始。"),
}  # fmt: skip
ASKED = {"ar-EG": "ar", "es-MX": "es", "zh-CN": "zh-hans", "pt-BR": "pt-br"}
ADMIN = {
    "ar": "المزوّدون", "de": "Anbieter", "en": "Providers", "es": "Proveedores", "fr": "Fournisseurs", "ja": "プロバイダー",
    "pt-br": "Provedores", "zh-hans": "提供方",
}  # fmt: skip
PLAIN_BASE = '<!doctype html><html lang="en"><title>{% block title %}{% endblock %}</title>{% block content %}{% endblock %}</html>'

every_language = pytest.mark.parametrize("language", SAID)


def direction(language: str) -> str:
    """Return how the language is written."""
    return "rtl" if language == "ar" else "ltr"


@every_language
def test_pages_speak_the_browsers_language(browser: Client, connection: Connection, language: str) -> None:
    title, works, disconnect, connect, failed, again = SAID[language]
    answer = browser.get("/oauth/", headers={"Accept-Language": language})
    assert answer["Content-Language"] == language
    for said in (title, works, disconnect, connect):
        assert said in text_of(answer)
    refused = browser.get("/oauth/callback/fake/?state=x", headers={"Accept-Language": language})
    assert failed in text_of(refused)
    assert again in text_of(refused)
    opening = f'<html lang="{language}"' + (' dir="rtl"' if language == "ar" else "") + ">"
    for response in (answer, refused):
        assert opening in response.content.decode()


@every_language
def test_a_sentence_ends_as_in_its_language(browser: Client, connection: Connection, language: str) -> None:
    Connection.objects.update(status="reauthorization_required", reason="invalid_grant")
    page = text_of(browser.get("/oauth/", headers={"Accept-Language": language}))
    with translation.override(language):
        reason = Connection.objects.get().get_reason_display()
    stop = "。" if language in ("ja", "zh-hans") else "."
    assert f"{reason}{stop}" in page


@pytest.mark.parametrize(("asked", "language"), ASKED.items())
def test_a_country_gets_its_language(browser: Client, connection: Connection, asked: str, language: str) -> None:
    assert SAID[language][0] in text_of(browser.get("/oauth/", headers={"Accept-Language": asked}))


@every_language
def test_the_stop_on_the_way_back_is_written_in_the_right_direction(
    browser: Client, connection: Connection, language: str
) -> None:
    form = {"code": "x", "state": "y"}
    page = browser.post("/oauth/callback/fake/", form, headers={"Accept-Language": language}).content.decode()
    assert f'<html lang="{language}"' in page
    assert ('dir="rtl"' in page) == (language == "ar")


@every_language
def test_inside_a_sites_own_page_the_language_and_its_direction_are_named(
    browser: Client, connection: Connection, settings: SettingsWrapper, tmp_path: Path, language: str
) -> None:
    (tmp_path / "base.html").write_text(PLAIN_BASE)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    page = browser.get("/oauth/", headers={"Accept-Language": language}).content.decode()
    assert '<html lang="en">' in page
    assert f'<div class="oauth-flows" lang="{language}" dir="{direction(language)}">' in page


@every_language
def test_the_admin_speaks_it_too(
    make_user: Callable[..., User], client_for: Callable[[User], Client], connection: Connection, language: str
) -> None:
    staff = client_for(make_user("staff", is_staff=True, is_superuser=True))
    answer = staff.get("/admin/oauth_flows/provider/", headers={"Accept-Language": language})
    assert ADMIN[language] in text_of(answer)
    assert f'<html lang="{language}" dir="{direction(language)}"' in answer.content.decode()
