"""Chips of version 3 from the configuration to hits, on both emulated boards: what they say they sent is what comes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqd.boards import open_board
from daqd.cli import main
from daqd.configuration.config import BoardSection, Config, EmulatorSection
from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.seeded_frames import SeededFrames
from daqd.emulator.seeded_hits import SeededHits
from daqd.errors import ConfigError
from protocol import AstroPix3Hit, AstroPix3LayerReadout, AstroPix3Readout, StreamDecoder
from protocol.chips.chip_file import usual_chip_file
from protocol.chips.chip_setup import ChipSetup
from protocol.hit import reverse_bit_order
from tests.daqd.astep_bench import AstepBench
from tests.daqd.emulated_bench import EmulatedBench
from tests.daqd.whole_hits import whole_hits
from tests.protocol import chip_by_hand as by_hand

pytestmark = pytest.mark.slow

VERSION = {"chip_version": 3}
OURS = Path(__file__).parents[2] / "config" / "astropix3.yml"
OFF = 0b001_11111_11111_11111_11111_11111_11111_11110


def source(chips: int = 1, **keys: Any) -> SeededHits:
    return SeededHits(EmulatorSection.model_validate(keys), chips, 3)


# ---- what the chips send


def test_a_particle_makes_a_row_and_a_column() -> None:
    hits = source(2, rate_hz=2000.0, hot_pixels=[[1, 34, 33, 1000.0]]).expected_hits(10_000)
    assert hits["is_column"].tolist() == 5000 * [0, 1]
    rows, columns = hits[::2], hits[1::2]
    assert rows["arrival_ns"].tolist() == columns["arrival_ns"].tolist()
    assert hits["arrival_ns"][-1] / 1e9 == pytest.approx(5.0, rel=0.05)
    longer = rows["tot_dec"].astype(int) - columns["tot_dec"]
    assert (longer.min(), longer.max()) == (6, 15)
    assert set(((rows["chip_timestamp"].astype(int) - columns["chip_timestamp"]) % 256).tolist()) == {0, 1}
    hot = (rows["chip_id"] == 1) & (rows["location"] == 34) & (columns["location"] == 33)
    assert np.count_nonzero(hot) / 5000 == pytest.approx(1000 / (1000 + 2 * 35 * 35 - 1), rel=0.1)
    assert hits["location"].max() == 34
    assert hits["tot_us"].mean() == pytest.approx(10.03, abs=0.1)


def test_the_bytes_are_those_of_the_hits() -> None:
    for hit in source().expected_hits(50):
        found = AstroPix3Hit(reverse_bit_order(hit["wire"].tobytes()))
        assert all(getattr(found, name) == hit[name] for name in emulated_chips(3).known)


@pytest.mark.parametrize("tot_us", [0.001, 6000.0])
def test_an_extreme_time_over_threshold_stays_within_what_a_hit_can_say(tot_us: float) -> None:
    hits = source(tot_mean_us=tot_us, tot_sigma_us=0.0).expected_hits(1000)
    assert hits["tot_dec"].min() >= 1
    assert hits["tot_dec"].max() <= 4095
    assert (hits["tot_dec"] == hits["tot_msb"].astype(int) * 256 + hits["tot_lsb"]).all()


def test_misbehaviour_spoils_hits_and_not_the_others() -> None:
    chance = {"cut_hits": 0.05, "lost_bytes": 0.05, "garbage": 0.05, "padding": 0.05}
    hits = source(rate_hz="max", hits_limit=8000, misbehave=chance)
    expected = hits.expected_hits(8000)
    stream = hits.take(0.0, 1 << 30, 0)
    decoder = StreamDecoder(1, AstroPix3Hit)
    found = decoder.decode([AstroPix3Readout(stream, 0, 0)])
    assert decoder.ledger.balanced
    assert decoder.ledger.dropped_hits > 0
    whole = expected[whole_hits(expected, [])]
    assert 0.9 * len(whole) < len(found) < 1.2 * len(expected)


def test_frames_name_the_layers() -> None:
    frames = SeededFrames(EmulatorSection.model_validate({"rate_hz": "max", "hits_limit": 3000}), 4, 3, 3)
    expected = frames.expected_hits(3000)
    assert set(expected["layer"].tolist()) == {1, 2, 3}
    assert set(expected["chip_id"].tolist()) == {0, 1, 2, 3}
    assert (expected["tot_us"] == expected["tot_dec"] / 100).all()
    assert expected["tot_us"].mean() == pytest.approx(10.05, abs=0.1)  # as asked, and the row's is longer


# ---- boards


def configured(bench: EmulatedBench | AstepBench) -> None:
    chips, layers = bench.config.board.chips, bench.config.board.layers
    (chip,) = usual_chip_file(3).chips
    bench.board.open()
    bench.board.configure(ChipSetup(chips=(chip.with_injection(34, 1),) * chips * layers, layers=layers))
    bench.board.start()


@pytest.mark.parametrize("rate_hz", [20_000.0, "max"])
@pytest.mark.parametrize("chips", [1, 3])
def test_gecco_from_power_up_to_hits(chips: int, rate_hz: float | str) -> None:
    bench = EmulatedBench(board={**VERSION, "chips": chips}, emulator={"rate_hz": rate_hz, "hits_limit": 3000})
    configured(bench)
    assert bench.board.readout_class is AstroPix3Readout
    values = bench.model.chips.chips(chips, 3)
    assert values == ((usual_chip_file(3).chips[0].with_injection(34, 1)).values,) * chips
    assert bench.model.chips.tdac_loads == 0
    decoder = bench.board.readout_class.make_decoder(bench.board.description)
    readouts = [bench.board.readout_class(data, number, 0) for number, data in enumerate(bench.read_all())]
    hits = np.concatenate([decoder.decode(readouts), decoder.flush()])
    assert isinstance(bench.source, SeededHits)
    expected = bench.source.expected_hits(3000)
    assert len(hits) == 3000
    for name in emulated_chips(3).known:
        assert hits[name].tolist() == expected[name].tolist(), name
    assert decoder.ledger.orphan == decoder.ledger.dropped_hits == 0


@pytest.mark.parametrize("read", ["size", "fixed"])
@pytest.mark.parametrize(("chips", "layers", "bits"), [(1, 1, 32), (4, 3, 64)])
def test_astep_from_power_up_to_hits(chips: int, layers: int, bits: int, read: str) -> None:
    bench = AstepBench(
        {**VERSION, "chips": chips, "layers": layers}, {"rate_hz": 20_000.0, "hits_limit": 3000},
        {"timestamp_bits": bits, "read": read},
    )  # fmt: skip
    configured(bench)
    assert bench.board.readout_class is AstroPix3LayerReadout
    assert all(registers.tdac_loads == 0 for registers in bench.model.chips.layers)
    hits, decoder = bench.decode(bench.read_all())
    bench.compare(hits)
    assert decoder.ledger.orphan == decoder.ledger.dropped_hits == 0


def test_a_board_that_was_told_another_version_sends_nothing() -> None:
    bench = AstepBench({"chip_version": 4})
    bench.source.chip_version = 3
    configured_for_4 = usual_chip_file(4).chips
    bench.board.open()
    bench.board.configure(ChipSetup(chips=configured_for_4))
    bench.board.start()
    assert bench.board.read_readout(1.0) is None


# ---- the configuration


def test_the_version_is_all_that_is_changed() -> None:
    for kind in ("gecco", "astep"):
        config = Config.model_validate({"board": {"transport": "emulated", "kind": kind, **VERSION}})
        assert open_board(config).readout_class.uid() == (3000 if kind == "gecco" else 3100)
    for keys, divider in ((VERSION, 255), ({}, 40), ({**VERSION, "spi_divider": 100}, 100)):
        assert BoardSection.model_validate({"transport": "emulated", **keys}).gecco_spi_divider == divider


def test_pixels_that_the_version_does_not_have() -> None:
    pixels = {"hot_pixels": [[0, 34, 34, 2.0]]}
    Config.model_validate({"board": {"transport": "emulated", **VERSION}, "emulator": pixels})
    with pytest.raises(ValueError, match="AstroPix 4 has rows 0 to 12 and columns 0 to 15"):
        Config.model_validate({"board": {"transport": "emulated"}, "emulator": pixels})
    with pytest.raises(ConfigError, match="there are no emulated chips of version 2"):
        emulated_chips(2)


CONFIG = """
[daq]
data_dir = "{folder}/data"
runtime_dir = "{folder}/run"
[board]
kind = "{kind}"
transport = "emulated"
chip_version = 3
[chip]
file = "{file}"
"""


def written(tmp_path: Path, kind: str, file: Path = OURS) -> Path:
    path = tmp_path / "daqd.toml"
    path.write_text(CONFIG.format(folder=tmp_path, kind=kind, file=file))
    return path


def dry_run(tmp_path: Path, kind: str, *wishes: str) -> list[dict[str, Any]]:
    out = tmp_path / "trace.jsonl"
    assert main(["configure", "-c", str(written(tmp_path, kind)), "--dry-run", "--trace", str(out), *wishes]) == 0
    return [json.loads(line) for line in out.read_text().splitlines()]


def writes(trace: list[dict[str, Any]], register: int) -> list[str]:
    return [line["data"] for line in trace if line["op"] == "write" and line["register"] == register]


def test_dry_run_for_a_gecco_board_every_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = dry_run(tmp_path, "gecco", "--threshold", "40", "--inject", "34,1", "--vinj", "300", "--analog", "1")
    replaced = {
        "vdacs.vinj": 170,
        "recconfig.col34": OFF | 1,
        "recconfig.col1": OFF & ~(1 << 35) | 1 << 36 | 1 << 37,
    }
    chip = by_hand.chip_port(by_hand.chip_bits(OURS.read_text(), replaced), load=8).hex()
    # Reset, configuration; chip out of reset for SPI; reset, configuration. No TDACs.
    assert writes(trace, 0x00) == ["10", "00", chip, "00", "10", "00", chip]
    # thpmos 1.1, cardConf2 0, vcasc2 1.1, BL 1, 0, 0, vminuspix 1, thpix 1.04 V.
    voltages = by_hand.card_bits([6748, 0, 6748, 6135, 0, 0, 6135, 6380], slot=4)
    assert writes(trace, 0x0C) == [by_hand.card_port(voltages).hex()]
    assert writes(trace, 0x16) == ["ff"]
    assert writes(trace, 0x05) == ["02"]
    assert "AstroPix 3" in capsys.readouterr().out


def test_dry_run_for_an_astep_board(tmp_path: Path) -> None:
    trace = dry_run(tmp_path, "astep", "--pixels", "on")
    assert writes(trace, 0x08) == ["03"]
    on = {f"recconfig.col{column}": 0 for column in range(35)}
    bits = by_hand.chip_bits(OURS.read_text(), on)
    states = [state for bit in bits for state in (4 * int(bit) + clock for clock in (0, 1, 0, 2, 0))]
    last = 4 * int(bits[-1])
    expected = b"".join(bytes((state,)) * 8 for state in (*states, last | 8, 0))
    assert "".join(line["data"] for line in trace if "chip configuration" in line["why"]) == expected.hex()


def test_mistakes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    four = OURS.with_name("astropix4.yml")
    assert main(["check-config", "-c", str(written(tmp_path, "gecco", four))]) != 0
    assert "chip.file: is for AstroPix 4, but board.chip_version = 3" in capsys.readouterr().err
    path = written(tmp_path, "gecco")
    path.write_text(path.read_text() + "inject = [34, 34]\nanalog_column = 34\n[chip.mask]\nenable = [[34, 0]]\n")
    assert main(["check-config", "-c", str(path)]) == 0
    path.write_text(path.read_text().replace("chip_version = 3\n", "").replace(str(OURS), str(four)))
    assert main(["check-config", "-c", str(path)]) != 0
    told = capsys.readouterr().err
    assert "chip.mask.enable[0]: there is no row 34, column 0: AstroPix 4 has rows 0 to 12" in told
    assert "chip.inject: there is no row 34, column 34" in told
    assert "chip.analog_column: there is no pixel in row 0, column 34" in told
