"""Kinds, states and steps of rights requests and complaints as values. Document: docs/rights.md sections 1, 2 and 7. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from workbench.errors import Refused


class RightsKind(StrEnum):
    """What a customer may ask."""

    ACCESS = "access"
    COPY = "copy"
    PORTABILITY = "portability"
    CORRECTION = "correction"
    DELETION = "deletion"
    RESTRICTION = "restriction"
    EXPLANATION = "explanation"
    COMPLAINT = "complaint"


KIND_WORDS: Mapping[RightsKind, tuple[str, str, str]] = {
    RightsKind.ACCESS: ("查阅个人信息", "access", "《个人信息保护法》第四十四、四十五条 PIPL 44, 45"),
    RightsKind.COPY: ("复制个人信息", "copy", "《个人信息保护法》第四十五条 PIPL 45"),
    RightsKind.PORTABILITY: (
        "转移个人信息", "portability", "《个人信息保护法》第四十五条第三款、《网络数据安全管理条例》第二十五条 PIPL 45, network data regulation 25",
    ),
    RightsKind.CORRECTION: ("更正、补充个人信息", "correction", "《个人信息保护法》第四十六条 PIPL 46"),
    RightsKind.DELETION: ("删除个人信息", "deletion", "《个人信息保护法》第四十七条 PIPL 47"),
    RightsKind.RESTRICTION: ("限制或拒绝处理", "restriction", "《个人信息保护法》第四十四条 PIPL 44"),
    RightsKind.EXPLANATION: ("解释说明", "explanation", "《个人信息保护法》第二十四、四十八条 PIPL 24, 48"),
    RightsKind.COMPLAINT: ("投诉", "complaint", "《个人信息保护法》第五十、六十五条 PIPL 50, 65"),
}  # fmt: skip
"""Chinese, English, and the ground (text of the articles read in a law collection of 2025-04-19)."""

GIVES_OUT = frozenset({RightsKind.ACCESS, RightsKind.COPY, RightsKind.PORTABILITY, RightsKind.EXPLANATION})


class RequestState(StrEnum):
    """docs/rights.md section 2."""

    RECEIVED = "RECEIVED"
    IDENTIFIED = "IDENTIFIED"
    GRANTED = "GRANTED"
    PARTLY = "PARTLY"
    REFUSED = "REFUSED"
    ANSWERED = "ANSWERED"
    CLOSED = "CLOSED"


STATE_WORDS: Mapping[RequestState, tuple[str, str]] = {
    RequestState.RECEIVED: ("已受理，待核身", "received, identity to be checked"),
    RequestState.IDENTIFIED: ("已核身，待决定", "identity confirmed, to be decided"),
    RequestState.GRANTED: ("同意，待答复", "granted, to be answered"),
    RequestState.PARTLY: ("部分同意，待答复", "partly granted, to be answered"),
    RequestState.REFUSED: ("不予办理，待答复", "refused, to be answered"),
    RequestState.ANSWERED: ("已答复", "answered"),
    RequestState.CLOSED: ("已撤回", "taken back"),
}

_S = RequestState
NEXT: Mapping[RequestState, frozenset[RequestState]] = {
    _S.RECEIVED: frozenset({_S.IDENTIFIED, _S.REFUSED, _S.CLOSED}),
    _S.IDENTIFIED: frozenset({_S.GRANTED, _S.PARTLY, _S.REFUSED, _S.CLOSED}),
    _S.GRANTED: frozenset({_S.ANSWERED}),
    _S.PARTLY: frozenset({_S.ANSWERED}),
    _S.REFUSED: frozenset({_S.ANSWERED}),
    _S.ANSWERED: frozenset({_S.ANSWERED}),
    _S.CLOSED: frozenset(),
}
OPEN_STATES = frozenset(_S) - {_S.ANSWERED, _S.CLOSED}


def step(state: RequestState, to: RequestState) -> RequestState:
    """The new state; Refused IDENTITY_FIRST before the identity was confirmed, WRONG_STATE for any other forbidden step."""
    if to in NEXT[state]:
        return to
    if state is _S.RECEIVED:
        raise identity_first()
    zh, en = STATE_WORDS[state]
    raise Refused(
        f"这项权利请求现在是「{zh}」，不能做这一步", f"this rights request is {en}: this step is not possible now", code="WRONG_STATE",
        details={"state": state.value},
    )  # fmt: skip


def identity_first() -> Refused:
    return Refused(
        "还没有核实来人的身份：先核身，再决定、查看或答复",
        "the identity of whoever asks is not confirmed: confirm it before deciding, looking or answering",
        code="IDENTITY_FIRST",
    )


METHODS: Mapping[str, tuple[str, str]] = {
    "in-person": ("本人到场，核对证件", "in person, with the document"),
    "video": ("视频核对", "by video"),
    "signed-letter": ("亲笔签名的信函与证件复印件", "a signed letter with a copy of the document"),
    "e-signature": ("可靠的电子签名", "a reliable electronic signature"),
    "one-time-code": ("向预留手机号发送一次性代码", "a one-time code to the phone on record"),
    "attorney-document": ("授权书或关系证明", "power of attorney or proof of relation"),
}

APPLICANTS: Mapping[str, tuple[str, str]] = {
    "subject": ("本人", "the customer"),
    "agent": ("代理人", "an agent"),
    "guardian": ("监护人", "a guardian"),
    "kin": ("近亲属", "a near relative"),
}

CHANNELS: Mapping[str, tuple[str, str]] = {
    "web": ("网页", "web"), "post": ("信函", "post"), "phone": ("电话", "phone"), "e-mail": ("电子邮件", "e-mail"),
    "fax": ("传真", "fax"), "counter": ("营业网点", "counter"),
}  # fmt: skip


class ComplaintState(StrEnum):
    """docs/rights.md section 7."""

    OPEN = "OPEN"
    HANDLING = "HANDLING"
    CLOSED = "CLOSED"


COMPLAINT_WORDS: Mapping[ComplaintState, tuple[str, str]] = {
    ComplaintState.OPEN: ("新投诉，待接手", "new, nobody handles it yet"),
    ComplaintState.HANDLING: ("处理中", "being handled"),
    ComplaintState.CLOSED: ("已办结", "closed"),
}

CATEGORIES: Mapping[str, tuple[str, str]] = {
    "unwanted-contact": ("不愿被联系", "unwanted contact"),
    "consent": ("授权与告知", "consent and notice"),
    "data-leak": ("信息泄露", "leak of data"),
    "wrong-data": ("信息有误", "wrong data"),
    "product": ("产品与适当性", "product and suitability"),
    "service": ("服务质量", "service"),
    "other": ("其他", "other"),
}

STEPS: Mapping[str, tuple[str, str]] = {
    "contact": ("联系客户", "contact with the customer"),
    "negotiation": ("协商", "negotiation"),
    "mediation": ("调解", "mediation"),
    "litigation": ("诉讼", "litigation"),
    "arbitration": ("仲裁", "arbitration"),
    "settlement": ("和解", "settlement"),
    "progress": ("进展", "progress"),
}

OUTCOMES: Mapping[str, tuple[str, str]] = {
    "upheld": ("投诉成立", "upheld"),
    "partly-upheld": ("部分成立", "partly upheld"),
    "not-upheld": ("不成立", "not upheld"),
    "settled": ("和解", "settled"),
    "taken-back": ("客户撤回", "taken back"),
}

__all__ = [
    "APPLICANTS",
    "CATEGORIES",
    "CHANNELS",
    "COMPLAINT_WORDS",
    "GIVES_OUT",
    "KIND_WORDS",
    "METHODS",
    "NEXT",
    "OPEN_STATES",
    "OUTCOMES",
    "STATE_WORDS",
    "STEPS",
    "ComplaintState",
    "RequestState",
    "RightsKind",
    "identity_first",
    "step",
]
