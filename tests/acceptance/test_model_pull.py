"""`ocrwatch model pull` from outside, against a hub on loopback; and that afterwards no network is needed for anything."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT
from tests.faults.models import smollm2
from tests.integration.hub import CONTENT, REPOSITORY, TOKEN, Fault, Hub, digest, serving

pytestmark = pytest.mark.acceptance

MODEL = b"GGUF" + random.Random(1).randbytes(20_000_000)
NAME = "small-model-q8_0.gguf"


@dataclass(frozen=True)
class Installed:
    """The command, with a configuration, a cache and a hub of its own."""

    folder: Path
    hub: Hub

    @property
    def environment(self) -> dict[str, str]:
        """Of every command."""
        taken = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_", "CREDENTIALS_"))}
        of_ours = {"HOME": str(self.folder), "HF_HOME": str(self.folder / "hf"), "HF_ENDPOINT": self.hub.url}
        return {**taken, **of_ours, "PYTHONPATH": str(PROJECT), "TERM": "xterm", "COLUMNS": "120"}

    def configure(self, **model: object) -> None:
        """Write the configuration; the model's settings are the repository's but for these."""
        (self.folder / "inbox").mkdir(exist_ok=True)
        settings = {
            "state_dir": str(self.folder / "state"),
            "inboxes": [{"path": str(self.folder / "inbox")}],
            "model": {"repo_id": REPOSITORY, "quantization": "int8", **model},
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """The words of a command with that configuration."""
        return [sys.executable, "-m", "ocrwatch", *arguments, "--config", str(self.folder / "config.yaml")]

    def run(
        self, *arguments: str, before: tuple[str, ...] = (), text: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """What a command says when no terminal is there."""
        return subprocess.run(
            [*before, *self.command(*arguments)],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=self.environment | environment,
        )


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    """A configuration that names the hub's repository."""
    with serving(Hub(files={NAME: MODEL, "small-model-q4_k_m.gguf": MODEL[:1000]})) as hub:
        made = Installed(tmp_path, hub)
        made.configure()
        yield made


def test_model_is_pulled_listed_and_verified(installed: Installed) -> None:
    """One command brings the model; its digest and licence are told, and where it lies."""
    done = installed.run("model", "pull")
    assert done.returncode == 0, done.stderr
    path, sha256, licence = done.stdout.splitlines()
    assert Path(path).read_bytes() == MODEL
    assert (sha256.split(), licence.split()[:2]) == (["sha256", digest(MODEL)], ["licence", "apache-2.0:"])
    assert path in installed.run("model", "list").stdout
    assert digest(MODEL) in installed.run("model", "verify").stdout


def test_pull_without_a_terminal_prints_a_few_lines(installed: Installed) -> None:
    """A log is told how far it is, not filled; the results alone go to standard output."""
    lines = installed.run("model", "pull").stderr.splitlines()
    downloading = [line for line in lines if line.startswith("downloading: ")]
    assert downloading[0] == "downloading: 0 % of 20 MB"
    assert downloading[-1] == "downloading: 100 % of 20 MB"
    assert len(downloading) == 11
    assert lines[len(downloading) :] == ["checking sha256: 20 MB"]


def test_pull_shows_download_and_check_on_a_terminal(installed: Installed) -> None:
    """Two bars, each with its name, and how fast it comes."""
    installed.hub.fault = Fault.SLOW  # a bar knows its speed after a while
    master, terminal = os.openpty()
    with subprocess.Popen(
        installed.command("model", "pull"), stdout=subprocess.PIPE, stderr=terminal, env=installed.environment
    ) as process:
        os.close(terminal)
        shown = _everything_shown(master)
        assert process.stdout is not None
        assert digest(MODEL) in process.stdout.read().decode()
    assert process.returncode == 0
    assert shown.index("downloading") < shown.index("checking sha256")
    assert "20.0/20.0 MB" in shown
    assert "MB/s" in shown


def _everything_shown(master: int) -> str:
    """What was written to a terminal until its last writer went."""
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the other end open any more
        while block := os.read(master, 1 << 16):
            shown += block
    os.close(master)
    return shown.decode()


