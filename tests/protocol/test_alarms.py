"""Names of alarms: the same for the same thing, one word each, not endless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.wire.alarms import MAX_ID_LETTERS, Alarm, AlarmLevel, alarm_id


@pytest.mark.parametrize(
    ("subject", "name"),
    [("", "few_hits"), ("chip 0 pixel 5/7", "few_hits:chip_0_pixel_5/7"), ("  chip\t3 ", "few_hits:chip_3")],
)
def test_names(subject: str, name: str) -> None:
    assert alarm_id("few_hits", subject) == name


@given(st.text())
def test_names_are_words_of_bounded_length(subject: str) -> None:
    name = alarm_id("few_hits", subject)
    assert len(name) <= MAX_ID_LETTERS
    assert name.isprintable()
    assert " " not in name


def test_long_subjects_that_differ_at_the_end_are_told_apart() -> None:
    names = {alarm_id("daemon_log", "x" * 500 + end) for end in ("a", "b")}
    assert len(names) == 2


def test_levels_are_ordered() -> None:
    assert sorted(AlarmLevel, key=lambda level: level.rank) == [AlarmLevel.OK, AlarmLevel.WARNING, AlarmLevel.CRITICAL]


@pytest.mark.parametrize(
    ("value", "limit", "figures"),
    [(29.5, 4.25, "29.5, limit 4.25"), (0.0, 35.0, "0, limit 35"), (None, None, ""), (3.0, None, ""), (1.0, 0.0, "")],
)
def test_figures_are_shown_where_they_say_something(value: float | None, limit: float | None, figures: str) -> None:
    warning = AlarmLevel.WARNING
    alarm = Alarm(
        id="a", check="a", level=warning, worst=warning, text="t", value=value, limit=limit, since_ns=0, last_ns=0
    )
    assert alarm.figures == figures
