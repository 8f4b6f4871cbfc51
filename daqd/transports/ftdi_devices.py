"""Which FTDI devices are connected: all of them, and the one that the configuration means."""

import ctypes.util
import errno
from dataclasses import dataclass
from typing import Any

import libusb_package
import usb.backend.libusb1
import usb.core
import usb.util

from daqd.configuration.config import FtdiSection
from daqd.errors import BoardError, BoardLost
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
