"""Output files that are either complete or not there, and that never replace another by accident."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from apx.subcommand import MisuseError, ToolError
from astropix_runtime.storage.durable import O_BINARY, sync_directory


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A file that appears as `path` when the block is left without an error, and not at all otherwise.

    It is written beside `path` under a temporary name, synced to the disk, then renamed. `force`: an existing regular
    file is replaced; without it `ToolError`, even if the file came up only in the meantime.
    """
    if not path.parent.is_dir():
        raise ToolError(f"{path.parent} is no directory: make it first, or choose another --output")
    _refuse_existing(path, force)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | O_BINARY, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, path, force)
    finally:
        # after publishing by rename it is not there any more
        with suppress(FileNotFoundError):
            temporary.unlink()
    sync_directory(path.parent)


def _refuse_existing(path: Path, force: bool) -> None:
    if not path.exists():
        return
    if not path.is_file():
        raise ToolError(f"{path} exists and is no regular file: choose another --output")
    if not force:
        raise ToolError(f"{path} exists: give --force to replace it, or another --output")


def _publish(temporary: Path, path: Path, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    try:
        # unlike a rename, a hard link fails where the name is taken
        path.hardlink_to(temporary)
    except FileExistsError:
        raise ToolError(f"{path} came up while it was being written: give --force to replace it") from None
    except (OSError, NotImplementedError):  # a file system without hard links
        _refuse_existing(path, force)
        temporary.rename(path)


def output_paths(inputs: list[Path], output: Path | None, suffix: str) -> list[Path]:
    """Where the result of each input goes: beside it, into the directory `output`, or (one input) to `output`.

    The name is the input's with `suffix` in place of `.apx`, `.log`, `.xz` and `.part`. `MisuseError` where two inputs
    would give the same file, where several go to what is no directory, or where an input is its own output.
    """
    if output is None:
        paths = [path.with_name(_stem(path) + suffix) for path in inputs]
    elif output.is_dir():
        paths = [output / (_stem(path) + suffix) for path in inputs]
    elif len(inputs) == 1:
        paths = [output]
    else:
        raise MisuseError(f"{output} is no directory: several files need a directory as --output")
    for index, path in enumerate(paths):
        if path in paths[:index]:
            raise MisuseError(f"two of the files would be written to {path}: convert them one by one with --output")
        for source in inputs:
            if path == source or (path.exists() and source.exists() and path.samefile(source)):
                raise MisuseError(f"{path} is an input: choose another --output")
    return paths


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".xz", ".part", ".apx", ".log"):
        if len(name) > len(suffix):
            name = name.removesuffix(suffix)
    return name
