"""What the programs end with: 0 fine, 1 failed, 2 the command, or the configuration, cannot be meant so."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apx import cli as apx
from astropix_runtime.command_line import program
from astropix_runtime.errors import UnreachableError
from daqd import cli as daqd
from daqd import ctl as daqctl
from monitor import cli as monitor
from monitor.control import Controller
from monitor.sanity import cli as sanity
from protocol import AstroPix4Readout, FileHeader, apx_open

PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "daqd": daqd.main,
    "daqctl": daqctl.main,
    "apx": apx.main,
    "apx-monitor": monitor.main,
    "apx-sanity": sanity.main,
}

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with good and bad configurations, nobody who answers, and a port that is taken."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(
        f'[daq]\nruntime_dir = "{tmp_path}"\n[board]\ntransport = "serial"\n[serial]\nurl = "{tmp_path}/no-port"\n'
    )
    (tmp_path / "bad.toml").write_text("[board]\ncolour = 1\n[sanity]\ncolour = 1\n")
    (tmp_path / "text.apx").write_text("this is no recording")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "port").write_text(str(taken.getsockname()[1]))
        yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


def exit_code(command: str) -> object:
    """Of a command line; `PORT` in it is the port that is taken."""
    program, *arguments = command.replace("PORT", Path("port").read_text()).split()
    try:
        return PROGRAMS[program](arguments)
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.usefixtures("place")
def test_help_is_fine_and_tells_the_codes(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(f"{program} --help") == 0
    assert "\nexit codes:\n  0  " in capsys.readouterr().out
    assert exit_code(f"{program} --version") == 0
    assert exit_code(f"{program} --nonsense") == 2


@pytest.mark.parametrize(
    "command",
    [
        "daqd run -c bad.toml",
        "daqd run -c missing.toml",
        "daqd run -c good.toml --comment x",
        "daqd check-config -c bad.toml",
        "daqd check-config -c missing.toml",
        "daqd check-config -c bad.toml --json",
        "daqd configure -c bad.toml",
        "daqd configure -c bad.toml --json",
        "daqd configure -c good.toml --threshold 1600",
        "daqd configure -c good.toml --chip-file missing.yml",
        "daqd probe -c bad.toml",
        "daqd emulate --tcp 0 -c bad.toml",
        "daqd replay text.apx --bind nonsense",
        "daqd replay text.apx --server-key missing --client-keys missing",
        "daqd demo --chips 99",
        "daqctl -c bad.toml status",
        "daqctl -c missing.toml status",
        "daqctl --endpoint nonsense status",
        "daqctl --endpoint tcp://127.0.0.1:PORT status",
        "daqctl --endpoint tcp://127.0.0.1:PORT --server-key missing --key missing status",
        "apx convert text.apx --format colour",
        "apx-monitor watch --connect nonsense",
        "apx-monitor watch --once --server-key missing --key missing",
        "apx-monitor serve --token-file missing",
        "apx-monitor serve --plots missing.py",
        "apx-sanity -c bad.toml",
        "apx-sanity -c missing.toml",
        "apx-sanity --connect nonsense",
        "apx-sanity --once text.apx -c bad.toml",
        "apx-sanity alarms -c bad.toml",
    ],
)
@pytest.mark.usefixtures("place")
def test_misuse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command) == 2
    assert capsys.readouterr().out.startswith("{") == ("--json" in command)


@pytest.mark.parametrize(
    "command",
    [
        "daqd configure -c good.toml",
        "daqd configure -c good.toml --json",
        "daqd probe no-port",
        "daqd emulate --tcp PORT",
        "daqd replay missing.apx --bind ipc://replay",
        "daqd replay text.apx --bind tcp://127.0.0.1:PORT",
        "daqctl -c good.toml status",
        "apx info missing.apx",
        "apx verify text.apx",
        "apx-monitor watch --once --timeout 0.01 --connect ipc://nobody",
        "apx-monitor serve --connect ipc://nobody --alarms ipc://nobody --port PORT",
        "apx-sanity --once text.apx",
        "apx-sanity alarms --control ipc://nobody",
    ],
)
@pytest.mark.usefixtures("place")
def test_failed(command: str) -> None:
    assert exit_code(command) == 1


@pytest.mark.usefixtures("place")
def test_fine() -> None:
    assert exit_code("daqd check-config -c good.toml") == 0
    assert exit_code("daqd configure --dry-run -c good.toml") == 0


def test_a_service_that_cannot_be_meant_so_is_not_started_again() -> None:
    for unit in (REPOSITORY / "config" / "systemd").glob("*.service"):
        assert "RestartPreventExitStatus=2" in unit.read_text().splitlines()


def test_who_has_seen_enough_of_a_list_has_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(sanity, "print_checks", closed)
    monkeypatch.setattr(program, "drop_output", lambda: None)  # the test run's own stdout goes on
    assert sanity.main(["--list"]) == 0


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("daqd emulate --pty text.apx", 1),
        ("daqd replay good.apx --bind ipc://text.apx --wait-for 0", 1),
        ("daqd configure -c good.toml --dry-run --trace good.toml", 2),
        ("apx-sanity --once text.apx --html text.apx", 2),
        ("apx-sanity --make-reference text.apx -o text.apx", 2),
        ("apx-sanity -c publishes-at-text.toml --for 0.1", 1),
        ("apx-sanity -c controlled-at-text.toml --for 0.1", 1),
    ],
)
@pytest.mark.usefixtures("place")
def test_a_file_that_is_there_is_kept(command: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """ZeroMQ deletes what has the name of its socket, and a link to a terminal takes the place of what was there."""
    tables = {"publishes": '[publish]\nbind = "ipc://text.apx"\n', "controlled": '[publish]\nbind = ""\n'}
    tables["controlled"] += '[control]\nendpoint = "ipc://text.apx"\n'
    for name, table in tables.items():
        sanity_table = f'[sanity]\ndirectory = "{name}"\n[stream]\nconnect = "ipc://nobody"\n'
        Path(f"{name}-at-text.toml").write_text(sanity_table + table)
    with apx_open("good.apx", "wb", FileHeader(AstroPix4Readout, {})):
        pass
    before = {path: path.read_bytes() for path in (Path("text.apx"), Path("good.toml"))}
    assert exit_code(command) == code
    assert {path: path.read_bytes() for path in before} == before
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("daqd demo --data-dir text.apx", "daqd: --data-dir text.apx cannot be used: "),
        ("apx-sanity --once text.apx --reference missing.json", "apx-sanity: missing.json: No such file or directory"),
        ("apx-monitor serve --plots missing.py", "apx-monitor: there is no file "),
        ("daqd demo --chips 99", "daqd demo: error: argument --chips: '99' is not a number of chips"),
        ("daqd demo --rate 0", "daqd demo: error: argument --rate: '0' is not a number above 0"),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_is_wrong_is_called_by_its_name(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command)
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


@pytest.mark.usefixtures("place")
def test_on_a_terminal_a_checker_says_what_it_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All may be well for hours."""
    assert exit_code("apx-sanity --connect ipc://nobody --for 0.01") == 1
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert exit_code("apx-sanity --connect ipc://nobody --for 0.01") == 1
    assert capsys.readouterr().err == "checking ipc://nobody; Ctrl-C ends it\n"


@pytest.mark.parametrize("directory", [True, False])
@pytest.mark.usefixtures("place")
def test_the_socket_of_another_user(
    directory: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a directory that this user may not look into, or not to be written to. (The tests may be run by root.)"""

    def refuse(path: Path, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    Path("locked").touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        if directory:
            patch.setattr(Path, "stat", refuse)
        with pytest.raises(UnreachableError, match="is for the user who started it"):
            asyncio.run(Controller("ipc://locked").call("status"))
        for command in ("daqctl --endpoint ipc://locked status", "apx-sanity alarms --control ipc://locked"):
            program, *arguments = command.split()
            assert PROGRAMS[program](arguments) == 1
            said = (
                f"{program}: ipc://locked is for the user who started it: be that user (sudo -u USER …), or use keys\n"
            )
            assert capsys.readouterr().err == said
