"""A hostile fake provider and factories, for this package's own suite and for the tests of host projects.

::

    from django_oauth_flows.testing import Answer, FakeProvider, make_provider

    with FakeProvider() as fake:
        provider = make_provider(fake)
        fake.script("token", Answer(503, headers={"Retry-After": "7"}))

The server speaks real HTTP on loopback, over TLS if it is given a context, and both protocols.
"""

from __future__ import annotations

from django_oauth_flows.testing.faults import Answer, Delay, Drip, Drop, Endless, Fault, Half, Reset
from django_oauth_flows.testing.server import FakeProvider, Received

__all__ = [
    "Answer",
    "Delay",
    "Drip",
    "Drop",
    "Endless",
    "FakeProvider",
    "Fault",
    "Half",
    "Received",
    "Reset",
]
