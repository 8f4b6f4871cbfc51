"""What a client is told of its handshakes; the real events of ZeroMQ are in tests/daqd/test_curve.py."""

import struct

import pytest
import zmq

from astropix_runtime.sockets.handshake import HALF_GREETING, Greeting, Handshakes, Peer


def fed(keyed: bool, *events: tuple[int, int]) -> Handshakes:
    handshakes = Handshakes(keyed)
    for event, value in events:
        handshakes.feed(struct.pack("=Hi", event, value))
    return handshakes


BROKEN_OFF = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, 32)
UNKNOWN = (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400)
MISMATCH = (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
GARBLED = (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, 0x10000000)
LET_IN = (zmq.EVENT_HANDSHAKE_SUCCEEDED, 0)


@pytest.mark.parametrize(
    ("keyed", "events", "refusal", "given_up"),
    [
        (True, [], "", False),
        (True, [LET_IN], "", False),
        (True, [UNKNOWN], "it does not know this key", True),
        (True, [BROKEN_OFF], "", False),
        (True, [BROKEN_OFF, LET_IN, BROKEN_OFF], "", False),
        (False, [MISMATCH], "it takes only clients with a key", True),
        (True, [MISMATCH], "it has no keys", True),
        (True, [GARBLED], "the handshake fails", True),
        (True, [UNKNOWN, LET_IN], "", False),
        (True, [UNKNOWN, BROKEN_OFF, BROKEN_OFF], "it does not know this key", True),
        (False, [BROKEN_OFF, BROKEN_OFF], "", False),
    ],
)
def test_refusals(keyed: bool, events: list[tuple[int, int]], refusal: str, given_up: bool) -> None:
    handshakes = fed(keyed, *events)
    assert refusal in handshakes.refusal
    assert bool(handshakes.refusal) is bool(refusal)
    assert handshakes.given_up is given_up


@pytest.mark.parametrize("frame", [b"", b"1", b"12345", b"1234567"])
def test_what_is_no_event_is_passed_over(frame: bytes) -> None:
    handshakes = Handshakes(keyed=True)
    handshakes.feed(frame)
    assert (handshakes.refusal, handshakes.given_up) == ("", False)


@pytest.mark.parametrize(
    ("keyed", "peer", "refusal", "no_answer"),
    [
        (True, Peer.NOBODY, "", "closed without a word"),
        (False, Peer.NOBODY, "", "closed without a word"),
        (False, Peer.STRANGER, "", "does not speak ZeroMQ"),
        (True, Peer.KEYED, "the server key is not its own", ""),
        (True, Peer.KEYLESS, "it has no keys", ""),
        (False, Peer.KEYED, "it takes only clients with a key", ""),
        (False, Peer.KEYLESS, "it may want a key", ""),
        (True, None, "the server key is not its own, or it has no keys", ""),
        (False, None, "it may want a key", ""),
    ],
)
def test_who_breaks_off_handshakes(keyed: bool, peer: Peer | None, refusal: str, no_answer: str) -> None:
    handshakes = fed(keyed, BROKEN_OFF)
    assert not handshakes.unexplained, "one may be broken off by a server that ends"
    handshakes.feed(struct.pack("=Hi", *BROKEN_OFF))
    assert handshakes.unexplained
    handshakes.explain(peer)
    assert not handshakes.unexplained
    assert refusal in handshakes.refusal and no_answer in handshakes.no_answer
    assert (bool(handshakes.refusal), bool(handshakes.no_answer)) == (bool(refusal), bool(no_answer))
    for _ in range(20):
        handshakes.feed(struct.pack("=Hi", *BROKEN_OFF))
    assert handshakes.unexplained, "it may be another one by now"
    handshakes.feed(struct.pack("=Hi", *LET_IN))
    assert (handshakes.refusal, handshakes.no_answer, handshakes.unexplained) == ("", "", False)


NULL = HALF_GREETING + b"\1" + b"NULL".ljust(20, b"\0") + bytes(32)
CURVE = NULL.replace(b"NULL\0", b"CURVE")


@pytest.mark.parametrize(
    ("parts", "peer"),
    [
        ([b""], Peer.NOBODY),
        ([CURVE], Peer.KEYED),
        ([CURVE[:1], CURVE[1:10], CURVE[10:31], CURVE[31:32]], Peer.KEYED),
        ([NULL], Peer.KEYLESS),
        ([NULL[:10], b""], None),
        ([b"HTTP/1.1 400"], Peer.STRANGER),
        ([b"SSH-2.0"], Peer.STRANGER),
        ([b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27"], Peer.STRANGER),  # telnet
    ],
)
def test_who_a_greeting_is_from(parts: list[bytes], peer: Peer | None) -> None:
    probe = Greeting()
    said = b""
    for part in parts:
        assert not probe.ended
        said += probe.feed(part)
    assert (probe.peer, probe.ended) == (peer, True)
    assert said == (HALF_GREETING if len(parts) > 1 else b"")


def test_who_waits_to_be_spoken_to_is_no_zeromq() -> None:
    probe = Greeting()
    probe.give_up()
    assert (probe.peer, probe.ended) == (Peer.STRANGER, True)
