"""What a new service starts with: two members, with notes and a photo each."""

from __future__ import annotations

from django.core.files.base import ContentFile

from example_project.drawing import sunrise
from example_project.service.models import Member, Note, Photo

MEMBERS = (
    ("lovelace", "notes-on-engines", "Ada", "Lovelace", "The engine weaves algebraic patterns."),
    ("hopper", "nanoseconds-of-wire", "Grace", "Hopper", "Keep a clock that runs counter-clockwise."),
)


def seed() -> list[dict[str, str]]:
    """Create the members; return for each ``username``, ``password``, ``account_id`` and ``name``."""
    return [_member(*row) for row in MEMBERS]


def _member(username: str, password: str, first: str, last: str, words: str) -> dict[str, str]:
    member = Member.objects.create_user(username, password=password, first_name=first, last_name=last)
    Note.objects.create(member=member, text=words)
    photo = Photo(member=member, name="Sunrise", content_type="image/png")
    photo.file.save("sunrise.bin", ContentFile(sunrise()))
    return {
        "username": username,
        "password": password,
        "account_id": member.account_id,
        "name": member.get_full_name(),
    }
