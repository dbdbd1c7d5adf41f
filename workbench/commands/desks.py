"""rights, complaints, assessment: each verb is one operation; files go where --out says, with mode 0600."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    credentials,
    print_result,
    require_place,
    workspace_of,
    write_private,
)
from workbench.domain.party import Role
from workbench.errors import Refused

Ask = Callable[[Options], dict[str, Any]]
Tell = Callable[[Any], list[str]]


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. confirmed: needs a fresh password. file: option of a file to upload. download: member of the reply, "" for none."""

    operation: str
    ask: Ask
    tell: Tell
    confirmed: bool = False
    file: str = ""
    download: str = ""
    role: Role = Role.COMPLIANCE


def rights(options: Options) -> int:
    """A verb of `workbench rights`."""
    return _run(options, RIGHTS[options.verb])


def complaints(options: Options) -> int:
    """A verb of `workbench complaints`."""
    verb = COMPLAINTS[options.verb]
    if getattr(options, "marketing", False):
        verb = replace(verb, role=Role.MARKETING)
    return _run(options, verb)


def assessment(options: Options) -> int:
    """A verb of `workbench assessment`."""
    verb = ASSESSMENT[options.verb]
    return _run(options, replace(verb, role=Role(options.role)) if options.verb == "approve" else verb)


def _run(options: Options, verb: Verb) -> int:
    workspace = workspace_of(options)
    out = Path(options.out) if verb.download else None
    if out is not None:
        require_place(out)
    request = verb.ask(options)
    line = ProgressLine()
    with client_for(workspace, options.party, verb.role) as client:
        if verb.file and getattr(options, verb.file, None):
            request["file"] = client.upload(_existing(getattr(options, verb.file)), progress=line)
        confirmation = ""
        if verb.confirmed:
            _, password = credentials(workspace, options.party, verb.role)
            confirmation = client.confirmation(verb.operation, request, password=password)
        reply = dict(client.call(verb.operation, progress=line, confirmation=confirmation, **request))
        line.end()
        if out is not None:
            write_private(out, client.download(reply.pop(verb.download)))
            reply["out"] = str(out)
    print_result(options, reply, verb.tell(reply))
    return 0


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise Refused(f"没有文件「{path.name}」", f"There is no file {path.name}", code="NO_FILE")
    return path


def _fields(*names: str) -> Ask:
    return lambda options: {name: getattr(options, name) for name in names}


