"""Draw photos to have some."""

from __future__ import annotations

import struct
import zlib


def sunrise(width: int = 64, height: int = 40) -> bytes:
    """Return a PNG (colour type 2): a sky from blue to orange."""
    rows = bytearray()
    for y in range(height):
        shade = y / (height - 1)
        rows += b"\0" + bytes([int(60 + 190 * shade), int(90 + 60 * shade), int(190 - 130 * shade)]) * width
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(rows))) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
