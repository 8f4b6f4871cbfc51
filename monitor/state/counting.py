"""Counting into arrays."""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

MAX_HITS_PER_READOUT = 512
"""A readout of 4096 bytes holds 512 hits; more go into the last bin."""


def count(histogram: npt.NDArray[np.integer], flat_indices: npt.NDArray[np.integer]) -> None:
    """Add 1 at each index into the flattened `histogram`, as often as it occurs."""
    flat = histogram.reshape(-1)
    if len(flat_indices) < flat.size:
        # A few hits: cheaper than counting into a whole new histogram. A 1 of another type is 40 times slower.
        np.add.at(flat, flat_indices, flat.dtype.type(1))
    else:
        flat += np.bincount(flat_indices, minlength=flat.size).astype(flat.dtype, copy=False)


class ReadoutSizes:
    """Counts readouts by the number of their hits; one may be spread over several calls."""

    def __init__(self) -> None:
        self._open_readout = -1
        self._open_hits = 0

    def change(self, readout_ids: npt.NDArray[np.uint32]) -> Counts:
        """How many readouts more there are with 0, 1, 2, … hits; those without hits are not among them.

        `readout_ids`: of hits, those of one readout together. Where they go on with the readout before, there is one
        less of its former number.
        """
        change = np.zeros(MAX_HITS_PER_READOUT + 1, np.int64)
        if not len(readout_ids):
            return change
        bounds = np.concatenate(([-1], (readout_ids[1:] != readout_ids[:-1]).nonzero()[0], [len(readout_ids) - 1]))
        counts = bounds[1:] - bounds[:-1]
        if int(readout_ids[0]) == self._open_readout:
            change[min(self._open_hits, MAX_HITS_PER_READOUT)] -= 1
            counts[0] += self._open_hits
        np.add.at(change, np.minimum(counts, MAX_HITS_PER_READOUT), 1)
        self._open_readout, self._open_hits = int(readout_ids[-1]), int(counts[-1])
        return change
