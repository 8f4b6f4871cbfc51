"""README.md, docs/ and --help: their commands are taken by the programs, what they link to is there."""

import argparse
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from apx.cli import build_parser as apx_parser
from daqd.cli import build_parser as daqd_parser
from daqd.ctl import build_parser as daqctl_parser
from monitor.cli import build_parser as monitor_parser
from monitor.sanity.alarms.alarm_commands import COMMANDS
from monitor.sanity.alarms.alarm_commands import build_parser as alarms_parser
from monitor.sanity.cli import build_parser as sanity_parser
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PARSERS = {
    "daqd": daqd_parser,
    "daqctl": daqctl_parser,
    "apx": apx_parser,
    "apx-monitor": monitor_parser,
    "apx-sanity": sanity_parser,
}
COMMAND = re.compile(r"^(?: {4})?((?:daqd|daqctl|apx|apx-monitor|apx-sanity) .*)$", re.MULTILINE)
LINES = COMMAND.findall(README)
DOCUMENTS = sorted((REPOSITORY / "docs").glob("*.md"))


def check_taken(line: str) -> None:
    """As a shell reads it: up to a comment, a pipe or two spaces and an explanation."""
    program, *words = shlex.split(re.split(r" \| | 2>&1| {3,}", line)[0], comments=True)
    alarms = program == "apx-sanity" and words and words[0] in COMMANDS
    (alarms_parser if alarms else PARSERS[program])().parse_args(words)
    for word in words:
        assert not word.startswith("config/") or (REPOSITORY / word).is_file()


@pytest.mark.parametrize("line", LINES)
def test_the_programs_take_its_commands(line: str) -> None:
    check_taken(line)


def test_the_programs_take_the_commands_of_all_documents() -> None:
    lines = [line for path in DOCUMENTS for line in COMMAND.findall(path.read_text(encoding="utf-8"))]
    assert len(lines) > 40
    for line in lines:
        check_taken(line)


def examples(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Of a program and all its commands."""
    text = parser.epilog or ""
    yield from re.findall(r"^ {2}((?:daqd|daqctl|apx|apx-monitor|apx-sanity) .*)$", text, re.MULTILINE)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from examples(command)


@pytest.mark.parametrize("program", PARSERS)
def test_the_programs_take_the_examples_of_their_help(program: str) -> None:
    lines = list(examples(PARSERS[program]()))
    assert len(lines) > 5
    for line in lines:
        check_taken(line)


def anchors(path: Path) -> set[str]:
    """What the headings of a document are called in links."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    for path in (*REPOSITORY.glob("*.md"), *DOCUMENTS, *(REPOSITORY / "docs" / "decisions").glob("*.md")):
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            target, _, anchor = link.partition("#")
            there = path.parent / target if target else path
            if ":" not in target:
                assert there.exists(), f"{path.name}: {link}"
                assert not anchor or anchor in anchors(there), f"{path.name}: {link}"


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
