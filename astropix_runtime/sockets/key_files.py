"""Key files: ZeroMQ's certificate format, as other ZeroMQ programs write and read it (docs/wire.md, "Keys").

Reading raises `KeyFileError` and nothing else, whatever the file is.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from astropix_runtime.errors import KeyFileError
from protocol.text import printable, reason_of

MAX_KEY_FILE_BYTES = 16384
MAX_CLIENT_KEYS = 10_000
KEY_CHARACTERS = 40
"""A key is 32 bytes, which are 40 characters in Z85."""

PUBLIC_SUFFIX = ".key"
SECRET_SUFFIX = ".key_secret"  # noqa: S105 - the end of a file name

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_DIGITS = {character: value for value, character in enumerate(_Z85)}
_GROUP = 5
_OTHERS_READ_OR_WRITE = 0o077
_OTHERS_WRITE = 0o022


def check_key(text: str) -> str:
    """`text`, if it is a key in Z85; else `KeyFileError`, whose message does not repeat it: it may be a secret."""
    if len(text) != KEY_CHARACTERS:
        raise KeyFileError(f"a key has {KEY_CHARACTERS} characters, this one has {len(text)}")
    for begin in range(0, KEY_CHARACTERS, _GROUP):
        value = 0
        for character in text[begin : begin + _GROUP]:
            if character not in _DIGITS:
                raise KeyFileError("a character that is not of Z85 is in the key")
            value = value * len(_Z85) + _DIGITS[character]
        if value > 0xFFFFFFFF:
            raise KeyFileError(f"characters {begin + 1} to {begin + _GROUP} of the key stand for more than four bytes")
    return text


def key_text(key: bytes) -> str:
    """A key of 32 bytes in Z85 (RFC 32); of other lengths, what can be said of whole groups of four bytes."""
    characters = []
    for begin in range(0, len(key) // 4 * 4, 4):
        value = int.from_bytes(key[begin : begin + 4], "big")
        characters += [_Z85[value // len(_Z85) ** place % len(_Z85)] for place in range(_GROUP - 1, -1, -1)]
    return "".join(characters)


@dataclass(frozen=True)
class PublicKey:
    """A key that everybody may know, in Z85."""

    public: str

    def __post_init__(self) -> None:
        check_key(self.public)


@dataclass(frozen=True)
class KeyPair:
    """A public key and the secret one that proves it, in Z85. The secret one is not shown by `repr`."""

    public: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        check_key(self.public)
        check_key(self.secret)


@dataclass(frozen=True)
class ClientKeys:
    """What a client needs: which server it trusts, and who it is itself."""

    server: PublicKey
    own: KeyPair


@dataclass(frozen=True)
class ServerKeys:
    """Who the server is, and where the public keys of the clients lie that may connect."""

    own: KeyPair
    client_keys: Path


def new_key_pair() -> KeyPair:
    """A pair that nobody else has."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def checked_pair(keys: KeyPair, where: str = "") -> KeyPair:
    """`keys`, if the public one is that of the secret one; else `KeyFileError`."""
    if zmq.curve_public(keys.secret.encode()) != keys.public.encode():
        raise KeyFileError(f"{where}the secret key does not belong to the public key {keys.public}")
    return keys


def format_public_key(key: PublicKey | KeyPair, name: str) -> str:
    """The file to give away; `name` says whose it is, one line."""
    return (
        f"# Public key of {printable(name, '?')} for astropix-daq: it may be read by everybody.\n"
        f'metadata\ncurve\n    public-key = "{key.public}"\n'
    )


def format_key_pair(keys: KeyPair, name: str) -> str:
    """The file to keep."""
    return (
        f"# SECRET key of {printable(name, '?')} for astropix-daq: never give it away, never let others read it.\n"
        f'metadata\ncurve\n    public-key = "{keys.public}"\n    secret-key = "{keys.secret}"\n'
    )


