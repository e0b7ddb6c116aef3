"""What `status` and `why` look like to a person. Pure: JSON objects in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ocrwatch.service.systemd import printable

Values = Mapping[str, Any]
_MOST_FOLDERS = 10


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `2.0 d`."""
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}" if unit != "h" else f"{seconds / divisor:.1f} h"
    return f"{seconds / 86400:.1f} d"


def status_lines(status: Values) -> Iterator[str]:
    """The daemon at a glance."""
    yield f"ocrwatch {status['version']}, pid {status['pid']}, up {duration(status['up_s'])}, {status['rss_bytes'] / 1e6:.0f} MB"
    yield ""
    yield "INBOX            STATE     LOOKS BY     FILES SETTLING  QUEUED    DONE FAILED  PATH"
    for inbox in status["inboxes"]:
        yield from _inbox_lines(inbox)
    yield ""
    yield _model_line(status["model"])
    workers = status["workers"]
    held = sum(w["resident_bytes"] for w in workers) / 1e6
    waiting, active = status["pages_waiting"], status["jobs_active"]
    yield f"ocr      {len(workers)} workers, {held:.0f} MB, {waiting} pages waiting, {active} files in work"
    hour = status["last_hour"]
    yield "hour     " + (", ".join(f"{count} {state}" for state, count in sorted(hour.items())) or "nothing finished")


def _inbox_lines(inbox: Values) -> Iterator[str]:
    counts = inbox["counts"]
    queued = sum(counts.get(state, 0) for state in ("queued", "spooled", "deferred", "awaiting_correction"))
    done = sum(counts.get(state, 0) for state in ("done", "partial", "orphaned", "archived"))
    failed = sum(counts.get(state, 0) for state in ("failed", "poison"))
    yield (
        f"{inbox['name'][:16]:<16} {inbox['state']:<9} {inbox['looks_by']:<10} {inbox['files']:>7} {inbox['waiting']:>8}"
        f" {queued:>7} {done:>7} {failed:>6}  {printable(inbox['path'])}"
    )
    if inbox["problem"]:
        yield f"  {printable(inbox['problem'])}"
    for part in inbox["below"]:
        yield f"  {'below':<14} {part['state']:<9} {part['looks_by']:<10} {printable(part['path'])}"
        if part["problem"]:
            yield f"    {printable(part['problem'])}"
    for folder in [folder for part in (inbox, *inbox["below"]) for folder in part["unread"]][:_MOST_FOLDERS]:
        yield f"  cannot be listed: {printable(folder['path'])}: {folder['reason']}"
    if inbox["oldest_s"] is not None and inbox["oldest_s"] > 60:
        yield f"  the oldest file waits since {duration(inbox['oldest_s'])}"


def _model_line(model: Values | None) -> str:
    if model is None:
        return "model    correction is off"
    name = printable(model["file"] or "not found yet")
    if model["state"] in ("ready", "busy"):
        return f"model    {name}: {_place(model)}, pid {model['pid']}, {model['resident_bytes'] / 1e6:.0f} MB, {_until(model)}"
    line = f"model    {name}: {_away(model)}"
    if model["unavailable_s"] is not None:
        line += f"; not to be had since {duration(model['unavailable_s'])}: {printable(model['problem'])}"
    elif model["problem"]:
        line += f"; its last process: {printable(model['problem'])}"
    return line


def _until(model: Values) -> str:
    if model["state"] == "busy" or model["leases"]:
        return "in use"
    return "stays loaded" if model["idle_left_s"] is None else f"unloads in {duration(model['idle_left_s'])}"


def _place(model: Values) -> str:
    device = "cpu"
    if model["device"] == "gpu":
        amount = f", {model['gpu_bytes'] / 1e9:.1f} GB" if model["gpu_bytes"] else ""
        device = f"gpu {model['layers_on_gpu']}/{model['layers']} layers{amount}"
    return f"degraded: {device} ({printable(model['degraded'])})" if model["degraded"] else f"loaded on {device}"


def _away(model: Values) -> str:
    if model["fetched"] is not None:
        done, total = model["fetched"]
        return f"being fetched, {done / 1e9:.1f} of {total / 1e9:.1f} GB"
    if model["state"] != "cold":
        return str(model["state"])
    proof = model["returned"]
    return "unloaded" if proof is None else f"unloaded, its GPU memory {_RETURNED[proof['verdict']]}{_why(proof)}"


_RETURNED = {
    "verified": "is free again",
    "unverified": "could not be verified to be free again",
    "timeout": "was not free again in time",
}


def _why(proof: Values) -> str:
    return f": {printable(proof['reason'])}" if proof["verdict"] != "verified" and proof["reason"] else ""


def why_lines(answer: Values) -> Iterator[str]:
    """One file's answer."""
    yield f"{printable(answer['path'])} (inbox {answer['inbox']}): {answer['state']}"
    yield f"  {printable(answer['meaning'])}"
    if answer.get("detail"):
        yield f"  {answer['reason']}: {printable(answer['detail'])}" if answer["reason"] else f"  {printable(answer['detail'])}"
    if answer.get("since_s") is not None:
        yield f"  first seen {duration(answer['since_s'])} ago"
    if answer["inbox_problem"]:
        yield f"  the inbox is offline: {printable(answer['inbox_problem'])}"
    if answer.get("pages") is not None:
        yield f"  pages {answer['pages_done']}/{answer['pages']}, tries {answer['tries']}, workers lost {answer['deaths']}"
    for page in answer.get("failed_pages", [])[:10]:
        yield f"  page {page['page']}: {printable(page['detail'])}"
    if answer.get("next_try_s") is not None:
        yield f"  tried again in {duration(answer['next_try_s'])}"
    if answer.get("text"):
        yield f"  text: {printable(answer['text'])}"
    for event in answer.get("events", []):
        at = datetime.fromtimestamp(event["at"], tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        why = f": {printable(event['detail'])}" if event["detail"] else ""
        yield f"  {at}  {event['after']}{why}"
