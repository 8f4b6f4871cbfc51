"""Speed of decoding the A-STEP firmware's layer frames. One core, nothing but memory."""

from collections.abc import Iterator

import numpy as np

from protocol import LayerFrameDecoder, ReadoutBlock
from protocol.hit import HitTable
from protocol.layer_frames import encode_frames
from protocol.layer_scan import FrameLayout
from tests.bench.figures import Effort, Figure

DECODING = "≥ 5 Mhits/s"
READOUT_BYTES = 4096


def layer_frames(effort: Effort) -> Iterator[Figure]:
    """Frames with random hit bytes, in readouts that cut them, of both ends of the time stamp's widths; and padding."""
    count = effort.size(1_000_000, 20_000)
    for bits, padding in ((32, 0), (64, 0), (32, 17)):
        layout = FrameLayout(bits)
        block = random_frames(count, layout, padding)
        found = len(decoded(block, layout))
        seconds = effort.median_s(lambda: decoded(block, layout))  # noqa: B023 - used up at once
        yield Figure(
            f"decoding, A-STEP, {bits}-bit time stamp{', padding after each readout' if padding else ''}",
            {"Mhits/s": found / seconds / 1e6, "MB/s": len(block.data) / seconds / 1e6},
            DECODING,
            "" if found == count else f"{found} of {count} hits",
        )


def random_frames(count: int, layout: FrameLayout, padding: int) -> ReadoutBlock:
    """`count` frames of 4 chips in 3 layers; with `padding`, only whole ones in each readout."""
    random = np.random.default_rng(1)
    hits = random.integers(0, 256, (count, 8), np.uint8)
    hits[:, 0] = random.integers(0, 4, count) << 3 | 7
    frames = encode_frames(hits, random.integers(1, 4, count), random.integers(0, 1 << 63, count), layout)
    data, size = frames.tobytes(), READOUT_BYTES
    if padding:
        size -= size % layout.frame_bytes
    chunks = [data[start : start + size] + b"\xff" * padding for start in range(0, len(data), size)]
    return ReadoutBlock.from_columns(chunks, list(range(len(chunks))), list(range(len(chunks))))


def decoded(block: ReadoutBlock, layout: FrameLayout) -> HitTable:
    """The hits of a block."""
    return LayerFrameDecoder(4, 3, layout).decode(block)
