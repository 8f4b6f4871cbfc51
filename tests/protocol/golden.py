"""Bytes and what must come out of them, by hand: the golden vectors and the difficult readouts."""

from dataclasses import dataclass, field
from typing import Any

from protocol import Decoding

A = bytes.fromhex("e05042030620d701")
B = bytes.fromhex("e05041130620d701")
CASE_4_HIT = bytes.fromhex("e05042e050411306")


def _columns(
    place: tuple[int, int, int, int],
    codes: tuple[int, int, int, int],
    flags: tuple[int, int, int, int],
    times: tuple[int, int, float],
) -> dict[str, Any]:
    names = (
        ("chip_id", "payload", "row", "column"),
        ("ts_coarse1", "ts_fine1", "ts_coarse2", "ts_fine2"),
        ("ts_neg1", "ts_neg2", "ts_tdc1", "ts_tdc2"),
        ("ts_dec1", "ts_dec2", "tot_us"),
    )
    return {
        name: value
        for group, values in zip(names, (place, codes, flags, times), strict=True)
        for name, value in zip(group, values, strict=True)
    }


GOLDEN: dict[bytes, dict[str, Any]] = {
    A: _columns((0, 7, 1, 9), (1408, 6, 1259, 4), (0, 0, 0, 0), (14331, 14952, 31.05)),
    B: _columns((0, 7, 1, 10), (1424, 6, 1259, 4), (0, 0, 0, 0), (14084, 14952, 43.4)),
    CASE_4_HIT: _columns((0, 7, 1, 9), (1038, 0, 712, 3), (0, 0, 21, 0), (16288, 138114, 6091.3)),
    bytes.fromhex("e08056e80da85403"): _columns((0, 7, 0, 5), (5167, 3, 5418, 6), (1, 0, 0, 0), (49581, 52836, 162.75)),
    bytes.fromhex("e080d26f04ca3005"): _columns((0, 7, 0, 5), (6124, 2, 4876, 5), (0, 1, 0, 0), (54716, 61369, 332.65)),
}
"""Wire bytes → columns."""

MATCHED = Decoding.ORPHAN_BYTES_MATCHED
NOT_USED = Decoding.ORPHAN_BYTES_NOT_USED
WAITING = Decoding.VALID_EXTRA_BYTES
INCOMPLETE = Decoding.INCOMPLETE_HIT_DROPPED
ORPHANS = Decoding.ORPHAN_BYTES_DROPPED
RESTORED = Decoding.PADDING_RESTORED


@dataclass(frozen=True)
class Case:
    """A run of `readouts` (hexadecimal; A and B stand for the hits): per readout its hits in order and its status."""

    name: str
    readouts: tuple[str, ...]
    hits: tuple[tuple[bytes, ...], ...]
    statuses: tuple[frozenset[Decoding], ...]
    counts: dict[str, int] = field(default_factory=dict)

    def data(self) -> list[bytes]:
        """The readouts' bytes."""
        return [
            bytes.fromhex(text.replace("A", A.hex()).replace("B", B.hex()).replace(" ", "")) for text in self.readouts
        ]


def _case(name: str, *readouts: tuple[str, tuple[bytes, ...], set[Decoding]], **counts: int) -> Case:
    texts, hits, statuses = zip(*readouts, strict=True)
    return Case(name, texts, hits, tuple(map(frozenset, statuses)), counts)


CASES = (
    _case("0 idles between", ("bcbc A bcbc B bcbcbcbcbcbc", (A, B), set()), idle=10, hit=16),
    _case("1 no idle between", ("bcbc A B bcbcbcbcbcbc", (A, B), set()), idle=8, hit=16),
    _case(
        "2 cut over two readouts",
        ("bcbc A bcbc e05042030620", (A,), {WAITING}),
        ("d701 bcbc B bcbc", (A, B), {MATCHED}),
        idle=8,
        hit=24,
        rejoined_hits=1,
    ),
    _case(
        "3 two bytes lost", ("bcbc e05042030620 B bcbc", (B,), {INCOMPLETE}), idle=4, hit=8, dropped=6, dropped_hits=1
    ),
    _case("4 a first byte inside a hit", ("bcbc e05042e050411306 bcbc", (CASE_4_HIT,), set()), idle=4, hit=8),
    _case("5 padding among idles", ("bcbc A bc ffffffff bc B bcbcffffbcbc", (A, B), set()), idle=8, padding=6, hit=16),
    _case("6 only idles", ("bcbcbc", (), set()), idle=3),
    _case("6 only padding", ("ffffffff", (), set())),
    _case("6 empty", ("", (), set())),
    _case("7 ends with the end", ("bcbc A", (A,), set()), ("bcbc", (), set()), idle=4, hit=8),
    _case(
        "8 a last 0xFF that went with the padding",
        ("bcbc e05042030620d7", (), {WAITING}),
        ("bcbc B bcbc", (bytes.fromhex("e05042030620d7ff"), B), {NOT_USED, RESTORED}),
        idle=6,
        hit=15,
        restored_hits=1,
        restored_bytes=1,
    ),
    _case(
        "8 settled by a hit at once",
        ("bcbc e05042030620d7ff", (), {WAITING}),
        ("B bcbc", (bytes.fromhex("e05042030620d7ff"), B), {NOT_USED, RESTORED}),
        idle=4,
        hit=15,
        restored_hits=1,
        restored_bytes=1,
    ),
    _case(
        "8 with an empty readout between",
        ("bcbc e0504203", (), {WAITING}),
        ("", (), set()),
        ("bc", (bytes.fromhex("e0504203ffffffff"),), {NOT_USED, RESTORED}),
        idle=3,
        hit=4,
        restored_hits=1,
        restored_bytes=4,
    ),
    _case(
        "9 cut over three readouts",
        ("e050", (), {WAITING}),
        ("42", (), {WAITING}),
        ("030620d701 bcbc", (A,), {MATCHED}),
        idle=2,
        hit=8,
        rejoined_hits=1,
    ),
    _case(
        "9 with an empty readout between",
        ("e050", (), {WAITING}),
        ("", (), set()),
        ("42030620d701 A", (A, A), {MATCHED}),
        hit=16,
        rejoined_hits=1,
    ),
    _case("garbage", ("bc 0102 A 03 bc", (A,), {ORPHANS}), idle=2, orphan=3, hit=8),
)
"""Cases 0 to 9 of the table of difficult readouts (10, random bytes, is a property test), and variants."""
