"""Where a publisher that was killed goes on.

What a publisher had sent in its last moments may never have reached the subscribers. So it goes on from a place it
passed some seconds before it died, and publishes that stretch again; subscribers know what they have by the ids.
"""

import json
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from daqd.following.follower import Position

OVERLAP_S = 2.0
"""How far back a restarted publisher goes, at least."""


@dataclass(frozen=True)
class Checkpoint:
    """A place in the runs, with what the publisher knew there.

    `position`: None between runs, after `last_run`. `decoder`: state of the decoder at that place, None between runs;
    `readout_uid` says of which kind it is. `subscribers`: how many got hits.
    """

    last_run: int
    position: Position | None
    readout_uid: int
    decoder: dict[str, Any] | None
    next_readout: int | None
    subscribers: int

    def to_json(self) -> str:
        """As it is kept on disk."""
        position = self.position
        return json.dumps(
            {
                "last_run": self.last_run,
                "position": position and [position.run, position.file, position.offset],
                "readout_uid": self.readout_uid,
                "decoder": self.decoder,
                "next_readout": self.next_readout,
                "subscribers": self.subscribers,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`; `ValueError` for anything else."""
        try:
            content = json.loads(text)
            position, decoder, next_readout = content["position"], content["decoder"], content["next_readout"]
            if not isinstance(decoder, dict | None):
                raise TypeError("the decoder's state is no object")
            return cls(
                last_run=_count(content["last_run"]),
                position=None if position is None else Position(*map(_count, position)),
                readout_uid=_count(content["readout_uid"]),
                decoder=decoder,
                next_readout=None if next_readout is None else _count(next_readout),
                subscribers=_count(content["subscribers"]),
            )
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a checkpoint: {error!r}") from None


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"not a checkpoint: {value!r} is no count")
    return value


class CheckpointFile:
    """Keeps in a file the youngest checkpoint that is at least `OVERLAP_S` old, or the oldest there is.

    Its `subscribers` are those of the newest: they are who will come back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passed: deque[tuple[float, Checkpoint]] = deque()
        self._kept: Checkpoint | None = None

    def load(self) -> Checkpoint | None:
        """The checkpoint of the publisher before, None where there is none that can be read."""
        try:
            return Checkpoint.from_json(self._path.read_text())
        except (OSError, ValueError):
            return None

    def forget(self) -> None:
        """Remove what a daemon before this one may have left: its runs are none of ours."""
        self._path.unlink(missing_ok=True)

    def passed(self, checkpoint: Checkpoint, now: float) -> None:
        """Note a place; `now`: monotonic, in seconds."""
        self._passed.append((now, checkpoint))
        while len(self._passed) > 1 and self._passed[1][0] <= now - OVERLAP_S:
            self._passed.popleft()
        kept = replace(self._passed[0][1], subscribers=checkpoint.subscribers)
        if kept != self._kept:
            # Only a killed publisher reads it, and that needs no sync; a half-written one must never be seen.
            draft = self._path.with_name(self._path.name + ".new")
            draft.write_text(kept.to_json())
            draft.replace(self._path)
            self._kept = kept
