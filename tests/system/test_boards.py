"""Boards behind the real USB and serial libraries, taken by the real daemon: from a cold board to a stopped run."""

from typing import Any

import numpy as np
import pytest

from daqd.configuration.config import Config
from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.seeded_frames import SeededFrames
from daqd.emulator.seeded_hits import SeededHits
from tests.system.laboratory import Laboratory

CHIPS = 2
HITS = 8000
EVERYWHERE = pytest.mark.parametrize(
    ("kind", "transport"),
    [
        ("gecco", "emulated-usb"),
        ("astep", "emulated-pty"),
        pytest.param("gecco", "emulated-pty", marks=pytest.mark.soak),
        pytest.param("astep", "emulated-usb", marks=pytest.mark.soak),
    ],
)


def settings_of(kind: str, transport: str, **emulator: Any) -> dict[str, dict[str, Any]]:
    return {
        "board": {"kind": kind, "transport": transport, "chips": CHIPS},
        "serial": {"baud": 12_000_000},
        "emulator": {"rate_hz": 4000.0, **emulator},
    }


def sent_hits(config: Config) -> Any:
    """What the emulated board says that it sends."""
    board = config.board
    if board.kind == "astep":
        return SeededFrames(config.emulator, board.chips, board.layers, board.chip_version).expected_hits(HITS)
    return SeededHits(config.emulator, board.chips, board.chip_version).expected_hits(HITS)


@pytest.mark.parametrize(
    ("kind", "transport", "version"),
    [
        *((kind, transport, 4) for kind in ("gecco", "astep") for transport in ("emulated-usb", "emulated-pty")),
        ("gecco", "emulated-usb", 3),
        ("astep", "emulated-pty", 3),
    ],
)
def test_cold_board_to_stopped_run(laboratory: Laboratory, kind: str, transport: str, version: int) -> None:
    settings = settings_of(kind, transport, hits_limit=HITS)
    settings["board"]["chip_version"] = version
    daemon = laboratory.configure(settings).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start", chip={"threshold_mv": 40.0, "inject": [1, 9], "vinj_mv": 300.0})
    daemon.wait_until_exhausted()
    daemon.call("stop")
    subscriber.wait_for_end(run=1)
    assert daemon.end() == 0

    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    assert record.gaps == ()
    chips = record.chip_configuration
    assert chips is not None
    if kind == "gecco":
        assert chips["threshold_mv"]["card"] == 40.0
    else:  # no cards: 22 DAC codes of 1800 mV / 1024
        assert chips["threshold_mv"] == {"card": None, "chips": [pytest.approx(22 * 1800 / 1024)] * CHIPS}
    assert chips["version"] == version
    assert (chips["injection"]["row"], chips["injection"]["amplitude_mv"]) == (1, 300.0)
    sent = sent_hits(daemon.config)
    streamed = subscriber.hits(run=1)
    for hits in (run.hits, streamed):
        assert len(hits) == HITS
        for name in emulated_chips(version).known:
            np.testing.assert_array_equal(hits[name], sent[name], name)
    assert subscriber.ledger(run=1) == run.check_ledger()


@EVERYWHERE
def test_the_cable_is_pulled_out_again_and_again(laboratory: Laboratory, kind: str, transport: str) -> None:
    """Recovered, configured anew, the gaps in the record and on the stream; what was read is in the files."""
    settings = settings_of(kind, transport, unplug_every_s=3.0, unplug_for_s=0.5)
    daemon = laboratory.configure(settings).start()
    subscriber = daemon.subscribe()
    subscriber.wait_until_heard()
    daemon.call("start")
    for number in (1, 2):
        subscriber.wait_for_gaps(run=1, number=number)
    daemon.wait_for_readouts(daemon.status().counts["readouts"] + 10)
    daemon.call("stop")
    subscriber.wait_for_end(run=1)
    assert daemon.end() == 0

    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    assert len(record.gaps) >= 2
    for gap, following in zip(record.gaps[:-1], record.gaps[1:], strict=True):
        assert gap.to_ns is not None
        assert gap.from_ns < gap.to_ns <= following.from_ns
    assert "gone" in record.gaps[0].reason
    assert subscriber.ledger(run=1) == run.check_ledger()
    np.testing.assert_array_equal(subscriber.hits(run=1), run.hits)
