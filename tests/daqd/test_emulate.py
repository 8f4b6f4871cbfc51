"""`daqd emulate`: a board for other programs, whose cable a signal pulls out."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daqd.boards.which_firmware import firmware_on
from daqd.cli import main
from daqd.configuration.config import SerialSection
from daqd.errors import BoardLost
from daqd.transports.serial_link import SerialLink
from tests.daqd.test_serial_link import reopen
from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow

EMULATE = [sys.executable, "-m", "daqd.cli", "emulate"]


@pytest.fixture(params=["--pty", "--tcp"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    where = str(tmp_path / "port") if request.param == "--pty" else "0"
    command = [*EMULATE, request.param, where, "--no-pace", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"], process
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=DEADLINE_S) == ("", "ended\n")
    assert process.returncode == 0


def test_a_signal_pulls_the_cable_out_and_puts_it_back_in(
    served: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    url, process = served
    link = SerialLink(SerialSection(url=url), tmp_path)
    link.open()
    assert firmware_on(link) == "GECCO bench firmware"
    for _ in range(2):
        process.send_signal(signal.SIGUSR1)
        with pytest.raises(BoardLost):
            for _ in range(1000):  # it takes a moment
                assert firmware_on(link) in ("GECCO bench firmware", "")
        link.close()
        process.send_signal(signal.SIGUSR1)
        reopen(link)
        assert firmware_on(link) == "GECCO bench firmware"
    link.close()


def test_what_cannot_be_served(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run([*EMULATE, "--tcp", port], capture_output=True, text=True, timeout=DEADLINE_S)
    assert result.returncode == 1
    assert result.stderr.startswith("daqd: the emulated board cannot be served: ")


@pytest.mark.parametrize("options", [[], ["--tcp", "x"], ["--tcp", "1", "--pty"]])
def test_where_is_said_in_one_way(options: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["emulate", *options])
    assert ended.value.code == 2
