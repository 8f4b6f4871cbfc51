"""The ledger: counts that add up, and their dictionary."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ledger import CHIP_SLOTS, ByteClass, Ledger

COUNT = st.integers(0, 2**63)
NAMES = [name for name in Ledger().to_dict() if not name.startswith("chip_")]


def test_the_classes_of_bytes_add_up() -> None:
    ledger = Ledger(bytes_read=21, idle=1, padding=2, hit=3, carried=4, orphan=5, dropped=6)
    assert ledger.classified == 21
    assert ledger.balanced
    ledger.orphan += 1
    assert not ledger.balanced


def test_each_class_of_bytes_has_its_count() -> None:
    for byte_class in ByteClass:
        one: dict[str, Any] = {byte_class.name.lower(): 1}
        assert Ledger(**one).classified == 1


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, COUNT)), st.lists(COUNT, min_size=CHIP_SLOTS, max_size=CHIP_SLOTS))
def test_dictionary_there_and_back(counts: dict[str, Any], per_chip: list[int]) -> None:
    ledger = Ledger(**counts, chip_hits=per_chip)
    again = Ledger.from_dict(ledger.to_dict())
    assert again == ledger
    again.chip_hits[0] += 1
    assert again != ledger


def test_a_copy_is_independent() -> None:
    ledger = Ledger(idle=1)
    copy = ledger.copy()
    ledger.chip_hits[3] += 1
    assert copy == Ledger(idle=1)


@pytest.mark.parametrize(
    "change",
    [
        {"spoons": 1},
        {"idle": -1},
        {"idle": 1.0},
        {"idle": "1"},
        {"idle": True},
        {"idle": None},
        {"idle": [1] * CHIP_SLOTS},
        {"chip_hits": 1},
        {"chip_hits": [0] * 31},
        {"chip_hits": [0] * 31 + [-1]},
        {"chip_hits": ["0"] * 32},
    ],
)
def test_what_is_no_ledger_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ledger"):
        Ledger.from_dict(Ledger().to_dict() | change)


@pytest.mark.parametrize("name", ["idle", "chip_hits"])
def test_a_missing_count_is_refused(name: str) -> None:
    counts = Ledger().to_dict()
    del counts[name]
    with pytest.raises(ValueError, match="ledger"):
        Ledger.from_dict(counts)
