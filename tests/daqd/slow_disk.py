"""Disks that take nothing until the test says so."""

import os
import threading
from collections.abc import Callable

import pytest

from tests.daqd.waiting import DEADLINE_S


class SlowDisk:
    """Holds up the writes of the writer thread after `free_writes` of them, until `take` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free_writes: int = 0) -> None:
        self._write: Callable[[int, bytes], int] = os.write
        self._free = free_writes
        self._open = threading.Event()
        self.waiting = threading.Event()
        monkeypatch.setattr("os.write", self._held_up)

    def _held_up(self, descriptor: int, data: bytes) -> int:
        if threading.current_thread().name == "writer":
            self._free -= 1
            if self._free < 0:
                self.waiting.set()
                assert self._open.wait(DEADLINE_S)
        return self._write(descriptor, data)

    def take(self) -> None:
        """Take everything from now on."""
        self._open.set()


class SlowSync:
    """Holds up whoever waits for the disk with `fsync`, until `take` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sync: Callable[[int], None] = os.fsync
        self._open = threading.Event()
        self.waiting = threading.Event()
        monkeypatch.setattr("os.fsync", self._held_up)

    def _held_up(self, descriptor: int) -> None:
        self.waiting.set()
        assert self._open.wait(DEADLINE_S)
        self._sync(descriptor)

    def take(self) -> None:
        """Take everything from now on."""
        self._open.set()
