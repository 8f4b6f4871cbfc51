"""The scanner by itself: spans of hits in one stretch of bytes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.hit import AstroPix4Hit
from protocol.scan import Scanner, Spans, follow
from protocol.stream_bytes import IDLE_BYTE, PADDING_BYTE
from tests.protocol.golden import A, B

FIRST_BYTES = {chips: AstroPix4Hit.first_bytes(chips) for chips in (1, 4, None)}


def scanner(chips: int | None) -> Scanner:
    return Scanner(8, FIRST_BYTES[chips], IDLE_BYTE, PADDING_BYTE)


def scan(stream: bytes, starts: list[int] | None = None, chips: int | None = 1) -> Spans:
    begins = np.array([0] if starts is None else starts, np.int64)
    return scanner(chips).scan(np.frombuffer(stream, np.uint8), begins, np.full(len(begins), 8))


def described(spans: Spans) -> list[tuple[int, int, str]]:
    kinds = []
    for index, (start, end) in enumerate(zip(spans.start.tolist(), spans.end.tolist(), strict=True)):
        flags = {
            "restored": spans.restored[index],
            "dropped": spans.dropped[index],
            "carried": spans.carried and index == len(spans) - 1,
        }
        named = [name for name, flag in flags.items() if flag]
        assert len(named) <= 1
        kinds.append((start, end, named[0] if named else "whole"))
    return kinds


@pytest.mark.parametrize(
    ("stream", "starts", "expected"),
    [
        (b"", [], []),
        (b"\xbc\xbc\xff\x01", None, []),
        (A, None, [(0, 8, "whole")]),
        (b"\xbc" + A + b"\xbc" + B, None, [(1, 9, "whole"), (10, 18, "whole")]),
        (A + B, None, [(0, 8, "whole"), (8, 16, "whole")]),
        (A[:5], None, [(0, 5, "carried")]),
        (A[:6] + A, None, [(0, 6, "dropped"), (6, 14, "whole")]),
        (A[:6] + A[:3], None, [(0, 6, "dropped"), (6, 9, "carried")]),
        (A[:3] + A[3:], [0, 3], [(0, 8, "whole")]),
        (A[:3] + A[3:], [3], [(0, 8, "whole")]),
        (A[:3] + b"\xbc", [3], [(0, 3, "restored")]),
        (A[:3] + A, [3], [(0, 3, "restored"), (3, 11, "whole")]),
        (A[:3] + b"\xff\xff\xff\xff\xff", [3], [(0, 8, "whole")]),
    ],
)
def test_spans(stream: bytes, starts: list[int] | None, expected: list[tuple[int, int, str]]) -> None:
    assert described(scan(stream, starts)) == expected


def test_of_several_readouts_the_first_settles_a_cut_hit() -> None:
    assert described(scan(A[:2] + b"\xbc" + b"\xbc", [0, 2, 3])) == [(0, 2, "restored")]
    assert described(scan(A[:2] + b"\x42" + b"\xbc", [0, 2, 3])) == [(0, 3, "restored")]


def test_garbage_after_a_hit_takes_nothing_from_it() -> None:
    """Only another first byte within makes a hit doubtful; else what follows it is an orphan."""
    assert described(scan(A + b"\x01\x02\xbc")) == [(0, 8, "whole")]


def test_a_first_byte_within_a_hit_counts_only_if_its_own_hit_makes_sense() -> None:
    hit = bytes.fromhex("e05042e050411306")
    assert described(scan(hit + b"\x01" * 8)) == [(0, 8, "whole")]
    assert described(scan(hit + b"\x01\x01\x01\xbc")) == [(0, 3, "dropped"), (3, 11, "whole")]


TRICKY = st.sampled_from([IDLE_BYTE, PADDING_BYTE, A[0], A[0], 0x00, 0x42])
PIECES = st.one_of(st.just(A), st.just(B), st.lists(TRICKY, max_size=8).map(bytes))


@given(st.data(), st.lists(PIECES, max_size=12).map(b"".join), st.sampled_from([1, 4, None]))
def test_hit_by_hit_and_in_whole_array_steps_is_the_same(data: st.DataObject, stream: bytes, chips: int | None) -> None:
    cuts = st.lists(st.integers(0, len(stream) - 1), unique=True, max_size=5) if stream else st.just([])
    starts = sorted({0, *data.draw(cuts)}) if stream else []
    bounds = [*starts, len(stream)]
    hits = described(scan(stream, starts, chips))

    def is_undisturbed(start: int, end: int, kind: str) -> bool:
        readout_end = next(bound for bound in bounds if bound > start)
        followed = end < readout_end and (stream[end] in (IDLE_BYTE, PADDING_BYTE) or FIRST_BYTES[chips][stream[end]])
        return kind == "whole" and (end == readout_end or followed)

    expected = None
    if all(is_undisturbed(*hit) for hit in hits):
        expected = [[start for start, _, _ in hits if begin <= start < end] for begin, end in pairwise(bounds)]
    assert scanner(chips).undisturbed(stream, bounds) == expected


@st.composite
def jumps(draw: st.DrawFn) -> list[int]:
    count = draw(st.integers(1, 200))
    return [draw(st.integers(index + 1, min(index + 8, count))) for index in range(count)]


@given(jumps())
def test_following_side_by_side_is_following_one_by_one(following: list[int]) -> None:
    chain = []
    link = 0
    while link < len(following):
        chain.append(link)
        link = following[link]
    assert follow(np.array(following)).tolist() == chain


def test_following_many_chains() -> None:
    """So many that they are followed in whole-array steps."""
    random = np.random.default_rng(1)
    count = 5000
    following = np.minimum(np.arange(count) + random.integers(1, 9, count), count)
    chain = [0]
    while chain[-1] < count:
        chain.append(int(following[chain[-1]]))
    assert follow(following).tolist() == chain[:-1]
