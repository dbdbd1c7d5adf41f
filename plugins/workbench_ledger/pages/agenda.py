"""What waits for this person, what runs, and what is out of order: from replies of the node to rows. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from workbench_ledger.pages.words import Words, safe

Reply = Mapping[str, Any]
RUNNING = ("RUNNING", "REVEALING", "CHECKING", "SEALING")
WAITING = ("PROPOSED", "APPROVED")
NODE_STATES = {"ok": "ok", "silent": "away", "clock": "degraded"}


@dataclass(frozen=True, slots=True)
class Due:
    """One thing for this person to do. until_ms: None without a limit; page, params: where it is done."""

    id: str
    text: str
    until_ms: int | None
    page: str = ""
    params: tuple[tuple[str, str], ...] = ()


def due(status: Reply, jobs: Sequence[Reply], roles: Set[str], operations: Collection[str], words: Words) -> list[Due]:
    """What waits for this person, the nearest limit first; things without a limit come last."""
    found = []
    for job in jobs:
        name, partner = str(job["job"]), words.party(job["partner"])
        tail = f"…{name[-8:]}"
        where = (("job", name),)
        if job["state"] == "PROPOSED" and job["side"] == "partner" and "intersection.approve" in operations:
            found.append(Due(name, words.t("due.approve", partner=partner, job=tail), int(job["valid_until_ms"]), "inbox", where))
        elif job["can_run_again"] and "intersection.run" in operations:
            found.append(Due(name, words.t("due.again", partner=partner, job=tail), int(job["valid_until_ms"]), "intersection", where))
        elif job["state"] == "DISPUTED" and "compliance" in roles:
            found.append(Due(name, words.t("due.disputed", partner=partner, job=tail), None, "evidence", where))
    for node in status["nodes"]:
        if node["state"] != "ok" and roles & {"operator", "admin"}:
            told = words.t("due.node", party=words.party(node["party"]), problem=problem_of(node, words))
            found.append(Due(f"node:{node['party']}", told, None))
    found += [
        Due(f"check:{line['name']}", words.named(words.both(line)), None)
        for line in status["health"]
        if line["state"] != "ok" and line["owner"] in roles
    ]
    if "admin" in roles:
        found += [Due(f"plugin:{one['name']}", words.t("due.plugin", name=one["name"]), None) for one in broken_plugins(status)]
    return sorted(found, key=lambda one: (one.until_ms is None, one.until_ms or 0, one.id))


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


__all__ = ["Due", "broken_plugins", "due", "node_rows", "out_of_order", "owner", "problem_of", "released", "running"]
