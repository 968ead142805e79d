"""What one server is like, as a provider row's columns describe it: its addresses on the fake, its accounts, what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django_oauth_flows.protocol.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.testing.server import FakeProvider

URLS = {
    "authorization_endpoint": "authorize",
    "token_endpoint": "token",
    "pushed_authorization_request_endpoint": "par",
    "temporary_credential_endpoint": "temporary",
    "device_authorization_endpoint": "device",
    "revocation_endpoint": "revoke",
    "userinfo_endpoint": "userinfo",
    "jwks_uri": "jwks",
}
"""Columns with an address, and what the fake calls the endpoint."""

_NAME = re.compile(r"\{([^{}]+)\}")
_SAID_HEAD = re.compile(r"\{kept\.([^{}]+)\}")


class Played:
    """One server: where it lives on the fake, what it says, and ``subject``, the id that its accounts are known by."""

    def __init__(self, fake: FakeProvider, columns: Mapping[str, Any]) -> None:
        self._fake, self._given = fake, dict(columns)
        self.dialect = Dialect.from_json(dict(columns.get("dialect") or {}))
        self.oauth1 = columns.get("protocol") == "oauth1"
        self._auth = columns.get("token_endpoint_auth_method", "client_secret_basic")
        self.subject = ""
        self.said: dict[str, str] = {
            name: f"said{number}"
            for number, name in enumerate((*self.dialect.kept_token_fields, *self.dialect.kept_callback_parameters))
        }
        for address in (columns.get("api_base_url", ""), columns.get("userinfo_endpoint", "")):
            if (head := _SAID_HEAD.match(address)) is not None:
                self.said[head[1]] = f"{fake.url}/said"
        self.columns = self._moved()
        self._patterns = [
            (name, _pattern(self.columns[column])) for column, name in URLS.items() if self.columns.get(column)
        ]
        for key, url in self._dialect_urls().items():
            self._patterns.append((key, _pattern(url)))
        self._document = self._identity()

    def endpoint(self, path: str) -> str:
        """Return which endpoint a path is; "api" for any other."""
        return next((name for name, pattern in self._patterns if pattern.fullmatch(path)), "api")

    def _identity(self) -> list[tuple[str, Any]]:
        """Settle the account's id and name; return where they stand in the identity's document."""
        given, dialect = self._given, self.dialect
        server = self._fake.oauth1 if self.oauth1 else self._fake.oauth2
        places: list[tuple[str, Any]] = []
        if given.get("identity_source", "none") == "none":
            return places
        if template := dialect.subject_template:
            self.subject = template
            for number, path in enumerate(_NAME.findall(template)):
                value = self.said[path.removeprefix("kept.")] if path.startswith("kept.") else f"part{number}"
                self.subject = self.subject.replace("{" + path + "}", value, 1)
                if not path.startswith("kept."):
                    places.append((path, value))
        else:
            self.subject = server.subject
            places.append((given.get("subject_path", "sub"), dialect.subject_prefix + server.subject))
        if (label := given.get("label_path", "")) and label not in dict(places):
            places.append((label, server.name))
        return places

    def _moved(self) -> dict[str, Any]:
        """Return the columns with every address on the fake, its host the first step of the path."""
        moved = dict(self._given)
        for column in (*URLS, "api_base_url"):
            if moved.get(column):
                moved[column] = self._here(moved[column])
        dialect = dict(moved.get("dialect") or {})
        if dialect.get("refresh_endpoint"):
            dialect["refresh_endpoint"] = self._here(dialect["refresh_endpoint"])
        if dialect.get("second_exchange"):
            swap = dialect["second_exchange"]
            dialect["second_exchange"] = {**swap, "endpoint": self._here(swap["endpoint"])}
        if dialect.get("api_host_patterns"):
            dialect["api_host_patterns"] = [urlsplit(self._fake.url).netloc]
        return {**moved, "dialect": dialect, "api_hosts": [], "internal": True}

    def _here(self, url: str) -> str:
        return url if url.startswith("{kept.") else f"{self._fake.url}/{url.partition('://')[2]}"

    def _dialect_urls(self) -> dict[str, str]:
        swap = self.columns["dialect"].get("second_exchange") or {}
        urls = {
            "refresh_endpoint": self.columns["dialect"].get("refresh_endpoint", ""),
            "second_exchange": swap.get("endpoint", ""),
        }
        return {key: url for key, url in urls.items() if url}


def _pattern(url: str) -> re.Pattern[str]:
    path = url.partition("://")[2].partition("?")[0]
    path = path[path.find("/") :] if "/" in path else "/"
    if url.startswith("{kept."):
        path = "/said" + url.partition("}")[2].partition("?")[0]
    pieces = re.split(r"\{[^{}]+\}", path)
    return re.compile("[^/]+".join(re.escape(piece) for piece in pieces))
