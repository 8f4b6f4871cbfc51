"""Aligned groups of eight 0xFF inside readouts: found, taken out, and decoded around."""

import copy
import itertools
import re
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import AstroPix3Hit, AstroPix3Readout, AstroPix4Hit, AstroPix4Readout, ByteClass, StreamDecoder
from protocol.block import ReadoutBlock
from protocol.hit import AbstractAstroPixHit, reverse_bit_order
from protocol.padding_groups import PaddingGroups, has_groups
from protocol.readout_description import ReadoutDescription
from tests.protocol.firmware_reads import PADDING_GROUP, busy_readouts, whole_words
from tests.protocol.golden import A, B

IDLE, PADDING, HIT, CARRIED = ByteClass.IDLE, ByteClass.PADDING, ByteClass.HIT, ByteClass.CARRIED

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")

VERSION_3 = bytes.fromhex("bc" * 80 + "b19700d8" + "bc" * 14 + "201092002320" + "ff" * 968 + "b19200cd" + "bc" * 4)
"""From a recording (bench run of July 2025), with idles before: the first hit of a particle, and its second, cut."""


def block_of(*chunks: bytes) -> ReadoutBlock:
    return ReadoutBlock.from_columns(list(chunks), list(range(len(chunks))), [10 * n for n in range(len(chunks))])


# ---- finding them


@given(st.lists(st.lists(st.sampled_from([b"\xff" * 8, b"\xff", b"\x01", A, b"\xff" * 3]), max_size=8).map(b"".join)))
def test_groups_are_those_that_are_aligned_to_their_readout(chunks: list[bytes]) -> None:
    block = block_of(*chunks)
    starts = [sum(map(len, chunks[:number])) for number in range(len(chunks))]
    groups = [
        start + at
        for start, chunk in zip(starts, chunks, strict=True)
        for at in range(0, len(chunk), 8)
        if chunk[at : at + 8] == PADDING_GROUP
    ]
    kept = [at for at in range(len(block.data)) if not any(group <= at < group + 8 for group in groups)]
    found = PaddingGroups.of(block)
    assert has_groups(block) or not groups
    assert found.start.tolist() == groups
    assert found.size_bytes == 8 * len(groups)
    assert found.removed.data == bytes(block.data[at] for at in kept)
    lengths = [
        sum(start <= at < start + len(chunk) for at in kept) for start, chunk in zip(starts, chunks, strict=True)
    ]
    assert np.diff(found.removed.offsets).tolist() == lengths
    assert found.sent_at(np.arange(-3, len(kept))).tolist() == [-3, -2, -1, *kept]
    classes = found.classes(np.full(len(kept), HIT, np.uint8)).tolist()
    assert [at for at, each in enumerate(classes) if each == HIT] == kept


def test_readouts_that_begin_at_multiples_of_eight_and_others() -> None:
    chunks = [A + PADDING_GROUP + B, PADDING_GROUP + A, A[:3] + PADDING_GROUP + B]
    for together in itertools.permutations(chunks):
        assert PaddingGroups.of(block_of(*together)).size_bytes == 16
    assert PaddingGroups.of(block_of(*chunks[:2], b"")).removed.data == A + B + A


# ---- decoding around them


def test_a_recorded_readout_of_version_3() -> None:
    for hits_before, data in ((0, VERSION_3), (1, VERSION_3[:79] + b"\x20" + VERSION_3[80:])):
        readout = AstroPix3Readout(data, 0, 0)
        decoder = AstroPix3Readout.make_decoder(ReadoutDescription(chips=1))
        decoded = decoder.examine([readout], classify=True)
        hits = decoded.table[hits_before:]
        assert hits["is_column"].tolist() == [0, 1]
        assert hits["location"].tolist() == [8, 13]
        assert hits["chip_timestamp"].tolist() == [73, 73]
        assert hits["tot_dec"].tolist() == [196, 179]
        assert [(hit.is_column, hit.location) for hit in readout.decode()[hits_before:]] == [(0, 8), (1, 13)]
        ledger = decoder.ledger
        assert (ledger.padding, ledger.orphan, ledger.restored_hits) == (968, 0 if hits_before else 4, 0)
        assert ledger.balanced
        assert decoded.classes[103:105].tolist() == [HIT, PADDING]
        assert decoded.classes[103 + 968 : 103 + 970].tolist() == [PADDING, HIT]
        assert decoded.start.tolist()[hits_before:] == [98, 103]
        assert decoded.end.tolist()[hits_before:] == [103, 103 + 968 + 5]


