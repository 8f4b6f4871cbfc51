"""Formats that hits can be converted to. A new one is a function here or elsewhere, under `@export_format`.

The function is a context manager: it gets the open output file, the header of the recording and the names of the
columns, writes what comes before the hits, gives a function that takes tables of hits (`HIT_DTYPE` or that of another
hit class) in order, and writes what comes after them when it is left.

docs/formats.md, "CSV" and "HDF5, FITS, Parquet", has what is in the files.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import recfunctions

from apx.csv_table import csv_rows
from apx.subcommand import ToolError
from protocol.apx import FileHeader
from protocol.hit import HitTable
from protocol.units import COLUMN_UNITS

TableSink = Callable[[HitTable], None]
TableWriter = Callable[[BinaryIO, FileHeader, Sequence[str]], AbstractContextManager[TableSink]]

HDF5_CHUNK_ROWS = 1 << 14
PARQUET_GROUP_ROWS = 1 << 17
"""Rows that are read at a time by most programs."""

_PARQUET_HEADER_KEY = b"astropix_header"
_FITS_BLOCK_BYTES = 2880


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
    """A comment line with the header, the names of the columns, and a line for each hit."""
    file.write(f"#{header.serialize()}\n{','.join(columns)}\n".encode())

    def write_rows(table: HitTable) -> None:
        file.write(csv_rows(table, columns))

    yield write_rows


@export_format("hdf5", ".h5", "HDF5: a dataset `hits`, compressed (needs h5py)", seeks=True)
@contextmanager
def write_hdf5(file: BinaryIO, header: FileHeader, columns: Sequence[str]) -> Iterator[TableSink]:
    """The datasets `hits` and `header`."""
    h5py = _optional_package("h5py", "HDF5")
    with h5py.File(file, "w") as root:
        hits = root.create_dataset(
            "hits",
            (0,),
            _dtype_of(header, columns),
            maxshape=(None,),
            chunks=(HDF5_CHUNK_ROWS,),
            compression="gzip",
            shuffle=True,
        )
        hits.attrs["units"] = [COLUMN_UNITS.get(name, "") for name in columns]
        root.create_dataset("header", data=header.serialize())  # an attribute holds 64 KB at most

        def append(table: HitTable) -> None:
            if len(table):
                hits.resize(len(hits) + len(table), axis=0)
                hits[-len(table) :] = recfunctions.repack_fields(table[list(columns)])

        yield append


@export_format("fits", ".fits", "FITS: a binary table HITS (needs astropy)", seeks=True)
@contextmanager
def write_fits(file: BinaryIO, header: FileHeader, columns: Sequence[str]) -> Iterator[TableSink]:
    """The extension `HITS`; the keyword APXHEAD is the header.

    Astropy says what the header of such a table is, but writes tables that it has in memory as a whole. So the header
    is made of an empty table and written first, the rows after it as they come, and the number of rows into the header
    at the end. FITS knows big-endian and signed numbers only: an unsigned number u is stored as u minus half its range,
    which is u with its highest bit turned, and the header says so (TZERO).
    """
    fits = _optional_package("astropy.io.fits", "FITS")
    dtype = _dtype_of(header, columns)
    stored = np.dtype([(name, dtype[name].newbyteorder(">")) for name in columns])
    hits = fits.BinTableHDU(np.zeros(0, dtype), name="HITS", uint=True)
    for index, name in enumerate(columns, start=1):
        if name in COLUMN_UNITS:
            hits.columns[name].unit = COLUMN_UNITS[name]
            hits.header[f"TUNIT{index}"] = COLUMN_UNITS[name]
    hits.header["APXHEAD"] = header.serialize()
    file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
    header_at = file.tell()
    file.write(hits.header.tostring().encode("ascii"))
    rows_at = file.tell()

    def append(table: HitTable) -> None:
        rows = np.empty(len(table), stored)
        for name in columns:
            rows[name] = _fits_integers(table[name])
        file.write(rows.tobytes())

    yield append
    size_bytes = file.tell() - rows_at
    file.write(bytes(-size_bytes % _FITS_BLOCK_BYTES))
    hits.header["NAXIS2"] = size_bytes // stored.itemsize
    file.seek(header_at)
    file.write(hits.header.tostring().encode("ascii"))
    file.seek(0, 2)


def _fits_integers(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype.kind != "u" or values.dtype.itemsize == 1:  # FITS has unsigned bytes
        return values
    stored: npt.NDArray[Any] = values ^ values.dtype.type(1 << (8 * values.dtype.itemsize - 1))
    return stored


@export_format("parquet", ".parquet", "Apache Parquet: a row a hit, compressed (needs pyarrow)", seeks=True)
@contextmanager
def write_parquet(file: BinaryIO, header: FileHeader, columns: Sequence[str]) -> Iterator[TableSink]:
    """One table, in groups of rows; the header is in its metadata."""
    arrow = _optional_package("pyarrow", "Parquet")
    parquet = _optional_package("pyarrow.parquet", "Parquet")
    dtype = _dtype_of(header, columns)
    fields = [
        arrow.field(
            name,
            arrow.from_numpy_dtype(dtype[name]),
            nullable=False,
            metadata={"unit": COLUMN_UNITS[name]} if name in COLUMN_UNITS else None,
        )
        for name in columns
    ]
    schema = arrow.schema(fields, metadata={_PARQUET_HEADER_KEY: header.serialize().encode()})
    waiting: list[HitTable] = []
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:

        def write_group() -> None:
            if waiting:
                arrays = [arrow.array(np.concatenate([table[name] for table in waiting])) for name in columns]
                writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
                waiting.clear()

        def append(table: HitTable) -> None:
            if len(table):
                waiting.append(table)
            if sum(map(len, waiting)) >= PARQUET_GROUP_ROWS:
                write_group()

        yield append
        write_group()


def _dtype_of(header: FileHeader, columns: Sequence[str]) -> np.dtype[np.void]:
    """The columns that are wanted of the hits in the file, packed."""
    hit_class = header.readout_class().HIT_CLASS
    assert hit_class is not None  # noqa: S101 - the columns were chosen from it
    return np.dtype([(name, hit_class.DTYPE[name]) for name in columns])


def _optional_package(module: str, what: str) -> Any:
    """A module that only `what` needs; `ToolError` where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ToolError(f"{what} needs the package {package}: pip install {package}") from error
