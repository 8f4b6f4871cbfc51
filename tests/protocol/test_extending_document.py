"""docs/extending.md: its chip is tried as a whole, and what it names is there."""

import re
import subprocess
import sys
from pathlib import Path

from tests.deadline import DEADLINE_S

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")

# In a process of its own: a class of readouts stays registered for as long as its process lives.
USE = """
import sys
import numpy as np
from quadra import QuadraHit, QuadraReadout
from protocol import FileHeader, StreamDecoder, apx_open
from apx.cli import main

values = dict(chip_id=[0, 1, 1], payload=6, row=[5, 60, 1], column=[63, 0, 2], ts=[0xFFFFF, 7, 1])
values["tot_total"] = [40, 0, 65535]
wire = QuadraHit.LAYOUT.encode(values)
assert wire.shape == (3, 7)
cut = wire.tobytes()
with apx_open("run.apx", "wb", FileHeader(QuadraReadout, {"chips": 2})) as file:
    QuadraReadout(b"\\xbc" + cut[:17] + b"\\xff" * 30, 0, 100).write(file)
    QuadraReadout(cut[17:] + b"\\xbc" * 9, 1, 200).write(file)
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


def test_the_chip(tmp_path: Path) -> None:
    match = re.search(r"^```python (quadra\.py)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match
    (tmp_path / match[1]).write_text(match[2])
    used = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert (used.returncode, used.stderr) == (0, "")
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 5


def test_what_it_names_is_there() -> None:
    named = re.findall(r"`((?:protocol|daqd|monitor|tests)/[\w/]+\.py)`", DOCUMENT)
    assert len(named) > 10
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
