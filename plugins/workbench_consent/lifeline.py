"""One customer's consent from the first form to the last trace, in order of time. docs/consent.md section 13.

Made of the same records that answer an access request (hook workbench_subject_records), so nothing can stand on one and be missing
from the other. Identifiers and list values are left out: a line says what happened, not who the customer is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from workbench.contracts import ConsentRegistry, OperationContext
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.party import Role
from workbench.domain.subject import OUTSIDE, SET_ASIDE, SubjectRecord, SubjectRequest
from workbench.errors import InvalidRequest
from workbench.operations import Operation, Reply, Request
from workbench_consent.registry import Registry
from workbench_consent.withdrawing import evidence_name

SHOWN: Final = (
    "record", "purpose", "recipient", "channel", "valid_from_ms", "valid_until_ms", "withdrawn", "signed_form", "kept_out",
    "partner", "job", "owner", "until_ms", "signer", "signer_name", "signer_relation", "authority", "authority_digest",
)  # fmt: skip
"""Values of a record that say what happened, and who signed for the customer. All others may say who the customer is."""
STEPS: Final[Mapping[str, str]] = {
    "consent": "consent", "lists": "list", "results": "use", "jobs": "use", "exports": "left", "downloads": "left",
    "uploads": "list", "restricted": "set-aside", "evidence": "evidence",
}  # fmt: skip
"""Owner of a record -> step of the line; whatever a plugin adds is a record of its own step, "other"."""
LONGEST: Final = 1000

EVIDENCE_KINDS = (
    EvidenceKind(
        "consent.life_line_viewed",
        (Field("subject", Visibility.COMMITTED, "客户代号（仅本机构可算）", "token of the customer, computable here only", subject=True),),
        "查看一位客户的授权生命线",
        "the life line of one customer's consent was read",
    ),
)


class LifeLineRequest(Request):
    """phone, id_no: at least one."""

    phone: str = ""
    id_no: str = ""


class LifeEvent(Reply):
    """step: "consent", "withdrawal", "use", "list", "left", "set-aside", "evidence" or "other". at_ms: 0 where nobody knows.

    details: what happened, without identifiers; kind: of the record, for words and icons; place: where it lies.
    """

    at_ms: int
    step: str
    kind: str
    place: str
    zh: str
    en: str
    note_zh: str
    note_en: str
    state: str
    details: dict[str, str]


class LifeLineReply(Reply):
    """events: oldest first, those without a time last; counts: step -> events, also of those left out beyond 1,000."""

    events: list[LifeEvent]
    counts: dict[str, int]
    left_out: int
    at_ms: int


def line_of(records: Iterable[SubjectRecord]) -> list[LifeEvent]:
    """The records as events in order of time. Pure."""
    events = [_event(one) for one in records]
    return sorted(events, key=lambda one: (one.at_ms == 0, one.at_ms, one.step, one.place))


def _event(record: SubjectRecord) -> LifeEvent:
    step = STEPS.get(record.owner, "other")
    if record.kind == "consent.withdrawal":
        step = "withdrawal"
    elif record.state == SET_ASIDE:
        step = "set-aside"
    elif record.state == OUTSIDE:
        step = "left"
    return LifeEvent(
        at_ms=record.at_ms,
        step=step,
        kind=record.kind,
        place=record.place,
        zh=record.zh,
        en=record.en,
        note_zh=record.note_zh,
        note_en=record.note_en,
        state=record.state,
        details={name: record.values[name] for name in SHOWN if record.values.get(name)},
    )


def _life_line(ctx: OperationContext, request: LifeLineRequest) -> LifeLineReply:
    host = ctx.host
    if not request.phone.strip() and not request.id_no.strip():
        raise InvalidRequest("请填写手机号或身份证号", "give a phone number or an identity number")
    phone = parse_phone(request.phone) if request.phone.strip() else None
    id_no = parse_id_no(request.id_no, today=host.today()) if request.id_no.strip() else None
    registry: object = host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    if not isinstance(registry, Registry):
        raise TypeError("this operation belongs to the registry of this plugin")
    name = evidence_name(registry.subject(phone, id_no))
    events = line_of(host.subject_records(SubjectRequest(host.identify_customer(phone, id_no))))
    counts: dict[str, int] = {}
    for one in events:
        counts[one.step] = counts.get(one.step, 0) + 1
    host.store.write(
        lambda tx: host.evidence.append(
            tx, "consent.life_line_viewed", {"subject": name}, actor=ctx.caller.person.token, subject=name
        )
    )
    return LifeLineReply(
        events=events[-LONGEST:], counts=counts, left_out=max(0, len(events) - LONGEST), at_ms=host.now_ms()
    )


OPERATIONS = (
    Operation(
        name="consent.life_line", zh="查看一位客户的授权生命线", en="read the life line of one customer's consent",
        request=LifeLineRequest, reply=LifeLineReply, roles=frozenset({Role.COMPLIANCE}), run=_life_line,
        evidence=("consent.life_line_viewed",),
    ),
)  # fmt: skip
