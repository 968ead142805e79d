"""The life cycle, told top to bottom: start → complete → call → refresh → revoke.

Every surface (views, admin, API, commands) calls these verbs; nothing here takes an ``HttpRequest``. The verbs load on
first use, so that importing this package costs nothing at start-up.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_oauth_flows.flows.authenticating import httpx_auth, requests_auth
    from django_oauth_flows.flows.calling import access_token, client_session, service_session, session
    from django_oauth_flows.flows.completing import complete_authorization
    from django_oauth_flows.flows.delegating import delegate
    from django_oauth_flows.flows.devices import (
        cancel_device_authorization,
        poll_device_authorization,
        start_device_authorization,
    )
    from django_oauth_flows.flows.discovering import add_discovered_provider, discover, rediscover
    from django_oauth_flows.flows.exchanging import exchange_token
    from django_oauth_flows.flows.fleet import refresh_due
    from django_oauth_flows.flows.importing import import_connection
    from django_oauth_flows.flows.introspecting import introspect
    from django_oauth_flows.flows.labelling import relabel
    from django_oauth_flows.flows.parking import adopt_parked, drop_expired_parked, drop_parked, drop_parked_of, parked
    from django_oauth_flows.flows.pausing import pause, resume
    from django_oauth_flows.flows.pruning import prune
    from django_oauth_flows.flows.refreshing import refresh
    from django_oauth_flows.flows.registering import register_provider
    from django_oauth_flows.flows.restoring import settle_restored
    from django_oauth_flows.flows.returning import safe_next_url
    from django_oauth_flows.flows.revocations import work_off_revocations
    from django_oauth_flows.flows.revoking import revoke, revoke_all
    from django_oauth_flows.flows.rotating import finish_rotation, rotate_private_key
    from django_oauth_flows.flows.scopes import lacking_required_scopes
    from django_oauth_flows.flows.sharing import shares_grant, stands_on_shared_grant
    from django_oauth_flows.flows.starting import redirect_uri, start_authorization
    from django_oauth_flows.flows.transferring import transfer
    from django_oauth_flows.flows.twins import (
        aaccess_token,
        acomplete_authorization,
        aimport_connection,
        arefresh,
        arevoke,
        astart_authorization,
        atransfer,
    )
    from django_oauth_flows.flows.webhooks import deliver_webhooks

_HOMES = {
    "aaccess_token": "twins",
    "access_token": "calling",
    "acomplete_authorization": "twins",
    "add_discovered_provider": "discovering",
    "adopt_parked": "parking",
    "aimport_connection": "twins",
    "arefresh": "twins",
    "arevoke": "twins",
    "astart_authorization": "twins",
    "atransfer": "twins",
    "client_session": "calling",
    "cancel_device_authorization": "devices",
    "complete_authorization": "completing",
    "delegate": "delegating",
    "deliver_webhooks": "webhooks",
    "discover": "discovering",
    "drop_expired_parked": "parking",
    "drop_parked": "parking",
    "drop_parked_of": "parking",
    "exchange_token": "exchanging",
    "finish_rotation": "rotating",
    "httpx_auth": "authenticating",
    "import_connection": "importing",
    "introspect": "introspecting",
    "lacking_required_scopes": "scopes",
    "parked": "parking",
    "pause": "pausing",
    "poll_device_authorization": "devices",
    "prune": "pruning",
    "rediscover": "discovering",
    "redirect_uri": "starting",
    "refresh": "refreshing",
    "refresh_due": "fleet",
    "relabel": "labelling",
    "requests_auth": "authenticating",
    "resume": "pausing",
    "revoke": "revoking",
    "revoke_all": "revoking",
    "register_provider": "registering",
    "rotate_private_key": "rotating",
    "safe_next_url": "returning",
    "session": "calling",
    "service_session": "calling",
    "settle_restored": "restoring",
    "shares_grant": "sharing",
    "stands_on_shared_grant": "sharing",
    "start_authorization": "starting",
    "start_device_authorization": "devices",
    "transfer": "transferring",
    "work_off_revocations": "revocations",
}

__all__ = [
    "aaccess_token",
    "access_token",
    "acomplete_authorization",
    "add_discovered_provider",
    "adopt_parked",
    "aimport_connection",
    "arefresh",
    "arevoke",
    "astart_authorization",
    "atransfer",
    "cancel_device_authorization",
    "client_session",
    "complete_authorization",
    "delegate",
    "deliver_webhooks",
    "discover",
    "drop_expired_parked",
    "drop_parked",
    "drop_parked_of",
    "exchange_token",
    "finish_rotation",
    "httpx_auth",
    "import_connection",
    "introspect",
    "lacking_required_scopes",
    "parked",
    "pause",
    "poll_device_authorization",
    "prune",
    "redirect_uri",
    "rediscover",
    "refresh",
    "refresh_due",
    "register_provider",
    "relabel",
    "requests_auth",
    "resume",
    "revoke",
    "revoke_all",
    "rotate_private_key",
    "safe_next_url",
    "service_session",
    "session",
    "settle_restored",
    "shares_grant",
    "stands_on_shared_grant",
    "start_authorization",
    "start_device_authorization",
    "transfer",
    "work_off_revocations",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    verb = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = verb
    return verb
