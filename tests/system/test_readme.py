"""README.md: its commands are taken by the programs, what it links to is there, and it names all programs."""

import re
import shlex
import tomllib

import pytest

from daqd.cli import build_parser as daqd_parser
from daqd.ctl import build_parser as daqctl_parser
from monitor.cli import build_parser as monitor_parser
from monitor.sanity.alarms.alarm_commands import COMMANDS
from monitor.sanity.alarms.alarm_commands import build_parser as alarms_parser
from monitor.sanity.cli import build_parser as sanity_parser
from protocol.tool.cli import build_parser as apx_parser
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PARSERS = {
    "daqd": daqd_parser,
    "daqctl": daqctl_parser,
    "apx": apx_parser,
    "apx-monitor": monitor_parser,
    "apx-sanity": sanity_parser,
}
LINES = re.findall(r"^    ((?:daqd|daqctl|apx|apx-monitor|apx-sanity) .*)$", README, re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_the_programs_take_its_commands(line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    alarms = program == "apx-sanity" and words[0] in COMMANDS
    (alarms_parser if alarms else PARSERS[program])().parse_args(words)
    for word in words:
        assert not word.startswith("config/") or (REPOSITORY / word).is_file()


def test_it_names_what_there_is() -> None:
    assert len(LINES) >= 20
    programs = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", README, re.MULTILINE)) == set(programs) == set(PARSERS)
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / link).exists(), link
    for folder in re.findall(r"^    (\w+)/ ", README, re.MULTILINE):
        assert (REPOSITORY / folder).is_dir(), folder
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"make ([a-z]+)", README):
        assert target in targets
