"""Layer frames: golden bytes, any frames cut in any way, any bytes against a decoder that goes byte by byte."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import LAYER_HIT_DTYPE, AstroPix4LayerHit, AstroPix4LayerReadout, LayerFrameDecoder, ReadoutBlock
from protocol.hit import HIT_DTYPE, AstroPix4Hit, reverse_bit_order
from protocol.layer_frames import encode_frames, without_padding
from protocol.layer_scan import FrameLayout, max_frame_bytes
from protocol.ledger import ByteClass, Ledger
from protocol.readout_description import TimestampBits, TimestampOrder
from tests.protocol.layer_sequential import FoundFrame, SequentialFrames
from tests.protocol.streams import batches

# The golden hits of the GECCO stream, the bits of each byte put right by hand: e0 → 07, 50 → 0a, 42 → 42, 03 → c0, …
A, B = "070a42c06004eb80", "070a82c86004eb80"
NEGATIVE = "07016a17b0152ac0"  # e08056e80da85403: ts_neg1 set, ts_neg2 not
WIDTHS: tuple[TimestampBits, ...] = (16, 32, 48, 64)
ORDERS: tuple[TimestampOrder, ...] = ("little", "big")


def frame(hit: str = A, layer: int = 1, stamp: str = "78563412", length: int | None = None) -> str:
    return f"{len(hit + stamp) // 2 + 1 if length is None else length:02x}{layer:02x}{hit}{stamp}"


def readouts(*texts: str, first: int = 0) -> list[AstroPix4LayerReadout]:
    return [AstroPix4LayerReadout(bytes.fromhex(text), first + index, 100 + index) for index, text in enumerate(texts)]


def rows(table: np.ndarray, *names: str) -> list[tuple[int, ...]]:
    return [tuple(row[name].item() for name in names) for row in table]


def found(table: np.ndarray) -> list[FoundFrame]:
    """The rows in the form of the sequential decoder; the hit's bytes put together again from its columns."""
    data = AstroPix4LayerHit.encode(
        table["chip_id"], table["row"], table["column"],
        table["ts_dec1"], table["ts_dec2"], ts_tdc1=table["ts_tdc1"], ts_tdc2=table["ts_tdc2"],
    )  # fmt: skip
    return [
        FoundFrame(row["readout_id"].item(), row["decoding_order"].item(), row["layer"].item(), hit.tobytes(),
                   row["fpga_timestamp"].item())
        for row, hit in zip(table, data, strict=True)
    ]  # fmt: skip


def ledger_counts(ledger: Ledger) -> dict[str, int]:
    names = ("padding", "hit", "carried", "orphan", "dropped", "hits", "rejoined_hits", "dropped_hits")
    return {name: getattr(ledger, name) for name in names if getattr(ledger, name)}


def test_a_frame_by_hand() -> None:
    (hit,) = LayerFrameDecoder().decode(readouts("0d02" + A + "78563412"))
    assert dict(zip(LAYER_HIT_DTYPE.names or (), hit.tolist(), strict=True)) == {
        "chip_id": 0, "payload": 7, "readout_id": 0, "timestamp": 100, "decoding_order": 0, "row": 1, "column": 9,
        "ts_neg1": 0, "ts_coarse1": 1408, "ts_fine1": 6, "ts_tdc1": 0,
        "ts_neg2": 0, "ts_coarse2": 1259, "ts_fine2": 4, "ts_tdc2": 0,
        # twice the counts of 50 ns, 14331 and 14952
        "ts_dec1": 28662, "ts_dec2": 29904, "tot_us": 31.05, "layer": 2, "fpga_timestamp": 0x12345678,
    }  # fmt: skip


def test_the_clock_phase_is_the_lowest_bit() -> None:
    (hit,) = LayerFrameDecoder().decode(readouts(frame(NEGATIVE)))
    # 49581 and 52836 counts of 50 ns, the first edge half a count later
    assert (hit["ts_neg1"], hit["ts_neg2"], hit["ts_dec1"], hit["ts_dec2"]) == (1, 0, 99163, 105672)
    assert hit["tot_us"] == (105672 - 99163) / 40 == 162.725


def test_the_second_edge_after_the_counter_has_rolled_over() -> None:
    data = AstroPix4LayerHit.encode(3, 12, 15, (1 << 18) - 5, 3)
    (hit,) = LayerFrameDecoder().decode(readouts(frame(data.tobytes().hex())))
    assert (hit["ts_dec1"], hit["ts_dec2"], hit["tot_us"]) == ((1 << 18) - 5, (1 << 18) + 3, 0.2)


