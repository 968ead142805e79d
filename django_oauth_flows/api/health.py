"""``GET health/``: whether an owner's connections work, without asking anybody but the database."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Q
from django.http import Http404
from rest_framework.response import Response

from django_oauth_flows.api.base import View
from django_oauth_flows.api.finding import named_owner, user_of
from django_oauth_flows.api.operations import operation
from django_oauth_flows.api.serializers import Health, OwnerQuery
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.managers import allows
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import Model
    from rest_framework.request import Request


class HealthView(View):
    """How an owner's connections stand."""

    @operation("retrieve_health", answers=Health, query=OwnerQuery, refusals=(400, 404))
    def get(self, request: Request) -> Response:
        """Count the connections of the user, or of ``owner``, by state, and name the providers that do not serve now."""
        user = user_of(request)
        owner: Model = named_owner(request) or user
        if not allows(user, "view", owner):
            raise Http404
        return Response(Health(_health(_groups(owner))).data)


def _groups(owner: Model) -> list[dict[str, Any]]:
    left_alone = ExpressionWrapper(Q(provider__circuit_open_until__gt=DatabaseNow()), output_field=BooleanField())
    live = Connection.objects.for_owner(owner).exclude(status=Connection.Status.REVOKED).order_by()
    names = ("provider__slug", "provider__name", "provider__paused", "provider__alarm", "status", "paused")
    return list(live.annotate(left_alone=left_alone).values(*names, "left_alone").annotate(count=Count("pk")))


def _health(groups: list[dict[str, Any]]) -> dict[str, Any]:
    counts: Counter[str] = Counter(dict.fromkeys(("active", "paused", "reauthorization_required"), 0))
    troubles: dict[str, dict[str, Any]] = {}
    for group in groups:
        counts["paused" if group["paused"] else group["status"]] += group["count"]
        if problem := _problem(group):
            slug = group["provider__slug"]
            about = {"slug": slug, "name": group["provider__name"], "problem": problem, "connections": 0}
            troubles.setdefault(slug, about)["connections"] += group["count"]
    is_well = not troubles and not counts["reauthorization_required"]
    return {
        "status": "ok" if is_well else "attention",
        "connections": dict(counts),
        "providers": [troubles[slug] for slug in sorted(troubles)],
    }


def _problem(group: Mapping[str, Any]) -> str:
    if group["provider__paused"]:
        return "paused"
    if group["provider__alarm"]:
        return "misconfigured"
    return "unreachable" if group["left_alone"] else ""
