"""A warm board, a setting that contradicts it, a disk too small and standing still, late hits: each is an alarm."""

import sys
import time

import pytest

from tests.conftest import REPOSITORY
from tests.system.laboratory import Laboratory
from tests.system.processes import wait_until

LATE_S = 0.5


@pytest.mark.finds("disk", "board_temperature", "board_warnings", "queue_depth", "data_age")
def test_each_trouble_is_an_alarm(laboratory: Laboratory) -> None:
    gates = laboratory.folder / "gates"
    gates.mkdir()
    stream = f"ipc://{laboratory.runtime_dir}/stream.ipc"
    daemon = laboratory.configure(
        {
            "board": {"kind": "astep"},
            "astep": {"timestamp_order": "little"},
            "emulator": {"rate_hz": 2000.0, "hits_limit": 2000, "firmware_version": 26012701},
            "acquisition": {"queue_mb": 1.0},
            "disk": {"warning_mb": float(1 << 40)},
            "stream": {"bind": stream, "catch_up": ""},
        }
    )
    (laboratory.folder / "sanity.toml").write_text(
        f"""
        [sanity]
        directory = "{laboratory.folder}/kept"
        [stream]
        connect = "{stream}"
        [publish]
        bind = ""
        [control]
        endpoint = "ipc://{laboratory.runtime_dir}/checker.ipc"
        [checks.queue_depth]
        warning = 0.01
        [checks.data_age]
        late_s = {LATE_S}
        in_a_row = 1
        [checks.board_temperature]
        warning_c = 20.0
        """
    )
    command = [sys.executable, "-m", "tests.system.daemon_with_gates", str(gates), "run", "-c", str(daemon.config_path)]
    daemon.launch_command(command, {"PYTHONPATH": str(REPOSITORY)}).wait_until_serving()
    checker = laboratory.start("apx-sanity", "-c", "sanity.toml")
    checker.wait_for_output("alarm raised: warning disk:.* free")

    gate = gates / "disk"
    gate.touch()
    daemon.call("start")
    checker.wait_for_output("alarm raised: warning board_temperature:fpga_temperature_c: fpga_temperature_c is ")
    checker.wait_for_output('alarm raised: warning board_warnings:.* sends "big"')
    wait_until("the board has sent everything", lambda: daemon.status().board.counters["exhausted"])
    silent_since = time.monotonic()
    checker.wait_for_output("alarm raised: warning queue_depth: .* bytes wait for the disk")
    wait_until("the hits are late", lambda: time.monotonic() - silent_since > LATE_S)
    assert "data_age" not in checker.output
    gate.unlink()
    checker.wait_for_output("alarm raised: warning data_age: the newest hits are .* s old")
    checker.wait_for_output("alarm over: .*queue_depth")
    assert checker.end() == 1
    assert daemon.end() == 0
