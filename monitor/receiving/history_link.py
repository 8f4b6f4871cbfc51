"""The connection to where the past can be asked for."""

import re
from typing import Any

import zmq

from astropix_runtime.sockets.key_files import ClientKeys
from astropix_runtime.sockets.request_client import secure_client
from monitor.errors import EndpointError
from protocol.errors import MessageError
from protocol.wire.catch_up import CatchUpReply, HitsArgs, RunsArgs, decode_catch_up_reply, hits_request, runs_request
from protocol.wire.messages import encode_request

MAX_FRAME_BYTES = 1 << 29
"""A frame that is longer is no reply of ours: one readout of the largest size, all hits."""

_TCP = re.compile(r"tcp://(?P<host>.+):(?P<port>\d+)")


def catch_up_endpoint(stream: str, announced: str | None) -> str:
    """Where to ask a daemon whose stream is at `stream`; `announced`: what it says, None: the port after the stream's.

    Of an announced TCP address the port counts: the daemon cannot know by what name, or through what tunnel, it is
    reached. `EndpointError` where nothing is announced and the stream has no port.
    """
    at = _TCP.fullmatch(stream)
    if announced is None:
        if at is None:
            raise EndpointError(f"{stream} does not tell where the past can be asked for: give catch_up")
        return f"tcp://{at['host']}:{int(at['port']) + 1}"
    told = _TCP.fullmatch(announced)
    return announced if at is None or told is None else f"tcp://{at['host']}:{told['port']}"


class HistoryLink:
    """A socket for requests and replies. `endpoint`: where it was last told to connect to; empty: nowhere yet."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", keys: ClientKeys | None) -> None:
        self._keys = keys
        self._connected = False
        self.endpoint = ""
        self.socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        options = {
            zmq.LINGER: 0,
            zmq.SNDHWM: 16,
            zmq.RCVHWM: 4,
            zmq.MAXMSGSIZE: MAX_FRAME_BYTES,
            zmq.IMMEDIATE: 1,  # nothing is kept for a server that is not there
            zmq.RECONNECT_IVL: 100,
            zmq.HEARTBEAT_IVL: 2000,
            zmq.HEARTBEAT_TIMEOUT: 10_000,
        }
        for option, value in options.items():
            self.socket.setsockopt(option, value)

    def connect(self, endpoint: str) -> None:
        """Connect there, instead of where it is connected to; does nothing where that is the same."""
        if endpoint == self.endpoint:
            return
        if self._connected:
            self.socket.disconnect(self.endpoint)
        self.endpoint, self._connected = endpoint, False
        try:
            if endpoint.startswith("tcp://"):
                secure_client(self.socket, self._keys)
            self.socket.connect(endpoint)
        except zmq.ZMQError:
            return  # no address: nobody will answer
        self._connected = True

    def ask(self, request_id: str, args: HitsArgs | RunsArgs) -> bool:
        """Send a request; False where there is nobody to send it to."""
        request = hits_request(request_id, args) if isinstance(args, HitsArgs) else runs_request(request_id, args)
        try:
            self.socket.send(encode_request(request), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def receive(self) -> CatchUpReply | None:
        """The next reply that has come and can be read; None where there is none."""
        while True:
            try:
                frames: list[Any] = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return None
            try:
                return decode_catch_up_reply(frames)
            except MessageError:
                continue  # as good as none: it will be asked again

    def close(self) -> None:
        """Close the connection; never waits."""
        self.socket.close(linger=0)
