"""The ledger under the headings of JR/T 0193-2020 section 7: throughput, queries, synchronisation, deployment, growth.

Co-signing rounds are those of three running nodes (`rounds`). What needs nodes' own objects runs in a process of its own,
`python -m tests.bench.ledger DIR ENTRIES`: it opens the three nodes of a workspace that does not run, with their real keys
and databases, and prints one JSON object. Between them are function calls: the network is not measured there.
Document: docs/benchmarks.md section 3.4.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import nodes
from workbench.domain.party import PartyId
from workbench.host import Workbench
from workbench.store.evidence_log import EntryDraft
from workbench.workspace import Workspace, load_workspace, open_node

PARTIES = ("broker", "cardnet", "bank")
BROKER, CARDNET, BANK = (PartyId(name) for name in PARTIES)
APPEND_S = 3.0
THREADS = (1, 4, 16)
BATCH = 1_000
CATCH_UP = 100_000
ROUNDS = 40
ROUNDS_S = 300
_BOTH = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
PROOFS = 2_000
CHILD_S = 1_200
MESSAGE = {
    "partner": "bank",
    "attempt": "1",
    "direction": "sent",
    "message": "points",
    "round": "17",
    "size": "1048892",
    "digest": "00" * 32,
}
"""An entry of the kind a run writes most."""

PUBLISHED = (
    ("Tessera, POSIX, 12 cores, two SAS disks", "about 2,900 entries/s; 1,600 with antispam", "its docs/performance.md, read"),
    ("Tessera, POSIX, e2-micro", "more than 1,500 entries/s; integrated after 1.2 s on average", "the same, read"),
    ("Tessera, GCP, 100 Spanner units", "more than 3,000 entries/s; 800 with antispam", "the same, read"),
    ("Trillian v1, MySQL, a laptop, 2017", "1,190 entries/s sequenced, before a change that made it faster", "google/trillian #717, read"),
    ("Trillian v1, a user's MySQL, 2020", "60 entries/s for one tree, 100 for four", "google/trillian #2261, read"),
    ("Rekor v1 and v2", "no figure of its makers found; load test open", "sigstore/rekor-tiles #353, #482, read"),
    ("Rekor, one monitor's reading", "4.5 entries/s (v1), about 570 (v2)", "NVIDIA/aicr #1623, second hand"),
)
"""What others publish, on other machines: system, figure, source and whether it was read there."""


def measure(entries: int) -> dict[str, Any]:
    """All figures for a log of `entries` entries."""
    began = time.perf_counter()
    with nodes.workspace_of(PARTIES) as workspace:
        made_s = time.perf_counter() - began
        began = time.perf_counter()
        running = nodes.start(workspace)
        ready_s = time.perf_counter() - began
        start_cpu_s = max(nodes.processor(node.pid).total_s for node in running.values())
        idle_mb = max(nodes.resident_mb(node.pid) for node in running.values())
        network_ms = _rounds_of_nodes(workspace, ROUNDS if entries >= CATCH_UP else ROUNDS // 4)
        nodes.stop(workspace)
        result = _in_child(workspace, entries)
    result["network_ms"] = network_ms
    result["deployment"] = {
        "workspace_s": round(made_s, 2),
        "ready_s": round(ready_s, 2),
        "start_cpu_s": round(start_cpu_s, 2),
        "idle_mb": round(idle_mb),
    }
    result["published"] = [list(one) for one in PUBLISHED]
    return result


def _rounds_of_nodes(workspace: Workspace, count: int) -> dict[str, float]:
    """From before the append until the entry is sealed, and until all three have signed: real processes on loopback."""
    from tests.bench import rounds

    nodes.start(workspace, "tests.bench.rounds")
    folder = workspace.node_folder(BROKER)
    time.sleep(3.0)  # what the start itself wrote is co-signed first
    (folder / rounds.ORDER).write_text(str(count))
    limit = time.monotonic() + ROUNDS_S
    while not (folder / rounds.FIGURES).exists():
        if time.monotonic() > limit:
            raise RuntimeError(f"the rounds did not end:\n{(folder / 'run' / 'node.log').read_text('utf-8', 'replace')[-2000:]}")
        time.sleep(0.2)
    found = json.loads((folder / rounds.FIGURES).read_text("utf-8"))
    return {
        f"{name}_{label}": _part(found[f"{name}_ms"], part)
        for name in ("sealed", "full")
        for label, part in (("p50", 0.5), ("p95", 0.95))
    }


def _in_child(workspace: Workspace, entries: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.ledger", str(workspace.folder), str(entries)],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
        cwd=nodes.ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(nodes.COMPILED)},
    )
    if done.returncode:
        raise RuntimeError(f"the ledger's figures failed:\n{done.stderr[-2000:]}")
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


# ------------------------------------------------------------------------------------------ in a process of its own


def figures(open_nodes: dict[PartyId, Workbench], entries: int) -> dict[str, Any]:
    """Everything but deployment, in an order that lets each measurement stand on the log of the one before."""
    broker = open_nodes[BROKER]
    result: dict[str, Any] = {"single": {str(threads): _singles(broker, threads) for threads in THREADS}}
    first = broker.ledger.size(BROKER)
    result["batches"] = _fill(broker, max(CATCH_UP, first + BATCH))
    result["catch_up"] = _catch_up(broker, open_nodes[BANK])
    _mirror(broker, open_nodes[CARDNET])
    result["growth"] = _growth(broker, open_nodes[BANK])
    result["round_ms"] = _rounds(open_nodes)
    if broker.ledger.size(BROKER) < entries:
        result["batches"] = _fill(broker, entries)
    result["entries"] = broker.ledger.size(BROKER)
    result["proofs"] = _proofs(broker)
    result["queries"] = _queries(broker, first)
    result["audit"] = _audit(broker)
    # Of this process and of the audit's second one: at most what both ever took together.
    result["peak_mb"] = round(sum(resource.getrusage(who).ru_maxrss for who in _BOTH) * 1024 / 1e6)
    return result


def _singles(node: Workbench, threads: int) -> dict[str, float]:
    """Entries in transactions of their own, each on disk before the next of the same thread; longest_s: a caller's wait."""
    counts, longest = [0] * threads, [0.0] * threads
    until = time.perf_counter() + APPEND_S

    def work(number: int) -> None:
        while (began := time.perf_counter()) < until:
            node.store.write(lambda tx: node.evidence.append(tx, "intersection.message", MESSAGE, job=f"J-{number}"))
            longest[number] = max(longest[number], time.perf_counter() - began)
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    used = _timed(lambda: [*map(threading.Thread.start, workers), *map(threading.Thread.join, workers)])
    return {
        "per_s": round(sum(counts) / used["wall_s"]),
        "cpu_us": round(used["cpu_s"] / sum(counts) * 1e6, 1),
        "longest_s": round(max(longest), 3),
    }


