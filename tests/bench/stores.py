"""Lists and consent at a million rows.

The filter runs in a process of its own: `python -m tests.bench.stores DIR` opens a node of a workspace that does not run
and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.bench import nodes
from tests.bench.intersections import CATALOGUE, PURPOSE
from workbench.commands.common import client_for
from workbench.domain.party import Caller, PartyId, Role
from workbench.host import Workbench
from workbench.workspace import Workspace, load_workspace, open_node

CHILD_S = 300
ONE_BY_ONE = 2000


def measure_imports(rows: int, folder: Path) -> dict[str, Any]:
    """Import `rows` customers and as many grants through a node's API, then decide on them in a fresh process."""
    customers, grants = write_population(folder, rows)
    with nodes.workspace_of() as workspace:
        result = {
            "rows": rows,
            "customers": _import(workspace, customers, Role.MARKETING, "lists.import", catalogue=CATALOGUE),
            "consents": _import(workspace, grants, Role.COMPLIANCE, "consent.import"),
        }
        nodes.stop(workspace)
        result["filter"] = _in_child(workspace)
    return result


def write_population(folder: Path, rows: int) -> tuple[Path, Path]:
    """(customers, grants): with phone, identity number, name, risk level and two tags; one grant for each customer."""
    numbers = np.random.default_rng(11).permutation(rows)
    phones = pl.Series("phone", numbers + 10_000_000_000).cast(pl.String)
    ids = pl.Series("id_no", _id_numbers(numbers))
    customers = pl.DataFrame(
        {
            "客户号": pl.Series(numbers).cast(pl.String),
            "手机号": phones,
            "身份证号": ids,
            "姓名": pl.Series(["合成客户"]).new_from_index(0, rows),
            "风险等级": "C" + pl.Series(numbers % 5 + 1).cast(pl.String),
            "资产档": pl.Series(["A", "B", "C", "D"]).gather(numbers % 4),
            "城市": pl.Series(["甲市", "乙市", "丙市"]).gather(numbers % 3),
        }
    )
    grants = pl.DataFrame({"phone": phones, "id_no": ids}).with_columns(
        pl.lit(PURPOSE).alias("purpose"),
        pl.lit("bank").alias("recipient"),
        pl.lit("2020-01-01").alias("valid_from"),
        pl.lit("2099-12-31").alias("valid_until"),
        # Everything a form may say: each grant has the longer digest, and every dimension is decided.
        pl.lit("customer-relation、id-no、phone").alias("categories"),
        pl.lit("sms call").alias("contact_channels"),
        pl.lit("otp").alias("method"),
        pl.Series(["self", "agent", "guardian"]).gather(numbers % 3).alias("signer"),
        pl.lit("是").alias("separate"),
        pl.Series(["", "9"]).gather(numbers % 2).alias("max_uses"),
    )
    listed, granted = folder / f"customers-{rows}.csv", folder / f"grants-{rows}.csv"
    customers.write_csv(listed)
    grants.write_csv(granted)
    return listed, granted


