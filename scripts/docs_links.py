"""A hook of mkdocs: a link that leaves docs/ becomes the path it leads to, since the site holds no other files.

On a forge such links work as they are; `test/test_docs.py` checks that the files exist.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#\s]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace every link that leaves docs/ by its text and the path from the repository's root."""
    folder = PurePosixPath(page.file.src_uri).parent

    def plain(match: re.Match[str]) -> str:
        path = outside(folder, match[2])
        if path is None:
            return match[0]
        return f"`{path}`" if match[1].strip("`") in (path, PurePosixPath(path).name) else f"{match[1]} (`{path}`)"

    return LINK.sub(plain, markdown)


def outside(folder: PurePosixPath, target: str) -> str | None:
    """Return where `target` leads from the repository's root, or None if it stays in docs/."""
    parts = list(folder.parts)
    left = False
    for part in PurePosixPath(target).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        elif left:
            return None
        else:
            left = True
    return "/".join(parts) if left else None
