"""The file of an Aspose licence: where it is, and until when it holds by its own account. Whether it is genuine the package says.

An Aspose licence is a signed XML text. A temporary one ends on a day; any other one holds for ever, but only for versions
of the package that were published until its subscription ended.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ocrwatch.errors import MissingPart

CREDENTIAL = "aspose-license"
"""What the licence is called among the credentials that systemd gives a service."""

_MOST_BYTES = 1_000_000
_FIELD = r"<{}>\s*(\d{{4}})-?(\d\d)-?(\d\d)\s*</{}>"


@dataclass(frozen=True)
class Licence:
    """What a licence says, None for nothing. expires: its last day. updates_until: versions published later are not covered."""

    expires: date | None = None
    updates_until: date | None = None

    def to_json(self) -> dict[str, str | None]:
        """The licence as a JSON object."""
        return {"expires": _iso(self.expires), "updates_until": _iso(self.updates_until)}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Licence:
        """The licence of `to_json`."""
        expires, updates = data["expires"], data["updates_until"]
        return Licence(expires and date.fromisoformat(expires), updates and date.fromisoformat(updates))

    def __str__(self) -> str:
        """For a person: `until 2027-05-01`; empty where it says nothing."""
        if self.expires:
            return f"until {self.expires}"
        return f"with updates until {self.updates_until}" if self.updates_until else ""


def find_licence(explicit: Path | None) -> Path | None:
    """The file that the settings name, else the credential of the service; None where there is neither."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if explicit is not None or not folder:
        return explicit
    credential = Path(folder, CREDENTIAL)
    return credential if credential.is_file() else None


def read_licence(path: Path) -> Licence:
    """What the licence in a file says. Raises MissingPart when it cannot be read or is no licence of Aspose's."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise MissingPart(
            f"the Aspose licence {path} cannot be read: {error.strerror}",
            "name the file in `ocr.aspose.license_file`, and let the user that ocrwatch runs as read it",
        ) from error
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace")
    if "<License>" not in text or "<Signature>" not in text:
        raise MissingPart(f"{path} is no licence of Aspose's: it has no <License> with a <Signature>", AS_SENT)
    return Licence(expires=_date(text, "LicenseExpiry"), updates_until=_date(text, "SubscriptionExpiry"))


AS_SENT = "put the .lic file there byte by byte as Aspose sent it, for a product that includes OCR for Python via .NET"


def _date(text: str, field: str) -> date | None:
    match = re.search(_FIELD.format(field, field), text)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None  # no day of a calendar: it says nothing that we understand


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None
