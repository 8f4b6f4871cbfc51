"""Readouts as a chain of chips sends them, from a seed: hits among idles, cut anywhere, some padding, some damage."""

import random

import numpy as np

from protocol.hit import AstroPix4Hit

IDLE = b"\xbc"
PADDING = b"\xff"
CHIPS = 4


def make_readouts(number: int, seed: int = 1, hits_each: float = 3.0, *, damage: float = 0.02) -> list[bytes]:
    """Readouts in order, none of them padding alone; with hits that go on in the next, and some bytes lost."""
    dice = random.Random(seed)
    hits = max(1, round(number * hits_each))
    columns = {
        name: [dice.randrange(limit) for _ in range(hits)]
        for name, limit in (("chip_id", CHIPS), ("row", 13), ("column", 16), ("ts_dec1", 1 << 17), ("ts_dec2", 1 << 17))
    }
    stream = bytearray()
    for wire in np.asarray(AstroPix4Hit.encode(**columns)):
        stream += IDLE * dice.choice((0, 0, 1, 3, 7))
        piece = bytes(wire)
        stream += piece[: dice.randrange(1, 8)] if dice.random() < damage else piece
        stream += PADDING * dice.choice((0, 0, 0, 0, 2))
    stream += IDLE * max(0, 2 * number - len(stream))
    cuts = sorted(dice.sample(range(1, len(stream)), number - 1))
    readouts = [bytes(stream[start:stop]) for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    return [data if data.rstrip(PADDING) else IDLE for data in readouts]
