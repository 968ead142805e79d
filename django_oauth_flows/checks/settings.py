"""The one dict ``OAUTH_FLOWS``: names, types and values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import Error, Warning  # noqa: A004 - Django's own name
from django.utils.module_loading import import_string

from django_oauth_flows.conf import DEFAULTS
from django_oauth_flows.crypto import SECRET_KEY_ENTRY, decode_key
from django_oauth_flows.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

MAKE_KEY = 'python -c "from django_oauth_flows.crypto import generate_key; print(generate_key())"'


def configured() -> Mapping[str, Any]:
    """Return the dict as the site wrote it; empty if it is none."""
    value = getattr(django_settings, "OAUTH_FLOWS", {})
    return value if isinstance(value, Mapping) else {}


def check_settings(**_: Any) -> list[CheckMessage]:
    """Find unknown keys and wrong types."""
    value = getattr(django_settings, "OAUTH_FLOWS", {})
    if not isinstance(value, Mapping):
        hint = 'Write: OAUTH_FLOWS = {"BASE_URL": "https://your.site"}'
        return [Error("OAUTH_FLOWS is not a dict.", hint=hint, id="oauth_flows.E002")]
    return [*_unknown(value), *_mistyped(value)]


def check_keys(**_: Any) -> list[CheckMessage]:
    """Find encryption keys that are missing, malformed, or no secret of their own."""
    keys = listed("ENCRYPTION_KEYS")
    messages: list[CheckMessage] = []
    if not keys or keys[0] == SECRET_KEY_ENTRY:
        messages.append(
            Warning(
                "OAUTH_FLOWS['ENCRYPTION_KEYS'] is not set: tokens are encrypted with a key derived from SECRET_KEY.",
                hint=f'Make a key: {MAKE_KEY}; then write OAUTH_FLOWS = {{"ENCRYPTION_KEYS": ["<the key>", "SECRET_KEY"]}}, '
                "run manage.py reencrypt_secrets, and remove the second entry.",
                id="oauth_flows.W001",
            )
        )
    secrets = {django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS}
    for position, key in enumerate(keys):
        messages += _check_key(key, position=position, secrets=secrets)
    return messages


def check_deployed_keys(**_: Any) -> list[CheckMessage]:
    """Demand a key of its own in production."""
    keys = listed("ENCRYPTION_KEYS")
    if keys and keys[0] != SECRET_KEY_ENTRY:
        return []
    hint = f'Make a key: {MAKE_KEY}; then write OAUTH_FLOWS = {{"ENCRYPTION_KEYS": [os.environ["OAUTH_FLOWS_KEY"]]}}'
    return [Error("Tokens are encrypted with a key derived from SECRET_KEY.", hint=hint, id="oauth_flows.E007")]


def check_names(**_: Any) -> list[CheckMessage]:
    """Find URLs, files, models and callables that are not there."""
    return [*_base_url(), *_owner_models(), *_owner_policy(), *_outbound(), *_api_permissions()]


def _unknown(value: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key in value:
        if key in DEFAULTS:
            continue
        close = difflib.get_close_matches(str(key).upper(), DEFAULTS, n=1, cutoff=0.5)
        hint = f'Did you mean "{close[0]}"?' if close else f"Known keys: {', '.join(sorted(DEFAULTS))}."
        yield Error(f"OAUTH_FLOWS has an unknown key: {key!r}.", hint=hint, id="oauth_flows.E003")


def _mistyped(value: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key in sorted(DEFAULTS.keys() & value.keys()):
        wanted = _wanted(value[key], DEFAULTS[key])
        if wanted:
            example = {"a string": '"…"', "a list of strings": '["…"]'}.get(wanted, DEFAULTS[key])
            hint = f'Write: OAUTH_FLOWS = {{"{key}": {example}}}'
            yield Error(f"OAUTH_FLOWS['{key}'] must be {wanted}.", hint=hint, id="oauth_flows.E004")


def _wanted(value: Any, default: Any) -> str:
    """Return what ``value`` should be, "" if it is."""
    if isinstance(default, str):
        return "" if isinstance(value, (str, Path)) else "a string"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "True or False"
    if isinstance(default, int):
        return "" if type(value) is int and value > 0 else "a positive whole number"
    strings = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
    return "" if strings else "a list of strings"


def listed(key: str) -> tuple[str, ...]:
    """Return a setting that is a list of strings; empty if it is mistyped, which has its own message."""
    value = configured().get(key, DEFAULTS[key])
    return () if _wanted(value, DEFAULTS[key]) else tuple(value)


def text(key: str) -> str:
    value = configured().get(key, DEFAULTS[key])
    return "" if _wanted(value, DEFAULTS[key]) else str(value)


def _check_key(key: str, *, position: int, secrets: set[Any]) -> Iterator[CheckMessage]:
    if key == SECRET_KEY_ENTRY:
        return
    place = f"OAUTH_FLOWS['ENCRYPTION_KEYS'][{position}]"
    if key in secrets:
        hint = f"Make a key of its own: {MAKE_KEY}"
        yield Error(f"{place} is the site's SECRET_KEY.", hint=hint, id="oauth_flows.E006")
        return
    try:
        decode_key(key)
    except ConfigurationError:
        hint = f"Make one: {MAKE_KEY}"
        yield Error(f"{place} is not the base64url encoding of 32 bytes.", hint=hint, id="oauth_flows.E005")


def _base_url() -> Iterator[CheckMessage]:
    base = text("BASE_URL").rstrip("/")
    if not base:
        if "*" in django_settings.ALLOWED_HOSTS:
            yield Warning(
                "ALLOWED_HOSTS accepts every host and OAUTH_FLOWS['BASE_URL'] is not set: connecting is refused, because "
                "the redirect URI would be whatever the Host header says.",
                hint='Write: OAUTH_FLOWS = {"BASE_URL": "https://your.site"}',
                id="oauth_flows.W002",
            )
        return
    schemes = ("https", "http") if django_settings.DEBUG or _is_loopback(base) else ("https",)
    if not _is_origin(base, schemes):
        yield Error(
            "OAUTH_FLOWS['BASE_URL'] is not an origin" + (" with https." if len(schemes) == 1 else "."),
            hint='Scheme and host only: OAUTH_FLOWS = {"BASE_URL": "https://your.site"}',
            id="oauth_flows.E008",
        )


def _is_origin(url: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return False
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in schemes and bool(parts.hostname) and plain


def _is_loopback(url: str) -> bool:
    return urlsplit(url).netloc.partition(":")[0] in ("localhost", "127.0.0.1")


def _owner_models() -> Iterator[CheckMessage]:
    for label in listed("OWNER_MODELS"):
        try:
            apps.get_model(label)
        except (LookupError, ValueError):
            hint = 'Write app and model: OAUTH_FLOWS = {"OWNER_MODELS": ["teams.Team"]}'
            yield Error(
                f"OAUTH_FLOWS['OWNER_MODELS'] names no installed model: {label!r}.", hint=hint, id="oauth_flows.E009"
            )


def _owner_policy() -> Iterator[CheckMessage]:
    path = text("OWNER_POLICY")
    try:
        usable = callable(import_string(path))
    except ImportError:
        usable = False
    if not usable:
        yield Error(
            f"OAUTH_FLOWS['OWNER_POLICY'] is not the dotted path of a callable: {path!r}.",
            hint=f'Write: OAUTH_FLOWS = {{"OWNER_POLICY": "{DEFAULTS["OWNER_POLICY"]}"}}',
            id="oauth_flows.E010",
        )


def _outbound() -> Iterator[CheckMessage]:
    bundle, proxy = text("CA_BUNDLE"), text("PROXY")
    if bundle and not Path(bundle).exists():
        hint = 'Write: OAUTH_FLOWS = {"CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"}'
        yield Error("OAUTH_FLOWS['CA_BUNDLE'] names no file.", hint=hint, id="oauth_flows.E011")
    if proxy and not (urlsplit(proxy).scheme in ("http", "https") and urlsplit(proxy).hostname):
        hint = 'Write: OAUTH_FLOWS = {"PROXY": "http://proxy.internal:3128"}'
        yield Error("OAUTH_FLOWS['PROXY'] is not the URL of an HTTP proxy.", hint=hint, id="oauth_flows.E012")


def _api_permissions() -> Iterator[CheckMessage]:
    """Look up the site's own classes; ours load Django REST framework, which a site without the API need not have."""
    default = DEFAULTS["API_PERMISSION_CLASSES"]
    for path in listed("API_PERMISSION_CLASSES"):
        try:
            usable = path in default or callable(import_string(path))
        except ImportError:
            usable = False
        if not usable:
            yield Error(
                f"OAUTH_FLOWS['API_PERMISSION_CLASSES'] names no permission class: {path!r}.",
                hint=f'Write: OAUTH_FLOWS = {{"API_PERMISSION_CLASSES": ["{default[0]}"]}}',
                id="oauth_flows.E033",
            )
