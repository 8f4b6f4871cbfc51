"""Starts and stops of an A-STEP board at full rate, on a line that loses and doubles bytes."""

from typing import Any

from daqd.boards.astep import AstepBoard
from daqd.emulator.astep_model import AstepModel
from daqd.errors import BoardError
from protocol.registers.astep_registers import LAYER_CTRL
from tests.daqd.astep_bench import AstepBench
from tests.daqd.lossy_line import LineFaults, LossyLine


class LossyBench(AstepBench):
    """The bench with a lossy line between link and model."""

    def __init__(self, to_board: LineFaults, to_host: LineFaults, **settings: Any) -> None:
        super().__init__(**settings)
        self.line = LossyLine(self.model, to_board, to_host)
        self.link.model = self.line
        self.ledger = IntactFrames(self.model, self.line)


class IntactFrames:
    """Which frames crossed the line intact, and whether the driver returned them.

    A frame is intact if all its bytes were taken from the FIFO and crossed the line, none lost or doubled; what became
    of its neighbours does not matter. What is taken before `begin` belongs to no run.
    """

    def __init__(self, model: AstepModel, line: LossyLine) -> None:
        self._model = model
        self._line = line
        self._first = 0
        self._pieces = 0
        self._spans: list[tuple[int, int]] = []
        self._next = 0
        self.frames = self.intact = 0
        put = model.fifo.put

        def note_frames(data: bytes) -> None:
            """Where the frames are among all that the FIFO was given; each is as long as its first byte says."""
            record, position = model.fifo.record, 0
            assert record is not None
            base = len(record.data)
            while position < len(data):
                length = data[position] + 1
                self._spans.append((base + position, length))
                position += length
            put(data)

        model.fifo.put = note_frames  # type: ignore[method-assign]

    @property
    def _taken(self) -> int:
        return sum(length for _, length in self._model.taken)

    def begin(self) -> None:
        """A run begins: what was taken so far was old."""
        self._first = self._taken
        self._pieces = len(self._model.taken)

    def missing(self, returned: bytes) -> list[bytes]:
        """The intact frames of this run that `returned` does not have, in order."""
        record = self._model.fifo.record
        assert record is not None
        data = bytes(record.data)
        damaged = self._line.to_host.damaged
        crossed: list[bool] = []
        for start, length in self._model.taken[self._pieces :]:
            crossed += [position not in damaged for position in range(start, start + length)]
        position, missing = 0, []
        while self._next < len(self._spans):
            first, length = self._spans[self._next]
            self._next += 1
            if first < self._first:
                continue  # taken, at least in part, before the run began
            flags = crossed[first - self._first : first - self._first + length]
            self.frames += 1
            if len(flags) < length or not all(flags):
                continue
            self.intact += 1
            frame = data[first : first + length]
            found = returned.find(frame, position)
            if found < 0:
                missing.append(frame)
            else:
                position = found + 1
        return missing


def one_run(bench: LossyBench, board: AstepBoard, readouts: int) -> bytes:
    """Start, some readouts, stop, and what is left; all data in order."""
    board.start()
    bench.ledger.begin()
    came = [readout.data for _ in range(readouts) if (readout := board.read_readout(0.05)) is not None]
    board.stop()
    while (readout := board.read_readout(0)) is not None:
        came.append(readout.data)
    return b"".join(came)


def bring_up(board: AstepBoard) -> None:
    """From anything to configured, as the daemon does it: again until it works."""
    for left in reversed(range(5)):
        try:
            board.close()
            board.open()
            board.configure()
        except BoardError:
            if not left:
                raise
            continue
        return


def is_safe(model: AstepModel) -> bool:
    """Whether the firmware listens, and all layers are stopped."""
    return not model.host.hung and [model._values[register] for register in LAYER_CTRL] == [0x15, 0x14, 0x14]


def soak(bench: LossyBench, runs: int, readouts: int = 6) -> dict[str, int]:
    """`runs` starts and stops; asserts that no intact frame is missing and the board is never stuck."""
    board, failed = bench.board, 0
    bring_up(board)
    for number in range(runs):
        try:
            returned = one_run(bench, board, readouts)
        except BoardError:
            # Reported, and brought up again: what the run had is not compared.
            failed += 1
            bring_up(board)
            continue
        missing = bench.ledger.missing(returned)
        assert not missing, f"run {number}: {len(missing)} intact frames are missing, the first {missing[0].hex()}"
        assert is_safe(bench.model), f"run {number}"
    return {
        "runs": runs,
        "failed": failed,
        "frames": bench.ledger.frames,
        "intact": bench.ledger.intact,
        "resyncs": board.status().counters["resyncs"],
        "faults_to_board": len(bench.line.to_board.damaged),
        "faults_to_host": len(bench.line.to_host.damaged),
    }
