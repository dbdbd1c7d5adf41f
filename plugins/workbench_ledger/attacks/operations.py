"""Operations of the laboratory: which attacks there are, and one rehearsed. They exist in demo and test workspaces only."""

from __future__ import annotations

import time
from typing import Any, Literal

from workbench.contracts import OperationContext
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.party import Role
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_ledger.attacks.bench import Bench
from workbench_ledger.attacks.catalogue import ATTACKS
from workbench_ledger.attacks.findings import Located

WORKSPACES = frozenset({"demo", "test"})
ROLES = frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.OPERATOR, Role.REGULATOR})
MOST_PLACES = 20

REHEARSED = EvidenceKind(
    "attack.rehearsed",
    (
        Field("attack", Visibility.SHARED, "演练的攻击", "attack that was rehearsed"),
        Field("found", Visibility.SHARED, "是否被发现", "yes when it was found"),
        Field("check", Visibility.SHARED, "发现它的核对", "check that found it"),
    ),
    "在副本上演练了一次攻击；本机的数据没有改动。只在演示与测试工作区里有。",
    "An attack was rehearsed on a copy; nothing of this node was changed. In demo and test workspaces only.",
)
KINDS = (REHEARSED,)

AttackName = Literal[
    "edited-row", "deleted-row", "truncated-log", "reordered-rows", "restored-shorter", "restored-longer", "split-view",
    "forged-cosignature", "missing-cosignature", "swapped-document", "altered-receipt", "changed-clock",
]  # fmt: skip


class AttackInfo(Reply):
    """name: for attack.run; check: short name of the check that must find it. possible: False with too few institutions."""

    name: str
    possible: bool
    zh: str
    en: str
    check: str
    check_zh: str
    check_en: str


class AttacksReply(Reply):
    attacks: list[AttackInfo]


class RunAttack(Request):
    """name: one of the names of attack.list."""

    name: AttackName


class Place(Reply):
    """One place that does not hold: whose log, which entry and field, what is wrong, whose staff act; the sentence says how."""

    log: str
    index: int | None
    field: str
    problem: str
    party: str
    zh: str
    en: str


class AttackReply(Reply):
    """zh, en: what was done and what found it, as one sentence. is_found: the check named the place. findings: the sought one
    first. comparisons: changed entries field by field, as evidence.audit gives them.
    """

    name: str
    zh: str
    en: str
    done_zh: str
    done_en: str
    is_found: bool
    check: str
    check_zh: str
    check_en: str
    findings: list[Place]
    comparisons: list[dict[str, Any]]
    seconds: float


def _list(ctx: OperationContext, request: NoInput) -> AttacksReply:
    return AttacksReply(
        attacks=[
            AttackInfo(
                name=one.name,
                possible=len(ctx.host.parties()) >= one.institutions,
                zh=one.zh,
                en=one.en,
                check=one.check.name,
                check_zh=one.check.zh,
                check_en=one.check.en,
            )
            for one in ATTACKS.values()
        ]
    )


def _run(ctx: OperationContext, request: RunAttack) -> AttackReply:
    host: Any = ctx.host  # its laboratory is no part of contracts.Host
    attack = ATTACKS[request.name]
    began = time.monotonic()
    ctx.progress(0, 1, f"在副本上演练：{attack.zh}", f"rehearsing on a copy: {attack.en}")
    with host.laboratory.scratch() as folder:
        bench = Bench(ctx, folder)
        outcome = attack.run(bench)
    is_found = bool(outcome.located)
    found_zh = f"由{outcome.check.zh}发现并定位" if is_found else f"{outcome.check.zh}没有发现，请报告"
    found_en = f"{'found and located' if is_found else 'not found (please report this)'} by {outcome.check.en}"
    values = {"attack": attack.name, "found": "yes" if is_found else "no", "check": outcome.check.name}
    host.store.write(lambda tx: host.evidence.append(tx, REHEARSED.name, values, actor=ctx.caller.person.token))
    return AttackReply(
        name=attack.name,
        zh=f"在副本上{outcome.done_zh}：{found_zh}",
        en=f"On a copy somebody {outcome.done_en}: {found_en}",
        done_zh=outcome.done_zh,
        done_en=outcome.done_en,
        is_found=is_found,
        check=outcome.check.name,
        check_zh=outcome.check.zh,
        check_en=outcome.check.en,
        findings=[_place(one) for one in outcome.located[:MOST_PLACES]],
        comparisons=bench.comparisons,
        seconds=round(time.monotonic() - began, 2),
    )


def _place(one: Located) -> Place:
    return Place(
        log=one.log, index=one.index, field=one.field, problem=one.problem, party=one.party, zh=one.zh, en=one.en
    )


OPERATIONS = (
    Operation(
        name="attack.list",
        zh="查看可演练的攻击",
        en="list the attacks that can be rehearsed",
        request=NoInput,
        reply=AttacksReply,
        roles=ROLES,
        run=_list,
        weak_token=True,
        reads_only=True,
        workspaces=WORKSPACES,
    ),
    Operation(
        name="attack.run",
        zh="在副本上演练一种攻击",
        en="rehearse an attack on a copy",
        request=RunAttack,
        reply=AttackReply,
        roles=ROLES - {Role.REGULATOR},
        run=_run,
        long=True,
        evidence=(REHEARSED.name,),
        workspaces=WORKSPACES,
    ),
)
