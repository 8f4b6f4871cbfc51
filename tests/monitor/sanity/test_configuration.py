"""The configuration of apx-sanity: what is shipped is the default, and every mistake is told at once."""

import re
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from monitor.control import default_control_endpoint
from monitor.errors import ConfigError
from monitor.sanity.checks.catalogue import BUILT_IN
from monitor.sanity.checks.event_checks import EVENT_CHECKS, NO_HITS, SILENCE, TOT_RANGE
from monitor.sanity.configuration import (
    Configuration,
    SanityConfiguration,
    default_configuration,
    load_configuration,
)
from protocol.wire.alarms import AlarmLevel
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

SHIPPED = REPOSITORY / "config" / "sanity.toml"
OWN_CHECKS = Path(__file__).with_name("own_checks.py")


def load(folder: Path, text: str) -> SanityConfiguration:
    path = folder / "sanity.toml"
    path.write_text(text, encoding="utf-8")
    return load_configuration(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return list(caught.value.mistakes)


# ---- the shipped file


def test_the_shipped_file_says_the_defaults() -> None:
    shipped, default = load_configuration(SHIPPED), default_configuration()
    assert (shipped.alarming, shipped.levels) == (default.alarming, default.levels)
    assert shipped.limits == default.limits
    assert all(getattr(shipped.file, name) == getattr(default.file, name) for name in Configuration.model_fields)


def test_every_key_is_in_the_shipped_file_and_commented() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for name, field in Configuration.model_fields.items():
        section = field.annotation
        if name == "silences":
            continue
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        (body,) = re.findall(rf"^\[{name}\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
        for key in section.model_fields:
            assert re.search(rf"^(# )?{key} = ", body, re.MULTILINE), f"{name}.{key}"
    configuration = default_configuration()
    sections = dict(re.findall(r"^\[checks\.(\w+)\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL))
    assert sections.keys() == {entry.name for entry in configuration.all_checks}
    for entry in configuration.all_checks:
        keys = re.findall(r"^(\w+) = ", sections[entry.name], re.MULTILINE)
        assert keys == ["enabled", "in_a_row", "good_in_a_row", *(limit.name for limit in entry.limits)], entry.name


def test_every_value_is_commented() -> None:
    commented = False
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            commented = True
        elif not line or line.startswith("["):
            commented = False
        else:
            assert commented, line


# ---- what can be set


def test_checks_are_set_one_by_one(tmp_path: Path) -> None:
    configuration = load(
        tmp_path,
        """
        [checks.silence]
        max_s = 30
        level = "critical"
        in_a_row = 2
        good_in_a_row = 4
        [checks.daemon_log]
        enabled = false
        [checks.tot_range]
        max_us = 500.0
        """,
    )
    alarming = {check.name: check for check in configuration.alarming}
    assert "daemon_log" not in alarming
    assert configuration.levels == {"silence": AlarmLevel.CRITICAL}
    assert (alarming["silence"].in_a_row, alarming["silence"].good_in_a_row) == (2, 4)
    limits = [configuration.limits.of(check) for check in (SILENCE, TOT_RANGE, NO_HITS)]
    assert (limits[0]["max_s"], limits[1]["max_us"], limits[2]["max_s"]) == (30.0, 500.0, 60.0)


def test_every_limit_of_events_reaches_the_checks(tmp_path: Path) -> None:
    for check in EVENT_CHECKS:
        for limit in check.limits:
            configuration = load(tmp_path, f"[checks.{check.name}]\n{limit.name} = 0.125\n")
            assert configuration.limits.of(check)[limit.name] == 0.125


def test_silences_have_an_end_or_none(tmp_path: Path) -> None:
    configuration = load(
        tmp_path,
        """
        [[silences]]
        pattern = "tot_*"
        until = 2026-12-24T18:00:00Z
        reason = "new threshold"
        [[silences]]
        pattern = "silence"
        """,
    )
    first, second = (entry.silenced() for entry in configuration.file.silences)
    assert first.until_ns == datetime(2026, 12, 24, 18, tzinfo=UTC).timestamp() * 1e9
    assert (first.reason, second.until_ns) == ("new threshold", None)


def test_the_runtime_directory_is_that_of_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for temporary, folder in (("/var/tmp", "/var/tmp"), ("/scratch/" + "j" * 60, "/tmp")):
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        assert re.fullmatch(rf"ipc://{folder}/astropix-daq-\w+/x\.sanity\.ipc", default_control_endpoint("x"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert default_control_endpoint("x") == "ipc:///run/user/7/astropix-daq/x.sanity.ipc"
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/apx:/run/other")
    assert default_control_endpoint("x") == "ipc:///run/apx/x.sanity.ipc"


def test_the_directory_is_where_systemd_or_the_user_keeps_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert Configuration().directory == Path("/home/me/state/astropix-daq/bench")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/apx")
    assert Configuration().directory == Path("/var/lib/apx")


# ---- modules of the user's


@pytest.mark.parametrize("by", ["path", "name"])
def test_modules_add_checks_with_limits(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(OWN_CHECKS, tmp_path / f"my_{by}.py")
    monkeypatch.syspath_prepend(tmp_path)
    name = "my_path.py" if by == "path" else "my_name"
    configuration = load(
        tmp_path,
        f"""
        [sanity]
        modules = ["{name}"]
        [checks.too_many]
        most = 7
        [checks.broken]
        enabled = false
        """,
    )
    assert [check.name for check in configuration.checks] == [*(check.name for check in BUILT_IN), "too_many"]
    assert configuration.limits.configured["too_many"] == {"most": 7.0}
    assert {check.name: check.in_a_row for check in configuration.alarming}["too_many"] == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", '"own.py" cannot be loaded: ZeroDivisionError: division by zero'),
        ("x = (", '"own.py" cannot be loaded: SyntaxError: '),
        ("CHECKS = 3", '"own.py" has no table CHECKS of monitor.sanity.check.Check'),
        ("", '"own.py" has no table CHECKS of monitor.sanity.check.Check'),
        ("NAME = 'Silence!'", '"own.py": "Silence!" is no name for a check: '),
        ("NAME = 'silence'", '"own.py": there is a check silence already: give this one another name'),
    ],
)
def test_modules_that_cannot_be_used(tmp_path: Path, source: str, said: str) -> None:
    if source.startswith("NAME"):
        name = source.split("'")[1]
        source = OWN_CHECKS.read_text().replace('"too_many"', f'"{name}"', 1)
    (tmp_path / "own.py").write_text(source)
    (mistake,) = mistakes(tmp_path, '[sanity]\nmodules = ["own.py"]\n[checks.of_mine]\nmost = 3\n')
    assert mistake.startswith(f"sanity.modules[0]: {said}")


# ---- mistakes


def test_all_mistakes_are_told_at_once_each_with_its_path(tmp_path: Path) -> None:
    text = """
        [sanity]
        nam = "x"
        modules = ["nowhere.at_all"]
        [stream]
        connect = 3
        [publish]
        bind = "tcp://0.0.0.0:5558"
        [control]
        endpoint = "tcp://192.168.1.2:5559"
        [log]
        max_size_mb = 0
        [webhook]
        url = "ftp://x"
        events = ["raisd"]
        headers = { "Bad Name" = "x" }
        [command]
        argv = "mail me"
        [checks.silence]
        max_s = -1
        maxs = 3
        in_a_row = "x"
        level = "info"
        [checks.tot_zero]
        max_fraction = 1.5
        [[silences]]
        pattern = "x"
        until = "tomorrow"
        [alarms]
        """
    found = mistakes(tmp_path, text)
    for begin in (
        'sanity.modules[0]: "nowhere.at_all" cannot be loaded: ModuleNotFoundError: ',
        "sanity.nam: unknown key: is name meant?",
        "stream.connect: 3 is not a text",
        'publish: "tcp://0.0.0.0:5558" lets every machine on the network read the alarms: ',
        'control: "tcp://192.168.1.2:5559" lets other machines silence alarms: ',
        "log.max_size_mb: 0 is not allowed: it must be 0.01 to ",
        'webhook.url: "ftp://x" is no address: ',
        'webhook.events[0]: "raisd" is not known: ',
        'webhook.headers: "Bad Name" and its value are no header: ',
        'command.argv: "mail me" is not a list',
        "checks.silence.max_s: -1 is not allowed: it must be at least 0",
        "checks.silence.maxs: unknown key: is max_s meant?",
        'checks.silence.in_a_row: "x" is not a whole number',
        "checks.silence.level: \"info\" is not known: 'warning' or 'critical' is",
        "checks.tot_zero.max_fraction: 1.5 is not allowed: it must be 0.0 to 1",
        'silences[0].until: "tomorrow" is not a date and time',
        "alarms: unknown key: ",
    ):
        assert [mistake for mistake in found if mistake.startswith(begin)], (begin, found)
    assert len(found) == 17


def test_a_check_that_does_not_exist_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "[checks.silense]\n") == ["checks.silense: unknown key: is silence meant?"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[sanity", "is not valid TOML: "),
        (b"\xff", "is not UTF-8 text: byte 0 is wrong"),
        (None, "cannot be read: "),
    ],
)
def test_what_is_no_file_of_toml_is_one_mistake(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_configuration(path)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(said)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("bind", "insecure", "fine"),
    [
        ("tcp://127.0.0.1:5558", False, True),
        ("tcp://localhost:*", False, True),
        ("tcp://[::1]:5558", False, True),
        ("ipc:///tmp/x", False, True),
        ("", False, True),
        ("tcp://*:5558", False, False),
        ("tcp://*:5558", True, True),
        ("tcp://daq-pc:5558", False, False),
        ("tcp://127.0.0.1:99999", True, False),
        ("udp://127.0.0.1:5558", True, False),
        ("ipc://" + "x" * 200, False, False),
    ],
)
def test_others_read_alarms_only_where_that_is_meant(tmp_path: Path, bind: str, insecure: bool, fine: bool) -> None:
    text = f'[publish]\nbind = "{bind}"\ninsecure = {str(insecure).lower()}\n'
    if fine:
        assert load(tmp_path, text).file.publish.bind == bind
    else:
        assert len(mistakes(tmp_path, text)) == 1
