"""Events, looks, engine, outputs and those who ask, put together: as in the program, but the clock is the test's."""

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astropix_runtime.errors import RefusedError, RequestError
from astropix_runtime.sockets.key_files import ClientKeys
from monitor.client import StreamClient
from monitor.control import CheckerClient
from monitor.errors import AlarmServiceError
from monitor.events import AlarmMessage
from monitor.sanity.alarms.alarm_service import AlarmService
from monitor.sanity.alarms.engine import AlarmTransition
from monitor.sanity.configuration import load_configuration
from monitor.sanity.live import LiveChecks
from protocol.wire.alarms import Alarm
from protocol.wire.messages import Topic
from tests.deadline import DEADLINE_S
from tests.monitor.publishing import T0_NS, MessageMaker, StreamReader, make_hits

pytestmark = pytest.mark.slow

S = 1_000_000_000
OWN_CHECKS = Path(__file__).with_name("own_checks.py")


class Running:
    """A service on free addresses in `folder`, and the stream that it checks; `now` is what its clocks say."""

    def __init__(
        self,
        folder: Path,
        text: str = "",
        modules: list[str] | None = None,
        control: str = "",
        publish: str = "",
    ) -> None:
        self.folder = folder
        self.now = 1000.0
        path = folder / "sanity.toml"
        addresses = f'[publish]\nbind = "{publish or f"ipc://{folder}/alarms.ipc"}"\n[control]\nendpoint = "{control or f"ipc://{folder}/c/x.ipc"}"\n'
        kept = f'[sanity]\ndirectory = "{folder / "kept"}"\nmodules = {modules or []}\n'
        path.write_text(addresses + kept + text)
        self.configuration = load_configuration(path)
        self.told: list[AlarmTransition] = []
        self.checks = LiveChecks(self.configuration.limits, self.now)
        self.made = MessageMaker()
        self.reader = StreamReader()
        self.readouts = 0

    def __enter__(self) -> "Running":
        self.service = AlarmService(self.configuration, self.told.append, lambda: self.now, lambda: self.now_ns)
        return self

    def __exit__(self, *what: Any) -> None:
        self.service.__exit__(*what)

    @property
    def now_ns(self) -> int:
        return T0_NS + round(self.now * S)

    def feed(self, frames: list[bytes]) -> None:
        event = self.reader.read(frames)
        assert event is not None
        for _, notice in self.checks.feed(event, self.now):
            self.service.notice(notice)
        self.service.feed(event)

    def hits(self, number: int, **columns: Any) -> None:
        hits = make_hits([(self.readouts, order) for order in range(number)], timestamp=self.now_ns, **columns)
        self.feed(self.made.hits(hits, (self.readouts, self.readouts)))
        self.readouts += 1

    def second(self, state: str = "running", **stat: Any) -> list[str]:
        """A second passes, with a state published in it; what became of which alarm."""
        self.now += 1.0
        self.made.t = self.now_ns
        if state:
            self.feed(self.made.stat(state, **stat))
        return self.look()

    def second_of_threads(self, endless: int = 0) -> list[str]:
        """A second at whose end all checks that are asked apart have answered, but so many."""
        happened = self.second()
        self.wait_for_threads(endless)
        return happened

    def wait_for_threads(self, endless: int = 0) -> None:
        """Until checks that are asked apart have answered, but so many."""
        deadline = time.monotonic() + DEADLINE_S
        while sum(thread.name.startswith("check ") for thread in threading.enumerate()) > endless:
            assert time.monotonic() < deadline, "a check is still being asked"
            time.sleep(0.001)

    def look(self) -> list[str]:
        before = len(self.told)
        self.service.tick(self.reader.counters, self.checks.lasting(self.now))
        return [f"{each.kind} {each.alarm.id}" for each in self.told[before:]]

    def ask(self, command: str, keys: ClientKeys | None = None, **args: Any) -> dict[str, Any]:
        """The answer of the control socket, which `tick` gives."""
        answer: list[dict[str, Any] | Exception] = []

        def call() -> None:
            with CheckerClient(self.configuration.file.control_endpoint, DEADLINE_S, keys) as client:
                try:
                    answer.append(client.call(command, **args))
                except RequestError as error:
                    answer.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        while thread.is_alive():
            self.service.tick(self.reader.counters, ())
            thread.join(0.01)
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    @property
    def alarms(self) -> list[Alarm]:
        return [Alarm.model_validate(each) for each in self.ask("alarms")["alarms"]]

    @property
    def log(self) -> list[dict[str, Any]]:
        text = (self.folder / "kept" / "alarms.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path) as running:
        yield running


def test_all_well_is_no_alarm(running: Running) -> None:
    for _ in range(5):
        running.hits(3)
        assert running.second() == []
    assert running.alarms == []
    assert running.log == []


def test_an_event_is_an_alarm_at_once_and_over_ten_seconds_later(running: Running) -> None:
    running.second()
    running.made.seq["stat"] += 3
    assert running.second() == ["raised sequence_gap:stat"]
    (alarm,) = running.alarms
    assert (alarm.level, alarm.value, alarm.limit) == ("warning", 3.0, None)
    assert [running.second() for _ in range(10)] == [[]] * 9 + [["over sequence_gap:stat"]]
    assert [each.latched for each in running.alarms] == [True]
    assert running.ask("ack", ids=["sequence_gap"]) == {"acknowledged": ["sequence_gap:stat"]}
    assert running.alarms == []
    assert [each["event"] for each in running.log] == ["raised", "over", "acknowledged"]


def test_what_lasts_is_an_alarm_as_long_as_it_lasts(running: Running) -> None:
    assert running.second("error", reason="no board") == ["raised daemon_state"]
    assert [running.second("error", reason="no board") for _ in range(30)] == [[]] * 30
    (alarm,) = running.alarms
    assert (alarm.text, alarm.value, alarm.limit) == ("error: no board", None, None)
    running.second("idle")
    assert [running.second("idle") for _ in range(9)] == [[]] * 8 + [["over daemon_state"]]


def test_silence_is_an_alarm_until_something_comes(running: Running) -> None:
    running.second()
    happened = [running.second("") for _ in range(7)]
    assert happened == [[]] * 5 + [["raised silence"], []]
    (alarm,) = running.alarms
    assert (alarm.value, alarm.limit) == (7.0, 5.0)
    assert [running.second() for _ in range(10)][-1] == ["over silence"]


def test_the_end_of_a_daemon_that_was_idle_is_no_alarm(running: Running) -> None:
    running.second("idle")
    assert [running.second("") for _ in range(30)] == [[]] * 30


def test_what_is_only_worth_knowing_is_no_alarm(running: Running) -> None:
    running.feed(running.made.log("warning", "hm"))
    running.made = MessageMaker(pub=2)
    running.second()
    assert running.second() == []
    running.feed(running.made.log("error", "oh"))
    assert running.second() == ["raised daemon_log:oh"]


def test_looks_are_a_second_apart_whatever_comes(running: Running) -> None:
    running.second()
    running.made.seq["stat"] += 1
    running.second()
    for _ in range(20):
        running.now += 0.04
        assert running.look() == []
    running.now += 100.0  # that is one look, not a hundred good ones
    assert running.look() == ["raised silence"]
    assert {each.id: each.latched for each in running.alarms} == {"sequence_gap:stat": False, "silence": False}


def test_checks_of_the_user_raise_alarms_and_one_that_fails_is_one(tmp_path: Path) -> None:
    shutil.copy(OWN_CHECKS, tmp_path / "own.py")
    with Running(tmp_path, modules=["own.py"]) as running:
        assert running.second_of_threads() == []
        assert running.second_of_threads() == ["raised check_failed:broken"]
        running.hits(3)
        assert running.second_of_threads() == []  # asked at this look, and answered at the next
        assert running.second_of_threads() == ["raised too_many"]
        by_id = {alarm.id: alarm for alarm in running.alarms}
        assert (by_id["too_many"].value, by_id["too_many"].limit, by_id["too_many"].run) == (3.0, 2.0, 1)
        assert by_id["check_failed:broken"].text.startswith("ZeroDivisionError: by nothing (own.py:")
        assert running.second_of_threads() == ["over too_many"]
        assert [running.second_of_threads() for _ in range(20)] == [[]] * 20  # it goes on failing
    assert running.told[0].kind == "raised"


ENDLESS = """
import threading
from monitor.sanity.check import Check, CheckResult
from protocol.wire.alarms import AlarmLevel

LET_GO = threading.Event()
ASKED = []

def _endless(seen, limits):
    ASKED.append(seen)
    LET_GO.wait()
    return [CheckResult("", "at last")]

def _quits(seen, limits):
    raise SystemExit(5)

CHECKS = (
    Check("endless", "nothing", AlarmLevel.WARNING, "wait", _endless, in_a_row=1),
    Check("quits", "nothing", AlarmLevel.WARNING, "wait", _quits, in_a_row=1),
)
"""


@pytest.mark.finds("check_failed")
def test_a_check_that_does_not_return_is_an_alarm_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    shutil.copy(OWN_CHECKS, tmp_path / "own.py")
    with Running(tmp_path, modules=["endless.py", "own.py"]) as running:
        module = sys.modules["apx_sanity_endless"]
        try:
            assert running.second_of_threads(endless=1) == []
            assert running.second_of_threads(endless=1) == ["raised check_failed:quits", "raised check_failed:broken"]
            running.hits(3)
            assert running.second_of_threads(endless=1) == []
            assert running.second_of_threads(endless=1) == ["raised too_many", "raised check_failed:endless"]
            (alarm,) = (each for each in running.alarms if each.id == "check_failed:endless")
            assert (alarm.level, alarm.text[:17]) == ("critical", "no answer for 3 s")
            for _ in range(5):
                running.second_of_threads(endless=1)
            assert len(module.ASKED) == 1
        finally:
            module.LET_GO.set()
        running.wait_for_threads()
        assert "raised endless" in running.second_of_threads()
        assert "over check_failed:endless" in [each for _ in range(10) for each in running.second_of_threads()]
        assert len(module.ASKED) > 1
        assert module.ASKED[0].series is not module.ASKED[1].series


def test_a_check_that_is_taken_out_is_not_asked(tmp_path: Path) -> None:
    shutil.copy(OWN_CHECKS, tmp_path / "own.py")
    text = "[checks.broken]\nenabled = false\n[checks.sequence_gap]\nenabled = false\n"
    with Running(tmp_path, text, modules=["own.py"]) as running:
        running.second()
        running.made.seq["stat"] += 1
        assert running.second() == []


def test_alarms_are_published_once_a_second_and_at_every_change(running: Running) -> None:
    running.hits(1)
    running.second()
    with StreamClient(f"ipc://{running.folder}/alarms.ipc", topics=[Topic.ALARM]) as client:
        first = None
        while first is None:
            running.second()
            first = client.receive(0.05)
        assert isinstance(first, AlarmMessage)
        while client.receive(0.05) is not None:
            pass
        running.feed(running.made.log("critical", "fire"))
        running.second()
        message = client.receive(DEADLINE_S)
        assert isinstance(message, AlarmMessage)
        assert (message.header.daq, message.header.run, message.header.pub) == ("bench", 1, T0_NS + 1000 * S)
        assert [(alarm.id, alarm.level) for alarm in message.alarms] == [("daemon_log:fire", "critical")]
        running.ask("ack", ids=["daemon_log:fire"])
        message = client.receive(DEADLINE_S)
        assert isinstance(message, AlarmMessage)
        assert message.alarms[0].acknowledged
        assert client.counters.gaps == {}


def test_silences_by_the_control_socket(running: Running) -> None:
    answer = running.ask("silence", pattern="daemon_*", for_s=3.0, reason="tests")
    assert answer == {"until_ns": T0_NS + 1003 * S, "silenced": []}
    assert running.second("error") == ["raised daemon_state"]
    assert running.alarms[0].silenced
    assert running.ask("alarms")["silences"] == [
        {"pattern": "daemon_*", "until_ns": T0_NS + 1003 * S, "reason": "tests"}
    ]
    assert [running.second("error") for _ in range(2)] == [[], ["unsilenced daemon_state"]]
    assert running.ask("silence", pattern="daemon_state", for_s=100.0)["silenced"] == ["daemon_state"]
    assert running.ask("unsilence", pattern="daemon_state") == {"unsilenced": ["daemon_state"]}


@pytest.mark.parametrize(
    ("command", "args", "code"),
    [
        ("ack", {"ids": ["nothing"]}, "unknown_alarm"),
        ("ack", {"ids": ["daemon_state", "nothing"]}, "unknown_alarm"),
        ("ack", {"ids": []}, "bad_arguments"),
        ("ack", {}, "bad_arguments"),
        ("ack", {"ids": "daemon_state"}, "bad_arguments"),
        ("silence", {"pattern": "x"}, "bad_arguments"),
        ("silence", {"pattern": "x", "for_s": -1.0}, "bad_arguments"),
        ("silence", {"pattern": "x", "for_s": float("nan")}, "bad_arguments"),
        ("silence", {"pattern": "", "for_s": 1.0}, "bad_arguments"),
        ("silence", {"pattern": "x", "for_s": 1.0, "who": "me"}, "bad_arguments"),
        ("unsilence", {"pattern": "x"}, "not_silenced"),
        ("alarms", {"all": True}, "bad_arguments"),
        ("shutdown", {}, "unknown_command"),
    ],
)
def test_what_is_refused_changes_nothing(running: Running, command: str, args: dict[str, Any], code: str) -> None:
    running.second("error")
    before = running.ask("alarms")
    with pytest.raises(RefusedError) as caught:
        running.ask(command, **args)
    assert caught.value.code == code
    assert running.ask("alarms") == before


def test_a_restart_changes_nothing_and_calls_nobody(tmp_path: Path) -> None:
    with Running(tmp_path) as before:
        before.feed(before.made.log("error", "once"))
        before.second("error")
        before.ask("ack", ids=["daemon_state"])
        before.ask("silence", pattern="tot_*", for_s=1e6)
        for _ in range(11):
            before.second("error")
        alarms, silences = before.alarms, before.ask("alarms")["silences"]
    assert [(alarm.id, alarm.latched, alarm.acknowledged) for alarm in alarms] == [
        ("daemon_state", False, True),
        ("daemon_log:once", True, False),
    ]
    with Running(tmp_path) as after:
        assert after.told == []
        assert after.alarms == alarms
        assert after.ask("alarms")["silences"] == silences
        assert not after.service.alarmed  # nothing was looked at yet
        assert after.second("error") == []
        assert after.service.alarmed, "an alarm from before is still on"


def test_a_killed_one_has_kept_the_last_change(tmp_path: Path) -> None:
    """What is read is what lies there while it runs: no end in order."""
    with Running(tmp_path) as before:
        before.feed(before.made.log("error", "once"))
        before.second()
        shutil.copytree(tmp_path / "kept", tmp_path / "killed" / "kept")
    with Running(tmp_path / "killed") as after:
        assert [alarm.id for alarm in after.alarms] == ["daemon_log:once"]


def test_two_do_not_use_the_same_things(tmp_path: Path) -> None:
    with (
        Running(tmp_path),
        pytest.raises(AlarmServiceError, match=r"directory .* in use by process \d+: end that apx"),
    ):
        Running(tmp_path).__enter__()
    (tmp_path / "other").mkdir()
    with Running(tmp_path) as first:
        second = Running(tmp_path / "other", control=first.configuration.file.control_endpoint)
        with pytest.raises(AlarmServiceError, match=r"the control socket .* is in use by process \d+: end that apx"):
            second.__enter__()
    with Running(tmp_path) as again:
        assert again.alarms == []


@pytest.mark.finds("output_failed")
def test_an_output_that_fails_is_an_alarm_and_stops_nothing(tmp_path: Path) -> None:
    text = '[command]\nargv = ["/nowhere/at/all"]\nattempts = 1\n'
    with Running(tmp_path, text) as running:
        running.second("error")
        happened: list[str] = []
        while not happened:
            happened = running.second("error")
        assert happened == ["raised output_failed:command"]
        assert "cannot be started" in {alarm.id: alarm for alarm in running.alarms}["output_failed:command"].text


def test_only_who_is_to_be_called_is_called(tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = (
        f'[command]\nargv = ["sh", "-c", "cat >> {out}; echo >> {out}"]\n'
        'least = "critical"\nevents = ["raised", "over"]\n'
        '[[silences]]\npattern = "daemon_log:quiet"\n'
    )
    with Running(tmp_path, text) as running:
        for level, said in (("error", "not so bad"), ("critical", "fire"), ("critical", "quiet")):
            running.feed(running.made.log(level, said))
        assert len(running.second()) == 3
        running.ask("ack", ids=["daemon_log:fire"])
        for _ in range(10):
            running.second()
    sent = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(each["event"], each["alarm"]["id"]) for each in sent] == [
        ("raised", "daemon_log:fire"),
        ("over", "daemon_log:fire"),
    ]
    assert sent[0]["daq"] == "bench"
    assert len(running.log) == 7


def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    with pytest.raises(AlarmServiceError, match=r"cannot use the directory .*/kept: "):
        Running(tmp_path).__enter__()


def test_a_control_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir(mode=0o777)
    (tmp_path / "c").chmod(0o777)
    with pytest.raises(AlarmServiceError, match="others could silence alarms"):
        Running(tmp_path).__enter__()
