"""What staff can do with notices: draft, lint, propose, publish by a second person, retire, read, render.

Document: docs/protocols/notice.md. Nothing is decided here.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final, cast

import numpy as np

from workbench.contracts import ConsentRegistry, Host, OperationContext
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound
from workbench.operations import NoInput, Operation
from workbench_consent.notices import published, registers, rendering, sample
from workbench_consent.notices.difference import Change, changes, optional
from workbench_consent.notices.lint import ERROR, Finding, Known, lint
from workbench_consent.notices.messages import (
    Both,
    ChangesReply,
    ChangeView,
    CheckNotice,
    CheckNoticeReply,
    CollectedView,
    CompareNotices,
    Content,
    DecideNotice,
    DetailView,
    EndNotice,
    FindingView,
    GetNotice,
    ListNotices,
    NoticeReply,
    NoticesReply,
    ProposeNotice,
    RegistersReply,
    RenderNotice,
    RenderReply,
    RowView,
    SampleReply,
    SavedReply,
    SaveNotice,
    SharedView,
    SwitchView,
    VersionView,
)
from workbench_consent.notices.text import Notice, Words, notice_of, plain

EDITORS: Final = frozenset({Role.COMPLIANCE})
DECIDERS: Final = frozenset({Role.COMPLIANCE, Role.APPROVER})
READERS: Final = frozenset({Role.MARKETING, Role.APPROVER, Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})
_DRAFT = "consent/notice-draft/"


def host_of(ctx: OperationContext) -> Host:
    """The node as plugins know it; the class fulfils the Protocol with narrower parts, which mypy does not see."""
    return cast("Host", ctx.host)


def known(host: Host) -> Known:
    """What a notice may name at this institution now."""
    registry: Any = host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    others = {party for party in host.parties() if party != host.party}
    return published.known_of(host, recipients=others, processors=frozenset(registry.processors()))


def _save(ctx: OperationContext, request: SaveNotice) -> SavedReply:
    host, now = host_of(ctx), ctx.host.now_ms()
    _notice(request.notice, 1, request.content, now)  # what could never become a version is refused at once
    data = request.content.model_dump_json().encode()
    host.store.write(lambda tx: host.vault.put(tx, _draft_name(ctx, request.notice), data))
    return SavedReply(notice=request.notice, saved_ms=now)


def _check(ctx: OperationContext, request: CheckNotice) -> CheckNoticeReply:
    notice = _written(ctx, request.notice, request.content)
    with ctx.host.store.read() as reader:
        found = published.changes_of(reader, notice)
    findings = lint(notice, known(host_of(ctx)))
    return CheckNoticeReply(
        notice=notice.key,
        version=notice.version,
        complete=all(one.level != ERROR for one in findings),
        findings=[_finding(one) for one in findings],
        changes=_changes(found),
        must_confirm=[one.id for one in found if one.material],
        affected=_affected(ctx, notice.key, {(one.purpose, one.recipient) for one in found if one.material}),
    )


def _propose(ctx: OperationContext, request: ProposeNotice) -> VersionView:
    host, actor = host_of(ctx), ctx.caller.person.token
    notice = _written(ctx, request.notice, request.content)
    allowed = known(host)
    one = host.store.write(lambda tx: published.propose(tx, host, notice, allowed, confirmed=request.confirm, actor=actor))
    return _view(ctx, one)


def _publish(ctx: OperationContext, request: DecideNotice) -> VersionView:
    host, actor = host_of(ctx), ctx.caller.person.token
    allowed = known(host)
    one = host.store.write(
        lambda tx: published.publish(
            tx, host, allowed, key=request.notice, version=request.version, expected=request.digest, actor=actor
        )
    )
    return _view(ctx, one)


def _reject(ctx: OperationContext, request: EndNotice) -> VersionView:
    host, actor = host_of(ctx), ctx.caller.person.token
    one = host.store.write(
        lambda tx: published.reject(tx, host, key=request.notice, version=request.version, reason=request.reason, actor=actor)
    )
    return _view(ctx, one)


def _retire(ctx: OperationContext, request: EndNotice) -> VersionView:
    host, actor = host_of(ctx), ctx.caller.person.token
    one = host.store.write(
        lambda tx: published.retire(tx, host, key=request.notice, version=request.version, reason=request.reason, actor=actor)
    )
    return _view(ctx, one)


def _list(ctx: OperationContext, request: ListNotices) -> NoticesReply:
    host, now = host_of(ctx), ctx.host.now_ms()
    with host.store.read() as reader:
        found = published.all_versions(reader, key=request.notice)
        drafts = host.vault.names(reader, _draft_name(ctx, ""))
    rows = [one for one in reversed(found) if not request.offered or one.is_offered(now)]
    rows.sort(key=lambda one: one.notice.key)
    live = _live_grants(ctx)
    views = [_view(ctx, one).model_copy(update={"grants": live.get(one.notice.name, 0)}) for one in rows]
    return NoticesReply(rows=views, drafts=[name.rpartition("/")[2] for name in drafts])


def _get(ctx: OperationContext, request: GetNotice) -> NoticeReply:
    notice, digest, state, found = _chosen(ctx, request)
    return NoticeReply(
        notice=notice.key, version=notice.version, state=state, digest=digest, content=plain(notice),
        findings=[_finding(one) for one in lint(notice, known(host_of(ctx)))], changes=_changes(found),
    )  # fmt: skip


def _render(ctx: OperationContext, request: RenderNotice) -> RenderReply:
    host = host_of(ctx)
    notice, digest, _, _ = _chosen(ctx, request)
    shown = rendering.layers(
        notice, categories=_names(host, "consent.categories"), channels=_names(host, "consent.channels"),
        purposes=_names(host, "consent.purposes"),
    )  # fmt: skip
    return RenderReply(
        notice=notice.key,
        version=notice.version,
        digest=digest,
        language=request.language,
        title=_both(shown.title),
        summary=_both(shown.summary),
        switches=[
            SwitchView(id=one.id, purpose=one.purpose, recipient=one.recipient, label=_both(one.label), detail=_both(one.detail), on=one.on)
            for one in shown.switches
        ],
        details=[DetailView(id=name, rows=_rows(rows)) for name, rows in shown.details],
        closing=_rows(shown.closing),
        body=_both(shown.body),
        html=rendering.page(notice, shown, digest=digest or "—", language=request.language),
    )


def _sample(ctx: OperationContext, request: NoInput) -> SampleReply:
    """The notice that comes with the program, for this institution and its partners."""
    host, entrusted = ctx.host, known(host_of(ctx)).processors
    names: dict[str, tuple[str, str]] = {party: host.names(party) for party in host.parties() if party not in entrusted}
    return SampleReply(notice=sample.KEY, content=Content.model_validate(sample.content(host.party, names)))


def _compare(ctx: OperationContext, request: CompareNotices) -> ChangesReply:
    with ctx.host.store.read() as reader:
        before = published.version_named(reader, request.notice, request.before)
        after = published.version_named(reader, request.notice, request.after)
    found = changes(before.notice, after.notice)
    return ChangesReply(notice=request.notice, before=request.before, after=request.after, changes=_changes(found))


def _registers(ctx: OperationContext, request: NoInput) -> RegistersReply:
    host, now = host_of(ctx), ctx.host.now_ms()
    with host.store.read() as reader:
        offered = [one.notice for one in published.all_versions(reader) if one.is_offered(now)]
    newest = {one.key: one for one in offered}  # by version ascending: the last one of a key speaks
    names = _names(host, "consent.categories")
    return RegistersReply(
        at_ms=now,
        collected=[
            CollectedView(
                category=one.category, category_zh=names.get(one.category, (one.category,))[0],
                category_en=names.get(one.category, (one.category,))[-1], purpose=one.purpose, purpose_text=_both(one.purpose_text),
                method=_both(one.method), retention_days=one.retention_days, notices=list(one.notices),
            )
            for one in registers.collected(newest.values())
        ],
        shared=[
            SharedView(
                recipient=one.recipient, recipient_name=_both(one.recipient_name), recipient_contact=one.recipient_contact,
                purpose=one.purpose, purpose_text=_both(one.purpose_text), method=_both(one.method), categories=list(one.categories),
                retention_days=one.retention_days, notices=list(one.notices),
            )
            for one in registers.shared(newest.values())
        ],
    )  # fmt: skip


def _live_grants(ctx: OperationContext) -> dict[str, int]:
    """Live grants by version of the notice they name."""
    found: dict[str, int] = {}
    for term, count in _live_by_term(ctx):
        found[term.conditions.notice] = found.get(term.conditions.notice, 0) + count
    return found


def _affected(ctx: OperationContext, key: str, lines: set[tuple[str, str]]) -> int:
    """Live grants under any version of this notice, for these purposes and recipients."""
    under = f"{key}@"
    return sum(
        count
        for term, count in _live_by_term(ctx)
        if term.conditions.notice.startswith(under) and (term.purpose, term.recipient) in lines
    )


def _live_by_term(ctx: OperationContext) -> list[tuple[Any, int]]:
    registry: Any = ctx.host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    state = registry.state()
    live = ~state.grants.withdrawn & (state.grants.until_ms > ctx.host.now_ms())
    counts = np.bincount(state.grants.term[live], minlength=len(state.terms))
    return list(zip(state.terms, counts.tolist(), strict=True))


def _written(ctx: OperationContext, key: str, content: Content | None) -> Notice:
    """The text given, or my draft, with the number it would get."""
    host = host_of(ctx)
    with host.store.read() as reader:
        if content is None:
            content = _draft(ctx, reader, key)
        return _notice(key, published.next_version(reader, key), content, host.now_ms())


def _chosen(ctx: OperationContext, request: GetNotice) -> tuple[Notice, str, str, list[Change]]:
    """(notice, digest, state, differences from the version before)."""
    host, now = host_of(ctx), ctx.host.now_ms()
    with host.store.read() as reader:
        if request.draft:
            notice = _notice(request.notice, published.next_version(reader, request.notice), _draft(ctx, reader, request.notice), now)
            return notice, "", "DRAFT", published.changes_of(reader, notice)
        if request.version:
            one = published.version_named(reader, request.notice, request.version)
        else:
            offered = [one for one in published.all_versions(reader, key=request.notice) if one.is_offered(now)]
            if not offered:
                raise NotFound(
                    "这份告知书没有可用的版本", "this notice has no version on offer", code="NO_NOTICE", details={"notice": request.notice}
                )
            one = offered[-1]
        earlier = [v for v in published.all_versions(reader, key=request.notice, states=published.IN_FORCE) if v.notice.version < one.notice.version]
    return one.notice, one.digest.hex(), one.state, changes(earlier[-1].notice if earlier else None, one.notice)


def _draft(ctx: OperationContext, reader: Any, key: str) -> Content:
    name = _draft_name(ctx, key)
    if name not in ctx.host.vault.names(reader, name):
        raise NotFound("没有这份告知书草稿", "there is no such draft of a notice", code="NO_DRAFT", details={"notice": key})
    return Content.model_validate(json.loads(ctx.host.vault.get(reader, name)))


def _draft_name(ctx: OperationContext, key: str) -> str:
    return f"{_DRAFT}{ctx.caller.person.token}/{key}"


def _notice(key: str, version: int, content: Content, now_ms: int) -> Notice:
    """The version this content would be; InvalidRequest where it cannot be one at all."""
    value = _trimmed(content.model_dump())
    for line in value["lines"]:
        line["categories"], line["channels"] = sorted(set(line["categories"])), sorted(set(line["channels"]))
    value |= {"key": key, "version": version, "effective_ms": content.effective_ms or now_ms}
    try:
        return notice_of(value)
    except (ValueError, TypeError, KeyError):
        raise InvalidRequest(
            "告知书内容不成形：每一项的用途与接收方不得重复，文字不得含控制字符",
            "this cannot be a notice: no two lines have the same purpose and recipient, and texts have no control characters",
        ) from None


def _trimmed(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\r\n", "\n").strip()
    if isinstance(value, list):
        return [_trimmed(one) for one in value]
    if isinstance(value, dict):
        return {name: _trimmed(one) for name, one in value.items()}
    return value


def _names(host: Host, setting: str) -> dict[str, tuple[str, str]]:
    return {code: (words[0], words[1]) for code, words in host.setting(setting).items()}


def _both(words: Words) -> Both:
    return Both(zh=words.zh, en=words.en)


def _rows(rows: Any) -> list[RowView]:
    return [RowView(label=_both(label), text=_both(text)) for label, text in rows]


def _finding(one: Finding) -> FindingView:
    return FindingView(**asdict(one))


def _changes(found: list[Change]) -> list[ChangeView]:
    may = optional(found)
    return [
        ChangeView(
            id=one.id, purpose=one.purpose, recipient=one.recipient, field=one.field, material=one.material, optional=one.id in may,
            zh=one.sentence[0], en=one.sentence[1], before=Both(zh=one.before[0], en=one.before[1]),
            after=Both(zh=one.after[0], en=one.after[1]),
        )
        for one in found
    ]  # fmt: skip


def _view(ctx: OperationContext, one: published.Version) -> VersionView:
    host = ctx.host
    return VersionView(
        notice=one.notice.key, version=one.notice.version, title=_both(one.notice.title), state=one.state,
        offered=one.is_offered(host.now_ms()),
        effective_ms=one.notice.effective_ms, digest=one.digest.hex(), lines=len(one.notice.lines), confirmed=list(one.confirmed),
        proposed_by=host.person_named(one.proposed_by), proposed_ms=one.proposed_ms,
        decided_by=host.person_named(one.decided_by) if one.decided_by else "", decided_ms=one.decided_ms,
        retired_ms=one.retired_ms, reason=one.reason,
    )  # fmt: skip


OPERATIONS = (
    Operation(
        name="notices.draft_save", zh="保存告知书草稿", en="save a draft of a notice", request=SaveNotice, reply=SavedReply, roles=EDITORS,
        run=_save, own_only=True,
    ),
    Operation(
        name="notices.lint", zh="核对告知书是否齐备", en="check what a notice lacks", request=CheckNotice, reply=CheckNoticeReply, roles=EDITORS,
        run=_check, reads_only=True,
    ),
    Operation(
        name="notices.propose", zh="提出一版告知书", en="propose a version of a notice", request=ProposeNotice, reply=VersionView, roles=EDITORS,
        run=_propose, evidence=("notices.proposed",),
    ),
    Operation(
        name="notices.publish", zh="批准并发布告知书", en="approve and publish a notice", request=DecideNotice, reply=VersionView,
        roles=DECIDERS, run=_publish, fresh_password=True, evidence=("notices.published",),
    ),
    Operation(
        name="notices.reject", zh="退回告知书", en="send a notice back", request=EndNotice, reply=VersionView, roles=DECIDERS, run=_reject,
        evidence=("notices.rejected",),
    ),
    Operation(
        name="notices.retire", zh="停用一版告知书", en="retire a version of a notice", request=EndNotice, reply=VersionView, roles=EDITORS,
        run=_retire, fresh_password=True, evidence=("notices.retired",),
    ),
    Operation(
        name="notices.list", zh="查看告知书", en="read the notices", request=ListNotices, reply=NoticesReply, roles=READERS, run=_list,
        reads_only=True, weak_token=True,
    ),
    Operation(
        name="notices.get", zh="查看一版告知书", en="read one version of a notice", request=GetNotice, reply=NoticeReply, roles=READERS, run=_get,
        reads_only=True, weak_token=True,
    ),
    Operation(
        name="notices.render", zh="显示告知书（分层）", en="show a notice in layers", request=RenderNotice, reply=RenderReply, roles=READERS,
        run=_render, reads_only=True, weak_token=True,
    ),
    Operation(
        name="notices.sample", zh="取告知书样例", en="take the sample of a notice", request=NoInput, reply=SampleReply, roles=EDITORS,
        run=_sample, reads_only=True,
    ),
    Operation(
        name="notices.compare", zh="比较两版告知书", en="compare two versions of a notice", request=CompareNotices, reply=ChangesReply,
        roles=READERS, run=_compare, reads_only=True, weak_token=True,
    ),
    Operation(
        name="notices.registers", zh="查看双清单", en="read the lists of what is collected and shared", request=NoInput,
        reply=RegistersReply, roles=READERS, run=_registers, reads_only=True, weak_token=True,
    ),
)  # fmt: skip

__all__ = ["OPERATIONS", "host_of", "known"]
