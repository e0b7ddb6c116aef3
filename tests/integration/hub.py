"""A small model hub on loopback: the few endpoints that the hub's library uses, and the faults that a real one shows.

GET  /api/models/REPO/revision/REV        what there is: commit, files, sizes, digests, licence
HEAD /REPO/resolve/REV/FILE               commit and digest of one file, redirect to its content
GET  /content/FILE                        the content, with ranges
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "example/small-model-GGUF"


class Fault(StrEnum):
    """What goes wrong."""

    NONE = "none"  # nothing
    NOT_FOUND = "not_found"  # there is no such repository
    NO_REVISION = "no_revision"  # the repository has no such branch
    CLOSED = "closed"  # a gated repository, and no token
    BUSY = "busy"  # 503 for everything
    CUT_ONCE = "cut_once"  # the first answer with content ends in its middle
    CUT = "cut"  # every answer with content ends in its middle, and no range brings more
    STALL = "stall"  # half of the content, then nothing, with the connection open
    WRONG_BYTES = "wrong_bytes"  # the right size, one byte another
    HUGE = "huge"  # the file is announced larger than any disk


@dataclass
class Hub:
    """The hub's content and behaviour; tests change it between requests. requests: method and path of all there were."""

    files: dict[str, bytes] = field(default_factory=dict)
    licence: dict[str, str] = field(default_factory=lambda: {"license": "apache-2.0"})
    fault: Fault = Fault.NONE
    url: str = ""
    requests: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def content_url(self) -> str:
        """Where content is: another host than the hub's, as real ones have it, so that it is not asked for metadata."""
        return self.url.replace("127.0.0.1", "localhost") + "/content"

    def size(self, name: str) -> int:
        """What the hub says that a file has."""
        return 10**16 if self.fault is Fault.HUGE else len(self.files[name])

    def description(self) -> bytes:
        """The answer to what there is."""
        siblings = [
            {
                "rfilename": name,
                "size": self.size(name),
                "lfs": {"sha256": digest(data), "size": self.size(name), "pointerSize": 130},
            }
            for name, data in self.files.items()
        ]
        return json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "cardData": self.licence}).encode()


def digest(data: bytes) -> str:
    """The sha256 in the form that hubs use."""
    return hashlib.sha256(data).hexdigest()


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, answering at `hub.url` until the block is left."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.ended.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        """Description or content."""
        if self._refused():
            return
        if self.path.startswith("/content/"):
            self._send_content(self.path.removeprefix("/content/"))
        elif self.path.startswith(f"/api/models/{REPOSITORY}/revision/"):
            body = self.hub.description()
            self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
            self.wfile.write(body)
        else:
            self._head(404, {"X-Error-Code": "RepoNotFound"})

    def do_HEAD(self) -> None:
        """Metadata of one file."""
        if self._refused():
            return
        name = self.path.split("/resolve/")[-1].partition("/")[2]
        if name not in self.hub.files:
            self._head(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{digest(self.hub.files[name])}"',
            "X-Linked-Size": str(self.hub.size(name)),
        }
        self._head(302, headers | {"Location": f"{self.hub.content_url}/{name}", "Content-Length": "0"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing: the tests look at `requests`."""

    def _refused(self) -> bool:
        self.hub.requests.append(f"{self.command} {self.path}")
        match self.hub.fault:
            case Fault.NOT_FOUND:
                self._head(404, {"X-Error-Code": "RepoNotFound"})
            case Fault.NO_REVISION:
                self._head(404, {"X-Error-Code": "RevisionNotFound"})
            case Fault.CLOSED:
                self._head(401, {"X-Error-Code": "GatedRepo"})
            case Fault.BUSY:
                self._head(503, {})
            case _:
                return False
        return True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_content(self, name: str) -> None:
        data = self.hub.files[name]
        if self.hub.fault is Fault.WRONG_BYTES:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        ranged = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        self._head(206 if start else 200, {"Content-Length": str(len(data) - start), **ranged})
        end = len(data)
        if self.hub.fault in (Fault.CUT, Fault.CUT_ONCE, Fault.STALL):
            end = len(data) // 2
        self.wfile.write(data[start:end])
        if self.hub.fault is Fault.CUT_ONCE:
            self.hub.fault = Fault.NONE
        elif self.hub.fault is Fault.STALL:
            self.hub.ended.wait()
