"""Run records: JSON there and back, mistakes in one line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import Ledger
from protocol.run_record import Counts, FileRecord, Gap, RunRecord, file_name, run_name

MINIMAL: dict[str, Any] = {
    "format": 1,
    "daq": "bench",
    "run": 42,
    "state": "running",
    "begin_ns": 1_753_255_536_000_000_000,
    "software": {"astropix-daq": "0.1.0"},
    "readout_uid": 4000,
    "configuration": {},
}

FULL = RunRecord(
    daq="bench",
    run=42,
    state="finished",
    comment="Fe-55, 40 mV, µ",
    begin_ns=1,
    end_ns=2_000_000_000,
    end_reason="stopped by the operator",
    software={"astropix-daq": "0.1.0"},
    readout_uid=4000,
    chips=4,
    configuration={"board": {"kind": "gecco", "spi_divider": 40}, "chips": [None, 1.5, "x"]},
    counts=Counts(
        readouts=3, empty_readouts=1, board_bytes=6144, readout_bytes=100, padding_bytes=6044, file_bytes=300
    ),
    ledger=Ledger(bytes_read=100, idle=100).to_dict(),
    gaps=(Gap(from_ns=5, to_ns=None, reason="board lost"),),
    files=(
        FileRecord(
            name=file_name(42, 0),
            index=0,
            size_bytes=300,
            sha256="00" * 32,
            readouts=3,
            first_readout=0,
            last_readout=2,
            begin_ns=1,
            end_ns=2,
        ),
    ),
)


def test_golden_record() -> None:
    record = RunRecord.from_json(json.dumps(MINIMAL))
    assert record.model_dump(exclude_unset=True) == MINIMAL
    assert (record.end_ns, record.ledger, record.gaps, record.files, record.counts) == (None, None, (), (), Counts())


def test_there_and_back() -> None:
    text = FULL.model_dump_json(indent=2)
    assert RunRecord.from_json(text) == FULL
    assert RunRecord.from_json(text.encode()) == FULL
    assert Ledger.from_dict(FULL.ledger or {}).idle == 100


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"run": -1}, "run: "),
        ({"run": "x"}, "run: "),
        ({"format": 2}, "format: "),
        ({"state": "sleeping"}, "state: "),
        ({"gaps": [{"from_ns": 1}]}, "gaps.0.reason: "),
        ({"files": [{}]}, "files.0.name: "),
        ({"counts": {"readouts": "x"}}, "counts.readouts: "),
        ({"configuration": []}, "configuration: "),
    ],
)
def test_mistakes_are_named_with_their_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=r"\Anot a run record: ") as caught:
        RunRecord.from_json(json.dumps(MINIMAL | change))
    assert place in str(caught.value)


def test_keys_of_a_later_version_are_kept() -> None:
    later = json.loads(FULL.to_json()) | {"color": {"of": "the run"}}
    later["counts"]["spoons"] = 2
    later["gaps"][0]["depth"] = 3
    later["files"][0]["owner"] = "x"
    record = RunRecord.from_json(json.dumps(later))
    assert (record.counts, record.end_ns) != (Counts(), None)
    completed = record.model_copy(update={"state": "interrupted"})
    assert json.loads(completed.to_json()) == later | {"state": "interrupted"}


@pytest.mark.parametrize("key", ["daq", "run", "state", "begin_ns", "software", "readout_uid", "configuration"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key}: Field required"):
        RunRecord.from_json(json.dumps({name: value for name, value in MINIMAL.items() if name != key}))


def test_many_mistakes_are_not_all_told_and_nothing_unprintable() -> None:
    text = json.dumps(MINIMAL | {"software": {f"x\n\x1b[31m{number}": 0 for number in range(100)}})
    with pytest.raises(ValueError, match="and 80 more") as caught:
        RunRecord.from_json(text)
    assert str(caught.value).isprintable()


@given(st.text() | st.binary())
def test_any_text_is_a_record_or_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\Anot a run record: ") as caught:
        RunRecord.from_json(text)
    assert str(caught.value).isprintable()


def test_names_sort_by_number() -> None:
    assert (run_name(42), file_name(42, 7)) == ("run_000042", "run_000042_0007.apx")
    assert run_name(1_234_567) == "run_1234567"
