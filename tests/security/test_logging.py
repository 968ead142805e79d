"""No secret and no forged line in any log, mail or error tracker, whatever the site's logging is set to."""

from __future__ import annotations

import http.client
import inspect
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oauthlib
import pytest
import requests
import requests_oauthlib
import urllib3
from django.core import mail
from django.db import connection as database
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path
from django.utils.log import AdminEmailHandler

from django_oauth_flows import flows, logs
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.protocol.messages import AuthorizationResponse, PendingAuthorization
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer, Delay, Drop, Half
from django_oauth_flows.testing.factories import answer, consent, make_connection, make_provider, walk
from tests.plugins.canaries import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db

LIBRARIES = ("oauthlib", "requests_oauthlib", "urllib3", "http.client", "django.db.backends")


class Tracker(logging.Handler):
    """What an error tracker collects: the formatted line, the record, and the locals of every frame of a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep everything as text."""
        self.lines.append(f"{record.name} {record.getMessage()} {vars(record)!r}")
        error = record.exc_info[1] if record.exc_info else None
        while error is not None:
            frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
            self.lines += [
                f"{f.filename}:{f.lineno} {f.frame.f_locals!r}" for f in frames if "/tests/" not in f.filename
            ]
            self.lines.append(f"{error!r} {error.args!r}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    """Collect everything the root logger sees, with every library at DEBUG."""
    handler, levels = Tracker(), {name: logging.getLogger(name).level for name in LIBRARIES}
    logging.getLogger().addHandler(handler)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield handler
    logging.getLogger().removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def leaks(tracker: Tracker) -> list[str]:
    return [hit for line in tracker.lines for hit in find(line[:80], line)]


# The libraries


@pytest.mark.security("L01")
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_a_whole_journey_prints_no_secret_with_every_logger_at_debug(
    *, protocol: str, fake: FakeProvider, browser: Client, user: User, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = make_provider(fake, protocol=protocol)
    with monkeypatch.context() as talkative:
        talkative.setattr(http.client.HTTPConnection, "debuglevel", 1)  # prints to stdout, which is searched as well
        started = browser.post(f"/oauth/connect/{provider.slug}/")
    callback_url = consent(started["Location"])  # the user's browser, which is none of ours
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    assert answer(browser, callback_url).status_code == 303
    connection = user.oauth_connections.get()
    with flows.session(connection) as http_session:
        assert http_session.get("/echo?page=2").status_code == 200
        assert http_session.post("/echo", data={"a": "b"}).status_code == 200
    if protocol == "oauth2":
        flows.refresh(connection)
    flows.revoke(connection)
    assert leaks(tracker) == []
    assert any(line.startswith("urllib3") for line in tracker.lines), "the loggers did speak"


@pytest.mark.security("L01")
@pytest.mark.parametrize("placement", ["header", "query", "body"])
def test_plaintext_signatures_are_printed_nowhere(
    *, placement: str, fake: FakeProvider, user: User, tracker: Tracker
) -> None:
    """A PLAINTEXT signature is both secrets; in the query it is part of the URL."""
    provider = make_provider(fake, protocol="oauth1", signature_placement=placement)
    connection = make_connection(provider, user, fake)
    with flows.session(connection) as http_session:
        http_session.post("/echo", data={"a": "b"})
    signature = re.escape("oauth_signature") + "(=|%3D|': ')[^&, ]{6}"
    assert [line for line in tracker.lines if re.search(signature, line)] == []
    assert leaks(tracker) == []


@pytest.mark.security("L01")
def test_what_the_libraries_themselves_print_is_redacted(tracker: Tracker) -> None:
    """Used directly, as a site's older code may: requests-oauthlib and oauthlib print everything at DEBUG."""
    secrets = ["consumer-SECRET-1", "token-SECRET-2", "body-SECRET-3"]
    for method in ("PLAINTEXT", "HMAC-SHA1"):
        auth = requests_oauthlib.OAuth1("key", secrets[0], "token", secrets[1], signature_method=method)
        requests.Request("POST", "https://as.example/x?q=1", data={"b": secrets[2]}, auth=auth).prepare()
    session = requests_oauthlib.OAuth2Session("id", token={"access_token": secrets[0], "token_type": "Bearer"})
    with pytest.raises(requests.RequestException):
        session.get("https://127.0.0.1:1/x", data={"b": secrets[2]}, timeout=1)
    spoken = [line for line in tracker.lines if line.startswith(("oauthlib", "requests_oauthlib"))]
    assert len(spoken) > 8
    assert [line for line in spoken for secret in secrets if secret in line] == []
    assert any("Signing request (redacted) using client (redacted)" in line for line in spoken)
    assert any("Collected params: (redacted)" in line for line in spoken)


@pytest.mark.security("L01")
def test_urls_lose_their_query_in_the_pools_log(tracker: Tracker, fake: FakeProvider) -> None:
    requests.get(f"{fake.url}/echo?oauth_signature=SECRET%26SECRET", timeout=5)
    (line,) = [x for x in tracker.lines if x.startswith("urllib3.connectionpool") and "/echo" in x]
    assert '"GET /echo?(redacted) HTTP/1.1"' in line
    assert "SECRET" not in line
    requests.get(f"{fake.url}/tokens/{'SECRET' * 6}/info?a=1", timeout=5)
    (line,) = [x for x in tracker.lines if x.startswith("urllib3.connectionpool") and "/info" in x]
    assert '"GET /tokens/(redacted)/info?(redacted) HTTP/1.1"' in line


@pytest.mark.security("L01")
@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("token %s of %d", ("SECRET", 3), "token (redacted) of 3"),
        ("hook %(a)s", ({"a": "SECRET"},), "hook (redacted)"),
        ("Signature: SECRET", (), "Signature: (redacted)"),
        ("Resetting verifier attribute, should not be used anymore.", (), None),
        ("x" * 40, (), "(redacted)"),
        ({"access_token": "SECRET"}, (), "(redacted)"),
        ("valid %s", (True,), "valid True"),
    ],
)
def test_a_record_keeps_its_words_and_loses_its_values(message: Any, args: Any, expected: str | None) -> None:
    record = logging.LogRecord("oauthlib", logging.DEBUG, "", 1, message, args, None)
    assert logs.RedactValues().filter(record)
    assert record.getMessage() == (message if expected is None else expected)


