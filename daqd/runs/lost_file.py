"""A file that was removed or moved while it is written: what was written goes on into nowhere, and no call fails.

As long as its descriptor is open, all of it can be recovered.
"""

import errno
import os
from pathlib import Path

from astropix_runtime.storage.durable import O_BINARY
from daqd.errors import DiskError
from protocol.text import reason_of

_CHUNK_BYTES = 1 << 20


def is_in_place(descriptor: int, path: Path) -> bool:
    """Whether `path` still is the file that is open; `OSError` where that cannot be seen."""
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    opened = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino)


def bring_back(descriptor: int, path: Path) -> str:
    """Give a file that is not in place its name again, and say what has become of it and what was done.

    One that was moved gets a second name; one that was removed is written once more, whole, and synced. Directories
    that are missing are made. `descriptor`, open for reading, too, stays as it is. `DiskError`, which says it as well,
    where it cannot be done: the file system is another one, the disk refuses, or something else has the name; then one
    that was removed is kept beside, as `<name>.kept`.
    """
    was_removed = not os.fstat(descriptor).st_nlink
    where = "" if was_removed else _place_of(descriptor)
    fate = f"{path.name} {'was removed' if was_removed else f'was moved to {where}' if where else 'was moved'}"
    try:
        if _existing(path.parent).stat().st_dev != os.fstat(descriptor).st_dev:
            raise OSError(errno.EXDEV, "another file system is in the place of its own")
        path.parent.mkdir(parents=True, exist_ok=True)
        if where:
            os.link(where, path)
            return f"{fate}; it has its old name again, too"
        if was_removed and path.exists():
            kept = path.with_name(f"{path.name}.kept")
            _copy(descriptor, kept)
            raise DiskError(f"{fate}; its name is taken, what had been written is in {kept.name}")
        _copy(descriptor, path)
        return f"{fate}; what had been written was written once more"
    except DiskError:
        raise
    except OSError as error:
        loss = "what was in it is lost" if was_removed else "it is left there"
        raise DiskError(f"{fate} and cannot be brought back ({reason_of(error)}): {loss}") from error


def _place_of(descriptor: int) -> str:
    """Where an open file is now, as far as the system tells; empty for not."""
    try:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        return str(place) if os.path.samestat(place.stat(), os.fstat(descriptor)) else ""
    except OSError:
        return ""


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _copy(descriptor: int, path: Path) -> None:
    copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_BINARY, 0o644)
    try:
        offset = 0
        while chunk := os.pread(descriptor, _CHUNK_BYTES, offset):
            offset += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(copy, view) :]
        os.fsync(copy)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(copy)
