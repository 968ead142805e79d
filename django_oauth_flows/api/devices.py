"""Connecting by a code that is entered on another device: for clients that show the code themselves. RFC 8628."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.http import Http404
from rest_framework.response import Response

from django_oauth_flows import flows
from django_oauth_flows.api.base import View
from django_oauth_flows.api.finding import connections, states, usable_provider, user_of
from django_oauth_flows.api.operations import operation
from django_oauth_flows.api.serializers import (
    DeviceAnswer,
    DeviceRequest,
    DeviceState,
    StartDeviceRequest,
    StartedDevice,
)
from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.flows.binding import cookie_name
from django_oauth_flows.flows.values import Completion

if TYPE_CHECKING:
    from uuid import UUID

    from rest_framework.request import Request


class StartDevice(View):
    """``POST providers/<slug>/device/``: a code to show, and the handle by which the client asks how it stands."""

    oauth_flows_throttle = "oauth_flows_start"

    @operation(
        "start_device", status=201, answers=StartedDevice, body=StartDeviceRequest, refusals=(400, 404, 409, 415, 502)
    )
    def post(self, request: Request, slug: str) -> Response:
        """Start. The handle takes the place of a browser's cookie: nobody else can ask, not even the same user elsewhere."""
        provider = usable_provider(request, slug)
        asked = StartDeviceRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        user = user_of(request)
        started = flows.start_device_authorization(
            provider,
            user=user,
            session_auth_hash=user.get_session_auth_hash(),
            scopes=asked.validated_data.get("scopes") or None,
        )
        body = {
            "status": started.pending.kind,
            "handle": started.cookie.value.reveal(),
            **DeviceState(started.pending).data,
        }
        return Response(body, status=HTTPStatus.CREATED)


class Device(View):
    """``POST device/<id>/``: how it stands; the provider is asked once in its interval, however often the client asks."""

    oauth_flows_throttle = "oauth_flows_device"

    @operation("ask_device", answers=DeviceAnswer, body=DeviceRequest, refusals=(400, 404, 409, 415, 502))
    def post(self, request: Request, pk: UUID) -> Response:
        """Do what ``action`` says: ``poll``, ``cancel``, or answer for an account that needs a yes: ``adopt``, ``drop``."""
        asked = DeviceRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        user = user_of(request)
        who: dict[str, Any] = {
            "user": user,
            "session_auth_hash": user.get_session_auth_hash(),
            "cookies": {cookie_name(pk): asked.validated_data["handle"]},
        }
        try:
            return _answer(pk, asked.validated_data["action"], who)
        except AuthorizationError as error:
            if error.code in ("session_mismatch", "user_mismatch", "state_unknown"):
                raise Http404 from None  # somebody else's does not exist
            raise


def _answer(pk: UUID, action: str, who: dict[str, Any]) -> Response:
    if action == "cancel":
        flows.cancel_device_authorization(pk, **who)
        return Response({"status": "cancelled"})
    if action == "drop":
        flows.drop_parked(pk, **who)
        return Response({"status": "dropped"})
    found = flows.adopt_parked(pk, **who) if action == "adopt" else flows.poll_device_authorization(pk, **who)
    if not isinstance(found, Completion):
        response = Response({"status": found.kind, **DeviceState(found).data})
        response["Retry-After"] = str(found.wait)
        return response
    body: dict[str, Any] = {"status": found.kind}
    if found.kind in ("connected", "already_connected") and found.connection is not None:
        body["connection"] = states(connections().filter(pk=found.connection.pk))[0]
    return Response(body)
