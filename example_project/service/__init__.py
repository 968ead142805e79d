"""The service: members keep notes and photos here, and let other applications at them by OAuth 1.0a or OAuth 2."""