@pytest.mark.security("L01", "C05")
def test_every_client_side_logger_of_the_libraries_is_covered() -> None:
    """A new release that logs from another module must not go unnoticed."""
    server_side = re.compile(r"endpoints|grant_types|request_validator|openid|rfc8628|rfc6749.__init__|contrib|http2")
    covered = {*logs.SIGNING, *logs.CARRYING}
    for library in (oauthlib, requests_oauthlib, urllib3):
        root = Path(str(library.__file__)).parent
        for source in root.rglob("*.py"):
            name = ".".join([root.name, *source.relative_to(root).with_suffix("").parts])
            speaks = re.search(r"\blog(?:ger)?\.(?:debug|info|warning|error)\(", source.read_text(encoding="utf-8"))
            module = name.removesuffix(".__init__")
            if speaks and not server_side.search(name) and module != "urllib3":
                assert module in covered, module
    for name in covered:
        assert any(isinstance(f, (logs.RedactValues, logs.RedactQueries)) for f in logging.getLogger(name).filters)


@pytest.mark.security("C05")
def test_talkative_libraries_are_at_info_unless_the_site_says_otherwise() -> None:
    for name in logs.QUIET:
        logger = logging.getLogger(name)
        before = logger.level
        try:
            logger.setLevel(logging.NOTSET)
            logs.protect()
            assert logger.level == logging.INFO
            logger.setLevel(logging.DEBUG)
            logs.protect()
            assert logger.level == logging.DEBUG
        finally:
            logger.setLevel(before)
    filters = logging.getLogger("oauthlib").filters
    assert len(filters) == len(set(map(id, filters))), "protecting twice adds nothing"


