"""A person's browser without a window: cookies, redirects one at a time, forms read from the page's HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Fields = Mapping[str, str | Sequence[str]]

MAX_REDIRECTS = 10
_VOID = frozenset({"input", "br", "img", "link", "meta", "hr"})


class PageError(Exception):
    """Raised when a page is not what a person would have needed to go on."""


@dataclass(slots=True)
class Form:
    """A form as a person finds it; ``buttons`` maps their labels to what they send."""

    action: str
    method: str
    id: str
    fields: dict[str, str] = field(default_factory=dict)
    ticked: dict[str, list[str]] = field(default_factory=dict)  # of boxes: the values with a tick, by name
    choices: dict[str, dict[str, str]] = field(default_factory=dict)  # of a select: its values and their labels
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Page:
    """What the browser shows: ``url`` is in its address bar, ``text`` is what a person can read."""

    url: str
    status: int
    html: str
    headers: dict[str, str]
    forms: list[Form]
    links: dict[str, str]
    images: dict[str, str]
    codes: list[str]
    text: str
    location: str = ""  # where it redirects to, if it was not followed

    def form(self, *, button: str = "", action: str = "", index: int = 0) -> Form:
        """Return the form that has this button, or whose action contains this."""
        found = [f for f in self.forms if (not button or button in f.buttons) and action in f.action]
        if len(found) <= index:
            raise PageError(
                f"{_path(self.url)} ({self.status}) has no form with {button or action!r}: {self.text[:300]}"
            )
        return found[index]


class Browser:
    """One person's cookies. Redirects are followed, unless a step wants to see each."""

    def __init__(self) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["User-Agent"] = "Mozilla/5.0 (the example's own browser)"

    def close(self) -> None:
        """Forget everything."""
        self._http.close()

    def get(self, url: str, *, follow: bool = True) -> Page:
        """Open ``url``; 4xx and 5xx are pages too."""
        return self._open("GET", url, None, follow=follow, referer=None)

    def submit(
        self, page: Page, form: Form, values: Fields | None = None, *, button: str = "", follow: bool = True
    ) -> Page:
        """Fill in ``form`` of ``page`` and press ``button``, by default the first."""
        fields: dict[str, str | list[str]] = {**form.fields, **form.ticked, **(values or {})}
        name, value = form.buttons[button] if button else next(iter(form.buttons.values()), ("", ""))
        if name:
            fields[name] = value
        url = urljoin(page.url, form.action or page.url)
        return self._open(form.method, url, fields, follow=follow, referer=page)

    def bytes_of(self, url: str) -> bytes:
        """Download what is at ``url``."""
        answer = self._http.get(url, timeout=30)
        if not answer.ok:
            raise PageError(f"{_path(url)} answered {answer.status_code}.")
        return answer.content

    def upload(self, page: Page, form: Form, name: str, *, file: tuple[str, bytes, str]) -> Page:
        """Choose a file for the field ``name`` of ``form`` and send it."""
        url = urljoin(page.url, form.action or page.url)
        headers = _provenance(page, method="POST")
        answer = self._http.post(
            url,
            data={**form.fields, **form.ticked},
            files={name: file},
            headers=headers,
            timeout=30,
            allow_redirects=False,
        )
        return self._follow(_page(answer))

    def _open(self, method: str, url: str, fields: Fields | None, *, follow: bool, referer: Page | None) -> Page:
        headers = _provenance(referer, method=method)
        data, params = (fields, None) if method == "POST" else (None, fields)
        answer = self._http.request(
            method, url, data=data, params=params, headers=headers, timeout=30, allow_redirects=False
        )
        page = _page(answer)
        return self._follow(page) if follow else page

    def _follow(self, page: Page) -> Page:
        for _ in range(MAX_REDIRECTS):
            if not page.location:
                return page
            page = _page(self._http.get(page.location, timeout=30, allow_redirects=False))
        raise PageError(f"{_path(page.url)} redirects again and again.")


def _provenance(page: Page | None, *, method: str) -> dict[str, str]:
    """Return ``Referer`` and ``Origin`` as a browser sends them to the same site: less, if the page's policy says so."""
    if page is None:
        return {}
    silent = page.headers.get("referrer-policy", "") == "no-referrer"
    parts = urlsplit(page.url)
    origin = {"Origin": "null" if silent else f"{parts.scheme}://{parts.netloc}"} if method == "POST" else {}
    return origin if silent else {"Referer": page.url, **origin}


