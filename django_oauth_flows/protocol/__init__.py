"""OAuth 1.0a and OAuth 2 as pure protocol: no Django, no ORM, no settings, the clock is an argument."""
