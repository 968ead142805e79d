"""What goes out, field by field: nothing is exposed because a model has it. And what comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import ISO_8601, serializers

from django_oauth_flows.flows.labelling import MAX_LABEL, ONE_LINE
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Revocation

MAX_SCOPES, MAX_SCOPE = 100, 200
PAGE, MAX_PAGE = 50, 200
SCOPE = r"^[!#-\[\]-~]+$"
"""RFC 6749 §3.3, scope-token."""
HANDLE = r"^[\u0020-\u007e]+$"
"""Printable ASCII: what is none of ours is nobody's."""


class Moment(serializers.DateTimeField):
    """A time in ISO 8601, whatever format the site has chosen for itself."""

    def __init__(self, *, nullable: bool = False) -> None:
        super().__init__(read_only=True, format=ISO_8601, allow_null=nullable)


class Names(serializers.ListField):
    """A list of names, read only."""

    def __init__(self) -> None:
        super().__init__(child=serializers.CharField(), read_only=True)


class OneOf(serializers.ChoiceField):
    """One of a model's choices, read only."""

    def __init__(self, choices: Any, *, blank: bool = False) -> None:
        super().__init__(choices=list(choices), read_only=True, allow_blank=blank)


class Text(serializers.Field[str, Any, str, Any]):
    """Any text: what makes no path of this site is dropped later, and is no error."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": gettext_lazy("Not a string.")}

    def to_internal_value(self, data: Any) -> str:
        """Accept strings only."""
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class Line(serializers.RegexField):
    """A text that matches, and really is one: numbers and the like are not made into texts."""

    def __init__(self, pattern: str, *, max_length: int, blank: bool = False, required: bool = True) -> None:
        super().__init__(pattern, max_length=max_length, allow_blank=blank, required=required, trim_whitespace=False)

    def to_internal_value(self, data: Any) -> str:
        """Accept strings only."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Closed(serializers.Serializer[Any]):
    """What a client may send; anything else is refused, not ignored: an owner, a status, a token."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse members that have no meaning here."""
        if isinstance(data, Mapping) and (unknown := [name for name in data if name not in self.fields]):
            refused = serializers.ErrorDetail(_("This member is not accepted here."), code="unknown_field")
            raise serializers.ValidationError({str(name): [refused] for name in unknown})
        return super().to_internal_value(data)


class StartDeviceRequest(Closed):
    """What to ask the user for. Without scopes, what the provider's row lists."""

    scopes = serializers.ListField(
        child=Line(SCOPE, max_length=MAX_SCOPE),
        max_length=MAX_SCOPES,
        required=False,
        allow_null=True,
        help_text="Some of the provider's `scopes` and `allowed_scopes`.",
    )


class StartRequest(StartDeviceRequest):
    """What to ask the user for, and where to come back to."""

    next = Text(required=False, help_text="The path of this site to come back to; anything else is dropped.")


class DeviceRequest(Closed):
    """The handle shows that it was this client that has started; ``action`` says what it wants."""

    handle = Line(HANDLE, max_length=100)
    action = serializers.ChoiceField(choices=("poll", "cancel", "adopt", "drop"), default="poll")


class LabelRequest(Closed):
    """What the owner calls the account; empty leaves that to the service again."""

    label = Line(ONE_LINE, max_length=MAX_LABEL, blank=True, required=False)  # type: ignore[assignment]


class PageQuery(serializers.Serializer[Any]):
    """Which page of a list."""

    page_size = serializers.IntegerField(
        min_value=1, max_value=MAX_PAGE, required=False, help_text="Members of a page."
    )
    cursor = Text(required=False, help_text="From `next` or `previous` of another page.")


class OwnerQuery(serializers.Serializer[Any]):
    """Whose."""

    owner = Text(required=False, help_text="`app.model:id`, an owner whom you may view; without it, yours.")


class OwnedPageQuery(OwnerQuery, PageQuery):
    """Which page of whose."""


class ProviderSummary(serializers.Serializer[Any]):
    """A provider as part of something else."""

    slug = serializers.CharField(read_only=True)
    name = serializers.CharField(read_only=True)


class ProviderDetail(ProviderSummary):
    """A provider that accounts can be connected at."""

    protocol = OneOf(Provider.Protocol.values)
    scopes = Names()
    allowed_scopes = Names()
    required_scopes = Names()
    delegated_calls = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="What `call` takes: methods and path, `*` for any step.",
    )


