"""Where programs of one user find each other's sockets."""

import getpass
import os
import tempfile
from pathlib import Path

from astropix_runtime.sockets.endpoints import MAX_IPC_PATH_BYTES

_FOLDER = "astropix-daq"

_BELOW_BYTES = 48
"""Of `MAX_IPC_PATH_BYTES`, what our own directories and names need below a directory for temporary files."""


def directory_for_sockets() -> Path:
    """The directory for temporary files; where its path is too long for sockets below it, `/tmp`, if there is one."""
    usual, short = Path(tempfile.gettempdir()), Path("/tmp")  # noqa: S108 - what is made there is its user's alone
    fits = len(os.fsencode(usual)) + _BELOW_BYTES <= MAX_IPC_PATH_BYTES
    return usual if fits or not short.is_dir() else short


def default_runtime_dir() -> Path:
    """The runtime directory of this user, which need not exist yet.

    `$RUNTIME_DIRECTORY` (set by the service manager), else `astropix-daq` in `$XDG_RUNTIME_DIR`, else
    `astropix-daq-<user>` in `directory_for_sockets()`.
    """
    if given := os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(given)
    if user_runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(user_runtime) / _FOLDER
    user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    return directory_for_sockets() / f"{_FOLDER}-{user}"
