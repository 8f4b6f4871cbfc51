"""What the programs end with."""

from daqd.errors import ConfigError

OK, FAILED, MISUSE = 0, 1, 2


def code_of(error: Exception) -> int:
    """Exit code of a program that ends for this error.

    `MISUSE` where command line or configuration cannot be meant so: trying again, as a service manager does, does not
    help then.
    """
    return MISUSE if isinstance(error, ConfigError) else FAILED
