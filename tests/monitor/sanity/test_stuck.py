"""A check that keeps Python's lock: nothing in Python, no signal handler either, could end the program."""

import subprocess
import sys

import pytest

from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow

PROGRAM = """
import re, signal, threading
from monitor.sanity.cli import ended_when_stuck

def a_check_that_keeps_the_lock():
    re.match("(a+)+$", "a" * 60 + "b")

signal.signal(signal.SIGTERM, lambda *_: None)
with ended_when_stuck(0.5) as turn:
    for _ in range(3):
        turn()
    if {stuck}:
        threading.Thread(target=a_check_that_keeps_the_lock, daemon=True).start()
        threading.Event().wait()
print("in order")
"""


def run(*, stuck: bool) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", PROGRAM.format(stuck=stuck)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=DEADLINE_S)


def test_who_is_stuck_ends_and_says_where() -> None:
    ended = run(stuck=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "in a_check_that_keeps_the_lock" in ended.stderr


def test_who_turns_goes_on() -> None:
    ended = run(stuck=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "in order\n", "")
