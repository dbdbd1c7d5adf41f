"""What a person reads before they type their password: an action in rows of label and value, in both languages.

The rows come from the fields of the operation's request and from what this node knows about the things it names, so a
page or a notebook cannot word its own confirmation. Values are text for people; the digest below them binds the exact
request. Identifiers of customers are masked, a new password is not shown at all.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workbench.clock import SHANGHAI
from workbench.domain.identifiers import mask_id_no, mask_phone
from workbench.domain.party import ROLE_NAMES, PartyId, Role
from workbench.errors import NotFound, Refused, VerificationError
from workbench.node.keys import parse_bundle
from workbench.node.trust import TrustAction

if TYPE_CHECKING:
    from workbench.host import Workbench

MEMBER_ACTIONS = {"join": ("加入", "join"), "leave": ("退出", "leave")}
KEYS = {"phone": ("手机号", "phone number"), "id_no": ("身份证号", "identity number")}
LABELS: Mapping[str, tuple[str, str]] = {
    "job": ("求交", "Intersection"),
    "list_id": ("我方名单", "Our list"),
    "audience": ("我方受众规则", "Our audience rule"),
    "columns": ("附带的列（只在本机构）", "Further columns (stay here)"),
    "anew": ("作废原账户，另建一个", "Replace the account there is"),
    "automatic": ("由命令自动执行", "Done by a command"),
    "bundle": ("伙伴公开资料", "Partner's public bundle"),
    "party": ("机构", "Institution"),
    "source_addresses": ("来源地址", "Source addresses"),
    "digest": ("变更提议的摘要", "Digest of the proposal"),
    "person": ("账号", "Account"),
    "display_name": ("显示名", "Name shown"),
    "roles": ("岗位", "Roles"),
    "password": ("新密码", "New password"),
    "phone": ("客户手机号", "Customer's phone"),
    "id_no": ("客户身份证号", "Customer's identity number"),
    "purpose": ("用途", "Purpose"),
    "recipient": ("接收方", "Recipient"),
    "by": ("由谁提出", "On behalf of"),
    "proof": ("证明文件编号", "Reference of the proof"),
    "suppress": ("以后导入的也不再使用", "Keep out what is imported later"),
    "until_ms": ("到何时", "Until"),
    "request": ("请求编号", "Request"),
    "method": ("核身方式", "Identity checked by"),
    "confirmed": ("身份属实", "Identity confirmed"),
    "note": ("说明", "Note"),
    "decision": ("决定", "Decision"),
    "complaint": ("投诉", "Complaint"),
    "assessment": ("影响评估", "Impact assessment"),
    "breach": ("泄露事件或演练", "Breach or drill"),
    "report": ("报告", "Report"),
    "plan": ("应急预案的修改", "What changed in the plan"),
    "attachment": ("附件", "Attachment"),
    "invitations": ("邀请的机构与任务", "Institutions invited, with their tasks"),
    "liable": ("责任主体", "Who is liable"),
    "basis": ("依据", "On what facts"),
    "package_sm3": ("证据包 SM3", "SM3 of the evidence package"),
    "amount_fen": ("金额（分）", "Amount in fen"),
    "payer": ("由谁承担", "Who bears it"),
    "agreed_day": ("约定日", "Day of the agreement"),
    "text": ("说明", "Text"),
    "outcome": ("结果", "Outcome"),
    "restriction": ("限制存放编号", "Restriction"),
    "campaign": ("活动", "Campaign"),
    "customer": ("客户代号", "Token of the customer"),
    "from_day": ("自", "From"),
    "to_day": ("至", "To"),
    "name_customer": ("包内写明客户标识", "Name the customer in the package"),
    "action": ("变更", "Change"),
    "change": ("变更编号", "Change"),
    "record": ("授权记录", "Grant record"),
    "proposal": ("提议编号", "Proposal"),
    "entries": ("证据条目", "Entries"),
    "notice": ("告知书", "Notice"),
    "version": ("版本", "Version"),
    "contact": ("联系渠道", "Channel of contact"),
    "number": ("事项编号", "Number"),
    "what": ("所指内容", "What it is about"),
    "line": ("线路", "Line"),
    "tenant": ("租户标记", "Tag of the tenant"),
    "policy": ("线路策略", "Policy of the line"),
    "device": ("充注介质", "Charge medium"),
    "count": ("充注密钥数", "Charge keys"),
    "low_water": ("低水位", "Low-water mark"),
    "name": ("名称", "Name"),
    "backend": ("设备类型", "Kind of device"),
    "application": ("应用（SAE）", "Application (SAE)"),
    "certificate": ("应用的证书", "The application's certificate"),
    "per_hour": ("每小时最多密钥数", "Keys an hour at most"),
    "burst": ("一次最多密钥数", "Keys at once at most"),
    "most_reserved": ("最多预留密钥数", "Keys kept reserved at most"),
    "priority": ("优先级", "Priority"),
    "passphrase": ("介质口令", "Passphrase of the medium"),
    "disable": ("同时停用账号", "Disable the account too"),
    "peer": ("对端站点的机构", "Institution of the far site"),
    "check": ("新秘密的校验值", "Check value of the new secret"),
    "key_ids": ("密钥编号", "Keys"),
    "block": ("整块（-1：不按块）", "Whole block (-1: none)"),
    "with_job": ("附上求交任务与客户代号", "With the intersection and the customer's token"),
    "scenario": ("场景", "Scenario"),
    "model": ("模型", "Model"),
    "role": ("岗位", "Role"),
    "allowed": ("许可", "Allowed"),
    "most": ("每月提问数（-1：按设置）", "Questions a month (-1: the setting's)"),
    "until_day": ("参加至", "Last day"),
    "reason": ("理由（留在本机构的证据里）", "Reason (kept in our evidence)"),
}
"""Words of every field of the operations that need a fresh password; a field of a plugin that is not here shows its name."""
EMPTY: Mapping[str, tuple[str, str]] = {
    "list_id": ("最新导入的一份", "the one imported last"),
    "audience": ("名单里的每一位", "everybody on the list"),
    "columns": ("不附带", "none"),
    "purpose": ("每一个用途", "every purpose"),
    "recipient": ("每一个接收方", "every recipient"),
}
"""What an empty field means; other empty fields are left out."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line; en is "" when it is the same in both languages."""

    label_zh: str
    label_en: str
    zh: str
    en: str = ""


