"""What all wire messages have in common: MessagePack maps checked against models, hits as packed rows (docs/wire.md).

Bytes in, typed objects out. Whatever the bytes are, the only error is `MessageError`.
"""

import functools
import re
from typing import Any, TypeVar

import msgpack
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from protocol.errors import MessageError
from protocol.hit import HIT_DTYPE, HitTable
from protocol.text import validation_summary

T = TypeVar("T", bound=BaseModel)

MAX_COLUMNS = 256

_PLAIN_NUMBER = re.compile(r"\|b1|[|<][iu]1|<[iu][248]|<f[248]")
"""Kinds of columns that are taken from the wire; a whole dtype in a string, as NumPy would take it, is not."""

DTypeDescription = tuple[tuple[str, str], ...]


class WireModel(BaseModel):
    """A map of the wire. Unknown keys are let pass: version 1 may grow keys, and readers of before go on working."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


@functools.cache
def describe(dtype: np.dtype[np.void]) -> DTypeDescription:
    """Names and types of the columns of a hit table, as a header carries them."""
    return tuple((name, str(dtype[name].str)) for name in dtype.names or ())


HIT_DESCRIPTION: DTypeDescription = describe(HIT_DTYPE)


def packed_hits(payload: bytes, description: DTypeDescription, number: int) -> HitTable:
    """The hits that `payload` holds, structured array (`number`,); read-only, no copy.

    `MessageError` where they cannot be what `description` and `number` say.
    """
    try:
        dtype = HIT_DTYPE if description == HIT_DESCRIPTION else _dtype(description)
        hits: HitTable = np.frombuffer(payload, dtype)
    except (TypeError, ValueError) as error:
        raise MessageError(f"hits message cannot be read: {error}") from None
    if len(hits) != number:
        raise MessageError(f"hits message announces {number} hits and carries {len(hits)}")
    return hits


def _dtype(description: DTypeDescription) -> np.dtype[np.void]:
    """A dtype of plain numbers only: nothing from the wire may name Python objects."""
    if not 0 < len(description) <= MAX_COLUMNS or not all(
        name and _PLAIN_NUMBER.fullmatch(kind) for name, kind in description
    ):
        raise MessageError(
            f"hits message: the dtype must be made of 1 to {MAX_COLUMNS} named plain little-endian numbers"
        )
    return np.dtype(list(description))


def unpack(frame: bytes, limit: int | None = None) -> Any:
    """What a frame of MessagePack holds; `MessageError` where it holds none, or is longer than `limit`."""
    if limit is not None and len(frame) > limit:
        raise MessageError(f"{len(frame)} bytes; at most {limit} are taken")
    try:
        return msgpack.unpackb(frame, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise MessageError(f"not msgpack: {error or type(error).__name__}") from None


def parse(model: type[T], content: Any) -> T:
    """`content` as a `model`; `MessageError` of one line where it is none."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise MessageError(f"not a {model.__name__.lower()}: {validation_summary(error)}") from None
