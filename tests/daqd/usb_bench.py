"""A board behind the real pyftdi, on an emulated bus, with a clock that only moves when somebody sleeps."""

from pathlib import Path

from daqd.configuration.config import FtdiSection
from daqd.emulator.board_model import BoardModel, Cable
from daqd.emulator.ft2232h import EmulatedFt2232h
from daqd.emulator.usb_bus import EmulatedUsbBus
from daqd.transports.ftdi import FtdiLink
from tests.daqd.emulated_bench import HandClock


class CountingBoard(BoardModel):
    """Answers each pair of bytes n with n bytes that count up, mod 251, over all answers since power-up."""

    def __init__(self) -> None:
        self.power_up()

    def power_up(self) -> None:
        self.answered = 0
        self._pending = b""

    def exchange(self, data: bytes) -> bytes:
        data = self._pending + data
        whole = len(data) // 2 * 2
        self._pending = data[whole:]
        length = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, whole, 2))
        answer = counted(self.answered, length)
        self.answered += length
        return answer

    @property
    def exhausted(self) -> bool:
        return False

    @property
    def counters(self) -> dict[str, int]:
        return {}


def counted(start: int, length: int) -> bytes:
    """What `CountingBoard` answers: `length` bytes, the first of them the one with number `start`."""
    return bytes((start + index) % 251 for index in range(length))


def ask(*lengths: int) -> bytes:
    """The question for so many bytes, each at most 65535."""
    return b"".join(length.to_bytes(2, "big") for length in lengths)


class UsbBench:
    """One device on a bus, and links to it."""

    def __init__(self, lock_dir: Path, board: BoardModel | None = None, serial: str = "210276A1B2C3") -> None:
        self.clock = HandClock()
        self.board = board or CountingBoard()
        self.cable = Cable(self.board, clock=self.clock)
        self.bus = EmulatedUsbBus()
        self.device = EmulatedFt2232h(self.board, serial, cable=self.cable, clock=self.clock, sleep=self.clock.sleep)
        self.bus.plug_in(self.device)
        self.lock_dir = lock_dir

    def link(self, lock_dir: Path | None = None, **settings: object) -> FtdiLink:
        return FtdiLink(FtdiSection.model_validate(settings), lock_dir or self.lock_dir, lambda: self.bus, self.clock)
