"""An inbox with more folders than the kernel lets this user watch. To be run in a user namespace, whose limit is its own:

    unshare -U -r python -m tests.faults.few_watches FOLDER

Real events, listings and journal; the clock is moved here. Prints what was seen as a JSON object; status 2: no such limit here.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from ocrwatch.intake.arrivals import Arrivals, Hint
from ocrwatch.intake.ignore import NO_PATTERNS, is_ours
from ocrwatch.intake.mounts import MountTable
from ocrwatch.intake.surroundings import InboxRules, Surroundings
from ocrwatch.intake.territory import Territory
from ocrwatch.journal.journal import Journal
from ocrwatch.worker.access import LocalAccess
from ocrwatch.worker.share import Share
from tests.faults.waiting import FakeClock

_LIMIT = Path("/proc/sys/user/max_inotify_watches")
_FOLDERS = 50
_POLL_S, _RESCAN_S = 10.0, 100_000.0
_SCAN = b"%PDF-1.4\n1 0 obj\nendobj\ntrailer\nstartxref\n9\n%%EOF\n"


class _Stage:
    def __init__(self, folder: Path) -> None:
        self.inbox = folder / "inbox"
        for number in range(_FOLDERS):
            (self.inbox / str(number)).mkdir(parents=True)
        self.clock = FakeClock()
        self.hinted = threading.Event()
        self.journal = Journal(folder / "journal.db", wall_clock=FakeClock())
        self.table = MountTable()
        self.arrivals = Arrivals(self._on_hint, dropped=is_ours, table=self.table)
        self.lines: list[str] = []
        around = Surroundings(self.journal, self.arrivals, self.clock, lambda: None, lambda line, _: self.lines.append(line))
        rules = InboxRules("in", str(self.inbox), True, 1.0, 60.0, NO_PATTERNS, rescan_s=_RESCAN_S, poll_s=_POLL_S)
        self.territory = Territory(rules, "", share=Share(LocalAccess()), around=around, without=frozenset)

    def _on_hint(self, hint: Hint) -> None:
        self.territory.hint(hint.path, is_directory=hint.is_directory)
        self.hinted.set()

    def why_polling(self) -> str:
        return self.territory.status().why_polling

    def after(self, seconds: float) -> int:
        """How often it had something to do in that time."""
        end_s, steps = self.clock.now + seconds, 0
        while self.clock.now < end_s:
            steps += 1
            self.clock.now += min(max(self.territory.step(), 0.1), end_s - self.clock.now)
        return steps

    def put(self, name: str) -> None:
        self.hinted.clear()
        (self.inbox / name).write_bytes(_SCAN)

    def taken(self) -> list[str]:
        return sorted(path for folder in self.journal.directories("in") for path in self.journal.expected_in("in", folder))


def main() -> int:
    """See above."""
    stage = _Stage(Path(sys.argv[1]))
    try:
        _LIMIT.write_text("10", encoding="ascii")
    except OSError as error:
        sys.stderr.write(f"the limit cannot be set: {error}")
        return 2
    stage.after(1.0)
    seen: dict[str, object] = {"short": stage.why_polling()}
    stage.put("49/a.pdf")
    seen["steps"] = stage.after(4 * _POLL_S)
    seen["by polling"] = stage.taken()
    _LIMIT.write_text("1000", encoding="ascii")
    stage.after(100.0)
    seen["raised"] = stage.why_polling()
    stage.hinted.clear()
    stage.put("48/b.pdf")
    seen["hinted"] = stage.hinted.wait(20)
    stage.after(4.0)
    seen["by events"] = stage.taken()
    seen["lines"] = stage.lines
    sys.stdout.write(json.dumps(seen))
    stage.arrivals.stop()
    stage.table.close()
    stage.journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
