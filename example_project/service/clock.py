"""The service's clock: it judges by it what others have signed, and puts it on what it says itself. It can be put wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.utils.http import http_date

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


class Clock:
    """Shows the time, and ``fast_by`` seconds more; with a negative number it is slow."""

    def __init__(self) -> None:
        self.fast_by = 0

    def now(self) -> int:
        """Return the seconds since 1970."""
        return int(time.time()) + self.fast_by


CLOCK = Clock()
"""The one on the service's wall."""


def dated(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Put a ``Date`` on every answer, as the clock shows it."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Date"] = http_date(CLOCK.now())
        return response

    return answer