@pytest.mark.parametrize(("stamp", "bits", "little", "big"), [
    ("0102", 16, 0x0201, 0x0102),
    ("01020304", 32, 0x04030201, 0x01020304),
    ("010203040506", 48, 0x060504030201, 0x010203040506),
    ("01020304050607ff", 64, 0xFF07060504030201, 0x01020304050607FF),
])  # fmt: skip
def test_width_and_order_of_the_time_stamp(stamp: str, bits: TimestampBits, little: int, big: int) -> None:
    for order, value in zip(ORDERS, (little, big), strict=True):
        decoder = LayerFrameDecoder(layout=FrameLayout(bits, order))
        assert rows(decoder.decode(readouts(2 * frame(stamp=stamp))), "fpga_timestamp") == 2 * [(value,)]


def test_columns_are_those_of_the_other_hits_and_two_more() -> None:
    assert LAYER_HIT_DTYPE.names == (*(HIT_DTYPE.names or ()), "layer", "fpga_timestamp")
    assert LAYER_HIT_DTYPE.itemsize == 53
    assert LAYER_HIT_DTYPE.names == AstroPix4LayerHit.ATTRIBUTE_NAMES


@pytest.mark.parametrize(("texts", "hits", "counts"), [
    ([frame() + "ffff" + frame(B)], [(0, 0, 9), (0, 1, 10)], {"padding": 2, "hit": 28, "hits": 2}),
    ([frame()[:10], frame()[10:] + frame(B)], [(1, 0, 9), (1, 1, 10)], {"hit": 28, "hits": 2, "rejoined_hits": 1}),
    ([frame()[:2], frame()[2:4], "", frame()[4:]], [(3, 0, 9)], {"hit": 14, "hits": 1, "rejoined_hits": 1}),
    ([frame(stamp="ffffffff"), frame(B)], [(0, 0, 9), (1, 0, 10)], {"hit": 28, "hits": 2}),
    ([frame(stamp="ffffffff")[:-4], "ffff", frame(B)], [(1, 0, 9), (2, 0, 10)],
     {"hit": 28, "hits": 2, "rejoined_hits": 1}),
    # two bytes of the first were lost
    ([frame()[:-4] + frame(B)], [(0, 0, 10)], {"dropped": 12, "dropped_hits": 1, "hit": 14, "hits": 1}),
    # the board was lost in the middle of the first
    ([frame()[:16], frame(B) + frame()], [(1, 0, 10), (1, 1, 9)],
     {"dropped": 8, "dropped_hits": 1, "hit": 28, "hits": 2}),
    # another width of the time stamp
    ([frame(stamp="0102") + frame(stamp="0102030405060708") + frame()], [(0, 0, 9)],
     {"dropped": 30, "dropped_hits": 2, "hit": 14, "hits": 1}),
    # a layer that is not there; a garbled first byte, of which the firmware took the length
    ([frame(layer=99) + frame() + frame("0201aa", 1)], [(0, 0, 9)],
     {"dropped": 23, "dropped_hits": 2, "hit": 14, "hits": 1}),
    # one with a wrong layer is whole with its readout, as is known two bytes later
    ([frame(layer=99), "42", "42"], [], {"dropped": 14, "dropped_hits": 1, "orphan": 2}),
    ([frame(layer=99) + "42", "42"], [], {"orphan": 16}),
    (["1234" + frame() + "5678"], [(0, 0, 9)], {"orphan": 4, "hit": 14, "hits": 1}),
    ([frame()[:20]], [], {"dropped": 10, "dropped_hits": 1}),
    (["", "ffff", "ff"], [], {"padding": 3}),
])  # fmt: skip
@pytest.mark.parametrize("whole", [True, False], ids=["in one block", "one by one"])
def test_cases(texts: list[str], hits: list[tuple[int, ...]], counts: dict[str, int], whole: bool) -> None:
    decoder = LayerFrameDecoder(chips=1, layers=3)
    given = readouts(*texts)
    tables = [decoder.decode(each) for each in ([given] if whole else [[readout] for readout in given])]
    assert len(decoder.flush()) == 0
    assert rows(np.concatenate(tables), "readout_id", "decoding_order", "column") == hits
    assert ledger_counts(decoder.ledger) == counts
    assert decoder.ledger.balanced


def test_chips_and_layers_that_are_not_there() -> None:
    chip_2 = AstroPix4LayerHit.encode(2, 0, 0, 0, 9).tobytes().hex()
    assert len(LayerFrameDecoder(3, 1).decode(readouts(frame(chip_2, 1)))) == 1
    assert len(LayerFrameDecoder(2, 1).decode(readouts(frame(chip_2, 1)))) == 0
    assert len(LayerFrameDecoder(3, 1).decode(readouts(frame(chip_2, 2)))) == 0
    assert len(LayerFrameDecoder().decode(readouts(frame(chip_2, 5)))) == 1
    assert len(LayerFrameDecoder().decode(readouts(frame(chip_2, 6)))) == 0