def confirmation_rows(host: Workbench, values: Mapping[str, Any]) -> list[Row]:
    """Rows for a validated request whose hidden fields are already replaced; in the order of its fields.

    Reads only. A thing that does not exist (any more) is shown by its id: the operation itself will refuse.
    """
    made: list[Row] = []
    for name, value in values.items():
        label = LABELS.get(name, (name, name))  # a later plugin's field keeps its own name rather than being left out
        if value in ("", [], None):
            if name in EMPTY:
                made.append(Row(*label, *EMPTY[name]))
            continue
        if value is False and name == "automatic":
            continue
        made.append(Row(*label, *_told(host, name, value)))
        more = _MORE.get(name)
        if more is not None:
            made += more(host, str(value))
    return made


def rows_html(rows: list[Row]) -> str:
    """The rows as a definition list; every value is escaped."""
    parts = []
    for row in rows:
        other = f'<span lang="en">{html.escape(row.en)}</span>' if row.en and row.en != row.zh else ""
        parts.append(
            f'<div><dt>{html.escape(row.label_zh)} <span lang="en">{html.escape(row.label_en)}</span></dt>'
            f"<dd>{html.escape(row.zh)} {other}</dd></div>"
        )
    return f'<dl class="rows">{"".join(parts)}</dl>'


