"""The protected API: who am I, my notes, my photos, and totals for applications without a member."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from django.core.files import File
from django.http import FileResponse, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404

from example_project.service.models import MAX_NOTE_LENGTH, Note, Photo
from example_project.service.protection import Caller, protected

if TYPE_CHECKING:
    from django.http import HttpRequest

IMAGE_TYPES = frozenset({"image/gif", "image/jpeg", "image/png", "image/webp"})
MAX_PHOTO_BYTES = 500 * 1024 * 1024


@protected(GET="profile")
def me(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Say whose token this is; ``id`` never changes, ``name`` may."""
    member = caller.member
    return JsonResponse({"id": member.account_id, "name": member.get_full_name() or member.username})


@protected(GET="notes:read", POST="notes:write")
def notes(request: HttpRequest, caller: Caller) -> HttpResponse:
    """List the member's notes, or add one: JSON ``{"text": …}`` or a form with a field ``text``."""
    if request.method == "GET":
        return JsonResponse({"notes": [_note(note) for note in caller.member.notes.all()]})
    text = _text(request)
    if not text or len(text) > MAX_NOTE_LENGTH:
        return JsonResponse({"error": f"A note needs a text of at most {MAX_NOTE_LENGTH} characters."}, status=400)
    return JsonResponse(_note(Note.objects.create(member=caller.member, text=text)), status=201)


@protected(GET="notes:read", DELETE="notes:write")
def note(request: HttpRequest, caller: Caller, *, pk: int) -> HttpResponse:
    """Show or delete one note."""
    found = get_object_or_404(Note, pk=pk, member=caller.member)
    if request.method == "GET":
        return JsonResponse(_note(found))
    found.delete()
    return HttpResponse(status=204)


@protected(GET="photos:read", POST="photos:write")
def photos(request: HttpRequest, caller: Caller) -> HttpResponse:
    """List the member's photos, or add one: the image as the body, its name as ``?name=``."""
    if request.method == "GET":
        return JsonResponse({"photos": [_photo(photo) for photo in caller.member.photos.all()]})
    if request.content_type not in IMAGE_TYPES:
        return JsonResponse({"error": "Send an image: GIF, JPEG, PNG or WebP."}, status=415)
    if int(request.headers.get("Content-Length") or 0) > MAX_PHOTO_BYTES:
        return JsonResponse({"error": "The image is too large."}, status=413)
    added = Photo(
        member=caller.member, name=request.GET.get("name", "")[:100] or "photo", content_type=request.content_type
    )
    added.file.save(f"{secrets.token_hex(8)}.bin", File(request), save=False)  # streamed, never whole in memory
    added.save()
    return JsonResponse(_photo(added), status=201)


@protected(GET="photos:read", DELETE="photos:write")
def photo(request: HttpRequest, caller: Caller, *, pk: int) -> HttpResponse:
    """Send or delete one photo."""
    found = get_object_or_404(Photo, pk=pk, member=caller.member)
    if request.method == "GET":
        return FileResponse(
            found.file.open(),
            content_type=found.content_type,
            headers={"X-Content-Type-Options": "nosniff", "Content-Disposition": "inline"},
        )
    found.file.delete(save=False)
    found.delete()
    return HttpResponse(status=204)


@protected(GET="statistics")
def statistics(request: HttpRequest, caller: Caller) -> HttpResponse:
    """Count what the service holds; no member is needed for it."""
    return JsonResponse({"notes": Note.objects.count(), "photos": Photo.objects.count()})


def _text(request: HttpRequest) -> str:
    if request.content_type == "application/json":
        try:
            sent = json.loads(request.body)
        except ValueError:
            return ""
        text = sent.get("text") if isinstance(sent, dict) else None
        return text.strip() if isinstance(text, str) else ""
    return request.POST.get("text", "").strip()


def _note(found: Note) -> dict[str, Any]:
    return {"id": found.pk, "text": found.text, "created_at": found.created_at.isoformat()}


def _photo(found: Photo) -> dict[str, Any]:
    return {"id": found.pk, "name": found.name, "content_type": found.content_type, "bytes": found.file.size}
