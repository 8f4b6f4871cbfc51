"""How large readouts are, as far as the daemon's counts tell."""

from protocol.wire.messages import Stat


class ReadoutBytes:
    """Mean size of readouts as they are in the files, from the counts in one state after the other.

    `of_run`: of all in the run; `now`: of those since the state before; None: there were none, or nothing was told.
    """

    def __init__(self) -> None:
        self.of_run: float | None = None
        self.now: float | None = None
        self._counted = (0, 0)
        self._run: tuple[int | None, int] | None = None

    def take(self, stat: Stat) -> None:
        """The next state."""
        if (stat.run, stat.pass_) != self._run:
            self._run, self._counted = (stat.run, stat.pass_), (0, 0)
            self.of_run = None
        readouts, size_bytes = stat.counts.get("readouts", 0), stat.counts.get("readout_bytes")
        if size_bytes is None or readouts == self._counted[0]:
            self.now = None
            return
        before = self._counted if readouts > self._counted[0] else (0, 0)
        self._counted = (readouts, size_bytes)
        self.of_run = size_bytes / readouts if readouts else None
        self.now = (size_bytes - before[1]) / (readouts - before[0]) if readouts else None
