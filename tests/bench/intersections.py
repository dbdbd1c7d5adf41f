"""What an intersection costs: real node processes over mutual TLS, from stored lists to the sealed release.

For each size two lists of n customers with half of them in common, every customer with a live grant. Processor time and
peak memory are the kernel's for each node process, fresh for each run, so consent, commitments, transport, signatures,
evidence, co-signing and the staff API count. What curve arithmetic took is the clock of the thread that ran it
(`metered`); the rest is "outside".
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tests.bench import nodes
from workbench.client.session import Client, Record
from workbench.commands.common import client_for, credentials
from workbench.domain.party import Role
from workbench.workspace import Workspace

CATALOGUE = {
    "name": "bench",
    "owner": "bench",
    "source": "synthetic",
    "subjects": "synthetic customers",
    "method": "generated",
    "data_class": "C2",
    "lawful_basis": "consent",
}
PURPOSE = "wealth-marketing"
POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class PartyCost:
    """One node from the proposal to the sealed release. peak_mb: of the whole process; base_mb: before the proposal."""

    cpu_s: float
    system_s: float
    points_s: float
    multiplications: int
    peak_mb: float
    base_mb: float
    phases: list[dict[str, Any]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cost:
    """One run. cpu_s, outside_s, peak_mb: of the larger party; *_us: processor time by real identifier of that party."""

    size: int
    bucket: int
    wall_s: float
    cpu_s: float
    outside_s: float
    per_identifier_us: float
    outside_us: float
    outside_share: float
    point_us: float
    peak_mb: float
    wire_bytes: int
    released: int
    agrees: bool
    import_s: float
    import_consents_s: float
    parties: dict[str, PartyCost] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(size: int, *, files: Path) -> Cost:
    """Import lists and grants of `size` customers at both sides and run one intersection.

    files: a folder that receives the lists and the common identifiers (`write_lists`), for the other engines.
    """
    truth = write_lists(files, size)
    with nodes.workspace_of() as workspace:
        nodes.start(workspace)
        imported = {party: import_both(workspace, party, files, size) for party in nodes.PARTIES}
        # Fresh processes, so that peak memory is that of the intersection and not of the import.
        running = nodes.start(workspace)
        time.sleep(1.0)  # the first greetings and co-signing rounds of the start
        base = {party: nodes.resident_mb(node.pid) for party, node in running.items()}
        before = {party: nodes.processor(node.pid) for party, node in running.items()}
        began = time.perf_counter()
        state = run_job(workspace)
        wall_s = time.perf_counter() - began
        after = {party: nodes.processor(node.pid) for party, node in running.items()}
        parties = {
            party: _party_cost(workspace, party, node.pid, before[party], after[party], base[party])
            for party, node in running.items()
        }
        released = released_keys(workspace, state.job)
    larger = max(parties.values(), key=lambda one: one.cpu_s)
    outside_s = larger.cpu_s - larger.points_s
    return Cost(
        size=size,
        bucket=int(state.result["own_bucket"]),
        wall_s=round(wall_s, 2),
        cpu_s=round(larger.cpu_s, 2),
        outside_s=round(outside_s, 2),
        per_identifier_us=round(larger.cpu_s / size * 1e6, 1),
        outside_us=round(outside_s / size * 1e6, 1),
        outside_share=round(outside_s / larger.cpu_s, 3),
        point_us=round(larger.points_s / larger.multiplications * 1e6, 2),
        peak_mb=round(max(one.peak_mb for one in parties.values()), 0),
        wire_bytes=int(state.result["bytes"]),
        released=int(state.result["released"]),
        agrees=released == truth,
        import_s=round(max(one for one, _ in imported.values()), 2),
        import_consents_s=round(max(one for _, one in imported.values()), 2),
        parties=parties,
    )


def write_lists(folder: Path, size: int) -> set[str]:
    """Customers, grants and bare identifiers (`{party}-{size}[-grants|-ids].csv`); returns the common identifiers.

    Phone numbers of no carrier (they begin with 10), in a fixed order that is not ascending.
    """
    folder.mkdir(exist_ok=True)
    for party, other, first in (("broker", "bank", 0), ("bank", "broker", size // 2)):
        numbers = pl.int_range(first, first + size, eager=True).shuffle(seed=7)
        phones = (numbers + 10_000_000_000).cast(pl.String)
        pl.DataFrame({"客户号": numbers.cast(pl.String), "手机号": phones}).write_csv(folder / f"{party}-{size}.csv")
        pl.DataFrame({"id": phones}).write_csv(folder / f"{party}-{size}-ids.csv")
        pl.DataFrame({"phone": phones}).with_columns(
            pl.lit(PURPOSE).alias("purpose"),
            pl.lit(other).alias("recipient"),
            pl.lit("2020-01-01").alias("valid_from"),
            pl.lit("2099-12-31").alias("valid_until"),
        ).write_csv(folder / f"{party}-{size}-grants.csv")
    return {str(10_000_000_000 + number) for number in range(size // 2, size)}


def import_both(workspace: Workspace, party: str, files: Path, size: int) -> tuple[float, float]:
    """Seconds to import customers and grants through the node's own API."""
    with client_for(workspace, party, Role.MARKETING) as client:
        began = time.perf_counter()
        client.call("lists.import", file=client.upload(files / f"{party}-{size}.csv"), catalogue=CATALOGUE)
        customers_s = time.perf_counter() - began
    with client_for(workspace, party, Role.COMPLIANCE) as client:
        began = time.perf_counter()
        client.call("consent.import", file=client.upload(files / f"{party}-{size}-grants.csv"))
        return customers_s, time.perf_counter() - began


