"""Which firmware answers on a link, asked so that neither firmware mistakes the question for something else."""

from daqd.errors import LinkTimeout
from daqd.transports.link import Link
from protocol.registers.astep import RegisterRead, read_register
from protocol.registers.astep_firmware import Firmware
from protocol.registers.astep_register_map import NEWEST_MAP
from protocol.registers.astep_registers import Register as AstepRegister
from protocol.registers.gecco import SCRATCH_VALUE, ReadRequest, Register, WriteRequest, encode_requests

ANSWER_S = 0.3
_SCRATCH_VALUES = (SCRATCH_VALUE, 0xAA)
"""Two of them: a line that only echoes, or is stuck, gives itself away."""

_FILLER = b"\x00"
"""To the A-STEP firmware, nothing. To the bench firmware, which took the bytes before for the beginning of a read, the
end of that read, of length 0."""


def firmware_on(link: Link) -> str:
    """Which firmware answers on the open `link`, in words; empty where none does.

    The A-STEP firmware is asked first, and nothing is written to it: the question for the bench firmware begins with a
    write, which the A-STEP firmware would obey. Raises `BoardError` where the link fails.
    """
    if firmware := _astep(link):
        return str(firmware) if firmware.register_map else f"{firmware}: its registers are not known"
    return "GECCO bench firmware" if _is_gecco(link) else ""


def _astep(link: Link) -> Firmware | None:
    number = _value(link, read_register(AstepRegister.FIRMWARE_ID))
    if number is None or not Firmware(number, 0).is_known:
        return None
    version = _value(link, read_register(AstepRegister.FIRMWARE_VERSION))
    return None if version is None else Firmware(number, version)


def _value(link: Link, request: RegisterRead) -> int | None:
    link.write(request.encode(NEWEST_MAP) + _FILLER)
    try:
        return int.from_bytes(link.read(request.length, ANSWER_S), "little")
    except LinkTimeout:
        return None


def _is_gecco(link: Link) -> bool:
    for value in _SCRATCH_VALUES:
        link.write(encode_requests([WriteRequest(Register.SCRATCH, bytes((value,))), ReadRequest(Register.SCRATCH)]))
        try:
            answer = link.read(1, ANSWER_S)
        except LinkTimeout:
            return False
        if answer != bytes((value,)):
            return False
    return True
