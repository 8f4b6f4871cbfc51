"""Which firmware answers on a link, asked so that neither mistakes the question for anything but a read."""

from daqd.errors import LinkTimeout
from daqd.transports.link import Link
from protocol.registers.astep import RegisterRead, read_register
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import NEWEST_MAP
from protocol.registers.astep_registers import Register as AstepRegister
from protocol.registers.gecco import IDENTITY_BYTES, IDENTITY_VALUE, ReadRequest, Register

ANSWER_S = 0.3


def is_gecco(link: Link) -> bool:
    """Whether the bench firmware answers. To an A-STEP firmware, the question is four bytes that begin no request."""
    link.write(ReadRequest(Register.IDENTITY, IDENTITY_BYTES).encode())
    try:
        return link.read(IDENTITY_BYTES, ANSWER_S) == bytes((IDENTITY_VALUE,)) * IDENTITY_BYTES
    except LinkTimeout:
        return False


def astep_firmware(link: Link) -> Firmware | None:
    """The A-STEP firmware that answers, None where none does; nothing is written to it.

    To the bench firmware the questions are reads of 1024 bytes: ask as GECCO first, and resynchronise where it might be
    one all the same.
    """
    number = _value(link, read_register(AstepRegister.FIRMWARE_ID))
    if number is None or not Firmware(number, 0).is_known:
        return None
    version = _value(link, read_register(AstepRegister.FIRMWARE_VERSION))
    return None if version is None else Firmware(number, version)


def _value(link: Link, request: RegisterRead) -> int | None:
    link.write(request.encode(NEWEST_MAP))
    try:
        return int.from_bytes(link.read(request.length, ANSWER_S), "little")
    except LinkTimeout:
        return None
