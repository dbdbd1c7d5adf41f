"""Drafts of intersections: what one person has chosen in the wizard and not yet proposed.

A draft holds choices only: ids, codes, a rule, numbers. It waits sealed in the vault, because a rule tells what this
institution is after, and is shredded when it is discarded. Saving, reading and discarding leave no entry: nothing left
this institution and nothing was decided; the proposal itself is the act, and that is evidence (docs/pages.md, section 5).
A draft has no table: it is one object of the vault, under its person's name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.domain.intersection import KeyKind
from workbench.domain.party import Role
from workbench.errors import NotFound, Refused
from workbench.operations import Operation, Reply, Request
from workbench.store.vault import Reader

if TYPE_CHECKING:
    from workbench.host import Workbench

MAX_DRAFTS = 20
"""Of one person; a page that saves by itself must not fill the database."""
KEPT_DAYS = 90
"""After so many days without a change a draft goes when its person saves the next one."""
DAY_MS = 86_400_000
STEPS = 4
_ID = r"^(D-[0-9a-f]{12})?$"


class SaveDraft(Request):
    """draft: which one is replaced, "" for a new one. step: 0 list, 1 quality, 2 audience, 3 terms.

    Everything else as in intersection.propose, but nothing needs to be complete: "" is not chosen yet. copied_from: the
    job whose choices were taken over.
    """

    draft: str = Field(default="", pattern=_ID)
    step: int = Field(default=0, ge=0, lt=STEPS)
    list_id: str = Field(default="", max_length=40)
    partner: str = Field(default="", max_length=40)
    purpose: str = Field(default="", max_length=60)
    key_kind: KeyKind = KeyKind.PHONE
    audience: str = Field(default="", max_length=2000)
    minimum_crowd: int = Field(default=50, ge=1, le=10_000_000)
    timeout_s: int = Field(default=600, ge=1, le=86_400)
    columns: list[str] = Field(default=[], max_length=50)
    copied_from: str = Field(default="", max_length=40)


class GetDrafts(Request):
    """draft: one of mine; "" for all of mine."""

    draft: str = Field(default="", pattern=_ID)


class DiscardDraft(Request):
    draft: str = Field(min_length=1, max_length=40)


class DraftInfo(Reply):
    """One draft; list_name: "" when its list is not in the catalogue any more."""

    draft: str
    step: int
    list_id: str
    list_name: str
    partner: str
    purpose: str
    key_kind: str
    audience: str
    minimum_crowd: int
    timeout_s: int
    columns: list[str]
    copied_from: str
    saved_ms: int


class DraftsReply(Reply):
    """The newest first."""

    drafts: list[DraftInfo]


class Discarded(Reply):
    """discarded: False when there was no such draft any more."""

    discarded: bool


def _name(person: str, draft: str) -> str:
    return f"draft/{person}/{draft}"


def _read(host: Workbench, reader: Reader, person: str) -> list[dict[str, Any]]:
    """All drafts of a person, the newest first."""
    found = [
        {"draft": name.rpartition("/")[2], **json.loads(host.vault.get(reader, name))}
        for name in host.vault.names(reader, _name(person, ""))
    ]
    return sorted(found, key=lambda one: (-int(one["saved_ms"]), str(one["draft"])))


def _info(host: Workbench, kept: dict[str, Any]) -> DraftInfo:
    try:
        list_name = host.lists.info(kept["list_id"]).name if kept["list_id"] else ""
    except Refused:  # erased since
        list_name = ""
    return DraftInfo(list_name=list_name, **kept)


def _no_draft() -> NotFound:
    return NotFound("没有这份草稿，或已丢弃", "There is no such draft, or it was discarded", code="NO_DRAFT")


def _save(ctx: OperationContext, request: SaveDraft) -> DraftInfo:
    """Refused TOO_MANY_DRAFTS for one more than MAX_DRAFTS; NotFound NO_DRAFT for one that was discarded elsewhere."""
    host, person, now = ctx.host, ctx.caller.person.person, ctx.host.now_ms()
    draft = request.draft or f"D-{host.random(6).hex()}"
    kept = {**request.model_dump(mode="json", exclude={"draft"}), "saved_ms": now}

    def change(tx: Transaction) -> None:
        known = _read(host, tx, person)
        old = [one["draft"] for one in known if one["saved_ms"] < now - KEPT_DAYS * DAY_MS and one["draft"] != draft]
        for one in old:
            host.vault.shred(tx, _name(person, one))
        if request.draft and draft not in {one["draft"] for one in known}:
            raise _no_draft()  # a second tab must not bring back what was discarded in the first
        if not request.draft and len(known) - len(old) >= MAX_DRAFTS:
            raise Refused(
                f"你已有 {MAX_DRAFTS} 份草稿，这一份没有保存。先在求交页丢弃一份",
                f"You have {MAX_DRAFTS} drafts, so this one was not saved. Discard one on the page Intersection first",
                code="TOO_MANY_DRAFTS",
            )
        host.vault.put(tx, _name(person, draft), json.dumps(kept, ensure_ascii=False, sort_keys=True).encode())

    host.store.write(change)
    return _info(host, {"draft": draft, **kept})


def _get(ctx: OperationContext, request: GetDrafts) -> DraftsReply:
    """Only the caller's own; NotFound NO_DRAFT for another person's, as for one that does not exist."""
    host = ctx.host
    with host.store.read() as reader:
        known = _read(host, reader, ctx.caller.person.person)
    found = [one for one in known if request.draft in ("", one["draft"])]
    if request.draft and not found:
        raise _no_draft()
    return DraftsReply(drafts=[_info(host, one) for one in found])


def _discard(ctx: OperationContext, request: DiscardDraft) -> Discarded:
    """The draft's key is destroyed; discarding twice is no mistake."""
    name = _name(ctx.caller.person.person, request.draft)
    return Discarded(discarded=bool(ctx.host.store.write(lambda tx: ctx.host.vault.shred(tx, name))))


DRAFT_OPERATIONS = (
    Operation(
        name="intersection.draft_save", zh="保存求交草稿", en="save a draft of an intersection", request=SaveDraft,
        reply=DraftInfo, roles=frozenset({Role.MARKETING}), run=_save, own_only=True,
    ),
    Operation(
        name="intersection.draft_get", zh="读取自己的求交草稿", en="read one's own drafts of intersections", request=GetDrafts,
        reply=DraftsReply, roles=frozenset({Role.MARKETING}), run=_get, reads_only=True,
    ),
    Operation(
        name="intersection.draft_discard", zh="丢弃求交草稿", en="discard a draft of an intersection", request=DiscardDraft,
        reply=Discarded, roles=frozenset({Role.MARKETING}), run=_discard, own_only=True,
    ),
)  # fmt: skip

__all__ = ["DRAFT_OPERATIONS", "KEPT_DAYS", "MAX_DRAFTS"]
