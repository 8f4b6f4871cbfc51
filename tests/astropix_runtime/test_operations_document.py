"""docs/operations.md, "After a power cut": its commands are run as they are written."""

import re
from pathlib import Path

import pytest

from apx.cli import main
from tests.astropix_runtime.run_left_open import RunLeftOpen

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture
def section() -> str:
    match = re.search(r"^## After a power cut\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match
    return match[1]


def test_the_commands(
    section: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = re.findall(r"^    apx (.*)$|`apx (repair [^`]*)`", section, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    run = RunLeftOpen(Path("data"), 1)
    run.write_record()
    run.open_file(0, 4, bytes(4096))
    Path("copied.apx.part").write_bytes(run.content(0, 4) + bytes(9))
    ended = [(command, main(command.split())) for command in map("".join, commands)]
    assert ended == [
        ("verify data", 1),
        ("repair data --dry-run", 0),
        ("repair data/run_000001", 0),
        ("repair copied.apx.part", 0),
    ]
    said = capsys.readouterr().out
    form = "run_000001_0000.apx is finished, 4 readouts, 4096 bytes put aside in run_000001_0000.apx.cut"
    assert f"data/run_000001: would be repaired: {form}; the record says interrupted, 4 readouts, " in said
    assert Path("copied.apx").read_bytes() == run.content(0, 4)
    assert main(["verify", "data"]) == 0
    assert "data/run_000001/run_000001_0000.apx: ok: 4 readouts, 0 to 3, as recorded" in capsys.readouterr().out


def test_what_verify_is_said_to_say(section: str) -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "astropix_runtime" / "storage").glob("*verdict.py")
    )
    rows = re.findall(r"^\| (`(?:bad|warning): .*?) \|", section, re.MULTILINE)
    quoted = [words for row in rows for words in re.findall(r"`(?:\w+: … )?([^`]+)`", row)]
    assert len(quoted) > 6
    assert [words for words in quoted if words not in sources] == []
