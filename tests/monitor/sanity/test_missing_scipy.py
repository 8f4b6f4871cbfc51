"""Without SciPy, apx-sanity says in one line what to install."""

import sys

import pytest

from monitor.sanity.cli import main


def test_what_to_install_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert main(["--once", __file__]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "astropix-daq[sanity]" in line
    assert main(["--list"]) == 0
