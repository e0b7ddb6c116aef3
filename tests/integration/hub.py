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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
REPOSITORY = "example/small-model-GGUF"
TOKEN = "hf_the_right_token"
API, RESOLVE, CONTENT = "/api/", f"/{REPOSITORY}/", "/content/"
"""How the paths begin by which the hub is asked what there is, where a file is, and for its content."""

_SLOW_PIECES, _SLOW_WAIT_S = 12, 0.25


class Fault(StrEnum):
    """What goes wrong."""

    NONE = "none"  # nothing
    NOT_FOUND = "not_found"  # there is no such repository
    NO_REVISION = "no_revision"  # the repository has no such branch
    CLOSED = "closed"  # a gated repository, and no token
    TOKEN = "token"  # a gated repository, open to whoever sends the right token
    UNAUTHORIZED = "unauthorized"  # 401 without a word of the hub's own, as proxies and mirrors send it
    FORBIDDEN = "forbidden"  # 403, as a token without rights gets it, or an address of content that has run out
    TOO_MANY = "too_many"  # 429 with the time to wait
    BROKEN = "broken"  # 500
    BAD_GATEWAY = "bad_gateway"  # 502
    BUSY = "busy"  # 503
    PORTAL = "portal"  # the page on which a network wants a password, in place of every answer
    CUT_ONCE = "cut_once"  # the first answer with content ends in its middle
    CUT = "cut"  # every answer with content ends in its middle, and no range brings more
    STALL = "stall"  # half of the content, then nothing, with the connection open
    SLOW = "slow"  # the content in small pieces, for three seconds in all
    WRONG_BYTES = "wrong_bytes"  # the right size, one byte another
    HUGE = "huge"  # the file is announced larger than any disk
    NO_DIGEST = "no_digest"  # in place of each sha256 a path that leads out of the cache


_STATUSES = {
    Fault.UNAUTHORIZED: 401,
    Fault.FORBIDDEN: 403,
    Fault.TOO_MANY: 429,
    Fault.BROKEN: 500,
    Fault.BAD_GATEWAY: 502,
    Fault.BUSY: 503,
}


@dataclass
class Hub:
    """The hub's content and behaviour; tests change it between requests.

    where: how the paths begin that the fault refuses. wait: what goes with TOO_MANY, by header. commit: what `main` is.
    lasts: how often a status is answered before the fault is over.
    at_half: called once, between the two halves of the next content. requests: method and path of all there were.
    authorizations: the path of each request, and the header of that name or none.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    licence: dict[str, str] = field(default_factory=lambda: {"license": "apache-2.0"})
    fault: Fault = Fault.NONE
    where: str = "/"
    wait: dict[str, str] = field(default_factory=lambda: {"Retry-After": "3600"})
    lasts: int = 10**6
    commit: str = COMMIT
    at_half: Callable[[], None] | None = None
    url: str = ""
    requests: list[str] = field(default_factory=list)
    authorizations: list[tuple[str, str | None]] = field(default_factory=list)
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
                "lfs": {
                    "sha256": digest(data) if self.fault is not Fault.NO_DIGEST else "../../../victim",
                    "size": self.size(name),
                    "pointerSize": 130,
                },
            }
            for name, data in self.files.items()
        ]
        return json.dumps({"id": REPOSITORY, "sha": self.commit, "siblings": siblings, "cardData": self.licence}).encode()


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
            self._head(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.hub.commit})
            return
        headers = {
            "X-Repo-Commit": self.hub.commit,
            "X-Linked-Etag": f'"{digest(self.hub.files[name])}"',
            "X-Linked-Size": str(self.hub.size(name)),
        }
        self._head(302, headers | {"Location": f"{self.hub.content_url}/{name}", "Content-Length": "0"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing: the tests look at `requests`."""

    def _refused(self) -> bool:
        self.hub.requests.append(f"{self.command} {self.path}")
        self.hub.authorizations.append((self.path, self.headers["Authorization"]))
        if not self.path.startswith(self.hub.where):
            return False
        match self.hub.fault:
            case Fault.NOT_FOUND:
                self._head(404, {"X-Error-Code": "RepoNotFound"})
            case Fault.NO_REVISION:
                self._head(404, {"X-Error-Code": "RevisionNotFound"})
            case Fault.CLOSED:
                self._head(401, {"X-Error-Code": "GatedRepo"})
            case Fault.TOKEN if self._is_stranger():
                self._head(401, self._why_closed())
            case Fault.PORTAL:
                self._head(200, {"Content-Type": "text/html", "Content-Length": "7"})
                self.wfile.write(b"<html/>" if self.command == "GET" else b"")
            case fault if fault in _STATUSES:
                self.hub.lasts -= 1
                self.hub.fault = fault if self.hub.lasts else Fault.NONE
                self._head(_STATUSES[fault], self.hub.wait if fault is Fault.TOO_MANY else {})
            case _:
                return False
        return True

    def _is_stranger(self) -> bool:
        # Content lies elsewhere, at an address that is the permission itself.
        return not self.path.startswith(CONTENT) and self.headers["Authorization"] != f"Bearer {TOKEN}"

    def _why_closed(self) -> dict[str, str]:
        if self.headers["Authorization"]:
            return {"X-Error-Message": "Invalid credentials in Authorization header"}
        return {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted"}

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
        with contextlib.suppress(ConnectionError):  # whoever asked was killed, or has no room
            self._write(data, start)

    def _write(self, data: bytes, start: int) -> None:
        middle = max(start, len(data) // 2)
        if self.hub.fault is Fault.SLOW:
            self._write_slowly(data[start:])
            return
        self.wfile.write(data[start:middle])
        if self.hub.fault is Fault.CUT_ONCE:
            self.hub.fault = Fault.NONE
        elif self.hub.fault is Fault.STALL:
            self.hub.ended.wait()
        elif self.hub.fault is not Fault.CUT:
            at_half, self.hub.at_half = self.hub.at_half, None
            if at_half is not None:
                at_half()
            self.wfile.write(data[middle:])

    def _write_slowly(self, data: bytes) -> None:
        size = len(data) // _SLOW_PIECES + 1
        for begin in range(0, len(data), size):
            self.wfile.write(data[begin : begin + size])
            self.hub.ended.wait(_SLOW_WAIT_S)
