"""The sanity checker as a service: a daemon is killed, the checker is killed, and nobody forgets what is wrong."""

import json
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from monitor.client import StreamClient
from monitor.events import AlarmMessage
from protocol.wire.messages import Topic
from tests.conftest import REPOSITORY
from tests.key_ring import KeyRing
from tests.system.free_ports import free_ports
from tests.system.laboratory import Laboratory
from tests.system.processes import DEADLINE_S, wait_until
from tests.system.programs import Finished, Program

DOCUMENT = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")


class Checker:
    """`apx-sanity -c` beside a daemon whose stream is at a fixed place."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self.stream = f"ipc://{laboratory.runtime_dir}/stream.ipc"
        self.kept = laboratory.folder / "kept"
        self.called = laboratory.folder / "called.jsonl"
        path = laboratory.folder / "sanity.toml"
        path.write_text(
            f"""
            [sanity]
            directory = "{self.kept}"
            [stream]
            connect = "{self.stream}"
            [publish]
            bind = "ipc://{laboratory.runtime_dir}/alarms.ipc"
            [control]
            endpoint = "ipc://{laboratory.runtime_dir}/checker/x.ipc"
            [command]
            argv = ["sh", "-c", '(cat; echo) >> "$0"', "{self.called}"]
            [checks.silence]
            max_s = 1.5
            level = "critical"
            good_in_a_row = 2
            [checks.data_age]
            enabled = false
            """
        )
        self.program: Program

    def start(self) -> "Checker":
        self.program = self._laboratory.start("apx-sanity", "-c", "sanity.toml")
        wait_until("the checker listens", (self._laboratory.runtime_dir / "checker" / "x.ipc").exists)
        return self

    def ask(self, *words: str) -> Finished:
        return self._laboratory.run("apx-sanity", *words, "-c", "sanity.toml")

    @property
    def alarms(self) -> dict[str, dict[str, Any]]:
        return {alarm["id"]: alarm for alarm in self.ask("alarms", "--json").json()["alarms"]}

    def story(self, path: Path) -> list[tuple[str, str]]:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(each["event"], each["alarm"]["id"]) for each in map(json.loads, lines)]


@pytest.fixture
def checker(laboratory: Laboratory) -> Checker:
    return Checker(laboratory)


@pytest.mark.finds("silence")
def test_nothing_is_forgotten(laboratory: Laboratory, checker: Checker) -> None:
    settings = {"stream": {"bind": checker.stream, "catch_up": ""}}
    daemon = laboratory.configure(settings).start()
    checker.start()
    watch = laboratory.start(
        "apx-monitor", "watch", "--connect", checker.stream, "--alarms", f"ipc://{laboratory.runtime_dir}/alarms.ipc"
    )
    daemon.call("start")
    watch.wait_for_output("RUNNING")
    daemon.program.kill()
    checker.program.wait_for_output("alarm raised: critical silence: no state for .* the last one was running")
    wait_until("somebody was called", lambda: ("raised", "silence") in checker.story(checker.called))

    checker.program.kill()
    checker.start()
    alarm = checker.alarms["silence"]
    assert (alarm["level"], alarm["latched"], alarm["acknowledged"]) == ("critical", False, False)

    daemon.start()
    checker.program.wait_for_output(r"alarm over: ok \(was critical\) silence: ")
    watch.wait_for_output(r"\| alarms .*1 over")
    assert checker.ask("ack", "silence").stdout == "silence\n"
    assert "silence" not in checker.alarms
    assert watch.end() == 0
    assert checker.program.end() == 1, "it was silent when the checker was started again"
    gone = checker.ask("alarms")
    assert gone.code == 1
    assert "no apx-sanity is at ipc://" in gone.stderr
    story = [event for event, name in checker.story(checker.kept / "alarms.jsonl") if name == "silence"]
    assert story == ["raised", "over", "acknowledged"]
    assert [event for event, name in checker.story(checker.called) if name == "silence"] == ["raised", "over"]
    assert daemon.end() == 0


OWN_CHECKS = """
import time
from monitor.sanity.check import Check, CheckResult
from protocol.wire.alarms import AlarmLevel

def _sleeps(seen, limits):
    time.sleep(1e6)

def _turns(seen, limits):
    while True:
        pass

def _speaks(seen, limits):
    return [CheckResult("", "something")]

