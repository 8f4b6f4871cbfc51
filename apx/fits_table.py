"""Hits as a FITS binary table (docs/formats.md, "HDF5, FITS, Parquet"). Needs astropy.

Astropy says what the header of such a table is, but writes tables that it has in memory as a whole. So the header is
made of an empty table and written first, the rows after it as they come, and the number of rows into the header at the
end. FITS knows big-endian and signed numbers only: an unsigned number u is stored as u minus half its range, which is
u with its highest bit turned, and the header says so (TZERO).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from apx.errors import optional_package
from protocol.hit import HitTable
from protocol.units import COLUMN_UNITS

_BLOCK_BYTES = 2880


@contextmanager
def fits_rows(file: BinaryIO, header: str, dtype: np.dtype[np.void]) -> Iterator[Any]:
    """A function that appends tables of `dtype` to the extension `HITS` of `file`; `header` is its keyword APXHEAD."""
    fits = optional_package("astropy.io.fits", "FITS")
    stored = np.dtype([(name, dtype[name].newbyteorder(">")) for name in dtype.names or ()])
    hits = fits.BinTableHDU(np.zeros(0, dtype), name="HITS", uint=True)
    for index, name in enumerate(stored.names or (), start=1):
        if name in COLUMN_UNITS:
            hits.columns[name].unit = COLUMN_UNITS[name]
            hits.header[f"TUNIT{index}"] = COLUMN_UNITS[name]
    hits.header["APXHEAD"] = header
    file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
    place = file.tell()
    file.write(hits.header.tostring().encode("ascii"))
    begin = file.tell()

    def append(table: HitTable) -> None:
        rows = np.empty(len(table), stored)
        for name in stored.names or ():
            rows[name] = _turned(table[name])
        file.write(rows.tobytes())

    yield append
    size_bytes = file.tell() - begin
    file.write(bytes(-size_bytes % _BLOCK_BYTES))
    hits.header["NAXIS2"] = size_bytes // stored.itemsize
    file.seek(place)
    file.write(hits.header.tostring().encode("ascii"))
    file.seek(0, 2)


def _turned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.dtype.kind != "u" or values.dtype.itemsize == 1:  # FITS has unsigned bytes
        return values
    turned: npt.NDArray[Any] = values ^ values.dtype.type(1 << (8 * values.dtype.itemsize - 1))
    return turned
