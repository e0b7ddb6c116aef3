"""Where the hub's token comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocrwatch.correction.token import hub_environment


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    """The folder that systemd gives a service, with a token in it."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "hf-token").write_text("secret")
    return folder


def test_only_variables_of_the_hub_go_to_its_worker() -> None:
    """A password of something else in the environment is none of the hub's business."""
    environ = {"HF_HOME": "/cache", "HTTPS_PROXY": "http://proxy", "DATABASE_PASSWORD": "secret", "PATH": "/bin"}
    assert hub_environment(environ) == {"HF_HOME": "/cache", "HTTPS_PROXY": "http://proxy"}


def test_a_credential_of_the_service_is_the_token(credentials: Path) -> None:
    """The token goes by its path: it stands in no environment and in no process list."""
    environ = {"CREDENTIALS_DIRECTORY": str(credentials), "HF_TOKEN": ""}
    assert hub_environment(environ)["HF_TOKEN_PATH"] == str(credentials / "hf-token")


@pytest.mark.parametrize("named", [{"HF_TOKEN": "mine"}, {"HF_TOKEN_PATH": "/etc/token"}])
def test_a_token_that_is_named_wins_over_the_credential(credentials: Path, named: dict[str, str]) -> None:
    """Whoever sets a variable means it."""
    assert hub_environment({"CREDENTIALS_DIRECTORY": str(credentials), **named}) == named


def test_a_service_without_that_credential_has_no_token(tmp_path: Path) -> None:
    """Other credentials, the Aspose licence for one, are no token."""
    (tmp_path / "aspose-license").write_text("licence")
    assert hub_environment({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == {}
