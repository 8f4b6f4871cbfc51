"""What a decoder wants to know of the readouts of a run, beside their class."""

from collections.abc import Callable, Mapping
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict

from protocol.stream_bytes import MAX_CHIPS

TimestampBits = Literal[16, 32, 48, 64]
TimestampOrder = Literal["little", "big"]

MAX_READOUT_BYTES = 1 << 26
"""A record that announces more is taken for damage, not for data."""

_MAX_LAYERS = 31


def _number(value: object, largest: int) -> bool:
    return type(value) is int and 1 <= value <= largest


_POSSIBLE: dict[str, Callable[[object], bool]] = {
    "chips": lambda value: _number(value, MAX_CHIPS),
    "full_readout_bytes": lambda value: _number(value, MAX_READOUT_BYTES),
    "layers": lambda value: _number(value, _MAX_LAYERS),
    "timestamp_bits": lambda value: type(value) is int and value in get_args(TimestampBits),
    "timestamp_order": lambda value: type(value) is str and value in get_args(TimestampOrder),
}


class ReadoutDescription(BaseModel):
    """Keys of file headers and run records that say how readouts are to be decoded; None where it is not known.

    `chips`: in a chain, 1…31. `full_readout_bytes`: length of a GECCO readout with its padding, 1…2^26; a multiple of 8
    says that readouts consist of whole groups of 8 bytes, which makes decoding exact. Layer frames only: `layers`,
    number of chains; `timestamp_bits` and `timestamp_order` of the FPGA's time stamp.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    chips: int | None = None
    full_readout_bytes: int | None = None
    layers: int | None = None
    timestamp_bits: TimestampBits | None = None
    timestamp_order: TimestampOrder | None = None

    @classmethod
    def of(cls, content: Mapping[str, object]) -> Self:
        """What the header of a file says; what it says wrongly is taken for not known."""
        known = {key: content[key] for key, possible in _POSSIBLE.items() if possible(content.get(key))}
        return cls.model_validate(known)

    def with_chips(self, chips: int | None) -> Self:
        """The same with another number of chips; None changes nothing."""
        return self if chips is None else self.model_copy(update={"chips": chips})
