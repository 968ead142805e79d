"""The site: what a project that uses django-oauth-flows looks like. It shows a user's notes and photos from elsewhere."""
