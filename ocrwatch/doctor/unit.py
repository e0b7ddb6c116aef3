"""The installed systemd unit against the configuration: what its sandbox and its limits keep from the service.

Owns the reading of `systemctl show` and the drop-in that mends what it finds. Pure but for `installed`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ocrwatch import composition
from ocrwatch.doctor.findings import Finding, bad, ok, quoted, warn
from ocrwatch.settings import Configuration, InboxSettings
from ocrwatch.wording import size

UNIT = "ocrwatch.service"
_ANSWER_S = 10.0
_PROPERTIES = (
    *("LoadState", "ActiveState", "User", "SupplementaryGroups", "DynamicUser", "ProtectSystem", "ProtectHome", "PrivateTmp"),
    *("ReadWritePaths", "BindPaths", "StateDirectory", "CacheDirectory", "RuntimeDirectory", "LogsDirectory"),
    *("MemoryMax", "LimitNOFILE", "LimitNOFILESoft", "RestrictAddressFamilies", "IPAddressDeny", "IPAddressAllow"),
    *("PrivateDevices", "MemoryDenyWriteExecute", "Environment"),
)
SHOW = ("systemctl", "show", UNIT, "--no-pager", f"--property={','.join(_PROPERTIES)}")
_HOMES = ("/home", "/root", "/run/user")
_DIRECTORIES = {  # what the service has of its own, below these
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "RuntimeDirectory": "/run",
}
# As systemctl 252 prints them: "BindPaths" with no quotes whatever is in a path, other lists with those of a shell.
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_BOUND = re.compile(r"-?(?P<source>/.*?):(?P<there>(?P=source)|/.*?)(?::rbind)?(?= -?/|$)")
_OPERATING_SYSTEM = {"strict": ("/",), "full": ("/usr", "/boot", "/efi", "/etc"), "yes": ("/usr", "/boot", "/efi")}
_INSTALLED = Path(sys.prefix, "share", "ocrwatch")  # where `make install` puts the drop-ins
_CHECKOUT = Path(__file__).resolve().parents[2] / "systemd"
_PARENT_BYTES = 200 * 10**6
_FEW_FILES = 512
_DROP_IN = "/etc/systemd/system/ocrwatch.service.d"


@dataclass(frozen=True)
class Unit:
    """What systemd says of the service."""

    properties: Mapping[str, str]

    @staticmethod
    def shown(lines: str) -> Unit:
        """From what `SHOW` prints."""
        return Unit(dict(line.split("=", 1) for line in lines.splitlines() if "=" in line))

    @property
    def user(self) -> str | None:
        """Whom it runs as; None where that user exists only while it runs."""
        if self._is("DynamicUser"):
            return None
        return self.properties.get("User") or "root"

    @property
    def groups(self) -> tuple[str, ...]:
        """Its groups beyond those of the user."""
        return tuple(self.words("SupplementaryGroups"))

    @property
    def environment(self) -> dict[str, str]:
        """What `Environment=` gives it; a file of variables is not looked into."""
        return dict(word.split("=", 1) for word in self.words("Environment") if "=" in word)

    @property
    def is_active(self) -> bool:
        """Whether it runs."""
        return self.properties.get("ActiveState") in ("active", "reloading", "activating")

    def words(self, name: str) -> list[str]:
        """The parts of a list; not those of BindPaths."""
        return [plain or re.sub(r"\\(.)", r"\1", within) for within, plain in _WORD.findall(self.properties.get(name, ""))]

    def number(self, name: str) -> int | None:
        """A limit; None for none."""
        value = self.properties.get(name, "")
        return int(value) if value.isdigit() else None

    def may_write(self, path: Path) -> bool:
        """Whether its file system lets it write there. Mode bits are another matter."""
        own = [f"{above}/{name}" for key, above in _DIRECTORIES.items() for name in self.words(key)]
        granted = [word.lstrip("-+") for word in self.words("ReadWritePaths")]
        if any(path.is_relative_to(place) for place in (*own, *granted, *self._bound())):
            return self.may_see(path)
        read_only = [*_OPERATING_SYSTEM.get(self.properties.get("ProtectSystem", "no"), ())]
        read_only += _HOMES if self.properties.get("ProtectHome") == "read-only" else []
        return self.may_see(path) and not any(path.is_relative_to(place) for place in read_only)

    def may_see(self, path: Path) -> bool:
        """Whether it sees what the machine has there."""
        if any(path.is_relative_to(place) for place in self._bound()):
            return True
        hidden = list(_HOMES) if self.properties.get("ProtectHome") in ("yes", "tmpfs") else []
        hidden += ["/tmp", "/var/tmp"] if self._is("PrivateTmp") else []  # noqa: S108 - names of places, none is used
        return not any(path.is_relative_to(place) for place in hidden)

    def may_speak(self, family: str) -> bool:
        """Whether it may open sockets of an address family."""
        named = self.properties.get("RestrictAddressFamilies", "~")  # nothing but `~` where it is not set, nothing for `none`
        return (family in named.removeprefix("~").split()) is not named.startswith("~")

    def _bound(self) -> list[str]:
        """Where it sees what is bound for it."""
        return [found["there"] for found in _BOUND.finditer(self.properties.get("BindPaths", ""))]

    def _is(self, name: str) -> bool:
        return self.properties.get(name) == "yes"


def installed() -> Unit | None:
    """The unit, where this machine has systemd and the unit."""
    if shutil.which("systemctl") is None:
        return None
    try:
        done = subprocess.run(SHOW, capture_output=True, text=True, errors="replace", timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    unit = Unit.shown(done.stdout)
    return unit if done.returncode == 0 and unit.properties.get("LoadState") == "loaded" else None


def unit_findings(unit: Unit, settings: Configuration, *, aspose: bool, driver: bool) -> list[Finding]:
    """What the unit keeps from this configuration. aspose: it is wanted. driver: this machine has one for an NVIDIA GPU."""
    found = [
        *_paths(unit, settings),
        *_network(unit, settings),
        *_limits(unit, settings),
        *_memory_that_is_code(unit, settings, aspose=aspose, driver=driver),
    ]
    return found or [ok(f"{UNIT} lets the service at everything that is configured")]


def _paths(unit: Unit, settings: Configuration) -> Iterator[Finding]:
    wanted = wanted_paths(settings)
    unseen = [path for path in wanted if not unit.may_see(path)]
    refused = [path for path, is_written in wanted.items() if is_written and path not in unseen and not unit.may_write(path)]
    if refused:
        remedy = drop_in("inboxes", _setting("ReadWritePaths", refused))
        yield bad(f"{UNIT} lets the service write nothing to {_list(refused)}", remedy)
    if unseen:
        homes = [path for path in unseen if any(path.is_relative_to(home) for home in _HOMES)]
        others = [path for path in unseen if path not in homes]
        lines = ["ProtectHome=tmpfs", *_setting("BindPaths", homes)] if homes else []
        lines += ["PrivateTmp=no", *_setting("ReadWritePaths", others)] if others else []
        yield bad(f"{UNIT} hides {_list(unseen)} from the service", drop_in("hidden", lines))


def _setting(name: str, paths: list[Path]) -> list[str]:
    return [f"{name}={' '.join(_for_systemd(path, bound=name == 'BindPaths') for path in paths)}"]


def wanted_paths(settings: Configuration) -> dict[Path, bool]:
    """Every folder that the service has to come to, and whether it writes there."""
    wanted = {settings.state_dir: True}
    if settings.control_socket is not None:
        wanted[settings.control_socket.parent] = True
    for inbox in settings.inboxes:
        for what, path in places_of(inbox):
            wanted[path] = wanted.get(path, False) or what != "inbox" or writes_into(inbox)
    return wanted


def writes_into(inbox: InboxSettings) -> bool:
    """Whether anything is made or taken away in the inbox itself."""
    return inbox.output.directory is None or inbox.archive_to is not None or inbox.quarantine_to is not None


def places_of(inbox: InboxSettings) -> list[tuple[str, Path]]:
    """The folders of an inbox by what they are for: the inbox itself first, then the others that are configured."""
    others = (("texts", inbox.output.directory), ("archive", inbox.archive_to), ("quarantine", inbox.quarantine_to))
    return [("inbox", inbox.path), *((what, path) for what, path in others if path is not None)]


def _network(unit: Unit, settings: Configuration) -> Iterator[Finding]:
    denied, allowed = unit.words("IPAddressDeny"), unit.words("IPAddressAllow")
    reasons = []
    if settings.metrics.address is not None:
        family, loopback = ("AF_INET6", "::1/128") if ":" in settings.metrics.address[0] else ("AF_INET", "127.0.0.0/8")
        if not unit.may_speak(family) or (denied and loopback not in allowed):
            reasons.append(("metrics", "metrics are wanted (`metrics.listen`)", ["IPAddressAllow=localhost"]))
    if settings.model.download == "auto" and (denied or not unit.may_speak("AF_INET")):
        reasons.append(("network", "models are to be fetched (`model.download: auto`)", ["IPAddressDeny="]))
    for name, why, lines in reasons:
        remedy = drop_in(name, ["RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", *lines])
        yield bad(f"{why}, and {UNIT} lets the service use no network", remedy)


def _limits(unit: Unit, settings: Configuration) -> Iterator[Finding]:
    workers = composition.cores() if settings.ocr.workers == "auto" else settings.ocr.workers
    most = unit.number("MemoryMax")
    needed = workers * settings.ocr.page_memory + _PARENT_BYTES
    if most is not None and most < needed:
        yield warn(
            f"{UNIT} may hold {size(most)}; {workers} workers may want {size(needed)} "
            "by `ocr.page_memory`, and the model comes on top",
            drop_in("memory", [f"MemoryMax={-(-needed // 10**6)}M"]) + "; or fewer `ocr.workers`, or a smaller `ocr.page_memory`",
        )
    files = unit.number("LimitNOFILESoft") or unit.number("LimitNOFILE")
    if files is not None and files < _FEW_FILES:
        yield warn(f"{UNIT} may have {files} files open", drop_in("files", ["LimitNOFILE=4096"]))


def _memory_that_is_code(unit: Unit, settings: Configuration, *, aspose: bool, driver: bool) -> Iterator[Finding]:
    wants_gpu = (
        driver and settings.model.gpu_layers != 0 and any(composition.correction_plan(settings, i) for i in settings.inboxes)
    )
    is_denied = unit.properties.get("MemoryDenyWriteExecute") == "yes"
    if aspose and is_denied:
        yield bad(f"{UNIT} denies memory that Aspose's runtime needs", _shipped("aspose"))
    if wants_gpu and (is_denied or unit.properties.get("PrivateDevices") == "yes"):
        say = bad if settings.model.require_gpu else warn
        yield say(f"{UNIT} keeps the GPU from the service", _shipped("gpu"))


def _shipped(name: str) -> str:
    where = _INSTALLED if (_INSTALLED / f"{name}.conf").exists() else _CHECKOUT
    return f"install -Dm644 {quoted(where / name)}.conf -t {_DROP_IN}/ && {_TAKE}"


_TAKE = "systemctl daemon-reload && systemctl restart ocrwatch"


def drop_in(name: str, lines: list[str]) -> str:
    """The command that gives the unit these lines, beside those that an earlier one gave it."""
    words = " ".join(quoted(line) for line in ("[Service]", *lines))
    return f"mkdir -p {_DROP_IN} && printf '%s\\n' {words} >> {_DROP_IN}/{name}.conf && {_TAKE}"


def _for_systemd(path: Path, *, bound: bool = False) -> str:
    text = f"-{path}".replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if bound:  # else what follows a colon is the place where it is seen
        text = text.replace(":", "\\:")
    return f'"{text}"' if any(c.isspace() or c in "\"'\\" for c in text) else text


def _list(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))
