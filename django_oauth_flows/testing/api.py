"""The fake provider's protected API: it says what it received, sends and takes bytes, and knows its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_oauth_flows.testing.faults import Answer

if TYPE_CHECKING:
    from django_oauth_flows.testing.oauth1 import OAuth1Server
    from django_oauth_flows.testing.oauth2 import OAuth2Server
    from django_oauth_flows.testing.server import Received


class ProtectedAPI:
    """``/api/echo`` (what arrived), ``/api/bytes/<n>`` (a download); every path needs a token of either protocol."""

    def __init__(self, oauth2: OAuth2Server, oauth1: OAuth1Server) -> None:
        self._oauth2 = oauth2
        self._oauth1 = oauth1

    def answer(self, request: Received) -> Answer:
        """Answer an API call."""
        if not self._is_authorised(request):
            return Answer(401, {"error": "invalid_token"}, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if request.path.startswith("/api/bytes/"):
            return Answer(200, b"x" * int(request.path.rpartition("/")[2]))
        visible = {name: value for name, value in request.headers.items() if name != "authorization"}
        return Answer(
            200,
            {"method": request.method, "path": request.path, "headers": visible, "size": len(request.body)},
            {"Set-Cookie": "tracker=1; Path=/"},
        )

    def userinfo(self, request: Received) -> Answer:
        """Say which account the token is for."""
        if not self._is_authorised(request):
            return Answer(401, {"error": "invalid_token"})
        server = self._oauth2 if self._bearer(request) else self._oauth1
        return Answer(200, {"sub": server.subject, "name": server.name})

    def _is_authorised(self, request: Received) -> bool:
        if token := self._bearer(request):
            return self._oauth2.grant_of(token) is not None
        return self._oauth1.is_signed(request)

    @staticmethod
    def _bearer(request: Received) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else ""