def _pairs(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise Refused("--change 的写法是 列=新值", "--change is written COLUMN=VALUE", code="BAD_REQUEST")
        found[name] = value
    return found


def _receive(options: Options) -> dict[str, Any]:
    plain = ("kind", "phone", "id_no", "channel", "applicant", "authority", "details")
    return {**{name: getattr(options, name) for name in plain}, "changes": _pairs(options.change)}


def _identify(options: Options) -> dict[str, Any]:
    return {"request": options.request, "method": options.method, "confirmed": not options.failed, "note": options.note}


def _request_lines(info: Mapping[str, Any]) -> list[str]:
    guessed = "（节假日表未覆盖，按周一至周五估算 / estimated）" if info["is_estimated"] else ""
    late = "，已逾期 / OVERDUE" if info["is_overdue"] else f"，还有 {info['days_left']} 个工作日 / working days left"
    lines = [
        f"{info['request']}  {info['kind_zh']} / {info['kind_en']}：{info['state_zh']} / {info['state_en']}",
        f"  答复期限 / due {info['due_day']}{guessed}{'' if info['state'] in ('ANSWERED', 'CLOSED') else late}",
    ]
    if info["erasure"]:
        lines.append(f"  擦除 / erasure {info['erasure']}")
    if info["complaint"]:
        lines.append(f"  投诉 / complaint {info['complaint']}")
    return lines


def _detail_lines(reply: Mapping[str, Any]) -> list[str]:
    told = [("手机号 / phone", "、".join(reply["phones"])), ("证件号 / ID number", "、".join(reply["id_nos"])),
            ("原话 / details", reply["details"]), ("理由 / reason", reply["reason"])]  # fmt: skip
    lines = _request_lines(reply["info"]) + [f"  {name}：{value}" for name, value in told if value]
    if reply["is_erased"]:
        lines.append("  内容在限制存放中 / the content is in restricted storage")
    return [*lines, f"  下一步 / next: {' '.join(reply['info']['steps']) or '—'}"]


def _list_lines(reply: Mapping[str, Any]) -> list[str]:
    lines = [line for one in reply["requests"] for line in _request_lines(one)]
    return [*lines, f"共 {reply['total']} 项，逾期 {reply['overdue']} 项 / in all, overdue"]


def _answer_lines(reply: Mapping[str, Any]) -> list[str]:
    owners = "、".join(f"{name} {count}" for name, count in reply["owners"].items())
    return [f"{reply['out']}：{reply['records']} 条记录 / records（{owners}）", *_request_lines(reply["info"])]


def _explanation_lines(reply: Mapping[str, Any]) -> list[str]:
    return [text for one in reply["intersections"] for text in (one["zh"], one["en"])] or ["没有涉及这位客户的求交 / none"]


def _pack_lines(reply: Mapping[str, Any]) -> list[str]:
    return [f"{reply['out']}：{sum(reply['entries'].values())} 条记录 / entries，{reply['state']}"]


_NAMED = _fields("request")
_WITH_REASON = _fields("request", "reason")

RIGHTS: Mapping[str, Verb] = {
    "list": Verb("rights.list", _fields("state", "kind", "overdue"), _list_lines),
    "receive": Verb("rights.receive", _receive, _request_lines),
    "show": Verb("rights.get", _NAMED, _detail_lines),
    "identify": Verb("rights.identify", _identify, _request_lines, confirmed=True),
    "decide": Verb("rights.decide", _fields("request", "decision", "reason"), _request_lines, confirmed=True),
    "extend": Verb("rights.extend", _fields("request", "days", "reason"), _request_lines),
    "answer": Verb("rights.answer", _NAMED, _answer_lines, confirmed=True, download="download"),
    "explain": Verb("rights.explain", _NAMED, _explanation_lines),
    "evidence-pack": Verb("rights.evidence_pack", _NAMED, _pack_lines, confirmed=True, download="download"),
    "lift": Verb("rights.lift_restriction", _WITH_REASON, _request_lines, confirmed=True),
    "close": Verb("rights.close", _WITH_REASON, _request_lines),
}



def _complaint_lines(info: Mapping[str, Any]) -> list[str]:
    guessed = "（节假日表未覆盖，按周一至周五估算 / estimated）" if info["is_estimated"] else ""
    told = "已告知 / told" if info["told_ms"] else "逾期未告知 / OVERDUE" if info["is_overdue"] else f"还有 {info['days_left']} 个工作日 / working days left"
    lines = [
        f"{info['complaint']}  {info['category_zh']} / {info['category_en']}：{info['state_zh']} / {info['state_en']}{'，重大 / major' if info['is_major'] else ''}",
        f"  告知进展期限 / progress due {info['due_day']}{guessed}，{told}",
    ]
    if info["tasks_open"]:
        lines.append(f"  未办结任务 {info['tasks_open']}，逾期 {info['tasks_overdue']} / open tasks, overdue")
    return lines


def _liability_lines(reply: Mapping[str, Any]) -> list[str]:
    return [*_complaint_lines(reply), f"  {reply['package_zh']} / {reply['package_en']}"]


def _complaints_lines(reply: Mapping[str, Any]) -> list[str]:
    lines = [line for one in reply["complaints"] for line in _complaint_lines(one)]
    return [*lines, f"共 {reply['total']} 件，逾期 {reply['overdue']} 件，将到期 {reply['due_soon']} 件 / in all, overdue, due soon"]


def _task_lines(one: Mapping[str, Any]) -> list[str]:
    late = "，逾期 / OVERDUE" if one["is_overdue"] else ""
    letter = f"，信函 / letter {one['letter_state']} {one['letter_code']}".rstrip() if one["letter_state"] else ""
    return [f"{one['task']}  {one['party_zh']} · {one['owner']}：{one['text']}（{one['due_day']}，{one['state']}{late}{letter}）"]


def _tasks_lines(reply: Mapping[str, Any]) -> list[str]:
    return [line for one in reply["tasks"] for line in _task_lines(one)] + [f"逾期 {reply['overdue']} 项 / overdue"]


def _groups_lines(reply: Mapping[str, Any]) -> list[str]:
    lines = []
    for one in reply["groups"]:
        lines.append(f"{one['group']}  {one['lead_zh']} 牵头 / leads：{one['category_zh']}，{one['state']}")
        lines += [f"  {line}" for task in one["tasks"] for line in _task_lines(task)]
    return lines or ["没有专项小组 / none"]


def _complaint_detail_lines(reply: Mapping[str, Any]) -> list[str]:
    lines = [*_complaint_lines(reply["info"]), f"  {reply['facts']}"]
    lines += [f"  {one['number']}. {one['kind_zh']}：{one['text']}（{one['by']}）" for one in reply["timeline"]]
    lines += [f"  {line}" for one in reply["tasks"] for line in _task_lines(one)]
    lines += [f"  {one['attachment']}  {one['name']}  {one['size']:,} B  {one['digest'][:16]}…" for one in reply["attachments"]]
    return lines


def _told_of(reply: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in reply.items() if isinstance(value, str | int)]


def _note(options: Options) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("phone", "id_no", "channel", "category", "facts", "job")}


