"""How many files and connections this process may have open."""

import contextlib

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]  # a module, or none


def take_all_descriptors() -> None:
    """Raise the limit to what the administrator permits; processes that are started later have it, too.

    The usual 1024 are soon used up by connections of which nobody knows yet whether they have a key. A run could then
    open no file.
    """
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS permits less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
