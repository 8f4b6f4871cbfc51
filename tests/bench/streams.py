"""Input for the benchmarks: streams of random hits, as the board would deliver them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from protocol import AstroPix4Hit, AstroPix4Readout, FileHeader, ReadoutBlock
from protocol.stream_bytes import IDLE_BYTE, PADDING_BYTE, strip_padding
from tests.protocol.firmware_reads import busy_readouts, whole_words

READOUT_BYTES = 2048


def random_hits(count: int, chips: int, seed: int = 1) -> npt.NDArray[np.uint8]:
    """Hits of random bytes, (count, 8), but for the first one, which is that of a chip."""
    random = np.random.default_rng(seed)
    hits = random.integers(0, 256, (count, 8), np.uint8)
    hits[:, 0] = random.choice(np.flatnonzero(AstroPix4Hit.first_bytes(chips)), count)
    return hits


def dense_block(count: int, chips: int, idles: int = 0, readout_bytes: int = READOUT_BYTES) -> ReadoutBlock:
    """`count` random hits with `idles` idle bytes before each, in readouts of full length, one every 100 µs."""
    hits = random_hits(count, chips)
    stream = np.concatenate([np.full((count, idles), IDLE_BYTE, np.uint8), hits], axis=1).tobytes()
    padding = bytes([PADDING_BYTE])
    chunks = [stream[start : start + readout_bytes].rstrip(padding) for start in range(0, len(stream), readout_bytes)]
    return ReadoutBlock.from_columns(
        chunks, list(range(len(chunks))), [100_000 * number for number in range(len(chunks))]
    )


def busy_block(count: int, chips: int, idles: int = 0) -> ReadoutBlock:
    """The same hits in readouts as the firmware fills them: most have groups of padding inside, also within hits."""
    hits = random_hits(count, chips)
    stream = np.concatenate([np.full((count, idles), IDLE_BYTE, np.uint8), hits], axis=1).tobytes()
    random = np.random.default_rng(2)
    chunks = [strip_padding(data) for data in busy_readouts(whole_words(stream), random, READOUT_BYTES)]
    return ReadoutBlock.from_columns(
        chunks, list(range(len(chunks))), [100_000 * number for number in range(len(chunks))]
    )


def write_file(path: Path, block: ReadoutBlock, chips: int, readout_bytes: int = READOUT_BYTES) -> Path:
    """An `.apx` file with the readouts of a block."""
    header = FileHeader(AstroPix4Readout, {"chips": chips, "full_readout_bytes": readout_bytes})
    with path.open("wb") as file:
        file.write(header.to_bytes())
        for start, stop, readout_id, timestamp in zip(
            block.offsets[:-1].tolist(),
            block.offsets[1:].tolist(),
            block.readout_id.tolist(),
            block.timestamp.tolist(),
            strict=True,
        ):
            AstroPix4Readout(block.data[start:stop], readout_id, timestamp).write(file)
    return path
