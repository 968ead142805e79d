"""Relabel: what a connection is called is its owner's to say."""

from __future__ import annotations

import re

from django.db import router

from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection

MAX_LABEL = 255
"""Characters of a label."""

ONE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$"
"""What a label is, as Python and browsers read it: no control characters, no line breaks, nothing that turns the text around."""


def relabel(connection: Connection, label: str) -> None:
    """Call ``connection`` so from now on, whatever the service calls the account; "" leaves that to the service again.

    The service's own name is back when the account is connected the next time. Raise ``ValueError`` for a label that is
    too long or not one line.
    """
    if len(label) > MAX_LABEL or not re.fullmatch(ONE_LINE, label):
        raise ValueError("a label is one line of at most 255 characters")
    changes = {"is_label_own": bool(label), **({"label": label} if label else {})}
    rows = Connection.objects.using(router.db_for_write(Connection)).filter(pk=connection.pk)
    rows.update(**changes, updated_at=DatabaseNow())
    for name, value in changes.items():
        setattr(connection, name, value)
