"""The server in the process of the test, on a stream that the test publishes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.websocket import WebSocketClientConnection, websocket_connect

from monitor.client import StreamClient
from monitor.detector import Geometry
from monitor.receiver import Receiver
from monitor.web.access import Access
from monitor.web.browsers import BrowserHub
from monitor.web.metrics import Metrics
from monitor.web.operator import Operator
from monitor.web.plot_context import Figures
from monitor.web.plots import PLOTS
from monitor.web.server import ServerContext, application
from monitor.web.snapshot import Snapshot
from monitor.web.updates import UpdateBuilder
from protocol.wire.alarms import Alarm
from tests.deadline import DEADLINE_S
from tests.monitor.publishing import TestPublisher
from tests.monitor.web.reading import Part, parts

FIGURES = Figures(PLOTS)


@dataclass
class Served:
    """A server that runs; `port` of this computer."""

    port: int
    hub: BrowserHub
    receiver: Receiver
    connections: list[WebSocketClientConnection] = field(default_factory=list)

    async def get(self, path: str, **headers: str) -> HTTPResponse:
        request = HTTPRequest(f"http://127.0.0.1:{self.port}{path}", headers=headers, follow_redirects=False)
        return await AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False)

    async def post(self, path: str, body: str, **headers: str) -> HTTPResponse:
        request = HTTPRequest(f"http://127.0.0.1:{self.port}{path}", "POST", headers, body)
        return await AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False)

    async def knock(self, **headers: str) -> int:
        """What a browser's websocket is answered, which is then not made: 426 where it could have been."""
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "7"}
        return (await self.get("/updates", **upgrade, **headers)).code

    async def browser(self, **headers: str) -> "TestBrowser":
        request = HTTPRequest(f"ws://127.0.0.1:{self.port}/updates", headers=headers)
        self.connections.append(await websocket_connect(request))
        return TestBrowser(self.connections[-1])

    async def narrow_browser(self, buffer_bytes: int) -> "TestBrowser":
        """One for which the system holds no more than that, however much it could: what it does not read stays here."""
        browser = await self.browser()
        protocol = browser.connection.protocol
        assert protocol is not None
        protocol.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        return browser


class TestBrowser:
    """Keeps the latest part of each kind, as the page does."""

    __test__ = False

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.latest: dict[str, Part] = {}
        self.messages: list[bytes] = []

    async def read(self) -> dict[str, Part]:
        """The parts of the next update."""
        message = await asyncio.wait_for(self.connection.read_message(), DEADLINE_S)
        assert isinstance(message, bytes), "the server has closed the connection"
        self.messages.append(message)
        came = parts(message)
        self.latest |= came
        return came

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until that holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self.read()

    def hits(self) -> int:
        """Hits in the maps of all chips."""
        return int(self.latest["chips@run"].columns["hits"].sum()) if self.latest else -1


@asynccontextmanager
async def serving(
    publisher: TestPublisher,
    *,
    access: Access | None = None,
    operator: Operator | None = None,
    figures: Figures = FIGURES,
    alarms: tuple[Alarm, ...] = (),
    words: Mapping[str, Callable[[], Mapping[str, Any]]] | None = None,
) -> AsyncIterator[Served]:
    """A server that is there for the block."""
    with Receiver(StreamClient(publisher.endpoint), Geometry()) as receiver:
        await asyncio.to_thread(publisher.wait_for_subscription)
        hub = BrowserHub(UpdateBuilder(receiver, figures.sources, words or {}))
        context = ServerContext(
            receiver,
            figures,
            hub,
            Metrics(receiver, lambda: hub.browsers, lambda: alarms),
            Snapshot(receiver),
            access or Access(None, loopback=True, tls=False),
            operator,
        )
        server = HTTPServer(application(context))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        telling = asyncio.create_task(hub.serve())
        served = Served(sockets[0].getsockname()[1], hub, receiver)
        try:
            yield served
        finally:
            for connection in served.connections:
                closed = connection.close_code is not None
                connection.close()
                async with asyncio.timeout(DEADLINE_S):
                    while not closed and await connection.read_message() is not None:
                        pass
            server.stop()
            telling.cancel()
            hub.close()
            await server.close_all_connections()
            await asyncio.gather(telling, return_exceptions=True)


def run(script: Callable[[], Awaitable[None]]) -> None:
    """Run a test that is a coroutine."""

    async def limited() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await script()

    asyncio.run(limited())
