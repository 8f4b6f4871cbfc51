"""Recorded files through the emulated board and the driver."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqd.boards import open_board
from daqd.configuration.config import AstepSection, Config
from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.recorded_readouts import RecordedReadouts
from daqd.errors import ConfigError
from protocol.apx import FileHeader, apx_open
from protocol.astropix3_readout import AstroPix3LayerReadout, AstroPix3Readout
from protocol.layer_frames import encode_frames
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.layer_scan import FrameLayout
from protocol.readout import AbstractAstroPixReadout, AstroPix4Readout
from tests.daqd.emulated_bench import EmulatedBench

pytestmark = pytest.mark.slow

MS = 1_000_000


def write_apx(path: Path, readouts: list[tuple[bytes, int]]) -> Path:
    with apx_open(path, "wb", FileHeader(AstroPix4Readout, {})) as file:
        for readout_id, (data, timestamp) in enumerate(readouts):
            AstroPix4Readout(data, readout_id, timestamp).write(file)
    return path


def play(source: RecordedReadouts, readout_bytes: int = 64) -> EmulatedBench:
    bench = EmulatedBench(source, board={"readout_bytes": readout_bytes})
    bench.run()
    return bench


@pytest.mark.parametrize("name", ["20250723_092534_data.apx", "threshold_40mV_20250722-094253.apx"])
def test_each_read_gives_one_recorded_readout(recordings: Path, name: str) -> None:
    with apx_open(recordings / name) as file:
        recorded = [readout.data() for readout in file]
    bench = play(RecordedReadouts([recordings / name], 2048, "max"), 2048)
    played = bench.read_all()
    assert {len(data) for data in played} == {2048}
    assert [data.rstrip(b"\xff") for data in played] == recorded
    assert bench.board.status().exhausted
    assert bench.board.status().counters["emulator_readouts_played"] == len(recorded)
    assert bench.board.read_readout(10.0) is None


def test_through_the_configuration(recordings: Path) -> None:
    settings = {"source": "file", "file": str(recordings / "20250723_092534_data.apx"), "speed": "max"}
    board = open_board(Config.model_validate({"board": {"transport": "emulated"}, "emulator": settings}))
    board.open()
    board.configure()
    board.start()
    readouts = 0
    while not board.status().exhausted:
        readouts += board.read_readout(1.0) is not None
    assert readouts == 775
    board.close()


@pytest.mark.parametrize(("speed", "unit_s"), [(1.0, 0.020), (4.0, 0.005)])
def test_recorded_times_set_the_pace(tmp_path: Path, speed: float, unit_s: float) -> None:
    readouts = [(bytes((index,)), 10**18 + start * 20 * MS) for index, start in enumerate((0, 1, 4))]
    bench = play(RecordedReadouts([write_apx(tmp_path / "run.apx", readouts)], 64, speed))
    stamps = []
    while (readout := bench.board.read_readout(1.0)) is not None:
        stamps.append(readout.timestamp_ns / 1e9)
    # A board that ran dry is asked again after a pause of 1 ms.
    assert [stamp - stamps[0] for stamp in stamps] == pytest.approx([0, unit_s, 4 * unit_s], abs=0.0021)


def test_files_follow_each_other_without_the_time_between_them(tmp_path: Path) -> None:
    first = write_apx(tmp_path / "a.apx", [(b"a0", 0), (b"a1", 5 * MS)])
    second = write_apx(tmp_path / "b.apx", [(b"b0", 10**18), (b"b1", 10**18 + 5 * MS)])
    bench = play(RecordedReadouts([first, second], 64))
    start = bench.clock()
    assert [data.rstrip(b"\xff") for data in bench.read_all()] == [b"a0", b"a1", b"b0", b"b1"]
    assert bench.clock() - start < 1.0 + 0.016  # the silence at the end, twice 5 ms, and a pause after each readout


def test_time_stamps_that_go_back_do_not_hold_it_up(tmp_path: Path) -> None:
    path = write_apx(tmp_path / "a.apx", [(b"0", 50 * MS), (b"1", 0), (b"2", 51 * MS)])
    assert len(play(RecordedReadouts([path], 64)).read_all(timeout_s=0.1)) == 3


def test_empty_readouts_are_played_too(tmp_path: Path) -> None:
    path = write_apx(tmp_path / "a.apx", [(b"", 0), (b"x", 0), (b"", 0)])
    played = play(RecordedReadouts([path], 64, "max")).read_all()
    assert [data.rstrip(b"\xff") for data in played] == [b"", b"x", b""]


def test_a_file_without_readouts_is_exhausted_at_once(tmp_path: Path) -> None:
    assert play(RecordedReadouts([write_apx(tmp_path / "a.apx", [])], 64)).board.status().exhausted


def test_a_second_run_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    path = write_apx(tmp_path / "a.apx", [(b"%d" % index, 0) for index in range(6)])
    bench = play(RecordedReadouts([path], 64, "max"))
    first = [bench.board.read_readout(0) for _ in range(2)]
    bench.board.stop()
    first += [bench.board.read_readout(0)]  # what the FIFO held when the board was stopped
    assert bench.board.read_readout(0) is None
    bench.board.start()
    second = bench.read_all()
    played = [readout.data for readout in first if readout is not None] + second
    assert [data.rstrip(b"\xff") for data in played] == [b"%d" % index for index in range(6)]


def test_what_cannot_be_played_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    long = write_apx(tmp_path / "long.apx", [(bytes(65), 0)])
    with pytest.raises(ConfigError, match=r"long.apx has readouts of 65 bytes: board.readout_bytes"):
        RecordedReadouts([long], 64)
    with pytest.raises(ConfigError, match=r"^emulator.file: .*missing.apx"):
        RecordedReadouts([tmp_path / "missing.apx"], 64)
    wrong = tmp_path / "wrong.apx"
    wrong.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"^emulator.file: .*wrong.apx"):
        RecordedReadouts([wrong], 64)


# ---- layer frames


def record_frames(path: Path, version: int, bits: Any = 32, **header: Any) -> list[bytes]:
    """A recording of layers 1 and 2, frames cut between readouts, padding and garbage among them; its readouts."""
    chips = emulated_chips(version)
    random = np.random.default_rng(version)
    readout_class: type[AbstractAstroPixReadout] = AstroPix3LayerReadout if version == 3 else AstroPix4LayerReadout
    data = random.integers(0, 256, (300, chips.hit_bytes), np.uint8)
    data[:, 0] = chips.hit_class.PAYLOAD
    layout = FrameLayout(bits, header.get("timestamp_order", "little"), chips.hit_bytes)
    stream = encode_frames(data, 1 + np.arange(300) % 3 // 2, np.arange(300), layout).tobytes()
    pieces = [stream[:1000], stream[1000:1001], stream[1001:2500] + 5 * b"\xff", b"garbage", stream[2500:]]
    with apx_open(path, "wb", FileHeader(readout_class, header)) as file:
        for number, piece in enumerate(pieces):
            readout_class(piece, number, 5 * MS * number).write(file)
    return pieces


def astep(path: Path, **board: Any) -> Config:
    return Config.model_validate(
        {
            "board": {"kind": "astep", "transport": "emulated", "layers": 2, "readout_bytes": 4096, **board},
            "emulator": {"source": "file", "file": str(path), "speed": "max"},
        }
    )


@pytest.mark.parametrize("version", [3, 4])
def test_an_astep_board_plays_recorded_frames(tmp_path: Path, version: int) -> None:
    recorded = record_frames(tmp_path / "run.apx", version)
    config = astep(tmp_path / "run.apx", chip_version=version)
    board = open_board(config.model_copy(update={"astep": config.astep.model_copy(update={"read": "size"})}))
    board.open()
    board.configure()
    board.start()
    played = []
    while not board.status().exhausted:
        if (readout := board.read_readout(0.01)) is not None:
            played.append(readout.data)
    # A long readout comes in pieces whose lengths are safe to ask for.
    assert b"".join(played) == b"".join(recorded)
    board.stop()
    counters = board.status().counters
    assert (counters["emulator_readouts_played"], counters["emulator_readouts"]) == (5, 5)
    decoder = board.readout_class.make_decoder(board.description)
    hits = decoder.decode([board.readout_class(data, number, 0) for number, data in enumerate(recorded)])
    assert len(hits) == 300
    assert [counters[f"layer_{layer}_frames"] for layer in (1, 2)] == np.bincount(hits["layer"]).tolist()[1:]
    board.close()


def test_recorded_frames_in_reads_of_a_fixed_length(tmp_path: Path) -> None:
    recorded = record_frames(tmp_path / "run.apx", 4, timestamp_order="big")
    config = astep(tmp_path / "run.apx").model_copy(update={"astep": AstepSection(read="fixed")})
    board = open_board(config)
    board.open()
    board.configure()
    board.start()
    played = []
    while not board.status().exhausted:
        if (readout := board.read_readout(0.01)) is not None:
            played.append(readout.data)
    # The boundaries are those of the reads; the bytes are the same.
    assert b"".join(data.rstrip(b"\xff") for data in played) == b"".join(data.rstrip(b"\xff") for data in recorded)
    assert {len(data) for data in played} <= {1024, 2048, 4096}
    board.close()


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        ({}, "time stamps with timestamp_bits = 64: set astep.timestamp_bits to that"),
        ({"chip_version": 3}, "holds AstroPix4LayerReadout, and the board sends AstroPix3LayerReadout"),
        ({"kind": "gecco", "layers": 1}, "holds AstroPix4LayerReadout, and the board sends AstroPix4Readout"),
        ({"readout_bytes": 1000}, "time stamps with timestamp_bits = 64"),
    ],
)
def test_a_recording_of_another_board_is_refused(tmp_path: Path, board: dict[str, Any], expected: str) -> None:
    record_frames(tmp_path / "run.apx", 4, 64, timestamp_bits=64, timestamp_order="little")
    with pytest.raises(ConfigError, match=expected):
        open_board(astep(tmp_path / "run.apx", **board))


def test_a_recording_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.apx"
    with apx_open(path, "wb", FileHeader(AstroPix3Readout, {})) as file:
        AstroPix3Readout(b"\xbc", 0, 0).write(file)
    settings = {"board": {"transport": "emulated"}, "emulator": {"source": "file", "file": str(path)}}
    with pytest.raises(ConfigError, match=r"set board\.kind and board\.chip_version"):
        open_board(Config.model_validate(settings))
