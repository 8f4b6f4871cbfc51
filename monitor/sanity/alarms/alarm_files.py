"""Files of the alarms: a log, one JSON object a line, in files of bounded size; and what a restart must not forget."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from astropix_runtime.storage.durable import replace_text
from monitor.sanity.alarms.engine import AlarmTransition
from monitor.sanity.alarms.silence_list import Silenced
from protocol.text import validation_summary
from protocol.wire.alarms import Alarm

MB = 1_000_000


def as_object(transition: AlarmTransition, daq: str) -> dict[str, object]:
    """As it is kept and sent: `{"event": …, "t": …, "daq": …, "alarm": {…}}`."""
    return {
        "event": transition.kind,
        "t": transition.t,
        "daq": daq,
        "alarm": transition.alarm.model_dump(mode="json"),
    }


class AlarmLog:
    """Appends to `path`. At `max_bytes` it becomes `path.1`, that `path.2`, and so on, `keep` of them.

    Lines are whole: each is one write, and what a crash or a full disk left of one is cut off. Not on the disk at once:
    a power cut can take the last seconds. `OSError` as `open` and `write` do.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._file = self._open()

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            os.ftruncate(file, _end_of_lines(file))
            os.lseek(file, 0, os.SEEK_END)
        except BaseException:
            os.close(file)
            raise
        return file

    def write(self, transition: AlarmTransition, daq: str) -> None:
        """Append a line."""
        line = json.dumps(as_object(transition, daq), ensure_ascii=False).encode() + b"\n"
        size = os.lseek(self._file, 0, os.SEEK_END)
        if size and size + len(line) > self._max_bytes:
            self._rotate()
            size = 0
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(f"{self._path}: only {written} of {len(line)} bytes could be written")
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def _rotate(self) -> None:
        if not self._keep:
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            return
        # Not there: somebody has taken it away, or an attempt before this one could make no new file. Moving on then
        # would push those before it out, one with each attempt.
        if self._path.exists():
            for number in range(self._keep - 1, 0, -1):
                older = self._numbered(number)
                if older.exists():
                    older.replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))
        file = self._open()
        os.close(self._file)
        self._file = file

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _end_of_lines(file: int) -> int:
    """Where the last whole line ends."""
    position = os.lseek(file, 0, os.SEEK_END)
    while position:
        step = min(position, 1 << 16)
        os.lseek(file, position - step, os.SEEK_SET)
        at = os.read(file, step).rfind(b"\n")
        if at >= 0:
            return position - step + at + 1
        position -= step
    return 0


log = logging.getLogger(__name__)


class AlarmState(BaseModel):
    """What the file holds. `silences`: those that the configuration does not name."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    alarms: tuple[Alarm, ...] = ()
    silences: tuple[Silenced, ...] = ()


class StateFile:
    """Keeps an `AlarmState` in a file that is there in whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> AlarmState:
        """What was saved last; nothing where nothing was. A file that cannot be read is put aside, with a warning."""
        try:
            return AlarmState.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return AlarmState()
        except ValidationError as error:
            aside = self._path.with_name(f"{self._path.name}.bad-{time.time_ns()}")
            self._path.replace(aside)
            log.warning(
                "%s is no state of alarms (%s): put aside as %s, alarms begin anew",
                self._path,
                validation_summary(error),
                aside,
            )
            return AlarmState()

    def save(self, state: AlarmState) -> None:
        """Put it in the place of what was saved before; `OSError`."""
        replace_text(self._path, state.model_dump_json(indent=1) + "\n")
