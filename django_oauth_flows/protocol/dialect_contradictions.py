"""What no two keys of the dialect may say at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_oauth_flows.protocol.placeholders import runtime_names

if TYPE_CHECKING:
    from django_oauth_flows.protocol.dialect import Dialect


def contradictions(dialect: Dialect) -> list[str]:
    """Return every such contradiction in words."""
    found = []
    kept = {f"kept.{name}" for name in (*dialect.kept_token_fields, *dialect.kept_callback_parameters)}
    texts = (*dialect.templates, dialect.subject_template)
    used = [name for text in texts for name in runtime_names(text) if name.startswith("kept.")]
    if unkept := [name for name in used if name not in kept]:
        found.append(f"{{{unkept[0]}}} is not listed in 'kept_token_fields' or 'kept_callback_parameters'")
    if dialect.api_token_header and dialect.api_token_parameter:
        found.append("'api_token_header' and 'api_token_parameter' cannot both take the token")
    if dialect.authorization_fragment and dialect.authorization_route:
        found.append("'authorization_fragment' and 'authorization_route' cannot both stand after the #")
    if dialect.userinfo_body and dialect.userinfo_method != "POST":
        found.append("'userinfo_body' needs 'userinfo_method': 'POST'")
    if dialect.token_success_codes and "error" not in dict(dialect.token_response_paths):
        found.append("'token_success_codes' needs the path of 'error' in 'token_response_paths'")
    if dialect.request_object_signing_alg and "request" in dict(dialect.authorization_parameters):
        found.append("'request_object_signing_alg' makes the parameter 'request', so it cannot be configured")
    return found
