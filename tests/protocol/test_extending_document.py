"""docs/extending.md: its chip and its link are tried as distributions of their own, and what it names is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")

# In processes of their own: what is registered stays so for as long as its process lives.
BYTES = """
import sys
import numpy as np
from protocol import FileHeader, StreamDecoder, apx_open, uid_to_readout_class
from protocol.chips.chip_type import chip_type
from apx.cli import main

assert "quadra" not in sys.modules
QuadraReadout = uid_to_readout_class(9000)
QuadraHit = QuadraReadout.HIT_CLASS
assert chip_type(9) is chip_type("Quadra") is sys.modules["quadra"].QUADRA
values = dict(chip_id=[0, 1, 1], payload=6, row=[5, 60, 1], column=[63, 0, 2], ts=[0xFFFFF, 7, 1])
values["tot_total"], values["energy"] = [40, 0, 65535], [1, 0xFFFFF, 0x80000]
wire = QuadraHit.LAYOUT.encode(values)
assert wire.shape == (3, 10)
cut = wire.tobytes()
with apx_open("run.apx", "wb", FileHeader(QuadraReadout, {"chips": 2})) as file:
    QuadraReadout(b"\\xbc" + cut[:25] + b"\\xff" * 30, 0, 100).write(file)
    QuadraReadout(cut[25:] + b"\\xbc" * 9, 1, 200).write(file)
decoder = StreamDecoder(2, QuadraHit)
with apx_open("run.apx") as file:
    hits = np.concatenate([decoder.decode(list(file)), decoder.flush()])
for name, column in values.items():
    np.testing.assert_array_equal(hits[name], np.broadcast_to(column, 3))
np.testing.assert_allclose(hits["tot_us"], [1.0, 0.0, 1638.375])
assert decoder.ledger.hits == 3 and decoder.ledger.orphan == decoder.ledger.dropped == 0
assert [QuadraHit.first_bytes(None)[byte] for byte in (0xBC, 0xFF)] == [False, False]
sys.exit(main(["convert", "run.apx", "--format", "csv"]))
"""

RUN = """
import sys
from pathlib import Path
import numpy as np
from apx.cli import main
from astropix_pytest.daemon import DaemonSource
from monitor.client import StreamClient
from monitor.events import HitBatch, RunMessage
from monitor.state.detector_state import DetectorState
from protocol.apx import ApxReader

kind, chip = sys.argv[1:]
state, hits = DetectorState(), []
settings = {"board": {"kind": kind, "chip_version": int(chip) if chip.isdigit() else chip}}
settings["emulator"] = {"dead_pixels": [[0, 49, 59]], "hot_pixels": [[1, 48, 50, 1000.0]]}
with DaemonSource(Path(), 600, chips=2, rate_hz="max", settings=settings) as daemon:
    with StreamClient(daemon.endpoint, history=True) as client:
        daemon.start()
        daemon.wait_until_done()
        for event in client.events(timeout_s=30):
            state.feed(event)
            if isinstance(event, HitBatch):
                hits.append(event.hits)
            if isinstance(event, RunMessage) and event.body.event == "end":
                break
    recorded = daemon.hits
    (path,) = daemon.recording.files
hits = np.concatenate(hits)
assert len(hits) == 600 and hits.dtype == recorded.dtype
np.testing.assert_array_equal(hits, recorded)
histograms = state.histograms
assert histograms.kind.chip.name == "Quadra" and histograms.kind.layered == (kind == "astep")
assert histograms.hit_map.shape[1:] == (50, 60) and histograms.hit_map.sum() == 600
assert histograms.outside == 0 and abs(hits["tot_us"].mean() - 100) < 2
assert len(set(hits["energy"].tolist())) > 500
sys.exit(main(["convert", str(path), "--format", "csv", "-o", "run.csv"]))
"""

LINK = """
import time
from pathlib import Path
from astropix_pytest.daemon import DaemonSource
from astropix_pytest.recording import Recording
from astropix_pytest.settings import write_config
from daqd.emulator.factory import emulated_board
from daqd.emulator.stream_device import TcpDevice

