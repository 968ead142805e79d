"""What people and scripts do with the site, one module a journey, in the order in which they are walked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from example_project.demo.journeys import by_code, by_post, client_credentials, fewer_scopes, imported, oauth1, oauth2

if TYPE_CHECKING:
    from collections.abc import Callable

    from example_project.demo.report import Report
    from example_project.demo.stage import Stage

JOURNEYS: dict[str, Callable[[Stage, Report], None]] = {
    "OAuth 1.0a: Ada connects her account, the site uses it, she disconnects": oauth1.walk,
    "OAuth 2: Ada connects her account, the site uses and refreshes it, she disconnects": oauth2.walk,
    "Fewer permissions: Ada allows a part, and the rest when a page needs it": fewer_scopes.walk,
    "A code: Ada connects her account with her phone": by_code.walk,
    "An answer by post: Ada connects her account, and no address has the code": by_post.walk,
    "Client credentials: the site asks as itself": client_credentials.walk,
    "Tokens that Grace already has, over OAuth 1.0a": imported.walk_oauth1,
    "Tokens that Grace already has, over OAuth 2": imported.walk_oauth2,
}