CHECKS = tuple(
    Check(function.__name__[1:], "nothing", AlarmLevel.WARNING, "wait", function, in_a_row=1)
    for function in (_sleeps, _turns, _speaks)
)
"""


def test_checks_that_never_return_stop_nothing(laboratory: Laboratory, checker: Checker) -> None:
    (laboratory.folder / "own.py").write_text(OWN_CHECKS)
    path = laboratory.folder / "sanity.toml"
    path.write_text(path.read_text().replace("[sanity]", '[sanity]\nmodules = ["own.py"]'))
    checker.start()
    for name in ("sleeps", "turns"):
        checker.program.wait_for_output(f"alarm raised: critical check_failed:{name}: no answer for")
    daemon = laboratory.configure({"stream": {"bind": checker.stream, "catch_up": ""}}).start()
    checker.program.wait_for_output(r"alarm over: ok \(was critical\) silence: ")
    with StreamClient(f"ipc://{laboratory.runtime_dir}/alarms.ipc", [Topic.ALARM]) as client:
        messages = [client.receive(DEADLINE_S) for _ in range(3)]
    assert isinstance(messages[-1], AlarmMessage)
    told = {alarm.id for alarm in messages[-1].alarms}
    assert {"check_failed:sleeps", "check_failed:turns", "speaks", "silence"} <= told
    assert checker.ask("ack", "speaks").code == 0
    assert daemon.end() == 0
    assert checker.program.end() == 1


@pytest.mark.soak
def test_alarms_for_who_has_a_key(laboratory: Laboratory, checker: Checker) -> None:
    """At TCP addresses, as another computer would reach them: shown, listed, and nothing without the key."""
    ring, ports = KeyRing(laboratory.folder / "keys"), free_ports("alarms", "control")
    alarms, control = (f"tcp://127.0.0.1:{port}" for port in ports.values())
    path = laboratory.folder / "sanity.toml"
    text = path.read_text()
    for section, key, address in (("publish", "bind", alarms), ("control", "endpoint", control)):
        text = re.sub(rf'(\[{section}\]\s+{key} = )".*"', rf'\1"{address}"', text)
    path.write_text(text + '[security]\nserver_key = "keys/daq.key_secret"\nclient_keys = "keys/clients"\n')
    checker.program = laboratory.start("apx-sanity", "-c", "sanity.toml")
    checker.program.wait_for_output("alarm raised: critical silence")
    refused = laboratory.run("apx-sanity", "alarms", "--control", control)
    assert (refused.code, refused.stdout) == (1, "")
    assert "refuses this client" in refused.stderr
    daemon = laboratory.configure({"stream": {"bind": checker.stream, "catch_up": ""}}).start()
    shown = ["--alarms", alarms, "--alarms-server-key", ring.public("daq"), "--key", ring.secret("alice")]
    watch = laboratory.start("apx-monitor", "watch", "--connect", checker.stream, *shown)
    watch.wait_for_output(r"\| alarms 1 (critical|over)")
    keys = ["--server-key", ring.public("daq"), "--key", ring.secret("alice")]
    assert laboratory.run("apx-sanity", "ack", "silence", "--control", control, *keys).stdout == "silence\n"
    assert watch.end() == 0
    assert checker.program.end() == 1
    assert daemon.end() == 0


def test_the_commands_of_the_document(laboratory: Laboratory, checker: Checker) -> None:
    (block,) = re.findall(r"^```sh alarms\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for line in block.splitlines()]
    assert [command[1] for command in commands] == ["alarms", "ack", "silence", "unsilence"]
    checker.start()
    checker.program.wait_for_output("alarm raised: critical silence: nothing came")
    said = [laboratory.run(*command) for command in commands]
    assert [each.code for each in said] == [1, 0, 0, 0], said
    assert [each.stderr for each in said] == [""] * 4
    assert re.search(r"critical silence: nothing came in \d+ s since we began to listen", said[0].stdout)
    assert said[2].stdout.startswith("tot_* is silenced until 20")
    checker.program.send(signal.SIGINT)
    assert checker.program.wait() == 1
    assert checker.program.output.splitlines()[-1].startswith("alarms: ")


def test_mistakes_of_the_configuration_are_told_and_nothing_is_begun(laboratory: Laboratory, checker: Checker) -> None:
    path = laboratory.folder / "sanity.toml"
    path.write_text(path.read_text() + "[checks.silense]\n[webhook]\nurl = 'mail me'\n")
    for command in (["-c", "sanity.toml"], ["alarms", "-c", "sanity.toml"]):
        refused = laboratory.run("apx-sanity", *command)
        assert refused.code == 2
        assert len(refused.stderr.splitlines()) == 2
        assert "sanity.toml: checks.silense: unknown key: is silence meant?" in refused.stderr
    assert not checker.kept.exists()
