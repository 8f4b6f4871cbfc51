"""SPI between the chips and the read FIFO of the GECCO bench firmware, in the time of the board."""

from math import ceil
from typing import Final

from daqd.emulator.hit_sources import ByteSource, HitDelivery
from daqd.emulator.read_fifos import WordFifo
from protocol.registers.gecco import FPGA_CLOCK_HZ, SPI_LINES, SPI_WORD_BYTES, spi_clock_hz
from protocol.stream_bytes import IDLE_BYTE

ANSWER_BYTE_S: Final = 1 / FPGA_CLOCK_HZ
"""A byte of an answer leaves the register file each clock of the FPGA, as its source says: 20 µs for 2048 bytes.

At divider 40 a word takes 26 µs, so that one comes within 78 % of such reads; 77 % were seen with the firmware's RTL.
"""

SLIPPED_BYTES: Final = 6144
_SLIPPED_BITS: Final = 2


class SpiReadout:
    """Shifts what `source` sends into `fifo`: words of 8 bytes, two bits a clock, as long as the chips have something.

    Words are whole: when the chips have nothing more, idle bytes fill the last one. A full FIFO stops SPI until there
    is room; the chips keep what they have. `advance` lets time pass, `read` reads the FIFO, during which time passes as
    well, so that words come while it is being read.

    `divider`: of the SPI clock, 0…255. `sending`: whether the chips can send. `elapsed_s`: time that they could, which
    is the time of the source. Other kinds of `HitDelivery` than SPI are tools for tests: they come without any pace,
    and reads take no time.
    """

    def __init__(self, source: ByteSource, fifo: WordFifo) -> None:
        self.source = source
        self.fifo = fifo
        self.sending = False
        self.elapsed_s = 0.0
        self._free_s = 0.0
        self._begun = b""
        self._paced = source.delivery is HitDelivery.SPI
        self.power_up()

    def power_up(self) -> None:
        """SPI clock at its fastest, no word begun."""
        self._divider = 0
        self._slipped_left = 0
        self._slipped_carry = 0
        self.fifo.lose(self._begun)
        self._begun = b""

    @property
    def divider(self) -> int:
        """Divider of the SPI clock."""
        return self._divider

    def set_divider(self, divider: int, spi_on: bool) -> None:
        """Lowering it while SPI is on shifts the next `SLIPPED_BYTES` by two bits."""
        if spi_on and divider < self._divider:
            self._slipped_left = SLIPPED_BYTES
        self._divider = divider

    @property
    def _word_s(self) -> float:
        return SPI_WORD_BYTES * 8 / SPI_LINES / spi_clock_hz(self._divider)

    def advance(self, seconds: float) -> None:
        """Let that much time pass."""
        if not self.sending:
            return
        for _, word, filler in self._words(seconds, self.fifo.room):
            self.fifo.put(word, filler)

    def read(self, length: int) -> tuple[bytes, float]:
        """`length` bytes of the FIFO, and how many seconds that took."""
        if not (self.sending and self._paced):
            return self.fifo.read(length), 0.0
        seconds = length * ANSWER_BYTE_S
        words = self._words(seconds, self.fifo.room + length)
        return self.fifo.read(length, [(ceil(at_s / ANSWER_BYTE_S), word, fill) for at_s, word, fill in words]), seconds

    @property
    def idle(self) -> bool:
        """Whether no word is in transfer."""
        return not self._begun

    def stop(self) -> None:
        """SPI is switched off: the word in transfer is lost."""
        self.fifo.lose(self._begun)
        self._begun = b""
        self._slipped_left = 0

    def reset_chips(self) -> None:
        """The chips are reset: they do not finish a hit whose first bytes have left them."""
        self.fifo.lose(self.source.abandon())

    def _words(self, seconds: float, room: int) -> list[tuple[float, bytes, int]]:
        """Words that come within `seconds`, at most `room` bytes: after how long, the word, its filler at the end."""
        began_s = self.elapsed_s
        self.elapsed_s += seconds
        if not self._paced:
            return self._at_once(room)
        if not self._begun:
            self._begun = self.source.take(self.elapsed_s, min(room, SPI_WORD_BYTES), len(self.fifo))
            self._free_s = max(self._free_s, began_s)
        first_s = self._free_s + self._word_s
        if not self._begun or self.elapsed_s < first_s:
            return []
        words = min(int((self.elapsed_s - first_s) / self._word_s) + 1, room // SPI_WORD_BYTES)
        size = words * SPI_WORD_BYTES
        data = self._begun + self.source.take(self.elapsed_s, size - len(self._begun), len(self.fifo))
        filler = -len(data) % SPI_WORD_BYTES
        # The next word begins at once, unless the chips have nothing more, or there is no room for it.
        room_left = min(room - size, SPI_WORD_BYTES) if len(data) == size else 0
        self._begun = self.source.take(self.elapsed_s, room_left, len(self.fifo)) if room_left else b""
        data = self._slip(data + bytes((IDLE_BYTE,)) * filler)
        words = len(data) // SPI_WORD_BYTES
        self._free_s += words * self._word_s
        return [
            (
                first_s - began_s + number * self._word_s,
                data[number * SPI_WORD_BYTES : (number + 1) * SPI_WORD_BYTES],
                filler if number == words - 1 else 0,
            )
            for number in range(words)
        ]

    def _at_once(self, room: int) -> list[tuple[float, bytes, int]]:
        data = self.source.take(self.elapsed_s, room, len(self.fifo))
        filler = -len(data) % SPI_WORD_BYTES if self.source.delivery is HitDelivery.FLOOD else 0
        return [(0.0, data + bytes((IDLE_BYTE,)) * filler, filler)] if data else []

    def _slip(self, data: bytes) -> bytes:
        """Bytes of which the first `_slipped_left` come two bits late."""
        size = min(self._slipped_left, len(data))
        if not size:
            return data
        self._slipped_left -= size
        bits = self._slipped_carry << 8 * size | int.from_bytes(data[:size], "big")
        self._slipped_carry = bits & (1 << _SLIPPED_BITS) - 1
        return (bits >> _SLIPPED_BITS & (1 << 8 * size) - 1).to_bytes(size, "big") + data[size:]
