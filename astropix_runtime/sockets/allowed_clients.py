"""Who may connect to a server with keys: what lies in a directory, and what ZeroMQ is told (docs/wire.md, "Keys").

No sockets: what asks and what answers is the server's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from astropix_runtime.sockets.key_files import KeyPair, key_text, public_key_files, read_key_pair, read_public_key
from protocol.errors import KeyFileError

MAX_CLIENT_KEYS = 10_000

HANDSHAKE_MS = 5000
"""Who has not shown a key by then is cut off: he takes a connection from others."""

ZAP_DOMAIN = b"astropix-daq"
"""Has to be set: without a domain, ZeroMQ lets everybody in while nobody answers its questions."""

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_READ_AGAIN_S = 1.0
_SAME_TIME_NS = 100_000_000
"""File systems stamp changes with a clock that ticks a few hundred times a second."""


@dataclass(frozen=True)
class ServerKeys:
    """Who the server is, and where the public keys of the clients lie that may connect."""

    own: KeyPair
    client_keys: Path


def read_server_keys(server_key: Path | str, client_keys: Path | str) -> tuple[ServerKeys | None, list[str]]:
    """The keys in these places, all of them looked at; None where there are mistakes, which are one line each."""
    mistakes: list[str] = []
    own: KeyPair | None = None
    try:
        own = read_key_pair(server_key)
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


class AllowedClients:
    """The public keys in a directory.

    It is read again when a client comes: at once where files came or went, once a second for what changed in a file.

    A file that cannot be read allows nobody, and `say` is told so once.
    """

    def __init__(
        self, directory: Path, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._say = say
        self._clock = clock
        self._keys: set[str] = set()
        self._complaints: set[str] = set()
        self._changed_ns: int | None = None
        self._read_at = float("-inf")
        self._read()

    def __contains__(self, key: str) -> bool:
        changed_ns = self._last_change()
        if changed_ns is None or changed_ns != self._changed_ns or self._clock() >= self._read_at + _READ_AGAIN_S:
            self._read()
        return key in self._keys

    def _last_change(self) -> int | None:
        """When the directory was changed; None where that says nothing, as it can be changed once more at that time."""
        try:
            changed_ns = self._directory.stat().st_mtime_ns
        except OSError:
            return 0
        return None if abs(time.time_ns() - changed_ns) < _SAME_TIME_NS else changed_ns

    def _read(self) -> None:
        self._read_at = self._clock()
        self._changed_ns = self._last_change()
        self._keys, complaints = set[str](), set[str]()
        try:
            files = public_key_files(self._directory)[:MAX_CLIENT_KEYS]
        except KeyFileError as error:
            complaints.add(f"no client is allowed: {error}")
            files = []
        for path in files:
            try:
                self._keys.add(read_public_key(path).public)
            except KeyFileError as error:
                complaints.add(f"a client key is passed over: {error}")
        if not self._keys and not complaints:
            complaints.add(f"no public key is in {self._directory} yet: nobody can connect")
        for text in sorted(complaints - self._complaints):
            self._say(text)
        self._complaints = complaints


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ZeroMQ is answered, `reply`; who was refused, as `address` and `key`, both empty where nobody was."""

    reply: list[bytes]
    address: str = ""
    key: str = ""


def judge(question: Sequence[bytes], allowed: AllowedClients) -> Verdict:
    """The answer to a question of ZeroMQ's authentication protocol (RFC 27): only an allowed key is let in."""
    _, request_id, domain, address, _, mechanism, *credentials = question
    refused = ""
    if domain == ZAP_DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
        key = key_text(credentials[0])
        if key in allowed:
            return Verdict([_ZAP_VERSION, request_id, b"200", b"", b"", b""])
        refused = key
    reply = [_ZAP_VERSION, request_id, b"400", b"unknown key", b"", b""]
    return Verdict(reply, address.decode(errors="replace") if refused else "", refused)