def test_hits_per_chip() -> None:
    decoder = LayerFrameDecoder(4, 2)
    hits = AstroPix4LayerHit.encode([0, 3, 3], 1, 2, 3, 4)
    data = encode_frames(hits, [1, 1, 2], [5, 6, 7], FrameLayout()).tobytes()
    decoder.decode(readouts(data[:-1].hex()))
    decoder.flush()
    assert decoder.ledger.chip_hits[:5] == [1, 0, 0, 1, 0]
    assert decoder.ledger.chip_dropped[:5] == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("chips", [0, 32])
def test_impossible_numbers_are_refused(chips: int) -> None:
    with pytest.raises(ValueError, match="chips in a chain"):
        LayerFrameDecoder(chips)
    with pytest.raises(ValueError, match="layers"):
        LayerFrameDecoder(1, 0)


def test_padding_that_may_be_data_is_kept() -> None:
    assert without_padding(bytes.fromhex(frame(stamp="ffffffff"))) == bytes.fromhex(frame(stamp="ffffffff"))
    assert without_padding(b"\x01" + 5000 * b"\xff") == b"\x01" + 17 * b"\xff"
    assert without_padding(5000 * b"\xff") == 17 * b"\xff"
    readout = AstroPix4LayerReadout(b"\x01" + 16 * b"\xff", 1)
    assert readout.data() == b"\x01" + 16 * b"\xff"


frames_of_bytes = st.tuples(
    st.integers(0, 3), st.integers(0, 30), st.one_of(st.binary(min_size=7, max_size=7), st.just(7 * b"\xff")),
    st.integers(0, 2**64 - 1),
)  # fmt: skip
layouts = st.builds(FrameLayout, st.sampled_from(WIDTHS), st.sampled_from(ORDERS))