def parse_keys(content: bytes) -> PublicKey | KeyPair:
    """What a key file has: a pair, where the secret key is in it. `KeyFileError` for anything that is no key file."""
    if len(content) > MAX_KEY_FILE_BYTES:
        raise KeyFileError(f"is no key file: longer than {MAX_KEY_FILE_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise KeyFileError(f"is no key file: byte {error.start} is not UTF-8") from None
    found: dict[str, str] = {}
    for name, value in _entries(text):
        if name in found:
            raise KeyFileError(f"has {name} twice")
        found[name] = value
    if "public-key" not in found:
        raise KeyFileError("is no key file: there is no public-key in it")
    if "secret-key" in found:
        return KeyPair(found["public-key"], found["secret-key"])
    return PublicKey(found["public-key"])


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """`public-key` and `secret-key` with their values; all else in a certificate says nothing about the keys."""
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        name = name.strip()
        if equals and name in ("public-key", "secret-key"):
            yield name, value.strip(" \t'\"")


def read_public_key(path: Path | str) -> PublicKey:
    """The key in the file at `path`. `KeyFileError` where it cannot be had, or where a secret key is in the file."""
    path = Path(path).expanduser()
    keys = _read(path, secret=False)
    if isinstance(keys, KeyPair):
        raise KeyFileError(
            f"{path}: has a secret key in it, which belongs to nobody else: use the file that ends in {PUBLIC_SUFFIX}"
        )
    return keys


def read_key_pair(path: Path | str) -> KeyPair:
    """The keys in the file at `path`. `KeyFileError` where they cannot be had, or where others can read the file."""
    path = Path(path).expanduser()
    keys = _read(path, secret=True)
    if isinstance(keys, PublicKey):
        raise KeyFileError(f"{path}: has no secret key in it: use the file that ends in {SECRET_SUFFIX}")
    return keys


def read_client_keys(server_key: Path | str | PublicKey, key: Path | str | KeyPair) -> ClientKeys:
    """The keys of a client, each from its file or as it is; `KeyFileError` where they cannot be had."""
    return ClientKeys(
        server_key if isinstance(server_key, PublicKey) else read_public_key(server_key),
        key if isinstance(key, KeyPair) else read_key_pair(key),
    )


def read_server_keys(server_key: Path | str, client_keys: Path | str) -> tuple[ServerKeys | None, list[str]]:
    """The keys in these places, all of them looked at; None where there are mistakes, which are one line each."""
    mistakes: list[str] = []
    own: KeyPair | None = None
    try:
        own = checked_pair(read_key_pair(server_key), f"{server_key}: ")
    except KeyFileError as error:
        mistakes.append(f"server_key: {error}")
    try:
        files = public_key_files(client_keys)
    except KeyFileError as error:
        mistakes.append(f"client_keys: {error}")
        files = []
    if len(files) > MAX_CLIENT_KEYS:
        mistakes.append(f"client_keys: {client_keys}: has {len(files)} keys, at most {MAX_CLIENT_KEYS} are taken")
        files = []
    for path in files:
        try:
            read_public_key(path)
        except KeyFileError as error:
            mistakes.append(f"client_keys: {error}")
    if own is None or mistakes:
        return None, mistakes
    return ServerKeys(own, Path(client_keys).expanduser()), []


def public_key_files(directory: Path | str) -> list[Path]:
    """The files of public keys in `directory`, sorted: those whose names end in `.key`.

    `KeyFileError` where it is no directory that can be read, or where others may put files into it.
    """
    path = Path(directory).expanduser()
    try:
        if os.name == "posix" and path.stat().st_mode & _OTHERS_WRITE:
            raise KeyFileError(f"{path}: others may put keys into it: chmod go-w {path}")
        return sorted(each for each in path.iterdir() if each.name.endswith(PUBLIC_SUFFIX))
    except (OSError, ValueError) as error:
        raise _failure(path, error) from None


def _read(path: Path, *, secret: bool) -> PublicKey | KeyPair:
    try:
        # Not blocking: whoever names a pipe is told so, and does not wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{path}: is no file")
            if os.name == "posix" and secret and mode & _OTHERS_READ_OR_WRITE:
                raise KeyFileError(f"{path}: others may read this secret key: chmod 600 {path}")
            if os.name == "posix" and mode & _OTHERS_WRITE:
                raise KeyFileError(f"{path}: others may change this key: chmod go-w {path}")
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _failure(path, error) from None
    try:
        return parse_keys(content)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from None


def _failure(path: Path, error: Exception) -> KeyFileError:
    if isinstance(error, KeyFileError):
        return error
    return KeyFileError(f"{path}: cannot be read: {reason_of(error)}")
