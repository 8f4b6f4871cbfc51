"""A refusal of a call that was given up is no answer to the next one: for every client of a control socket."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from daqd.control import ControlClient
from monitor.control import CheckerClient, Controller
from protocol.wire.messages import Reply, decode_request, encode_reply
from tests.deadline import DEADLINE_S

REFUSAL = Reply.refuse("of a call before", "running", "run 42 is being taken: stop it first")


@contextmanager
def slow_server() -> Iterator[str]:
    """Answers one request: with a refusal of another one first, then with its name."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        server.set(zmq.LINGER, 1000)
        port = server.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            assert server.poll(DEADLINE_S * 1000)
            client, frame = server.recv_multipart()
            request = decode_request(frame)
            for reply in (REFUSAL, Reply(id=request.id, ok=True, result={"said": request.cmd})):
                server.send_multipart([client, encode_reply(reply)])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{port}"
        thread.join()


def ask_daemon(endpoint: str) -> dict[str, Any]:
    with ControlClient(endpoint, DEADLINE_S) as client:
        return client.call("status")


def ask_checker(endpoint: str) -> dict[str, Any]:
    with CheckerClient(endpoint, DEADLINE_S) as client:
        return client.call("status")


def ask_for_the_page(endpoint: str) -> dict[str, Any]:
    return asyncio.run(Controller(endpoint, timeout_s=DEADLINE_S).call("status"))


@pytest.mark.parametrize("ask", [ask_daemon, ask_checker, ask_for_the_page])
def test_a_refusal_of_an_earlier_call_is_passed_over(ask: Callable[[str], dict[str, Any]]) -> None:
    with slow_server() as endpoint:
        assert ask(endpoint) == {"said": "status"}
