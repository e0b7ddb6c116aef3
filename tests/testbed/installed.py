"""ocrwatch as `make install` leaves it, run by a real systemd: configured, asked and looked at as an administrator would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.testbed.systemd_machine import SystemdMachine

CHECKOUT = "/opt/src"
MODEL = "/opt/model"
INBOX = "/srv/scans"
_CONFIG = "/etc/ocrwatch/config.yaml"
_INSTALL_S = 540.0
_PAUSE_S = 0.1

T = TypeVar("T")


def wait_until(true: Callable[[], T], *, timeout_s: float, what: Callable[[], str]) -> T:
    """The first true answer. Fails the test when none came within the bound; `what` then says what was waited for."""
    limit = time.monotonic() + timeout_s
    while not (answer := true()):
        assert time.monotonic() < limit, f"not within {timeout_s:g} s: {what()}"
        time.sleep(_PAUSE_S)
    return answer


class Installed:
    """The service in the machine. `run` and `path` reach into it."""

    def __init__(self, machine: SystemdMachine, model: Path) -> None:
        """model: a GGUF file in the folder that is bound to MODEL."""
        self._machine = machine
        self.run = machine.run
        self.path = machine.path
        self._settings: dict[str, Any] = {
            "inboxes": [{"path": INBOX, "settle": "300ms"}],
            "ocr": {"engine": "tesseract", "workers": 1},
            "model": {"path": f"{MODEL}/{model.name}", "idle_unload": "5m"},
        }

    def install(self) -> str:
        """`make install` of the checkout; what it printed."""
        return self._machine.run_outside(f"make -C {CHECKOUT} install", timeout_s=_INSTALL_S)

    def uninstall(self) -> str:
        """`make uninstall`; what it printed."""
        return self.run(f"make -C {CHECKOUT} uninstall")

    def configure(self, **changed: Any) -> None:
        """Write the configuration: the usual one, with these keys in place of its own."""
        self.path(_CONFIG).write_text(yaml.safe_dump({**self._settings, **changed}), encoding="utf-8")

    def configuration(self) -> dict[str, Any]:
        """The usual one."""
        return dict(self._settings)

    def drop_in(self, name: str, text: str) -> None:
        """Put a drop-in beside the unit."""
        file = self.path(f"/etc/systemd/system/ocrwatch.service.d/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        self.run("systemctl daemon-reload")

    def start(self) -> None:
        """`systemctl start`, which waits for it to be ready."""
        self._systemctl("start")

    def restart(self) -> None:
        """`systemctl restart`."""
        self._systemctl("restart")

    def _systemctl(self, verb: str) -> None:
        self.run(f"systemctl {verb} ocrwatch || {{ journalctl --unit=ocrwatch --no-pager --lines=30; exit 1; }}")

    def shown(self, name: str) -> str:
        """A property of the unit."""
        return self.run(f"systemctl show ocrwatch --value --property={name}").strip()

    @property
    def pid(self) -> int:
        """Its main process, as seen inside; 0 for none."""
        return int(self.shown("MainPID"))

    def status(self) -> dict[str, Any]:
        """`ocrwatch status --json`."""
        return dict(json.loads(self.run(f"ocrwatch status --config {_CONFIG} --json")))

    def why(self, path: str) -> dict[str, Any]:
        """`ocrwatch why --json` for a file of the inbox."""
        return dict(json.loads(self.run(f"ocrwatch why --config {_CONFIG} --json '{INBOX}/{path}'")))

    def wait_for_file(self, path: str, *states: str, timeout_s: float = 90.0) -> dict[str, Any]:
        """The answer of `why` once the file is in one of these states."""

        def there() -> dict[str, Any] | None:
            answer = self.why(path)
            return answer if answer["state"] in states else None

        found = wait_until(there, timeout_s=timeout_s, what=lambda: f"{path} {'/'.join(states)}: {self.why(path)}; {self.log()}")
        assert found is not None
        return found

    def wait_for(self, name: str, value: str, *, timeout_s: float) -> None:
        """Until a property of the unit has this value."""
        wait_until(
            lambda: self.shown(name) == value,
            timeout_s=timeout_s,
            what=lambda: f"{name}={value}: {self.shown(name)}; {self.log()}",
        )

    def records(self, *matches: str) -> list[dict[str, Any]]:
        """What journald holds of the service, with all fields. matches: as `journalctl` takes them."""
        self.run("journalctl --sync")
        words = " ".join(f"'{match}'" for match in matches)
        lines = self.run(f"journalctl --unit=ocrwatch --output=json --all --no-pager {words}").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def log(self) -> str:
        """The end of its log."""
        return self.run("journalctl --unit=ocrwatch --no-pager --lines=30", check=False)