class ConnectionState(serializers.Serializer[Any]):
    """A connection: whose, what for, in which health. ``expires_at`` and ``renewable`` say all about its token."""

    id = serializers.UUIDField(read_only=True)
    provider = ProviderSummary(read_only=True)
    owner_model = serializers.CharField(read_only=True)
    owner_id = serializers.CharField(read_only=True)
    subject = serializers.CharField(read_only=True, allow_null=True, help_text="The account's id at the service.")
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]
    grant_type = OneOf(Connection.GrantType.values)
    requested_scopes = Names()
    granted_scopes = Names()
    missing_scopes = Names()
    missing_required_scopes = Names()
    authorization_details = serializers.ListField(
        child=serializers.DictField(), read_only=True, help_text="RFC 9396: what was granted beside scopes."
    )
    status = OneOf(Connection.Status.values)
    reason = OneOf(Connection.Reason.values, blank=True)
    paused = serializers.BooleanField(read_only=True)
    health = OneOf(("working", "limited", "outgrown", "failing", "ended", "broken", "paused"))
    renewable = serializers.BooleanField(read_only=True)
    expires_at = Moment(nullable=True)
    authorized_at = Moment(nullable=True)
    revoked_at = Moment(nullable=True)
    last_used_at = Moment(nullable=True)
    last_purpose = serializers.CharField(read_only=True)
    shares_grant = serializers.BooleanField(
        read_only=True,
        help_text="Disconnecting revokes nothing at the service: another connection stands on its grant.",
    )


class EventState(serializers.Serializer[Any]):
    """A state change of a connection."""

    kind = OneOf(ConnectionEvent.Kind.values)
    outcome = serializers.CharField(
        read_only=True, help_text="A stable code: a reason, an error, a revocation's outcome."
    )
    by = OneOf(("you", "somebody", ""), blank=True)
    correlation_id = serializers.CharField(read_only=True)
    created_at = Moment()


class DeviceState(serializers.Serializer[Any]):
    """A code that waits to be entered on another device."""

    id = serializers.UUIDField(read_only=True, source="request_id")
    user_code = serializers.CharField(read_only=True)
    verification_uri = serializers.CharField(read_only=True)
    verification_uri_complete = serializers.CharField(read_only=True)
    expires_at = Moment()
    wait = serializers.IntegerField(read_only=True, help_text="Seconds until it is worth asking again.")


class StartedDevice(DeviceState):
    """What to show to the user, and the handle to ask with; nobody else can."""

    status = OneOf(("pending",))
    handle = serializers.CharField(read_only=True)


class DeviceAnswer(serializers.Serializer[Any]):
    """How it stands: ``pending`` with what is to be shown, or how it has ended, with the connection if there is one."""

    status = serializers.CharField(read_only=True)
    id = serializers.UUIDField(required=False)
    user_code = serializers.CharField(required=False)
    verification_uri = serializers.CharField(required=False)
    verification_uri_complete = serializers.CharField(required=False, allow_blank=True)
    expires_at = serializers.DateTimeField(required=False)
    wait = serializers.IntegerField(required=False)
    connection = ConnectionState(required=False)


class ConnectUrl(serializers.Serializer[Any]):
    """Where to send the user's browser: a page of this site that demands the same user's login and a click."""

    connect_url = serializers.URLField(read_only=True)


class Disconnection(serializers.Serializer[Any]):
    """What has become of a connection, here and at the service."""

    id = serializers.UUIDField(read_only=True)
    status = OneOf(Connection.Status.values)
    revocation = OneOf(Revocation.Outcome.values)


class ConnectionCounts(serializers.Serializer[Any]):
    """How many connections there are of each kind; a paused one counts as paused alone."""

    active = serializers.IntegerField(read_only=True)
    paused = serializers.IntegerField(read_only=True)
    reauthorization_required = serializers.IntegerField(read_only=True)


class Trouble(ProviderSummary):
    """A provider that does not serve now."""

    problem = OneOf(("paused", "misconfigured", "unreachable"))
    connections = serializers.IntegerField(read_only=True, help_text="How many stand still for it.")


class Health(serializers.Serializer[Any]):
    """Whether all connections of an owner work."""

    status = OneOf(("ok", "attention"))
    connections = ConnectionCounts(read_only=True)
    providers = Trouble(many=True, read_only=True)


class Page(serializers.Serializer[Any]):
    """Addresses of the neighbouring pages."""

    next = serializers.URLField(read_only=True, allow_null=True)
    previous = serializers.URLField(read_only=True, allow_null=True)


class ProviderPage(Page):
    """A page of providers."""

    results = ProviderDetail(many=True, read_only=True)


class ConnectionPage(Page):
    """A page of connections, newest first."""

    results = ConnectionState(many=True, read_only=True)


class EventPage(Page):
    """A page of a connection's history, newest first."""

    results = EventState(many=True, read_only=True)


class Refused(serializers.Serializer[Any]):
    """One value of the request that was refused."""

    pointer = serializers.CharField(read_only=True, help_text="A JSON pointer into the body, or the query parameter.")
    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)


class ProblemDocument(serializers.Serializer[Any]):
    """An error (RFC 9457). Branch on ``code``, which is stable; the rest is for people."""

    type = serializers.CharField(read_only=True)
    title = serializers.CharField(read_only=True)
    status = serializers.IntegerField(read_only=True)
    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(read_only=True)
    hint = serializers.CharField(read_only=True)
    correlation_id = serializers.CharField(read_only=True, help_text="Under which the site's log has it.")
    errors = Refused(many=True, required=False)  # type: ignore[assignment]
