"""Which of the hits that an emulated board was to send came through."""

import numpy as np
import numpy.typing as npt

from daqd.emulator.seeded_hits import EmulatedHits


def whole_hits(hits: EmulatedHits, losses: list[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Which of `hits` came through whole: all bytes sent, and none of them lost in the FIFO.

    `losses`: what the FIFO could not take, as in `FifoRecord`. shape (n,).
    """
    hit_bytes = hits["wire"].shape[1]
    whole: npt.NDArray[np.bool_] = hits["sent_bytes"] == hit_bytes
    for start, stop in losses:
        whole &= (hits["stream_start"] + hit_bytes <= start) | (hits["stream_start"] >= stop)
    return whole
