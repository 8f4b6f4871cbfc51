"""The web server: the page, its figures, its updates, and what programs ask for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import bokeh
from tornado.web import Application, HTTPError, RequestHandler

from monitor.receiver import Receiver
from monitor.web.access import Access
from monitor.web.browsers import MAX_REQUEST_BYTES, BrowserHub, BrowserSocket
from monitor.web.metrics import CONTENT_TYPE, Metrics
from monitor.web.operator import Operator, control_routes
from monitor.web.plot_context import Figures, Style
from monitor.web.snapshot import Snapshot

_PING_S = 20
_PAGE: Final = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"} | {
    f"{name}.js": "text/javascript" for name in ("stream", "figures", "colours", "panels", "operator")
}
_BOKEH_JS = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    # BokehJS writes style elements into the page, which hold nothing of what the stream says.
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What there is to serve. `operator`: None where the page only looks."""

    receiver: Receiver
    figures: Figures
    hub: BrowserHub
    metrics: Metrics
    snapshot: Snapshot
    access: Access
    operator: Operator | None = None


def application(context: ServerContext) -> Application:
    """All routes. Without an operator there is none that commands."""
    handed: dict[str, Any] = {"context": context}
    routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = [
        (r"/", PageHandler, handed),
        (r"/page/([a-z]+\.(?:js|css|svg))", AssetHandler, handed),
        (r"/bokeh\.js", BokehHandler, handed),
        (r"/figures\.json", FiguresHandler, handed),
        (r"/updates", BrowserSocket, {"hub": context.hub, "access": context.access}),
        (r"/state\.json", StateHandler, handed),
        (r"/metrics", MetricsHandler, handed),
        (r"/snapshot\.png", SnapshotHandler, handed),
        (r"/health", HealthHandler, handed),
    ]
    if context.operator is not None:
        routes += control_routes(context.operator, context.access)
    return Application(
        list(routes),
        default_handler_class=NotFoundHandler,
        default_handler_args=handed,
        websocket_max_message_size=MAX_REQUEST_BYTES,
        websocket_ping_interval=_PING_S,
        websocket_ping_timeout=_PING_S,
    )


class GuardedHandler(RequestHandler):
    """Answers only who may look, in plain words."""

    def initialize(self, context: ServerContext) -> None:
        """Called by Tornado."""
        self.context = context

    async def prepare(self) -> None:
        """Refuse who may not look."""
        self.context.access.check(self)

    def set_default_headers(self) -> None:
        """What browsers are to be set_security_headers with."""
        set_security_headers(self)

    def write_error(self, status_code: int, **_: Any) -> None:
        """One line."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {self._reason}\n")


def set_security_headers(handler: RequestHandler) -> None:
    """Headers for every answer."""
    handler.set_header("Server", "apx-monitor")
    handler.set_header("Content-Security-Policy", _POLICY)
    handler.set_header("X-Content-Type-Options", "nosniff")
    handler.set_header("Referrer-Policy", "no-referrer")
    handler.set_header("Cache-Control", "no-store")


class NotFoundHandler(GuardedHandler):
    """Everything that is not there."""

    async def prepare(self) -> None:
        """Say so, but only to who may look."""
        await super().prepare()
        raise HTTPError(404)


class PageHandler(GuardedHandler):
    """The page itself: the same for all; plots by name, title and size, whether it may command."""

    def get(self) -> None:
        """The page; who brings the token in the address is sent on, so that it does not stay there."""
        if self.get_query_argument("token", None) is not None:
            self.redirect("/")
            return
        plots = [
            {"name": plot.name, "title": plot.title, "size": plot.size, "about": plot.about}
            for plot in self.context.figures.plots
        ]
        sources = [
            {"name": source.name, "of": source.of, "counts": source.counts, "selected": source.selected}
            for source in self.context.figures.sources
        ]
        operator = self.context.operator
        may = {name: operator is not None and getattr(operator, name) for name in ("runs", "alarms")}
        told = {"plots": plots, "sources": sources, "operator": may}
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_asset("index.html").replace(b"{{told}}", _in_html(told)))


def _in_html(value: Any) -> bytes:
    """JSON that is safe inside of a script element."""
    text = json.dumps(value)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text.encode()


class AssetHandler(GuardedHandler):
    """Scripts and style of the page."""

    def get(self, name: str) -> None:
        """One of them."""
        if name not in _PAGE:
            raise HTTPError(404)
        self.set_header("Content-Type", f"{_PAGE[name]}; charset=utf-8")
        self.finish(_asset(name))


class BokehHandler(GuardedHandler):
    """BokehJS, out of Bokeh's wheel: a laboratory's network has no internet."""

    def get(self) -> None:
        """Compressed where the browser likes that, and kept by it as long as Bokeh is the same."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "private, max-age=86400")
        self.finish(_bokeh_js())

    def compute_etag(self) -> str:
        """The version."""
        return f'"{bokeh.__version__}"'


@cache
def _bokeh_js() -> bytes:
    return _BOKEH_JS.read_bytes()


@cache
def _asset(name: str) -> bytes:
    return (files("monitor.web") / "page" / name).read_bytes()


class FiguresHandler(GuardedHandler):
    """The figures, as Bokeh describes them, in the style that is asked for."""

    def get(self) -> None:
        """All of them; refused where the style is none."""
        wanted = {}
        for name, kind in get_type_hints(Style).items():
            value = self.get_query_argument(name, get_args(kind)[0])
            if value not in get_args(kind):
                raise HTTPError(400, reason=f"No such {name}")
            wanted[name] = value
        self.set_header("Content-Type", "application/json")
        self.finish(self.context.figures.as_json(Style(**wanted)))


class StateHandler(GuardedHandler):
    """Everything as JSON, for programs."""

    def get(self) -> None:
        """As `apx-monitor watch --once --json` prints it."""
        receiver = self.context.receiver
        with receiver.state() as state:
            snapshot = state.snapshot(receiver.counters)
        self.set_header("Content-Type", "application/json")
        self.finish(snapshot.model_dump_json())


class MetricsHandler(GuardedHandler):
    """For Prometheus."""

    def get(self) -> None:
        """All metrics."""
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self.context.metrics.text())


class SnapshotHandler(GuardedHandler):
    """A picture."""

    async def get(self) -> None:
        """As it looks now."""
        self.set_header("Content-Type", "image/png")
        self.finish(await self.context.snapshot.png())


class HealthHandler(GuardedHandler):
    """Whether the server is there, for who watches over it."""

    def get(self) -> None:
        """Said at once."""
        told: Mapping[str, Any] = {"ok": True, "browsers": self.context.hub.browsers}
        self.finish(dict(told))
