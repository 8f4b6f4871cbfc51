"""Which firmware answers on a link. Each firmware takes the questions for the other one for nothing but reads."""

from contextlib import suppress

from daqd.boards.dialogue import Dialogue, read_until_silence
from daqd.boards.gecco_polling import resynchronise
from daqd.errors import BoardAnswerError, LinkTimeout
from daqd.transports.link import Link
from protocol.registers.astep import byte_of, read_byte
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import NEWEST_MAP, SIZES
from protocol.registers.astep_registers import Register as AstepRegister
from protocol.registers.gecco import IDENTITY_BYTES, IDENTITY_VALUE, ReadRequest, Register


def firmware_on(link: Link) -> str:
    """Which firmware answers on the open `link`, in words; empty where none does. Raises `BoardError` where it fails.

    The bench firmware is asked first, and nothing is written to any register. Where nothing answers, a request may have
    been begun by an earlier program: zeros complete it, and both are asked once more.
    """
    if firmware := _ask(link):
        return firmware
    with suppress(BoardAnswerError):
        resynchronise(Dialogue(link, link.name, lambda _: None, Register))
    return _ask(link)


def _ask(link: Link) -> str:
    if is_gecco(link):
        return "GECCO bench firmware"
    firmware = astep_firmware(link)
    if firmware is None:
        return ""
    return str(firmware) if firmware.register_map else f"{firmware}: its registers are not known"


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

    The questions are `read_byte`, which no lost or doubled byte turns into one that hangs the firmware; a board that
    goes on sending was asked something else. To the bench firmware they are reads of 4 bytes: ask as GECCO first.
    """
    number = _value(link, AstepRegister.FIRMWARE_ID)
    if number is None or not Firmware(number, 0).is_known:
        return None
    version = _value(link, AstepRegister.FIRMWARE_VERSION)
    return None if version is None or read_until_silence(link) else Firmware(number, version)


def _value(link: Link, register: AstepRegister) -> int | None:
    value = 0
    for offset in reversed(range(SIZES[register])):
        request = read_byte(register, offset)
        link.write(request.encode(NEWEST_MAP))
        try:
            value = value << 8 | byte_of(link.read(request.length, ANSWER_S))
        except LinkTimeout:
            return None
    return value
