"""How a session ends without a result, in words: below the floor, disputed, or stopped during the reveal.

Document: docs/protocols/intersection.md sections 6 and 9. No sentence carries a number below the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import Disputed, PeerError, Refused, WorkbenchError


@dataclass(slots=True)
class Disclosed:
    """How many common customers each side may have learned; `begun` once both are ready for the first slice."""

    slices_sent: int = 0
    slices_received: int = 0
    own: int = 0
    partner: int = 0
    begun: bool = False


def below_the_floor(*, after_reveal: bool = False) -> Refused:
    return Refused(
        "共同客户人数低于约定下限，本次比对不产生结果，人数不显示也不保存；请营销岗放宽人群后重新提出",
        "fewer common customers than the agreed minimum crowd: there is no result, and the number is neither shown nor "
        "kept; marketing may propose again with a wider audience",
        code="REFUSED_SMALL",
        details={"after_reveal": "yes" if after_reveal else "no"},
    )


def disputed(statement: str) -> Disputed:
    return Disputed(
        f"双方关于 {statement} 的陈述不一致，任何一方都不得导出；请双方合规岗凭签名消息核对",
        f"the two institutions' statements on the {statement} differ: nothing may be exported; "
        "compliance of both sides compare the signed messages",
        details={"statement": statement},
    )


def aborted_after_reveal(disclosed: Disclosed, cause: WorkbenchError) -> PeerError:
    return PeerError(
        f"公布结果期间中止：我方已得知 {disclosed.own} 名共同客户，对方至多得知 {disclosed.partner} 名；"
        "暂存结果已作废，请运维与合规岗记录并决定是否重新比对",
        f"stopped during the reveal: we had learned {disclosed.own} common customers, the partner at most "
        f"{disclosed.partner}; staged results are void, operators and compliance record this and decide on a new run",
        code="ABORTED_AFTER_REVEAL",
        details={
            "slices_sent": str(disclosed.slices_sent),
            "slices_received": str(disclosed.slices_received),
            "own_learned": str(disclosed.own),
            "partner_learned_at_most": str(disclosed.partner),
            "cause": cause.code,
        },
    )
