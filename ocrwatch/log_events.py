"""The kinds of events in the log that programs may want to find again: `journalctl MESSAGE_ID=...`.

Pure. systemd/ocrwatch.catalog explains them to administrators (`journalctl -x`).
"""

from __future__ import annotations

import uuid
from enum import StrEnum

_NAMESPACE = uuid.UUID("6f1d3c0e-5d0b-4a53-9d0c-8a1c8f0d7b52")


class LogEvent(StrEnum):
    """What happened; OCRWATCH_EVENT in journald, `event` in JSON."""

    SERVICE_STARTED = "service_started"
    CONFIGURATION_TAKEN = "configuration_taken"
    CONFIGURATION_REFUSED = "configuration_refused"
    JOURNAL_DAMAGED = "journal_damaged"
    INBOX_OFFLINE = "inbox_offline"
    INBOX_BACK = "inbox_back"
    INBOX_TROUBLE = "inbox_trouble"
    JOB_STATE = "job_state"
    FILE_ARCHIVED = "file_archived"
    FILE_QUARANTINED = "file_quarantined"
    MODEL_UNAVAILABLE = "model_unavailable"
    MODEL_BACK = "model_back"
    MODEL_DEGRADED = "model_degraded"
    GPU_MEMORY_NOT_FREED = "gpu_memory_not_freed"
    HOOK_FAILED = "hook_failed"

    @property
    def message_id(self) -> str:
        """journald's MESSAGE_ID: 128 bits in hexadecimal, for ever the same for one kind."""
        return uuid.uuid5(_NAMESPACE, self.value).hex


def of_file(event: LogEvent, *, inbox: str, file: str, job: int) -> dict[str, object]:
    """What a line about one file carries. file: its path in the inbox."""
    return {"event": event, "inbox": inbox, "file": file, "job": job}
