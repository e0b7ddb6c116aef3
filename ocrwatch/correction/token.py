"""What of the environment goes to the worker that asks the model hub, the token for closed repositories among it.

Owns where a token may stand. Reads none: the hub's library does, in its own process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ocrwatch.correction.store import HUB_VARIABLES

CREDENTIAL = "hf-token"
"""What the token is called among the credentials that systemd gives a service."""


def hub_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for the `fetch` worker: those of ours, and the service's credential where they name no token."""
    chosen = {name: environ[name] for name in HUB_VARIABLES if name in environ}
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and not chosen.get("HF_TOKEN") and not chosen.get("HF_TOKEN_PATH"):
        credential = Path(folder, CREDENTIAL)
        if credential.is_file():
            chosen["HF_TOKEN_PATH"] = str(credential)
    return chosen
