"""What operations of asking answer, for the page, the notebook and the command alike.

Offsets are in characters, end exclusive; times in ms since 1970 UTC; money in fen. A text that a person sees is restored for those
allowed and masked (199****0317) otherwise; nothing here holds an unmasked identifier.
"""

from __future__ import annotations

from typing import Final

from workbench.operations import Reply

ASK_STATES: Final = (
    "QUEUED", "STREAMING", "ANSWERED", "ABSTAINED", "STOPPED", "CUT", "REFUSED", "FAILED",
)  # fmt: skip
"""QUEUED: taken in, not yet sent; STREAMING: sent, what has come is a draft; ANSWERED, ABSTAINED (the documents do not say),
STOPPED (by the person), CUT (lease, sandbox or provider ended: nothing is shown), REFUSED (a rule, before or after the model),
FAILED (engine or evidence)."""


class RedactedTile(Reply):
    """A stretch that is replaced before sending. kind: phone, id, card, name, account, email or address; label: such as 手机 1."""

    kind: str
    label_zh: str
    label_en: str
    start: int
    end: int


class QuestionPreview(Reply):
    """What would be sent, before it is. text: the question with each stretch replaced by its label.

    code, rule, zh, en: why it would be refused, "" when it may go; cost_fen: at most.
    """

    text: str
    tiles: list[RedactedTile]
    klass: str
    scenario: str
    template: str
    documents: int
    documents_ms: int
    cost_fen: int
    code: str
    rule: str
    zh: str
    en: str


class CitedSource(Reply):
    """Citation n of an answer. matches: the cited characters stand so in this institution's own copy of the document."""

    n: int
    document: str
    version: str
    kind: str
    title: str
    source: str
    time_ms: int
    synthetic: bool
    start: int
    end: int
    sm3: str
    matches: bool


class StatedField(Reply):
    """A row of the answer's table. name: such as management_fee; value and unit as the source states them; cite: citation."""

    name: str
    label_zh: str
    label_en: str
    value: str
    unit: str
    cite: int


class AskStep(Reply):
    """A step on the way of one question, in order. name: redacted, evidence, key, stood_in (another model than the first), sent, retrieved, drafted, grounded, returned,
    judged, restored, metered; told: small values for its sentence (counts, key id, bytes)."""

    name: str
    time_ms: int
    told: dict[str, str]


class AskTold(Reply):
    """One question and its answer as far as it has come.

    question: with labels in place of identifiers; text: the answer, with citation numbers as ⟦n⟧ behind what they carry.
    code, rule, zh, en: of a refusal or failure; where: "before" (nothing was sent, nothing is billed) or "after" the model.
    dropped: sentences left out for lack of a source. seal: "PENDING", "FINAL" or "" before there is an entry; entry: such as
    broker/186. rating: "", "up" or "down". mine: asked by who looks. channel, credential: as HistoryLine, the second as evidence names it.
    """

    ask: str
    state: str
    mine: bool
    scenario: str
    template: str
    model: str
    lease: str
    sandbox: str
    asked_ms: int
    ended_ms: int
    question: str
    tiles: list[RedactedTile]
    text: str
    fields: list[StatedField]
    citations: list[CitedSource]
    dropped: int
    steps: list[AskStep]
    engine: str
    engine_kind: str
    engine_version: str
    place: str
    watermark: str
    tokens_in: int
    tokens_out: int
    card_ms: int
    cost_fen: int
    disclaimer_zh: str
    disclaimer_en: str
    code: str
    rule: str
    zh: str
    en: str
    where: str
    entry: str
    seal: str
    rating: str
    rating_reason: str
    channel: str = "internal"
    credential: str = ""


class AskTaken(Reply):
    """A question was taken in. waiting: how many are before it."""

    ask: str
    waiting: int


class AskProgress(Reply):
    """What has come since the record that was named: the same question, as far as it has come, and the next number to ask from."""

    ask: AskTold
    next: int


class HistoryLine(Reply):
    """One earlier question: its first 60 characters, redacted. channel: internal or client; credential: name of the machine that brought
    it, "" for a person's own session."""

    ask: str
    asked_ms: int
    state: str
    scenario: str
    title: str
    rating: str
    mine: bool
    channel: str = "internal"
    credential: str = ""


class History(Reply):
    """Newest first. total: of what was searched for."""

    lines: list[HistoryLine]
    total: int


class SourceText(Reply):
    """The stretch of a document around a citation. before, cited, after: its text in three pieces; page: "" where there is none."""

    document: str
    version: str
    title: str
    source: str
    time_ms: int
    synthetic: bool
    start: int
    end: int
    before: str
    cited: str
    after: str
    sm3: str
    matches: bool


class ScenarioOffered(Reply):
    """A scenario that this person may ask in. kinds: of documents; channel: "internal" or "client"."""

    scenario: str
    name_zh: str
    name_en: str
    version: str
    models: list[str]
    kinds: list[str]
    documents: int
    documents_ms: int


class AskingDesk(Reply):
    """What the page needs before a question: scenarios of this person, quota and budget of the month, lease, sandbox and keys.

    lease_state: "" (none), ORDERED, RUNNING, RELEASING, ERASED, UNPROVEN or REFUSED. evidence: "" (not yet), "accepted", "refused";
    missing: controls of the sandbox that are not in force. provenance: of the session's key, "" for none; policy: of the line.
    problem_code, problem_zh, problem_en: why no question can be asked now, "" when one can. silent_s: seconds since the provider was
    last heard of the lease, where it does not answer: the rest is as it was then; else 0.
    """

    scenarios: list[ScenarioOffered]
    asked: int
    quota: int
    group: str
    group_asked: int
    group_quota: int
    spent_fen: int
    budget_fen: int
    provider: str
    lease: str
    lease_state: str
    pool: str
    cards: int
    until_ms: int
    began_ms: int
    card_seconds: int
    amount_fen: int
    assurance: str
    evidence: str
    evidence_ms: int
    missing: list[str]
    image: str
    provenance: str
    suite: str
    policy: str
    session: str
    waiting: int
    engine: str
    engine_kind: str
    place: str
    problem_code: str
    problem_zh: str
    problem_en: str
    now_ms: int
    silent_s: int = 0


__all__ = [
    "ASK_STATES",
    "AskProgress",
    "AskStep",
    "AskTaken",
    "AskTold",
    "AskingDesk",
    "CitedSource",
    "History",
    "HistoryLine",
    "QuestionPreview",
    "RedactedTile",
    "ScenarioOffered",
    "SourceText",
    "StatedField",
]
