"""One daemon for each device: the lock on it."""

import re
from pathlib import Path

from astropix_runtime.storage.process_lock import ProcessLock
from daqd.errors import BoardError


class DeviceLock(ProcessLock):
    """The lock on a device: a file of `folder` that is named after it. Fails with `BoardError`."""

    def __init__(self, folder: Path, device: str) -> None:
        name = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', device).strip('-').lower()}.lock"
        super().__init__(folder / name, device, BoardError, "set daq.runtime_dir to a directory of this user")
