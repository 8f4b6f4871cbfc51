"""The `apx` program as it is started by people and scripts."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apx.cli import main
from apx.terminal import moment, progress
from protocol.apx import FileHeader, apx_open
from protocol.readout import AstroPix4Readout
from protocol.text import counted, printable
from protocol.version import __version__
from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow

APX = [sys.executable, "-m", "apx.cli"]
COMMANDS = ("info", "dump", "verify", "repair", "convert", "from-log")
A = bytes.fromhex("e05042030620d701")


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough hits to fill any pipe."""
    path = tmp_path_factory.mktemp("long") / "long.apx"
    with apx_open(path, "wb", FileHeader(AstroPix4Readout)) as file:
        for number in range(200):
            AstroPix4Readout(A * 200, number, 1).write(file)
    return path


def run_apx(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*APX, *map(str, arguments)], capture_output=True, text=True, timeout=DEADLINE_S, check=False, cwd=cwd
    )


def test_the_installed_program() -> None:
    program = Path(sys.executable).parent / "apx"
    if not program.exists():
        pytest.skip("apx is not installed beside this Python")
    version = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    ).stdout
    assert version == f"apx (astropix-daq) {__version__}\n"


@pytest.mark.parametrize("command", [(), *((each,) for each in COMMANDS)])
def test_help_has_examples(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert re.search(r"examples:\n  apx ", text)
    if not command:
        assert all(each in text for each in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["info"],
        ["info", "x.apx", "--chips", "0"],
        ["info", "x.apx", "--chips", "32"],
        ["info", "x.apx", "--chips", "many"],
        ["dump", "x.apx", "--first", "-1"],
        ["dump", "x.apx", "--hits", "--hex"],
        ["dump", "x.apx", "--color", "perhaps"],
        ["verify"],
        ["repair", "--dry-run"],
        ["convert", "x.apx"],
        ["convert", "x.apx", "--format", "xls"],
        ["from-log"],
    ],
)
def test_misuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_main_paths_as_processes(recordings: Path, tmp_path: Path) -> None:
    name = "20250723_092534_data"
    info = run_apx("info", recordings / f"{name}.apx")
    assert (info.returncode, info.stderr) == (0, "")
    assert "776" in info.stdout
    converted = run_apx("convert", recordings / f"{name}.apx", "--format", "csv", "--output", tmp_path)
    assert (converted.returncode, converted.stderr) == (0, "")
    assert (tmp_path / f"{name}.csv").read_bytes() == (recordings / f"{name}.csv").read_bytes()
    logged = run_apx("from-log", recordings / "decode_cases.log", "--output", tmp_path)
    assert (logged.returncode, logged.stderr) == (0, "")
    dumped = run_apx("dump", "--hex", tmp_path / "decode_cases.apx")
    assert (dumped.returncode, dumped.stderr) == (0, "")
    assert "e0 50 42 e0 50 41 13 06" in dumped.stdout


def test_failures_as_processes(tmp_path: Path) -> None:
    missing = run_apx("info", "missing\n.apx", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == "apx: missing\\n.apx: No such file or directory\n"
    misused = run_apx("convert", "x.apx", cwd=tmp_path)
    assert misused.returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="pipes and signals as POSIX has them")
@pytest.mark.parametrize(
    "arguments", [("dump",), ("dump", "--hex"), ("dump", "--json"), ("convert", "--format", "csv", "--output", "-")]
)
def test_a_reader_that_has_seen_enough(long_recording: Path, arguments: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [*APX, *arguments, str(long_recording)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=DEADLINE_S) == 0


@pytest.mark.skipif(os.name != "posix", reason="pipes and signals as POSIX has them")
def test_ctrl_c(long_recording: Path) -> None:
    with subprocess.Popen(
        [*APX, "dump", str(long_recording)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # it prints far more than a pipe holds, so after its first line it is at work until somebody reads on
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"apx: interrupted\n"
        assert process.wait(timeout=DEADLINE_S) == 130


@pytest.mark.skipif(shutil.which("script") is None, reason="no `script` to make a terminal with")
def test_on_a_terminal(long_recording: Path, tmp_path: Path) -> None:
    command = shlex.join([*APX, "convert", str(long_recording), "--format", "csv", "--output", str(tmp_path)])
    shown = subprocess.run(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "200", "NO_COLOR": ""},
        stdin=subprocess.DEVNULL,
    ).stdout
    assert "long.apx" in shown
    assert "40000 hits of 200 readouts" in shown
    assert (tmp_path / "long.csv").exists()


def test_progress_is_a_bar_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(Path("x\x1b.apx"), 1000) as advance:
        advance(500)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress(Path("x\x1b.apx"), 1000) as advance:
        advance(500)
        advance(1000)
    assert "x\\x1b.apx" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["dump --count 3", "dump --hex --count 3", "convert --format csv -o -"])
def test_no_bar_in_the_middle_of_what_is_printed(
    long_recording: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """On a terminal, or on the way to a pager; rich would also break the lines where the terminal ends."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("apx.recording.is_file", lambda _: False)
    assert main([*shlex.split(command), str(long_recording)]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert len(said.out.splitlines()) > 300
    assert "\x1b" not in said.out


def test_lines_are_safe_and_readable() -> None:
    assert printable("größer\r\n\x1b[2J\udce4\t☢") == "größer\\r\\n\\x1b[2J\\udce4\\t☢"
    assert counted(1, "hit") == "1 hit"
    assert counted(0, "hit") == "0 hits"
    assert moment(1_753_255_536_707_629_800) == "2025-07-23T07:25:36.707629800Z"
