"""Where Prometheus finds the figures: GET /metrics at an address of this machine, one request at a time.

Owns the socket and its thread. What is told is `metrics`' matter. A caller has seconds to ask and seconds to listen, so that one
who dawdles keeps no other waiting for long, and costs no second thread.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ocrwatch.errors import Infrastructure, OcrwatchError
from ocrwatch.journal.history import History
from ocrwatch.service.metrics import Metrics, Sources

log = logging.getLogger(__name__)

PATH = "/metrics"
_PATIENCE_S = 5.0  # for the question, and again for the answer to be taken
_FAREWELL_S = 0.5  # for a scrape in hand; one that is cut off is the caller's to repeat
_LONGEST_QUESTION_BYTES = 16_384


@contextlib.contextmanager
def told(address: tuple[str, int], sources: Sources, *, journal: Path) -> Iterator[None]:
    """The figures are to be had meanwhile. What keeps them from it is logged, and keeps no file from its text."""
    with contextlib.ExitStack() as parts:
        try:
            history = History(journal, wall_clock=sources.wall_clock, read_only=True)
            parts.callback(history.close)
            parts.callback(Exporter(address, Metrics(sources, history)).close)
        except OcrwatchError as error:
            log.error("%s; there are none until the next start or reload", error)
        else:
            log.info("metrics at http://%s%s", _written(address), PATH)
        yield


class Exporter:
    """Tells the figures of a collector until it is closed. Raises Infrastructure when it cannot listen."""

    def __init__(self, address: tuple[str, int], collector: Collector) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self._stopping = threading.Event()
        try:
            self._server = _Server(address, registry)
        except OSError as error:
            message = f"metrics cannot be told at {_written(address)}: {error.strerror or error}"
            remedy = f"see who has the port (ss -ltnp 'sport = :{address[1]}'), or set `metrics.listen` to another"
            raise Infrastructure(message, remedy) from error
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port, *_ = self._server.server_address
        return str(host), int(port)

    def close(self) -> None:
        """Listen no more."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join(timeout=_FAREWELL_S)
        self._server.server_close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._server.handle_request()


class _Server(socketserver.TCPServer):
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], registry: CollectorRegistry) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.registry = registry
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One request's trouble is not the next one's."""
        if isinstance(sys.exception(), OSError):
            log.debug("a request for metrics broke off", exc_info=True)
        else:
            log.exception("a request for metrics failed")


class _Handler(BaseHTTPRequestHandler):
    """Any other method than GET is answered with 501 by the class above."""

    server: _Server
    server_version = "ocrwatch"
    sys_version = ""

    def setup(self) -> None:
        """Take in the question as a whole, within its time: a caller may send it byte by byte."""
        super().setup()
        self.rfile = io.BufferedReader(io.BytesIO(_question(self.connection)))
        self.connection.settimeout(_PATIENCE_S)

    def do_GET(self) -> None:
        """The figures."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        body = encode(self.server.registry)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is the class's
        """A scrape every few seconds is no news."""


def _question(connection: socket.socket) -> bytes:
    """What a caller sends up to the blank line. Raises OSError when that takes too long."""
    said, limit = b"", time.monotonic() + _PATIENCE_S
    while b"\r\n\r\n" not in said and len(said) < _LONGEST_QUESTION_BYTES:
        connection.settimeout(max(0.001, limit - time.monotonic()))
        if not (more := connection.recv(4096)):
            break
        said += more
    return said


def _written(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