@given(layouts, st.data())
def test_any_frames_cut_in_any_way_come_back(layout: FrameLayout, data: st.DataObject) -> None:
    content = data.draw(st.lists(frames_of_bytes, max_size=20))
    bound = 1 << layout.timestamp_bits
    expected = [(layer, bytes([chip << 3 | 7]) + rest, stamp % bound) for layer, chip, rest, stamp in content]
    pieces = [
        bytes([layout.length, layer]) + hit + stamp.to_bytes(layout.timestamp_bits // 8, layout.timestamp_order)
        for layer, hit, stamp in expected
    ]
    with_padding = [piece + data.draw(st.integers(0, 40)) * b"\xff" for piece in pieces]
    stream = b"".join(with_padding)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    chunks = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    kept = [AstroPix4LayerReadout(chunk, number, 0) for number, chunk in enumerate(chunks)]
    decoder = LayerFrameDecoder(None, 3, layout)
    table = np.concatenate([decoder.decode(batch) for batch in batches(data, kept)] or [np.zeros(0)])
    assert [(each.layer, each.data, each.fpga_timestamp) for each in found(table)] == expected
    decoder.flush()
    ledger = decoder.ledger
    assert (ledger.orphan, ledger.dropped, ledger.carried) == (0, 0, 0)
    assert ledger.balanced
    assert ledger.hit == len(b"".join(pieces))


@st.composite
def any_runs(draw: st.DrawFn) -> tuple[int | None, int | None, FrameLayout, list[bytes]]:
    """Any bytes, rich in what looks like frames, whole ones among them, cut anywhere."""
    layout = draw(layouts)
    some = st.sampled_from([layout.length, 5, 11, 13, 15, 17, 0, 1, 2, 7, 15, 23, 0xFF, 0xFF, 0x42])
    noise = st.lists(some, max_size=20).map(bytes)
    good = st.builds(
        lambda layer, rest: bytes([layout.length, layer, 7]) + rest[: layout.length - 2],
        st.integers(0, 4),
        st.one_of(st.binary(min_size=15, max_size=15), st.lists(some, min_size=15, max_size=15).map(bytes)),
    )
    cut = st.builds(lambda piece, size: piece[:size], good, st.integers(0, 17))
    stream = b"".join(draw(st.lists(st.one_of(noise, good, good, cut, st.binary(max_size=30)), max_size=10)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return draw(st.sampled_from([None, 1, 3, 31])), draw(st.sampled_from([None, 1, 3])), layout, chunks


def compared(
    run: tuple[int | None, int | None, FrameLayout, list[bytes]], cut: Sequence[Sequence[AstroPix4LayerReadout]]
) -> LayerFrameDecoder:
    chips, layers, layout, _ = run
    decoder = LayerFrameDecoder(chips, layers, layout)
    table = np.concatenate([np.zeros(0, LAYER_HIT_DTYPE), *(decoder.decode(batch) for batch in cut)])
    everything = [(each.readout_id, each.data()) for batch in cut for each in batch]
    for flush in (False, True):
        plain = SequentialFrames(chips, layers, layout.timestamp_bits, layout.timestamp_order)
        plain.run(everything, flush=flush)
        assert found(table) == plain.frames
        assert ledger_counts(decoder.ledger) == {name: count for name, count in plain.counts.items() if count}
        assert decoder.ledger.balanced
        decoder.flush()
    return decoder


@given(any_runs(), st.data())
def test_any_bytes_as_the_plain_decoder_has_them(
    run: tuple[int | None, int | None, FrameLayout, list[bytes]], data: st.DataObject
) -> None:
    kept = [AstroPix4LayerReadout(chunk, number, 10 * number) for number, chunk in enumerate(run[3])]
    compared(run, [kept])
    compared(run, batches(data, kept))


@given(any_runs(), st.data())
def test_a_decoder_goes_on_from_its_state(
    run: tuple[int | None, int | None, FrameLayout, list[bytes]], data: st.DataObject
) -> None:
    kept = [AstroPix4LayerReadout(chunk, number, 10 * number) for number, chunk in enumerate(run[3])]
    cut = data.draw(st.integers(0, len(kept)))
    begun, whole = (LayerFrameDecoder(run[0], run[1], run[2]) for _ in range(2))
    before = begun.decode(kept[:cut])
    resumed = LayerFrameDecoder.from_state(json.loads(json.dumps(begun.state())))
    after = resumed.decode(kept[cut:])
    assert np.concatenate([before, after]).tolist() == whole.decode(kept).tolist()
    assert resumed.state() == whole.state()


@given(any_runs())
def test_the_classes_of_the_bytes_add_up_as_the_ledger(
    run: tuple[int | None, int | None, FrameLayout, list[bytes]],
) -> None:
    decoder = LayerFrameDecoder(run[0], run[1], run[2])
    block = ReadoutBlock.from_readouts([AstroPix4LayerReadout(chunk, 0, 0) for chunk in run[3]])
    classes = decoder.examine(block, classify=True).classes
    counts = np.bincount(classes, minlength=len(ByteClass)).tolist()
    ledger = decoder.ledger
    assert counts == [ledger.idle, ledger.padding, ledger.hit, ledger.carried, ledger.orphan, ledger.dropped]


@pytest.mark.parametrize("state", [{}, {"chips": 1}, {"chips": None, "layers": 3, "timestamp_bits": 32,
                         "timestamp_order": "little", "carry": "aabb", "carry_bounds": [],
                         "ledger": Ledger().to_dict()},
                         {**LayerFrameDecoder().state(), "carry_bounds": [1]},
                         {**LayerFrameDecoder().state(), "carry": "0d01", "carry_bounds": [2]}])  # fmt: skip
def test_what_is_no_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not the state|not the beginning|not where readouts begin"):
        LayerFrameDecoder.from_state(state)


@given(layouts, st.lists(frames_of_bytes, max_size=10))
def test_encoding_is_the_inverse(layout: FrameLayout, content: list[tuple[int, int, bytes, int]]) -> None:
    hits = np.array([list(bytes([chip << 3 | 7]) + rest) for _, chip, rest, _ in content], np.uint8).reshape(-1, 8)
    layer = np.array([each[0] for each in content], np.uint8)
    stamps = np.array([each[3] for each in content], np.uint64)
    data = encode_frames(hits, layer, stamps, layout)
    assert data.shape == (len(content), layout.frame_bytes)
    table = LayerFrameDecoder(None, 3, layout).decode([AstroPix4LayerReadout(data.tobytes(), 0, 0)])
    assert table["layer"].tolist() == layer.tolist()
    assert table["fpga_timestamp"].tolist() == [each[3] % (1 << layout.timestamp_bits) for each in content]
    assert [each.data for each in found(table)] == [bytes(hit) for hit in hits]


def test_the_bytes_are_those_of_the_wire_with_their_bits_put_right() -> None:
    wire = AstroPix4Hit.encode([0, 5], [1, 12], [9, 15], [14331, 7], [14952, 99], ts_neg1=[0, 1])
    data = AstroPix4LayerHit.encode([0, 5], [1, 12], [9, 15], [28662, 15], [29904, 198])
    assert reverse_bit_order(wire.tobytes()) == data.tobytes()
    assert data[0].tobytes().hex() == A


def test_a_frame_never_needs_more_than_17_bytes_to_be_complete() -> None:
    assert max(FrameLayout(bits).frame_bytes for bits in WIDTHS) == max_frame_bytes(8) == 18
