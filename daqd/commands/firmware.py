"""Which firmware answers on a link, for `daqd probe`."""

from contextlib import suppress

from daqd.boards.dialogue import Dialogue
from daqd.boards.gecco_resync import resynchronise
from daqd.boards.which_firmware import astep_firmware, is_gecco
from daqd.errors import BoardAnswerError
from daqd.transports.link import Link
from protocol.registers.gecco import Register


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
