"""The service's OAuth 1.0a server (RFC 5849), on oauthlib's provider side."""
