"""That people put in a new initial secret for a line: the entry, and what the far site's log says of the same line.

Document: docs/quantum-channel.md section 12. The secret itself never passes through a node: the command that people use writes
it into the entity's folder, the node learns its check value only.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from workbench.contracts import Ledger, OperationContext
from workbench.domain.envelope import parse_envelope
from workbench.domain.party import PartyId, Role
from workbench.errors import VerificationError
from workbench.operations import Operation, Reply, Request
from workbench_qkd.messages import LineName

KIND: Final = "qkd.initial_secret_put"
_PAGE: Final = 1000
_LOOKED_BACK: Final = 50_000
_MARK: Final = f'"kind":"{KIND}"'.encode()


class InitialSecretRequest(LineName, Request):
    """check: value of the new secret, 20 hexadecimal digits. peer: institution of the far site."""

    check: str = Field(pattern="^[0-9a-f]{20}$")
    peer: str = Field(max_length=31)
    reason: str = Field(min_length=5, max_length=1000)


class InitialSecretReply(Reply):
    """far_check: of the newest such entry in the far site's log as it lies here, "" for none; agrees: that it is the same value."""

    line: str
    check: str
    far_check: str
    agrees: bool


def _put(ctx: OperationContext, request: InitialSecretRequest) -> InitialSecretReply:
    host = ctx.host
    values = {"line": request.line, "check": request.check, "reason": request.reason}
    host.store.write(lambda tx: host.evidence.append(tx, KIND, values, actor=ctx.caller.person.token))
    far = _newest(host.provider(Ledger), PartyId(request.peer), request.line) if request.peer in host.parties() else ""  # type: ignore[type-abstract]
    return InitialSecretReply(line=request.line, check=request.check, far_check=far, agrees=far == request.check)


def _newest(ledger: Ledger, party: PartyId, line: str) -> str:
    """Check value of the newest entry of this kind in a mirrored log."""
    stop = ledger.size(party)
    least = max(0, stop - _LOOKED_BACK)
    while stop > least:
        start = max(least, stop - _PAGE)
        for body in reversed(ledger.entry_bodies(party, start, stop)):
            if _MARK not in body:
                continue
            try:
                one = parse_envelope(body)
            except VerificationError:
                continue
            if one.kind == KIND and one.shared.get("line") == line:
                return one.shared.get("check", "")
        stop = start
    return ""


OPERATIONS: Final = (
    Operation(
        name="qkd.initial_secret", zh="登记线路的新初始秘密", en="record a new initial secret of a line", request=InitialSecretRequest,
        reply=InitialSecretReply, roles=frozenset({Role.OPERATOR}), run=_put, fresh_password=True, evidence=(KIND,),
    ),
)  # fmt: skip

__all__ = ["KIND", "OPERATIONS", "InitialSecretReply", "InitialSecretRequest"]
