"""Errors of what all programs run on.
::

    AstropixRuntimeError
    ├── KeyFileError             a file of keys, or a key (also a ValueError)
    └── RequestError             a request without a result
        ├── RefusedError         the server refuses it; `code` is the error code of the reply
        └── UnreachableError     nobody answers, or not as a server of ours does (also an OSError)
            └── AddressError     nothing can be at such an address (also a ValueError)

What cannot be had for a program alone (a socket, a lock) is raised as the error that the program names for it.
"""


class AstropixRuntimeError(Exception):
    """Root of the errors of `astropix_runtime`; the text is for the person at the terminal."""


class KeyFileError(AstropixRuntimeError, ValueError):
    """A file of keys cannot be used, or a text is no key. The message never has a secret key in it."""


class RequestError(AstropixRuntimeError):
    """A request has no result."""


class RefusedError(RequestError):
    """The server refuses a request; `code` is the error code of the reply (docs/wire.md)."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class UnreachableError(RequestError, OSError):
    """Nobody answers, or something that is no server of ours."""


class AddressError(UnreachableError, ValueError):
    """Nothing can be at such an address."""