config = write_config(Path("board.toml"), 500, rate_hz="max")
device = TcpDevice(emulated_board(config), 0, "127.0.0.1")
device.start()
try:
    url = device.url.replace("socket://", "tcp://")
    settings = {"board": {"transport": "plain-tcp"}, "serial": {"url": url}}
    with DaemonSource(Path(), 500, settings=settings) as daemon:
        daemon.start()
        end = time.monotonic() + 60
        while daemon.status().counts["board_bytes"] < 500 * 8 and time.monotonic() < end:
            time.sleep(0.02)
        assert daemon.status().board.transport == "plain-tcp"
        daemon.command("stop")
    assert len(Recording.of(*Path("data").glob("*/*.apx")).hits) == 500
finally:
    device.close()
"""


def install(folder: Path, module: str) -> None:
    """What an installation of the document's module brings, in `folder`."""
    code = re.search(rf"^```python ({module}\.py)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    entry = re.search(rf'^\[project\.entry-points\."(.*?)"\]\n(.*?) = "({module}:\w+)"$', DOCUMENT, re.MULTILINE)
    assert code
    assert entry
    (folder / code[1]).write_text(code[2], encoding="utf-8")
    add_entry_point(folder, module, entry[1], f"{entry[2]} = {entry[3]}")


def add_entry_point(folder: Path, distribution: str, group: str, line: str) -> None:
    information = folder / f"{distribution}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{line}\n")


def run_python(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    work = folder / "work"
    work.mkdir()
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=work,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(REPOSITORY)))},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_the_chip_in_bytes_and_files(tmp_path: Path) -> None:
    install(tmp_path, "quadra")
    used = run_python(tmp_path, BYTES)
    assert used.returncode == 0, used.stderr
    assert used.stderr == ""
    assert len((tmp_path / "work" / "run.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(("kind", "chip"), [("gecco", "Quadra"), ("astep", "9")])
def test_the_chip_on_an_emulated_board(tmp_path: Path, kind: str, chip: str) -> None:
    install(tmp_path, "quadra")
    used = run_python(tmp_path, RUN, kind, chip)
    assert used.returncode == 0, used.stderr
    assert used.stderr == ""
    assert len((tmp_path / "work" / "run.csv").read_text().splitlines()) >= 600


def test_the_link(tmp_path: Path) -> None:
    install(tmp_path, "plain_tcp")
    used = run_python(tmp_path, LINK)
    assert used.returncode == 0, used.stderr
    assert used.stderr == ""


def test_a_broken_entry_point_is_one_line_and_stops_nothing(tmp_path: Path) -> None:
    add_entry_point(tmp_path, "broken", "astropix_daq.chips", "broken = no_such_module:CHIP")
    add_entry_point(tmp_path, "wrong", "astropix_daq.chips", "wrong = os:sep")
    add_entry_point(tmp_path, "taken", "astropix_daq.chips", "taken = taken_chip:CHIP")
    (tmp_path / "taken_chip.py").write_text(
        "from dataclasses import replace\n"
        "from protocol.chips.astropix_chips import ASTROPIX4\n"
        "CHIP = replace(ASTROPIX4, name='Another')\n"
    )
    asked = "from protocol.chips.chip_type import chip_types; print([chip.number for chip in chip_types()])"
    used = run_python(tmp_path, asked)
    assert (used.returncode, used.stdout) == (0, "[3, 4]\n")
    lines = sorted(used.stderr.splitlines())
    assert [line.split()[1] for line in lines] == ["broken", "taken", "wrong"]


def test_what_it_names_is_there() -> None:
    named = re.findall(r"`((?:protocol|daqd|monitor|tests)/[\w/]+\.py)`", DOCUMENT)
    assert len(named) > 10
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
