"""What waits for this person, what runs, and what is out of order: from replies of the node to rows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from workbench_ledger.pages.words import Words, safe

Reply = Mapping[str, Any]
RUNNING = ("RUNNING", "REVEALING", "CHECKING", "SEALING")
WAITING = ("PROPOSED", "APPROVED")
CLOSE_DISPUTE = "intersection.close_dispute"
PLACES: Mapping[str, tuple[str, str]] = {
    "consent": ("consent", ""), "withdrawals": ("consent", "withdrawals"), "contact stops": ("consent", "stops"), "rights": ("rights", "requests"),
    "complaints": ("rights", "complaints"), "tasks": ("rights", "tasks"), "assessment": ("assessment", "assessments"), "breach": ("assessment", "breaches"),
}  # fmt: skip
"""Name of a line of health -> page and section where its owner deals with it."""
NODE_STATES = {"ok": "ok", "silent": "away", "clock": "degraded"}


@dataclass(frozen=True, slots=True)
class Due:
    """One thing for this person to do. until_ms: None without a limit; page, params: where it is done.

    left: what is said of the limit instead of the hours left, such as working days. day: YYYY-MM-DD, the last day, where the limit
    is the end of one. at_once: comes before every limit.
    closes: the operation that takes it off this page, when that is done here; subject: what it is asked about.
    """

    id: str
    text: str
    until_ms: int | None
    page: str = ""
    params: tuple[tuple[str, str], ...] = ()
    left: str = ""
    day: str = ""
    at_once: bool = False
    closes: str = ""
    subject: str = ""


def urgency(one: Due) -> tuple[bool, bool, int, str]:
    """The order of what waits: at once, then the nearest limit, then what has none."""
    return (not one.at_once, one.until_ms is None, one.until_ms or 0, one.id)


def due(
    status: Reply,
    jobs: Sequence[Reply],
    roles: Set[str],
    operations: Collection[str],
    words: Words,
    *,
    more: Sequence[Due] = (),
    covered: Set[str] = frozenset(),
) -> list[Due]:
    """What waits for this person, the nearest limit first; things without a limit come last.

    more: what waits on other pages. covered: names of the lines of health that `more` says one by one.
    """
    found = []
    for job in jobs:
        name, partner = str(job["job"]), words.party(job["partner"])
        tail = f"…{name[-8:]}"
        where = (("job", name),)
        if job["state"] == "PROPOSED" and job["side"] == "partner" and "intersection.approve" in operations:
            found.append(Due(name, words.t("due.approve", partner=partner, job=tail), int(job["valid_until_ms"]), "inbox", where))
        elif job["can_run_again"] and "intersection.run" in operations:
            found.append(Due(name, words.t("due.again", partner=partner, job=tail), int(job["valid_until_ms"]), "intersection", where))
        elif job["state"] == "DISPUTED" and "compliance" in roles and "dispute_closed_ms" not in job["error"]:
            closes = CLOSE_DISPUTE if CLOSE_DISPUTE in operations else ""
            told = words.t("due.disputed", partner=partner, job=tail)
            found.append(Due(name, told, None, "evidence", where, closes=closes, subject=name))
    for node in status["nodes"]:
        if node["state"] != "ok" and roles & {"operator", "admin"}:
            told = words.t("due.node", party=words.party(node["party"]), problem=problem_of(node, words))
            found.append(Due(f"node:{node['party']}", told, None, "health"))
    found += [
        Due(f"check:{line['name']}", words.named(words.both(line)), None, *_place(str(line["name"]), roles))
        for line in status["health"]
        if line["state"] != "ok" and line["owner"] in roles and line["name"] not in covered
    ]
    if "admin" in roles:
        found += [Due(f"plugin:{one['name']}", words.t("due.plugin", name=one["name"]), None, "health") for one in broken_plugins(status)]
    return sorted([*found, *more], key=urgency)


def _place(check: str, roles: Set[str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Where a line of health is dealt with: the page of its area, else the page Health for who may open it."""
    page, section = PLACES.get(check, ("health" if roles & {"operator", "admin"} else "", ""))
    return page, ((("section", section),) if section else ())


def running(status: Reply, jobs: Sequence[Reply], words: Words) -> list[tuple[str, str, str]]:
    """Jobs on their way: id, what they are doing, state for the chip."""
    progress = {str(one["job"]): one for one in status["running"]}
    rows = []
    for job in jobs:
        name, partner = str(job["job"]), words.party(job["partner"])
        if job["state"] in RUNNING:
            told = progress.get(name, {})
            done, total = int(told.get("done") or 0), int(told.get("total") or 0)
            share = f"{100 * done // total} %" if total else ""
            rows.append((name, words.t("now.running", job=f"…{name[-8:]}", partner=partner, share=share).strip(), "running"))
        elif job["state"] in WAITING and not (job["side"] == "partner" and job["state"] == "PROPOSED"):
            rows.append((name, words.t(f"now.{job['state']}", job=f"…{name[-8:]}", partner=partner), "pending"))
    return rows


def released(jobs: Sequence[Reply], words: Words, limit: int = 6) -> list[dict[str, Any]]:
    """The last released jobs, newest first, as rows of a table."""
    return [
        {
            "id": str(job["job"]), "job": f"…{str(job['job'])[-8:]}", "partner": words.party(job["partner"]),
            "count": job["result"].get("released"),
        }
        for job in jobs
        if job["state"] == "RELEASED"
    ][:limit]  # fmt: skip


def node_rows(status: Reply, words: Words) -> list[dict[str, Any]]:
    """The institutions' nodes as the list of nodes takes them, in the order of their letters."""
    rows = []
    for node in sorted(status["nodes"], key=lambda one: words.rank(one["party"])):
        state = NODE_STATES.get(str(node["state"]), "degraded")
        row = {"party": node["party"], "tile": words.tile(node["party"]), "name": words.party(node["party"]), "state": state,
               "mine": node["party"] == words.own}  # fmt: skip
        if state != "ok":
            row |= {"remark": words.t("node.call", party=words.party(node["party"]), problem=problem_of(node, words))}
            row |= {"seen_ms": int(node["seen_ms"])} if node["seen_ms"] else {}
        rows.append(row)
    return rows


def out_of_order(status: Reply) -> int:
    """How many things somebody has to look after: nodes, checks and plugins."""
    nodes = sum(1 for one in status["nodes"] if one["state"] != "ok")
    return nodes + sum(1 for one in status["health"] if one["state"] != "ok") + len(broken_plugins(status))


def broken_plugins(status: Reply) -> list[Reply]:
    """Plugins that did not load."""
    return [one for one in status["plugins"] if one["state"] != "ok"]


def problem_of(node: Reply, words: Words) -> str:
    """Why a node is not well, in the reader's language."""
    told = str(node["problem_zh" if words.lang == "zh" else "problem_en"])
    return words.named(safe(told)) or words.t("node.silent")


def owner(name: str, words: Words) -> str:
    """Who looks after a check."""
    return words.maybe(f"role.{name}", name)


__all__ = ["CLOSE_DISPUTE", "Due", "broken_plugins", "due", "node_rows", "out_of_order", "owner", "problem_of", "released", "running", "urgency"]