def test_pull_of_a_closed_repository_says_what_to_set(installed: Installed) -> None:
    """One line and exit 3 without a token and with a wrong one, which nobody gets to read; the right one opens."""
    installed.hub.fault = Fault.TOKEN
    none = installed.run("model", "pull")
    assert none.returncode == 3
    assert "HF_TOKEN" in none.stderr.splitlines()[-1]
    wrong = installed.run("model", "pull", HF_TOKEN="hf_some_other_token")
    assert wrong.returncode == 3
    assert "does not accept the token" in wrong.stderr.splitlines()[-1]
    assert "hf_some_other_token" not in wrong.stderr + wrong.stdout
    right = installed.run("model", "pull", HF_TOKEN=TOKEN)
    assert right.returncode == 0, right.stderr
    assert TOKEN not in right.stderr + right.stdout


def test_token_of_a_service_is_its_credential(installed: Installed, tmp_path: Path) -> None:
    """systemd puts it into a folder of the service's own."""
    installed.hub.fault = Fault.TOKEN
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "hf-token").write_text(TOKEN + "\n")
    done = installed.run("model", "pull", CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))
    assert done.returncode == 0, done.stderr


def test_pull_that_is_interrupted_leaves_no_process_and_no_model(installed: Installed) -> None:
    """Ctrl-C in the middle of gigabytes: everything ends, and the next pull clears up."""
    process = subprocess.Popen(
        installed.command("model", "pull"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=installed.environment,
        start_new_session=True,
    )
    installed.hub.at_half = lambda: os.killpg(process.pid, signal.SIGINT)
    installed.hub.fault = Fault.NONE
    told, _ = process.communicate(timeout=60)
    assert process.returncode != 0, told
    assert b"Traceback" not in told
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert installed.run("model", "verify").returncode == 3
    assert installed.run("model", "pull").returncode == 0
    assert list((installed.folder / "hf").rglob("*.incomplete")) == []


_NO_NETWORK = (sys.executable, "-m", "tests.faults.no_network")


def test_correct_opens_no_socket_once_the_model_is_there(installed: Installed) -> None:
    """With `download: auto` and a filled cache a text is corrected by a machine without a network: the kernel sees no socket."""
    real = smollm2()
    installed.hub.files = {real.name: real.read_bytes()}
    for download in ("auto", "never"):
        installed.configure(file=real.name, download=download)
        assert installed.run("model", "pull").returncode == 0
        installed.hub.requests.clear()
        done = installed.run("correct", "--profile", "financial", before=_NO_NETWORK, text="Invoic # 12345\nTotal: $1O0.00\n")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "Invoice # 12345\nTotal: $100.00\n"
        assert installed.run("model", "list", before=_NO_NETWORK).returncode == 0
        assert not installed.hub.requests
    trapped = installed.run("model", "pull", before=_NO_NETWORK)
    assert "SIGSYS" in trapped.stderr  # the trap is armed
    assert not [request for request in installed.hub.requests if CONTENT in request]


def test_model_is_fetched_when_it_is_needed_where_that_is_allowed(installed: Installed) -> None:
    """`download: auto` brings a model that is not there; `never` says which command does."""
    real = smollm2()
    installed.hub.files = {real.name: real.read_bytes()}
    installed.configure(file=real.name, download="never")
    refused = installed.run("correct", text="some words")
    assert refused.returncode == 3
    assert "run: ocrwatch model pull" in refused.stderr
    assert not installed.hub.requests
    installed.configure(file=real.name, download="auto")
    done = installed.run("correct", text="some words")
    assert done.returncode == 0, done.stderr
    assert real.name in installed.run("model", "list").stdout


def test_damaged_model_is_fetched_anew_where_that_is_allowed(installed: Installed) -> None:
    """`download: auto` mends a spoilt file by itself; `never` says which command does."""
    real = smollm2()
    installed.hub.files = {real.name: real.read_bytes()}
    installed.configure(file=real.name, download="auto")
    path = Path(installed.run("model", "pull").stdout.splitlines()[0])
    path.resolve().write_bytes(b"GGUF and rubbish")
    installed.configure(file=real.name, download="never")
    refused = installed.run("correct", text="some words")
    assert refused.returncode != 0
    assert "is damaged or another file" in refused.stderr
    assert "run: ocrwatch model pull" in refused.stderr
    installed.configure(file=real.name, download="auto")
    done = installed.run("correct", text="some words")
    assert done.returncode == 0, done.stderr
    assert digest(path.read_bytes()) == digest(real.read_bytes())