def _fill(node: Workbench, size: int) -> dict[str, float]:
    """Append batches up to a size of the log; medians of the batches."""
    walls, cpus = [], []
    for start in range(node.ledger.size(node.party), size, BATCH):
        drafts = [
            EntryDraft("intersection.message", {**MESSAGE, "round": str(number)}, job=f"J-{number // 240}")
            for number in range(start, min(start + BATCH, size))
        ]
        used = _timed(lambda drafts=drafts: node.store.write(lambda tx: node.evidence.append_many(tx, drafts)))
        walls.append(used["wall_s"] / len(drafts))
        cpus.append(used["cpu_s"] / len(drafts))
    return {"per_s": round(1 / _part(walls, 0.5)), "cpu_us": round(_part(cpus, 0.5) * 1e6, 1)}


def _catch_up(origin: Workbench, witness: Workbench) -> dict[str, float]:
    """A mirror that holds nothing takes over the whole log, hashes it again and co-signs it."""
    used = _timed(lambda: _mirror(origin, witness))
    count = witness.ledger.size(origin.party)
    return {
        "entries": count,
        "wall_s": used["wall_s"],
        "per_s": round(count / used["wall_s"]),
        "cpu_us": round(used["cpu_s"] / count * 1e6, 1),
    }


def _mirror(origin: Workbench, witness: Workbench) -> None:
    while (request := origin.ledger.next_request(witness.party)) is not None:
        origin.ledger.accept_reply(witness.party, witness.ledger.witness(origin.party, request))


def _rounds(open_nodes: dict[PartyId, Workbench]) -> dict[str, float]:
    """One entry, until both other institutions have mirrored and co-signed it and the log knows."""
    broker, walls, cpus = open_nodes[BROKER], [], []
    for number in range(ROUNDS):
        ref = broker.store.write(
            lambda tx, number=number: broker.evidence.append(tx, "intersection.message", MESSAGE, job=f"J-{number}")
        )
        wall, cpu = time.perf_counter(), time.process_time()
        while broker.ledger.seal_state(BROKER, ref.index, required=[BANK]).state != "FULL":
            for party in (CARDNET, BANK):
                request = broker.ledger.next_request(party)
                if request is not None:
                    broker.ledger.accept_reply(party, open_nodes[party].ledger.witness(BROKER, request))
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return {
        "p50": round(_part(walls, 0.5), 1),
        "p99": round(_part(walls, 0.99), 1),
        "cpu_p50": round(_part(cpus, 0.5), 1),
    }


