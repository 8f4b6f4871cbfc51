"""Alarms posted to a web address."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO

from monitor.sanity.alarms.delivery import DeliveryError
from protocol.text import printable
from protocol.version import __version__

_AGAIN = (408, 425, 429)
"""Answers of a server that does not take it now, but may later; so do all from 500 on."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is sent elsewhere becomes a question without content: better say so than believe that it was taken."""

    def redirect_request(
        self,
        request: urllib.request.Request,
        answer: IO[bytes],
        code: int,
        text: str,
        headers: http.client.HTTPMessage,
        url: str,
    ) -> None:
        """Do not go there."""


class Webhook:
    """Posts JSON to `url`, http or https; an answer from 200 to 299 means that it was taken."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": f"apx-sanity/{__version__}",
            **headers,
        }
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirects)

    def __call__(self, body: bytes) -> None:
        """Send it; `DeliveryError` where it is not taken. `timeout_s` is for each step of it."""
        request = urllib.request.Request(self._url, data=body, headers=self._headers, method="POST")  # noqa: S310 - the configuration lets only http and https pass
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                return
        except urllib.error.HTTPError as error:
            error.close()
            final = error.code < 500 and error.code not in _AGAIN
            raise DeliveryError(f"the server answers {error.code} {_printable(error.reason)}", final=final) from None
        except urllib.error.URLError as error:
            raise DeliveryError(_printable(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(_printable(error) or type(error).__name__) from None


def _printable(what: object) -> str:
    return printable(str(what)[:200], "?")
