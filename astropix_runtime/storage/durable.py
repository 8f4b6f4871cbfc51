"""Changes on disk that last: whole or not at all, also through a power cut."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

DRAFT_SUFFIX = ".new"
"""What is written under such a name is not there yet; after a crash it means nothing."""

_CHUNK_BYTES = 1 << 20

O_BINARY: int = getattr(os, "O_BINARY", 0)
"""For `os.open`: bytes as they are, also on Windows."""


def sync_directory(directory: Path) -> None:
    """Make names in a directory last through a power cut, where the system can."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:  # Windows does not open directories
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_text(path: Path, text: str) -> None:
    """Put a file in the place of another, so that a reader sees the old or the new one, also after a power cut."""
    draft = path.with_name(path.name + DRAFT_SUFFIX)
    with draft.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def replace_copy(source: BinaryIO, ranges: Iterable[tuple[int, int]], path: Path, sha256: str | None = None) -> None:
    """Make `path` of ranges of `source` (start, stop), one after the other; it is there in full or not at all.

    `OSError` where `source` is not as it was when somebody looked: it ends before, or gives bytes of another `sha256`.
    """
    digest = hashlib.sha256()
    draft = path.with_name(path.name + DRAFT_SUFFIX)
    with draft.open("wb") as file:
        for start, stop in ranges:
            source.seek(start)
            left = stop - start
            while left:
                piece = source.read(min(left, _CHUNK_BYTES))
                if not piece:
                    raise OSError(f"{path.name}: the file that is copied has become shorter; try again")
                file.write(piece)
                digest.update(piece)
                left -= len(piece)
        if sha256 not in (None, digest.hexdigest()):
            raise OSError(f"{path.name}: the file that is copied does not read the same twice; check the disk")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def truncate(path: Path, size_bytes: int) -> None:
    """Cut a file at `size_bytes`."""
    with path.open("rb+") as file:
        os.ftruncate(file.fileno(), size_bytes)
        os.fsync(file.fileno())


def rename(path: Path, target: Path) -> None:
    """Give a file another name in its directory; `FileExistsError` where there is one of that name."""
    if target.exists():
        raise FileExistsError(f"{target} exists; {path.name} keeps its name")
    path.rename(target)
    sync_directory(target.parent)


def remove(paths: Iterable[Path]) -> None:
    """Remove files of one directory, as far as they are there."""
    parents = set()
    for path in paths:
        path.unlink(missing_ok=True)
        parents.add(path.parent)
    for parent in parents:
        sync_directory(parent)
