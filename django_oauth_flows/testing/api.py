"""The fake provider's protected API: it says what it received, sends and takes bytes, and knows its caller."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django_oauth_flows.testing.dpop import ProofChecker, ProofRefused
from django_oauth_flows.testing.faults import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing.oauth1 import OAuth1Server
    from django_oauth_flows.testing.oauth2 import OAuth2Server
    from django_oauth_flows.testing.server import Received


class ProtectedAPI:
    """``/api/echo`` (what arrived), ``/api/bytes/<n>`` (a download); every path needs a token of either protocol."""

    def __init__(self, oauth2: OAuth2Server, oauth1: OAuth1Server) -> None:
        self._oauth2 = oauth2
        self._oauth1 = oauth1
        self.dpop = ProofChecker()  # of proofs beside the tokens that are bound to a key

    def answer(self, request: Received) -> Answer:
        """Answer an API call."""
        return self._proven(request, self._answered)

    def userinfo(self, request: Received) -> Answer:
        """Say which account the token is for."""
        return self._proven(request, self._identified)

    def _proven(self, request: Received, act: Callable[[Received], Answer]) -> Answer:
        """Act, if the token is either bound to nothing or to the key that has signed the proof. RFC 9449 §7."""
        scheme, token = self._presented(request)
        grant = self._oauth2.grant_of(token)
        if grant is None or not grant.jkt:
            return act(request)
        try:
            self.dpop.check_bound(request, scheme, token, key=grant.jkt)
        except ProofRefused as refused:
            return self.dpop.challenge(refused)
        answer = act(request)
        return replace(answer, headers={**answer.headers, **self.dpop.headers(grant.jkt)})

    def _answered(self, request: Received) -> Answer:
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

    def _identified(self, request: Received) -> Answer:
        if not self._is_authorised(request):
            return Answer(401, {"error": "invalid_token"})
        server = self._oauth2 if self._token(request) else self._oauth1
        return Answer(200, {"sub": server.subject, "name": server.name})

    def _is_authorised(self, request: Received) -> bool:
        if token := self._token(request):
            grant = self._oauth2.grant_of(token)
            if grant is None or (grant.certificate and grant.certificate != request.certificate):
                return False
            return bool(grant.jkt) == (self._presented(request)[0] == "dpop")
        return self._oauth1.is_signed(request)

    def _token(self, request: Received) -> str:
        scheme, token = self._presented(request)
        return token if scheme in ("Bearer", "dpop") else ""

    @staticmethod
    def _presented(request: Received) -> tuple[str, str]:
        """Return scheme and token; the word DPoP however it is spelled."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return ("dpop" if scheme.lower() == "dpop" else scheme), token
