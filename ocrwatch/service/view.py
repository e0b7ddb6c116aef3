"""What `status` and `why` look like to a person. Pure: JSON objects in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ocrwatch.service.logs import printable
from ocrwatch.wording import duration, size

Values = Mapping[str, Any]
_MOST_FOLDERS = 10
_MOST_PAGES = 10
_WIDEST_NAME = 16


def status_lines(status: Values) -> Iterator[str]:
    """The daemon at a glance."""
    yield f"ocrwatch {status['version']}, pid {status['pid']}, up {duration(status['up_s'])}, {size(status['rss_bytes'])}"
    yield ""
    width = min(_WIDEST_NAME, max(5, *(len(inbox["name"]) for inbox in status["inboxes"])))
    yield f"{'INBOX':<{width}} STATE    LOOKS BY  FILES SETTLING QUEUED   DONE FAILED  OLDEST  PATH"
    for inbox in status["inboxes"]:
        yield from _inbox_lines(inbox, width)
    yield ""
    yield _model_line(status["model"])
    yield _work_line(status)
    yield _hour_line(status)


def _work_line(status: Values) -> str:
    workers = status["workers"]
    busy, held = sum(w["state"] == "busy" for w in workers), sum(w["resident_bytes"] for w in workers)
    waiting, active = status["pages_waiting"], status["jobs_active"]
    return f"ocr      {len(workers)} workers, {busy} busy, {size(held)}, {waiting} pages waiting, {active} files in work"


def _hour_line(status: Values) -> str:
    if not (hour := status["last_hour"]):
        return "hour     nothing finished"
    why = ", ".join(f"{count} {reason}" for reason, count in status["last_hour_failures"].items())
    ended = ", ".join(f"{count} {state}" for state, count in sorted(hour.items()))
    return f"hour     {status['last_hour_pages']} pages; files: {ended}" + (f"; failed for: {why}" if why else "")


def _inbox_lines(inbox: Values, width: int) -> Iterator[str]:
    counts = inbox["counts"]
    queued = sum(counts.get(state, 0) for state in ("queued", "spooled", "deferred", "awaiting_correction"))
    done = sum(counts.get(state, 0) for state in ("done", "partial", "orphaned", "archived"))
    failed = sum(counts.get(state, 0) for state in ("failed", "poison", "quarantined"))
    yield (
        f"{inbox['name'][:width]:<{width}} {inbox['state']:<8} {inbox['looks_by']:<8} {inbox['files']:>6} {inbox['waiting']:>8}"
        f" {queued:>6} {done:>6} {failed:>6} {_age(inbox['oldest_s']):>7}  {printable(inbox['path'])}"
    )
    yield from _more_than_texts(inbox)
    if inbox["why_polling"] and inbox["state"] == "online":
        yield f"  polled: {printable(inbox['why_polling'])}"
    if inbox["problem"]:
        yield f"  {printable(inbox['problem'])}"
    for part in inbox["below"]:
        yield f"  {'below':<{width - 2}} {part['state']:<8} {part['looks_by']:<8}  {printable(part['path'])}"
        if part["problem"]:
            yield f"    {printable(part['problem'])}"
    for folder in inbox["unread"][:_MOST_FOLDERS]:
        yield f"  cannot be listed: {printable(folder['path'])}: {folder['reason']}"
    if more := inbox["unread_count"] - len(inbox["unread"][:_MOST_FOLDERS]):
        yield f"  cannot be listed: {more} {'more ' * bool(inbox['unread'])}folders: the log names them all"


def _more_than_texts(inbox: Values) -> Iterator[str]:
    if inbox["outputs"]:
        yield f"  beside the text: {', '.join(inbox['outputs'])}"
    for what, place in inbox["moves"].items():
        yield f"  moves {what} files to {printable(place)}"


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _model_line(model: Values | None) -> str:
    if model is None:
        return "model    correction is off"
    name = printable(model["file"] or "not found yet")
    if model["state"] in ("ready", "busy"):
        held = f"pid {model['pid']}, {size(model['resident_bytes'])}"
        return f"model    {name}: {_place(model)}, {held}, {_until(model)}{_trust(model)}"
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


def _trust(model: Values) -> str:
    return "" if model["calibrated"] is None else ", calibrated" if model["calibrated"] else ", not calibrated: corrects least"


def _place(model: Values) -> str:
    device = "cpu"
    if model["device"] == "gpu":
        amount = f", {size(model['gpu_bytes'])}" if model["gpu_bytes"] else ""
        device = f"gpu {model['layers_on_gpu']}/{model['layers']} layers{amount}"
    return f"degraded: {device} ({printable(model['degraded'])})" if model["degraded"] else f"loaded on {device}"


def _away(model: Values) -> str:
    if model["fetched"] is not None:
        done, total = model["fetched"]
        return f"being fetched, {size(done)} of {size(total)}"
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
    yield f"{printable(answer['path'])} (inbox {answer['inbox']}): {answer['state']}" + _for_long(answer)
    if answer.get("lies_in"):
        known = f"by {printable(answer['beside'])}" if answer.get("beside") else "of its name in the inbox"
        yield f"  the file asked for lies in the {answer['lies_in']}; this is known {known}:"
    yield f"  {printable(answer['meaning'])}"
    yield from _reason_lines(answer)
    yield from _page_lines(answer)
    if answer.get("next_try_s") is not None:
        yield f"  tried again in {duration(answer['next_try_s'])}"
    yield from _result_lines(answer)
    for event in answer.get("events", []):
        at = datetime.fromtimestamp(event["at"], tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        why = f": {printable(event['detail'])}" if event["detail"] else ""
        yield f"  {at}  {event['after']}{why}"


def _reason_lines(answer: Values) -> Iterator[str]:
    if answer.get("detail"):
        yield f"  {answer['reason']}: {printable(answer['detail'])}" if answer["reason"] else f"  {printable(answer['detail'])}"
    if answer.get("next"):
        yield f"  {answer['next']}"
    if answer.get("remedy"):
        yield f"  what to do: {printable(answer['remedy'])}"
    if answer.get("since_s") is not None:
        yield f"  first seen {duration(answer['since_s'])} ago"
    if answer["inbox_problem"]:
        yield f"  the inbox is offline: {printable(answer['inbox_problem'])}"
    if answer.get("model_problem"):
        yield f"  the model is not to be had: {printable(answer['model_problem'])}"


def _result_lines(answer: Values) -> Iterator[str]:
    for what in ("text", "json", "pdf"):
        if answer.get(what):
            yield f"  {what}: {printable(answer[what])}"
    if answer.get("pdf_reason"):
        yield f"  no searchable PDF: {printable(answer['pdf_reason'])}"


def _for_long(answer: Values) -> str:
    return "" if answer.get("in_state_s") is None else f", for {duration(answer['in_state_s'])}"


def _page_lines(answer: Values) -> Iterator[str]:
    if answer.get("pages") is not None:
        at = f", at page {answer['page']}" if answer["page"] is not None else ""
        yield f"  pages {answer['pages_done']}/{answer['pages']}{at}, tries {answer['tries']}, workers lost {answer['deaths']}"
    for page in answer.get("failed_pages", [])[:_MOST_PAGES]:
        yield f"  page {page['page']}: {printable(page['detail'])}"
    for page in answer.get("hard_pages", [])[:_MOST_PAGES]:
        why = f": {printable(page['detail'])}" if page["detail"] else ""
        yield f"  page {page['page']}: begun {page['tries']} times, workers lost {page['deaths']}{why}"
