"""Kinds of letter about leases: docs/protocols/sandbox.md section 4. Each looks for its side when a letter comes."""

from __future__ import annotations

from collections.abc import Callable

from workbench.contracts import Letter, LetterKind, LetterState, Transaction
from workbench_inference.leasing import closing, tenant
from workbench_inference.leasing.provider import Provider
from workbench_inference.leasing.service import provider_of, tenant_of
from workbench_inference.leasing.tenant import Tenant


def letter_kinds(host: object) -> list[LetterKind]:
    """What this node receives as provider or tenant, and what it does with answers. The node asks before it has its background work."""

    def giving() -> Provider:
        return provider_of(host)

    def renting() -> Tenant:
        return tenant_of(host)

    def statement_answered(tx: Transaction, state: LetterState) -> None:
        closing.statement_answered(tx, state.job, state.answer, state.refused_code)

    def nothing(tx: Transaction, state: LetterState) -> None:
        """A receipt that the tenant refused: the health page and the tenant's own entries say so; the lease stays as it is."""

    def receive(find: Callable[[], Provider | Tenant], name: str) -> Callable[[Transaction, Letter], bytes]:
        def take(tx: Transaction, letter: Letter) -> bytes:
            return bytes(getattr(find(), name)(tx, letter))

        return take

    def answered(name: str) -> Callable[[Transaction, LetterState], None]:
        def take(tx: Transaction, state: LetterState) -> None:
            getattr(renting(), name)(tx, state)

        return take

    return [
        LetterKind(tenant.ORDER, receive(giving, "receive_order"), prepare=lambda letter: giving().prepare_order(letter), acknowledged=answered("order_answered")),
        LetterKind(tenant.CHANGE, receive(giving, "receive_change"), acknowledged=answered("change_answered")),
        LetterKind(tenant.RELEASE, receive(giving, "receive_release"), acknowledged=answered("release_answered")),
        LetterKind(closing.ERASED, receive(renting, "receive_erased"), acknowledged=nothing),
        LetterKind(closing.STATEMENT, receive(renting, "receive_statement"), acknowledged=statement_answered),
    ]


__all__ = ["letter_kinds"]
