"""A timeline as rows of a lane diagram: two records of one frame become one arrow, long runs of frames one row.

Pure. A row is what `workbench_widgets.Lanes` takes; its id names the entry ("broker/186") or the run ("run:broker/60").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from workbench_ledger.pages.words import Entry, Words, route

RUN = "run:"
LONG_RUN = 6
LONG_ROUTINE = 3
ROUTINE = frozenset({"qkd.block_distilled"})
"""Kinds that a machine writes by itself every few seconds while all is well: one row for a run of one log's."""
MESSAGE = "intersection.message"


@dataclass(frozen=True, slots=True)
class Step:
    """One row before it is numbered. frame: kind of message, "" for acts; records: entries behind it, of those read.

    is_lonely: a message that only one side recorded; its other record is not merely on another page. routine: kind of an act
    that a machine repeats, "" for others.
    """

    id: str
    time_ms: int
    text: str
    state: str
    sender: str
    recipient: str
    frame: str
    index: int
    records: tuple[str, ...]
    is_lonely: bool = False
    routine: str = ""


def place(entry: Entry) -> str:
    """The id of an entry: "broker/186"."""
    return f"{entry['log']}/{entry['index']}"


def state_of(entry: Entry, changed: Set[str] = frozenset()) -> str:
    """How an entry is drawn; changed: ids that a check found changed."""
    if entry.get("problem") or place(entry) in changed:
        return "tampered"
    return "pending" if entry["seal"] == "PENDING" else "sealed"


def steps(
    entries: Sequence[Entry], words: Words, *, joined: bool, changed: Set[str] = frozenset()
) -> list[Step]:
    """One step for each act and each frame, in the order of time.

    joined: the entries are one job's from all logs, so a frame with a single record is worth a remark. A record whose
    counterpart is known but not among the entries has it on another page.
    """
    known = {place(entry): entry for entry in entries}
    told: set[str] = set()
    made = []
    for entry in entries:
        here, there = place(entry), str(entry.get("counterpart", ""))
        if here in told:
            continue
        records = [here]
        if joined and there in known:
            told.add(there)
            records.append(there)
        made.append(_step(entry, records, known, words, joined=joined, changed=changed))
    made.sort(key=lambda one: one.time_ms)
    return made


def _step(
    entry: Entry, records: list[str], known: Mapping[str, Entry], words: Words, *, joined: bool, changed: Set[str]
) -> Step:
    both = [known[one] for one in records]
    states = [state_of(one, changed) for one in both]
    is_frame = entry["kind"] == MESSAGE
    sender, recipient = route(entry) if is_frame else (str(entry["log"]), "")
    own = next((one for one in both if one["log"] == words.own), both[0])
    text = words.name(entry)
    state = "tampered" if "tampered" in states else "pending" if "pending" in states else "sealed"
    is_lonely = is_frame and joined and not entry.get("counterpart")
    if is_lonely:
        text = words.t("one_record", text=text, party=words.party(str(entry["log"])))
        state = "pending" if state == "sealed" else state
    return Step(
        id=place(own),
        time_ms=min(int(one["time_ms"]) for one in both),
        text=text,
        state=state,
        sender=sender,
        recipient=recipient,
        frame=str(entry["values"].get("message", "")) if is_frame else "",
        index=int(own["index"]),
        records=tuple(records),
        is_lonely=is_lonely,
        routine=entry["kind"] if entry["kind"] in ROUTINE else "",
    )


def folded(made: Sequence[Step], words: Words, opened: Set[str] = frozenset()) -> list[Step]:
    """Runs of LONG_RUN and more frames of one kind, LONG_ROUTINE of a routine, as one step each, unless opened or something in them is wrong."""
    rows: list[Step] = []
    start = 0
    while start < len(made):
        stop = start + 1
        while stop < len(made) and _goes_on(made[start], made[stop]):
            stop += 1
        run = made[start:stop]
        start = stop
        name = RUN + run[0].id
        if len(run) < (LONG_ROUTINE if run[0].routine else LONG_RUN) or name in opened or any(one.state == "tampered" for one in run):
            rows += run
            continue
        state = "pending" if any(one.state == "pending" for one in run) else "sealed"
        rows.append(
            Step(
                id=name,
                time_ms=run[0].time_ms,
                text=_run_text(run, words),
                state=state,
                sender=run[0].sender,
                recipient=run[0].recipient,
                frame=run[0].frame,
                index=run[0].index,
                records=tuple(one for step in run for one in step.records),
            )
        )
    return rows


def newest_within(entries: Sequence[Entry], rows: int) -> list[Entry]:
    """The newest of a log's entries that fold into at most so many rows. entries: oldest first."""
    left, stop = rows, len(entries)
    while stop and left:
        start = stop - 1
        first = entries[start]
        while first["kind"] in ROUTINE and start and (entries[start - 1]["kind"], entries[start - 1]["log"]) == (first["kind"], first["log"]):
            start -= 1
        cost = 1 if first["kind"] in ROUTINE and stop - start >= LONG_ROUTINE else stop - start
        if cost > left:
            start, cost = stop - left, left
        left, stop = left - cost, start
    return list(entries[stop:])


def _goes_on(first: Step, one: Step) -> bool:
    """Whether a step belongs to the run that another began."""
    if first.routine:
        return (one.routine, one.sender) == (first.routine, first.sender)
    return bool(first.frame) and one.frame == first.frame


def _run_text(run: Sequence[Step], words: Words) -> str:
    if run[0].routine:
        return words.t("run_routine", text=run[0].text, count=words.count(len(run)))
    return words.t("run", frame=words.frame(run[0].frame), count=words.count(len(run)))


def lane_rows(
    made: Sequence[Step], heads: Sequence[Mapping[str, Any]], words: Words, *, numbered: bool
) -> list[dict[str, Any]]:
    """Rows for the diagram, then one pill for each signed head.

    numbered: count the rows from 1 (two logs have no common index); otherwise the log's own indices are shown.
    """
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(made, start=1):
        is_arrow = bool(one.recipient)
        rows.append(
            {
                "index": number if numbered else one.index,
                "time_ms": one.time_ms,
                "kind": "message" if is_arrow else "act",
                "text": one.text,
                "state": one.state,
                "from": one.sender,
                **({"to": one.recipient} if is_arrow else {}),
                "id": one.id,
            }
        )
    last = int(rows[-1]["index"]) if rows else 0
    for number, head in enumerate(heads, start=1):
        signed = [one for one in head["signatures"] if one["valid"]]
        if not signed:
            continue
        missing = set(head["required"]) - {one["party"] for one in signed}
        rows.append(
            {
                "index": last + number,
                "time_ms": max(int(one["time_ms"]) for one in signed),
                "kind": "checkpoint",
                "text": words.t(
                    "head",
                    party=words.party(head["log"]),
                    size=words.count(head["size"]),
                    share=f"{len(signed)}/{len(head['signatures'])}",
                ),
                "state": "pending" if missing else "sealed",
                "id": f"head:{head['log']}",
            }
        )
    return rows


__all__ = ["MESSAGE", "RUN", "Step", "folded", "lane_rows", "place", "state_of", "steps"]
