"""A partner killed, frozen or without disk in mid-run: the attempt ends in time, nothing is half-done, and it runs again."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from workbench.client.session import Client
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused, WorkbenchError
from workbench.supervisor import running_nodes, stop_nodes

from tests.flows import population
from tests.flows.institutions import CATALOGUE
from tests.processes.live import STEP_TIMEOUT_S, Live, wait_until, workbench

PURPOSE = "customer-service"
FAILURES = "SELECT count(*) FROM evidence_index WHERE kind = 'action.refused'"
ENDED = ("ABORTED", "ABORTED_AFTER_REVEAL")
RUNNING = ("RUNNING", "REVEALING", "CHECKING")


@pytest.fixture(autouse=True)
def all_run(live: Live) -> Iterator[None]:
    """Whatever a test did to a node, the next one finds all three running."""
    yield
    for party in live.workspace.parties:
        if PartyId(party) in running_nodes(live.workspace):
            live.signal(party, signal.SIGCONT)
        else:
            live.restart(party)


def begun(live: Live, frames: int) -> str:
    """A job whose initiator has recorded this many frames at the moment of return; or that ended before, on a busy machine."""
    with live.client("broker", Role.MARKETING) as client:
        job = str(client.intersection.propose(partner="bank", purpose=PURPOSE).job)
    _, password = live.workspace.sign_in("bank", Role.APPROVER)
    with live.client("bank", Role.APPROVER) as client:
        client.confirmed("intersection.approve", password=password, job=job)
    wait_until(
        lambda: live.messages("broker", job) >= frames or live.state("broker", job) in ENDED,
        limit_s=120, what="the run", pause_s=0.001,
    )  # fmt: skip
    return job


def struck(live: Live, party: str, frames: int, number: signal.Signals) -> str:
    """A job in whose run a node got this signal, after so many frames: the other one was still at it then.

    A busy machine may end an attempt before (the time of a step is short here) or finish it before the signal comes.
    """
    other = "broker" if party == "bank" else "bank"
    seen = []
    for _ in range(4):
        job = begun(live, frames)
        live.signal(party, number)
        seen.append(live.state(other, job))
        if seen[-1] in RUNNING:
            return job
        if number is signal.SIGSTOP:
            live.signal(party, signal.SIGCONT)
        else:
            wait_until(lambda: PartyId(party) not in running_nodes(live.workspace), limit_s=60, what="the end of the node")
            live.restart(party)
    raise AssertionError(f"no run was met in its middle: {seen}")


def nothing_is_left(live: Live, party: str, job: str) -> None:
    assert live.rows(party, "SELECT result FROM host_job WHERE job = ?", job) == [("{}",)]
    assert live.rows(party, "SELECT count(*) FROM vault_object WHERE name = ?", f"result/{job}") == [(0,)]
    with live.client(party, Role.MARKETING) as client, pytest.raises(WorkbenchError, match="NOT_RELEASED"):
        client.intersection.result(job=job)


def runs_again(live: Live, job: str) -> None:
    with live.client("broker", Role.MARKETING) as client:
        wait_until(lambda: live.state("bank", job) in (*ENDED, "APPROVED"), limit_s=60, what="the partner's end")
        client.intersection.run(job=job)
        wait_until(lambda: live.state("broker", job) == "RELEASED", limit_s=90, what="the release")
        found = client.intersection.job(job=job)
    assert found.result["released"] == len(population.expected("broker", "bank", PURPOSE)) and found.attempt == 2
    wait_until(lambda: live.state("bank", job) == "RELEASED", limit_s=90, what="the partner's release")


@pytest.mark.parametrize(("party", "frames"), [("bank", 8), ("bank", 60), ("broker", 60)])
def test_a_node_that_is_killed_ends_the_attempt_of_the_other(live: Live, party: str, frames: int) -> None:
    """60 frames lie in the middle of the reveal, 8 before the first list of points."""
    job = struck(live, party, frames, signal.SIGKILL)
    other = "broker" if party == "bank" else "bank"
    wait_until(lambda: live.state(other, job) in ENDED, limit_s=STEP_TIMEOUT_S + 60, what="the end")
    if frames == 60:
        assert live.state(other, job) == "ABORTED_AFTER_REVEAL"
    nothing_is_left(live, other, job)
    live.restart(party)
    assert live.state(party, job) in ENDED, "what the kill left open is settled at the start"
    nothing_is_left(live, party, job)
    runs_again(live, job)
    audit = workbench("audit", live.folder, "--party", party, "--json")
    assert audit.status == 0 and audit.value["holds"]


@pytest.mark.parametrize("frames", [8, 60])
def test_a_frozen_partner_is_given_up_after_the_configured_time(live: Live, frames: int) -> None:
    """Row C14: SIGSTOP keeps every connection open; only the time-out of a step tells."""
    with live.client("broker", Role.MARKETING) as client:
        job = struck(live, "bank", frames, signal.SIGSTOP)
        start = time.monotonic()
        # Staff of the initiator are answered meanwhile.
        assert client.intersection.job(job=job).state in RUNNING
        wait_until(lambda: live.state("broker", job) in ENDED, limit_s=STEP_TIMEOUT_S + 60, what="the end")
        took = time.monotonic() - start
        code = client.intersection.job(job=job).error["code"]
    assert took > STEP_TIMEOUT_S / 2, "it was given up before its time"
    assert code in ("STEP_TIMEOUT", "PEER_UNAVAILABLE", "ABORTED_AFTER_REVEAL")
    nothing_is_left(live, "broker", job)
    live.signal("bank", signal.SIGCONT)
    wait_until(lambda: live.state("bank", job) in ENDED, limit_s=60, what="the end at the partner")
    nothing_is_left(live, "bank", job)
    runs_again(live, job)


def taken_until_refused(client: Client, path: Path) -> tuple[int, WorkbenchError]:
    """How often a file was imported before it was refused, and the refusal."""
    for accepted in range(20):
        try:
            client.call("lists.import", file=client.upload(path), catalogue=CATALOGUE)
        except WorkbenchError as error:
            return accepted, error
    raise AssertionError(f"{path.name} was never refused")


def test_a_disk_without_room_leaves_nothing_half_done_and_is_recorded(live: Live, tmp_path: Path) -> None:
    """The operating system itself refuses to let the card network's files grow (RLIMIT_FSIZE)."""
    folder = live.workspace.node_folder("cardnet")
    stop_nodes(live.workspace, parties=(PartyId("cardnet"),))
    lists = len(live.rows("cardnet", "SELECT list FROM host_list"))
    limit = (folder / "evidence.db").stat().st_size + 300_000
    (folder / "run" / "node.json").unlink(missing_ok=True)

    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    log = (folder / "run" / "full.log").open("wb")
    child = subprocess.Popen(
        [sys.executable, "-m", "workbench.node.service", str(live.folder.resolve()), "cardnet"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=no_room,
    )  # fmt: skip
    try:
        wait_until(lambda: PartyId("cardnet") in running_nodes(live.workspace), limit_s=120, what="the start")
        assert running_nodes(live.workspace)[PartyId("cardnet")].pid == child.pid
        large, packed = tmp_path / "large.csv", tmp_path / "packed.parquet"
        large.write_bytes(b"phone\n" + b"10000000000\n" * (limit // 12 + 1))
        rows = range(20_000)
        pl.DataFrame(
            {
                "客户号": [f"N{one}" for one in rows],
                "手机号": [f"1{one:010d}" for one in rows],
                "备注": [os.urandom(30).hex() for _ in rows],
            }
        ).write_parquet(packed, compression="zstd")
        # Signed in while there is room for a ticket: what is refused here is refused by the gate, which records it.
        with live.client("cardnet", Role.MARKETING) as client:
            # The one finds no room as an upload; the other fits some times, and then the database has none.
            for path in (large, packed):
                before = live.rows("cardnet", FAILURES)[0][0]
                accepted, refused = taken_until_refused(client, path)
                assert accepted == 0 or path == packed
                assert (refused.code, refused.exit_status) == ("STORAGE_FAILED", 1)
                assert len(live.rows("cardnet", "SELECT list FROM host_list")) == lists + accepted
                assert not list((folder / "uploads").iterdir())
                lists += accepted
                # A limit on each file is harsher than a full disk, whose reserve is given back: the log itself may be at its
                # end. Then the refusal says that it could not be recorded, which only the database's own end may cause.
                unrecorded = refused.details.get("evidence", "")
                if unrecorded:
                    assert path == packed and unrecorded.startswith("not recorded: ")
                else:
                    wait_until(lambda: live.rows("cardnet", FAILURES)[0][0] > before, limit_s=60, what="the entry about it")  # noqa: B023
            assert live.rows("cardnet", "SELECT count(*) FROM store_incident")[0][0] >= 1, "the failure itself is on record"
            left = live.rows("cardnet", "SELECT name FROM vault_object WHERE name LIKE 'list/%'")
            assert len({name.split("/")[1] for (name,) in left}) == lists, "what was refused left neither rows nor tokens"
            # The operators make room: the node goes on as it is, and what it refuses is on record again.
            resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (limit + 8_000_000, resource.RLIM_INFINITY))
            before = live.rows("cardnet", FAILURES)[0][0]
            with pytest.raises(Refused):
                client.call("people.all")
            wait_until(lambda: live.rows("cardnet", FAILURES)[0][0] > before, limit_s=60, what="the entry about a refusal")
    finally:
        child.terminate()
        child.wait(60)
        log.close()
    live.restart("cardnet")
    audit = workbench("audit", live.folder, "--party", "cardnet", "--json")
    assert audit.status == 0 and audit.value["holds"]
    again = workbench("import", "customers", live.folder, "--party", "cardnet", packed, "--json")
    assert again.status == 0, again
