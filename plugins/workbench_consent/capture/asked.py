"""Questions asked, one by one, and refusals told to staff. docs/protocols/capture.md section 3."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.identifiers import mask_id_no, mask_phone
from workbench.domain.party import Role
from workbench.operations import Operation, Reply, Request
from workbench_consent.capture import asking
from workbench_consent.capture.operations import person_of
from workbench_consent.capture.people import Offer
from workbench_consent.deciding import registry_of
from workbench_consent.subjects import ABSENT

READERS: Final = frozenset({Role.COMPLIANCE, Role.AUDITOR})
State = Literal["", "SERVED", "OPENED", "SIGNED", "REFUSED", "EXPIRED", "CANCELLED", "COOLING"]


class AskedRequest(Request):
    """state: "" for all, COOLING for those whose refusal still keeps from asking. phone, id_no: of one person, "" for everybody.

    before: number of the last question seen, questions asked before it follow; "" starts with the newest.
    """

    state: State = ""
    phone: str = ""
    id_no: str = ""
    before: str = Field(default="", max_length=40)
    limit: int = Field(default=50, ge=1, le=500)


class AskedOffer(Reply):
    """cool_down_until_ms: until when the person is not asked for this again, 0 when they may be."""

    purpose: str
    recipient: str
    until_ms: int
    cool_down_until_ms: int


class AskedView(Reply):
    """phone, id_no: masked while the question is open, afterwards the token cut to eight digits, "" where not named.

    asked_by: person. expires_ms, opened_ms, closed_ms: 0 before. state: a question whose time is over counts as EXPIRED. agreed: offers agreed to.
    """

    ask: str
    phone: str
    id_no: str
    offers: list[AskedOffer]
    notice: str
    way: str
    place: str
    method: str
    asked_by: str
    asked_ms: int
    expires_ms: int
    opened_ms: int
    closed_ms: int
    state: str
    agreed: int
    cool_down_until_ms: int


class AskedReply(Reply):
    """total: questions of this state and person. questions: newest first. next: value of `before` for the following page, "" at the end."""

    total: int
    questions: list[AskedView]
    next: str


class Declined(Request):
    purpose: str
    recipient: str


class NoteRefusal(Request):
    """phone, id_no: at least one. declined: what the person does not agree to. place: branch or channel. identity: how the person was recognised."""

    phone: str = ""
    id_no: str = ""
    declined: list[Declined] = Field(min_length=1, max_length=16)
    place: str = Field(min_length=2, max_length=64)
    identity: str = Field(min_length=2, max_length=200)


class NoteRefusalReply(Reply):
    """cool_down_until_ms: until when the person is not asked for this again."""

    ask: str
    cool_down_until_ms: int


def _asked(ctx: OperationContext, request: AskedRequest) -> AskedReply:
    host: Any = ctx.host  # the node is a Host; its parts have narrower types than the contract names
    subject = None
    if request.phone.strip() or request.id_no.strip():
        subject = registry_of(ctx).subject(*person_of(ctx, request.phone, request.id_no))
    with host.store.read() as reader:
        found, total = asking.listed(
            reader, host, state=request.state, subject=subject, before=request.before, limit=request.limit + 1
        )
        shown = found[: request.limit]
        questions = [_view(host, one, asking.known(reader, host, one.question)) for one in shown]
    return AskedReply(total=total, questions=questions, next=questions[-1].ask if len(found) > len(shown) else "")


def _view(host: Any, one: asking.Asked, known: tuple[str, str]) -> AskedView:
    asked = one.question
    phone, id_no = known
    return AskedView(
        ask=asked.ask,
        phone=mask_phone(phone) if phone else _cut(asked.phone),
        id_no=mask_id_no(id_no) if id_no else _cut(asked.id_no),
        offers=[
            AskedOffer(
                purpose=offer.purpose, recipient=offer.recipient, until_ms=offer.until_ms, cool_down_until_ms=one.cooling.get(offer.name, 0)
            )
            for offer in asked.offers
        ],
        notice=asked.notice,
        way=asked.way,
        place=asked.place,
        method=asked.method,
        asked_by=str(host.person_named(asked.actor)),
        asked_ms=asked.asked_ms,
        expires_ms=asked.expires_ms,
        opened_ms=asked.opened_ms,
        closed_ms=asked.closed_ms,
        state=asked.state,
        agreed=one.agreed,
        cool_down_until_ms=max(one.cooling.values(), default=0),
    )


def _cut(token: bytes) -> str:
    return "" if token == ABSENT else token.hex()[:8] + "…"


def _note(ctx: OperationContext, request: NoteRefusal) -> NoteRefusalReply:
    host: Any = ctx.host
    registry = registry_of(ctx)
    phone, id_no = person_of(ctx, request.phone, request.id_no)
    for one in request.declined:
        registry.require_known(one.purpose, one.recipient)
    offers = [Offer(*pair, 0) for pair in dict.fromkeys((one.purpose, one.recipient) for one in request.declined)]
    ask = asking.note_refusal(
        host, registry, phone=phone, id_no=id_no, offers=offers, place=request.place, identity=request.identity, actor=ctx.caller.person.token
    )
    with host.store.read() as reader:
        found, _ = asking.listed(reader, host, state="", subject=registry.subject(phone, id_no), before="", limit=1)
    return NoteRefusalReply(ask=ask, cool_down_until_ms=max(found[0].cooling.values(), default=0))


OPERATIONS = (
    Operation(
        name="consent.asked", zh="查看征求记录", en="read the questions asked", request=AskedRequest, reply=AskedReply, roles=READERS,
        run=_asked, weak_token=True, reads_only=True,
    ),
    Operation(
        name="consent.refusal_note", zh="登记客户口头拒绝征求", en="record that a customer declined before staff", request=NoteRefusal,
        reply=NoteRefusalReply, roles=frozenset({Role.COMPLIANCE}), run=_note, evidence=("consent.refused",),
    ),
)  # fmt: skip
