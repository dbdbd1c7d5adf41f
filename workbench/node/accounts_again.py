"""Accounts of a node that was restored from an older copy: who was disabled since stays out, and no old password opens anything.

Document: docs/protocols/ledger.md section 5.4. The entries came back from the mirrors; the accounts are those of the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.contracts import Transaction
from workbench.domain.erasure import open_recovery, seal_recovery
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench.errors import VerificationError

if TYPE_CHECKING:
    from workbench.host import Workbench

DISABLED = "people.disabled"
CHANGED = frozenset({"people.password_changed", "people.first_password_changed"})
EXPIRED_MS = 0
"""End of a one-time password that opens nothing: operations issue another one with `workbench first-password`."""


def sealed_name(host: Workbench, token: str) -> str:
    """Whose account an entry is about, for this institution's own restored node only (docs/protocols/erasure.md section 5)."""
    return seal_recovery(host.vault.token_key("recovery"), token.encode(), binding=DISABLED, nonce=host.random(12))


def replay_accounts(host: Workbench, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
    """Disable again whom an entry says to be disabled, end passwords that were changed since; what people must do.

    Safe to repeat. No entry is written here.
    """
    disabled: dict[str, int] = {}
    unreadable = 0
    for entry in entries:
        if entry.kind == DISABLED:
            try:
                recovery = entry.shared.get("recovery", "")
                disabled[open_recovery(host.vault.token_key("recovery"), recovery, binding=DISABLED).decode()] = entry.time_ms
            except VerificationError:  # of a version that did not seal it
                unreadable += 1
    changed = {entry.actor for entry in entries if entry.kind in CHANGED}

    def change(tx: Transaction) -> None:
        for token, at_ms in disabled.items():
            tx.execute("UPDATE host_person SET disabled_ms = ? WHERE token = ? AND disabled_ms IS NULL", (at_ms, token))
        for token in changed:
            tx.execute("UPDATE host_person SET first_until_ms = ? WHERE token = ?", (EXPIRED_MS, token))
        for token in changed | disabled.keys():
            for table in ("host_ticket", "host_confirmation"):
                tx.execute(f"DELETE FROM {table} WHERE person IN (SELECT person FROM host_person WHERE token = ?)", (token,))

    if disabled or changed:
        host.store.write(change)
    with host.store.read() as reader:
        waiting = reader.execute(
            "SELECT count(*) FROM host_person WHERE first_until_ms = ? AND disabled_ms IS NULL", (EXPIRED_MS,)
        ).fetchone()[0]
    return _needs(int(waiting), unreadable)


def _needs(waiting: int, unreadable: int) -> list[ReplayNeed]:
    needs = []
    if waiting:
        needs.append(
            ReplayNeed(
                "people.password_changed",
                waiting,
                f"有 {waiting} 人在旧副本之后换过密码，旧密码已作废：停止节点后由运维用 workbench first-password 逐一签发一次性密码",
                f"{waiting} people changed their password after the copy; the old one opens nothing: operations stop the node and"
                " issue a one-time password for each with workbench first-password",
            )
        )
    if unreadable:
        needs.append(
            ReplayNeed(
                DISABLED,
                unreadable,
                f"有 {unreadable} 个账号在旧副本之后被停用，已读不出是谁：管理员核对账号清单，重新停用",
                f"{unreadable} accounts were disabled after the copy, and whose they were cannot be read: administrators check the"
                " list of accounts and disable them again",
            )
        )
    return needs


__all__ = ["replay_accounts", "sealed_name"]
