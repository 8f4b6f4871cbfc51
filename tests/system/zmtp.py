"""ZeroMQ as it goes over the wire (ZMTP 3.0), by hand: connections that come and go at once, and say what they like."""

import socket

from tests.deadline import DEADLINE_S

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY_COMMAND = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
READY = bytes((4, len(_READY_COMMAND))) + _READY_COMMAND


def frame(content: bytes) -> bytes:
    """A message of one frame."""
    assert len(content) < 256
    return bytes((0, len(content))) + content


def connection(endpoint: str) -> socket.socket:
    """TCP, and nothing said yet."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    made = socket.create_connection((host, int(port)))
    made.settimeout(DEADLINE_S)
    return made


def subscribe_and_leave(endpoint: str, topic: bytes) -> None:
    """A subscriber that is let in, says what it wants, and is gone."""
    with connection(endpoint) as made:
        made.sendall(GREETING + READY)
        answer = b""
        while b"READY" not in answer:
            came = made.recv(4096)
            assert came, f"shown the door after {answer!r}"
            answer += came
        made.sendall(frame(b"\x01" + topic))
