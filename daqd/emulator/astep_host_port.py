"""The host's side of the emulated A-STEP firmware: requests byte by byte, and when the firmware listens."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from daqd.emulator.stream_device import BITS_PER_BYTE

CORE_BYTE_S: Final = 50e-9
"""How long the firmware takes to fetch one byte of an answer: four periods of its 80 MHz clock."""

FAST_BYTE_S: Final = 25e-9
"""Time of a byte on the FT2232H's FIFO, at its limit of 40 MB/s."""

TRANSMIT_FIFO_BYTES: Final = 64
"""Bytes of an answer that wait in the UART; the firmware has finished with them."""

MAX_ADDRESS: Final = 0xFF

_WRITE, _READ, _INCREMENT = 1, 2, 4
_HEAD_BYTES = 4
_WHOLE_LENGTH = 0x1_0000


class RegisterBus(ABC):
    """What the requests reach: registers and FIFOs by address, 0…255."""

    @abstractmethod
    def write(self, address: int, data: bytes) -> None:
        """Bytes to one address, one after the other; nothing happens where nothing can be written."""

    @abstractmethod
    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from one address, or none where it cannot be read."""


class HostPort:
    """Takes bytes from the host and gives the answers of `bus`, as the firmware's protocol module does.

    - A byte with bit 0 (write) or bit 1 (read) set begins a request; every other byte is skipped. Write wins; bit 2
      increments the address after each byte. Other bits mean nothing. Address, length (low byte first) and data follow.
    - A length of 0 is 65 536. Addresses have 8 bits and wrap.
    - Each data byte is written as it arrives, not when the request is complete.
    - Addresses that cannot be read give no byte. If the last address of a read cannot be read, the firmware hangs:
      it swallows everything and answers nothing until `reset`.
    - Bytes that arrive while a read is being answered are swallowed. That takes until the last byte of the answer has
      entered the transmit FIFO: of a UART at `baud` bits/s, 64 bytes before the last one is on the wire; on the
      FT2232H (`baud` 0) until it has been fetched.

    Bytes given to `exchange` at once arrive one after the other at the pace of the link, from then on. `answered_bytes`
    counts all answers, up to the byte that the bus is asked for.

    Deviations: the host always takes what the FT2232H offers, so that answers are never held up.

    `clock`: seconds, monotonic.
    """

    def __init__(self, bus: RegisterBus, clock: Callable[[], float], baud: int = 0) -> None:
        self._bus = bus
        self._clock = clock
        self._byte_s = BITS_PER_BYTE / baud if baud else FAST_BYTE_S
        self._credit_bytes = TRANSMIT_FIFO_BYTES if baud else 0
        self.swallowed_bytes = 0
        self.skipped_bytes = 0
        self.answered_bytes = 0
        self.reset()

    def reset(self) -> None:
        """The state after the firmware was loaded."""
        self.hung = False
        self.busy_until = 0.0
        self._sent_at = 0.0
        self._head = bytearray()
        self._address = 0
        self._increment = False
        self._data_left = 0

    @property
    def pending(self) -> bool:
        """Whether a request has begun and is not complete."""
        return bool(self._head or self._data_left)

    def exchange(self, data: bytes) -> bytes:
        """Act on `data`, in any pieces; returns the answers to the reads that it completed."""
        start = self._clock()
        answers = []
        position = 0
        while position < len(data):
            arrival = start + (position + 1) * self._byte_s
            if self.hung or arrival < self.busy_until:
                position += self._swallow(len(data) - position, arrival)
            elif self._data_left:
                position += self._take_data(data[position : position + self._data_left])
            elif self._head:
                self._head.append(data[position])
                position += 1
                if len(self._head) == _HEAD_BYTES:
                    answers.append(self._begin(start + position * self._byte_s))
            else:
                position += self._find_header(data, position)
        return b"".join(answers)

    def _swallow(self, left: int, arrival: float) -> int:
        count = left if self.hung else min(left, max(1, math.ceil((self.busy_until - arrival) / self._byte_s)))
        self.swallowed_bytes += count
        return count

    def _find_header(self, data: bytes, position: int) -> int:
        """Skip what begins no request; how many bytes were taken."""
        zeros = len(data) - position - len(data[position:].lstrip(b"\0"))
        if zeros:
            return zeros
        if data[position] & (_WRITE | _READ):
            self._head.append(data[position])
        else:
            self.skipped_bytes += 1
        return 1

    def _begin(self, now: float) -> bytes:
        """Act on a complete head; the answer to a read."""
        header, self._address, low, high = self._head
        self._head.clear()
        length = low | high << 8 or _WHOLE_LENGTH
        self._increment = bool(header & _INCREMENT)
        if header & _WRITE:
            self._data_left = length
            return b""
        answer, last = self._read(length)
        self.hung = not last
        self._sent_at = max(self._sent_at, now) + len(answer) * self._byte_s
        self.busy_until = max(now + (length + 1) * CORE_BYTE_S, self._sent_at - self._credit_bytes * self._byte_s)
        return answer

    def _read(self, length: int) -> tuple[bytes, bool]:
        """The answer, and whether its last address could be read."""
        if not self._increment:
            answer = self._bus.read(self._address, length)
            self.answered_bytes += len(answer)
            return answer, bool(answer)
        last = b""
        parts = []
        for offset in range(length):
            last = self._bus.read(self._address + offset & MAX_ADDRESS, 1)
            self.answered_bytes += len(last)
            parts.append(last)
        return b"".join(parts), bool(last)

    def _take_data(self, data: bytes) -> int:
        self._data_left -= len(data)
        if not self._increment:
            self._bus.write(self._address, data)
            return len(data)
        for value in data:
            self._bus.write(self._address, bytes((value,)))
            self._address = self._address + 1 & MAX_ADDRESS
        return len(data)
