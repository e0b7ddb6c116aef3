"""A worker that draws by the book: page 1 is an image, page 2 hangs, page 3 ends the process, page 4 is no image, 5 and more are.

Run in place of `ocrwatch.ocr.picture_worker`.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping

from ocrwatch.worker import child
from ocrwatch.worker.child import Message


def _open(request: Message) -> Message:
    os.close(request["descriptor"])
    return {"pages": 9}


def _picture(request: Message) -> Message:
    page = request["page"]
    if page == 2:
        time.sleep(600)
    if page == 3:
        os._exit(7)
    data = b'"><script>alert(1)</script>' if page == 4 else b"RIFF....WEBP"
    return {"data": base64.b64encode(data).decode("ascii"), "width_px": 10, "height_px": 20}


def start(_: Message) -> tuple[Message, Mapping[str, child.Handler]]:
    """Nothing is confined: nothing is read."""
    return {}, {"open": _open, "picture": _picture}


if __name__ == "__main__":
    child.serve(start)
