"""What a restart must not forget: the alarms there are, and who is silenced."""

import logging
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from astropix_runtime.storage.durable import replace_text
from monitor.sanity.alarms.silence_list import Silenced
from protocol.text import validation_summary
from protocol.wire.alarms import Alarm

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
        """What was saved last; nothing where nothing was. A file that cannot be read is put aside, and told of."""
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
