"""The link to a board through an FT2232H in synchronous FIFO mode: pyftdi sets it up, pyusb carries the bytes."""

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import usb.core
import usb.util
from pyftdi.ftdi import Ftdi, FtdiError

from daqd.configuration.config import FtdiSection
from daqd.errors import BoardError, BoardLost
from daqd.process.device_lock import DeviceLock
from daqd.transports.ftdi_devices import PERMISSION_ADVICE, FtdiDevice, UsbBackend, find_ftdi, libusb
from daqd.transports.link import BufferedLink
from protocol.text import reason_of

# pyftdi warns that a device may be gone while it is being closed because it is gone.
logging.getLogger("pyftdi.ftdi").setLevel(logging.ERROR)

_CHANNEL_A = 0
_READ_ENDPOINT = 0x81
_STATUS_BYTES = 2
"""Each packet from the device begins with two bytes of its own."""

_USB_ERRORS = (OSError, ValueError, NotImplementedError)
"""What pyftdi and pyusb raise when a device is gone or not as it should be; their own errors are `OSError` too."""


class FtdiLink(BufferedLink):
    """Channel A of the FT2232H that `settings` means, for this process alone.

    Two locks keep others away: a file of `lock_dir` named after the serial number, which knows who has it, and the
    claim of the USB interface, which holds against every user of the machine.

    Reading goes past pyftdi's buffer: what came before the cable was pulled out is kept, and a transfer is never longer
    than what is on its way, so that it does not wait for the latency timer where it need not.

    `backend` gives pyusb's view of the bus; `clock`: seconds, monotonic.
    """

    def __init__(
        self,
        settings: FtdiSection,
        lock_dir: Path,
        backend: Callable[[], UsbBackend] = libusb,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self.name = f"ftdi {settings.serial}…" if settings.serial else "ftdi"
        self._settings = settings
        self._lock_dir = lock_dir
        self._backend = backend
        self._ftdi: Ftdi | None = None
        self._device: FtdiDevice | None = None
        self._lock: DeviceLock | None = None
        self._buffers: dict[int, Any] = {}
        self._packet_bytes = 512
        self._most_packets = 1

    def open(self) -> None:
        """Find the device, lock it, put it into synchronous FIFO mode, forget what it holds.

        Raises `BoardLost` where it is absent, `BoardError` where it is in use, may not be opened, or several fit.
        """
        self.close()
        device = find_ftdi(self._settings, self._backend())
        self._device = device
        lock = DeviceLock(self._lock_dir, device.label)
        try:
            lock.acquire()
            self._lock = lock
            self._claim(device)
            with self._lost_on_error("cannot be set up"):
                self._set_up(device)
            self._begin_anew(0.0)
        except BaseException:
            self.close()
            raise
        self.name = f"ftdi {device.serial}"

    def _claim(self, device: FtdiDevice) -> None:
        """Take channel A from the kernel's serial driver and from everybody else."""
        try:
            with contextlib.suppress(NotImplementedError):
                if device.usb.is_kernel_driver_active(_CHANNEL_A):
                    device.usb.detach_kernel_driver(_CHANNEL_A)
            usb.util.claim_interface(device.usb, _CHANNEL_A)
        except usb.core.USBError as error:
            if error.errno == errno.EBUSY:
                raise BoardError(f"{device.label} is in use by another program: end that one first") from error
            if error.errno == errno.EACCES:
                raise BoardError(f"{device.label}: {PERMISSION_ADVICE}") from error
            raise BoardLost(f"{device.label} cannot be opened: {reason_of(error)}") from error

    def _set_up(self, device: FtdiDevice) -> None:
        settings = self._settings
        ftdi = self._ftdi = Ftdi()
        ftdi.open_from_device(device.usb, _CHANNEL_A + 1)
        ftdi.timeouts = (settings.timeout_ms, settings.timeout_ms)
        ftdi.set_bitmode(0xFF, Ftdi.BitMode.RESET)
        ftdi.set_bitmode(0xFF, Ftdi.BitMode.SYNCFF)
        ftdi.set_latency_timer(settings.latency_ms)
        ftdi.write_data_set_chunksize(settings.chunk_bytes)
        ftdi.purge_buffers()
        interface = device.usb.get_active_configuration()[(_CHANNEL_A, 0)]
        self._packet_bytes = usb.util.find_descriptor(interface, bEndpointAddress=_READ_ENDPOINT).wMaxPacketSize
        self._most_packets = settings.chunk_bytes // self._packet_bytes

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        ftdi = self._ftdi
        if ftdi is None:
            raise BoardLost(f"{self.name} is not open")
        with self._lost_on_error("is gone"):
            ftdi.write_data(data)

    def _receive(self, missing: int, under_way: int, wait_s: float) -> bool:
        """One USB transfer, which waits for the latency timer at most, or the time-out of a device that hangs."""
        device = self._device
        if self._ftdi is None or device is None:
            raise BoardLost(f"{self.name} is not open")
        payload_bytes = self._packet_bytes - _STATUS_BYTES
        packets = max(-(-missing // payload_bytes), (missing + under_way) // payload_bytes)
        before = len(self._received)
        with self._lost_on_error("is gone"):
            self._transfer(device.usb, min(packets, self._most_packets))
        return len(self._received) > before

    def _transfer(self, device: Any, packets: int) -> None:
        """Append what comes in at most `packets` packets to what was received."""
        buffer = self._buffers.get(packets)
        if buffer is None:
            buffer = self._buffers[packets] = usb.util.create_buffer(packets * self._packet_bytes)
        try:
            count: int = device.read(_READ_ENDPOINT, buffer, self._settings.timeout_ms)
        except usb.core.USBTimeoutError:
            return
        size = self._packet_bytes
        full = count // size
        if full:
            whole = np.frombuffer(buffer, np.uint8, full * size).reshape(full, size)
            self._received += whole[:, _STATUS_BYTES:].tobytes()
        if count % size > _STATUS_BYTES:
            self._received += memoryview(buffer)[full * size + _STATUS_BYTES : count]

    def close(self) -> None:
        """Give the device back: out of FIFO mode, unclaimed, unlocked."""
        if self._ftdi is not None:
            with contextlib.suppress(*_USB_ERRORS):
                self._ftdi.close()
            self._ftdi = None
        if self._device is not None:
            with contextlib.suppress(*_USB_ERRORS):
                self._device.close()
            self._device = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._received.clear()
        self._lost = None

    @contextlib.contextmanager
    def _lost_on_error(self, what: str) -> Iterator[None]:
        try:
            yield
        except _USB_ERRORS as error:
            raise BoardLost(f"{self.name} {what}: {_reason(error)}: check cable and power of the board") from error


def _reason(error: Exception) -> str:
    """What the operating system said; pyftdi keeps that in the context of its own error."""
    cause = error.__context__ if isinstance(error, FtdiError) else error
    return str(getattr(cause, "strerror", None) or error)
