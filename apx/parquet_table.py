"""Hits as an Apache Parquet table (docs/formats.md, "HDF5, FITS, Parquet"). Needs pyarrow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from apx.errors import optional_package
from protocol.hit import HitTable
from protocol.units import COLUMN_UNITS

HEADER_KEY = b"astropix_header"
_GROUP_ROWS = 1 << 17
"""Rows that are read at a time by most programs."""


@contextmanager
def parquet_rows(file: BinaryIO, header: str, dtype: np.dtype[np.void]) -> Iterator[Any]:
    """A function that appends tables of `dtype` to `file`; the table's metadata has the text `header`."""
    arrow = optional_package("pyarrow", "Parquet")
    parquet = optional_package("pyarrow.parquet", "Parquet")
    names = dtype.names or ()
    fields = [
        arrow.field(
            name,
            arrow.from_numpy_dtype(dtype[name]),
            nullable=False,
            metadata={"unit": COLUMN_UNITS[name]} if name in COLUMN_UNITS else None,
        )
        for name in names
    ]
    schema = arrow.schema(fields, metadata={HEADER_KEY: header.encode()})
    waiting: list[HitTable] = []
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:

        def write_group() -> None:
            if waiting:
                columns = [arrow.array(np.concatenate([table[name] for table in waiting])) for name in names]
                writer.write_table(arrow.Table.from_arrays(columns, schema=schema))
                waiting.clear()

        def append(table: HitTable) -> None:
            if len(table):
                waiting.append(table)
            if sum(map(len, waiting)) >= _GROUP_ROWS:
                write_group()

        yield append
        write_group()