@pytest.mark.parametrize("full_readout_bytes", [None, 24, 25, 2048])
@pytest.mark.parametrize(
    ("readouts", "hits", "carried_padding"),
    [
        ([b"\xbc" * 4 + A[:4] + PADDING_GROUP + A[4:] + b"\xbc" * 4], [0], 8),
        ([b"\xbc" * 4 + A[:4] + PADDING_GROUP * 2 + A[4:] + b"\xbc" * 4], [0], 16),
        ([b"\xbc" * 4 + A[:4], PADDING_GROUP + A[4:] + b"\xbc" * 4], [1], 8),
        ([b"\xbc" * 4 + A[:4], PADDING_GROUP * 3, A[4:] + b"\xbc" * 4], [2], 0),
        ([PADDING_GROUP + A + PADDING_GROUP + b"\xbc" * 4 + B[:4], PADDING_GROUP + B[4:] + A[:4]], [0, 1], 24),
        ([PADDING_GROUP * 3, PADDING_GROUP + A], [1], 8),
    ],
)
def test_where_a_group_can_be(
    readouts: list[bytes], hits: list[int], carried_padding: int, full_readout_bytes: int | None
) -> None:
    objects = [AstroPix4Readout(data, number, 0) for number, data in enumerate(readouts)]
    together, one_by_one = (StreamDecoder(1, full_readout_bytes=full_readout_bytes) for _ in range(2))
    assert together.decode(objects)["readout_id"].tolist() == hits
    for each in objects:
        one_by_one.decode([each])
    assert one_by_one.state() == together.state()
    assert together.ledger.padding == carried_padding
    assert (together.ledger.orphan, together.ledger.dropped, together.ledger.restored_hits) == (0, 0, 0)
    assert together.ledger.balanced


def test_a_block_whose_padding_was_not_removed() -> None:
    decoder = StreamDecoder(1, full_readout_bytes=16)
    table = decoder.decode(block_of(PADDING_GROUP * 2, A[:2].ljust(8, b"\x01") + PADDING_GROUP, PADDING_GROUP * 2))
    assert table["readout_id"].tolist() == [1]
    assert decoder.ledger.padding == 40
    assert decoder.state()["last_readout"] == [1, 10, 1]


def test_classes_show_padding_within_a_hit() -> None:
    decoder = StreamDecoder(1)
    decoder.examine([AstroPix4Readout(b"\xbc" * 5 + A[:3], 0, 0)])
    readout = AstroPix4Readout(PADDING_GROUP + A[3:] + B[:3] + PADDING_GROUP + B[3:6], 1, 0)
    classes = decoder.examine([readout], classify=True).classes.tolist()
    assert classes == [PADDING] * 8 + [HIT] * 5 + [CARRIED] * 3 + [PADDING] * 8 + [CARRIED] * 3
    plain = ESCAPE.sub("", readout.pretty_hex())
    assert plain == readout.hex()
    assert "ff" * 8 in readout.pretty_hex(), "in one colour"


def test_unaligned_and_short_runs_are_padding_only_between_hits() -> None:
    hit = b"\xe0" + b"\xff" * 7
    decoder = StreamDecoder(1, full_readout_bytes=2048)
    decoded = decoder.examine([AstroPix4Readout(b"\xbc" * 4 + hit + hit + b"\xbc\xff\xff\xff\xff\xbc", 0, 0)])
    assert AstroPix4Hit.LAYOUT.wire(decoded.words).tobytes() == hit * 2
    assert decoder.ledger.padding == 4


# ---- what was removed at the end of a readout


@pytest.mark.parametrize("rest", ["e0bc", "bcbc", "e050", "0102"])
@pytest.mark.parametrize("removed", [0, 1, 3])
def test_whole_groups_say_what_was_removed(rest: str, removed: int) -> None:
    """A hit that ends in `rest`, cut before it, with `removed` bytes 0xFF before the cut."""
    hit = (b"\xe0\x50\x42\x03\x06\x07"[: 6 - removed] + b"\xff" * removed) + bytes.fromhex(rest)
    readouts = [b"\xbc\xbc" + hit[:6], hit[6:] + B[:6], B[6:]]
    decoder = StreamDecoder(1, full_readout_bytes=16)
    decoded = decoder.examine([AstroPix4Readout(data, number, 0) for number, data in enumerate(readouts)])
    assert AstroPix4Hit.LAYOUT.wire(decoded.words).tobytes() == hit + B
    assert decoder.ledger.rejoined_hits == 2
    assert (decoder.ledger.restored_hits, decoder.ledger.restored_bytes) == (removed > 0, removed)


