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
from workbench_sandbox.server import bubblewrap, groups, looking
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
    """All records that lie there, by sandbox; one that cannot be read stays where it is."""
    found = []
    for path in sorted((folder / RECORDS).glob("sb-*.json")):
        try:
            body = json.loads(path.read_bytes())
            body["pids"], body["began"], body["groups"] = tuple(body["pids"]), tuple(body["began"]), tuple(body["groups"])
            found.append(PidRecord(**body))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


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
        if record.machine_boot != machine_boot():
            # The machine was started anew: memory, groups and processes of then are gone with it.
            record = replace(record, pids=(), began=(), namespaces={}, device="", groups=())
        group = groups.restored([one for one in record.groups if Path(one).is_dir()])
        bubblewrap.kill(record, group)
        checks = settle(folder, record, group, lambda record=record, group=group: looking.look(record, group), look_s=look_s)  # type: ignore[misc]
        rows.setdefault((record.server, record.lease, record.tenant), []).append((record, checks, began, clock()))
    return [_merged(key, parts, reason) for key, parts in rows.items()]


def _merged(key: tuple[str, str, str], parts: list[tuple[PidRecord, tuple[Check, ...], int, int]], reason: str) -> Looked:
    server, lease, tenant = key
    return Looked(
        server, lease, tenant, tuple(sorted(record.sandbox for record, *_ in parts)), reason, min(one[2] for one in parts),
        max(one[3] for one in parts), parts[0][0].assurance, sum_checks([one[1] for one in parts]),
    )  # fmt: skip


def sum_checks(parts: Sequence[Sequence[Check]]) -> tuple[Check, ...]:
    """One line for each check: what was found of several sandboxes together."""
    return tuple(Check(rows[0].name, sum(one.found for one in rows), rows[0].how) for rows in zip(*parts, strict=True))
