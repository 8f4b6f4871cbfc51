"""A USB bus with emulated devices on it, as pyusb sees one: a backend beside libusb."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

from daqd.emulator.ft2232h import PACKET_BYTES, EmulatedFt2232h, no_device

_VENDOR, _PRODUCT, _RELEASE = 0x0403, 0x6010, 0x0700
_INTERFACES = 2
_DEVICE_TO_HOST = 0x80
_STANDARD, _VENDOR_REQUEST = 0x00, 0x40
_GET_DESCRIPTOR, _STRING_DESCRIPTOR = 0x06, 0x03
_ENGLISH = 0x0409

_ENDPOINTS = ((0x81, 0x02), (0x83, 0x04))


@dataclass(frozen=True, eq=False)
class _Place:
    """A device in one of its connections: the next one has another address."""

    device: EmulatedFt2232h
    plug: int
    address: int


@dataclass(eq=False)
class _Handle:
    """An open device."""

    place: _Place
    claimed: set[int] = field(default_factory=set)


class EmulatedUsbBus(usb.backend.IBackend):  # type: ignore[misc]  # pyusb has no types
    """pyusb's backend for emulated FT2232H devices; plug-ins count up the address, as on a real bus.

    Names and arguments are those that pyusb expects of a backend. Every call for a device that is gone raises
    `USBError` (no such device); an interface that another handle has claimed is busy.
    """

    def __init__(self) -> None:
        super().__init__()
        self._places: list[_Place] = []
        self._next_address = 1
        self._handles: list[_Handle] = []

    def plug_in(self, device: EmulatedFt2232h) -> None:
        """Put a device on the bus; it stays there, through unplugging and replugging its cable."""
        self._places.append(self._place(device))

    def enumerate_devices(self) -> Iterator[_Place]:
        """Devices that are plugged in."""
        for index, place in enumerate(self._places):
            device = place.device
            if not device.cable.plugged:
                continue
            if place.plug != device.cable.plug:
                device.reset()
                place = self._places[index] = self._place(device)
            yield place

    def _place(self, device: EmulatedFt2232h) -> _Place:
        self._next_address += 1
        return _Place(device, device.cable.plug, self._next_address)

    def get_device_descriptor(self, place: _Place) -> SimpleNamespace:
        """What the device says of itself."""
        return SimpleNamespace(
            bLength=18, bDescriptorType=1, bcdUSB=0x0200, bDeviceClass=0, bDeviceSubClass=0, bDeviceProtocol=0,
            bMaxPacketSize0=64, idVendor=_VENDOR, idProduct=_PRODUCT, bcdDevice=_RELEASE, iManufacturer=1, iProduct=2,
            iSerialNumber=3, bNumConfigurations=1, address=place.address, bus=1, port_number=1, port_numbers=(1,),
            speed=3,
        )  # fmt: skip

    def get_configuration_descriptor(self, _: _Place, config: int) -> SimpleNamespace:
        """Its only configuration."""
        _check_indices((config, 1))
        return SimpleNamespace(
            bLength=9, bDescriptorType=2, wTotalLength=55, bNumInterfaces=_INTERFACES, bConfigurationValue=1,
            iConfiguration=0, bmAttributes=0x80, bMaxPower=250, extra_descriptors=b"",
        )  # fmt: skip

    def get_interface_descriptor(self, _: _Place, interface: int, alternate: int, config: int) -> SimpleNamespace:
        """Channel A or B."""
        _check_indices((config, 1), (alternate, 1), (interface, _INTERFACES))
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=interface, bAlternateSetting=0, bNumEndpoints=2,
            bInterfaceClass=0xFF, bInterfaceSubClass=0xFF, bInterfaceProtocol=0xFF, iInterface=2, extra_descriptors=b"",
        )  # fmt: skip

    def get_endpoint_descriptor(
        self, _: _Place, endpoint: int, interface: int, alternate: int, config: int
    ) -> SimpleNamespace:
        """The way in, or the way out."""
        _check_indices((config, 1), (alternate, 1), (interface, _INTERFACES), (endpoint, 2))
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=_ENDPOINTS[interface][endpoint], bmAttributes=2,
            wMaxPacketSize=PACKET_BYTES, bInterval=0, bRefresh=0, bSynchAddress=0, extra_descriptors=b"",
        )  # fmt: skip

    def open_device(self, place: _Place) -> _Handle:
        """A handle."""
        handle = _Handle(place)
        self._check(handle)
        self._handles.append(handle)
        return handle

    def close_device(self, handle: _Handle) -> None:
        """Give it back."""
        if handle in self._handles:
            self._handles.remove(handle)

    def get_configuration(self, handle: _Handle) -> int:
        """Always the first."""
        self._check(handle)
        return 1

    def set_configuration(self, handle: _Handle, _: int) -> None:
        """There is one; a claimed interface keeps it from being set."""
        self._check(handle)
        if any(other.claimed for other in self._handles if other.place is handle.place):
            raise _busy()

    def claim_interface(self, handle: _Handle, interface: int) -> None:
        """For this handle alone."""
        self._check(handle)
        for other in self._handles:
            if other is not handle and other.place is handle.place and interface in other.claimed:
                raise _busy()
        handle.claimed.add(interface)

    def release_interface(self, handle: _Handle, interface: int) -> None:
        """For everybody again."""
        self._check(handle)
        handle.claimed.discard(interface)

    def is_kernel_driver_active(self, handle: _Handle, _: int) -> bool:
        """No kernel here."""
        self._check(handle)
        return False

    def ctrl_transfer(
        self, handle: _Handle, request_type: int, request: int, value: int, index: int, buffer: Any, _: int
    ) -> int:
        """Strings, and what is sent to FTDI devices."""
        self._check(handle)
        device = handle.place.device
        kind, answered = request_type & 0x60, bool(request_type & _DEVICE_TO_HOST)
        if kind == _STANDARD and answered and request == _GET_DESCRIPTOR and value >> 8 == _STRING_DESCRIPTOR:
            return _fill(buffer, _string_descriptor(device, value & 0xFF))
        if kind != _VENDOR_REQUEST:
            raise usb.core.USBError("Pipe error", -9, errno.EPIPE)
        if answered:
            return _fill(buffer, device.control_in(request))
        if index <= 1:  # channel B does nothing
            device.control_out(request, value)
        return len(buffer)

    def bulk_write(self, handle: _Handle, endpoint: int, interface: int, data: Any, _: int) -> int:
        """From the host."""
        self._check(handle)
        self._check_claim(handle, interface)
        if endpoint == _ENDPOINTS[0][1]:
            handle.place.device.bulk_out(bytes(data))
        return len(data)

    def bulk_read(self, handle: _Handle, endpoint: int, interface: int, buffer: Any, timeout_ms: int) -> int:
        """To the host."""
        self._check(handle)
        self._check_claim(handle, interface)
        if endpoint != _ENDPOINTS[0][0]:
            raise usb.core.USBTimeoutError("Operation timed out", -7, errno.ETIMEDOUT)
        return handle.place.device.bulk_in(buffer, timeout_ms)

    def _check(self, handle: _Handle) -> None:
        cable = handle.place.device.cable
        if not cable.plugged or cable.plug != handle.place.plug:
            raise no_device()

    def _check_claim(self, handle: _Handle, interface: int) -> None:
        if interface not in handle.claimed:
            raise usb.core.USBError("Entity not found", -5, errno.ENOENT)


def _check_indices(*indices: tuple[int, int]) -> None:
    """Each index must be below its count: pyusb asks for one after the other until `IndexError`."""
    for index, count in indices:
        if index >= count:
            raise IndexError(index)


def _busy() -> Exception:
    error: Exception = usb.core.USBError("Resource busy", -6, errno.EBUSY)
    return error


def _fill(buffer: Any, answer: bytes) -> int:
    count = min(len(buffer), len(answer))
    memoryview(buffer)[:count] = answer[:count]
    return count


def _string_descriptor(device: EmulatedFt2232h, index: int) -> bytes:
    if index == 0:
        content = _ENGLISH.to_bytes(2, "little")
    elif index <= len(device.strings):
        content = device.strings[index - 1].encode("utf-16-le")
    else:
        raise usb.core.USBError("Pipe error", -9, errno.EPIPE)
    return bytes((2 + len(content), _STRING_DESCRIPTOR)) + content
