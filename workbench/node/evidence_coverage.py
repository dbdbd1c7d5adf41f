"""Does every action leave evidence? The registry's promise beside what this node's log really holds.

The promise: an operation either reads only, and then its refusals and each view of the regulator are entries; or it changes
only a draft or a task of its caller, and then its refusals are; or it names the kinds of entry that it writes. The proof has
two halves. `left_entry` is asked by the gate after every action that changes something else; one that left nothing is an
`action.unrecorded` entry itself, and a fault in a test workspace. `run_coverage` lists every registered operation with the
entries of its kinds and checks that the newest lies in the tree under both roots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.contracts import OperationContext
from workbench.domain.checkpoint import parse_checkpoint, split_note
from workbench.domain.merkle import SHA256, SM3, check_inclusion
from workbench.domain.party import Role
from workbench.errors import WorkbenchError
from workbench.operations import NoInput, Operation, Reply

if TYPE_CHECKING:
    from workbench.host import Workbench

REFUSED = ("action.refused",)
VIEWED = ("evidence.viewed", "regulator.viewed")


class CoveredOperation(Reply):
    """leaves: "entry" (a kind of `kinds` each time it succeeds), "read" (reads only: nothing but refusals and views of the
    regulator) or "own" (keeps only one's own draft or task: nothing but refusals).

    entries: of these kinds in the own log; newest: index of the last of them, null when there is none; proven: whether the
    newest one's inclusion in the tree was computed anew and held, null when there is none. problem: "" or what is wrong.
    """

    name: str
    zh: str
    en: str
    leaves: str
    kinds: list[str]
    entries: int
    newest: int | None
    proven: bool | None
    problem_zh: str = ""
    problem_en: str = ""


class CoverageReply(Reply):
    """unrecorded: actions that succeeded and left no entry of their own, counted by the gate over the life of this log."""

    holds: bool
    size: int
    operations: list[CoveredOperation]
    refused: int
    viewed: int
    unrecorded: int


def left_entry(host: Workbench, operation: Operation, actor: str, since: int) -> bool:
    """Whether an entry of the operation's kinds by this person, or one in their name, lies at index `since` or later.

    Cost: one indexed query. Somebody else's action at the same moment does not count: the actor is compared.
    """
    marks = ",".join("?" * len(operation.evidence))
    with host.store.read() as reader:
        found = reader.execute(
            f"SELECT 1 FROM evidence_index WHERE kind IN ({marks}) AND entry_idx >= ? AND actor = ? LIMIT 1",
            (*operation.evidence, since, actor),
        ).fetchone()
    return found is not None


def run_coverage(ctx: OperationContext, request: NoInput) -> CoverageReply:
    host = ctx.host
    size = host.ledger.size(host.party)
    rows = [_covered(host, operation) for operation in host.gate.registry]
    unrecorded = _count(host, ("action.unrecorded",))[0]
    return CoverageReply(
        holds=not unrecorded and all(not row.problem_en and row.proven is not False for row in rows),
        size=size,
        operations=rows,
        refused=_count(host, REFUSED)[0],
        viewed=_count(host, VIEWED)[0],
        unrecorded=unrecorded,
    )


def _covered(host: Workbench, operation: Operation) -> CoveredOperation:
    kinds = list(operation.evidence)
    problem = ("", "")
    if operation.leaves_entry and not kinds:
        problem = ("会改动数据，却没有登记证据种类", "it changes something and names no kind of evidence")
    elif unknown := [kind for kind in kinds if kind not in host.kinds]:
        problem = (f"登记的证据种类不存在：{'、'.join(unknown)}", f"it names kinds that do not exist: {', '.join(unknown)}")
    entries, newest = _count(host, kinds)
    proven = None if newest is None else _is_included(host, newest)
    if proven is False:
        problem = ("最近一条不在树中，请运行审计", "its newest entry is not in the tree; run the audit")
    return CoveredOperation(
        name=operation.name,
        zh=operation.zh,
        en=operation.en,
        leaves="read" if operation.reads_only else "own" if operation.own_only else "entry",
        kinds=kinds,
        entries=entries,
        newest=newest,
        proven=proven,
        problem_zh=problem[0],
        problem_en=problem[1],
    )


def _count(host: Workbench, kinds: list[str] | tuple[str, ...]) -> tuple[int, int | None]:
    """Entries of these kinds in the own log, and the index of the newest."""
    if not kinds:
        return 0, None
    marks = ",".join("?" * len(kinds))
    with host.store.read() as reader:
        row = reader.execute(
            f"SELECT count(*), max(entry_idx) FROM evidence_index WHERE kind IN ({marks})",
            tuple(kinds),
        ).fetchone()
    return int(row[0]), None if row[1] is None else int(row[1])


def _is_included(host: Workbench, index: int) -> bool:
    """Whether the body that is stored now hashes to a leaf whose paths lead to both roots of a signed head."""
    try:
        body = host.ledger.entry_bodies(host.party, index, index + 1)[0]
        proof = host.ledger.proof(host.party, index)
        head = parse_checkpoint(split_note(proof.note)[0])
        for tree, path, root in (
            (SHA256, proof.sha256_path, head.sha256_root),
            (SM3, proof.sm3_path, head.sm3_root),
        ):
            check_inclusion(tree, index=index, size=proof.size, leaf=tree.leaf(body), proof=path, root=root)
    except (WorkbenchError, IndexError):
        return False
    return True


COVERAGE_OPERATION = Operation(
    name="evidence.coverage",
    zh="核对每个操作都留下证据",
    en="check that every operation leaves evidence",
    request=NoInput,
    reply=CoverageReply,
    run=run_coverage,
    roles=frozenset({Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR, Role.REGULATOR}),
    reads_only=True,
)

__all__ = ["COVERAGE_OPERATION", "CoverageReply", "CoveredOperation", "left_entry", "run_coverage"]
