"""Start the service in a child process and talk to it: what the demo and the test suite use.

::

    with start_service(tmp_path) as service:
        client = service.register_application("My site", redirect_uris=["http://127.0.0.1/oauth/callback/notebook/"])
        requests.get(service.url)

Every start is a fresh service: own directory, own database, own members.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
MEMBER_SCOPES = ("profile", "notes:read", "notes:write", "photos:read", "photos:write")
"""What an application can ask a member for; ``statistics`` is for client credentials."""
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
"""The grant of an application whose members enter a code (RFC 8628)."""


class ServiceError(Exception):
    """Raised when the service did not start, or could not do what it was asked."""


@dataclass(frozen=True, slots=True)
class Member:
    """A user of the service; ``account_id`` is the stable id that its API answers with."""

    username: str
    password: str
    account_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Application:
    """An OAuth 2 client registered at the service; a public one has no secret."""

    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class Consumer:
    """An OAuth 1.0a client; ``private_key`` is PEM, "" without RSA."""

    key: str
    secret: str
    private_key: str


@dataclass(frozen=True, slots=True)
class Service:
    """A running service. ``oauth2`` and ``oauth1`` are the endpoint columns of a ``Provider`` for it."""

    url: str
    members: tuple[Member, ...]
    _child: subprocess.Popen[str] = field(repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def oauth2(self) -> dict[str, Any]:
        """Return what a ``Provider`` of the OAuth 2 server needs besides its name and client."""
        return {
            "protocol": "oauth2",
            "issuer": self.url,
            "authorization_response_iss_parameter_supported": True,
            "authorization_endpoint": f"{self.url}/oauth2/authorize/",
            "token_endpoint": f"{self.url}/oauth2/token/",
            "revocation_endpoint": f"{self.url}/oauth2/revoke/",
            "scopes": list(MEMBER_SCOPES),
            "rotates_refresh_token": True,
            **self._shared,
        }

    @property
    def by_code(self) -> dict[str, Any]:
        """Return what a ``Provider`` needs whose users enter a code at the service, on any device."""
        endpoint = f"{self.url}/oauth2/device-authorization/"
        return {**self.oauth2, "authorization_endpoint": "", "device_authorization_endpoint": endpoint}

    @property
    def oauth1(self) -> dict[str, Any]:
        """Return what a ``Provider`` of the OAuth 1.0a server needs besides its name and client."""
        return {
            "protocol": "oauth1",
            "temporary_credential_endpoint": f"{self.url}/oauth1/temporary-credentials/",
            "authorization_endpoint": f"{self.url}/oauth1/authorize/",
            "token_endpoint": f"{self.url}/oauth1/token-credentials/",
            "revocation_endpoint": f"{self.url}/oauth1/revoke/",
            **self._shared,
        }

    @property
    def _shared(self) -> dict[str, Any]:
        return {
            "api_base_url": f"{self.url}/api/",
            "userinfo_endpoint": f"{self.url}/api/me/",
            "identity_source": "userinfo",
            "subject_path": "id",
            "label_path": "name",
            "revocation_effect": "token",
            "internal": True,
        }

    def register_application(
        self, name: str, *, redirect_uris: Sequence[str] = (), grant: str = "authorization-code", public: bool = False
    ) -> Application:
        """Register an OAuth 2 client; on loopback a redirect URI matches whatever its port (RFC 8252 §7.3)."""
        arguments = {"name": name, "redirect_uris": list(redirect_uris), "grant": grant, "public": public}
        return Application(**self._ask("register_application", **arguments))

    def rotate_secret(self, application: Application) -> str:
        """Give an OAuth 2 client another secret, at once; return it."""
        return str(self._ask("rotate_secret", client_id=application.client_id))

    def register_consumer(self, name: str, *, callbacks: Sequence[str] = (), rsa: bool = False) -> Consumer:
        """Register an OAuth 1.0a client; a callback matches whatever its query, on loopback whatever its port."""
        return Consumer(**self._ask("register_consumer", name=name, callbacks=list(callbacks), rsa=rsa))

    def add_member(self, username: str) -> Member:
        """Add a member with a random password."""
        return Member(**self._ask("add_member", username=username))

    def issue_oauth1(self, username: str, *, key: str) -> tuple[str, str]:
        """Return a token and its secret, made without the dance."""
        made = self._ask("issue_oauth1", username=username, key=key)
        return made["token"], made["token_secret"]

    def issue_oauth2(self, username: str, *, client_id: str, scopes: Sequence[str] = MEMBER_SCOPES) -> tuple[str, str]:
        """Return an access and a refresh token, made without the dance."""
        made = self._ask("issue_oauth2", username=username, client_id=client_id, scopes=list(scopes))
        return made["access_token"], made["refresh_token"]

    def expire_access_tokens(self, username: str) -> int:
        """Let a member's OAuth 2 access tokens expire now; return how many."""
        return int(self._ask("expire_access_tokens", username=username))

    def end_access(self, username: str) -> None:
        """Revoke everything that any application holds for a member."""
        self._ask("end_access", username=username)

    def temporary_credentials(self, token: str) -> dict[str, str] | None:
        """Say for which ``consumer`` (its key) and ``callback`` a request token was issued; None if it is gone."""
        found: dict[str, str] | None = self._ask("temporary_credentials", token=token)
        return found

    def live_tokens(self, username: str) -> dict[str, int]:
        """Count a member's tokens that work now: ``access_tokens``, ``refresh_tokens``, ``token_credentials``."""
        return dict(self._ask("live_tokens", username=username))

    @contextmanager
    def wrong_clock(self, *, fast_by: int) -> Iterator[None]:
        """Let the service's clock be fast by so many seconds, or slow, while the context lasts."""
        self._ask("set_clock", fast_by=fast_by)
        try:
            yield
        finally:
            self._ask("set_clock", fast_by=0)

    def _ask(self, command: str, **arguments: Any) -> Any:
        with self._turn:
            self._child.stdin.write(json.dumps({"command": command, "arguments": arguments}) + "\n")  # type: ignore[union-attr]
            self._child.stdin.flush()  # type: ignore[union-attr]
            said = _listen(self._child)
        if "error" in said:
            raise ServiceError(f"The service could not {command}: {said['error']}")
        return said["answer"]


@contextmanager
def start_service(directory: Path, *, port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[Service]:
    """Run a fresh service whose files live in ``directory``; ``tls``: PEM files of a certificate and its key.

    The child ends when the context does, and also when this process dies: it reads its standard input to the end.
    """
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "example_project.service", "--port", str(port)]
    if tls:
        command += ["--certificate", str(tls[0]), "--key", str(tls[1])]
    child = subprocess.Popen(  # noqa: S603 - our own module
        command,
        cwd=ROOT,
        env={**os.environ, "EXAMPLE_VAR": str(directory), "PYTHONPATH": _python_path()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        ready = _listen(child)
        yield Service(ready["url"], tuple(Member(**member) for member in ready["members"]), child)
    finally:
        _stop(child)


def _listen(child: subprocess.Popen[str]) -> dict[str, Any]:
    line = child.stdout.readline()  # type: ignore[union-attr]
    if not line:
        raise ServiceError("The service has ended; what it printed above says why.")
    return dict(json.loads(line))


def _stop(child: subprocess.Popen[str]) -> None:
    child.stdin.close()  # type: ignore[union-attr]
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()  # type: ignore[union-attr]


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
