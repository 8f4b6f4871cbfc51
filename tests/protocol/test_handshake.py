"""What a client is told of its handshakes; the real events of ZeroMQ are in tests/daqd/test_curve.py."""

import struct

import pytest
import zmq

from protocol.wire import handshake
from protocol.wire.handshake import Handshakes


def fed(keyed: bool, *events: tuple[int, int]) -> Handshakes:
    handshakes = Handshakes(keyed)
    for event, value in events:
        handshakes.feed(struct.pack("=Hi", event, value))
    return handshakes


def test_the_numbers_are_those_of_zeromq() -> None:
    assert handshake.SUCCEEDED == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert handshake.FAILED_NO_DETAIL == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    assert handshake.FAILED_PROTOCOL == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    assert handshake.FAILED_AUTH == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert handshake.OTHER_MECHANISM == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH


BROKEN_OFF = (handshake.FAILED_NO_DETAIL, 32)
UNKNOWN = (handshake.FAILED_AUTH, 400)
MISMATCH = (handshake.FAILED_PROTOCOL, handshake.OTHER_MECHANISM)
GARBLED = (handshake.FAILED_PROTOCOL, 0x10000000)
LET_IN = (handshake.SUCCEEDED, 0)


@pytest.mark.parametrize(
    ("keyed", "events", "refusal", "given_up"),
    [
        (True, [], "", False),
        (True, [LET_IN], "", False),
        (True, [UNKNOWN], "it does not know this key", True),
        (True, [BROKEN_OFF], "", False),
        (True, [BROKEN_OFF, LET_IN, BROKEN_OFF], "", False),
        (True, [BROKEN_OFF, BROKEN_OFF], "the server key is not its own", False),
        (False, [BROKEN_OFF, BROKEN_OFF], "it may want a key", False),
        (False, [MISMATCH], "it takes only clients with a key", True),
        (True, [MISMATCH], "it has no keys", True),
        (True, [GARBLED], "the handshake fails", True),
        (True, [UNKNOWN, LET_IN], "", False),
        (True, [UNKNOWN, BROKEN_OFF, BROKEN_OFF], "it does not know this key", True),
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
