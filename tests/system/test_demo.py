"""`daqd demo`: everything at once, and everything ended again."""

import contextlib
import re
import signal
import socket
from urllib.request import urlopen

import pytest

from tests.system.laboratory import Laboratory
from tests.system.processes import end_at_once, wait_until
from tests.system.programs import Program, program_path
from tests.system.taken_run import TakenRun
from tests.system.terminal import CTRL_C, Terminal


def check_ended(laboratory: Laboratory, program: Program, terminal: Terminal | None = None) -> None:
    """That all is over, the run is whole, and the user knows where."""
    assert program.wait() == 0
    said = terminal.drawn if terminal else program.output
    laboratory.wait_until_empty()
    assert not list(laboratory.temporary_dir.iterdir())
    run = TakenRun(laboratory.folder / "data", 1)
    record = run.check_closed()
    assert record.state == "finished"
    assert record.counts.readouts > 0
    assert run.check_ledger().hits == len(run.hits) > 0
    assert re.search(r"The run is in data/run_000001; the sanity checker is content\.", said)
    assert re.search(r"apx info data/run_000001/run_000001_0000\.apx", said)


def wait_until_taking(laboratory: Laboratory) -> None:
    """Until the run of the demo has hits in a file."""
    part = laboratory.folder / "data" / "run_000001" / "run_000001_0000.apx.part"
    wait_until("the run has begun", lambda: part.exists() and part.stat().st_size > 10_000)


def test_for_a_while(laboratory: Laboratory) -> None:
    """Also where the directory for temporary files has so long a path that no socket could be in it."""
    long = laboratory.temporary_dir / ("x" * 100)
    long.mkdir()
    words = ("--duration", "2", "--rate", "3000", "--chips", "2")
    demo = laboratory.start("daqd", "demo", *words, environment={"TMPDIR": str(long)})
    demo.wait()
    long.rmdir()
    check_ended(laboratory, demo)
    assert re.search(r"^RUNNING demo run 1 .* hits .* missed 0 readouts", demo.output, re.MULTILINE)


def check_page(demo: Program) -> None:
    """That its address is told first, and that it has hits and a checker to show."""
    first = demo.output.splitlines()[0]
    address = re.fullmatch(r"The page is at (http://127\.0\.0\.1:\d+/)", first)
    assert address, first

    def metrics() -> bytes:
        with contextlib.suppress(OSError), urlopen(f"{address[1]}metrics") as answer:  # noqa: S310 - our own
            return bytes(answer.read())
        return b""

    wait_until("hits on the page", lambda: re.search(rb"^astropix_hits [1-9]", metrics(), re.MULTILINE))
    wait_until("a checker on the page", lambda: b"astropix_sanity_up 1.0" in metrics())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal(laboratory: Laboratory, number: signal.Signals) -> None:
    demo = laboratory.start("daqd", "demo")
    wait_until_taking(laboratory)
    check_page(demo)
    demo.send_to_group(number)
    check_ended(laboratory, demo)


@pytest.mark.parametrize("child", ["daqd.cli run", "monitor.sanity.cli", "monitor.cli serve", "monitor.cli watch"])
def test_ended_while_starting(laboratory: Laboratory, child: str) -> None:
    """Ctrl-C while one of its programs has just been started."""
    demo = laboratory.start("daqd", "demo")
    demo.child(child)
    demo.send_to_group(signal.SIGINT)
    assert demo.wait() == 0
    laboratory.wait_until_empty()
    assert not list(laboratory.temporary_dir.iterdir())
    assert re.search("Ended before a run began|The run is in data/run_000001", demo.output)


def test_killed(laboratory: Laboratory) -> None:
    """`kill -9`: what it had started ends by itself, in order."""
    demo = laboratory.start("daqd", "demo")
    wait_until_taking(laboratory)
    check_page(demo)
    demo.kill()
    laboratory.wait_until_empty()
    record = TakenRun(laboratory.folder / "data", 1).check_closed()
    assert (record.state, record.end_reason) == ("finished", "the daemon was ended")


@pytest.mark.parametrize("child", ["daqd.cli run", "monitor.sanity.cli", "monitor.cli serve", "monitor.cli watch"])
def test_killed_while_starting(laboratory: Laboratory, child: str) -> None:
    demo = laboratory.start("daqd", "demo")
    demo.child(child)
    demo.kill()
    laboratory.wait_until_empty()


@pytest.mark.parametrize("who", ["the shell", "make"])
def test_who_started_it_is_killed(laboratory: Laboratory, who: str) -> None:
    """With the shell, the terminal goes, too; with make, it stays."""
    with Terminal() as terminal:
        # Commands after it, so that each shell stays.
        as_make = f"'{program_path('daqd')}' demo; true"
        shell = laboratory.start_command(terminal.command(["sh", "-c", 'sh -c "$1"; sleep 1000', "sh", as_make]))
        wait_until_taking(laboratory)
        terminal.wait_for("RUNNING")
        if who == "make":
            end_at_once(shell.child("demo").pid, signal.SIGKILL)
            wait_until(
                "the demo has ended",
                lambda: {each.command[:5] for each in laboratory.processes()} == {"sh -c", "sleep"},
            )
            shell.send_to_group(signal.SIGHUP)
        else:
            shell.kill()
        laboratory.wait_until_empty()
    assert not list(laboratory.temporary_dir.iterdir())
    assert TakenRun(laboratory.folder / "data", 1).check_closed().state == "finished"


def test_on_a_terminal(laboratory: Laboratory) -> None:
    with Terminal() as terminal:
        demo = laboratory.start_command(terminal.command([program_path("daqd"), "demo"]))
        terminal.wait_for("RUNNING")
        wait_until_taking(laboratory)
        wait_until(
            "a checker on the terminal",
            lambda: re.search(r"alarms\W[^│╭]{0,40}(none|warning|critical)", terminal.drawn),
        )
        address = re.search(r"The page is at (http://127\.0\.0\.1:\d+/)", terminal.drawn)
        assert address is not None
        wait_until("the page's address on the screen", lambda: terminal.drawn.count(address[1]) > 1)
        terminal.press(CTRL_C)
        assert demo.wait() == 0
        terminal.wait_until_untouched()
        check_ended(laboratory, demo, terminal)


@pytest.mark.soak
def test_beside_another_one(laboratory: Laboratory) -> None:
    """The usual port is taken: another one is used."""
    first = laboratory.start("daqd", "demo", "--data-dir", "first")
    data = laboratory.folder / "first"
    wait_until("the first one has begun", lambda: list(data.glob("run_000001/*.apx.part")))
    second = laboratory.start("daqd", "demo", "--duration", "1")
    check_second = second.wait()
    first.send(signal.SIGINT)
    assert (check_second, first.wait()) == (0, 0)
    assert TakenRun(data, 1).check_closed().state == "finished"
    assert TakenRun(laboratory.folder / "data", 1).check_closed().state == "finished"


def test_with_the_usual_port_taken(laboratory: Laboratory) -> None:
    """It takes another: nobody who has a daemon running is told to end it for a demo."""
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # taken by somebody else is as good
            other.bind(("127.0.0.1", 5556))
            other.listen()
        demo = laboratory.start("daqd", "demo", "--duration", "2", "--chips", "2")
        check_ended(laboratory, demo)