def run_job(workspace: Workspace) -> Record:
    """Propose as broker, approve as bank, wait for the sealed release; the job in its last state."""
    with client_for(workspace, "broker", Role.MARKETING) as client:
        job = client.intersection.propose(partner="bank", purpose=PURPOSE, timeout_s=3600)
        with client_for(workspace, "bank", Role.APPROVER) as approver:
            _, password = credentials(workspace, "bank", Role.APPROVER)
            approver.confirmed("intersection.approve", password=password, job=job.job, automatic=True)
        state = _wait(client, job.job)
        with client_for(workspace, "bank", Role.MARKETING) as other:
            _wait(other, job.job)
    if state.state != "RELEASED":
        raise RuntimeError(f"the run ended {state.state}: {state.error}")
    return state


def released_keys(workspace: Workspace, job: str) -> set[str]:
    """The identifiers of the broker's export."""
    _, password = credentials(workspace, "broker", Role.MARKETING)
    with client_for(workspace, "broker", Role.MARKETING) as client:
        export = client.confirmed("intersection.export", password=password, job=job, columns=[], automatic=True)
        data: bytes = client.download(export.download)
    return set(pl.read_csv(data, infer_schema=False)["phone"].to_list())


def _wait(client: Client, job: str) -> Record:
    while not (state := client.intersection.job(job=job)).is_final:
        time.sleep(POLL_S)
    record: Record = state
    return record


def _party_cost(
    workspace: Workspace, party: str, pid: int, before: nodes.Spent, after: nodes.Spent, base_mb: float
) -> PartyCost:
    written = nodes.accounts(workspace, party)
    return PartyCost(
        cpu_s=round(after.total_s - before.total_s, 2),
        system_s=round(after.system_s - before.system_s, 2),
        points_s=round(sum(one["s"] for one in written["curve"].values()), 3),
        multiplications=int(written["curve"]["x25519"]["rows"]),
        peak_mb=round(max([nodes.resident_mb(pid, "VmHWM"), *(one["peak_mb"] for one in written["phases"])])),
        base_mb=round(base_mb),
        phases=written["phases"],
    )
