"""The command of docs/extending.md, given to a real daemon with the real daqctl."""

import json
import re
import sys
from pathlib import Path

from tests.system.laboratory import Laboratory
from tests.system.programs import Finished

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")


def program(module: str) -> list[str]:
    """What runs `daqd` or `daqctl` with the command in it."""
    return [sys.executable, "-c", f"import sys, note; from daqd.{module} import main; sys.exit(main())"]


def test_the_command_of_the_document(laboratory: Laboratory) -> None:
    match = re.search(r"^```python (note\.py)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match
    (laboratory.folder / match[1]).write_text(match[2])
    daemon = laboratory.configure()

    def ctl(*arguments: str) -> Finished:
        return laboratory.run_command([*program("ctl"), "-c", str(daemon.config_path), *arguments])

    assert re.search(r"^    note +write a remark into the log$", ctl("--help").stdout, re.MULTILINE)
    assert re.search(r"--text TEXT +what happened$", ctl("note", "--help").stdout, re.MULTILINE)
    assert ctl("note").code == 2

    daemon.launch_command([*program("cli"), "run", "-c", str(daemon.config_path), "--autostart"]).wait_until_serving()
    daemon.wait_for_status("a run", state="running")
    assert ctl("note", "--text", "the beam is back") == Finished(0, "run 1\ntext the beam is back\n", "")
    assert "WARNING daqd.note: run 1: the beam is back" in daemon.program.output
    assert ctl("note", "--text", "x", "--json").json() == {"run": 1, "text": "x"}
    refused = ctl("note", "--text", "x" * 201, "--json")
    assert (refused.code, json.loads(refused.stdout)["error"]["code"]) == (2, "bad_arguments")
