"""The record of a run: what `run_NNNNNN.json` holds and `run` messages carry (docs/formats.md, "Run record")."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from protocol.ledger import LedgerCounts
from protocol.readout import uid_to_readout_class
from protocol.readout_decoder import ReadoutDecoder
from protocol.readout_description import ReadoutDescription, TimestampBits, TimestampOrder
from protocol.text import validation_summary

PART_SUFFIX = ".part"
"""What the name of a file ends with while it is written."""

CUT_SUFFIX = ".cut"
"""What is put aside of a file is called as the file, with this behind; then `.cut.2` and so on."""

RunState = Literal["running", "finished", "failed", "interrupted"]


class _Model(BaseModel):
    # Keys of a later version are kept, so that a record that an older repair completes still has them; and `run`
    # messages carry records, where readers let unknown keys pass.
    model_config = ConfigDict(frozen=True, extra="allow")


class FileRecord(_Model):
    """One file of a run; `sha256` in hexadecimal, of the whole file. Readout ids include both ends."""

    name: str
    index: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    sha256: str
    readouts: int = Field(ge=0)
    first_readout: int | None = None
    last_readout: int | None = None
    begin_ns: int
    end_ns: int


class Gap(_Model):
    """A stretch of the run without data: the board was lost, or the daemon. Times in ns since the epoch."""

    from_ns: int
    to_ns: int | None = None
    reason: str


class Cut(_Model):
    """Bytes of a file that belong to no whole readout, put aside by a repair.

    As the repair found `file`, they were the `size_bytes` from `offset` on. They are in the file `kept_as`; if several
    have that name, one after the other in this order.
    """

    file: str
    offset: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    kept_as: str


class Counts(_Model):
    """What was read and written.

    `board_bytes`: as the board delivered them; `readout_bytes` of these are in the files, `padding_bytes` were padding
    at the end of a readout (also of the `empty_readouts`, which are padding alone and are not in the files). The three
    that the files do not show are None if the daemon crashed before recording them.
    """

    readouts: int = 0
    empty_readouts: int | None = 0
    board_bytes: int | None = 0
    readout_bytes: int = 0
    padding_bytes: int | None = 0
    file_bytes: int = 0


class RunRecord(_Model):
    """All that is known about a run. `state` is "running" until the daemon has closed it.

    `readout_uid`, and what of `ReadoutDescription` is known, are what a decoder wants to know.
    `configuration`: of the daemon; `chip_configuration`: what chips, cards and injection were set to, as
    `ChipSetup.describe`, None where nobody set them.
    `board`: what was known of the board when the run began: firmware, register map, what was read back, warnings.
    `ledger`: as `Ledger.to_dict`, None until the publisher has decoded the whole run.
    """

    format: Literal[1] = 1
    daq: str
    run: int = Field(ge=0)
    state: RunState
    comment: str = ""
    begin_ns: int
    end_ns: int | None = None
    end_reason: str = ""
    software: dict[str, str]
    readout_uid: int
    chips: int | None = None
    full_readout_bytes: int | None = None
    layers: int | None = None
    timestamp_bits: TimestampBits | None = None
    timestamp_order: TimestampOrder | None = None
    configuration: dict[str, Any]
    chip_configuration: dict[str, Any] | None = None
    board: dict[str, Any] = {}
    counts: Counts = Counts()
    ledger: LedgerCounts | None = None
    gaps: tuple[Gap, ...] = ()
    files: tuple[FileRecord, ...] = ()
    cuts: tuple[Cut, ...] = ()

    @property
    def description(self) -> ReadoutDescription:
        """What the record says of how the readouts are to be decoded."""
        return ReadoutDescription.of({name: getattr(self, name) for name in ReadoutDescription.model_fields})

    def decoder(self) -> ReadoutDecoder:
        """A decoder for the readouts of the run; `ValueError` for readouts of an unknown kind."""
        return uid_to_readout_class(self.readout_uid).make_decoder(self.description)

    def to_json(self) -> str:
        """As it stands in its file."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a record; `ValueError` of one line for what is none."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(f"not a run record: {validation_summary(error)}") from None


def run_name(run: int) -> str:
    """Name of a run's directory and beginning of its files' names: `run_000042`."""
    return f"run_{run:06d}"


def file_name(run: int, index: int) -> str:
    """Name of the `index`th file of a run, from 0: `run_000042_0000.apx`."""
    return f"{run_name(run)}_{index:04d}.apx"
