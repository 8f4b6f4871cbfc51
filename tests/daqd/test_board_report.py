"""`daqd probe --report`: what is in the report, what is not, and what is written of a board that fails."""

import getpass
import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from daqd.cli import main
from daqd.commands.board_report import write_board_report
from daqd.configuration.config import Config
from daqd.emulator.board_model import BoardModel
from daqd.errors import ConfigError, DaqError
from daqd.transports.emulated import EmulatedLink
from daqd.transports.factory import make_link
from daqd.transports.link import Link

pytestmark = pytest.mark.slow

FOLDER_NAME = "private-folder-of-somebody"


def config(kind: str, **board: Any) -> Config:
    return Config.model_validate(
        {
            "board": {"kind": kind, "transport": "emulated", **board},
            "emulator": {"rate_hz": 2000, "hits_limit": 100, "seed": 7},
        }
    )


@pytest.mark.parametrize(("kind", "register"), [("gecco", "SPI_CONFIG"), ("astep", "FIRMWARE_VERSION")])
def test_what_is_reported(kind: str, register: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    report = write_board_report(config(kind), path, seconds=0.3)
    assert json.loads(path.read_text()) == report
    assert report["failed"] is None
    assert report["firmware"]
    assert register in report["registers"]
    assert report["round_trip_ms"]["questions"] > 0
    assert {transfer["op"] for transfer in report["transfers"]} == {"read", "write"}
    assert report["configuration"]["board"]["kind"] == kind
    assert report["setup"]["chips"]
    capture = report["capture"]
    assert 0 < capture["hits"] <= 100
    assert sum(len(readout["data"]) for readout in capture["readouts"]) > 0
    assert report["stopped"]
    assert any("daqd.boards" in line for line in report["log"])


class SilentBoard(BoardModel):
    """A board that is not powered."""

    exhausted = False
    counters: dict[str, int] = {}  # noqa: RUF012 - a property in the abstract class

    def exchange(self, data: bytes) -> bytes:
        return b""

    def power_up(self) -> None:
        pass


def test_a_board_that_does_not_answer_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.commands.board_report.make_link", lambda config: EmulatedLink(SilentBoard()))
    report = write_board_report(config("gecco"), tmp_path / "report.json", seconds=0.1)
    assert "GECCO board" in report["failed"]
    assert "capture" not in report
    assert report["transfers"]
    assert all(transfer["length"] for transfer in report["transfers"])


def test_another_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("mine")
    with pytest.raises(DaqError, match="exists already"):
        write_board_report(config("gecco"), path, seconds=0.1)
    assert path.read_text() == "mine"


def test_a_configuration_that_cannot_be_used_leaves_no_file(tmp_path: Path) -> None:
    no_recording = tmp_path / "no_recording.apx"
    no_recording.write_bytes(b"nothing of the kind")
    wrong = Config.model_validate(
        {
            "board": {"kind": "gecco", "transport": "emulated"},
            "emulator": {"source": "file", "file": str(no_recording)},
        }
    )
    with pytest.raises(ConfigError, match="no_recording"):
        write_board_report(wrong, tmp_path / "report.json", seconds=0.1)
    assert list(tmp_path.iterdir()) == [no_recording]


def test_nothing_private_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "lab-computer-17")
    monkeypatch.setattr(getpass, "getuser", lambda: "a-shifter")
    folder = tmp_path / FOLDER_NAME
    folder.mkdir()
    (folder / "chips.yml").write_text(Path("config/astropix4.yml").read_text())
    (folder / "daq.toml").write_text(
        f"""
[daq]
name = "bench"
data_dir = "{folder}/data"
[board]
kind = "gecco"
transport = "emulated"
[ftdi]
serial = "210276AB12CD"
[serial]
url = "socket://secret.example.org:5600"
[chip]
file = "chips.yml"
[emulator]
rate_hz = 1000
"""
    )
    path = tmp_path / "report.json"

    def log_what_is_private(config: Config) -> Link:
        logging.getLogger("daqd").warning("%s of %s has 210276FE98DC", "a-shifter", "lab-computer-17")
        return make_link(config)

    monkeypatch.setattr("daqd.commands.board_report.make_link", log_what_is_private)
    assert main(["probe", "--report", str(path), "-c", str(folder / "daq.toml"), "--seconds", "0.1"]) == 0
    assert str(path) in capsys.readouterr().out
    text = path.read_text()
    assert "<user> of <computer> has <serial>" in text
    names = ("lab-computer-17", "a-shifter", "secret.example.org", FOLDER_NAME, str(Path.home()) + os.sep)
    for private in (*names, "210276AB12CD", "210276FE98DC"):
        assert private not in text


@pytest.mark.parametrize("arguments", [[], ["/dev/ttyS0"], ["--no-ask"]])
def test_a_report_is_of_one_configured_board(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [] if not arguments else ["-c", "config/emulated.toml"]
    assert main(["probe", "--report", str(tmp_path / "report.json"), *options, *arguments]) == 2
    assert "--report" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
