"""Who may look: everybody on this computer; from others, who has the token, over TLS."""

import hmac
import secrets
import ssl
from http.cookies import CookieError
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler

from astropix_runtime.sockets.endpoints import is_loopback
from monitor.errors import MisuseError

COOKIE: Final = "astropix_monitor"
_COOKIE_DAYS = 30
_TOKEN_BYTES = 24
_LEAST_TOKEN = 16


class AccessError(MisuseError):
    """An address that is not to be served like this, a token or a certificate that cannot be used."""


def read_token(path: Path) -> str:
    """The token in a file: its first line; `AccessError` where there is none, or one that can be guessed."""
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"cannot read the token in {path}: {error}") from None
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise AccessError(
            f"{path} needs one line of {_LEAST_TOKEN} letters or more, like: openssl rand -hex 24 > {path}"
        )
    return token


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS with these files; `AccessError` where they cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise AccessError(f"cannot use {certificate} and {key} for TLS: {error}") from None
    return context


def needed_token(host: str, given: str | None, *, tls: bool, insecure: bool) -> str | None:
    """The token that browsers must have, None for none; `AccessError` where `host` is not to be served like this."""
    if given is not None and (tls or insecure or is_loopback(host)):
        return given
    if is_loopback(host) or insecure:
        return None
    if not tls:
        raise AccessError(
            f"{host} lets every machine on the network look: give --cert and --key-file (and browsers need a token), "
            "use 127.0.0.1 and an ssh tunnel, or write --insecure if that is meant"
        )
    return secrets.token_urlsafe(_TOKEN_BYTES)


class Access:
    """Lets requests in, or refuses them. `token`: None where none is needed; `loopback`: only this computer.

    The token is taken from the address (?token=…, once: then a cookie has it), from that cookie, or from
    `Authorization: Bearer …`, which programs send.
    """

    def __init__(self, token: str | None, *, loopback: bool, tls: bool) -> None:
        self.token = token
        self.tls = tls
        self._loopback = loopback

    def check(self, handler: RequestHandler) -> None:
        """Raise `HTTPError` for who may not look; remember who brings the token in the address."""
        # A page of another site whose name leads to 127.0.0.1 would be a page of our own to the browser.
        if self._loopback and not is_loopback(_host_name(handler.request.host)):
            raise HTTPError(403, reason="Open it as localhost or 127.0.0.1")
        if self.token is None or self._same(self._token_of(handler)):
            return
        if self._same(handler.get_query_argument("token", "")):
            handler.set_cookie(
                COOKIE, self.token, expires_days=_COOKIE_DAYS, httponly=True, secure=self.tls, samesite="Strict"
            )
            return
        raise HTTPError(403, reason="Open the address with its token that apx-monitor printed at its start")

    def _token_of(self, handler: RequestHandler) -> str:
        scheme, _, token = handler.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token
        try:
            return handler.get_cookie(COOKIE) or ""
        except CookieError:
            return ""

    def _same(self, token: str) -> bool:
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def is_own_page(self, handler: RequestHandler, origin: str) -> bool:
        """Whether a page from `origin` is one of ours."""
        return urlsplit(origin).netloc.lower() == handler.request.host.lower()


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