# Error mails and trackers


def call(request: Any) -> HttpResponse:
    """Call an API as a site's view would, without catching anything."""
    connection = Connection.objects.get()
    with flows.session(connection) as http_session:
        http_session.post("/echo", data={"a": "b"}, timeout=0.3)
    return HttpResponse()


def refresh(request: Any) -> HttpResponse:
    """Refresh, without catching anything."""
    flows.refresh(Connection.objects.get())
    return HttpResponse()


def boom(request: Any) -> HttpResponse:
    """Fail with a session, a connection and a token row at hand."""
    connection = Connection.objects.select_related("token", "provider").get()
    token, provider = connection.token, connection.provider
    with flows.session(connection) as http_session:
        http_session.get("/echo")
        secret, registration = token.open("access_token"), provider.registration()
        raise RuntimeError(str([secret, registration, token, provider, http_session]))


urlpatterns = [
    path("call/", call),
    path("refresh/", refresh),
    path("boom/", boom),
    path("oauth/", include("django_oauth_flows.urls")),
]


@pytest.fixture
def error_mails(settings: SettingsWrapper, tracker: Tracker) -> Iterator[None]:
    """Send the most talkative error mail Django can, for every error."""
    settings.ADMINS = [("Staff", "staff@site.example")]
    settings.ROOT_URLCONF = __name__
    handler = AdminEmailHandler(include_html=True)
    logging.getLogger("django.request").addHandler(handler)
    yield
    logging.getLogger("django.request").removeHandler(handler)


