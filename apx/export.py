"""Formats that hits can be converted to. A new one is a function here or elsewhere, under `@export_format`.

The function is a context manager: it gets the open output file, the header of the recording and the names of the
columns, writes what comes before the hits, gives a function that takes tables of hits (`HIT_DTYPE` or that of another
hit class) in order, and writes what comes after them when it is left.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.lib import recfunctions

from apx.csv_table import csv_rows
from apx.fits_table import fits_rows
from apx.hdf5_table import hdf5_rows
from apx.parquet_table import parquet_rows
from protocol.apx import FileHeader
from protocol.hit import HitTable

TableSink = Callable[[HitTable], None]
TableWriter = Callable[[BinaryIO, FileHeader, Sequence[str]], AbstractContextManager[TableSink]]


@dataclass(frozen=True)
class ExportFormat:
    """A format: what it is called on the command line, how its files are called, and what writes them."""

    name: str
    suffix: str
    description: str
    writer: TableWriter
    seeks: bool = False
    """Whether it goes back in its file, so that standard output will not do."""


EXPORT_FORMATS: dict[str, ExportFormat] = {}


def export_format(
    name: str, suffix: str, description: str, *, seeks: bool = False
) -> Callable[[TableWriter], TableWriter]:
    """Register the decorated function as the writer of a format."""

    def register(writer: TableWriter) -> TableWriter:
        EXPORT_FORMATS[name] = ExportFormat(name, suffix, description, writer, seeks)
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


@export_format("hdf5", ".h5", "HDF5: a dataset `hits`, compressed (needs h5py)", seeks=True)
@contextmanager
def write_hdf5(file: BinaryIO, header: FileHeader, columns: Sequence[str]) -> Iterator[TableSink]:
    """docs/formats.md, "HDF5, FITS, Parquet"."""
    with hdf5_rows(file, header.serialize(), _rows_of(header, columns)) as append:
        yield lambda table: append(_packed(table, columns))


@export_format("fits", ".fits", "FITS: a binary table HITS (needs astropy)", seeks=True)
@contextmanager
def write_fits(file: BinaryIO, header: FileHeader, columns: Sequence[str]) -> Iterator[TableSink]:
    """docs/formats.md, "HDF5, FITS, Parquet"."""
    with fits_rows(file, header.serialize(), _rows_of(header, columns)) as append:
        yield append


@export_format("parquet", ".parquet", "Apache Parquet: a row a hit, compressed (needs pyarrow)", seeks=True)
@contextmanager
def write_parquet(file: BinaryIO, header: FileHeader, columns: Sequence[str]) -> Iterator[TableSink]:
    """docs/formats.md, "HDF5, FITS, Parquet"."""
    with parquet_rows(file, header.serialize(), _rows_of(header, columns)) as append:
        yield append


def _rows_of(header: FileHeader, columns: Sequence[str]) -> np.dtype[np.void]:
    """The columns of the hits in the file that were asked for, packed."""
    hit_class = header.readout_class().HIT_CLASS
    assert hit_class is not None  # noqa: S101 - the columns were chosen from it
    return np.dtype([(name, hit_class.DTYPE[name]) for name in columns])


def _packed(table: HitTable, columns: Sequence[str]) -> HitTable:
    return recfunctions.repack_fields(table[list(columns)])