def _task(options: Options) -> dict[str, Any]:
    kind = "rectification" if options.rectification else "task"
    return {"complaint": options.complaint, "kind": kind, "text": options.text, "owner": options.owner, "due_day": options.due}


def _group(options: Options) -> dict[str, Any]:
    invitations = [{"party": party, "due_day": day, "text": text} for party, day, text in options.invite]
    return {"complaint": options.complaint, "invitations": invitations}


_COMPLAINT = _fields("complaint")

COMPLAINTS: Mapping[str, Verb] = {
    "list": Verb("complaints.list", _fields("state", "overdue"), _complaints_lines),
    "tasks": Verb("complaints.tasks", _fields("overdue", "open"), _tasks_lines),
    "groups": Verb("complaints.groups", _fields(), _groups_lines),
    "note": Verb("complaints.note", _note, _complaint_lines),
    "show": Verb("complaints.get", _COMPLAINT, _complaint_detail_lines),
    "handle": Verb(
        "complaints.handle", lambda options: {"complaint": options.complaint, "category": options.category, "is_major": options.major},
        _complaint_lines,
    ),
    "step": Verb("complaints.step", _fields("complaint", "kind", "text"), _complaint_lines),
    "told": Verb("complaints.told", _fields("complaint", "text"), _complaint_lines),
    "stop-contact": Verb("complaints.stop_contact", _fields("complaint", "purpose", "recipient"), _told_of, confirmed=True),
    "attach": Verb("complaints.add_file", _fields("complaint", "note"), _told_of, file="file"),
    "read-file": Verb("complaints.read_file", _fields("attachment", "reason"), _told_of, confirmed=True, download="download"),
    "task": Verb("complaints.add_task", _task, _told_of),
    "done": Verb("complaints.finish_task", _fields("task", "result"), _told_of),
    "group": Verb("complaints.open_group", _group, _complaint_lines, confirmed=True),
    "evidence-pack": Verb("complaints.evidence_pack", _COMPLAINT, _told_of, confirmed=True, download="download"),
    "liability": Verb(
        "complaints.assess_liability",
        lambda options: {
            "complaint": options.complaint, "liable": options.liable, "basis": options.basis, "entries": options.entry,
            "package_sm3": options.package,
        },
        _liability_lines, confirmed=True,
    ),
    "compensation": Verb(
        "complaints.record_compensation",
        lambda options: {
            "complaint": options.complaint, "amount_fen": options.fen, "payer": options.payer, "agreed_day": options.day,
            "text": options.text,
        },
        _complaint_lines, confirmed=True,
    ),
    "close": Verb("complaints.close", _fields("complaint", "outcome", "reason"), _complaint_lines, confirmed=True),
    "reopen": Verb("complaints.reopen", _fields("complaint", "reason"), _complaint_lines),
}  # fmt: skip



def _assessment_lines(info: Mapping[str, Any]) -> list[str]:
    covers = "，现在有效 / in force" if info["covers"] else ""
    return [
        (f"{info['assessment']}  {info['purpose_zh']} → {info['recipient_zh']}（{info['data_class']}）：{info['state_zh']} / {info['state_en']}"
        f" {info['conclusion_zh']}{covers}")
    ]


def _assessment_detail_lines(reply: Mapping[str, Any]) -> list[str]:
    lines = _assessment_lines(reply["info"])
    lines += [f"  {one['zh']}" for group in ("directions", "grounds", "measures_in_force") for one in reply[group]]
    lines += [f"  {one['name']}（{one['data_class']}，{one['lawful_basis']}，{one['rows']:,} 行）" for one in reply["lists"]]
    return lines + [f"  还缺 / lacking: {one['zh']}" for one in reply["lacking"]]


