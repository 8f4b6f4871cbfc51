"""Runs of the emulated board in simulated time: its bytes, decoded, looked at by the checks."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from daqd.configuration.config import EmulatorSection
from daqd.emulator.seeded_frames import SeededFrames
from daqd.emulator.seeded_hits import SeededHits
from monitor.sanity.check import Check, CheckResult, Limits
from monitor.sanity.checks.catalogue import DETECTOR_CHECKS as CHECKS
from monitor.sanity.recorded.recorded_looks import RecordedLooks
from protocol.apx import FileHeader, apx_open
from protocol.astropix3_readout import AstroPix3LayerReadout, AstroPix3Readout
from protocol.block import ReadoutBlock
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.layer_scan import FrameLayout
from protocol.readout import AstroPix4Readout
from protocol.readout_description import ReadoutDescription
from protocol.run_record import RunRecord

T0_NS = 1_700_000_000_000_000_000
POLL_S = 0.5
BLOCK_S = 20.0

_READOUTS: dict[tuple[int, bool], Any] = {
    (3, False): AstroPix3Readout,
    (4, False): AstroPix4Readout,
    (3, True): AstroPix3LayerReadout,
    (4, True): AstroPix4LayerReadout,
}

Board = Callable[[float], bytes]
"""What the board sends, by its own clock, up to so many seconds since it began."""


def emulated(chips: int = 1, *, version: int = 4, layers: int = 0, **settings: Any) -> Board:
    """A board of `layers` A-STEP chains, or of one GECCO chain if 0."""
    section = EmulatorSection.model_validate(settings)
    if layers:
        frames = SeededFrames(section, chips, layers, version)
        layout = FrameLayout(data_bytes=frames.hit_bytes)
        return lambda s: b"".join(sent.data for sent in frames.take(s, 1 << 30, layout))
    source = SeededHits(section, chips, version)
    return lambda s: source.take(s, 1 << 30, 0)


def changes_at(s: float, before: Board, after: Board) -> Board:
    """The first board until `s`, and from then on what the second one sends then."""

    def take(now_s: float) -> bytes:
        earlier, later = before(now_s), after(now_s)
        return earlier if now_s <= s else later

    return take


def blocks(board: Board, duration_s: float, clock: Callable[[float], float] = lambda s: s) -> Iterator[ReadoutBlock]:
    """What the host reads, a readout each `POLL_S` where there is anything. `clock`: the board's, by the host's."""
    chunks: list[bytes] = []
    times: list[int] = []
    readout = 0
    polls = round(duration_s / POLL_S)
    for poll in range(1, polls + 1):
        data = board(clock(poll * POLL_S))
        if data:
            chunks.append(data)
            times.append(T0_NS + round(poll * POLL_S * 1e9))
        if chunks and (poll % round(BLOCK_S / POLL_S) == 0 or poll == polls):
            ids = list(range(readout, readout + len(chunks)))
            yield ReadoutBlock.from_columns(chunks, ids, times)
            readout += len(chunks)
            chunks, times = [], []


def run_checks(
    board: Board,
    duration_s: float,
    *,
    chips: int = 1,
    version: int = 4,
    layers: int = 0,
    checks: Sequence[Check] = CHECKS,
    record: RunRecord | None = None,
    clock: Callable[[float], float] = lambda s: s,
    limits: dict[str, dict[str, float]] | None = None,
) -> list[tuple[str, CheckResult]]:
    """All that the checks found in so many seconds of the run: name of the check, and what it said, in order."""
    readout_class = _READOUTS[version, bool(layers)]
    decoder = readout_class.make_decoder(ReadoutDescription(chips=chips))
    looks = RecordedLooks(
        checks, Limits(configured=limits or {}), chips=chips, record=record, run=None if record is None else record.run
    )
    said = []
    for block in blocks(board, duration_s, clock):
        said.extend(looks.add(block, decoder.decode(block)))
    said.extend(looks.settle(decoder.flush()))
    assert [each.failure for each in said if each.failure] == []
    assert decoder.ledger.hits > 0
    return [(each.check.name, result) for each in said for result in each.results or ()]


def write_file(
    path: Path, board: Board, duration_s: float, readout_class: Any = AstroPix4Readout, **header: Any
) -> Path:
    """A recorded file of so many seconds."""
    with apx_open(path, "wb", FileHeader(readout_class, header)) as file:
        for block in blocks(board, duration_s):
            for index, readout in enumerate(block.readout_id.tolist()):
                data = block.data[block.offsets[index] : block.offsets[index + 1]]
                file.write(readout_class(data, readout, int(block.timestamp[index])).to_bytes())
    return path


def found(results: list[tuple[str, CheckResult]]) -> set[tuple[str, str]]:
    """Checks and subjects."""
    return {(name, result.subject) for name, result in results}
