"""What can go wrong in the daemon, in words for the person at the terminal.

::

    DaqError
    ├── ConfigError          the configuration file (also a ValueError)
    ├── BoardError           the board or the link to it (also an OSError)
    │   ├── BoardLost        the link is gone: cable, power, device
    │   ├── LinkTimeout      the link is there and has not delivered in time (also a TimeoutError)
    │   ├── BoardAnswerError the board answers wrongly, in part, or not at all
    │   └── BoardSettingError the board cannot be set so, and nothing was sent
    ├── RunControlError      a command that cannot be obeyed now (also a RefusedError)
    └── DiskError            files of a run cannot be written (also an OSError)
"""

from astropix_runtime.command_line.program import FAILED, MISUSE
from astropix_runtime.configuration import ConfigurationError
from astropix_runtime.errors import RefusedError


class DaqError(Exception):
    """Root of the errors of `daqd`."""


class ConfigError(DaqError, ConfigurationError):
    """The configuration, or the command, cannot be used; `mistakes` has one line for each mistake."""


class BoardError(DaqError, OSError):
    """The board or the link to it does not do what it should."""


class BoardLost(BoardError):  # noqa: N818 - it says what happened
    """The link is gone: connect again with `open()`."""


class LinkTimeout(BoardError, TimeoutError):  # noqa: N818 - named as TimeoutError is
    """Fewer bytes than asked for came within the time; `partial` has those that did come."""

    def __init__(self, message: str, partial: bytes = b"") -> None:
        self.partial = partial
        super().__init__(message)


class BoardAnswerError(BoardError):
    """The board answers wrongly, in part, or not at all.

    `register`, `expected` and `got` say where and what.
    """

    def __init__(self, board: str, register: str, expected: str, got: str, advice: str) -> None:
        self.register = register
        self.expected = expected
        self.got = got
        self.advice = advice
        super().__init__(f"{board}: register {register}: expected {expected}, got {got}: {advice}")


class BoardSettingError(BoardError):
    """The board that answers cannot be set to what is wanted. Nothing was sent: it is set as it was before."""


class RunControlError(DaqError, RefusedError):
    """A command that cannot be obeyed in the present state; `code` is the error code of the control reply."""


class DiskError(DaqError, OSError):
    """The files of a run cannot be written."""


def code_of(error: Exception) -> int:
    """Exit code of a program that ends for this error.

    `MISUSE` for an invalid command or configuration: trying again, as a service manager does, does not help then.
    """
    return MISUSE if isinstance(error, ConfigError) else FAILED
