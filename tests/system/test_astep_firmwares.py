"""The daemon and every A-STEP firmware whose registers are known, through pyserial; and one that nobody knows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqd.configuration.config import Config
from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.factory import emulated_board
from daqd.emulator.seeded_frames import SeededFrames
from daqd.emulator.stream_device import PtyDevice
from protocol.registers.astep import RegisterWrite, RequestParser
from protocol.registers.astep_register_map import REGISTER_MAPS, RegisterMap
from tests.system.laboratory import Laboratory

HITS = 1500
LAYERS = 3


def settings_of(version: int, **board: Any) -> dict[str, dict[str, Any]]:
    return {
        "board": {"kind": "astep", "transport": "emulated-pty", "layers": LAYERS, "chips": 2, **board},
        "serial": {"baud": 12_000_000},
        "emulator": {"rate_hz": 4000.0, "hits_limit": HITS, "firmware_version": version},
    }


@pytest.mark.parametrize("registers", REGISTER_MAPS, ids=lambda registers: str(registers.since))
def test_cold_board_to_stopped_run(laboratory: Laboratory, registers: RegisterMap) -> None:
    version = int(f"{registers.since:%y%m%d}01")
    daemon = laboratory.configure(settings_of(version)).start()
    daemon.call("start", chip={"threshold_mv": 40.0})
    daemon.wait_until_exhausted()
    assert daemon.status().board.warnings == []
    daemon.call("stop")
    assert daemon.end() == 0

    run = daemon.run(1)
    record = run.check_closed()
    assert record.state == "finished"
    assert record.board["firmware"] == f"firmware 0xAC04 (CMOD A7), version {version}"
    assert record.board["register_map"] == str(registers.since)
    expected = "verified" if version >= 25112001 else "not read back: the firmware cannot"
    assert record.board["read_back"] == {f"layer_{layer}": expected for layer in (1, 2, 3)}
    assert record.timestamp_order == ("big" if version >= 25112401 else "little")
    assert record.chip_configuration is not None
    # 40 mV above blpix = 568: 568 + 22, rounded down.
    assert [chip["config"]["vdacs"]["thpix"][1] for chip in record.chip_configuration["chips"]] == 6 * [590]
    board = daemon.config.board
    sent = SeededFrames(daemon.config.emulator, board.chips, board.layers, board.chip_version).expected_hits(HITS)
    assert len(run.hits) == HITS
    for name in (*emulated_chips(4).known, "layer"):
        np.testing.assert_array_equal(run.hits[name], sent[name], name)
    np.testing.assert_array_equal(run.hits["fpga_timestamp"], sent["fpga_timestamp"] & np.uint64(0xFFFF_FFFF))


@pytest.mark.parametrize(
    ("version", "chip_version", "named"),
    [(26060101, 4, "version 26060101 are unknown"), (25110501, 3, "board.chip_version = 3")],
)
def test_nothing_is_written_to_a_firmware_that_is_unknown_or_for_other_chips(
    laboratory: Laboratory, tmp_path: Path, version: int, chip_version: int, named: str
) -> None:
    firmware = {"firmware_id": 0xAC04, "firmware_version": version}
    config = Config.model_validate({"board": {"kind": "astep", "transport": "emulated"}, "emulator": firmware})
    model = emulated_board(config)
    received = bytearray()
    exchange = model.exchange

    def listen(data: bytes) -> bytes:
        received.extend(data)
        return exchange(data)

    model.exchange = listen  # type: ignore[method-assign]
    device = PtyDevice(model, tmp_path / "port")
    device.start()
    try:
        settings = settings_of(version, transport="serial", chip_version=chip_version)
        settings["serial"]["url"] = str(tmp_path / "port")
        daemon = laboratory.configure(settings).start()
        refused = daemon.ctl("configure")
        assert refused.code == 1
        assert named in refused.stderr
        assert daemon.status().state == "error"
        assert daemon.end() == 0
    finally:
        device.close()
    requests = RequestParser().feed(bytes(received))
    assert not [request for request in requests if isinstance(request, RegisterWrite)]
    # Id and version, byte by byte, behind zeros that end whatever request an earlier session has begun.
    identification = [f"020{byte}0004" for byte in (3, 2, 1, 0, 7, 6, 5, 4)]
    assert [request.encode(REGISTER_MAPS[0]).hex() for request in requests] == identification
    assert bytes(received).lstrip(b"\0").hex() == "".join(identification)