FAULTS = {
    "the connection is dropped": lambda: Drop(acted=False),
    "the answer is late": lambda: Delay(1.0),
    "the answer is nonsense": lambda: Answer(200, "<html>", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.security("L01", "L03")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_a_failing_api_call_in_the_sites_own_view_mails_no_secret(
    *, fault: str, protocol: str, fake: FakeProvider, user: User, tracker: Tracker, error_mails: None
) -> None:
    make_connection(make_provider(fake, protocol=protocol), user, fake)
    fake.script("api", FAULTS[fault]())
    assert Client(raise_request_exception=False).get("/call/").status_code == 500
    assert leaks(tracker) == []
    assert mail.outbox
    html = str(mail.outbox[0].alternatives[0][0])
    assert "http_session" in html, "the mail shows the frames' variables"
    assert find("mail", html + str(mail.outbox[0].body)) == []


@pytest.mark.security("L01", "L03")
@pytest.mark.parametrize(
    "fault",
    [
        Drop(acted=True),
        Answer(500, "no"),
        Answer(400, {"error": "invalid_grant", "error_description": "x"}),
        Answer(200, {"access_token": "canary_access_" + "0" * 32, "token_type": "mac"}),
        Answer(200, '{"access_token": "canary_access_' + "0" * 32),
        Answer(200, {"access_token": "canary_access_" + "0" * 32 + "\r\n", "token_type": "Bearer"}),
    ],
    ids=str,
)
def test_a_failing_refresh_in_the_sites_own_view_mails_no_secret(
    *, fault: Any, connection: Connection, fake: FakeProvider, tracker: Tracker, error_mails: None
) -> None:
    fake.script("token", fault)
    assert Client(raise_request_exception=False).get("/refresh/").status_code == 500
    assert leaks(tracker) == []
    assert mail.outbox
    assert find("mail", str(mail.outbox[0].alternatives[0][0])) == []


def said_by(error: BaseException | None) -> str:
    """Return what an error and everything behind it say, also what a traceback would leave out."""
    said = ""
    while error is not None:
        said += f"{error} {error!r} {error.args!r} {vars(error)!r}\n"
        error = error.__cause__ or error.__context__
    return said


@pytest.mark.security("L03")
@pytest.mark.parametrize("verb", ["refresh", "connect", "revoke"])
@pytest.mark.parametrize(
    "fault",
    [
        Drop(acted=False),
        Half(),
        Answer(302, headers={"Location": "/?token=canary_access_" + "0" * 32}),
        Answer(200, "canary_access_" + "0" * 32),
        Answer(400, {"error": "invalid_grant", "refresh_token": "canary_refresh_" + "0" * 32}),
    ],
    ids=str,
)
def test_no_error_and_none_behind_it_says_what_was_sent_or_answered(
    *, fault: Any, verb: str, connection: Connection, fake: FakeProvider
) -> None:
    flow = OAuth2Flow(connection.provider.registration())
    code = Secret("canary_code_" + "0" * 32)
    pending = PendingAuthorization(flow.registration, "https://site.example/", (), code_verifier=code)
    act: Any = {
        "refresh": lambda: flows.refresh(connection),
        "connect": lambda: flow.exchange(AuthorizationResponse(pending, code)),
        "revoke": lambda: flow.revoke(Secret("canary_refresh_" + "1" * 32), hint="refresh_token"),
    }[verb]
    fake.script("revoke" if verb == "revoke" else "token", fault, fault)
    if verb == "revoke" and (fault == Half() or getattr(fault, "status", 0) == 200):
        act()  # a server that has revoked may say anything
        return
    with pytest.raises(OAuthFlowsError) as caught:
        act()
    assert find("error", said_by(caught.value)) == []


@pytest.mark.security("L03")
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
@pytest.mark.parametrize("fault", [*FAULTS, "nobody listens"])
def test_no_error_of_an_api_call_says_its_query_or_token(
    *, fault: str, protocol: str, fake: FakeProvider, user: User
) -> None:
    provider = make_provider(fake, protocol=protocol, signature_placement="query")
    connection = make_connection(provider, user, fake)
    if fault == "nobody listens":
        Provider.objects.update(api_base_url="http://127.0.0.1:9998/")
    else:
        fake.script("api", FAULTS[fault]())
    with flows.session(connection) as http_session, pytest.raises(requests.RequestException) as caught:
        http_session.get("/echo?q=asked", timeout=0.3)
    said = said_by(caught.value)
    assert find("error", said) == []
    assert "oauth_signature" not in said
    assert "asked" not in said


@pytest.mark.security("L01", "S07")
@pytest.mark.parametrize("debug", [False, True])
def test_an_error_page_with_our_objects_at_hand_shows_no_secret(
    *, debug: bool, connection: Connection, tracker: Tracker, error_mails: None, settings: SettingsWrapper
) -> None:
    settings.DEBUG = debug
    page = Client(raise_request_exception=False).get("/boom/")
    assert page.status_code == 500
    assert leaks(tracker) == []
    assert find("page", page.content) == []
    if debug:
        assert b"http_session" in page.content
        assert b"ENCRYPTION_KEYS" not in page.content, "the settings table hides OAUTH_FLOWS"
    else:
        assert find("mail", str(mail.outbox[0].alternatives[0][0])) == []


# Forging


FORGERIES = {
    "a new line": "%0aWARNING forged",
    "a carriage return": "%0d%0aforged: 1",
    "an escape sequence": "%1b[31mforged%1b[0m",
    "a line separator": "%e2%80%a8forged",
    "a megabyte": "forged" * 175_000,
}


@pytest.mark.security("L04")
@pytest.mark.parametrize("value", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("name", ["state", "code", "iss", "error", "error_description", "oauth_token", "forged%0aname"])
def test_a_callback_writes_none_of_its_parameters_into_a_log(
    *, name: str, value: str, browser: Client, provider: Provider, tracker: Tracker
) -> None:
    """In a callback of nobody's, and in one whose state is bound."""
    state = re.search(r"state=([^&]+)", browser.post("/oauth/connect/fake/")["Location"])
    assert state is not None
    for query in (f"{name}={value}", f"state={state[1]}&error=access_denied&{name}={value}"):
        browser.get("/oauth/callback/fake/?" + query)
    for line in tracker.lines:
        if not line.startswith("django.db.backends"):
            assert "forged" not in line
            assert len(line) < 5000
    assert any(line.startswith("oauth_flows") for line in tracker.lines), "the refusal is logged"


@pytest.mark.security("L04")
@pytest.mark.parametrize("text", ["x\nforged", "\x1b[31mforged", "forged" * 20_000, "\u2028forged"])
def test_a_providers_words_write_no_line_of_a_log(
    *, text: str, browser: Client, provider: Provider, fake: FakeProvider, tracker: Tracker
) -> None:
    fake.script("token", Answer(400, {"error": text, "error_description": text, "error_uri": text}))
    assert walk(browser, provider).status_code == 400
    printed = [line for line in tracker.lines if not line.startswith("django.db.backends")]
    assert [line for line in printed if "forged" in line or len(line) > 5000] == []


@pytest.mark.security("L04")
def test_the_api_logs_codes_and_ids_only(browser: Client, provider: Provider, tracker: Tracker) -> None:
    for body in ({"scopes": ["x\nforged"]}, {"forged\n": 1}, {"next": "/forged\n"}):
        browser.post("/api/oauth/v1/providers/fake/start/", json.dumps(body), content_type="application/json")
    ours = [line for line in tracker.lines if line.startswith("oauth_flows")]
    assert len(ours) >= 2
    assert [line for line in ours if "forged" in line] == []


# What is stored of what a provider says


PROFILE = {
    "email": "ada@profile.example",
    "phone_number": "+44 555 0100",
    "birthdate": "1815-12-10",
    "address": {"x": "y"},
}


def everything_stored() -> str:
    """Return the text of all rows of all our tables."""
    rows = ""
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            if table.startswith("oauth_flows_") or table == "django_session":
                cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
                rows += repr(cursor.fetchall())
    return rows


@pytest.mark.security("L05")
def test_of_a_token_response_only_what_is_needed_is_kept(
    browser: Client, user: User, provider: Provider, fake: FakeProvider
) -> None:
    access, _ = fake.oauth2.issue()
    extras = {"id_token": "e30.e30.c2ln", "user": PROFILE, "team_name": "Analytical Engines"}
    fake.script("token", Answer(200, {"access_token": access, "token_type": "Bearer", **extras}))
    walk(browser, provider)
    assert user.oauth_connections.get().token.extra == {}
    stored = everything_stored()
    assert [word for word in ("e30.e30", "ada@profile", "Analytical") if word in stored] == []


@pytest.mark.security("L05")
def test_staff_may_list_members_of_the_token_response_to_keep(
    browser: Client, user: User, provider: Provider, fake: FakeProvider
) -> None:
    provider.dialect = {"kept_token_fields": ["team_name"]}
    provider.save()
    access, _ = fake.oauth2.issue()
    body = {"access_token": access, "token_type": "Bearer", "team_name": "Engines", "user": PROFILE}
    fake.script("token", Answer(200, body))
    walk(browser, provider)
    assert Token.objects.get().extra == {"team_name": "Engines"}
    assert "ada@profile" not in everything_stored()


@pytest.mark.security("L05")
def test_of_a_profile_only_subject_and_label_are_kept(
    browser: Client, user: User, provider: Provider, fake: FakeProvider
) -> None:
    fake.script("userinfo", Answer(200, {"sub": "account-7", "name": "Ada", **PROFILE}))
    walk(browser, provider)
    connection = user.oauth_connections.get()
    assert (connection.subject, connection.label) == ("account-7", "Ada")
    stored = everything_stored()
    assert [word for word in ("ada@profile", "555 0100", "1815-12-10") if word in stored] == []
