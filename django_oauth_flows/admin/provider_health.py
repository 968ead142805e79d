"""A provider's health at a glance: its connections by status, its refreshes as charts, and what will need somebody soon."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from django.db.models import Count
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_oauth_flows.admin import wording
from django_oauth_flows.admin.charts import Bucket, Chart, draw
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.models import Connection, DiscoveredMetadata, RefreshCount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_oauth_flows.models import Provider

HOURS, DAYS = 24, 30

NEUTRAL = frozenset({"overtaken"})
"""Somebody else had the answer already: neither a success nor a failure."""

AT_MOST = 10_000
"""A forecast counts so far; beyond that the number does not matter."""

SOON = timedelta(days=30)
"""When the end of a client secret is worth a word."""

Level = Literal["good", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the panel, in words; ``level`` says how urgent it is."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class StatusCount:
    """How many connections are in one state, and where they are listed."""

    label: str
    count: int
    url: str


@dataclass(frozen=True, slots=True)
class Health:
    """What the panel shows."""

    statuses: tuple[StatusCount, ...]
    facts: tuple[Fact, ...]
    charts: tuple[Chart, ...]
    outcomes: tuple[tuple[str, int], ...]  # of the last day, the failures by name


def health_of(provider: Provider) -> Health:
    """Gather it in a constant number of queries, none of which reads a table from end to end."""
    now = timezone.now()
    counted = _refreshes(provider, now=now)
    return Health(
        statuses=tuple(_statuses(provider)),
        facts=tuple(_facts(provider, now=now)),
        charts=(_by_hour(counted, now=now), _by_day(counted, now=now)),
        outcomes=tuple(_outcomes(counted, now=now)),
    )


Counted = list[tuple[datetime, str, int]]


def _statuses(provider: Provider) -> Iterator[StatusCount]:
    rows = Connection.objects.filter(provider=provider).order_by().values_list("status", "paused")
    counted: Counter[str] = Counter()
    for status, paused, number in rows.annotate(number=Count("*")):
        counted["paused" if paused and status != Connection.Status.REVOKED else status] += number
    page = reverse("admin:oauth_flows_connection_changelist")
    for state, label in wording.STATES.items():
        yield StatusCount(str(label), counted[state], f"{page}?provider__id__exact={provider.pk}&state={state}")


def _refreshes(provider: Provider, *, now: datetime) -> Counted:
    since = now - timedelta(days=DAYS + 1)
    rows = RefreshCount.objects.filter(provider=provider, hour__gte=since).order_by("hour")
    return list(rows.values_list("hour", "outcome", "count"))


def _by_hour(counted: Counted, *, now: datetime) -> Chart:
    first = _whole_hour(now) - timedelta(hours=HOURS - 1)
    moments = [first + timedelta(hours=number) for number in range(HOURS)]
    good, bad = _sums((moment, outcome, count) for moment, outcome, count in counted)
    buckets = [Bucket(formats.time_format(timezone.localtime(at)), good[at], bad[at]) for at in moments]
    return draw("day", _("Refreshes of the last 24 hours"), buckets)


def _by_day(counted: Counted, *, now: datetime) -> Chart:
    today = timezone.localtime(now).date()
    days = [today - timedelta(days=number) for number in reversed(range(DAYS))]
    good, bad = _sums((timezone.localtime(moment).date(), outcome, count) for moment, outcome, count in counted)
    buckets = [Bucket(formats.date_format(day, "SHORT_DATE_FORMAT"), good[day], bad[day]) for day in days]
    return draw("month", _("Refreshes of the last 30 days"), buckets)


def _sums(rows: Any) -> tuple[Counter[Any], Counter[Any]]:
    good: Counter[Any] = Counter()
    bad: Counter[Any] = Counter()
    for at, outcome, count in rows:
        if outcome not in NEUTRAL:
            (good if outcome == "refreshed" else bad)[at] += count
    return good, bad


def _outcomes(counted: Counted, *, now: datetime) -> Iterator[tuple[str, int]]:
    since = _whole_hour(now) - timedelta(hours=HOURS - 1)
    total: Counter[str] = Counter()
    for moment, outcome, count in counted:
        if moment >= since:
            total[outcome] += count
    for outcome, count in total.most_common():
        yield str(wording.REFRESHES.get(outcome, outcome)), count


def _whole_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _facts(provider: Provider, *, now: datetime) -> Iterator[Fact]:
    yield from _of_the_switches(provider, now=now)
    yield from _of_the_secret(provider, now=now)
    yield from _of_the_tokens(provider)
    yield from _of_the_source(provider)


def _of_the_switches(provider: Provider, *, now: datetime) -> Iterator[Fact]:
    if provider.paused:
        yield Fact("error", _("Paused: no token of this service is served."))
    elif not provider.enabled:
        yield Fact("warning", _("Disabled: it accepts no new connections."))
    if provider.alarm:
        said = _("The service refuses the client (%(code)s). Enter the client's id and secret anew.")
        yield Fact("error", said % {"code": provider.alarm})
    if provider.circuit_open_until is not None and provider.circuit_open_until > now:
        until = formats.time_format(timezone.localtime(provider.circuit_open_until), "H:i:s")
        said = ngettext(
            "The circuit is open: after %(count)d failure in a row the service is left alone until %(time)s.",
            "The circuit is open: after %(count)d failures in a row the service is left alone until %(time)s.",
            provider.failure_count,
        )
        yield Fact("error", said % {"count": provider.failure_count, "time": until})
    else:
        yield Fact("good", _("The circuit is closed: the service answers, or nobody has asked."))


def _of_the_secret(provider: Provider, *, now: datetime) -> Iterator[Fact]:
    if (ends := provider.client_secret_expires_at) is not None:
        day = formats.date_format(timezone.localtime(ends), "DATE_FORMAT")
        if ends <= now:
            yield Fact("error", _("The client secret expired on %(day)s.") % {"day": day})
        else:
            level: Level = "warning" if ends <= now + SOON else "good"
            yield Fact(level, _("The client secret expires on %(day)s.") % {"day": day})
    if (until := provider.second_client_secret_expires_at) is not None and until > now:
        day = formats.date_format(timezone.localtime(until), "DATETIME_FORMAT")
        yield Fact("good", _("The client secret from before is tried as well, until %(day)s.") % {"day": day})


def _of_the_tokens(provider: Provider) -> Iterator[Fact]:
    """Say how many users will be asked to connect again, as far as is known today."""
    for days in (7, 30):
        dying = Connection.objects.filter(provider=provider, token__provider=provider).dying(timedelta(days=days))
        number = dying.order_by()[: AT_MOST + 1].count()
        shown = f"{AT_MOST}+" if number > AT_MOST else str(number)
        said = ngettext(
            "Within %(days)d days, %(count)s connection will need its user.",
            "Within %(days)d days, %(count)s connections will need their users.",
            number,
        )
        yield Fact("warning" if number else "good", said % {"days": days, "count": shown})


def _of_the_source(provider: Provider) -> Iterator[Fact]:
    """Say where the row and what it was made from have come apart."""
    noted = DiscoveredMetadata.objects.filter(provider=provider).first()
    if noted is not None:
        noted.provider = provider
        for column, (ours, theirs) in sorted(noted.differences.items()):
            label = _name_of(provider, column)
            said = _("The issuer now says otherwise: %(name)s is %(theirs)s there, and %(ours)s here.")
            yield Fact("warning", said % {"name": label, "theirs": theirs or "-", "ours": ours or "-"})
    try:
        changed = [_name_of(provider, change.column) for change in provider.preset_changes()]
    except ConfigurationError:
        return
    if changed:
        said = _("The catalogue's entry differs in: %(names)s.")
        yield Fact("good", said % {"names": ", ".join(changed)})


def _name_of(provider: Provider, column: str) -> str:
    if "." in column:
        return column  # of the dialect, which is edited by these names
    field: Any = provider._meta.get_field(column)
    return str(field.verbose_name)
