"""`apx convert` to HDF5, FITS and Parquet: read back by the usual libraries, it is the decoded table."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet
import pytest
from astropy.io import fits

from apx import cli
from protocol.apx import FileHeader, apx_open
from protocol.decode import StreamDecoder
from protocol.hit import HIT_DTYPE, AstroPix4Hit, HitTable
from protocol.readout import AstroPix4Readout

HITS = 5000
HEADER = FileHeader(AstroPix4Readout, {"comment": "größer 'it''s'\n&", "long": "x" * 100_000})


def from_hdf5(path: Path) -> tuple[HitTable, str]:
    with h5py.File(path) as file:
        return file["hits"][:], file["header"][()].decode()


def from_fits(path: Path) -> tuple[Any, str]:
    with fits.open(path, memmap=False) as file:
        file.verify("exception")
        return file["HITS"].data, file["HITS"].header["APXHEAD"]


def from_parquet(path: Path) -> tuple[dict[str, Any], str]:
    table = pyarrow.parquet.read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return columns, table.schema.metadata[b"astropix_header"].decode()


READERS: dict[str, Callable[[Path], tuple[Any, str]]] = {
    "hdf5": from_hdf5,
    "fits": from_fits,
    "parquet": from_parquet,
}
SUFFIXES = {"hdf5": ".h5", "fits": ".fits", "parquet": ".parquet"}
each_format = pytest.mark.parametrize("form", READERS)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Hits with values from end to end of their fields, in readouts of up to some dozens."""
    random = np.random.default_rng(5)
    values = {name: random.integers(0, 1 << 20, HITS) for name in ("row", "ts_dec1", "ts_dec2", "ts_tdc1")}
    wire = AstroPix4Hit.encode(chip_id=random.integers(0, 32, HITS), column=1, **values)
    path = tmp_path / "run.apx"
    with apx_open(path, "wb", HEADER) as file:
        for number, part in enumerate(np.array_split(wire, 300)):
            AstroPix4Readout(b"\xbc" + part.tobytes() + b"\xbc", number, (1 << 63) + number).write(file)
    return path


def decoded(path: Path) -> HitTable:
    decoder = StreamDecoder()
    with apx_open(path) as file:
        hits = decoder.decode(list(file))
    return np.concatenate([hits, decoder.flush()])


@each_format
def test_read_back_it_is_the_decoded_table(
    recording: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("apx.export.PARQUET_GROUP_ROWS", 1000)
    hits = decoded(recording)
    assert len(hits) > HITS * 0.9
    assert cli.main(["convert", "--format", form, str(recording)]) == 0
    assert f"{len(hits)} hits of 300 readouts" in capsys.readouterr().out
    table, header = READERS[form](recording.with_suffix(SUFFIXES[form]))
    assert header == HEADER.serialize()
    for name in HIT_DTYPE.names or ():
        column = np.asarray(table[name])
        assert column.dtype.newbyteorder("=") == HIT_DTYPE[name], name
        np.testing.assert_array_equal(column, hits[name], err_msg=name)


@each_format
def test_chosen_columns(recording: Path, form: str) -> None:
    assert cli.main(["convert", "--format", form, "--columns", "tot_us,row", str(recording)]) == 0
    table, _ = READERS[form](recording.with_suffix(SUFFIXES[form]))
    names = list(table) if isinstance(table, dict) else list(table.dtype.names)
    assert names == ["tot_us", "row"]
    np.testing.assert_array_equal(table["row"], decoded(recording)["row"])


def test_units(recording: Path) -> None:
    for form in READERS:
        assert cli.main(["convert", "--format", form, "--columns", "timestamp,row,tot_us", str(recording)]) == 0
    with h5py.File(recording.with_suffix(".h5")) as file:
        assert list(file["hits"].attrs["units"]) == ["ns", "", "us"]
    with fits.open(recording.with_suffix(".fits")) as file:
        assert [column.unit for column in file["HITS"].columns] == ["ns", None, "us"]
    schema = pyarrow.parquet.read_schema(recording.with_suffix(".parquet"))
    assert [field.metadata for field in schema] == [{b"unit": b"ns"}, None, {b"unit": b"us"}]


@each_format
def test_no_hits(tmp_path: Path, form: str) -> None:
    path = tmp_path / "empty.apx"
    with apx_open(path, "wb", HEADER):
        pass
    assert cli.main(["convert", "--format", form, str(path)]) == 0
    table, header = READERS[form](path.with_suffix(SUFFIXES[form]))
    assert len(table["row"]) == 0
    assert header == HEADER.serialize()


@each_format
def test_a_package_that_is_missing_is_named(
    recording: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("h5py", "astropy.io.fits", "pyarrow"):
        monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["convert", "--format", form, str(recording)]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert re.search(r"needs the package (\w+): pip install \1$", said)
    assert [path.name for path in recording.parent.iterdir()] == ["run.apx"]


@each_format
def test_standard_output_will_not_do(recording: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", "--format", form, "--output", "-", str(recording)]) == 2
    assert f"{form} cannot be written to standard output" in capsys.readouterr().err


def test_units_and_comments_of_fits(recording: Path) -> None:
    assert cli.main(["convert", "--format", "fits", str(recording)]) == 0
    with fits.open(recording.with_suffix(".fits"), memmap=False) as file:
        assert {column.name: column.unit for column in file["HITS"].columns if column.unit} == {
            "timestamp": "ns",
            "tot_us": "us",
        }
