"""What a restored node forgot of its lines: policies, stopped lines and revocations come back before it opens.

Document: docs/quantum-channel.md section 10. Everything is read from the own entries that came back; a decision counts only with
the signatures it was made with. What cannot be read leaves a line stricter or stopped, never the other way round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical
from workbench.domain.erasure import open_recovery, seal_recovery
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench.errors import VerificationError
from workbench_qkd import deciding, policies
from workbench_qkd.following import HOLDING_ALARMS
from workbench_qkd.model import POLICIES

REVOKED: Final = "qkd.revoked"
POLICY_KINDS: Final = ("qkd.policy_tightened", "qkd.downgraded")
NONCE_SIZE: Final = 12


def recovery(host: Any, *, line: str, key_ids: Sequence[str], block: int) -> str:
    """What was revoked, sealed for this institution's own restored node: mirrors do not learn the ids."""
    message = canonical.format({"block": block, "keys": list[canonical.Json](key_ids), "line": line})
    return seal_recovery(host.vault.token_key("recovery"), message, binding=REVOKED, nonce=host.random(NONCE_SIZE))


def replay(host: Host, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
    """Do again what the entries tell, oldest first; what people must do. Safe to repeat. No entry is written here."""
    known = [one for one in entries if one.kind in _AGAIN]
    if not known:
        return []

    def change(tx: Transaction) -> Counter[str]:
        return Counter(one.kind for one in known if not _AGAIN[one.kind](tx, host, one))

    lost = host.store.write(change)
    needs = []
    undecided = sum(lost[kind] for kind in (*POLICY_KINDS, "qkd.resumed"))
    if undecided:
        needs.append(
            ReplayNeed(
                "qkd.decision", undecided,
                f"旧副本之后有 {undecided} 项关于线路的决定签名不符或不连续：线路按最严策略、停用的不恢复；两人按日志重新决定",
                f"{undecided} decisions about lines after the copy are not signed or do not follow each other: the strictest policy counts and"
                " stopped lines stay stopped; two people decide anew by the log",
            )
        )  # fmt: skip
    if lost[REVOKED]:
        needs.append(
            ReplayNeed(
                REVOKED, lost[REVOKED], f"旧副本之后有 {lost[REVOKED]} 次吊销读不出范围：运维按原记录再吊销一次，或整条线路换钥",
                f"{lost[REVOKED]} revocations after the copy cannot be read: operations revoke those keys once more, or replace all keys of the line",
            )
        )  # fmt: skip
    return needs


def _policy(tx: Transaction, host: Any, one: RestoredEntry) -> bool:
    if _decided(tx, host, one):
        return True
    # Whatever was decided, no weaker policy than the strictest may stand without people's signatures.
    tx.execute(
        "INSERT INTO qkd_policy (line, policy, since_ms) VALUES (?, ?, ?) ON CONFLICT (line) DO UPDATE SET policy = excluded.policy,"
        " since_ms = excluded.since_ms, first = '', second = '', reason = ''",
        (one.shared.get("line", ""), POLICIES[0], one.time_ms),
    )
    return False


def _decided(tx: Transaction, host: Any, one: RestoredEntry) -> bool:
    """Put a decision in force that its entry carries; False when it is not signed, says something else or leaves a gap."""
    body = one.shared.get("decision", "").encode()
    try:
        made = deciding.read_decision(body, party=host.party, key=host.keys.contract.public)
    except VerificationError:
        return False
    if not deciding.tells(one.kind, one.shared, made):
        return False
    earlier = [bytes(row[0]) for row in tx.execute("SELECT body FROM qkd_decision WHERE number IN (?, ?) ORDER BY number", (made.number - 1, made.number))]
    follows = [body] if made.number == 1 else None
    if made.number > 1 and earlier and deciding.digest(earlier[0]) == made.previous:
        follows = [earlier[0], body]
    if follows is None or follows[: len(earlier)] != earlier:
        return False
    if one.shared.get("proposal"):
        _close(tx, one.shared["proposal"], "CONFIRMED", one)
    tx.execute("DELETE FROM qkd_decision WHERE number = ?", (made.number,))  # the same one, from an attempt before
    policies.put_in_force(tx, made, body)
    return True


def _declined(tx: Transaction, host: Any, one: RestoredEntry) -> bool:
    _close(tx, one.shared.get("proposal", ""), "DECLINED", one)
    return True


def _close(tx: Transaction, proposal: str, state: str, one: RestoredEntry) -> None:
    """A proposal that was open in the copy and is decided since: nobody confirms it a second time."""
    tx.execute(
        "UPDATE qkd_proposal SET state = ?, decided_ms = ?, decided_by = ? WHERE proposal = ? AND state = 'OPEN'", (state, one.time_ms, one.actor, proposal)
    )


def _alarmed(tx: Transaction, host: Any, one: RestoredEntry) -> bool:
    if one.shared.get("cause") in HOLDING_ALARMS:
        block = one.shared.get("block", "")
        policies.hold(tx, one.shared.get("line", ""), at_ms=one.time_ms, cause=one.shared["cause"], block=int(block) if block.isdecimal() else -1)
    return True


def _revoked(tx: Transaction, host: Any, one: RestoredEntry) -> bool:
    """Kept until the entity was told once more: it may come from an older copy too."""
    try:
        told: Any = canonical.parse_object(open_recovery(host.vault.token_key("recovery"), one.shared.get("recovery", ""), binding=REVOKED))
        row: tuple[Any, ...] = (str(told["line"]), [str(one) for one in told["keys"]], told["block"])
    except (VerificationError, KeyError, TypeError):
        return False
    ask_again(tx, one.index, row[0], keys=row[1], block=row[2])
    return True


def _rekeyed(tx: Transaction, host: Any, one: RestoredEntry) -> bool:
    ask_again(tx, one.index, one.shared.get("line", ""), is_all=True)
    return True


def ask_again(tx: Transaction, entry: int, line: str, *, keys: Sequence[str] = (), block: int = -1, is_all: bool = False) -> None:
    """Have the entity asked, until it answers, for the revocation that this entry of the own log tells of."""
    tx.execute(
        "INSERT INTO qkd_revoke_again (entry, line, keys, block, is_all) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (entry, line, canonical.format(list[canonical.Json](keys)).decode(), block, is_all),
    )


def waiting(reader: Any) -> int:  # Any: a connection or a transaction
    """How many revocations the entity has not confirmed."""
    return int(reader.execute("SELECT count(*) FROM qkd_revoke_again").fetchone()[0])


def _followed(tx: Transaction, host: Any, one: RestoredEntry) -> bool:
    """A block that is evidence already is not asked for once more."""
    line, block = one.shared.get("line", ""), one.shared.get("block", "")
    if block.isdecimal():
        suffix = f" {line} blocks"
        tx.execute("UPDATE qkd_followed SET last = max(last, ?) WHERE substr(source, -?) = ?", (int(block), len(suffix), suffix))
    return True


_AGAIN: Final[Mapping[str, Callable[[Transaction, Any, RestoredEntry], bool]]] = {
    **dict.fromkeys(POLICY_KINDS, _policy), "qkd.resumed": _decided, "qkd.proposal_declined": _declined, "qkd.alarm_raised": _alarmed,
    REVOKED: _revoked, "qkd.rekeyed": _rekeyed, "qkd.block_distilled": _followed, "qkd.block_aborted": _followed,
}  # fmt: skip
"""Kind of entry -> what does again what it tells; False where people must."""

__all__ = ["ask_again", "recovery", "replay", "waiting"]
