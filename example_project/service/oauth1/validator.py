"""Answers oauthlib's questions about consumers, credentials and nonces from the database."""

from __future__ import annotations

import math
import secrets
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from oauthlib.oauth1 import RequestValidator
from oauthlib.oauth1.rfc5849.errors import InvalidRequestError

from example_project.service.clock import CLOCK
from example_project.service.models import Consumer, Member, TemporaryCredential, TokenCredential, UsedNonce

if TYPE_CHECKING:
    from oauthlib.common import Request

REALM = "notebook"
TIMESTAMP_TOLERANCE = 600  # seconds by which a request's clock may differ from the service's
DUMMY = "dummy" + "0" * 20


class Validator(RequestValidator):
    """One request's view of the database. ``member`` is who consents, on the authorization page."""

    def __init__(self, *, secure: bool, member: Member | None = None) -> None:
        super().__init__()
        self.secure = secure
        self.member = member

    # What a request may look like

    @property
    def allowed_signature_methods(self) -> tuple[str, ...]:
        """All seven, but PLAINTEXT only where TLS hides it (RFC 5849 §3.4.4)."""
        methods: tuple[str, ...] = settings.OAUTH1_SIGNATURE_METHODS
        return tuple(method for method in methods if self.secure or method != "PLAINTEXT")

    enforce_ssl = False  # the example runs on loopback
    safe_characters = frozenset(string.ascii_letters + string.digits + "-._~")
    nonce_length = (8, 64)
    timestamp_lifetime = math.inf  # oauthlib asks the computer for the time, not the service: judged below
    realms = (REALM,)
    dummy_client = dummy_request_token = dummy_access_token = DUMMY

    # Secrets; an unknown name gets a dummy, so that oauthlib spends the same time on it

    def get_client_secret(self, client_key: str, request: Request) -> str:
        """Return the consumer's secret."""
        return Consumer.objects.filter(key=client_key).values_list("secret", flat=True).first() or DUMMY

    def get_rsa_key(self, client_key: str, request: Request) -> str:
        """Return the consumer's public key."""
        key = Consumer.objects.filter(key=client_key).values_list("rsa_public_key", flat=True).first()
        return key or _dummy_public_key()

    def get_request_token_secret(self, client_key: str, token: str, request: Request) -> str:
        """Return the temporary credentials' secret."""
        return _secret_of(TemporaryCredential, client_key, token)

    def get_access_token_secret(self, client_key: str, token: str, request: Request) -> str:
        """Return the token credentials' secret."""
        return _secret_of(TokenCredential, client_key, token)

    # Step by step through the dance

    def validate_client_key(self, client_key: str, request: Request) -> bool:
        """Tell whether the consumer exists, and has a public key if it signed with a private one."""
        consumers = Consumer.objects.filter(key=client_key)
        if (request.signature_method or "").startswith("RSA-"):
            consumers = consumers.exclude(rsa_public_key="")
        return consumers.exists()

    def validate_timestamp_and_nonce(
        self,
        client_key: str,
        timestamp: str,
        nonce: str,
        request: Request,
        request_token: str | None = None,
        access_token: str | None = None,
    ) -> bool:
        """Use the nonce up; False if it was used before, or the request is too old or from the future."""
        now = CLOCK.now()
        if abs(now - int(timestamp)) > TIMESTAMP_TOLERANCE:
            return False
        UsedNonce.objects.filter(timestamp__lt=now - 2 * TIMESTAMP_TOLERANCE).delete()
        token = request_token or access_token or ""
        try:
            with transaction.atomic():
                UsedNonce.objects.create(
                    client_key=client_key[:100], token=token[:100], timestamp=int(timestamp), nonce=nonce
                )
        except IntegrityError:
            return False
        return True

    def validate_redirect_uri(self, client_key: str, redirect_uri: str, request: Request) -> bool:
        """Tell whether the consumer registered this callback."""
        consumer = Consumer.objects.filter(key=client_key).first()
        return consumer is not None and consumer.allows_callback(redirect_uri)

    def get_default_realms(self, client_key: str, request: Request) -> list[str]:
        """Return the realms of a request that names none."""
        return [REALM]

    def validate_requested_realms(self, client_key: str, realms: list[str], request: Request) -> bool:
        """Let every consumer into the one realm."""
        return set(realms) <= {REALM}

    def save_request_token(self, token: dict[str, str], request: Request) -> None:
        """Store new temporary credentials."""
        TemporaryCredential.objects.create(
            consumer=Consumer.objects.get(key=request.client_key),
            token=token["oauth_token"],
            secret=token["oauth_token_secret"],
            callback=request.redirect_uri,
        )

    def verify_request_token(self, token: str, request: Request) -> bool:
        """Tell whether a member can still decide on these temporary credentials."""
        pending = TemporaryCredential.objects.filter(token=token, member=None).first()
        return pending is not None and pending.is_live

    def get_realms(self, token: str, request: Request) -> list[str]:
        """Return the realms that the temporary credentials are for."""
        return [REALM]

    def verify_realms(self, token: str, realms: list[str], request: Request) -> bool:
        """Tell whether the member may grant these realms."""
        return set(realms) <= {REALM}

    def get_redirect_uri(self, token: str, request: Request) -> str:
        """Return where the consumer waits for the member."""
        return TemporaryCredential.objects.get(token=token).callback

    def save_verifier(self, token: str, verifier: dict[str, str], request: Request) -> None:
        """Note the member's consent."""
        pending = TemporaryCredential.objects.filter(token=token, member=None)
        if self.member is None or not pending.update(member=self.member, verifier=verifier["oauth_verifier"]):
            raise InvalidRequestError(description="The temporary credentials are not waiting for consent.")

    def validate_request_token(self, client_key: str, token: str, request: Request) -> bool:
        """Tell whether the temporary credentials are this consumer's and still live."""
        pending = TemporaryCredential.objects.filter(consumer__key=client_key, token=token).first()
        return pending is not None and pending.is_live

    def validate_verifier(self, client_key: str, token: str, verifier: str, request: Request) -> bool:
        """Tell whether a member consented, and this is the verifier that says so."""
        pending = TemporaryCredential.objects.filter(consumer__key=client_key, token=token, member__isnull=False)
        expected = pending.values_list("verifier", flat=True).first() or DUMMY
        return expected != DUMMY and secrets.compare_digest(expected, verifier)

    def save_access_token(self, token: dict[str, str], request: Request) -> None:
        """Turn temporary into token credentials; of two exchanges at once, one wins."""
        with transaction.atomic():
            pending = TemporaryCredential.objects.filter(token=request.resource_owner_key).first()
            if pending is None or not TemporaryCredential.objects.filter(pk=pending.pk).delete()[0]:
                raise InvalidRequestError(description="The temporary credentials were used already.")
            TokenCredential.objects.create(
                consumer=pending.consumer,
                member=pending.member,
                token=token["oauth_token"],
                secret=token["oauth_token_secret"],
            )

    def invalidate_request_token(self, client_key: str, request_token: str, request: Request) -> None:
        """Leave it: the temporary credentials went when the token credentials came."""

    # Calls of the API

    def validate_access_token(self, client_key: str, token: str, request: Request) -> bool:
        """Tell whether the token is this consumer's and was not revoked."""
        return TokenCredential.objects.filter(consumer__key=client_key, token=token).exists()

    def validate_realms(
        self, client_key: str, token: str, request: Request, uri: str | None = None, realms: Any = None
    ) -> bool:
        """Let every token into the one realm."""
        return True


def _secret_of(model: type[TemporaryCredential | TokenCredential], client_key: str, token: str) -> str:
    rows = model.objects.filter(consumer__key=client_key, token=token)
    return rows.values_list("secret", flat=True).first() or DUMMY


@lru_cache(maxsize=1)
def _dummy_public_key() -> str:
    from example_project.service.keys import new_key_pair

    return new_key_pair().public_pem
