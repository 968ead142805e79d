"""The example: a small service that speaks both OAuth protocols, and a site that connects to it."""
