"""The FT2232H between USB and an emulated board: control requests, bit modes, latency timer, packets with status."""

import errno
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import usb.core

from daqd.emulator.board_model import BoardModel, Cable

PACKET_BYTES = 512
STATUS = bytes((0x32, 0x60))
"""Modem and line status, at the beginning of each packet to the host: nothing wrong, transmitter empty."""

PAYLOAD_BYTES = PACKET_BYTES - len(STATUS)
_SYNCHRONOUS_FIFO = 0x40
_DEFAULT_LATENCY_MS = 16


class VendorRequest(IntEnum):
    """Control requests of FTDI devices that are obeyed here."""

    RESET = 0x00
    MODEM_CONTROL = 0x01
    FLOW_CONTROL = 0x02
    BAUD_RATE = 0x03
    DATA = 0x04
    MODEM_STATUS = 0x05
    EVENT_CHARACTER = 0x06
    ERROR_CHARACTER = 0x07
    SET_LATENCY = 0x09
    GET_LATENCY = 0x0A
    SET_BIT_MODE = 0x0B
    READ_PINS = 0x0C


class EmulatedFt2232h:
    """Channel A in synchronous FIFO mode carries bytes to `board` and its answers back; other modes carry nothing.

    A packet that is not full leaves only when the latency timer has run out since the packet before, as on the device;
    a full one leaves at once. `bcdDevice` and strings are those of a Nexys Video. `cable` pulls the whole device off
    the bus. `clock` (seconds, monotonic) and `sleep` (seconds) are there for tests to bring their own.
    """

    def __init__(
        self,
        board: BoardModel,
        serial: str = "210276000000",
        description: str = "Digilent USB Device",
        cable: Cable | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.board = board
        self.strings = ("Digilent", description, serial)
        self.cable = cable or Cable(board)
        self._clock = clock
        self._sleep = sleep or self.cable.wait
        self.reset()

    def reset(self) -> None:
        """As after being plugged in."""
        self.latency_ms = _DEFAULT_LATENCY_MS
        self.bit_mode = 0
        self._to_host = bytearray()
        self._packet_sent_at = self._clock()

    @property
    def waiting_bytes(self) -> int:
        """Answers of the board that the host has not fetched."""
        return len(self._to_host)

    def control_out(self, request: int, value: int) -> None:
        """A vendor request with nothing to answer."""
        match request:
            case VendorRequest.RESET:
                if value in (0, 1):
                    self.board.fetched(len(self._to_host))
                    self._to_host.clear()
            case VendorRequest.SET_LATENCY:
                self.latency_ms = value & 0xFF
            case VendorRequest.SET_BIT_MODE:
                self.bit_mode = value >> 8
            case (
                VendorRequest.MODEM_CONTROL
                | VendorRequest.FLOW_CONTROL
                | VendorRequest.BAUD_RATE
                | VendorRequest.DATA
                | VendorRequest.EVENT_CHARACTER
                | VendorRequest.ERROR_CHARACTER
            ):
                pass
            case _:
                raise _stall()

    def control_in(self, request: int) -> bytes:
        """A vendor request with its answer."""
        match request:
            case VendorRequest.GET_LATENCY:
                return bytes((self.latency_ms,))
            case VendorRequest.MODEM_STATUS:
                return STATUS
            case VendorRequest.READ_PINS:
                return b"\x00"
            case _:
                raise _stall()

    def bulk_out(self, data: bytes) -> None:
        """Bytes from the host."""
        if self.bit_mode == _SYNCHRONOUS_FIFO:
            self._to_host += self.board.exchange(data)

    def bulk_in(self, buffer: Any, timeout_ms: int) -> int:
        """Fill `buffer` (an array of bytes) with packets; returns how many bytes are in it.

        It ends with the first packet that is not full, or when the buffer is full. `USBTimeoutError` where nothing is
        sent within `timeout_ms`.
        """
        room = len(buffer) // PACKET_BYTES
        full = min(room, len(self._to_host) // PAYLOAD_BYTES)
        if full:
            payload = bytes(memoryview(self._to_host)[: full * PAYLOAD_BYTES])
            packets = np.frombuffer(buffer, np.uint8, full * PACKET_BYTES).reshape(full, PACKET_BYTES)
            packets[:, : len(STATUS)] = tuple(STATUS)
            packets[:, len(STATUS) :] = np.frombuffer(payload, np.uint8).reshape(full, PAYLOAD_BYTES)
            del self._to_host[: len(payload)]
            self.board.fetched(len(payload))
            self._packet_sent_at = self._clock()
        count = full * PACKET_BYTES
        if full == room:
            return count
        if not self._wait_for_timer(timeout_ms / 1000):
            if not count:
                raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
            return count
        rest = STATUS + bytes(self._to_host)
        self.board.fetched(len(self._to_host))
        self._to_host.clear()
        memoryview(buffer)[count : count + len(rest)] = rest
        self._packet_sent_at = self._clock()
        return count + len(rest)

    def _wait_for_timer(self, timeout_s: float) -> bool:
        """Whether the latency timer runs out in time; waits until then. Raises `USBError` where the cable is pulled."""
        plug = self.cable.plug
        left = self._packet_sent_at + self.latency_ms / 1000 - self._clock()
        if left > 0:
            self._sleep(min(left, timeout_s))
        if not self.cable.plugged or plug != self.cable.plug:
            raise no_device()
        return left <= timeout_s


def no_device() -> Exception:
    """What every transfer to a device that is gone ends in."""
    error: Exception = usb.core.USBError("No such device (it may have been disconnected)", -4, errno.ENODEV)
    return error


def _stall() -> Exception:
    error: Exception = usb.core.USBError("Pipe error", -9, errno.EPIPE)
    return error
