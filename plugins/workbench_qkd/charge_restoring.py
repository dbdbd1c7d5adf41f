"""Revocations of persons and media that a restored node forgot: ordered of the key-management entity once more.

Document: docs/quantum-channel.md section 10. The entity may be an older copy too; where it is not, doing it again does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical
from workbench.domain.erasure import open_recovery, seal_recovery
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench.errors import VerificationError

KIND: Final = "qkd.charge_revoking"
NONCE_SIZE: Final = 12


def recovery(host: Any, *, person: str, device: str) -> str:  # Any: the node
    """Who was revoked, sealed for this institution's own restored node: mirrors do not learn it."""
    message = canonical.format({"device": device, "person": person})
    return seal_recovery(host.vault.token_key("recovery"), message, binding=KIND, nonce=host.random(NONCE_SIZE))


def replay(host: Host, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
    """End sign-ins once more and order the revocation again; what people must do. Safe to repeat. No entry is written here."""
    known = [one for one in entries if one.kind == KIND]
    node: Any = host
    accounts = {token: account for token, (account, _name) in node.people.names().items()}
    lost = host.store.write(lambda tx: sum(not _again(tx, host, one, accounts) for one in known)) if known else 0
    if not lost:
        return []
    return [
        ReplayNeed(
            KIND, lost, f"旧副本之后有 {lost} 次人员或介质的吊销读不出对象：运维按原记录再吊销一次",
            f"{lost} revocations of persons or media after the copy cannot be read: operations revoke them once more",
        )
    ]  # fmt: skip


def _again(tx: Transaction, host: Any, one: RestoredEntry, accounts: Mapping[str, str]) -> bool:  # Any: the node
    try:
        told = canonical.parse_object(open_recovery(host.vault.token_key("recovery"), one.shared.get("recovery", ""), binding=KIND))
        person, device = str(told["person"]), str(told["device"])
    except (VerificationError, ValueError, KeyError):
        return False
    if person in accounts and not device:
        host.people.sign_out_everywhere(tx, accounts[person])
    values = (person, device, one.actor, one.time_ms)
    if tx.execute("SELECT 1 FROM qkd_charge_revoking WHERE person = ? AND device = ? AND actor = ? AND asked_ms = ?", values).fetchone() is None:
        tx.execute("INSERT INTO qkd_charge_revoking (person, device, actor, asked_ms) VALUES (?, ?, ?, ?)", values)
    return True


__all__ = ["KIND", "recovery", "replay"]
