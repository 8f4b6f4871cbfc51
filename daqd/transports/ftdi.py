"""The link to a board through an FT2232H in synchronous FIFO mode: pyftdi sets it up, pyusb carries the bytes."""

import contextlib
import ctypes.util
import errno
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libusb_package
import numpy as np
import usb.backend.libusb1
import usb.core
import usb.util
from pyftdi.ftdi import Ftdi, FtdiError

from daqd.configuration.config import FtdiSection
from daqd.errors import BoardError, BoardLost
from daqd.process.device_lock import DeviceLock
from daqd.transports.link import BufferedLink
from protocol.text import reason_of

VENDOR, PRODUCT = 0x0403, 0x6010
"""FT2232H."""

PERMISSION_ADVICE = (
    "this user may not open it: `sudo cp config/99-astropix.rules /etc/udev/rules.d/`, "
    "`sudo udevadm control --reload`, `sudo usermod -aG plugdev $USER`, log in again, and plug the board in again"
)

UsbBackend = Any
"""What pyusb talks to: libusb, or an emulated bus."""


@dataclass(frozen=True)
class FtdiDevice:
    """A device on the bus. `problem` says why it cannot be used; `serial` and `description` may be empty then.

    `usb`: pyusb's object for it, to be given to pyftdi or to `close`.
    """

    bus: int
    address: int
    serial: str
    description: str
    problem: str
    usb: Any

    @property
    def label(self) -> str:
        """What a person would call it."""
        return f"FTDI device {self.serial or f'at bus {self.bus}, address {self.address}'}"

    def close(self) -> None:
        """Let go of it."""
        usb.util.dispose_resources(self.usb)


def libusb() -> UsbBackend:
    """libusb of the system, or else the one that the package `libusb-package` brings; `BoardError` without both."""
    backend = usb.backend.libusb1.get_backend(
        find_library=lambda name: ctypes.util.find_library(name) or libusb_package.find_library(name)
    )
    if backend is None:
        raise BoardError("no libusb: install it (Debian: libusb-1.0-0), or `pip install libusb-package`")
    return backend


def list_ftdi(backend: UsbBackend) -> list[FtdiDevice]:
    """All FT2232H devices that are connected now, each to be closed by the caller."""
    try:
        found = list(usb.core.find(find_all=True, backend=backend, idVendor=VENDOR, idProduct=PRODUCT))
    except usb.core.USBError as error:
        raise BoardError(f"USB: {reason_of(error)}") from error
    return sorted((_describe(device) for device in found), key=lambda device: (device.bus, device.address))


def find_ftdi(settings: FtdiSection, backend: UsbBackend) -> FtdiDevice:
    """The one device that `settings` means, to be closed by the caller.

    Raises `BoardLost` where there is none, `BoardError` where there are several or it may not be opened.
    """
    devices = list_ftdi(backend)
    fitting = [
        device
        for device in devices
        if device.problem
        or (device.serial.startswith(settings.serial) and device.description.startswith(settings.description))
    ]
    usable = [device for device in fitting if not device.problem]
    chosen = usable[0] if len(usable) == 1 else None
    for device in devices:
        if device is not chosen:
            device.close()
    if chosen is not None:
        return chosen
    if usable:
        raise BoardError(
            f"{len(usable)} FTDI devices fit ({', '.join(device.serial for device in usable)}): "
            "give more of the serial number in ftdi.serial"
        )
    if fitting:
        raise BoardError(f"{fitting[0].label}: {fitting[0].problem}")
    others = ", ".join(f"{device.serial} ({device.description})" for device in devices) or "none at all"
    raise BoardLost(
        f"no FTDI device{_wanted(settings)} (connected: {others}): is the board plugged in and switched on?"
    )


def _wanted(settings: FtdiSection) -> str:
    wanted = {"serial number": settings.serial, "description": settings.description}
    return "".join(f', {name} "{begin}…"' for name, begin in wanted.items() if begin)


def _describe(device: Any) -> FtdiDevice:
    serial = description = problem = ""
    try:
        device.get_active_configuration()
        serial = usb.util.get_string(device, device.iSerialNumber) or ""
        description = usb.util.get_string(device, device.iProduct) or ""
    except usb.core.USBError as error:
        problem = PERMISSION_ADVICE if error.errno == errno.EACCES else f"USB: {reason_of(error)}"
    except (ValueError, NotImplementedError) as error:
        problem = f"it does not say who it is: {error}"
    return FtdiDevice(device.bus or 0, device.address or 0, serial, description, problem, device)


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
