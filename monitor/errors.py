"""Errors of the consumers.
::

    MonitorError
    ├── EndpointError          an address that cannot be one (also a ValueError)
    ├── KeysError              keys that cannot be used (also a ValueError)
    ├── MisuseError            arguments of a program that do not go together (also a ValueError)
    ├── ListenError            an address that cannot be served at (also an OSError)
    ├── HistoryError           the past that was asked for cannot be had (also an OSError)
    ├── NothingReceivedError   a stream that said nothing in the time it was given (also a TimeoutError)
    ├── ConfigError            a configuration file that cannot be used (also a ValueError)
    ├── CheckModuleError       a user's module of checks that cannot be used (also a ValueError)
    ├── AlarmServiceError      what alarms need cannot be had, or nobody answers there (also an OSError)
    └── MissingPackageError    a package of an optional extra is not installed (also an ImportError)
"""

from astropix_runtime.configuration import ConfigurationError


class MonitorError(Exception):
    """Root of everything that this package raises on purpose; its text is one line for the person at the terminal."""


class EndpointError(MonitorError, ValueError):
    """The address of a stream is not one."""


class KeysError(MonitorError, ValueError):
    """The keys that were given cannot be used."""


class HistoryError(MonitorError, OSError):
    """There is no such run, or nobody answers for the past."""


class MisuseError(MonitorError, ValueError):
    """A program was told to do what it does not do like that."""


class ListenError(MonitorError, OSError):
    """Nobody can be served at this address now: somebody else is, or it is none of this machine."""


class NothingReceivedError(MonitorError, TimeoutError):
    """Nothing came from the stream in the time it was given."""


class ConfigError(MonitorError, ConfigurationError):
    """The configuration file cannot be used; `mistakes` has one line for each, the text all of them."""


class CheckModuleError(MonitorError, ValueError):
    """A user's module of checks cannot be used."""


class AlarmServiceError(MonitorError, OSError):
    """A socket, file or directory that alarms need cannot be had, or nobody answers there."""


class MissingPackageError(MonitorError, ImportError):
    """A package of an optional extra is not installed."""
