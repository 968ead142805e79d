"""What goes out, field by field: nothing is exposed because a model has it. And the one thing that comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import ISO_8601, serializers

MAX_SCOPES, MAX_SCOPE = 100, 200


class Moment(serializers.DateTimeField):
    """A time in ISO 8601, whatever format the site has chosen for itself."""

    def __init__(self) -> None:
        super().__init__(read_only=True, format=ISO_8601)


class Names(serializers.ListField):
    """A list of names, read only."""

    def __init__(self) -> None:
        super().__init__(child=serializers.CharField(), read_only=True)


class Text(serializers.Field[str, Any, str, Any]):
    """Any text: what makes no path of this site is dropped later, and is no error."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": gettext_lazy("Not a string.")}

    def to_internal_value(self, data: Any) -> str:
        """Accept strings only."""
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class ProviderSummary(serializers.Serializer[Any]):
    """A provider as part of something else."""

    slug = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)


class ProviderDetail(ProviderSummary):
    """A provider that accounts can be connected at."""

    protocol = serializers.CharField(read_only=True)
    scopes = Names()
    allowed_scopes = Names()
    required_scopes = Names()


class ConnectionState(serializers.Serializer[Any]):
    """A connection: whose, what for, in which health. ``expires_at`` and ``renewable`` say all about its token."""

    id = serializers.UUIDField(read_only=True)
    provider = ProviderSummary(read_only=True)
    owner_model = serializers.CharField(read_only=True)
    owner_id = serializers.CharField(read_only=True)
    subject = serializers.CharField(read_only=True)
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]
    grant_type = serializers.CharField(read_only=True)
    requested_scopes = Names()
    granted_scopes = Names()
    missing_scopes = Names()
    missing_required_scopes = Names()
    authorization_details = serializers.JSONField(read_only=True)
    status = serializers.CharField(read_only=True)
    reason = serializers.CharField(read_only=True)
    paused = serializers.BooleanField(read_only=True)
    health = serializers.CharField(read_only=True)
    renewable = serializers.BooleanField(read_only=True)
    expires_at = Moment()
    authorized_at = Moment()
    revoked_at = Moment()
    last_used_at = Moment()
    last_purpose = serializers.CharField(read_only=True)
    shares_grant = serializers.BooleanField(read_only=True)


class DeviceState(serializers.Serializer[Any]):
    """A code that waits to be entered on another device."""

    id = serializers.UUIDField(read_only=True, source="request_id")
    user_code = serializers.CharField(read_only=True)
    verification_uri = serializers.CharField(read_only=True)
    verification_uri_complete = serializers.CharField(read_only=True)
    expires_at = Moment()
    wait = serializers.IntegerField(read_only=True)


class _Exact(serializers.Serializer[Any]):
    """What a client may send; anything else is refused, not ignored."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse members that have no meaning here, such as an owner or a token."""
        if isinstance(data, Mapping) and (unknown := [name for name in data if name not in self.fields]):
            refused = serializers.ErrorDetail(_("This member is not accepted here."), code="unknown_field")
            raise serializers.ValidationError({str(name): [refused] for name in unknown})
        return super().to_internal_value(data)


class StartDeviceRequest(_Exact):
    """What a client may ask for when a code is to be entered on another device."""

    scopes = serializers.ListField(
        child=serializers.CharField(max_length=MAX_SCOPE), max_length=MAX_SCOPES, required=False, allow_null=True
    )


class StartRequest(StartDeviceRequest):
    """What a client may ask for when it starts a connection."""

    next = Text(required=False)


class DeviceRequest(_Exact):
    """The handle shows that it was this client that has started; ``action`` says what it wants."""

    handle = serializers.CharField(max_length=100)
    action = serializers.ChoiceField(choices=("poll", "cancel", "adopt", "drop"), default="poll")
