"""The alarms on a socket of their own (docs/wire.md, "Alarms")."""

import errno
from collections.abc import Sequence

import zmq

from astropix_runtime.sockets.endpoints import is_occupied
from monitor.errors import AlarmServiceError
from monitor.sanity.alarms.gatekeeper import Gatekeeper
from protocol.wire.alarms import Alarm, Alarms
from protocol.wire.messages import Topic, encode_body, encode_frames

HIGH_WATER = 100
"""Messages that wait for a slow subscriber: each has all there is to know, so a few are plenty."""


class AlarmPublisher:
    """Publishes at `endpoint`, to whom `gatekeeper` lets in. `started_ns`: what tells it from the one before.

    `AlarmServiceError` where the address cannot be had.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        endpoint: str,
        started_ns: int,
        gatekeeper: Gatekeeper | None = None,
    ) -> None:
        self._started_ns = started_ns
        self._sequence = 0
        self._socket: zmq.Socket[bytes] = context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 200)  # the last word, where it can be had at once
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        if gatekeeper is not None:
            gatekeeper.guard(self._socket, endpoint)
        try:
            if is_occupied(endpoint):
                raise zmq.ZMQError(errno.EEXIST)
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._socket.close(linger=0)
            raise AlarmServiceError(
                f"cannot publish alarms at {endpoint}: {zmq.strerror(error.errno or 0)}; "
                "is another apx-sanity running? Else choose another publish.bind"
            ) from None

    def publish(self, alarms: Sequence[Alarm], daq: str, run: int | None, pass_: int, now_ns: int) -> None:
        """Send all alarms there are; never waits."""
        payload = encode_body(Alarms(alarms=tuple(alarms)))
        seq, self._sequence = self._sequence, self._sequence + 1
        frames = encode_frames(
            Topic.ALARM, payload, daq=daq, pub=self._started_ns, seq=seq, t=now_ns, run=run, pass_=pass_
        )
        self._socket.send_multipart(frames, zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
