"""What the operations of policy take and answer, for page, notebook and command alike."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from workbench.domain.party import Role
from workbench.operations import Reply, Request

ScenarioName = Literal["advice", "research", "banking", "marketing", "risk", "together", "running"]


class TemplateVersion(Reply):
    """One version of a template or of the rules. state: proposed, published, delivered; mode: debug or run; in_force: asked with now, in
    this mode. may_publish, may_promote: whether who looks may. first, second: names of people."""

    kind: str
    name: str
    version: int
    digest: str
    state: str
    mode: str
    in_force: bool
    first: str
    second: str
    made_ms: int
    may_publish: bool
    may_promote: bool


class TemplateText(Reply):
    """The text of one version and of the one in force, so that a reader sees what changes."""

    version: TemplateVersion
    text_zh: str
    text_en: str
    disclaimer_zh: str
    disclaimer_en: str
    client_disclaimer_zh: str
    client_disclaimer_en: str
    before_zh: str
    before_en: str


class ScenarioInfo(Reply):
    """kinds: of documents; roles: by default; asks_client_class: always, when-known or never; run, debug: versions in force."""

    scenario: str
    zh: str
    en: str
    data_class: str
    roles: list[str]
    kinds: list[str]
    asks_client_class: str
    is_draft: bool
    open_to_clients: bool
    run: int
    debug: int
    disclaimer_zh: str
    disclaimer_en: str
    rules: int


class RuleInfo(Reply):
    """A rule of content in force. patterns: how many."""

    name: str
    zh: str
    en: str
    why: str
    stages: list[str]
    scenarios: list[str]
    channels: list[str]
    patterns: int


class ScenariosReply(Reply):
    scenarios: list[ScenarioInfo]
    templates: list[TemplateVersion]
    rules_version: int
    rules_digest: str
    rules: list[RuleInfo]


class TemplateName(Request):
    """scenario: whose template. version: 1 is the delivered one."""

    scenario: ScenarioName
    version: int = Field(ge=1, le=100_000)


class ProposeTemplate(Request):
    """A new version: fields `{{question}}` (once), `{{client_class}}`, `{{documents_day}}`, `{{today}}`; a disclaimer has none."""

    scenario: ScenarioName
    text_zh: str = Field(min_length=1, max_length=6_000)
    text_en: str = Field(min_length=1, max_length=6_000)
    disclaimer_zh: str = Field(min_length=1, max_length=500)
    disclaimer_en: str = Field(min_length=1, max_length=1_000)
    client_disclaimer_zh: str = Field(min_length=1, max_length=500)
    client_disclaimer_en: str = Field(min_length=1, max_length=1_000)
    reason: str = Field(min_length=5, max_length=200)


class ConfirmTemplate(TemplateName):
    """digest: of the version that was read."""

    digest: str = Field(pattern="^[0-9a-f]{64}$")


class ProposeRules(Request):
    """text: a whole file of rules, as `policy/rules.json`; its `version` is replaced by the next one."""

    text: str = Field(min_length=2, max_length=200_000)
    reason: str = Field(min_length=5, max_length=200)


class ConfirmRules(Request):
    version: int = Field(ge=2, le=100_000)
    digest: str = Field(pattern="^[0-9a-f]{64}$")


class RulesVersion(Request):
    """version: 1 is the delivered one, 0 the one in force."""

    version: int = Field(default=0, ge=0, le=100_000)


class RulesText(Reply):
    version: TemplateVersion
    text: str


class AccessCell(Reply):
    """allowed: now; origin: row (people set it), default, or nobody. never: a role that asks no model. since_ms: of a row."""

    role: str
    scenario: str
    model: str
    allowed: bool
    origin: str
    since_ms: int
    by: str


class AccessReply(Reply):
    """defaults: whether the scenarios' own roles count where nobody set anything; not in a production workspace."""

    defaults: bool
    roles: list[str]
    scenarios: list[str]
    models: list[str]
    cells: list[AccessCell]


class ChangeAccess(Request):
    """model: name of an image, or * for every model."""

    role: Role
    scenario: ScenarioName
    model: str = Field(min_length=1, max_length=63)
    allowed: bool
    reason: str = Field(min_length=5, max_length=200)


class CohortReply(Reply):
    """cap: in force, hard_cap: what no setting exceeds. stage: of the trial (policy/stages.py)."""

    people: int
    cap: int
    hard_cap: int
    stage: str
    ends: list[CohortEnd]


class CohortEnd(Reply):
    """How many invitations end on a day (Asia/Shanghai)."""

    day: str
    people: int


class ChangeCohort(Request):
    """One customer by phone, or those of a list that a rule selects ("" for all of it). All are taken or none. until_day: the last day."""

    action: Literal["invite", "remove"]
    phone: str = Field(default="", max_length=40, repr=False)
    list_id: str = Field(default="", max_length=40)
    audience: str = Field(default="", max_length=2_000)
    until_day: date | None = None
    reason: str = Field(min_length=5, max_length=200)


class QuotaLine(Reply):
    """whose: a role, or the name of a person. is_set: people set it, else the setting's."""

    whose: str
    is_group: bool
    used: int
    most: int
    is_set: bool


class QuotaReply(Reply):
    """mine, groups: of who looks and their roles; everybody: for those who may change quotas, else empty."""

    month: str
    mine: QuotaLine
    groups: list[QuotaLine]
    everybody: list[QuotaLine]
    used: int


class ChangeQuota(Request):
    """One of person (account name) and role. most: questions a month from this month on; -1: the setting's again."""

    person: str = Field(default="", max_length=64)
    role: Role | None = None
    most: int = Field(ge=-1, le=1_000_000)


class FeedbackRequest(Request):
    """Days in Asia/Shanghai, both included; without them the last 30."""

    from_day: date | None = None
    to_day: date | None = None


class FeedbackReason(Reply):
    rating: str
    text: str


class FeedbackLine(Reply):
    scenario: str
    template: str
    model: str
    asked: int
    answered: int
    abstained: int
    refused: int
    up: int
    down: int
    reasons: list[FeedbackReason]


class FeedbackReply(Reply):
    from_day: str
    to_day: str
    lines: list[FeedbackLine]


CohortReply.model_rebuild()
