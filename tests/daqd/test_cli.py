"""The command line of `daqd`: help with examples, exit codes 0, 1 and 2, errors of one line that say what to do."""

import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from astropix_runtime.command_line.program import MISUSE
from daqd.cli import build_parser, main
from protocol.version import __version__
from tests.daqd.file_bytes import header_bytes, record_bytes
from tests.daqd.listener import Collector
from tests.daqd.published import Published
from tests.daqd.waiting import DEADLINE_S

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = ["run", "replay", "check-config", "probe", "emulate", "configure", "demo"]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands that serve set up logging for their process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def misuse(*arguments: str) -> int:
    """Exit code of a command line that argparse refuses, or of `main`."""
    try:
        return main(list(arguments))
    except SystemExit as end:
        assert isinstance(end.code, int)
        return end.code


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "daqd.toml"
    path.write_text('[board]\ntransport = "emulated"\n')
    return path


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_has_examples(command: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"] if command else ["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"daqd {command or 'run'}" in text


def test_the_examples_of_the_program_can_be_parsed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every example that the help shows is a command line that is taken."""
    found = 0
    for command in [None, *COMMANDS]:
        with pytest.raises(SystemExit):
            main([command, "--help"] if command else ["--help"])
        for line in capsys.readouterr().out.partition("examples:")[2].splitlines():
            words = line.strip().split("  ")[0].split()
            if words[:1] == ["daqd"] and '"' not in line and "&" not in line and "|" not in line:
                build_parser().parse_args(words[1:])
                found += 1
    assert found > 10


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert misuse("--version") == 0
    assert capsys.readouterr().out == f"daqd {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["launch"], "invalid choice: 'launch'"),
        (["run"], "-c/--config"),
        (["run", "-c", "x.toml", "--duration", "0", "--autostart"], "'0' is not a number of seconds above 0"),
        (["run", "-c", "x.toml", "--duration", "nan", "--autostart"], "'nan' is not a number of seconds above 0"),
        (["run", "-c", "x.toml", "--duration", "5"], "add it"),
        (["run", "-c", "x.toml", "--comment", "x"], "--autostart"),
        (["replay"], "FILE"),
        (["replay", "a.apx", "--speed", "0"], "'0' is neither a number above 0 nor \"max\""),
        (["replay", "a.apx", "--speed", "-1"], "--speed"),
        (["replay", "a.apx", "--speed", "inf"], "neither a number above 0"),
        (["replay", "a.apx", "--speed", "nan"], "neither a number above 0"),
        (["replay", "a.apx", "--speed", "fast"], "neither a number above 0"),
        (["replay", "a.apx", "--wait-for", "-1"], "--wait-for"),
        (["replay", "a.apx", "--wait-for", "²"], "'²' is not a whole number"),
        (["replay", "a.apx", "--chips", "0"], "'0' is not a number of chips from 1 to 31"),
        (["replay", "a.apx", "--chips", "32"], "is not a number of chips"),
        (["replay", "a.apx", "--chips", "²"], "is not a number of chips"),
        (["replay", "a.apx", "--bind", "nonsense"], '--bind "nonsense" is no endpoint: tcp://ADDRESS:PORT'),
        (["replay", "a.apx", "--bind", "tcp://0.0.0.0:5556"], "make keys (daqctl keygen)"),
        (["replay", "a.apx", "--bind", "tcp://0.0.0.0:5556"], "add --insecure if that is meant"),
        (["replay", "a.apx", "--catch-up", "nonsense"], '--catch-up "nonsense" is no endpoint: tcp://ADDRESS:PORT'),
        (["replay", "a.apx", "--catch-up", "tcp://0.0.0.0:1"], "--catch-up"),
        (["replay", "a.apx", "--loop", "--stay"], "--loop has no end after which to --stay"),
        (["replay", "a.apx", "--stay", "--catch-up", ""], "--stay is for those who come late"),
        (["replay", "a.apx", "--server-key", "a"], "--server-key and --client-keys go together"),
        (["replay", "a.apx", "--insecure", "--server-key", "a", "--client-keys", "b"], "contradict each other"),
        (["replay", "a.apx", "--bind", "tcp://*:5556"], "lets every machine on the network read the stream"),
        (["check-config"], "-c/--config"),
    ],
)
def test_misuse(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert misuse(*arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert said in output.err.splitlines()[-1]


def test_a_configuration_without_mistakes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "-c", str(config)]) == 0
    assert capsys.readouterr().out == f"{config}: no mistakes\n"
    assert main(["check-config", "-c", str(config), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["config"]["board"]["transport"] == "emulated"
    assert answer["config"]["stream"]["bind"] == "tcp://127.0.0.1:5556"


@pytest.mark.parametrize("name", ["emulated.toml", "gecco.toml", "astep-uart.toml"])
def test_the_configurations_that_come_with_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = REPOSITORY / "config" / name
    assert main(["check-config", "-c", str(path)]) == 0
    assert "no mistakes" in capsys.readouterr().out


def test_a_configuration_with_mistakes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('[board]\ntransport = "telepathy"\nchips = 99\n[colour]\nred = 1\n')
    assert main(["check-config", "-c", str(config)]) == MISUSE
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"daqd: {config}: ") for line in lines)
    assert main(["check-config", "-c", str(config), "--json"]) == MISUSE
    output = capsys.readouterr()
    answer = json.loads(output.out)
    assert answer["ok"] is False
    assert len(answer["mistakes"]) == 3
    assert main(["run", "-c", str(config)]) == MISUSE
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_configuration_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "missing.toml"
    for command in ("check-config", "run"):
        assert main([command, "-c", str(path)]) == MISUSE
        assert capsys.readouterr().err == f"daqd: {path}: cannot be read: No such file or directory\n"


def test_a_recording_that_cannot_be_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.apx"
    path.write_bytes(b"no recording")
    assert main(["replay", str(path), "--bind", f"ipc://{tmp_path}/s"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"daqd: cannot replay {path}: at byte 0: not an .apx file")
    assert main(["replay", str(tmp_path / "missing.apx"), "--bind", f"ipc://{tmp_path}/s"]) == 1
    assert capsys.readouterr().err == f"daqd: cannot replay {tmp_path}/missing.apx: No such file or directory\n"


def test_a_replay_at_an_address_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.apx"
    path.write_bytes(header_bytes())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert main(["replay", str(path), "--bind", bind]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"daqd: cannot publish at {bind}: Address already in use")


def test_a_replay_as_a_process(tmp_path: Path) -> None:
    path = tmp_path / "a.apx"
    path.write_bytes(header_bytes() + record_bytes(0, 1, bytes.fromhex("bcbce05042030620d701")))
    bind = f"ipc://{tmp_path}/s"
    command = [sys.executable, "-W", "error", "-m", "daqd.cli", "replay", str(path), "--speed", "max", "--bind", bind]
    with (
        Collector(bind) as collector,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process,
    ):
        messages = collector.wait_for(lambda messages: len(Published(messages).events) == 2)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    hits = Published(messages).hits
    assert [(hit["row"], hit["column"], hit["tot_us"]) for hit in hits] == [(1, 9, 31.05)]
    assert "1 readouts replayed" in said
    assert "Traceback" not in said