def _path(url: str) -> str:
    """Return a URL without its query, which may carry a code."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _page(answer: requests.Response) -> Page:
    location = answer.headers.get("Location", "") if answer.is_redirect else ""
    is_html = answer.headers.get("Content-Type", "").startswith("text/html")
    reader = _Reader()
    reader.feed(answer.text if is_html else "")
    return Page(
        url=answer.url,
        status=answer.status_code,
        html=answer.text if is_html else "",
        headers={name.lower(): value for name, value in answer.headers.items()},
        forms=reader.forms,
        links=reader.links,
        images={alt: urljoin(answer.url, src) for alt, src in reader.images.items()},
        codes=reader.codes,
        text=" ".join("".join(reader.words).split()),
        location=urljoin(answer.url, location) if location else "",
    )


class _Reader(HTMLParser):
    """Collects forms, links and readable words."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.images: dict[str, str] = {}
        self.codes: list[str] = []
        self.words: list[str] = []
        self._form: Form | None = None
        self._button: dict[str, str] | None = None
        self._link: str | None = None
        self._label: list[str] = []
        self._select = ""
        self._option: str | None = None
        self._textarea = ""
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        opener = getattr(self, f"_open_{tag}", None)
        if opener:
            opener(values)
        if tag not in _VOID:
            self.words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        closer = getattr(self, f"_close_{tag}", None)
        if closer:
            closer()
        self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        self.words.append(data)
        self._label.append(data)
        if self._textarea and self._form:
            self._form.fields[self._textarea] += data

    def _open_form(self, values: dict[str, str]) -> None:
        self._form = Form(values.get("action", ""), values.get("method", "get").upper(), values.get("id", ""))
        self.forms.append(self._form)

    def _close_form(self) -> None:
        self._form = None

    def _open_input(self, values: dict[str, str]) -> None:
        kind, name = values.get("type", "text"), values.get("name", "")
        if self._form is None:
            return
        if kind == "submit":
            self._form.buttons[values.get("value", "")] = (name, values.get("value", ""))
        elif kind == "checkbox" and "checked" in values:
            self._form.ticked.setdefault(name, []).append(values.get("value", "on"))
        elif name and kind not in ("file", "checkbox") and (kind != "radio" or "checked" in values):
            self._form.fields[name] = values.get("value", "")

    def _open_button(self, values: dict[str, str]) -> None:
        self._button, self._label = values, []

    def _close_button(self) -> None:
        if self._form is not None and self._button is not None and self._button.get("type", "submit") == "submit":
            label = " ".join("".join(self._label).split())
            self._form.buttons[label] = (self._button.get("name", ""), self._button.get("value", ""))
        self._button = None

    def _open_a(self, values: dict[str, str]) -> None:
        self._link, self._label = values.get("href"), []

    def _close_a(self) -> None:
        if self._link is not None:
            self.links[" ".join("".join(self._label).split())] = self._link
        self._link = None

    def _open_select(self, values: dict[str, str]) -> None:
        self._select = values.get("name", "")

    def _close_select(self) -> None:
        self._select = ""

    def _open_option(self, values: dict[str, str]) -> None:
        if self._form is not None and self._select and ("selected" in values or self._select not in self._form.fields):
            self._form.fields[self._select] = values.get("value", "")
        self._option, self._label = values.get("value", ""), []

    def _close_option(self) -> None:
        if self._form is not None and self._select and self._option is not None:
            labels = self._form.choices.setdefault(self._select, {})
            labels[self._option] = " ".join("".join(self._label).split())
        self._option = None

    def _open_img(self, values: dict[str, str]) -> None:
        self.images[values.get("alt", "")] = values.get("src", "")

    def _open_code(self, values: dict[str, str]) -> None:
        self._label = []

    def _close_code(self) -> None:
        self.codes.append("".join(self._label).strip())

    def _open_textarea(self, values: dict[str, str]) -> None:
        self._textarea = values.get("name", "")
        if self._form is not None and self._textarea:
            self._form.fields[self._textarea] = ""

    def _close_textarea(self) -> None:
        self._textarea = ""

    def _open_script(self, values: dict[str, str]) -> None:
        self._hidden += 1

    def _close_script(self) -> None:
        self._hidden -= 1

    _open_style, _close_style = _open_script, _close_script
