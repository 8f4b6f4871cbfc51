"""Keys at the checker's side: who may connect to its TCP sockets (docs/wire.md, "Keys")."""

from collections.abc import Callable
from typing import Any

import zmq

from astropix_runtime.sockets.allowed_clients import (
    HANDSHAKE_MS,
    ZAP_DOMAIN,
    ZAP_ENDPOINT,
    AllowedClients,
    ServerKeys,
    judge,
    read_server_keys,
)
from astropix_runtime.sockets.endpoints import is_tcp
from astropix_runtime.sockets.refusals import Refusals
from monitor.errors import KeysError

_MOST_AT_ONCE = 100


class Gatekeeper:
    """Lets only clients with an allowed key connect to the sockets of `context`; whenever `serve` is called.

    It needs no thread: who wants to connect has seconds to wait. `say` is told who was refused, not too often. To be
    closed after the sockets, before the context.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", keys: ServerKeys, say: Callable[[str], None]) -> None:
        self._keys = keys
        self._allowed = AllowedClients(keys.client_keys, say)
        self._refusals = Refusals("the sanity checker", say)
        self._questions: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._questions.setsockopt(zmq.LINGER, 0)
        # Never full: ZeroMQ would wait for us with all its connections.
        self._questions.setsockopt(zmq.RCVHWM, 0)
        self._questions.setsockopt(zmq.SNDHWM, 0)
        self._questions.bind(ZAP_ENDPOINT)

    def guard(self, socket: "zmq.Socket[Any]", endpoint: str) -> None:
        """Before `socket` is bound at `endpoint`; who may use an ipc socket, its permissions say."""
        if not is_tcp(endpoint):
            return
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.own.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        # Without this, who knows the server's key is let in when nobody is there to be asked.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def serve(self) -> None:
        """Answer for those who have come; never waits."""
        for _ in range(_MOST_AT_ONCE):
            try:
                question = self._questions.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            verdict = judge(question, self._allowed)
            if verdict.key:
                self._refusals.note(verdict.address, f"its key {verdict.key} is not among the client_keys")
            self._questions.send_multipart(verdict.reply)

    def close(self) -> None:
        """Nobody is let in any more."""
        self._questions.close()


def load_server_keys(server_key: str, client_keys: str) -> ServerKeys:
    """The keys in these places; `KeysError` with every mistake, a line each."""
    keys, mistakes = read_server_keys(server_key, client_keys)
    if keys is not None and zmq.curve_public(keys.own.secret.encode()) != keys.own.public.encode():
        mistakes.append(f"server_key: {server_key}: the secret key does not belong to the public key")
    if keys is None or mistakes:
        raise KeysError("\n".join(f"[security] {mistake}" for mistake in mistakes))
    return keys
