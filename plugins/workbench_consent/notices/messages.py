"""What the operations on notices take and answer. Document: docs/protocols/notice.md."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from workbench.operations import Reply, Request

_KEY = r"^[a-z][a-z0-9-]{1,30}$"
LAST_MS: Final = 4_102_444_800_000
"""The start of the year 2100."""


class Both(Request):
    """One text in both languages."""

    zh: str = ""
    en: str = ""


class ControllerText(Request):
    party: str = ""
    name: Both = Both()
    contact: str = ""
    officer: str = ""


class MinorsText(Request):
    served: bool = False
    rules: Both = Both()


class LineText(Request):
    """One choice: one purpose, one recipient ("": this institution itself). Fields: docs/protocols/notice.md section 1."""

    purpose: str = Field(max_length=41)
    recipient: str = Field(default="", max_length=31)
    recipient_name: Both = Both()
    recipient_contact: str = ""
    purpose_text: Both = Both()
    method: Both = Both()
    categories: list[str] = Field(default=[], max_length=40)
    channels: list[str] = Field(default=[], max_length=40)
    retention_days: int = Field(default=0, ge=0, le=40_000)
    retention: Both = Both()
    necessity: Both = Both()
    effect: Both = Both()
    automated: bool = False
    automated_text: Both = Both()
    preset: bool = False
    required: bool = False


class Content(Request):
    """A notice as people write it; nothing needs to be complete. effective_ms: 0 for the moment it is proposed."""

    effective_ms: int = Field(default=0, ge=0, le=LAST_MS)
    title: Both = Both()
    summary: Both = Both()
    body: Both = Both()
    controller: ControllerText = ControllerText()
    rights: Both = Both()
    withdrawal: Both = Both()
    refusal: Both = Both()
    complaint: Both = Both()
    minors: MinorsText = MinorsText()
    lines: list[LineText] = Field(min_length=1, max_length=40)


class SaveNotice(Request):
    """notice: its key. content: replaces what I kept under this key."""

    notice: str = Field(pattern=_KEY)
    content: Content


class SavedReply(Reply):
    notice: str
    saved_ms: int


class CheckNotice(Request):
    """notice: its key. content: the text to look at; without it, my draft."""

    notice: str = Field(pattern=_KEY)
    content: Content | None = None


class FindingView(Reply):
    """level: "error" stops publication, "remark" does not. field: where in the form; article: who asks for it."""

    code: str
    field: str
    article: str
    level: str
    zh: str
    en: str


class ChangeView(Reply):
    """One difference from the newest published version. material: it must be confirmed; optional: people may add it."""

    id: str
    purpose: str
    recipient: str
    field: str
    material: bool
    optional: bool
    zh: str
    en: str
    before: Both
    after: Both


class CheckNoticeReply(Reply):
    """version: the number it would get. must_confirm: ids to name when proposing.

    affected: live grants under earlier versions whose line changes materially: as many customers to ask again, at most.
    """

    notice: str
    version: int
    complete: bool
    findings: list[FindingView]
    changes: list[ChangeView]
    must_confirm: list[str]
    affected: int


class ProposeNotice(Request):
    """confirm: ids of the changes that need new consent: all computed ones, and those people add."""

    notice: str = Field(pattern=_KEY)
    confirm: list[str] = Field(default=[], max_length=200)
    content: Content | None = None


class DecideNotice(Request):
    """digest: of the version that was shown; the confirmation covers it."""

    notice: str = Field(pattern=_KEY)
    version: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class EndNotice(Request):
    notice: str = Field(pattern=_KEY)
    version: int = Field(ge=1)
    reason: str = Field(min_length=5, max_length=500)


class VersionView(Reply):
    """One version as a row. state: PROPOSED, PUBLISHED, REJECTED or RETIRED; offered: customers may sign under it now."""

    notice: str
    version: int
    title: Both
    state: str
    offered: bool
    effective_ms: int
    digest: str
    lines: int
    confirmed: list[str]
    proposed_by: str
    proposed_ms: int
    decided_by: str
    decided_ms: int
    retired_ms: int
    reason: str
    grants: int = -1
    """Live grants under it; -1 where they were not counted."""


class ListNotices(Request):
    """notice: one key, "" for all. offered: only versions under which customers may sign now."""

    notice: str = ""
    offered: bool = False


class NoticesReply(Reply):
    """rows: by key, newest version first; drafts: keys of my drafts."""

    rows: list[VersionView]
    drafts: list[str]


class GetNotice(Request):
    """version: 0 for the newest that is offered now, or for my draft when `draft` is set."""

    notice: str = Field(pattern=_KEY)
    version: int = Field(default=0, ge=0)
    draft: bool = False


class NoticeReply(Reply):
    """content: all members of docs/protocols/notice.md section 1; digest: "" for a draft."""

    notice: str
    version: int
    state: str
    digest: str
    content: dict[str, Any]
    findings: list[FindingView]
    changes: list[ChangeView]


class RenderNotice(GetNotice):
    language: str = Field(default="zh", pattern="^(zh|en)$")


class SwitchView(Reply):
    """One choice of the first screen; `on` is always False."""

    id: str
    purpose: str
    recipient: str
    label: Both
    detail: Both
    on: bool


class RowView(Reply):
    label: Both
    text: Both


class DetailView(Reply):
    id: str
    rows: list[RowView]


class RenderReply(Reply):
    """Three layers as data, and as HTML without script or link in one language; every text in it is escaped."""

    notice: str
    version: int
    digest: str
    language: str
    title: Both
    summary: Both
    switches: list[SwitchView]
    details: list[DetailView]
    closing: list[RowView]
    body: Both
    html: str


class SampleReply(Reply):
    """A text to start from, written for synthetic data: what is really used is read by a person with legal training."""

    notice: str
    content: Content


class CompareNotices(Request):
    notice: str = Field(pattern=_KEY)
    before: int = Field(ge=1)
    after: int = Field(ge=1)


class ChangesReply(Reply):
    notice: str
    before: int
    after: int
    changes: list[ChangeView]


class CollectedView(Reply):
    category: str
    category_zh: str
    category_en: str
    purpose: str
    purpose_text: Both
    method: Both
    retention_days: int
    notices: list[str]


class SharedView(Reply):
    recipient: str
    recipient_name: Both
    recipient_contact: str
    purpose: str
    purpose_text: Both
    method: Both
    categories: list[str]
    retention_days: int
    notices: list[str]


class RegistersReply(Reply):
    """双清单: what is collected and what is shared, from the versions offered now."""

    at_ms: int
    collected: list[CollectedView]
    shared: list[SharedView]
