"""What is kept of a question: text, answer, citations and map, in the vault and nowhere else; and what a person sees of it.

Objects of an ask: `inference/ask/<ask>` (question with labels, answer with labels, citations, steps), `inference/map/<ask>` (label ->
value), which never leaves this node, and `inference/context/<ask>` (documents sent with it, with labels). Whoever reads an answer sees names back in their own questions, other identifiers masked, and in
those of others labels alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.contracts import Host, Transaction
from workbench.crypto import canonical
from workbench.domain.documents import SourceDocument
from workbench.domain.identifiers import mask_id_no, mask_phone
from workbench.errors import NotFound
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.replies import AskStep, AskTold, CitedSource, RedactedTile, StatedField
from workbench_inference.leasing.billing import amount_fen
from workbench_inference.leasing.keys import Reader
from workbench_inference.policy.channels import CHANNELS
from workbench_inference.policy.redaction import KINDS, Redacted, restore_values
from workbench_sandbox.corpus import parse_documents

ASK: Final = "inference/ask/"
MAP: Final = "inference/map/"
SENT: Final = "inference/context/"
OPEN, CLOSE = "〔", "〕"

FIELD_LABELS: Final[dict[str, tuple[str, str]]] = {
    "fund_name": ("基金名称", "fund"), "short_name": ("基金简称", "short name"), "fund_code": ("基金代码", "code"), "fund_type": ("基金类型", "type"),
    "nav": ("单位净值", "net asset value"), "nav_cumulative": ("累计净值", "cumulative value"), "nav_date": ("净值日期", "date of value"),
    "risk_class": ("风险等级", "risk class"), "management_fee": ("管理费率", "management fee"), "custody_fee": ("托管费率", "custody fee"),
    "sales_fee": ("销售服务费率", "sales fee"), "purchase_fee": ("申购费率", "purchase fee"), "subscription_fee": ("认购费率", "subscription fee"),
    "redemption_fee": ("赎回费率", "redemption fee"), "manager": ("基金经理", "manager"), "management_company": ("基金管理人", "management company"),
    "custodian": ("基金托管人", "custodian"), "scale": ("基金规模", "size"), "inception": ("成立日期", "since"), "benchmark": ("业绩比较基准", "benchmark"),
    "minimum": ("起购金额", "minimum"), "report_date": ("报告期", "reporting date"), "issuer": ("公告主体", "issuer"),
    "security_code": ("证券代码", "security code"),
}  # fmt: skip
"""Names of docs/protocols/corpus.md section 1, as people read them; others are shown as they are."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened on the way, when. told: small values for its sentence."""

    name: str
    time_ms: int
    told: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What the vault keeps of an ask; members as replies.AskTold, texts with labels. tiles: (kind, start, end) in the question."""

    question: str = field(repr=False)
    tiles: tuple[tuple[str, int, int], ...]
    scenario: str
    template: str
    model: str
    lease: str
    sandbox: str
    watermark: str
    asked_ms: int
    channel: str
    steps: tuple[Step, ...]
    disclaimer_zh: str = ""
    disclaimer_en: str = ""
    state: str = "STREAMING"
    text: str = field(default="", repr=False)
    fields: tuple[tuple[str, str, str, int], ...] = ()
    citations: tuple[CitedSource, ...] = ()
    dropped: int = 0
    engine: str = ""
    engine_kind: str = ""
    engine_version: str = ""
    place: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    card_ms: int = 0
    ended_ms: int = 0
    code: str = ""
    rule: str = ""
    zh: str = ""
    en: str = ""
    where: str = ""
    entry: str = ""


def put(host: Host, tx: Transaction, ask: str, kept: Kept) -> None:
    """Keep it under a fresh key; what was kept before of this ask is shredded."""
    host.vault.put(tx, f"{ASK}{ask}", canonical.format(_plain(kept)))


def get(host: Host, reader: Reader, ask: str) -> Kept | None:
    """None where nothing is kept, or no longer."""
    try:
        found = json.loads(host.vault.get(reader, f"{ASK}{ask}"))
    except NotFound:
        return None
    return Kept(
        **{
            **found, "tiles": tuple((str(kind), int(start), int(end)) for kind, start, end in found["tiles"]),
            "steps": tuple(Step(one["name"], one["time_ms"], one["told"]) for one in found["steps"]),
            "citations": tuple(CitedSource(**one) for one in found["citations"]), "fields": tuple(tuple(one) for one in found["fields"]),
        }
    )  # fmt: skip


def put_map(host: Host, tx: Transaction, ask: str, values: Mapping[str, str]) -> None:
    """Label -> value, where there are any."""
    if values:
        host.vault.put(tx, f"{MAP}{ask}", canonical.format(dict(values)))


def get_map(host: Host, reader: Reader, ask: str) -> dict[str, str]:
    """Empty where nothing was replaced, or the map was erased."""
    try:
        found: dict[str, str] = json.loads(host.vault.get(reader, f"{MAP}{ask}"))
    except NotFound:
        return {}
    return found


def put_sent(host: Host, tx: Transaction, ask: str, context: bytes) -> None:
    """The documents sent with a question, as they travelled, where there are any."""
    if context:
        host.vault.put(tx, f"{SENT}{ask}", context)


def get_sent(host: Host, reader: Reader, ask: str, document: str, version: str) -> SourceDocument | None:
    """One of them; None where none of this name was sent, or they were erased."""
    try:
        found = parse_documents(host.vault.get(reader, f"{SENT}{ask}"))
    except NotFound:
        return None
    return next((one for one in found if (one.document, one.version) == (document, version)), None)


def shred(host: Host, tx: Transaction, ask: str) -> bool:
    """Destroy text, map and sent documents of an ask; whether there was anything."""
    gone = [host.vault.shred(tx, f"{prefix}{ask}") for prefix in (ASK, MAP, SENT)]
    return any(gone)


def tiles_in(text: str, redacted: Redacted) -> tuple[tuple[str, int, int], ...]:
    """Where labels stand in the redacted text: (kind, start, end), end exclusive."""
    found, place = [], 0
    for tile in redacted.tiles:
        at = text.find(tile.label, place)
        if at >= 0:
            place = at + len(tile.label)
            found.append((tile.kind, at, place))
    return tuple(found)


def tiles_told(text: str, tiles: tuple[tuple[str, int, int], ...]) -> list[RedactedTile]:
    """As a person reads them."""
    made = []
    for kind, start, end in tiles:
        label = text[start:end].strip(OPEN + CLOSE)
        number = "".join(one for one in label if one.isdigit())
        zh, _, en = KINDS[kind]
        made.append(RedactedTile(kind=kind, label_zh=f"{zh} {number}".strip(), label_en=f"{en} {number}".strip(), start=start, end=end))
    return made


def masked(values: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, str]:
    """What stands in place of a label for who asked: names as they are, everything else masked. kinds: label -> kind."""
    made = {}
    for label, value in values.items():
        kind = kinds.get(label, "")
        if kind == "name":
            made[label] = value
        elif kind == "phone":
            made[label] = mask_phone(value) if len(value) == 11 else "****"
        elif kind == "id":
            made[label] = mask_id_no(value) if len(value) == 18 else "****"
        else:
            made[label] = "****" + value[-4:] if len(value) >= 12 else "****"
    return made


def told(
    host: Host, row: AskRow, kept: Kept | None, values: Mapping[str, str], *, mine: bool, price: int, seal: str, draft: str = ""
) -> AskTold:
    """One ask as a person sees it. values: its map, used for who asked alone; price: fen a card-minute; draft: text so far."""
    found = kept if kept is not None else _gone(row)
    text = draft if draft and row.state in ("QUEUED", "STREAMING") else found.text
    shown = dict(found_fields(found))
    if mine and values:
        kinds = {label: _kind_of(label) for label in values}
        names = {label: value for label, value in masked(values, kinds).items() if kinds[label]}
        text = restore_values(text, names, allowed=CHANNELS[found.channel].restores if found.channel in CHANNELS else frozenset())
    return AskTold(
        ask=row.ask, state=row.state, mine=mine, scenario=row.scenario, template=found.template, model=row.model, lease=row.lease, sandbox=found.sandbox,
        asked_ms=row.asked_ms, ended_ms=row.ended_ms, question=found.question, tiles=tiles_told(found.question, found.tiles), text=text,
        tokens_in=row.tokens_in, tokens_out=row.tokens_out, card_ms=row.card_ms, cost_fen=amount_fen(-(-row.card_ms // 1000), price),
        code=row.code or found.code, rule=found.rule, zh=found.zh, en=found.en, where=found.where or ("before" if row.state == "REFUSED" else ""),
        entry=found.entry, seal=seal if found.entry else "", rating=row.rating, rating_reason=row.reason if mine else "", channel=row.channel,
        credential=row.credential, **shown,
    )  # fmt: skip


def found_fields(kept: Kept) -> dict[str, Any]:
    """Members of AskTold that come from the vault as they are."""
    fields = []
    for name, value, unit, cite in kept.fields:
        zh, en = FIELD_LABELS.get(name.partition("@")[0], (name, name))
        fields.append(StatedField(name=name, label_zh=zh, label_en=en, value=value, unit=unit, cite=cite))
    return {
        "fields": fields, "citations": list(kept.citations), "dropped": kept.dropped,
        "steps": [AskStep(name=one.name, time_ms=one.time_ms, told=dict(one.told)) for one in kept.steps], "engine": kept.engine,
        "engine_kind": kept.engine_kind, "engine_version": kept.engine_version, "place": kept.place, "watermark": kept.watermark,
        "disclaimer_zh": kept.disclaimer_zh, "disclaimer_en": kept.disclaimer_en,
    }  # fmt: skip


def _kind_of(label: str) -> str:
    """The kind of a label, by its word."""
    word = "".join(one for one in label.strip(OPEN + CLOSE) if not one.isdigit()).strip()
    return next((kind for kind, (name, _, _) in KINDS.items() if name == word), "")


def _gone(row: AskRow) -> Kept:
    """Where text and answer were erased, or nothing was kept: what the row says."""
    return Kept(
        question="", tiles=(), scenario=row.scenario, template=row.template, model=row.model, lease=row.lease, sandbox="", watermark=row.watermark,
        asked_ms=row.asked_ms, channel="internal", steps=(), state=row.state,
    )  # fmt: skip


def _plain(kept: Kept) -> dict[str, object]:
    """As `dataclasses.asdict`, which copies every value twice: it runs in the one thread that writes."""
    steps = [{**_members(one), "told": dict(one.told)} for one in kept.steps]
    return {**_members(kept), "steps": steps, "citations": [one.model_dump() for one in kept.citations]}


def _members(value: Kept | Step) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__slots__}


__all__ = ["ASK", "FIELD_LABELS", "MAP", "SENT", "Kept", "Step", "get", "get_map", "get_sent", "masked", "put", "put_map", "put_sent", "shred", "tiles_in", "tiles_told", "told"]
