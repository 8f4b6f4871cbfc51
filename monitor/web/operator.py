"""What the operator may do from the page, who has the token for it. Not there at all unless it was asked for."""

import asyncio
import hmac
import json
import logging
from typing import Any

from tornado.web import HTTPError, RequestHandler

from astropix_runtime.errors import RequestError
from monitor.control import AlarmActions, AlarmCommand, Controller
from monitor.web.access import Access
from protocol.wire.alarms import MAX_ID_LETTERS

log = logging.getLogger(__name__)

TOKEN_HEADER = "X-Operator-Token"  # noqa: S105 - the name of a header, no token
MAX_BODY_BYTES = 4096
MAX_COMMENT_CHARACTERS = 1000
RUN_COMMANDS = {"start": ("comment",), "stop": ()}
"""Commands to the daemon for which the page has a button, and the arguments that it gives them."""


class Operator:
    """Knows the operator's token, and how to reach the daemon and the sanity checker, None: not to be commanded.

    One command at a time to the daemon.
    """

    def __init__(self, token: str, controller: Controller | None, actions: AlarmActions | None = None) -> None:
        self._token = token
        self._controller = controller
        self._actions = actions
        self._busy = asyncio.Lock()

    @property
    def runs(self) -> bool:
        """Whether runs can be started and stopped."""
        return self._controller is not None

    @property
    def alarms(self) -> bool:
        """Whether alarms can be acknowledged and silenced."""
        return self._actions is not None

    def knows(self, token: str) -> bool:
        """Whether that is the operator's token."""
        return hmac.compare_digest(token.encode(), self._token.encode())

    async def command(self, name: str, **args: Any) -> dict[str, Any]:
        """Result of a command to the daemon; `RequestError` where it refuses, or is not there."""
        if self._controller is None:
            raise RequestError("runs are not started and stopped from this page")
        async with self._busy:
            return await self._controller.call(name, **args)

    async def alarm_command(self, command: AlarmCommand, alarm: str) -> None:
        """Have the sanity checker do that; `RequestError` where it refuses, or is not there."""
        if self._actions is None:
            raise RequestError("alarms are not acknowledged from this page")
        await self._actions.act(command, alarm)


def control_routes(operator: Operator, access: Access) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """Routes of the page's commands: only those that somebody can execute."""
    options = {"operator": operator, "access": access}
    routes: list[tuple[str, type[RequestHandler], dict[str, Any]]] = []
    if operator.runs:
        routes.append((rf"/control/({'|'.join(RUN_COMMANDS)})", ControlHandler, options))
    if operator.alarms:
        routes.append((r"/alarms/(ack|silence|unsilence)", AlarmHandler, options))
    return routes


class OperatorHandler(RequestHandler):
    """A command, as a POST with JSON and the token in the header `X-Operator-Token`.

    A page of another site can send neither that header nor JSON without being asked for its origin first.
    """

    def initialize(self, operator: Operator, access: Access) -> None:
        """Called by Tornado."""
        self.operator = operator
        self._access = access

    async def prepare(self) -> None:
        """Refuse who may not look, who comes from another page, and who is no operator."""
        self._access.check(self)
        origin = self.request.headers.get("Origin")
        if origin is not None and not self._access.is_own_page(self, origin):
            raise HTTPError(403, reason="Not from another page")
        if not self.operator.knows(self.request.headers.get(TOKEN_HEADER, "")):
            log.warning("a command from %s without the operator's token was refused", self.request.remote_ip)
            raise HTTPError(403, reason="That is not the operator's token")

    def check_xsrf_cookie(self) -> None:
        """The header with the token does what such a cookie would."""

    def body(self) -> dict[str, Any]:
        """What was sent with it."""
        if len(self.request.body) > MAX_BODY_BYTES:
            raise HTTPError(413)
        try:
            body = json.loads(self.request.body or b"{}")
        except ValueError:
            raise HTTPError(400, reason="Not JSON") from None
        if not isinstance(body, dict):
            raise HTTPError(400, reason="Not an object")
        return body

    def refuse(self, error: Exception) -> None:
        """Who was asked refuses, or is not there."""
        self.set_status(409)
        self.finish({"ok": False, "message": str(error)})

    def write_error(self, status_code: int, **_: Any) -> None:
        """As the page expects it."""
        self.finish({"ok": False, "message": self._reason, "status": status_code})


class ControlHandler(OperatorHandler):
    """`POST /control/start` with `{"comment": …}`, `POST /control/stop`."""

    async def post(self, command: str) -> None:
        """Execute the command."""
        args = self._arguments() if RUN_COMMANDS[command] else {}
        log.info("%s from %s", command, self.request.remote_ip)
        try:
            result = await self.operator.command(command, **args)
        except RequestError as refusal:
            self.refuse(refusal)
            return
        self.finish({"ok": True, "run": result.get("run"), "state": result.get("state")})

    def _arguments(self) -> dict[str, Any]:
        comment = self.body().get("comment", "")
        if not isinstance(comment, str) or len(comment) > MAX_COMMENT_CHARACTERS:
            raise HTTPError(400, reason="No comment that can be taken")
        return {"comment": comment} if comment else {}


class AlarmHandler(OperatorHandler):
    """`POST /alarms/ack`, `/alarms/silence` (for an hour) and `/alarms/unsilence` with `{"id": …}` of an alarm."""

    async def post(self, command: AlarmCommand) -> None:
        """Execute the command."""
        alarm = self.body().get("id")
        if not isinstance(alarm, str) or not 0 < len(alarm) <= MAX_ID_LETTERS or not alarm.isprintable():
            raise HTTPError(400, reason="No id of an alarm")
        log.info("%s %s from %s", command, alarm, self.request.remote_ip)
        try:
            await self.operator.alarm_command(command, alarm)
        except RequestError as error:
            self.refuse(error)
            return
        self.finish({"ok": True, "message": ""})