def _id_numbers(numbers: np.ndarray) -> list[str]:
    """Identity numbers of an area code not in use, with their check characters (GB 11643-1999)."""
    weights = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])
    birth = 1950_01_01 + (numbers // 1000 % 50) * 10_000 + (numbers // 50_000 % 12) * 100 + numbers // 600_000 % 28
    stems = 990101 * 10**11 + birth * 1000 + numbers % 1000
    digits = (stems[:, None] // 10 ** np.arange(16, -1, -1)) % 10
    checks = np.array(list("10X98765432"))[(digits * weights).sum(axis=1) % 11]
    return [f"{stem}{check}" for stem, check in zip(stems.tolist(), checks.tolist(), strict=True)]


def _import(workspace: Workspace, path: Path, role: Role, operation: str, **request: Any) -> dict[str, float]:
    """Wall, processor time and peak memory of one import by a fresh node process."""
    node = nodes.start(workspace)["broker"]
    before = nodes.processor(node.pid)
    began = time.perf_counter()
    with client_for(workspace, "broker", role) as client:
        reply = client.call(operation, file=client.upload(path), **request)
    wall_s = time.perf_counter() - began
    used = nodes.processor(node.pid)
    return {
        "wall_s": round(wall_s, 2),
        "cpu_s": round(used.total_s - before.total_s, 2),
        "peak_mb": round(nodes.resident_mb(node.pid, "VmHWM")),
        "accepted": reply.accepted,
    }


# ------------------------------------------------------------------------------------------ in a process of its own


def _in_child(workspace: Workspace) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.stores", str(workspace.folder)],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
        cwd=nodes.ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(nodes.COMPILED)},
    )
    if done.returncode:
        raise RuntimeError(f"the filter failed:\n{done.stderr[-2000:]}")
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def filter_list(broker: Workbench) -> dict[str, Any]:
    """The consent decision on the newest list: the first one of a fresh process, and a further one."""
    from workbench.contracts import GrantQuery
    from workbench.domain.intersection import KeyKind

    frame = broker.lists.frame(broker.lists.newest().list_id)
    query = GrantQuery(PURPOSE, PartyId("bank"), broker.now_ms(), KeyKind.PHONE)
    first = _timed(lambda: broker.consent.decide(frame, query))
    second = _timed(lambda: broker.consent.decide(frame, query))
    narrow = GrantQuery(PURPOSE, PartyId("bank"), broker.now_ms(), KeyKind.PHONE, frozenset({"customer-relation"}), "sms")
    narrowed = _timed(lambda: broker.consent.decide(frame, narrow))
    usable = int(broker.consent.decide(frame, query).usable.sum())
    return {
        "rows": frame.height, "usable": usable, "first": first, "further": second, "narrowed": narrowed, "one": _one_by_one(broker, frame, query),
    }  # fmt: skip


def _one_by_one(broker: Workbench, frame: pl.DataFrame, query: Any) -> dict[str, float]:
    """Milliseconds of decisions about one customer each, spread over the list; the first one builds the index."""
    registry: Any = broker.consent
    people = frame.gather_every(max(1, frame.height // ONE_BY_ONE)).select("phone", "id_no").rows()[:ONE_BY_ONE]
    first = _timed(lambda: registry.decide_one(*people[0], query))
    taken = []
    for phone, id_no in people:
        began = time.perf_counter()
        registry.decide_one(phone, id_no, query)
        taken.append((time.perf_counter() - began) * 1000)
    return {
        "count": len(taken), "index_s": first["wall_s"], "p50_ms": round(float(np.percentile(taken, 50)), 3),
        "p99_ms": round(float(np.percentile(taken, 99)), 3),
    }  # fmt: skip


def take_out(broker: Workbench) -> dict[str, Any]:
    """One customer of the newest list withdraws, another is erased; the search through all files is timed apart."""
    from workbench.contracts import GrantQuery
    from workbench.domain.intersection import KeyKind

    frame = broker.lists.frame(broker.lists.newest().list_id)
    leaving, gone = frame.row(frame.height // 3, named=True), frame.row(frame.height // 2, named=True)
    registry: Any = broker.consent
    withdraw = _timed(lambda: registry.withdraw(phone=leaving["phone"], id_no=leaving["id_no"]))
    query = GrantQuery(PURPOSE, PartyId("bank"), broker.now_ms(), KeyKind.PHONE)
    decision = _timed(lambda: registry.decide(frame, query))
    people = {one.person: one for one in broker.people.everyone()}
    searching: list[tuple[float, float]] = []

    def step(done: int, total: int) -> bool:
        if not searching:
            searching.append((time.perf_counter(), time.process_time()))
        return True

    wall, cpu = time.perf_counter(), time.process_time()
    broker.erasure.ask(
        Caller(people[Role.COMPLIANCE.value]), phone=gone["phone"], id_no=gone["id_no"], reason="measured", step=step
    )
    ended = time.perf_counter(), time.process_time()
    (began,) = searching
    return {
        "withdraw": withdraw,
        "next_decision": decision,
        "erase": {"wall_s": round(began[0] - wall, 3), "cpu_s": round(began[1] - cpu, 3)},
        "search": {"wall_s": round(ended[0] - began[0], 3), "cpu_s": round(ended[1] - began[1], 3)},
    }


def _timed(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(time.process_time() - cpu, 3)}


def main(arguments: list[str]) -> int:
    (folder,) = arguments
    workspace = load_workspace(Path(folder))
    broker = open_node(workspace, "broker")
    try:
        result = filter_list(broker) | take_out(broker)
    finally:
        broker.close()
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
