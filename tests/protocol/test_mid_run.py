"""Beginning in the middle of a run gives what beginning with the run gives, wherever one begins, whatever the bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import AstroPix3Hit, AstroPix3LayerHit, AstroPix4Hit, StreamDecoder
from protocol.block import ReadoutBlock
from protocol.layer_frames import LayerFrameDecoder
from protocol.layer_hit import AstroPix4LayerHit
from protocol.layer_scan import FrameLayout
from protocol.mid_run import decoder_within_run
from protocol.readout_decoder import ReadoutDecoder
from tests.protocol.streams import any_runs


def as_block(chunks: list[bytes]) -> ReadoutBlock:
    return ReadoutBlock.from_columns(chunks, list(range(len(chunks))), [10 * each for each in range(len(chunks))])


def check_from(decoder: ReadoutDecoder, whole: ReadoutBlock, start: int) -> bool:
    """That from `start` on it goes as from the begin; whether it was settled at all."""
    settled = decoder_within_run(decoder, whole[start:])
    if settled is None:
        return False
    late, used = settled
    assert used >= 1
    first = start + used
    every, some = (np.concatenate([each.decode(part), each.flush()]) for each, part in [
        (decoder, whole), (late, whole[first:])
    ])  # fmt: skip
    np.testing.assert_array_equal(some[some["readout_id"] >= first], every[every["readout_id"] >= first])
    return True


@given(any_runs(), st.data())
def test_anywhere_in_any_stream(run: tuple[int | None, list[bytes]], data: st.DataObject) -> None:
    chips, chunks = run
    full = data.draw(st.sampled_from([None, 8, 16, 40]))
    stripped = [chunk.rstrip(b"\xff") for chunk in chunks]
    start = data.draw(st.integers(0, len(chunks)))
    hit_class = data.draw(st.sampled_from([AstroPix3Hit, AstroPix4Hit]))
    check_from(StreamDecoder(chips, hit_class, full), as_block(stripped), start)


@given(st.data())
def test_anywhere_in_any_stream_of_frames(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([16, 32, 48, 64]))
    hit_class = data.draw(st.sampled_from([AstroPix3LayerHit, AstroPix4LayerHit]))
    layout = FrameLayout(bits, data_bytes=hit_class.LAYOUT.size_bytes)
    tricky = st.sampled_from([layout.length, 0, 1, 2, 4, 17, 0xFF, 0x08, 0x10])
    frame = st.builds(
        lambda layer, first, rest: bytes([layout.length, layer, first]) + rest,
        st.integers(0, 6),
        st.integers(0, 255),
        st.binary(min_size=layout.length - 2, max_size=layout.length - 2),
    )
    piece = st.one_of(frame, frame, st.lists(tricky, max_size=20).map(bytes), st.binary(max_size=4))
    stream = b"".join(data.draw(st.lists(piece, min_size=1, max_size=20)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    chips, layers = data.draw(st.sampled_from([None, 1, 3])), data.draw(st.sampled_from([None, 1, 3]))
    start = data.draw(st.integers(0, len(chunks)))
    check_from(LayerFrameDecoder(chips, layers, layout, hit_class), as_block(chunks), start)


def test_hits_without_anything_between_are_settled_within_a_readout_or_two() -> None:
    """The hardest there is: random bytes, cut anywhere."""
    random = np.random.default_rng(3)
    hits = random.integers(0, 256, (4000, 8), np.uint8)
    hits[:, 0] = random.choice(np.flatnonzero(AstroPix4Hit.first_bytes(4)), len(hits))
    stream = hits.tobytes()
    chunks = [stream[start : start + 501].rstrip(b"\xff") for start in range(0, len(stream), 501)]
    whole = as_block(chunks)
    for start in range(len(chunks) - 3):
        settled = decoder_within_run(StreamDecoder(4, AstroPix4Hit, 501), whole[start:])
        assert settled is not None
        assert settled[1] <= 3
        assert check_from(StreamDecoder(4, AstroPix4Hit, 501), whole, start)


def test_too_few_bytes_settle_nothing() -> None:
    assert decoder_within_run(StreamDecoder(1), as_block([b"\xbc", b"\xbc"])) is None
    assert decoder_within_run(StreamDecoder(1), ReadoutBlock.empty()) is None


def test_a_readout_that_ends_in_idle_settles_at_once() -> None:
    settled = decoder_within_run(StreamDecoder(1), as_block([b"\xe0" * 3 + b"\xbc" * 7, b"\xbc"]))
    assert settled is not None
    assert (settled[1], settled[0].carried) == (1, b"")


@pytest.mark.parametrize("decoder", [StreamDecoder(2), LayerFrameDecoder(2)])
def test_states_need_enough_bytes(decoder: ReadoutDecoder) -> None:
    with pytest.raises(ValueError, match="too few to tell"):
        decoder.possible_after(as_block([b"\xbc" * 6]))
