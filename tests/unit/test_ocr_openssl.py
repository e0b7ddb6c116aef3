"""Where OpenSSL 1.1 is looked for, and where it may be fetched from."""

from __future__ import annotations

import platform
import shlex
import sys
from pathlib import Path

import pytest

from ocrwatch.errors import MissingPart
from ocrwatch.tools import openssl11

URIS = """'http://mirror.example/debian/dists/bookworm/InRelease' mirror.example_debian_dists_bookworm_InRelease 0
'http://mirror.example/debian/dists/bookworm-updates/InRelease' x 0
'http://sec.example/debian-security/dists/bookworm-security/InRelease' x 0
'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0
"""


def libraries(folder: Path) -> Path:
    """A folder with files of the right names."""
    folder.mkdir(parents=True)
    for name in openssl11.LIBRARIES:
        (folder / name).write_bytes(b"x")
    return folder


def test_mirrors_are_the_machines_own() -> None:
    """The security archive that apt knows comes first, then the one beside the main archive; no host is built in."""
    bases = ["http://sec.example/debian-security", "http://mirror.example/debian-security"]
    assert openssl11.release_bases(URIS) == bases
    assert openssl11.release_bases("") == []


def test_named_place_excludes_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An explicit folder beats the environment, which beats the search; a wrong one is not replaced silently."""
    ours, theirs = libraries(tmp_path / "a"), libraries(tmp_path / "b")
    monkeypatch.setenv(openssl11.OVERRIDE, str(theirs))
    assert openssl11.find_openssl() == theirs
    assert openssl11.find_openssl(ours) == ours
    assert openssl11.find_openssl(tmp_path) is None


def test_users_own_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root rights the copy lies in the user's data folder."""
    monkeypatch.delenv(openssl11.OVERRIDE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(openssl11, "SYSTEM_FOLDER", tmp_path / "none")
    folder = libraries(tmp_path / "ocrwatch" / "openssl-1.1")
    assert openssl11.find_openssl() == folder


def test_installation_has_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is installed; the command names its interpreter, and puts the libraries where they are looked for."""
    monkeypatch.delenv(openssl11.OVERRIDE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "it's here"))
    monkeypatch.setattr(sys, "executable", f"{sys.prefix}/bin/python")
    (tmp_path / "it's here/share/ocrwatch").mkdir(parents=True)
    *program, folder = shlex.split(openssl11.fetch_command(None))
    assert program == [sys.executable, "-m", "ocrwatch.tools.openssl11"]
    assert openssl11.find_openssl() != Path(folder)
    assert libraries(Path(folder)) == Path(sys.prefix, "openssl-1.1")
    assert openssl11.find_openssl() == Path(folder)


def test_command_for_a_checkout_or_a_named_folder_is_one_that_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is named excludes the others, so that is where they have to go."""
    monkeypatch.delenv(openssl11.OVERRIDE, raising=False)
    program = shlex.join([sys.executable, "-m", "ocrwatch.tools.openssl11"])
    assert openssl11.fetch_command(None) == program
    monkeypatch.setenv(openssl11.OVERRIDE, "/by/environment")
    assert openssl11.fetch_command(None) == f"{program} /by/environment"
    assert openssl11.fetch_command(tmp_path / "a b") == f"{program} '{tmp_path}/a b'"
    assert openssl11.fetch_command(Path("/usr/lib64")) == program


def test_other_libraries_of_the_same_name_are_not_whole(tmp_path: Path) -> None:
    """Only the pinned bytes count as already fetched."""
    assert not openssl11.is_whole(libraries(tmp_path / "a"))


def test_machine_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package cannot be had, the error names the folder and the files to put there."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match=r"no apt-get.*libcrypto\.so\.1\.1 and libssl\.so\.1\.1.*/o,"):
        openssl11.fetch(tmp_path / "o")


def test_wrong_arguments_end_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error is exit code 2 and one line."""
    assert openssl11.main(["--help"]) == 2
    assert "openssl11 [DIR]" in capsys.readouterr().err
