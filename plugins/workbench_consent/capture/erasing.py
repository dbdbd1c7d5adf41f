"""What an erasure does to questions and refusals. docs/protocols/capture.md section 8; docs/protocols/erasure.md section 2."""

from __future__ import annotations

from workbench.contracts import Host, Transaction
from workbench.domain.erasure import ErasureFinding, ErasureRequest, Stage
from workbench_consent.capture import asking, people


def erase(host: Host, request: ErasureRequest) -> list[ErasureFinding]:
    """Delete what was asked of this customer and what they refused; the suppression keeps them out from now on."""
    if request.stage is Stage.ERASE:
        return []

    def change(tx: Transaction) -> int:
        count, numbers = people.forget(tx, request.customer.names)
        asking.shred(tx, host, numbers)
        return count

    count = host.store.write(change)
    return [
        ErasureFinding(
            "consent", "questions", count, count, 0, 0, "征求与拒绝的记录已删除，链接随之失效",
            "questions and refusals were deleted; their links are dead",
        )
    ]  # fmt: skip
