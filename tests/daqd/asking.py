"""A client of the catch-up socket, as plain as one can be."""

import itertools
from types import TracebackType
from typing import Any, Self

import zmq

from protocol.wire.catch_up import CatchUpReply, HitsReply, Refusal, decode_catch_up_reply
from protocol.wire.messages import Request, encode_request
from tests.daqd.waiting import DEADLINE_S

_numbers = itertools.count()


class Asking:
    """A DEALER socket at `endpoint`, with ZeroMQ's `options`; a context manager."""

    def __init__(self, endpoint: str, **options: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        for name, value in {"LINGER": 0, **options}.items():
            self.socket.set(getattr(zmq, name), value)
        self.socket.connect(endpoint)

    def send(self, cmd: str, **args: Any) -> str:
        request = Request(id=f"request {next(_numbers)}", cmd=cmd, args=args)
        self.socket.send(encode_request(request))
        return request.id

    def reply(self) -> CatchUpReply:
        assert self.socket.poll(int(DEADLINE_S * 1000)), "no reply"
        return decode_catch_up_reply(self.socket.recv_multipart())

    def ask(self, cmd: str, **args: Any) -> CatchUpReply:
        request_id = self.send(cmd, **args)
        reply = self.reply()
        assert reply.id == request_id
        return reply

    def hits(self, run: int, first: int = 0, last: int | None = None, **args: Any) -> list[HitsReply]:
        """All replies, until there is no more."""
        replies: list[HitsReply] = []
        more = True
        while more:
            reply = self.ask("hits", run=run, first=first, last=last, **args)
            assert isinstance(reply, HitsReply), reply
            replies.append(reply)
            more = reply.header.more
            first = first if reply.header.readouts is None else reply.header.readouts[1] + 1
        return replies

    def refusal(self, cmd: str, **args: Any) -> str:
        """Code of the refusal."""
        reply = self.ask(cmd, **args)
        assert isinstance(reply, Refusal), reply
        return reply.code

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
