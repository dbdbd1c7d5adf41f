"""Pid records on disk, and what an earlier run left: found by them, killed, looked for, cleared.

Document: docs/protocols/sandbox.md sections 10 and 11. A record is on disk before its sandbox's program runs, so that a launcher
that dies at any moment leaves nothing that its next start does not find.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from workbench_sandbox.formats.erasing import CHECKS, Check
from workbench_sandbox.server import bubblewrap, ending, groups, looking
from workbench_sandbox.server.contract import Looked
from workbench_sandbox.server.isolation import Found, PidRecord

RECORDS = "records"
RUNS = "run"
LOOK_S = 5.0
"""How long what is still going away is looked for again."""


def write(folder: Path, record: PidRecord) -> None:
    """The record of a sandbox, durable before this returns. Raises OSError."""
    place = folder / RECORDS
    place.mkdir(mode=0o700, exist_ok=True)
    target, draft = place / f"{record.sandbox}.json", place / f".{record.sandbox}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(asdict(record), sort_keys=True).encode())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(folder: Path) -> list[PidRecord]:
    """All records that lie there, by sandbox; one that is not as it was written stays where it is: see `unreadable`."""
    return [record for record in map(_read, _paths(folder)) if record is not None]


def unreadable(folder: Path) -> list[str]:
    """Sandboxes whose record lies there and is not as it was written: what ran under them is not known, and nothing is killed by it."""
    return [path.stem for path in _paths(folder) if _read(path) is None]


def names(folder: Path) -> list[str]:
    """Sandboxes of which a record lies there, readable or not."""
    return [path.stem for path in _paths(folder)]


def _paths(folder: Path) -> list[Path]:
    return sorted((folder / RECORDS).glob("sb-*.json"))


def _read(path: Path) -> PidRecord | None:
    """A record, every member of its kind and about the sandbox by whose name it lies; else None.

    Its run folder is the one beside it, whatever it says: that folder is removed.
    """
    try:
        body = json.loads(path.read_bytes())
        body["pids"], body["began"], body["groups"] = tuple(body["pids"]), tuple(body["began"]), tuple(body["groups"])
        record = PidRecord(**body)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    texts = (record.server, record.lease, record.tenant, record.boot, record.machine_boot, record.device, record.isolation, record.assurance)
    numbers = (record.uid, record.began_ms, *record.pids, *record.began, *record.namespaces.values())
    is_whole = (
        all(isinstance(one, str) for one in (*texts, *record.groups, *record.namespaces))
        and all(type(one) is int for one in numbers)
        and len(record.pids) == len(record.began)
        and bool(ending.SANDBOX.fullmatch(record.sandbox))
        and path.stem == record.sandbox
    )
    return replace(record, folder=str(path.parent.parent.resolve() / RUNS / record.sandbox)) if is_whole else None


def forget(folder: Path, sandbox: str) -> None:
    """Take a record away: what it names was looked for."""
    (folder / RECORDS / f"{sandbox}.json").unlink(missing_ok=True)


def machine_boot() -> str:
    """The kernel's id of this start of the machine; process numbers and inodes of another one mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def settle(
    folder: Path, record: PidRecord, group: groups.Group, look: Callable[[], Sequence[Found]], *, look_s: float = LOOK_S
) -> tuple[Check, ...]:
    """Steps 3 and 4 for a sandbox that was killed: looked for until nothing is found or look_s is over, then cleared.

    The folder's entries are counted before they are removed.
    """
    ends = time.monotonic() + look_s
    while True:
        found = {one.name: one for one in look()}
        # What lies on a disk does not go away by waiting.
        moving = sum(found[one].found for one in ("processes", "mounts"))
        if not moving or time.monotonic() > ends:
            break
        time.sleep(0.02)
    left = group.remove()
    found["groups"] = Found("groups", left, "removed, then looked for")
    shutil.rmtree(record.folder, ignore_errors=True)
    if Path(record.folder).exists():
        found["files"] = replace(found["files"], found=found["files"].found + 1)
    checks = tuple(Check(name, found[name].found, found[name].how) for name in CHECKS)
    # A record of what was found to be still there stays: the next start looks again.
    if not any(one.found for one in checks if one.name in ("processes", "mounts", "groups")):
        forget(folder, record.sandbox)
    return checks


def reap(
    folder: Path, *, clock: Callable[[], int], reason: str = "launcher-died", look_s: float = LOOK_S, running: str = ""
) -> list[Looked]:
    """Everything that earlier runs of the server in `folder` left: one entry for each lease, "" for spares. running: the sandbox that
    is no leftover.

    Raises OSError only where the folder cannot be read at all.
    """
    rows: dict[tuple[str, str, str], list[tuple[PidRecord, tuple[Check, ...], int, int]]] = {}
    for record in read(folder):
        if record.sandbox == running:
            continue
        began = clock()
        if not record.machine_boot or record.machine_boot != machine_boot():
            # The machine was started anew: memory, groups and processes of then are gone with it. Where nobody can say whether it
            # was, its numbers mean nothing either.
            record = replace(record, pids=(), began=(), namespaces={}, device="")
        group = groups.restored(record.groups, record.sandbox)
        bubblewrap.kill(record, group)
        checks = settle(folder, record, group, lambda record=record, group=group: looking.look(record, group), look_s=look_s)  # type: ignore[misc]
        rows.setdefault((record.server, record.lease, record.tenant), []).append((record, checks, began, clock()))
    return [_merged(key, parts, reason) for key, parts in rows.items()] + [_unknown(folder.name, one, reason, clock()) for one in unreadable(folder)]


def _unknown(server: str, sandbox: str, reason: str, at_ms: int) -> Looked:
    """A record that cannot be read is never clean: people look what ran under it, and take it away."""
    checks = tuple(Check(one, 1 if one == "processes" else 0, "its record cannot be read") for one in CHECKS)
    return Looked(server, "", "", (sandbox,), reason, at_ms, at_ms, "process", checks)


def _merged(key: tuple[str, str, str], parts: list[tuple[PidRecord, tuple[Check, ...], int, int]], reason: str) -> Looked:
    server, lease, tenant = key
    return Looked(
        server, lease, tenant, tuple(sorted(record.sandbox for record, *_ in parts)), reason, min(one[2] for one in parts),
        max(one[3] for one in parts), parts[0][0].assurance, sum_checks([one[1] for one in parts]),
    )  # fmt: skip


def joined(found: Sequence[Looked]) -> Looked:
    """What was found on one server as one: of the lease, where one of them had one; clean only where all of them are."""
    of_lease = next((one for one in found if one.lease), found[0])
    return replace(of_lease, checks=sum_checks([one.checks for one in found]))


def sum_checks(parts: Sequence[Sequence[Check]]) -> tuple[Check, ...]:
    """One line for each check: what was found of several sandboxes together."""
    return tuple(Check(rows[0].name, sum(one.found for one in rows), rows[0].how) for rows in zip(*parts, strict=True))
