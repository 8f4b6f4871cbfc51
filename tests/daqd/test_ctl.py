"""The command line of `daqctl`: what it asks, what it prints, its exit codes. With real daemons: tests/system."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from daqd.control_commands import COMMANDS
from daqd.ctl import build_parser, endpoint_of, main
from daqd.errors import RunControlError
from protocol.ledger import Ledger
from protocol.run_record import Counts, FileRecord, RunRecord
from protocol.version import __version__
from protocol.wire.messages import BoardStat, Disk, PublisherStat, Queue, Rates, Stat
from tests.daqd.test_control import Serving

FILE = FileRecord(name="run_000007_0000.apx", index=0, size_bytes=4321, sha256="", readouts=5, begin_ns=1, end_ns=2)
RECORD = RunRecord(
    daq="bench",
    run=7,
    state="finished",
    begin_ns=1,
    end_reason="stopped by command",
    software={},
    readout_uid=4000,
    configuration={},
    counts=Counts(readouts=5, file_bytes=4321),
    files=(FILE,),
)
STAT = Stat(
    state="error",
    reason="board: no answer",
    run=7,
    elapsed_s=61.4,
    file="/data/run_000007/run_000007_0000.apx.part",
    rates=Rates(readouts_hz=12.3, bytes_hz=2_500_000.0, hits_hz=99.6),
    counts={"readouts": 5, "board_bytes": 10_240},
    ledger=Ledger(bytes_read=30, idle=10, hit=16, orphan=4, hits=2).to_dict(),
    queue=Queue(bytes=1, limit_bytes=64, high_water_bytes=32),
    disk=Disk(path="/data", free_bytes=1_500_000_000),
    board=BoardStat(kind="gecco", transport="emulated", connected=True),
    publisher=PublisherStat(messages=9, dropped=1, subscribers=3, restarts=2, lag_bytes=7),
)


class Daemon(Serving):
    """Answers as a daemon would; `asked` has what it was asked, with arguments."""

    def __init__(self, endpoint: str) -> None:
        self.answers: dict[str, dict[str, Any]] = {
            "status": {"status": STAT.model_dump(mode="json", by_alias=True)},
            "start": {"state": "running", "run": 7, "directory": "/data/run_000007"},
            "stop": {"state": "configured", "run": 7, "record": RECORD.model_dump(mode="json")},
            "rotate": {"state": "running", "run": 7},
            "configure": {"state": "configured"},
            "reset": {"state": "idle"},
            "shutdown": {"state": "stopping"},
        }
        self.refusal: RunControlError | None = None
        self.asked_for: list[tuple[str, dict[str, Any]]] = []
        super().__init__(endpoint)

    async def _obey(self, command: str, args: dict[str, Any]) -> dict[str, Any]:
        self.asked_for.append((command, args))
        if self.refusal is not None:
            raise self.refusal
        return self.answers[command]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(f"ipc://{tmp_path}/run/bench.ipc")
    yield daemon
    daemon.close()


def ctl(daemon: Daemon, *arguments: str) -> int:
    return main(["--endpoint", daemon.endpoint, *arguments])


def test_status(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(daemon, "status") == 0
    assert capsys.readouterr().out.splitlines() == [
        "state      error: board: no answer (run 7, 61 s)",
        "file       /data/run_000007/run_000007_0000.apx.part",
        "readouts   5 (12/s), 10240 bytes from the board (2.50 MB/s)",
        "hits       2 (100/s)",
        "bytes      idle 10, padding 0, hit 16, carried 0, orphan 4, dropped 0",
        "queue      1 of 64 bytes, at most 32",
        "disk       1.5 GB free at /data",
        "board      gecco over emulated, connected",
        "publisher  3 subscribers, 9 messages, 1 dropped, 7 bytes behind, 2 restarts",
    ]


@pytest.mark.parametrize(
    ("level", "reason", "time_to_full_s", "said"),
    [
        ("ok", "", 179.0, ", full in 3 min"),
        ("ok", "", 5400.0, ", full in 1.5 h"),
        ("ok", "", 864_000.0, ", full in 10 days"),
        ("warning", "2 MB are free", 60.0, ", full in 1 min, WARNING: 2 MB are free"),
        ("critical", "1 MB are free", None, ", CRITICAL: 1 MB are free"),
    ],
)
def test_how_the_disk_is(
    daemon: Daemon,
    level: Literal["ok", "warning", "critical"],
    reason: str,
    time_to_full_s: float | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = Disk(path="/d", free_bytes=10**9, level=level, reason=reason, time_to_full_s=time_to_full_s)
    stat = STAT.model_copy(update={"disk": disk})
    daemon.answers["status"] = {"status": stat.model_dump(mode="json", by_alias=True)}
    assert ctl(daemon, "status") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("disk")]
    assert line == f"disk       1.0 GB free at /d{said}"


def test_a_small_disk_is_told_in_megabytes(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    stat = STAT.model_copy(update={"disk": Disk(path="/d", free_bytes=1_700_000)})
    daemon.answers["status"] = {"status": stat.model_dump(mode="json", by_alias=True)}
    assert ctl(daemon, "status") == 0
    assert "disk       2 MB free at /d\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("disk", "said"),
    [
        (Disk(path="/d"), "free space not known at /d"),
        (Disk(path="/d", level="warning", reason="gone"), "free space not known at /d, WARNING: gone"),
        (Disk(path="/d", total_bytes=10**9), "0 MB free at /d"),
    ],
)
def test_a_disk_that_was_not_looked_at_is_not_full(
    daemon: Daemon, disk: Disk, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stat = STAT.model_copy(update={"disk": disk})
    daemon.answers["status"] = {"status": stat.model_dump(mode="json", by_alias=True)}
    assert ctl(daemon, "status") == 0
    assert f"disk       {said}\n" in capsys.readouterr().out


def test_the_counters_of_the_board(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    board = BoardStat(kind="gecco", counters={"polls": 12, "fifo_full": 0, "fpga_degc": 41.23456, "firmware": "new"})
    stat = STAT.model_copy(update={"board": board})
    daemon.answers["status"] = {"status": stat.model_dump(mode="json", by_alias=True)}
    assert ctl(daemon, "status") == 0
    assert "counters   polls 12, fifo_full 0, fpga_degc 41.235, firmware new\n" in capsys.readouterr().out


def test_status_before_the_first_run(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["status"] = {"status": Stat(state="idle").model_dump(mode="json", by_alias=True)}
    assert ctl(daemon, "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "state      idle (no run yet)"
    assert not any(line.startswith("file") for line in lines)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("configure", "state configured"),
        ("start", "run 7 is being taken, files in /data/run_000007"),
        ("stop", "run 7 finished (stopped by command): 5 readouts, 4321 bytes in 1 file"),
        ("rotate", "run 7 goes on in its next file"),
        ("reset", "state idle"),
        ("shutdown", "state stopping"),
    ],
)
def test_commands(daemon: Daemon, command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(daemon, command) == 0
    assert capsys.readouterr().out == f"{said}\n"
    assert daemon.asked_for[0][0] == command
    assert ctl(daemon, command, "--json") == 0
    assert json.loads(capsys.readouterr().out) == daemon.answers[command]


def test_stop_without_a_run(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["stop"] = {"state": "idle", "run": None}
    assert ctl(daemon, "stop") == 0
    assert capsys.readouterr().out == "no run is being taken\n"


def test_only_what_was_given_is_asked(daemon: Daemon) -> None:
    ctl(daemon, "start")
    ctl(daemon, "start", "--run", "9", "--comment", "Cd-109, 20 °C", "--duration", "1.5", "--readouts", "100")
    ctl(daemon, "start", "--comment", "", "--threshold", "40", "--inject", "1,9", "--vinj", "300")
    (_, usual), (_, full), (_, chips) = daemon.asked_for
    assert {key: value for key, value in usual.items() if value} == {}
    assert {key: value for key, value in full.items() if value} == {
        "run": 9,
        "comment": "Cd-109, 20 °C",
        "duration_s": 1.5,
        "readouts": 100,
    }
    assert chips["comment"] == ""
    assert chips["chip"] == {"threshold_mv": 40.0, "inject": [1, 9], "vinj_mv": 300.0}


@pytest.mark.parametrize(("code", "exit_code"), [("running", 1), ("disk", 1), ("internal", 1), ("bad_arguments", 2)])
def test_refusals(daemon: Daemon, code: str, exit_code: int, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.refusal = RunControlError(code, "run 7 is being taken: stop it first")
    assert ctl(daemon, "start") == exit_code
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "daqctl: run 7 is being taken: stop it first\n")
    assert ctl(daemon, "start", "--json") == exit_code
    output = capsys.readouterr()
    assert json.loads(output.out) == {"ok": False, "error": {"code": code, "message": str(daemon.refusal)}}


@pytest.mark.parametrize("answer", [{}, {"status": {}}, {"status": None}, {"status": {"state": "asleep"}}])
def test_a_daemon_of_another_version(daemon: Daemon, answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.answers["status"] = answer
    assert ctl(daemon, "status") == 1
    assert capsys.readouterr().err == (
        "daqctl: the daemon answers as another version does: --json prints what it said\n"
    )
    assert ctl(daemon, "status", "--json") == 0


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = f"ipc://{tmp_path}/bench.ipc"
    assert main(["--endpoint", endpoint, "status"]) == 1
    assert capsys.readouterr().err.startswith(f"daqctl: no daemon is at {endpoint}; is daqd running")
    assert main(["--endpoint", endpoint, "status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "unreachable"


def test_an_address_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--endpoint", "nonsense", "status"]) == 2
    assert capsys.readouterr().err.startswith("daqctl: cannot connect to 'nonsense': Invalid argument; give ipc://PATH")


def test_a_comment_that_is_no_text(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """As the shell hands over bytes that are no UTF-8."""
    assert ctl(daemon, "start", "--comment", "\udcff") == 2
    assert capsys.readouterr().err.startswith("daqctl: start: cannot be sent: ")


def test_a_configuration_with_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[board]\nchips = 99\n")
    assert main(["-c", str(path), "status"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_which_daemon_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/astropix-daq")

    def endpoint(*arguments: str) -> str:
        return endpoint_of(build_parser().parse_args([*arguments, "status"]))

    assert endpoint() == "ipc:///run/astropix-daq/bench.ipc"
    assert endpoint("--name", "lab") == "ipc:///run/astropix-daq/lab.ipc"
    assert endpoint("--endpoint", "tcp://127.0.0.1:7") == "tcp://127.0.0.1:7"
    path = tmp_path / "lab.toml"
    path.write_text(f'[daq]\nname = "lab"\nruntime_dir = "{tmp_path}"\n[board]\ntransport = "emulated"\n')
    assert endpoint("-c", str(path)) == f"ipc://{tmp_path}/lab.ipc"


TCP = ["--endpoint", "tcp://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (TCP, "takes commands only from clients with a key: give --server-key and --key (daqctl keygen)"),
        ([*TCP, "--key", "alice.key_secret"], "--server-key and --key go together"),
        ([*TCP, "--server-key", "daq.key"], "--server-key and --key go together"),
        ([*TCP, "--server-key", "daq.key", "--key", "alice.key"], "daq.key: cannot be read: No such file"),
        (["--server-key", "daq.key", "--key", "alice.key"], "--server-key and --key are for tcp://ADDRESS:PORT, not "),
    ],
)
def test_keys_that_cannot_be_meant(
    arguments: list[str],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "status"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("daqctl: ")
    assert reason in line


def test_a_daemon_that_listens_everywhere_is_here(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    security = '[security]\nserver_key = "a"\nclient_keys = "b"\n[control]\nendpoint = "tcp://0.0.0.0:5558"\n'
    path.write_text(f'[board]\ntransport = "emulated"\n{security}')
    assert endpoint_of(build_parser().parse_args(["-c", str(path), "status"])) == "tcp://127.0.0.1:5558"


@pytest.mark.parametrize(
    "arguments",
    [[], ["launch"], ["start", "--run", "x"], ["start", "--duration", "x"], ["stop", "--run", "1"],
     ["start", "--run", "0"], ["start", "--duration", "-3"], ["start", "--duration", "inf"],
     ["start", "--readouts", "0"], ["start", "--readouts", "9" * 5000],
     ["--name", "a", "--endpoint", "b", "status"], ["start", "--inject", "1"]],
)  # fmt: skip
def test_misuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("daqctl")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["--version"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    text = capsys.readouterr().out
    assert "examples:\n  daqctl status" in text
    assert f"daqctl {__version__}\n" in text


@pytest.mark.parametrize("command", sorted({*COMMANDS, "keygen"}))
def test_help_of_each_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert re.search(rf"^examples:\n  daqctl .*{command}", capsys.readouterr().out, re.MULTILINE)
