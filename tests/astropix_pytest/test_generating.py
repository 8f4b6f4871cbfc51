"""Runs out of a seed."""

from pathlib import Path

import numpy as np
import pytest

from astropix_pytest.generating import BEGIN_NS, generate
from daqd.configuration.config import EmulatorSection
from daqd.emulator.seeded_hits import SeededHits
from daqd.errors import ConfigError
from protocol.astropix3_hit import AstroPix3Hit


def test_the_hits_are_those_of_the_emulated_board(tmp_path: Path) -> None:
    run = generate(tmp_path, 20_000, chips=4, rate_hz=10_000.0, seed=3, hot_pixels=[(1, 2, 3, 500.0)])
    settings = EmulatorSection.model_validate(
        {"rate_hz": 10_000.0, "seed": 3, "hits_limit": 20_000, "hot_pixels": [[1, 2, 3, 500.0]]}
    )
    known = SeededHits(settings, 4).expected_hits(20_000)
    assert len(run.hits) == run.ledger.hits == 20_000
    assert run.ledger.balanced
    for name in ("chip_id", "row", "column", "ts_dec1", "ts_dec2", "tot_us"):
        np.testing.assert_array_equal(run.hits[name], known[name])
    # Read when they had arrived, at the end of the same 3 ms.
    late_ns = run.hits["timestamp"].astype(np.int64) - BEGIN_NS - known["arrival_ns"]
    assert 0 <= late_ns.min() <= late_ns.max() <= 3_000_000
    hot = (run.hits["chip_id"] == 1) & (run.hits["row"] == 2) & (run.hits["column"] == 3)
    assert 0.3 < hot.mean() < 0.5  # 500 among 831 others


def test_the_same_again(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run = generate(tmp_path / name, 3000, seed=8, settings={"emulator.misbehave": {"cut_hits": 0.1}})
        files.append(run.files[0].read_bytes())
    assert files[0] == files[1]
    assert run.ledger.balanced
    assert run.ledger.dropped > 0


@pytest.mark.parametrize("rate_hz", [0.5, "max"])
def test_any_rate(tmp_path: Path, rate_hz: float | str) -> None:
    run = generate(tmp_path, 50, rate_hz=rate_hz)
    assert len(run.hits) == 50
    assert (np.diff(run.hits["timestamp"].astype(np.int64)) >= 0).all()


def test_chips_of_version_3(tmp_path: Path) -> None:
    run = generate(tmp_path, 100, settings={"board": {"chip_version": 3}})
    assert run.hits.dtype == AstroPix3Hit.DTYPE
    assert len(run.hits) == 100


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"chips": 2, "hot_pixels": [(2, 0, 0, 5.0)]}, r"emulator.*names chip 2"),
        ({"hits": 0}, "has a number of hits"),
        ({"settings": {"board": {"kind": "astep"}}}, "of a GECCO board"),
        ({"settings": {"board": {"colour": "red"}}}, "board.colour"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        generate(tmp_path, **{"hits": 10, **arguments})
    assert not list(tmp_path.glob("run_*"))
