"""How long the keys of a site last, over all its lines: stock, supply and use by partner. Document: docs/quantum-channel.md section 13."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.operations import NoInput, Operation, Reply
from workbench_qkd import policies
from workbench_qkd.choosing import CUT
from workbench_qkd.service import service_of

READERS: Final = frozenset({Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})


@dataclass(frozen=True, slots=True)
class Supply:
    """One line's keys. made, burn: keys an hour, over the last hour; gives: whether keys can be had from it now; tenant: its tag."""

    line: str
    peer: str
    available: int
    low_water: int
    made: float
    burn: float
    gives: bool
    tenant: str = ""


class PartnerCapacity(Reply):
    """All lines of one tenant to one partner together: keys of another tenant's lines are of no use to it. Rates in keys an hour; a line that gives none now counts with neither stock nor supply.

    hours_left, hours_to_low: -1 when the stock does not fall. missing_per_hour: supply that is short of the use: what another
    source would have to bring. first_out: the line that is used up first, "" for none.
    """

    peer: str
    lines: int
    giving: int
    available: int
    low_water: int
    made_per_hour: float
    burn_per_hour: float
    missing_per_hour: float
    hours_left: float
    hours_to_low: float
    first_out: str
    tenant: str


class CapacityLine(Reply):
    """hours_left: -1 when the stock does not fall."""

    line: str
    peer: str
    tenant: str
    source: str
    provenance: str
    state: str
    gives: bool
    available: int
    made_per_hour: float
    burn_per_hour: float
    hours_left: float


class CapacityReply(Reply):
    """device: kind of the first device of this site's entity; devices: how many serve, one can be added (`qkd.add_device`)."""

    device: str
    devices: int
    partners: list[PartnerCapacity]
    lines: list[CapacityLine]


def by_partner(supplies: Iterable[Supply]) -> list[PartnerCapacity]:
    """Pure. Straight on from the last hour, by name of the partner and tag of the tenant."""
    found: dict[tuple[str, str], list[Supply]] = {}
    for one in supplies:
        found.setdefault((one.peer, one.tenant), []).append(one)
    return [_partner(*mark, found[mark]) for mark in sorted(found)]


def hours(stock: float, made: float, burn: float) -> float:
    """Until a stock is gone; -1 when it does not fall."""
    return max(0.0, stock) / (burn - made) if burn > made else -1.0


def _partner(peer: str, tenant: str, lines: list[Supply]) -> PartnerCapacity:
    giving = [one for one in lines if one.gives]
    available, low = sum(one.available for one in giving), sum(one.low_water for one in giving)
    # What a line that is cut would have been asked for is asked of the others.
    made, burn = sum(one.made for one in giving), sum(one.burn for one in lines)
    ending = [(left, one.line) for one in giving if (left := hours(one.available, one.made, one.burn)) >= 0]
    return PartnerCapacity(
        peer=peer, lines=len(lines), giving=len(giving), available=available, low_water=low, made_per_hour=made, burn_per_hour=burn,
        missing_per_hour=max(0.0, burn - made), hours_left=hours(available, made, burn), hours_to_low=hours(available - low, made, burn),
        first_out=min(ending)[1] if ending else "", tenant=tenant,
    )  # fmt: skip


def _capacity(ctx: OperationContext, request: NoInput) -> CapacityReply:
    client = service_of(ctx.host).client()
    told_of, lines = client.overview(), client.lines()
    with ctx.host.store.read() as reader:
        held = policies.held(reader)
    told, supplies = [], []
    for one in lines:
        rate = client.forecast(one.line)
        gives = one.line not in held and one.state not in CUT and one.peer_reachable
        supplies.append(Supply(one.line, one.peer_site, one.available, one.low_water, rate.made_per_hour, rate.burn_per_hour, gives, one.tenant))
        told.append(
            CapacityLine(
                line=one.line, peer=one.peer_site, tenant=one.tenant, source=one.source, provenance=one.provenance, state=one.state, gives=gives, available=one.available,
                made_per_hour=rate.made_per_hour, burn_per_hour=rate.burn_per_hour, hours_left=rate.hours_left,
            )
        )  # fmt: skip
    serving = sum(state == "serving" for state in told_of.devices.values())
    return CapacityReply(device=told_of.device, devices=serving, partners=by_partner(supplies), lines=told)


OPERATIONS: Final = (
    Operation(
        name="qkd.capacity", zh="查看全站密钥容量预测", en="look at the key capacity of the site", request=NoInput, reply=CapacityReply,
        roles=READERS, run=_capacity, reads_only=True, weak_token=True,
    ),
)  # fmt: skip

__all__ = ["OPERATIONS", "CapacityLine", "CapacityReply", "PartnerCapacity", "Supply", "by_partner", "hours"]
