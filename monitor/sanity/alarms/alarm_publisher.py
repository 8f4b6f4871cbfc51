"""The alarms on a socket of their own (docs/wire.md, "Alarms")."""

from collections.abc import Sequence

import zmq

from astropix_runtime.sockets.key_files import ServerKeys
from astropix_runtime.sockets.listening_socket import ListeningSocket, Purpose
from monitor.errors import AlarmServiceError
from protocol.wire.alarms import Alarm, Alarms
from protocol.wire.messages import Topic, encode_body, encode_frames

HIGH_WATER = 100
"""Messages that wait for a slow subscriber: each has all there is to know, so a few are plenty."""

_PURPOSE = Purpose(
    name="the sanity checker",
    verb="publish alarms",
    way_out="is another apx-sanity running? Else choose another publish.bind",
    failure=AlarmServiceError,
)


class AlarmPublisher:
    """Publishes at `endpoint`, with `keys` to those who have one. `started_ns`: what tells it from the one before.

    `AlarmServiceError` where the address cannot be had.
    """

    def __init__(self, endpoint: str, started_ns: int, keys: ServerKeys | None = None) -> None:
        self._started_ns = started_ns
        self._sequence = 0
        # Linger: the last word, where it can be had at once.
        options: dict[int, int] = {zmq.LINGER: 200, zmq.SNDHWM: HIGH_WATER}
        self._listening = ListeningSocket(zmq.PUB, endpoint, _PURPOSE, options, keys)

    def publish(self, alarms: Sequence[Alarm], daq: str, run: int | None, pass_: int, now_ns: int) -> None:
        """Send all alarms there are; never waits."""
        payload = encode_body(Alarms(alarms=tuple(alarms)))
        seq, self._sequence = self._sequence, self._sequence + 1
        frames = encode_frames(
            Topic.ALARM, payload, daq=daq, pub=self._started_ns, seq=seq, t=now_ns, run=run, pass_=pass_
        )
        self._listening.socket.send_multipart(frames, zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._listening.close()