def _told(host: Workbench, name: str, value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return ("是", "yes") if value else ("否", "no")
    if name == "list_id":
        return _list(host, str(value))
    if name == "action":
        return MEMBER_ACTIONS.get(str(value), (str(value), ""))
    if name in ("party", "recipient"):
        return _party(host, str(value))
    if name == "purpose":
        return host.purposes().get(str(value), (str(value), ""))
    if name == "roles":
        known = [ROLE_NAMES[Role(one)] for one in value]
        return "、".join(zh for zh, _ in known), ", ".join(en for _, en in known)
    if name == "phone":
        return mask_phone(str(value)), ""
    if name == "id_no":
        return mask_id_no(str(value)), ""
    if name == "bundle":
        return _bundle(str(value))
    if isinstance(value, list):
        return "、".join(map(str, value)), ""
    if isinstance(value, int) and name.endswith("_ms"):
        return _time(value), ""
    if isinstance(value, int):
        return f"{value:,}", ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True), ""
    return str(value), ""


def _party(host: Workbench, party: str) -> tuple[str, str]:
    if party not in host.parties():
        return party, ""
    zh, en = host.names(PartyId(party))
    return f"{zh}（{party}）", en


def _list(host: Workbench, list_id: str) -> tuple[str, str]:
    try:
        info = host.lists.info(list_id)
    except Refused:
        return list_id, ""
    return f"{info.name}，{info.rows:,} 位（{list_id}）", f"{info.rows:,} customers"


def _bundle(text: str) -> tuple[str, str]:
    try:
        bundle = parse_bundle(text.encode())
    except VerificationError:
        return "不能读取，会被拒绝", "unreadable, it will be refused"
    place = f"{bundle.party}，{bundle.host}:{bundle.port}，SHA-256 {bundle.certificate_fingerprint[:16]}…"
    return f"{bundle.name_zh}：{place}", bundle.name_en


def _job(host: Workbench, job_id: str) -> list[Row]:
    """With whom, what for, which key, from how many people on, both directions, until when."""
    try:
        job = host.jobs.get(job_id)
    except NotFound:
        return []
    terms = job.terms
    (mine_zh, mine_en), (their_zh, their_en) = host.names(host.party), _names(host, job.partner)
    purpose = host.purposes().get(terms.purpose, (terms.purpose, terms.purpose))
    ours = job.side == "initiator"
    rows = [
        Row("提出", "Proposed by", mine_zh if ours else their_zh, mine_en if ours else their_en),
        Row("用途", "Purpose", *purpose),
        Row("方向", "Directions", f"{mine_zh} → {their_zh} 与 {their_zh} → {mine_zh}", "both, each with its own consents"),
        Row("比对标识", "Compared by", *KEYS.get(terms.key_kind.value, (terms.key_kind.value, ""))),
        Row("最少人数", "Minimum crowd", f"{terms.minimum_crowd:,} 位", f"{terms.minimum_crowd:,} people"),
        Row("有效至", "Valid until", _time(terms.valid_until_ms)),
    ]
    if "released" in job.result:
        count = int(job.result["released"])
        rows.append(Row("放行人数", "Released", f"{count:,} 位", f"{count:,} customers"))
    return rows


def _names(host: Workbench, party: PartyId) -> tuple[str, str]:
    return host.names(party) if party in host.parties() else (party, party)


ACTIONS = {
    TrustAction.ENROL: ("登记", "enrol"),
    TrustAction.REPLACE: ("更换", "replace"),
    TrustAction.SET_ADDRESSES: ("更改来源地址", "change addresses"),
    TrustAction.REMOVE: ("移除", "remove"),
}


def _proposal(host: Workbench, digest: str) -> list[Row]:
    """What the change of the allow-list is that a second person confirms by its digest."""
    found = next((one for one in host.partners.waiting() if one.digest() == digest), None)
    if found is None:
        return []
    return [
        Row("变更", "Change", *ACTIONS[found.action]),
        Row("机构", "Institution", *_party(host, found.party)),
        Row("提出人", "Proposed by", f"{found.proposed_by}，{_time(found.proposed_at_ms)}", ""),
    ]


def _time(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, SHANGHAI)
    return f"{moment:%Y-%m-%d %H:%M:%S}（北京时间 / Asia/Shanghai）"


_MORE: Mapping[str, Callable[[Workbench, str], list[Row]]] = {"job": _job, "digest": _proposal}
"""Fields that name something this node can tell more about."""

__all__ = ["LABELS", "Row", "confirmation_rows", "rows_html"]
