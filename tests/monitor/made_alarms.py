"""Alarms and transitions for tests."""

from typing import Any

from monitor.sanity.alarms.engine import AlarmTransition, TransitionKind
from protocol.wire.alarms import Alarm


def made_alarm(**values: Any) -> Alarm:
    return Alarm.model_validate(
        {
            "id": "hot:a",
            "check": "hot",
            "subject": "a",
            "level": "warning",
            "worst": "warning",
            "text": "30 Hz ≫ 4 Hz",
            "since_ns": 5,
            "last_ns": 6,
        }
        | values
    )


def made_transition(kind: TransitionKind = "raised", t: int = 7, **values: Any) -> AlarmTransition:
    return AlarmTransition(kind, t, made_alarm(**values))