@pytest.mark.parametrize(
    ("full_readout_bytes", "data", "kept"),
    [
        (16, "bcbc e05042030620", False),
        (None, "bcbc e05042030620", False),
        (17, "bcbc e05042030620", True),
        (16, "e0504203062000", True),
        (16, "bcbcbc e05042", False),
        (None, "bcbcbc e05042", True),
    ],
)
def test_the_end_of_the_run(full_readout_bytes: int | None, data: str, kept: bool) -> None:
    """A hit whose rest was never read is dropped, where that is certain."""
    decoder = StreamDecoder(1, full_readout_bytes=full_readout_bytes)
    decoder.decode([AstroPix4Readout(bytes.fromhex(data), 0, 0)])
    assert len(decoder.flush()) == kept
    assert decoder.ledger.dropped_hits == (not kept)
    assert decoder.ledger.balanced


def test_a_last_byte_that_the_link_lost_costs_only_that_byte() -> None:
    stream = b"\xbc" * 13 + A + B + b"\xbc" * 3
    readouts = [stream[:15], stream[16:]]
    decoded = StreamDecoder(1, full_readout_bytes=16).examine(
        [AstroPix4Readout(data, number, 0) for number, data in enumerate(readouts)]
    )
    assert AstroPix4Hit.LAYOUT.wire(decoded.words).tobytes() == A[:2] + b"\xff" + A[3:] + B


def test_extra_bytes_say_what_was_removed() -> None:
    first = AstroPix4Readout(b"\xbc" * 4 + b"\xe0\x50\xff\xff", 0, 0)
    second = AstroPix4Readout(b"\x03\x06\xd7\x01" + b"\xbc" * 12, 1, 0)
    for each in (first, second):
        each.description = ReadoutDescription(chips=1, full_readout_bytes=16)
    first.decode()
    assert first.extra_bytes() == b"\xe0\x50"
    restored = reverse_bit_order(bytes.fromhex("e050ffff0306d701"))
    assert [hit.data for hit in second.decode(first.extra_bytes())] == [restored]
    assert [hit.data for hit in second.decode(copy.deepcopy(first.extra_bytes()))] == [restored]
    assert [hit.data for hit in second.decode(bytes(first.extra_bytes()))] != [restored]


# ---- a busy chip


def busy_hits(hit_class: type[AbstractAstroPixHit], chips: int | None, count: int) -> npt.NDArray[np.uint8]:
    """Random bytes; one hit in ten has a run of 0xFF."""
    random = np.random.default_rng(chips or 0)
    size = hit_class.LAYOUT.size_bytes
    hits = random.integers(0, 256, (count, size), np.uint8)
    hits[:, 0] = random.choice(np.flatnonzero(hit_class.first_bytes(chips)), count)
    start, end = random.integers(1, size + 1, (2, count, 1))
    position = np.arange(size)
    hits[(random.random((count, 1)) < 0.1) & (position >= start) & (position < end)] = 0xFF
    return hits


@pytest.mark.parametrize("hit_class", [AstroPix4Hit, AstroPix3Hit])
@pytest.mark.parametrize("chips", [None, 1, 4])
@pytest.mark.parametrize("readout_bytes", [64, 2048, 4096])
def test_every_hit_of_a_busy_chip(hit_class: type[AbstractAstroPixHit], chips: int | None, readout_bytes: int) -> None:
    hits = busy_hits(hit_class, chips, 20_000)
    random = np.random.default_rng(readout_bytes)
    idles = random.integers(0, 4, len(hits)).tolist()
    stream = whole_words(b"".join(b"\xbc" * idle + hit.tobytes() for idle, hit in zip(idles, hits, strict=True)))
    raw = busy_readouts(stream, random, readout_bytes)
    block = block_of(*(data.rstrip(b"\xff") for data in raw))
    decoder = StreamDecoder(chips, hit_class, readout_bytes)
    found = hit_class.LAYOUT.wire(decoder.examine(block).words)
    assert np.array_equal(np.concatenate([found, hits[len(found) :]]), hits)
    assert len(hits) - len(found) == bool(decoder.carried)
    assert len(hits) == len(found) + len(decoder.flush())
    ledger = decoder.ledger
    assert ledger.balanced
    assert (ledger.orphan, ledger.dropped) == (0, 0)
    groups = sum(data[at : at + 8] == PADDING_GROUP for data in raw for at in range(0, len(data.rstrip(b"\xff")), 8))
    assert ledger.padding == 8 * groups
    # Where the length of a readout is not known, the decoder judges by what follows, which misleads it rarely.
    judged = Counter(map(bytes, hit_class.LAYOUT.wire(StreamDecoder(chips, hit_class).examine(block).words)))
    assert (judged - Counter(map(bytes, hits))).total() <= 1 + len(block) / 500
