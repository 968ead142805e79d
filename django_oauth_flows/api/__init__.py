"""The REST API: what a site's own JavaScript or mobile client needs. No endpoint returns a token.

An island: nothing else imports it, and only it imports Django REST framework.
"""
