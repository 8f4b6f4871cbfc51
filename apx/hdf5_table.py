"""Hits as an HDF5 dataset (docs/formats.md, "HDF5, FITS, Parquet"). Needs h5py."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from apx.errors import optional_package
from protocol.hit import HitTable
from protocol.units import COLUMN_UNITS

_CHUNK_ROWS = 1 << 14


@contextmanager
def hdf5_rows(file: BinaryIO, header: str, dtype: np.dtype[np.void]) -> Iterator[Any]:
    """A function that appends tables of `dtype` to the dataset `hits` of `file`; its dataset `header` is that text."""
    h5py = optional_package("h5py", "HDF5")
    with h5py.File(file, "w") as root:
        hits = root.create_dataset(
            "hits", (0,), dtype, maxshape=(None,), chunks=(_CHUNK_ROWS,), compression="gzip", shuffle=True
        )
        hits.attrs["units"] = [COLUMN_UNITS.get(name, "") for name in dtype.names or ()]
        root.create_dataset("header", data=header)  # an attribute holds 64 KB at most

        def append(table: HitTable) -> None:
            if len(table):
                hits.resize(len(hits) + len(table), axis=0)
                hits[-len(table) :] = table

        yield append
