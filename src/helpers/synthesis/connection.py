"""The line to a server that may be broken or hostile: its address, how long and how much it is
read.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import openai

from helpers.env import UserError

# The HTTP library below `openai`: `httpx`, or `httpx2` in later versions.
httpx = sys.modules[openai.DefaultHttpxClient.__base__.__module__.partition(".")[0]]

MOST_BYTES = 2**21  # of a reply: 30,000 tokens take a third of it even with every character escaped
MOST_ERROR_BYTES = 2**16  # of an error page


def check_address(address: str, variable: str) -> Any:
    """Return the URL of a server; raises UserError, which never shows the address, where none can
    be made of it.

    `variable` is the environment variable that holds the address. It may have a user and a
    password.
    """
    try:
        url, parts = httpx.URL(address), urlsplit(address)
        url.raw_host.decode("ascii").encode("idna")  # as the resolver does
        is_usable = parts.scheme in ("http", "https") and parts.port != 0
        is_usable = is_usable and parts.hostname in (url.host, url.raw_host.decode("ascii"))
        is_usable = is_usable and address.isprintable() and not re.search(r"[\s\\?#]", address)
    except (ValueError, httpx.InvalidURL):
        is_usable = False
    if not is_usable or not url.host:
        raise UserError(f"{variable} is no address: it should look like http://127.0.0.1:8000/v1.")
    return url


# --- one response ----------------------------------------------------------------------------------------------------


class Deadline:
    """A context that ends one HTTP request after some seconds, whatever the server sends until
    then.

    The timeouts of an HTTP client hold between two bytes only. `trace` is to be the request's
    extension of that name; it needs a connection of the request's own.
    """

    def __init__(self, seconds: float):
        self.is_over, self._socket, self._lock = False, None, threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_) -> None:
        self._timer.cancel()
        with self._lock:
            if self._socket:
                self._socket.close()
                self._socket = None

    def trace(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith("connect_tcp.complete"):
            with self._lock:
                # A duplicate: TLS detaches the original, and a handshake has to end in time as well.
                self._socket = info["return_value"].get_extra_info("socket").dup()
                self._shut_down()

    def _end(self) -> None:
        with self._lock:
            self.is_over = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self.is_over and self._socket:
            with suppress(OSError):  # the server has closed it
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes a read that waits; closing would not


def fetch(request: Any, send: Callable[..., Any], seconds: float) -> tuple[int, dict[str, str], bytes | None]:
    """Send a request and read its response within `seconds`; returns status, headers and body.

    The body is None where it is too long or cannot be decompressed. Redirects are not followed, so
    that the key stays with the server that it is for.
    """
    with Deadline(seconds) as deadline:
        request.extensions["trace"] = deadline.trace
        try:
            with closing(send(stream=True, follow_redirects=False)) as response:
                body = _read(response)
        except httpx.TransportError as error:
            if deadline.is_over:
                raise httpx.ReadTimeout("the time of the whole attempt is over") from error
            raise
        if deadline.is_over:  # a body of no stated length looks complete
            raise httpx.ReadTimeout("the time of the whole attempt is over")
    return response.status_code, dict(response.headers), body


def _read(response: Any) -> bytes | None:
    most, body = MOST_BYTES if response.is_success else MOST_ERROR_BYTES, bytearray()
    # A chunk of gzip grows a thousandfold at most; one of other encodings without a bound.
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", "gzip", "deflate"):
        return None
    try:
        for chunk in response.iter_bytes():
            if len(body) + len(chunk) > most:
                return None
            body += chunk
    except httpx.DecodingError:
        return None
    return bytes(body)
