"""What can be wrong with bytes that somebody hands to this package.

::

    ProtocolError
    ├── ApxFormatError   an .apx file or record (also a ValueError)
    │   └── UnknownReadoutError   a file of a kind of readouts that this version does not know
    ├── MessageError     a wire message or control request (also a ValueError)
    ├── GeccoError       a register access that cannot be encoded (also a ValueError)
    ├── AstepError       the same for the A-STEP firmware (also a ValueError)
    ├── TextLogError     an older text recording (also a ValueError)
    └── NoRecordingsError   a directory in which there are none (also a ValueError)
"""

from typing import Self


class ProtocolError(Exception):
    """Root of the errors of `protocol`."""


class ApxFormatError(ProtocolError, ValueError):
    """An `.apx` file or record does not follow docs/formats.md.

    `offset` is the position in bytes, from the start of the file, of what is wrong; `reason` says what.
    """

    def __init__(self, reason: str, offset: int, path: str | None = None) -> None:
        self.reason = reason
        self.offset = offset
        self.path = path
        super().__init__(f"{path + ': ' if path else ''}at byte {offset}: {reason}")

    def in_file(self, path: str) -> Self:
        """The same error with the name of the file that it is in."""
        return type(self)(self.reason, self.offset, path)


class UnknownReadoutError(ApxFormatError):
    """The header of an `.apx` file is whole, but of a kind of readouts that this version does not know."""


class MessageError(ProtocolError, ValueError):
    """A wire message or control request does not follow docs/wire.md."""


class GeccoError(ProtocolError, ValueError):
    """A register access that the GECCO register protocol cannot express."""


class AstepError(ProtocolError, ValueError):
    """A register access that the register protocol of the A-STEP firmware cannot express."""


class TextLogError(ProtocolError, ValueError):
    """A text recording has a line that cannot be read; `line_number` counts from 1."""

    def __init__(self, reason: str, line_number: int) -> None:
        self.reason = reason
        self.line_number = line_number
        super().__init__(f"line {line_number}: {reason}")


class NoRecordingsError(ProtocolError, ValueError):
    """A directory was given to be read, and there are no recordings in it."""