def _assessments_lines(reply: Mapping[str, Any]) -> list[str]:
    lines = [line for one in reply["assessments"] for line in _assessment_lines(one)]
    return [f"阶段 / stage: {reply['stage']}，没有影响评估而继续的步骤 / steps without one: {reply['missing']}", *lines]


def _status_lines(reply: Mapping[str, Any]) -> list[str]:
    return [f"{reply['zh']}", f"{reply['en']}"]


def _records_lines(reply: Mapping[str, Any]) -> list[str]:
    return [f"{reply['out']}：{reply['records']} 条处理记录 / processing records"]


def _breach_lines(info: Mapping[str, Any]) -> list[str]:
    persons = "—" if info["persons"] < 0 else f"{info['persons']:,}"
    return [f"{info['breach']}  {info['kind_zh']} / {info['kind_en']}：{info['state']}，受影响 / affected {persons}"]


def _breaches_lines(reply: Mapping[str, Any]) -> list[str]:
    return [line for one in reply["breaches"] for line in _breach_lines(one)] or ["没有 / none"]


def _affected_lines(reply: Mapping[str, Any]) -> list[str]:
    lines = _breach_lines(reply["info"])
    lines += [
        f"  {one['zh']}：日志 / log {one['told'] if one['told'] >= 0 else '—'}，找到 / found {one['found']}"
        + ("，有差 / differs" if one["differs"] else "")
        for one in reply["places"]
    ]
    return [*lines, f"  {reply['persons']:,} 人 / persons，{reply['unfound']} 人只在日志中计数 / counted by the log only"]


def _made_lines(reply: Mapping[str, Any]) -> list[str]:
    return [*_breach_lines(reply["info"]), f"  {reply['out']}", *([f"  {reply['mark_zh']} / {reply['mark_en']}"] if "mark_zh" in reply else [])]


def _days(options: Options, request: dict[str, Any]) -> dict[str, Any]:
    return request | {name: getattr(options, name) for name in ("from_day", "to_day") if getattr(options, name)}


def _write(options: Options) -> dict[str, Any]:
    names = ("assessment", "necessity", "impact", "measures", "residual", "conditions", "risk", "conclusion", "valid_days")
    return {name: getattr(options, name) for name in names}


def _breach(options: Options) -> dict[str, Any]:
    return _days(options, {"kind": options.kind, "what": options.what, "jobs": options.job, "lists": options.lists})


def _letters(options: Options) -> dict[str, Any]:
    words = {
        f"{name}_{language}": getattr(options, name)[at] for name in ("cause", "harm", "done", "advice", "contact") for at, language in enumerate(("zh", "en"))
    }  # fmt: skip
    return {"breach": options.breach, **words, "tell_persons": not options.do_not_tell, "reason": options.reason}


_ASSESSMENT = _fields("assessment")

ASSESSMENT: Mapping[str, Verb] = {
    "list": Verb("assessment.list", _fields(), _assessments_lines),
    "status": Verb("assessment.status", _fields("job", "purpose", "recipient"), _status_lines),
    "draft": Verb("assessment.draft", _fields("job", "purpose", "recipient", "before"), _assessment_detail_lines),
    "show": Verb("assessment.get", _ASSESSMENT, _assessment_detail_lines),
    "write": Verb("assessment.save", _write, _assessment_detail_lines),
    "submit": Verb("assessment.submit", _ASSESSMENT, _assessment_detail_lines),
    "approve": Verb("assessment.approve", _ASSESSMENT, _assessment_detail_lines, confirmed=True, role=Role.APPROVER),
    "give-back": Verb("assessment.give_back", _fields("assessment", "reason"), _assessment_detail_lines),
    "revoke": Verb("assessment.revoke", _fields("assessment", "reason"), _assessment_detail_lines, confirmed=True),
    "export": Verb("assessment.export", _ASSESSMENT, _told_of, download="download"),
    "records": Verb(
        "assessment.export_records", lambda options: _days(options, {"format": options.format}), _records_lines, download="download"
    ),
    "breaches": Verb("breach.list", _fields(), _breaches_lines),
    "breach": Verb("breach.open", _breach, _breach_lines),
    "affected": Verb("breach.affected", _fields("breach"), _affected_lines),
    "table": Verb("breach.table", _fields("breach"), _made_lines, confirmed=True, download="download"),
    "letters": Verb("breach.letters", _letters, _made_lines, download="download"),
    "close-breach": Verb("breach.close", _fields("breach", "report", "plan"), _breach_lines, confirmed=True),
}  # fmt: skip

__all__ = ["assessment", "complaints", "rights"]
