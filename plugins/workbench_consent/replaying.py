"""After a restore: withdrawals that came back as entries, but of whom only this institution knew, and it has forgotten.

Document: docs/protocols/ledger.md section 5.4; docs/consent.md section 5. The mirrors hold that a withdrawal was made and
when, not whose it was: that lies sealed in the entry (recovering.py). Where it cannot be read, consent is used for nothing
until compliance has entered those withdrawals again and said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import Field

from workbench.contracts import Host, OperationContext, Store, Transaction
from workbench.domain.envelope import format_time
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench.domain.party import Role
from workbench.errors import NotFound, Refused
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_consent.capture.recovering import ENDS, REFUSED, TELL_REFUSALS, end_again
from workbench_consent.recovering import withdraw_again
from workbench_consent.refusing import OPTED_OUT, refuse_again

WITHDRAWN = "consent.withdrawn"
"""After this kind, and after OPTED_OUT, somebody must no longer be used. Lost imports and liftings only mean that fewer may be."""
AGAIN: Final = {WITHDRAWN: withdraw_again, OPTED_OUT: refuse_again, **dict.fromkeys(ENDS, end_again)}
"""Kind of entry -> what does again what it tells, where the entry carries enough; False where people must."""


class ReplayRow(Reply):
    """An entry of the own log that nobody has done again yet."""

    entry: int
    kind: str
    time: str


class ReplayReply(Reply):
    waiting: list[ReplayRow]


class ReplayConfirm(Request):
    """entries: indices in the own log whose withdrawal has been entered again; reason: how that was made sure."""

    entries: list[int] = Field(min_length=1, max_length=10_000)
    reason: str = Field(min_length=5, max_length=500)


def replay(host: Host, entries: Iterable[RestoredEntry]) -> Sequence[ReplayNeed]:
    """Do again what ended the use of somebody or a question; keep what people must enter again. Safe to repeat."""
    found = [one for one in entries if one.kind in AGAIN]

    def change(tx: Transaction) -> None:
        # What the entry itself seals for this institution is done at once; only the rest needs people.
        rows = [(one.index, one.kind, one.time_ms) for one in found if not AGAIN[one.kind](tx, host, one)]
        tx.executemany(
            "INSERT INTO consent_replay (entry, kind, at_ms, done) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING", rows
        )

    if found:
        host.store.write(change)
    left = waiting(host.store)
    unknown = sum(one.kind in TELL_REFUSALS for one in left)
    needs = []
    if len(left) > unknown:
        count = len(left) - unknown
        needs.append(
            ReplayNeed(
                WITHDRAWN,
                count,
                f"有 {count} 条撤回在旧副本之后发生，客户身份只有本机构知道且已丢失：合规岗补录后用 consent.replay_confirm 确认，"
                "此前不筛选、不导出",
                f"{count} withdrawals happened after the copy; whose they were only this institution knew, and it is lost: "
                "compliance enters them again and confirms with consent.replay_confirm; until then nobody is used",
            )
        )
    if unknown:
        needs.append(
            ReplayNeed(
                REFUSED,
                unknown,
                f"有 {unknown} 条对征求的拒绝在旧副本之后发生，不知属于谁：合规岗用 consent.refusal_note 补录，再用 consent.replay_confirm 确认，此前不征求",
                f"{unknown} refusals to be asked happened after the copy and it is lost whose they were: compliance enters them with "
                "consent.refusal_note and confirms with consent.replay_confirm; until then nobody is asked",
            )
        )
    return needs


def waiting(store: Store) -> list[ReplayRow]:
    """Withdrawals and refusals that nobody has entered again yet, oldest first."""
    with store.read() as reader:
        rows = reader.execute("SELECT entry, kind, at_ms FROM consent_replay WHERE done = 0 ORDER BY entry").fetchall()
    return [ReplayRow(entry=row[0], kind=row[1], time=format_time(row[2])) for row in rows]


def require_replayed(store: Store) -> None:
    """Refused REPLAY_PENDING while withdrawals of before a restore are still to be entered again."""
    count = sum(one.kind not in TELL_REFUSALS for one in waiting(store))
    if count:
        raise Refused(
            f"本机构从旧副本恢复后还有 {count} 条撤回未补录，不筛选、不导出。合规岗补录后确认",
            f"After a restore {count} withdrawals are still to be entered again; nobody is used and nothing exported. "
            "Compliance enters them and confirms",
            code="REPLAY_PENDING",
            details={"waiting": str(count)},
        )


def _list(ctx: OperationContext, request: NoInput) -> ReplayReply:
    return ReplayReply(waiting=waiting(ctx.host.store))


def _confirm(ctx: OperationContext, request: ReplayConfirm) -> ReplayReply:
    host = ctx.host
    known = {one.entry for one in waiting(host.store)}
    unknown = sorted(set(request.entries) - known)
    if unknown:
        raise NotFound(
            f"第 {unknown[0]} 条不在待补录之列", f"entry {unknown[0]} is not among those to be entered again", code="NO_SUCH_ENTRY"
        )
    done = sorted(set(request.entries))

    def change(tx: Transaction) -> None:
        tx.executemany("UPDATE consent_replay SET done = 1 WHERE entry = ?", [(one,) for one in done])
        values = {"entries": str(len(done)), "left": str(len(known) - len(done)), "reason": request.reason}
        host.evidence.append(tx, "consent.replayed", values, actor=ctx.caller.person.token)

    host.store.write(change)
    return ReplayReply(waiting=waiting(host.store))


REPLAY_OPERATIONS = (
    Operation(
        name="consent.replay",
        zh="查看恢复后待补录的撤回",
        en="read which withdrawals must be entered again after a restore",
        request=NoInput,
        reply=ReplayReply,
        roles=frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.OPERATOR}),
        run=_list,
        reads_only=True,
        weak_token=True,
    ),
    Operation(
        name="consent.replay_confirm",
        zh="确认撤回已补录",
        en="confirm that withdrawals were entered again",
        request=ReplayConfirm,
        reply=ReplayReply,
        roles=frozenset({Role.COMPLIANCE}),
        run=_confirm,
        fresh_password=True,
        evidence=("consent.replayed",),
    ),
)
