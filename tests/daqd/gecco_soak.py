"""Starts and stops of a GECCO board at full rate, on a line that loses and doubles bytes.

What is claimed, of every run that has begun, also of those that end in an error:

- Bytes: all bytes of answers to reads of the FIFO that crossed the line undamaged are in the readouts, in order.
- Hits: all hits of readouts that came as the board sent them, next to the same readouts as there, are decoded. Behind a
  byte that was lost or doubled, the readouts that were requested in the same queue are shifted. All their bytes are
  there, but groups of padding inside them are no longer aligned, and a hit that they cut may be decoded wrong.
- A run that starts without an error has data; after a stop without an error the board is safe.
- Wherever a run ends, the first attempt to bring the board up on an undamaged line succeeds.

Not claimed: what the FIFO holds, and has not crossed the line, when a run ends in an error.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from daqd.errors import BoardError
from protocol.hit import HitTable
from protocol.registers.gecco import ChipPort, ReadRequest, Register, SpiConfig
from tests.daqd.emulated_bench import EmulatedBench
from tests.daqd.lossy_line import LossyLine, TransferFaults
from tests.daqd.test_gecco_configured import SETUP

BUSY_HZ = 2e6
"""More than SPI carries at any divider."""

BRING_UPS = 5
COLUMNS = ("chip_id", "row", "column", "ts_neg1", "ts_neg2", "ts_dec1", "ts_dec2", "tot_us")


@dataclass(frozen=True)
class SentRead:
    """The answer to a read of the FIFO, and where its first byte is among all that the board has answered."""

    data: bytes
    position: int


class LossyGeccoBench(EmulatedBench):
    """The bench with a lossy line between link and model; the chips are always busy.

    `reads`: what was read from the FIFO. `damage` sets which share of the transfers has a byte that goes wrong.
    """

    def __init__(self, seed: int, real_time: bool = False, **board: Any) -> None:
        super().__init__(
            board={"chips": 4, "spi_divider": 2, "poll_interval_ms": 0.0, **board},
            emulator={"rate_hz": BUSY_HZ, "link_latency_ms": 0.01, "seed": seed},
            real_time=real_time,
        )
        self.to_board, self.to_host = TransferFaults(0, seed), TransferFaults(0, seed + 1000)
        self.line = LossyLine(self.model, self.to_board, self.to_host)
        self.link.model = self.line
        self.reads: list[SentRead] = []
        self._answered = 0
        self.model.answer_filter = self._note

    def _note(self, request: ReadRequest, answer: bytes) -> bytes:
        if request.register == Register.SPI_READ_FIFO:
            self.reads.append(SentRead(answer, self._answered))
        self._answered += len(answer)
        return answer

    def damage(self, to_board: float, to_host: float) -> None:
        """From now on, of so many transfers one byte goes wrong."""
        self.to_board.rate, self.to_host.rate = to_board, to_host

    @property
    def is_safe(self) -> bool:
        """Whether SPI and injection are off, and the chips are in reset."""
        values = self.model._registers
        off = values[Register.SPI_CONFIG] & SpiConfig.MODULE_RESET and values[Register.CHIP] & ChipPort.RESET
        return bool(off) and not self.model.injection.running

    def decode(self, readouts: Sequence[bytes]) -> HitTable:
        """The hits of a run."""
        decoder = self.board.readout_class.make_decoder(self.board.description)
        hits = decoder.decode([self.board.readout_class(data, number, 0) for number, data in enumerate(readouts)])
        return np.concatenate([hits, decoder.flush()])


def undamaged_pieces(read: SentRead, damaged: set[int]) -> list[bytes]:
    """The bytes of a read, split where one went wrong on the line, without the padding at the ends."""
    end = read.position + len(read.data)
    cuts = [at - read.position for at in range(read.position, end) if at in damaged]
    pieces = [read.data[start:stop] for start, stop in zip([0, *(at + 1 for at in cuts)], [*cuts, end], strict=True)]
    return [stripped for piece in pieces if (stripped := piece.strip(b"\xff"))]


def as_sent(sent: list[bytes], came: list[bytes]) -> npt.NDArray[np.bool_]:
    """Which of the readouts that were sent came unchanged, between the same two as they were sent."""
    around_sent, around_came = [b"", *sent, b""], [b"", *came, b""]
    places = {data: place for place, data in enumerate(around_came)}
    result = np.zeros(len(sent), bool)
    for number, data in enumerate(sent):
        place = places.get(data, 0)
        result[number] = place > 0 and around_came[place - 1 : place + 2] == around_sent[number : number + 3]
    return result


class GeccoSoak:
    """Many runs on a line that damages the shares `to_board` and `to_host` of the transfers.

    `counts`: what happened.
    """

    def __init__(self, bench: LossyGeccoBench, to_board: float, to_host: float, readouts: int = 20) -> None:
        self.bench = bench
        self._readouts = readouts
        self._rates = to_board, to_host
        self.counts: Counter[str] = Counter()
        self._is_up = False

    def run(self, runs: int) -> dict[str, int]:
        """Starts, some readouts, stops; asserts what is claimed above."""
        bench = self.bench
        for number in range(runs):
            self.start()
            self.read_and_stop(number)
        # A line without damage again: whatever was left, it works at once.
        bench.damage(0, 0)
        self._bring_up()
        self.counts["runs"] = runs
        self.counts["resyncs"] = bench.board.status().counters["resyncs"]
        self.counts["faults_to_board"] = len(bench.to_board.damaged)
        self.counts["faults_to_host"] = len(bench.to_host.damaged)
        return dict(self.counts)

    def _bring_up(self) -> None:
        board = self.bench.board
        board.close()
        board.open()
        board.configure(SETUP)
        board.start()

    def read_and_stop(self, number: int) -> None:
        """Readouts of the run that has started, and its stop; `number` is for messages."""
        came, stopped = self._take()
        data = [readout for readout in came if readout.strip(b"\xff")]
        self._compare(number, data)
        if stopped:
            assert self.bench.is_safe, f"run {number}"
            assert data, f"run {number}: started, and no data"

    def start(self) -> None:
        """From anything to a run, again until it works; at last on a line without damage, where it has to."""
        bench = self.bench
        for left in reversed(range(BRING_UPS + 1)):
            bench.damage(*self._rates if left else (0, 0))
            try:
                if self._is_up:
                    bench.board.start()
                else:
                    self._bring_up()
            except BoardError:
                if not left:
                    raise
                self.counts["starts_failed"] += 1
                self._is_up = False
                continue
            self._is_up = True
            break
        bench.damage(*self._rates)
        bench.reads.clear()

    def _take(self) -> tuple[list[bytes], bool]:
        """The readouts of a run to its end, and whether it ended without an error."""
        board, came = self.bench.board, []
        try:
            for _ in range(self._readouts):
                self.bench.clock.sleep(0.0003)
                if (readout := board.read_readout(0.001)) is not None:
                    came.append(readout.data)
            board.stop()
            while (readout := board.read_readout(0)) is not None:
                came.append(readout.data)
        except BoardError:
            self.counts["runs_given_up"] += 1
            self._is_up = False
        return came, self._is_up

    def _compare(self, number: int, came: list[bytes]) -> None:
        bench, data, position = self.bench, b"".join(came), 0
        sent = [read.data for read in bench.reads if read.data.strip(b"\xff")]
        for read in bench.reads:
            for piece in undamaged_pieces(read, bench.to_host.damaged):
                found = data.find(piece, position)
                assert found >= 0, f"run {number}: {len(piece)} bytes are missing: {piece[:16].hex()}"
                position = found + len(piece)
                self.counts["bytes"] += len(piece)
        hits = bench.decode(sent)
        due = hits[as_sent(sent, came)[hits["readout_id"]]]
        missing = _keys(due) - _keys(bench.decode(came))
        assert not missing, f"run {number}: {len(missing)} hits are missing: {next(iter(missing))}"
        self.counts["reads"] += len(sent)
        self.counts["hits"] += len(hits)
        self.counts["hits_compared"] += len(due)


def _keys(hits: HitTable) -> set[tuple[Any, ...]]:
    return set(hits[list(COLUMNS)].tolist())
