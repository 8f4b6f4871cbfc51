"""What fuzzing feeds: inputs that were right, damaged as cables, disks, editors and strangers damage them."""

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

F = TypeVar("F", bound=Callable[..., None])

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
"""Inputs for each target; `make soak` tries many more than a run of the suite."""

_ODD_BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\xbc",
    b"\xfe\xdc\xba",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"\x7f\xff\xff\xff",
    b"\n",
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 255, 256, 1 << 31, 1 << 32, (1 << 63) - 1, (1 << 64) - 1, -(1 << 63)),
    *(0.0, -0.5, 1e300, float("nan"), float("inf"), float("-inf")),
    *("", "x", "\0", "\x1b[2J", "\ud7ff\n", "../../etc/passwd", "tcp://*:*", "9" * 400, "x" * 5000, "{0.__class__}"),
    *([], [[]], [1, 2, 3], [None] * 50, {}, {"": {}}, {"x": [{"y": []}]}),
)


def fuzzed(test: F) -> F:
    """Run a Hypothesis test on `EXAMPLES` inputs, however long each takes."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=slow)(test)


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes] = _ODD_BYTES) -> bytes:
    """One of `seeds` with up to eight damages; `words` are what may be found where it does not belong."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 8))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        kind = draw(st.sampled_from(("flip", "delete", "insert", "replace", "cut", "repeat", "random", "word")))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "delete":
            del data[at : at + length]
        elif kind in ("insert", "word"):
            data[at:at] = draw(st.sampled_from(words) if kind == "word" else st.binary(max_size=40))
        elif kind == "replace":
            data[at : at + length] = draw(st.sampled_from(words))
        elif kind == "cut":
            del data[at:]
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * draw(st.integers(1, 4))
        else:
            data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
    return bytes(data)


@st.composite
def damaged_tree(draw: st.DrawFn, trees: Sequence[Any], odd: Sequence[Any] = ODD_VALUES) -> Any:
    """One of `trees` (dicts, lists, scalars) with up to four places replaced, left out, added to, or swapped."""
    holder = [copy.deepcopy(draw(st.sampled_from(trees)))]
    for _ in range(draw(st.integers(0, 4))):
        places = list(_places(holder))
        parent, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(("replace", "replace", "leave out", "add", "swap")))
        value = copy.deepcopy(draw(st.sampled_from(odd)))
        if kind == "leave out" and parent is not holder:
            del parent[key]
        elif kind == "add" and isinstance(parent[key], dict):
            parent[key][draw(st.sampled_from(("", "x", "class", "__proto__", "run")))] = value
        elif kind == "add" and isinstance(parent[key], list):
            parent[key].append(value)
        elif kind == "swap":
            other, at = draw(st.sampled_from(places))
            parent[key] = copy.deepcopy(other[at])
        else:
            parent[key] = value
    return holder[0]


def _places(parent: Any) -> list[tuple[Any, Any]]:
    """All places below `parent`, as pairs of container and key."""
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    found = []
    for key in keys:
        found.append((parent, key))
        if isinstance(parent[key], dict | list):
            found += _places(parent[key])
    return found
