"""A run in files, and what whoever reads its stream must get."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from protocol.apx import ApxReader, FileHeader
from protocol.hit import HitTable
from protocol.ledger import Ledger


@dataclass(frozen=True)
class Recording:
    """The `.apx` files of one run, in order; `chips` in its chain, where the files do not say.

    `hits` and `ledger` are decoded from the files when they are first asked for; as the stream brings them.
    """

    files: tuple[Path, ...]
    chips: int | None = None

    @classmethod
    def of(cls, *files: Path | str, chips: int | None = None) -> Self:
        """From files, or from one directory with the files of a run; `ValueError` where there are none."""
        paths = [Path(path).absolute() for path in files]
        if len(paths) == 1 and paths[0].is_dir():
            paths = sorted(paths[0].glob("*.apx"))
        if not paths:
            raise ValueError(f"no .apx files{f' in {files[0]}' if files else ''}")
        return cls(tuple(paths), chips)

    @cached_property
    def header(self) -> FileHeader:
        """Of the first file."""
        with ApxReader(self.files[0]) as reader:
            return reader.header

    @property
    def hits(self) -> HitTable:
        """All hits in the order of the stream: structured array (n,), with the columns of the stream."""
        return self._decoded[0]

    @property
    def ledger(self) -> Ledger:
        """What each byte of the files was; it comes with the end of the run, and in the states."""
        return self._decoded[1]

    @cached_property
    def _decoded(self) -> tuple[HitTable, Ledger]:
        decoder = self.header.decoder(self.chips)
        tables = []
        for path in self.files:
            with ApxReader(path) as reader:
                tables += [decoder.decode(block) for block in reader.blocks()]
        hits = np.concatenate([*tables, decoder.flush()])
        hits.flags.writeable = False
        return hits, decoder.ledger
