"""`daqd configure` that is told to end in the middle: the board is left safe."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.laboratory import Laboratory


def last_writes(lines: list[str]) -> dict[int, str]:
    """What each register was set to last."""
    told = [json.loads(line) for line in lines]
    return {each["register"]: each["data"] for each in told if each["op"] == "write"}


@pytest.mark.parametrize(
    ("kind", "registers", "number"),
    [("gecco", (0x00, 0x02, 0x03), signal.SIGTERM), ("astep", (0x1F, 0x9F), signal.SIGHUP)],
)
def test_between_two_transfers(
    laboratory: Laboratory, kind: str, registers: tuple[int, ...], number: signal.Signals
) -> None:
    device, trace = laboratory.runtime_dir / "board", laboratory.folder / "trace"
    settings: dict[str, dict[str, Any]] = {
        "board": {"kind": kind, "transport": "serial", "chips": 2},
        "serial": {"url": str(device)},
        "chip": {"inject": [1, 9]},
    }
    config = laboratory.configure(settings).config_path
    emulator = laboratory.start("daqd", "emulate", "--no-pace", "--pty", device, "-c", config)
    emulator.wait_for_output("emulated .* board")

    os.mkfifo(trace)
    configure = laboratory.start("daqd", "configure", "-c", config, "--trace", trace)
    with trace.open() as pipe:
        done = [pipe.readline() for _ in range(3)]
        # It waits for us now, before or in the first vector for the chips, which is longer than a pipe.
        configure.send(number)
        configure.send(signal.SIGTERM)
        done += pipe.readlines()
    assert configure.wait() == 1
    ended = f"daqd: ended by {number.name}: injection is off, the chips are held in reset\n"
    assert configure.output == ended

    whole = laboratory.folder / "whole.jsonl"
    assert laboratory.run("daqd", "configure", "-c", config, "--stop", "--trace", whole).code == 0
    assert 3 < len(done) < len(whole.read_text().splitlines())
    last, stopped = last_writes(done), last_writes(Path(whole).read_text().splitlines())
    assert last
    for register in registers:
        assert last[register] == stopped[register], hex(register)
    assert emulator.end() == 0
