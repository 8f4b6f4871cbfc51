"""Readouts that find their hits together: whatever is done with them, each gives what it would give alone."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import AstroPix4LayerReadout, AstroPix4Readout, ReadoutBlock
from protocol.hit import AbstractAstroPixHit
from protocol.readout import AbstractAstroPixReadout
from protocol.readout_description import ReadoutDescription
from protocol.shared_hits import SharedHits
from tests.protocol.golden import A, B
from tests.protocol.streams import any_runs, runs
from tests.protocol.test_layer_frames import any_runs as any_frames

DESCRIPTIONS = st.builds(
    ReadoutDescription, chips=st.sampled_from([None, 1, 3]), full_readout_bytes=st.sampled_from([None, 9, 16])
)


def outcome(readout: AbstractAstroPixReadout) -> tuple[object, ...]:
    def told(hits: Sequence[AbstractAstroPixHit]) -> list[object]:
        return [(hit.data, hit.attribute_values()) for hit in hits]

    decoded = readout.decoded()
    return decoded, readout.extra_bytes(), readout.decoding_status(), told(readout.hits()) if decoded else None


def check(
    readout_class: type[AbstractAstroPixReadout], raw: list[bytes], known: ReadoutDescription, data: st.DataObject
) -> None:
    alone = [readout_class(chunk, number, 10 * number) for number, chunk in enumerate(raw)]
    together = readout_class.from_block(ReadoutBlock.from_readouts(alone), known)
    assert together == alone
    extra_bytes = b""
    for one, other in zip(together, alone, strict=True):
        other.description = known
        assert one.description == known
        for action in data.draw(
            st.lists(st.sampled_from(["go on", "go on", "afresh", "hits", "new", "odd"]), max_size=2)
        ):
            for readout in (one, other):
                match action:
                    case "go on":
                        readout.decode(extra_bytes)
                    case "afresh":
                        readout.decode()
                    case "hits":
                        readout.hits()
                    case "new":
                        readout.description = ReadoutDescription(chips=2)
                    case "odd":
                        readout.decode(A[:3])
            assert outcome(one) == outcome(other)
        extra_bytes = one.extra_bytes()


@settings(max_examples=200)
@given(any_runs(), DESCRIPTIONS, st.data())
def test_any_bytes(run: tuple[int | None, list[bytes]], known: ReadoutDescription, data: st.DataObject) -> None:
    check(AstroPix4Readout, run[1], known, data)


@given(runs(), DESCRIPTIONS, st.data())
def test_hits_as_a_board_sends_them(run: object, known: ReadoutDescription, data: st.DataObject) -> None:
    check(AstroPix4Readout, run.raw, known, data)


@given(any_frames(), st.data())
def test_layer_frames(run: tuple[object, object, object, list[bytes]], data: st.DataObject) -> None:
    check(AstroPix4LayerReadout, run[3], ReadoutDescription(chips=3, layers=3), data)


@pytest.mark.parametrize(
    ("raw", "shared"),
    [
        ([b"\xbc" + A + b"\xbc", b"\xbc", b"", A + B], [1, 0, 0, 2]),
        ([A, A[:3], A[3:] + B, B], [1, None, None, 1]),
        ([A[:7], b"\xbc" + B, B], [None, None, 1]),
        ([A + b"\x01", B, b"\xbc\xff\xbc" + B], [None, 1, 1]),
        ([A[:3], b"\xff", A[4:]], [None, None, None]),
    ],
)
def test_only_readouts_that_stand_for_themselves_are_shared(raw: list[bytes], shared: list[int | None]) -> None:
    block = ReadoutBlock.from_columns(raw, list(range(len(raw))), [0] * len(raw))
    hits = SharedHits(block, AstroPix4Readout.make_decoder)
    found = [hits.of(index) for index in range(len(raw))]
    assert [None if each is None else len(each) for each in found] == shared


def test_each_asks_once_and_gets_objects_of_its_own() -> None:
    block = ReadoutBlock.from_columns([A, B], [0, 1], [0, 0])
    first, second = AstroPix4Readout.from_block(block, ReadoutDescription(chips=1))
    assert first.decode() == first.decode()
    assert first.hits() is not first.decode()
    assert [hit.readout_id for hit in second.hits()] == [1]
    assert np.array_equal([hit.column for hit in second.hits()], [10])
