"""The units of config/systemd, as systemd itself reads them."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.system.laboratory import Laboratory
from tests.system.programs import program_path

UNITS = sorted((REPOSITORY / "config" / "systemd").glob("*.service"))
BIN = "/opt/astropix-daq/bin/"


class Unit(configparser.ConfigParser):
    """A unit file; of keys that are there more than once, the last."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str
        self.read(path)


def test_there_are_units() -> None:
    assert [path.name for path in UNITS] == ["apx-sanity@.service", "daqd@.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here: Debian's package systemd")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_nothing_wrong(path: Path, tmp_path: Path) -> None:
    """With the programs where they are here: it looks whether they are there."""
    installed = tmp_path / path.name
    programs = re.escape(BIN) + r"([\w-]+)"
    installed.write_text(re.sub(programs, lambda name: f'"{program_path(name[1])}"', path.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(installed)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    installed.write_text(installed.read_text().replace("[Service]", "[Service]\nWatchdogSecs=60"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(installed)], capture_output=True, text=True, check=False
    )
    assert "WatchdogSecs" in done.stderr, "it would not have found anything"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_program_takes_its_arguments(path: Path, laboratory: Laboratory) -> None:
    service = Unit(path)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.startswith(BIN)
    name = program.removeprefix(BIN)
    assert Path(program_path(name)).exists()
    if name == "daqd":
        config = laboratory.configure().config_path
        words = [str(config) if word == "/etc/astropix-daq/%i.toml" else word for word in arguments]
        words[words.index("$DAQD_OPTIONS")] = "--autostart"
        daemon = laboratory.start(name, *words)
        daemon.wait_for_output("run 1 began")
        assert daemon.end() == 0
    else:
        config = laboratory.folder / "sanity.toml"
        shipped = (REPOSITORY / "config" / "sanity.toml").read_text(encoding="utf-8")
        config.write_text(shipped.replace("tcp://127.0.0.1:5558", "tcp://127.0.0.1:*"), encoding="utf-8")
        words = [str(config) if word == "/etc/astropix-daq/%i.sanity.toml" else word for word in arguments]
        at = words.index("$SANITY_OPTIONS")
        words[at : at + 1] = ["--for", "0.1"]
        directories = {"StateDirectory": "STATE_DIRECTORY", "RuntimeDirectory": "RUNTIME_DIRECTORY"}
        for key in directories:
            assert service[key] == "apx-sanity/%i"
        environment = {name: str(laboratory.runtime_dir / key) for key, name in directories.items()}
        checked = laboratory.run_command([str(program_path(name)), *words], environment)
        assert checked.code in (0, 1), checked  # fine, or findings; 2 would be misuse
        assert checked.stderr == ""
        assert (laboratory.runtime_dir / "StateDirectory" / "alarms.jsonl").exists()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_sandbox_lets_zeromq_bind(path: Path) -> None:
    """libzmq asks for the network interfaces through AF_NETLINK at each bind of a TCP address, else it aborts."""
    assert "AF_NETLINK" in Unit(path)["Service"]["RestrictAddressFamilies"].split()


def test_the_daemon_has_the_time_it_takes() -> None:
    """To end a run on a slow disk, then one child after the other."""
    from daqd.children.child_process import _STOP_S as CHILD_S
    from daqd.process.watchdog import STOP_S as RUN_S

    service = Unit(REPOSITORY / "config" / "systemd" / "daqd@.service")["Service"]
    assert int(service["TimeoutStopSec"]) > RUN_S + 2 * CHILD_S
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
