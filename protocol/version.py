"""The version of the distribution, for `--version`, run records and file headers."""

from importlib.metadata import version

__version__ = version("astropix-daq")
