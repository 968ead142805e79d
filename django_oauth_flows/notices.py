"""Tell owners by e-mail when a connection needs them, and when it works again without them. One mail for each change.

A mail is sent after the change was committed, and within seconds or not at all: a mail server that hangs or fails costs
the caller no more than that, and never a token. Templates are in ``oauth_flows/mail/``.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.conf import global_settings
from django.conf import settings as django_settings
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.conf import settings
from django_oauth_flows.signals import connection_needs_reauthorization, connection_recovered

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

    from django_oauth_flows.models import Connection

logger = logging.getLogger("oauth_flows")

TIMEOUT = 5
"""Seconds for one step of the conversation with the mail server, if ``EMAIL_TIMEOUT`` allows more or says nothing."""

EXPLANATIONS = {
    "invalid_grant": _(
        "The service no longer accepts the permission you gave. That happens when it is withdrawn there, when a password "
        "is changed, or when it was not used for a long time."
    ),
    "outcome_unknown": _("An answer of the service was lost on its way, and the service does not repeat it."),
    "undecryptable": _("The stored permission can no longer be read here."),
    "identity_changed": _("The service answered for another account than the one that was connected."),
    "expired": _("Access has expired, and the service does not renew it without you."),
}
"""Why a connection needs its user, in their words, by reason."""


def connect_receivers() -> None:
    """Listen."""
    uid = "oauth_flows.notices"
    connection_needs_reauthorization.connect(tell_of_need, dispatch_uid=uid)
    connection_recovered.connect(tell_of_recovery, dispatch_uid=uid)


def tell_of_need(connection: Connection, reason: str, **_: Any) -> None:
    """Ask the owner to reconnect."""
    _tell(connection, "needs_reauthorization", explanation=EXPLANATIONS.get(reason, ""))


def tell_of_recovery(connection: Connection, **_: Any) -> None:
    """Tell the owner that there is nothing left to do."""
    _tell(connection, "recovered")


def is_configured() -> bool:
    """Tell whether mails may be sent: not while Django's own default would be the sender, which no site is."""
    return settings.owner_mails and django_settings.DEFAULT_FROM_EMAIL != global_settings.DEFAULT_FROM_EMAIL


def _tell(connection: Connection, notice: str, **facts: Any) -> None:
    if not is_configured():
        return
    user = _recipient(connection)
    about = {"connection": str(connection.pk), "notice": notice}
    if user is None:
        logger.warning("oauth_flows.nobody_to_tell", extra=about)
        return
    try:
        _send(user, connection, notice, facts)
    except Exception as error:  # noqa: BLE001 - of any mail backend, and of the site's templates
        logger.warning("oauth_flows.mail_not_sent", extra={**about, "error": type(error).__name__})


def _recipient(connection: Connection) -> AbstractBaseUser | None:
    """Return the user who owns the connection, or who consented for its owner: somebody who can act, and may.

    None for the site's own connections, and if they are inactive, have no address, or the owner policy does not let them
    manage the connection, such as somebody who has left the organisation.
    """
    from django.contrib.auth import get_user_model

    from django_oauth_flows.managers import allows, model_label

    users = get_user_model()
    pk = connection.owner_id if connection.owner_model == model_label(users) else connection.user_id
    user = users._default_manager.filter(pk=pk).first() if pk else None
    if user is None or not _address(user) or not allows(user, "manage", connection):
        return None
    return user


def _address(user: AbstractBaseUser) -> str:
    return str(getattr(user, user.get_email_field_name(), "") or "")


def _send(user: AbstractBaseUser, connection: Connection, notice: str, facts: dict[str, Any]) -> None:
    from django.core.mail import EmailMultiAlternatives
    from django.template import TemplateDoesNotExist
    from django.template.loader import render_to_string

    name = f"oauth_flows/mail/{notice}"
    with translation.override(_language(connection)):
        context = {
            "user": user,
            "connection": connection,
            "provider": connection.provider,
            "connections_url": _connections_url(user, connection),
            **facts,
        }
        subject = " ".join(render_to_string(f"{name}_subject.txt", context).split())
        message = EmailMultiAlternatives(
            subject,
            render_to_string(f"{name}.txt", context).strip() + "\n",
            to=[_address(user)],
            headers={"Auto-Submitted": "auto-generated"},  # RFC 3834 §5: no machine should answer
        )
        with suppress(TemplateDoesNotExist):  # a site's own
            message.attach_alternative(render_to_string(f"{name}.html", context), "text/html")
    _mailer().send_messages([message])


def _mailer() -> Any:
    """Return the site's mail backend, with a bound on how long a silent server may keep us."""
    from django.core import mail

    mailers = getattr(mail, "mailers", None)  # Django 6.1 and newer
    backend: Any = mail.get_connection() if mailers is None else mailers.default
    if hasattr(backend, "timeout") and (backend.timeout is None or backend.timeout > TIMEOUT):
        backend.timeout = TIMEOUT
    return backend


def _language(connection: Connection) -> str:
    """Return the language in which the account was connected, if the site still has it, else the site's."""
    try:
        return translation.get_supported_language_variant(connection.language or django_settings.LANGUAGE_CODE)
    except LookupError:
        return django_settings.LANGUAGE_CODE


def _connections_url(user: AbstractBaseUser, connection: Connection) -> str:
    """Return the address of the page on which ``user`` can reconnect; "" if the site does not say where it is."""
    from django.urls import NoReverseMatch

    from django_oauth_flows.views.owning import owner_for, page_of

    base = settings.base_url or connection.provider.redirect_base_url.rstrip("/")
    try:
        return base + page_of(owner_for(user, connection)) if base else ""
    except NoReverseMatch:
        return ""
