"""`apx-monitor serve`: everything put together."""

import argparse
import asyncio
import contextlib
import importlib.util
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from tornado.httpserver import HTTPServer

from astropix_runtime.process.signals import ended_by_signals
from astropix_runtime.sockets.endpoints import is_loopback
from monitor.alarm_receiver import AlarmReceiver, alarm_client
from monitor.client import StreamClient
from monitor.control import AlarmActions, Controller
from monitor.detector import Geometry
from monitor.errors import ListenError
from monitor.keys import client_keys, daemon_keys
from monitor.receiver import Receiver
from monitor.web.access import Access, AccessError, needed_token, read_token, tls_context
from monitor.web.browsers import BrowserHub
from monitor.web.metrics import Metrics
from monitor.web.operator import Operator
from monitor.web.plot_context import Figures, Plot, PlotError
from monitor.web.plots import PLOTS
from monitor.web.server import ServerContext, application
from monitor.web.snapshot import Snapshot
from monitor.web.updates import UpdateBuilder
from protocol.text import reason_of

_GATHER_S = 0.05
_END_WITHIN_S = 10
_MAX_BODY_BYTES = 64 << 10


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes; exit code. `MonitorError` where that cannot begin."""
    logging.basicConfig(level=logging.INFO, format="apx-monitor: %(levelname)s %(message)s")
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # who asks for what is nobody's business
    access, tls = _access(arguments)
    operator = _operator(arguments)
    figures = Figures((*PLOTS, *own_plots(arguments.plots)))
    keys = daemon_keys(arguments)
    client = StreamClient(arguments.connect, gather_s=_GATHER_S, history=arguments.history, **keys)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver(client, Geometry()))
        checker = alarm_client(arguments.alarms, arguments.alarms_server_key, arguments.key)
        alarms = stack.enter_context(AlarmReceiver(checker))
        hub = BrowserHub(UpdateBuilder(receiver, figures.sources, {"alarms": alarms.words}))
        context = ServerContext(
            receiver,
            figures,
            hub,
            Metrics(receiver, lambda: hub.browsers, lambda: alarms.present),
            Snapshot(receiver),
            access,
            operator,
        )
        asyncio.run(_serve(context, arguments.address, arguments.port, tls))
    return 0


async def _serve(context: ServerContext, address: str, port: int, tls: ssl.SSLContext | None) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    server = HTTPServer(application(context), ssl_options=tls, max_body_size=_MAX_BODY_BYTES)
    listening = _listen(address, port)
    server.add_socket(listening)
    telling = asyncio.create_task(context.hub.serve(), name="updates")
    with ended_by_signals(_from_signal(loop, ended), within_s=_END_WITHIN_S):
        _tell_where(context.access, address, listening.getsockname()[1])
        await ended.wait()
    server.stop()
    telling.cancel()
    context.hub.close()
    await server.close_all_connections()
    await asyncio.gather(telling, return_exceptions=True)


def _listen(address: str, port: int) -> socket.socket:
    """The socket that browsers connect to; `ListenError` where it cannot be had."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address.strip("[]"), port), family=family)
    except OSError as error:
        raise ListenError(
            f"cannot listen at {address} port {port}: {reason_of(error)}; choose another --port or --address"
        ) from None
    listening.setblocking(False)
    return listening


def _from_signal(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> Callable[[], None]:
    def end() -> None:
        with contextlib.suppress(RuntimeError):  # it has ended anyway
            loop.call_soon_threadsafe(ended.set)

    return end


def _tell_where(access: Access, address: str, port: int) -> None:
    """Print the address to open: the first line, whole as soon as the server answers."""
    host = "127.0.0.1" if address in ("0.0.0.0", "::", "localhost") else address  # noqa: S104 - compared, not bound
    host = f"[{host}]" if ":" in host else host
    token = "" if access.token is None else f"?token={access.token}"
    print(f"the page is at {'https' if access.tls else 'http'}://{host}:{port}/{token}", flush=True)


def _access(arguments: argparse.Namespace) -> tuple[Access, ssl.SSLContext | None]:
    if (arguments.cert is None) != (arguments.key_file is None):
        raise AccessError("--cert and --key-file go together")
    tls = None if arguments.cert is None else tls_context(arguments.cert, arguments.key_file)
    given = None if arguments.token_file is None else read_token(arguments.token_file)
    token = needed_token(arguments.address, given, tls=tls is not None, insecure=arguments.insecure)
    return Access(token, loopback=is_loopback(arguments.address), tls=tls is not None), tls


def _operator(arguments: argparse.Namespace) -> Operator | None:
    """Who may command; None, and no code that could, where nobody may."""
    commanded = arguments.control is not None or arguments.alarm_control is not None
    if commanded != (arguments.operator_token_file is not None):
        raise AccessError(
            "--operator-token-file goes with --control, --alarm-control or both: who may, and where to send commands"
        )
    if not commanded:
        return None
    return Operator(read_token(arguments.operator_token_file), _controller(arguments), _alarm_actions(arguments))


def _controller(arguments: argparse.Namespace) -> Controller | None:
    if arguments.control is None:
        return None
    keys = client_keys(**daemon_keys(arguments)) if arguments.control.startswith("tcp://") else None
    if arguments.control.startswith("tcp://") and keys is None:
        raise AccessError(f"{arguments.control} takes commands only with keys: give --server-key and --key")
    return Controller(arguments.control, keys)


def _alarm_actions(arguments: argparse.Namespace) -> AlarmActions | None:
    if arguments.alarm_control is None:
        return None
    return AlarmActions(arguments.alarm_control, "the page", arguments.alarms_server_key, arguments.key)


def own_plots(path: Path | None) -> tuple[Plot, ...]:
    """PLOTS of the user's own file."""
    if path is None:
        return ()
    specification = importlib.util.spec_from_file_location("own_plots", path)
    if specification is None or specification.loader is None:
        raise PlotError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules["own_plots"] = module
    try:
        specification.loader.exec_module(module)
        plots = tuple(module.PLOTS)
    except FileNotFoundError as error:
        raise PlotError(f"there is no file {error.filename}") from error
    except Exception as error:  # whatever a module of the user's does
        raise PlotError(f"{path}: {type(error).__name__}: {error}") from error
    if not all(isinstance(plot, Plot) for plot in plots):
        raise PlotError(f"{path}: PLOTS must be a list of monitor.web.plot_context.Plot")
    return plots
