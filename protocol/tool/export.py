"""Formats that hits can be converted to. A new one is a function here or elsewhere, under `@export_format`.

The function is a context manager: it gets the open output file, the header of the recording and the names of the
columns, writes what comes before the hits, gives a function that takes tables of hits (`HIT_DTYPE` or that of another
hit class) in order, and writes what comes after them when it is left.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from protocol.apx import FileHeader
from protocol.hit import HitTable
from protocol.tool.csv_table import csv_rows

TableSink = Callable[[HitTable], None]
TableWriter = Callable[[BinaryIO, FileHeader, Sequence[str]], AbstractContextManager[TableSink]]


@dataclass(frozen=True)
class ExportFormat:
    """A format: what it is called on the command line, how its files are called, and what writes them."""

    name: str
    suffix: str
    description: str
    writer: TableWriter


EXPORT_FORMATS: dict[str, ExportFormat] = {}


def export_format(name: str, suffix: str, description: str) -> Callable[[TableWriter], TableWriter]:
    """Register the decorated function as the writer of a format."""

    def register(writer: TableWriter) -> TableWriter:
        EXPORT_FORMATS[name] = ExportFormat(name, suffix, description, writer)
        return writer

    return register


@export_format("csv", ".csv", "text: a comment line with the header, the column names, a line per hit")
@contextmanager
def write_csv(file: BinaryIO, header: FileHeader, columns: Sequence[str]) -> Iterator[TableSink]:
    """docs/formats.md, "CSV"."""
    file.write(f"#{header.serialize()}\n{','.join(columns)}\n".encode())

    def write_rows(table: HitTable) -> None:
        file.write(csv_rows(table, columns))

    yield write_rows
