"""Worker: what stands at a path, what a user may do there, how much room there is. For `doctor` and `why`.

A path may lie on a share that hangs, so it is touched by this process, which can be killed. Owns no judgement of what it sees.

Options: `user` (null: stay who one is) and `groups`, beyond those that the user has anyway. Everything is looked at as that user.

Operations, each about an absolute `path`:

    look       what stands there, and what may be done with it; with `below`, step by step from `path` on, and no symlink followed
    space      free bytes and files, for an ordinary user
    count      how many directories a tree has, as far as that can be known in `within_s`
    refused    of the files that lie directly there, how many may not be read, and the first of them
    skew       how far the clock by which files get their times is ahead of this machine's, in seconds; makes and removes a file,
               and tells the `problem` when that is refused
    reachable  whether `uid` with `groups` could `stat` the path, by the directories on the way
    described  what the description of a result says of the searchable PDF; nothing where it is none of ours
    reason     what lies beside a file of the quarantine to say why it is there; nothing where that is none of ours
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import time
from collections.abc import Collection, Iterator

from ocrwatch.errors import MissingPart
from ocrwatch.intake.entries import Kind, kind_of
from ocrwatch.intake.ignore import OWN_PREFIX
from ocrwatch.output.document import MOST_METADATA_BYTES, claims
from ocrwatch.output.quarantine import MOST_REASON_BYTES, reason_path, understood
from ocrwatch.worker import child
from ocrwatch.worker.rights import User, may_stat

_MOST_FILES = 500


def start(options: child.Message) -> tuple[child.Message, dict[str, child.Handler]]:
    """Become the user, for good."""
    if options.get("user") is not None:
        _become(str(options["user"]), options.get("groups", ()))
    handlers: dict[str, child.Handler] = {
        "look": _look,
        "space": _space,
        "count": _count,
        "refused": _refused,
        "skew": _skew,
        "reachable": _reachable,
        "described": _described,
        "reason": _reason,
    }
    return {"user": _name(os.geteuid())}, handlers


def _become(user: str, groups: Collection[str]) -> None:
    try:
        entry = pwd.getpwnam(user)
        extra = {grp.getgrnam(group).gr_gid for group in groups}
    except KeyError as error:
        raise MissingPart(f"the user {user} or one of its groups is not there: {error}", "systemd-sysusers") from error
    os.setgroups(sorted({*os.getgrouplist(user, entry.pw_gid), *extra}))
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def _look(request: child.Message) -> child.Message:
    root, below = str(request["path"]), request.get("below")
    if below is None:
        return _sight(root, "", follow=True)
    seen = _sight(root, "", follow=True)
    if seen["kind"] != Kind.DIRECTORY:
        return seen
    names = str(below).split("/")
    for depth in range(1, len(names)):
        part = "/".join(names[:depth])
        seen = _sight(os.path.join(root, part), part, follow=False)
        if seen["kind"] != Kind.DIRECTORY:
            return seen
    return _sight(os.path.join(root, str(below)), str(below), follow=False)


def _sight(path: str, at: str, *, follow: bool) -> child.Message:
    try:
        status = os.stat(path, follow_symlinks=follow)
    except OSError as error:
        is_absent = isinstance(error, FileNotFoundError | NotADirectoryError)
        return {"at": at, "kind": None, "is_absent": is_absent, "problem": error.strerror or str(error)}
    return {
        "at": at,
        "kind": kind_of(status.st_mode),
        "is_absent": False,
        "problem": "",
        "size_bytes": status.st_size,
        "mode": stat.S_IMODE(status.st_mode),
        "owner": _name(status.st_uid),
        "group": _group_name(status.st_gid),
        "readable": os.access(path, os.R_OK),
        "writable": os.access(path, os.W_OK),
        "enterable": os.access(path, os.X_OK),
    }


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _space(request: child.Message) -> child.Message:
    status = os.statvfs(request["path"])
    return {"free_bytes": status.f_bavail * status.f_frsize, "free_files": status.f_favail if status.f_files else None}


def _count(request: child.Message) -> child.Message:
    until = time.monotonic() + float(request["within_s"])
    found = 0
    for _ in _directories(str(request["path"])):
        found += 1
        if time.monotonic() > until:
            return {"directories": found, "is_all": False}
    return {"directories": found, "is_all": True}


def _directories(path: str) -> Iterator[str]:
    waiting = [path]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # what may not be listed gets no watch either
        yield here


def _refused(request: child.Message) -> child.Message:
    looked, refused = 0, []
    with os.scandir(request["path"]) as entries:
        for entry in entries:
            if looked == _MOST_FILES:
                break
            if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                looked += 1
                refused += [] if os.access(entry.path, os.R_OK) else [entry.name]
    return {"refused": len(refused), "first": min(refused, default="")}


def _skew(request: child.Message) -> child.Message:
    try:
        return {"skew_s": _skew_of(str(request["path"])), "problem": ""}
    except OSError as error:
        return {"skew_s": 0.0, "problem": error.strerror or str(error)}


def _skew_of(folder: str) -> float:
    path = os.path.join(folder, f"{OWN_PREFIX}clock-{os.getpid()}")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        before_s = _now_s()
        os.write(descriptor, b"?")  # a write: some file systems take the time of an empty file from the client
        os.fsync(descriptor)
        after_s = _now_s()
        file_s = os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        os.unlink(path)
    # Within the time that it took, the clocks agree.
    return file_s - min(max(file_s, before_s), after_s)


def _now_s() -> float:
    return time.time()  # noqa: TID251 - the clock on the wall is what is examined


def _reachable(request: child.Message) -> child.Message:
    return {"reachable": may_stat(str(request["path"]), User(int(request["uid"]), frozenset(request["groups"])))}


def _described(request: child.Message) -> child.Message:
    data = _content(str(request["path"]), most_bytes=MOST_METADATA_BYTES)
    said = claims(data) if len(data) <= MOST_METADATA_BYTES else None
    return {} if said is None else {"has_pdf": bool(said.pdf_sha256), "pdf_reason": said.pdf_reason}


def _reason(request: child.Message) -> child.Message:
    try:
        return understood(_content(reason_path(str(request["path"])), most_bytes=MOST_REASON_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _content(path: str, *, most_bytes: int) -> bytes:
    """Of a file, with a byte more than the most where it is longer; nothing of anything else that stands there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        return file.read(most_bytes + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


if __name__ == "__main__":
    child.serve(start)
