"""Making a whole recording of a file that its writer did not finish, or that was damaged; nothing is thrown away.

The order of the steps is what makes it last through a crash at any moment (docs/formats.md, "Repair"): what will be cut
off is on disk under its own name before the file becomes shorter. Looked at again after that, it asks for the rest.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from astropix_runtime.storage import durable
from astropix_runtime.storage.survey import Advance, ByteRange, Survey, survey_path
from protocol.errors import ApxFormatError
from protocol.run_record import CUT_SUFFIX, PART_SUFFIX, Cut
from protocol.text import counted

_CHUNK_BYTES = 1 << 20

Watch = Callable[[Path, int], AbstractContextManager[Advance]]
"""Is told which file is read, and how large it is; what it gives is told how far that has come."""


@contextmanager
def unwatched(_: Path, __: int) -> Iterator[Advance]:
    """Nobody wants to know."""
    yield lambda _: None


@dataclass(frozen=True)
class FileRepair:
    """What there is to do about the file at `path`, which is `final` then. `keep` and `finish` do it, in this order.

    `cuts`: what is put aside; a file without a whole header as a whole. `obstacle`: why it is left as it is, or empty.
    """

    path: Path
    final: Path
    survey: Survey
    cuts: tuple[Cut, ...] = ()
    obstacle: str = ""

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return not self.obstacle and (self.is_part or bool(self.cuts))

    @property
    def is_part(self) -> bool:
        """Whether its writer did not finish it."""
        return self.path != self.final

    @property
    def opens(self) -> bool:
        """Whether there will be a file at `final`."""
        return not self.obstacle and self.survey.header is not None

    def describe(self) -> str:
        """What is done, in words."""
        if not self.opens and not self.cuts:
            return f"{self.path.name}, which is empty, is removed"
        size_bytes = sum(cut.size_bytes for cut in self.cuts)
        kept = f"{counted(size_bytes, 'byte')} put aside in {self.cuts[0].kept_as}" if self.cuts else ""
        if not self.opens:
            return f"{self.path.name} has no whole header: {kept}"
        done = "finished" if self.is_part else "mended"
        return f"{self.final.name} is {done}, {counted(self.survey.tally.readouts, 'readout')}" + (
            f", {kept}" if kept else ""
        )

    def keep(self) -> None:
        """Put aside what is no whole record, beside the file, which stays as it is; a file without a header waits."""
        if self.cuts and self.opens:
            target = self.path.with_name(self.cuts[0].kept_as)
            if not target.exists():
                with self.path.open("rb") as source:
                    durable.replace_copy(source, self.survey.cuts, target)

    def finish(self) -> None:
        """Leave in the file what is whole, and give it its name."""
        if self.opens:
            self._cut()
            if self.is_part:
                durable.rename(self.path, self.final)
        elif self.cuts:
            durable.rename(self.path, self.path.with_name(self.cuts[0].kept_as))
        else:
            durable.remove([self.path])

    def _cut(self) -> None:
        if not self.cuts:
            return
        if self.survey.cut_at_end:
            durable.truncate(self.path, self.survey.kept_bytes)
            return
        with self.path.open("rb") as source:
            durable.replace_copy(source, self.survey.kept, self.path, self.survey.sha256)


def plan_file_repair(path: Path, watch: Watch = unwatched) -> FileRepair:
    """Look through a file and say what there is to do, doing nothing; `OSError` as `open`."""
    final = path.with_name(path.name.removesuffix(PART_SUFFIX)) if path.name.endswith(f".apx{PART_SUFFIX}") else path
    with watch(path, path.stat().st_size) as advance:
        try:
            found = survey_path(path, advance)
        except ApxFormatError as error:
            return FileRepair(path, final, Survey(path.stat().st_size), obstacle=error.reason)
    if found.foreign:
        return FileRepair(path, final, found, obstacle=f"{path.name}: {found.fault}; left to a version that knows it")
    if path != final and final.exists() and found.header is not None:
        return FileRepair(path, final, found, obstacle=f"{final.name} exists; {path.name} keeps its name")
    if path == final and found.header is None:
        return FileRepair(path, final, found, obstacle=f"{path.name}: {found.fault}; it was left as it is")
    if not found.cuts:
        return FileRepair(path, final, found)
    kept_as = _free_name(path, final, found)
    cuts = tuple(
        Cut(file=final.name, offset=cut.start, size_bytes=cut.size_bytes, kept_as=kept_as) for cut in found.cuts
    )
    return FileRepair(path, final, found, cuts)


def _free_name(path: Path, final: Path, found: Survey) -> str:
    """Name for what is put aside: never one that is taken, but for the same bytes, put there before a crash."""
    for number in itertools.count(1):
        name = f"{final.name}{CUT_SUFFIX}" + (f".{number}" if number > 1 else "")
        there = path.with_name(name)
        if not there.exists() or (found.header is not None and _holds(there, path, found.cuts)):
            return name
    raise AssertionError("there are more numbers than files")


def _holds(copy: Path, path: Path, ranges: tuple[ByteRange, ...]) -> bool:
    """Whether `copy` is made of these ranges of `path`."""
    if copy.stat().st_size != sum(each.size_bytes for each in ranges):
        return False
    with copy.open("rb") as copied, path.open("rb") as source:
        for start, stop in ranges:
            source.seek(start)
            for position in range(start, stop, _CHUNK_BYTES):
                size = min(_CHUNK_BYTES, stop - position)
                if source.read(size) != copied.read(size):
                    return False
    return True
