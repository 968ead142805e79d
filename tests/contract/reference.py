"""Read what ``docs/reference.md`` documents and what the package's source says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "django_oauth_flows"


def section(title: str, *, page: str = "reference.md") -> str:
    """Return the text under a second-level heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page} has no section {title!r}"
    return found[1]


def documented(title: str, *, page: str = "reference.md") -> set[str]:
    """Return what the first cells of a section's tables name: the words in backticks, without call parentheses."""
    text = section(title, page=page)
    headings = set(re.findall(r"^\| ([^|]+?) \|[^\n]*\n\|-", text, re.MULTILINE))
    cells = [cell for cell in re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE) if cell not in headings]
    words = [word for cell in cells for word in re.findall(r"`([^`]+)`", cell) or [cell]]
    return {re.sub(r"[(].*", "", word) for word in words}


def sources() -> Iterator[tuple[Path, ast.Module]]:
    """Yield every module of the package, parsed."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def strings() -> Iterator[str]:
    """Yield every string literal of the package."""
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def error_codes() -> set[str]:
    """Return every error code in the source: ``code="…"`` in a call, and ``default_code`` of an exception."""
    codes = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "code":
                codes |= {
                    c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant) and isinstance(c.value, str)
                }
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "default_code" for t in node.targets
            ):
                assert isinstance(node.value, ast.Constant)
                codes.add(str(node.value.value))
    return codes - {""}
