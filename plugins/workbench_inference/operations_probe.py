"""The probe suite of a leased sandbox, run when somebody asks: at the tenant in the sealed session, at the provider by its launcher.

Document: docs/protocols/sandbox.md sections 7 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.domain.party import Role
from workbench.errors import NotFound, Refused
from workbench.operations import Operation, Reply, Request
from workbench_inference.asking.client import Suite
from workbench_inference.asking.service import asking_of
from workbench_inference.leasing import rows
from workbench_inference.leasing.lease import State
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.service import leasing_of, provider_of
from workbench_inference.roles import at_both
from workbench_sandbox.formats.carried import Probed

PROBERS: Final = frozenset({Role.OPERATOR, Role.PROVIDER_OPERATOR})


class ProbeRequest(Request):
    """One lease that runs."""

    lease: str = Field(max_length=32)


class ProbedTold(Reply):
    """One sandbox. tried: what it must be refused; failed: names of what it was not. frame: SM3 of the sealed frame in which it
    signed this, "" where the provider's launcher asked."""

    sandbox: str
    tried: int
    refused: int
    failed: list[str]
    frame: str


class ProbeReply(Reply):
    """operation inference.probe. A sandbox with anything in `failed` has ended by then, and its server is dirty."""

    lease: str
    sandboxes: list[ProbedTold]
    is_refused: bool


def probe(ctx: OperationContext, request: ProbeRequest) -> ProbeReply:
    """Let each sandbox of a lease try what it must not be able to do, and write down what it says."""
    leasing = leasing_of(ctx.host)
    host = leasing.host
    with host.store.read() as reader:
        row = rows.get(reader, request.lease)
    if row.state is not State.RUNNING:
        raise Refused(
            f"租约「{row.lease}」没有在运行，没有沙箱可以自检", f"Lease {row.lease} is not running: there is no sandbox to test", code="LEASE_NOT_RUNNING", details={"lease": row.lease},
        )  # fmt: skip
    found = asking_of(ctx.host).desk.sandboxes.probe(row) if leasing.tenant is not None else list(_by_launcher(ctx, row))
    if not found:
        raise NotFound(f"租约「{row.lease}」此刻没有沙箱", f"Lease {row.lease} has no sandbox at this moment", code="NO_SANDBOX")

    def change(tx: Transaction) -> None:
        for one in found:
            values = {"sandbox": one.sandbox, "tried": str(one.probed.tried), "refused": str(one.probed.refused), "failed": " ".join(one.probed.failed)}
            host.evidence.append(
                tx, "inference.probed", {**rows.parties(row, host.party), **values, "frame": one.frame}, job=row.lease, actor=ctx.caller.person.token
            )

    host.store.write(change)
    told = [ProbedTold(sandbox=one.sandbox, tried=one.probed.tried, refused=one.probed.refused, failed=list(one.probed.failed), frame=one.frame) for one in found]
    return ProbeReply(lease=row.lease, sandboxes=told, is_refused=not any(one.failed for one in told))


def _by_launcher(ctx: OperationContext, row: LeaseRow) -> Iterator[Suite]:
    provider = provider_of(ctx.host)
    for one in provider.held_by(row.lease):
        tried, failed = provider.servers.probe(one.sandbox)
        yield Suite(one.sandbox, Probed(tried, tried - len(failed), tuple(failed)), "")


PROBE_OPERATIONS: Final = at_both(
    (
        Operation(
            name="inference.probe", zh="让租用中的沙箱当场自检", en="let a leased sandbox run its probe suite now", request=ProbeRequest, reply=ProbeReply, roles=PROBERS,
            run=probe, evidence=("inference.probed",),
        ),
    )
)  # fmt: skip

__all__ = ["PROBE_OPERATIONS", "ProbeReply"]
