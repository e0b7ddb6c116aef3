"""A private copy of OpenSSL 1.1 for the Aspose worker: where it is found, and the program that fetches it.

    python -m ocrwatch.tools.openssl11 [DIR]

Aspose's .NET runtime wants OpenSSL 1.1, which current distributions no longer carry, and aborts the process without it.
The two libraries are unpacked from Debian bullseye's security archive into a folder of their own, by the machine's apt with
private lists and caches: nothing is installed, and apt's configuration is only read (mirror and proxy are the machine's own).
OpenSSL 1.1 is past its end of life: only the Aspose worker loads it, and that opens no network connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ocrwatch.errors import MissingPart, OcrwatchError, UsageError

OVERRIDE = "OCRWATCH_OPENSSL11"
"""Environment variable: the folder to use, instead of any search."""

SYSTEM_FOLDER = Path("/opt/ocrwatch/openssl-1.1")
PACKAGE = "libssl1.1"
SUITE = "bullseye-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# The libraries of libssl1.1 1.1.1w-0+deb11u8 (amd64), the last that the suite got. In the order in which they must be loaded.
LIBRARIES = {
    "libcrypto.so.1.1": "783f803ec035e11f81571957a27ae882a51d96c7c2f8ea47929ae89bada69d0e",
    "libssl.so.1.1": "13bbf733c6f15565a8999c19678d5c5d74e087c9b5bd9aa86a368d7075233207",
}

_LIBRARY_FOLDER = Path("usr/lib/x86_64-linux-gnu")
_DISTRIBUTION_FOLDERS = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"))
_APT_LIMIT_S = 300
_RELEASE_URI = re.compile(r"^'(?P<base>\S+)/dists/(?P<suite>[^/\s]+)\S*/(?:In)?Release'", re.MULTILINE)


def find_openssl(explicit: Path | None = None) -> Path | None:
    """The folder that holds both libraries of OpenSSL 1.1, or None.

    Looked for in `explicit`, else where the environment variable OCRWATCH_OPENSSL11 says, else in the default folders and
    where a distribution that still has them keeps them. A place that is named excludes the others.
    """
    named = named_folder(explicit)
    folders = (named,) if named else (_own_folder(), SYSTEM_FOLDER, user_folder(), *_DISTRIBUTION_FOLDERS)
    return next((folder for folder in folders if all((folder / name).is_file() for name in LIBRARIES)), None)


def named_folder(explicit: Path | None = None) -> Path | None:
    """The only folder that is looked at, where one is named: `explicit`, else by the environment variable OCRWATCH_OPENSSL11."""
    return explicit or (Path(os.environ[OVERRIDE]) if os.environ.get(OVERRIDE) else None)


def fetch_command(explicit: Path | None) -> str:
    """The command that puts both libraries where `find_openssl` looks for them first, but never among those of a distribution."""
    folder = named_folder(explicit)
    if folder is None or folder in _DISTRIBUTION_FOLDERS:
        folder = _own_folder() if _is_installed() else None
    return shlex.join([sys.executable, "-m", "ocrwatch.tools.openssl11", *([str(folder)] if folder else [])])


def _own_folder() -> Path:
    """Where an installed ocrwatch keeps the copy, for whoever runs it."""
    return Path(sys.prefix, "openssl-1.1")


def _is_installed() -> bool:
    return Path(sys.prefix, "share", "ocrwatch").is_dir()  # by `make install`; a checkout has an environment without


def user_folder() -> Path:
    """Where a user without root rights keeps the copy."""
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return Path(data, "ocrwatch", "openssl-1.1")


def default_folder() -> Path:
    """Where `fetch` puts the copy when it is told no place."""
    return SYSTEM_FOLDER if os.geteuid() == 0 else user_folder()


def fetch(folder: Path) -> bool:
    """Put the two libraries into `folder`; False when they were there already.

    Raises MissingPart when they cannot be had, with what to do by hand.
    """
    if is_whole(folder):
        return False
    if platform.machine() != "x86_64":
        raise MissingPart(f"OpenSSL 1.1 is fetched for x86_64 only, this machine is {platform.machine()}", "use Tesseract")
    with tempfile.TemporaryDirectory(prefix="ocrwatch-openssl-") as scratch:
        unpacked = _download(Path(scratch), folder)
        for name, expected in LIBRARIES.items():
            if _sha256(unpacked / _LIBRARY_FOLDER / name) != expected:
                raise MissingPart(f"{name} of the package {PACKAGE} is not the one that was checked", _by_hand(folder))
        _install(unpacked, folder)
    return True


def is_whole(folder: Path) -> bool:
    """Whether the folder holds exactly the libraries that are pinned here."""
    return all((folder / name).is_file() and _sha256(folder / name) == digest for name, digest in LIBRARIES.items())


def release_bases(uris: str) -> list[str]:
    """Archives that may carry the suite, best first, from what `apt-get --print-uris update` prints."""
    found = [(match["base"], match["suite"]) for match in _RELEASE_URI.finditer(uris)]
    security = [base for base, suite in found if suite.endswith("-security")]
    beside = [f"{base}-security" for base, _ in found if base.endswith("/debian")]
    return list(dict.fromkeys([*security, *beside]))


def _download(scratch: Path, folder: Path) -> Path:
    for name in ("apt-get", "dpkg-deb"):
        if shutil.which(name) is None:
            raise MissingPart(f"this machine has no {name} to fetch {PACKAGE} with", _by_hand(folder))
    for part in ("lists/partial", "cache/archives/partial", "package"):
        (scratch / part).mkdir(parents=True)
    lists = ["-o", f"Dir::State::Lists={scratch / 'lists'}"]
    bases = release_bases(_run(["apt-get", *lists, "--print-uris", "update"], scratch, folder))
    if not bases:
        raise MissingPart("apt's sources name no Debian archive", _by_hand(folder))
    sources = scratch / "sources.list"
    signed = f" signed-by={KEYRING}" if KEYRING.is_file() else ""
    failure: MissingPart | None = None
    for base in bases:
        sources.write_text(f"deb [arch=amd64{signed}] {base} {SUITE} main\n", encoding="utf-8")
        try:
            _run(["apt-get", *_private(scratch), "update"], scratch, folder)
            _run(["apt-get", *_private(scratch), "download", PACKAGE], scratch / "package", folder)
            return _unpack(scratch, folder)
        except MissingPart as error:
            failure = error
    assert failure is not None
    raise failure


def _private(scratch: Path) -> list[str]:
    options = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "Dir::Etc::SourceList": scratch / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",  # the download folder belongs to us alone; apt's own user could not enter it
        "APT::Update::Error-Mode": "any",  # an unreachable archive is an error here, not a warning
        "Acquire::Languages": "none",
    }
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _unpack(scratch: Path, folder: Path) -> Path:
    packages = list((scratch / "package").glob("*.deb"))
    if len(packages) != 1:
        raise MissingPart(f"apt brought no package {PACKAGE}", _by_hand(folder))
    _run(["dpkg-deb", "-x", str(packages[0]), str(scratch / "unpacked")], scratch, folder)
    return scratch / "unpacked"


def _install(unpacked: Path, folder: Path) -> None:
    licence = unpacked / "usr/share/doc" / PACKAGE / "copyright"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in (licence, *(unpacked / _LIBRARY_FOLDER / name for name in LIBRARIES)):
            partial = folder / f".{source.name}.partial"
            shutil.copyfile(source, partial)
            partial.chmod(0o644)
            partial.replace(folder / source.name)
    except OSError as error:
        raise MissingPart(f"cannot write {folder}: {error.strerror}", "name a folder that you may write, or be root") from error


def _run(command: Sequence[str], directory: Path, folder: Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=_APT_LIMIT_S,
            check=True,
            env=os.environ | {"LC_ALL": "C"},
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("E:")] or error.stderr.splitlines()
        why = lines[0] if lines else f"status {error.returncode}"
        raise MissingPart(f"{command[0]} could not fetch {PACKAGE} of {SUITE}: {why}", _by_hand(folder)) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPart(f"{command[0]} could not fetch {PACKAGE} of {SUITE}: {error}", _by_hand(folder)) from error
    return done.stdout


def _by_hand(folder: Path) -> str:
    return f"put {' and '.join(LIBRARIES)} of OpenSSL 1.1.1w for x86_64 into {folder}, or use Tesseract"


def _sha256(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def main(arguments: Sequence[str]) -> int:
    """The program; the exit codes are those of `ocrwatch`."""
    try:
        if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
            raise UsageError("usage: python -m ocrwatch.tools.openssl11 [DIR]")
        folder = Path(arguments[0]).absolute() if arguments else default_folder()
        news = "fetched into" if fetch(folder) else "already in"
    except OcrwatchError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"OpenSSL 1.1 {news} {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