def _proofs(node: Workbench) -> dict[str, Any]:
    """Paths in both trees of random entries and between random sizes, from the tables, by one thread; milliseconds."""
    from workbench_ledger import tables

    chance, size, party = random.Random(5), node.ledger.size(node.party), node.party

    def inclusion() -> None:
        with node.store.read() as reader:
            tables.inclusion_paths(reader, party, chance.randrange(size), size)

    def consistency() -> None:
        with node.store.read() as reader:
            tables.consistency_paths(reader, party, chance.randrange(1, size), size)

    return {"inclusion": _milliseconds(inclusion), "consistency": _milliseconds(consistency)}


def _queries(node: Workbench, first: int) -> dict[str, float]:
    """Entries read, openings included, and searches by job, a second, by one thread."""
    chance, size = random.Random(3), node.ledger.size(node.party)
    indices = [chance.randrange(first, size) for _ in range(500)]

    def read_entries() -> None:
        with node.store.read() as reader:
            for index in indices:
                node.evidence.entry(reader, index, required=())

    def search() -> None:
        with node.store.read() as reader:
            for number in range(100):
                node.evidence.search(reader, job=f"J-{number % 16}", limit=20)

    return {
        "entries_per_s": round(500 / _timed(read_entries)["wall_s"]),
        "searches_per_s": round(100 / _timed(search)["wall_s"]),
    }


def _audit(node: Workbench) -> dict[str, float]:
    """The whole log and all mirrors, without openings; cpu_s: of both processes."""
    before = os.times()
    used = _timed(lambda: node.ledger.audit())
    after = os.times()
    child_s = after.children_user - before.children_user + after.children_system - before.children_system
    return {"wall_s": used["wall_s"], "cpu_s": round(used["cpu_s"] + child_s, 2)}


def _growth(origin: Workbench, witness: Workbench) -> dict[str, float]:
    """Bytes an entry: what the tables take, by what they are for.

    trees: leaves, subtrees, keys and half-filled pages of log and trees. openings: of what only this institution can read,
    opened: of it the sealed values and salts themselves. Indexes of plugins that follow the log later are not there yet.
    """
    size = origin.ledger.size(origin.party)
    with origin.store.read() as reader:
        body = reader.execute("SELECT avg(length(body)) FROM entry").fetchone()[0]
        opening = reader.execute("SELECT coalesce(sum(length(blob)), 0) FROM evidence_opening").fetchone()[0] / size
        tables = dict(reader.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall())
    trees = sum(taken for name, taken in tables.items() if name in ("entry", "ledger_node")) / size - body
    search = sum(taken for name, taken in tables.items() if name.startswith("evidence_index")) / size
    openings = sum(taken for name, taken in tables.items() if name.startswith("evidence_opening")) / size
    with witness.store.read() as reader:
        mirror = dict(reader.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall())
    held = sum(mirror[name] for name in ("ledger_mirror_entry", "ledger_node")) / witness.ledger.size(origin.party)
    return {
        "body": round(body),
        "trees": round(trees),
        "search": round(search),
        "openings": round(openings),
        "opened": round(opening),
        "mirror": round(held),
        "mirror_trees": round(held - body),
    }


def _milliseconds(work: Callable[[], object]) -> dict[str, float]:
    walls, cpus = [], []
    for _ in range(PROOFS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return {
        "p50_ms": round(_part(walls, 0.5), 3),
        "p99_ms": round(_part(walls, 0.99), 3),
        "cpu_p50_ms": round(_part(cpus, 0.5), 3),
        "cpu_p99_ms": round(_part(cpus, 0.99), 3),
    }


def _part(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def _timed(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall_s": round(time.perf_counter() - wall, 4), "cpu_s": round(time.process_time() - cpu, 4)}


def main(arguments: list[str]) -> int:
    folder, entries = arguments
    workspace = load_workspace(Path(folder))
    open_nodes = {party: open_node(workspace, party) for party in (BROKER, CARDNET, BANK)}
    try:
        result = figures(open_nodes, int(entries))
    finally:
        for node in open_nodes.values():
            node.close()
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
