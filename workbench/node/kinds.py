"""Kinds of evidence the host writes, with the visibility of every field (decision 2). docs/evidence.md is made of them."""

from __future__ import annotations

from workbench.domain.evidence import EvidenceKind, Field, Visibility

SHARED = Visibility.SHARED
COMMITTED = Visibility.COMMITTED


def _kind(name: str, zh: str, en: str, *fields: Field) -> EvidenceKind:
    return EvidenceKind(name=name, fields=fields, zh=zh, en=en)


def _shared(name: str, zh: str, en: str, unit: str = "") -> Field:
    return Field(name, SHARED, zh, en, unit)


def _closed(name: str, zh: str, en: str, unit: str = "") -> Field:
    return Field(name, COMMITTED, zh, en, unit)


_PARTNER = _shared("partner", "对方机构", "the other institution")
_CONTRACT = _shared("contract", "约定摘要 SM3", "SM3 of the contract")
_ATTEMPT = _shared("attempt", "第几次尝试", "number of the attempt", "1")
_CODE = _shared("code", "结果代码", "code of the outcome")
_PERSON = _closed("person", "证据代号", "token in evidence")
_ERASURE = _closed("request", "擦除编号", "number of the erasure")
_SET_ASIDE = (
    _ERASURE, _closed("entries", "涉及的记录与字段", "entries and fields concerned"),
    _closed("records", "其他记录的数量", "other records, by count"),
)  # fmt: skip
_RECOVERY = _shared("recovery", "本机构恢复旧副本时所需，已加密", "what this institution needs after a restore, sealed")
_LETTER = (
    _shared("kind", "信函种类", "kind of letter"), _shared("letter", "信函编号", "id of the letter"),
    _shared("digest", "信函摘要 SM3", "SM3 of the letter"),
)  # fmt: skip
_ANSWER = (_shared("answer", "回执摘要 SM3", "SM3 of the acknowledgement"), _CODE)

HOST_KINDS = (
    _kind(
        "node.started", "节点启动，列出插件与版本", "the node started with these plugins and versions",
        _shared("version", "程序版本", "version of the program"),
        _shared("plugins", "插件与版本", "plugins with versions"),
        _shared("workspace", "工作区性质", "kind of workspace: demo, test or production"),
    ),
    _kind(
        "node.recovered", "重启后处理未完成的任务", "a job left open by a stop was settled at restart",
        _shared("state", "新状态", "new state"),
    ),
    _kind(
        "people.added", "新增账号", "an account was added",
        _closed("account", "账号名", "name of the account"),
        _PERSON,
        _closed("roles", "岗位", "roles"),
    ),
    _kind(
        "people.confirmed", "第二位管理员确认账号", "a second administrator confirmed an account",
        _closed("account", "账号名", "name of the account"), _PERSON,
        _closed("added_by", "由谁新增", "who had added it"),
    ),
    _kind("people.first_password_changed", "首次更换一次性密码", "a person replaced their one-time password"),
    _kind(
        "people.first_password_issued", "重新签发一次性密码", "another one-time password was issued",
        _PERSON,
    ),
    _kind(
        "people.disabled", "停用账号", "an account was disabled", _PERSON, _RECOVERY,
    ),
    _kind(
        "people.extended", "延长账号期限", "an account was given another end",
        _PERSON, _closed("until", "新的期限", "new end", "ms"),
    ),
    _kind("people.password_changed", "更换密码", "a person changed their password"),
    _kind("people.signed_in", "登录", "a person signed in", _closed("audience", "用途", "what the ticket is for")),
    _kind(
        "people.sign_in_refused", "登录或确认被拒", "a sign-in or confirmation was refused",
        _closed("operation", "动作", "sign-in or confirm"), _closed("code", "原因", "reason"),
    ),
    _kind(
        "action.refused", "操作被拒", "an operation was refused",
        _closed("operation", "操作", "operation"), _closed("code", "原因代码", "code of the reason"),
    ),
    _kind(
        "action.unrecorded", "操作没有留下自己的证据", "an action left no entry of its own",
        _closed("operation", "操作", "operation"),
    ),
    _kind(
        # Written since the explorer; `regulator.viewed` stays readable.
        "evidence.viewed", "查看证据或业务记录", "somebody looked at evidence or records",
        _closed("operation", "操作", "operation"),
        # Of a look at one customer it says which one, to whoever can compute the customer's token.
        Field("selection", COMMITTED, "所查内容 SM3", "SM3 of what was asked for", subject=True),
        _closed("count", "看到的条数", "things shown", "1"),
    ),
    _kind(
        "regulator.viewed", "监管查看", "the regulator looked at something",
        _closed("operation", "操作", "operation"), _closed("request", "所查内容 SM3", "SM3 of what was asked for"),
    ),
    _kind(
        "lists.imported", "导入客户名单", "a customer list was imported",
        _closed("list", "名单编号", "id of the list"),
        _closed("catalogue", "目录登记", "catalogue entry"),
        _closed("rows", "行数", "rows", "1"),
        _closed("rejected", "未导入行数", "rejected rows", "1"),
        _shared("root", "各行的加盐 SM3", "salted SM3 over the rows"),
    ),
    _kind(
        "peer.refused", "拒绝对方请求", "a request of another institution was refused",
        _closed("address", "来源地址", "remote address"), _closed("peer", "自称", "claimed institution"), _CODE,
    ),
    _kind(
        "partners.change_proposed", "提出伙伴白名单变更", "a change of the allow-list was proposed",
        _shared("party", "机构", "institution"), _shared("action", "动作", "add, replace or remove"),
        _shared("bundle", "公开信息 SM3", "SM3 of the public bundle"),
    ),
    _kind(
        "partners.changed", "伙伴白名单变更，两人签署", "the allow-list changed, signed by two people",
        _shared("party", "机构", "institution"), _shared("action", "动作", "add, replace or remove"),
        _shared("bundle", "公开信息 SM3", "SM3 of the public bundle"),
        _closed("proposed_by", "提出人", "who proposed"), _closed("confirmed_by", "确认人", "who confirmed"), _RECOVERY,
    ),
    _kind(
        "evidence.exported", "导出证据包", "an evidence package was exported",
        _shared("package_sm3", "证据包的 SM3", "SM3 of the package"),
        _closed("selection", "选取范围", "what was selected"),
        _closed("entries", "记录条数", "entries", "1"),
        _closed("opened", "开示的字段数", "fields opened", "1"),
        _closed("state", "是否定稿", "final or not"),
    ),
    _kind(
        "files.taken", "取走文件", "a person took a file", _closed("name", "文件名", "name of the file"),
    ),
    _kind(
        "consent.withdrawal_followed", "一次撤回：找到所涉名单与导出，告知对方机构",
        "a withdrawal was followed: lists and exports were found, partners told",
        _closed("event", "授权事件序号", "number of the consent event"), _closed("partners", "告知的机构", "partners told"),
        _closed("jobs", "所涉求交", "intersections concerned"), _closed("exports", "所涉导出文件", "exported files concerned", "1"),
    ),
    _kind(
        "consent.withdrawal_received", "收到对方客户的撤回并标记", "a partner's withdrawal arrived and was marked",
        _PARTNER, _shared("letter", "信函编号", "id of the letter"), _closed("jobs", "所涉求交", "intersections concerned"),
        _closed("marked", "标记的行数", "rows marked", "1"), _closed("exports", "此前的导出文件", "exported files before", "1"),
    ),
    _kind(
        "consent.withdrawal_told_again", "再次告知拒收撤回的机构", "a partner that refused was told of a withdrawal once more",
        _closed("event", "授权事件序号", "number of the consent event"), _closed("letters", "此前被拒的信函", "letters refused before", "1"),
        _closed("reason", "理由", "reason"),
    ),
    _kind(
        "consent.contact_stop_taken", "取走停止联系名单", "the file of whom to contact no more was taken",
        _closed("customers", "人数", "customers", "1"), _closed("file_sm3", "文件 SM3", "SM3 of the file"),
    ),
    _kind(
        "letter.posted", "写信函给另一机构", "a letter to another institution was posted",
        _PARTNER, *_LETTER, _closed("size", "大小", "size", "B"),
    ),
    _kind(
        "letter.received", "收到另一机构的信函并签了回执", "a letter of another institution arrived and was answered",
        _PARTNER, *_LETTER, *_ANSWER, _closed("size", "大小", "size", "B"),
    ),
    _kind(
        "letter.acknowledged", "信函得到签名回执或被拒收", "a letter was acknowledged, or refused, under signature",
        _PARTNER, *_LETTER, *_ANSWER,
    ),
    _kind(
        "intersection.proposed", "提议求交", "an intersection was proposed",
        _PARTNER, _shared("terms", "条款 SM3", "SM3 of the terms"), _shared("purpose", "目的", "purpose"),
        _shared("key_kind", "比对的标识", "identifier compared"),
        _closed("audience", "受众规则", "audience rule"), _closed("customers", "有授权的客户数", "customers with a grant", "1"),
        _closed("reasons", "排除原因与人数", "reasons for exclusion with counts"),
        _closed("campaign", "活动名", "name of the campaign"),
    ),
    _kind(
        "intersection.proposal_received", "收到求交提议", "a proposal arrived",
        _PARTNER, _shared("terms", "条款 SM3", "SM3 of the terms"),
    ),
    _kind(
        "intersection.approved", "批准求交", "an intersection was approved",
        _PARTNER, _shared("terms", "条款 SM3", "SM3 of the terms"), _shared("automatic", "是否自动批准", "yes in test workspaces only"),
        _closed("customers", "有授权的客户数", "customers with a grant", "1"),
    ),
    _kind(
        "intersection.approval_received", "收到批准", "the approval arrived",
        _PARTNER, _shared("terms", "条款 SM3", "SM3 of the terms"),
    ),
    _kind("intersection.rejected", "拒绝提议", "a proposal was rejected", _PARTNER, _closed("reason", "理由", "reason")),
    _kind("intersection.run_requested", "要求重新运行", "somebody asked to run it again", _PARTNER, _ATTEMPT),
    _kind("intersection.cancel_requested", "要求取消", "somebody asked to cancel it", _PARTNER, _ATTEMPT),
    _kind(
        "intersection.attempt_started", "开始一次求交尝试", "an attempt started",
        _PARTNER, _ATTEMPT, _closed("as_of", "授权记录截至", "newest consent event considered"),
        _closed("customers", "参与的客户数", "customers taking part", "1"),
        _closed("reasons", "排除原因与人数", "reasons for exclusion with counts"),
        _shared("commitment_root", "承诺根", "root of the commitments"),
        _closed("near_duplicates", "以往几乎相同的名单数", "earlier jobs with nearly the same list", "1"),
        _closed("nearest", "其中最近的一次", "the nearest of them"),
    ),
    _kind(
        "intersection.contract", "双方签署约定", "both institutions signed the contract",
        _PARTNER, _ATTEMPT, _CONTRACT, _shared("own_signature", "己方签名", "own signature"),
        _shared("partner_signature", "对方签名", "signature of the other side"),
    ),
    _kind(
        "intersection.message", "协议消息", "a protocol message",
        _PARTNER, _ATTEMPT, _shared("direction", "方向", "sent or received"), _shared("message", "消息种类", "kind of message"),
        # Sizes would tell the third institution how many customers were common: 20 bytes each in the slices.
        _shared("round", "序号", "sequence number", "1"), _closed("size", "大小", "size", "B"),
        _shared("digest", "帧头与签名的 SM3（帧头含内容摘要）", "SM3 of header and signature; the header states the SM3 of the content"),
    ),
    _kind(
        "intersection.cardinality", "双方签署命中人数（不低于下限）", "both signed the number of matches, at or above the floor",
        _CONTRACT, _closed("cardinality", "命中人数", "matches", "1"),
    ),
    _kind(
        "intersection.refused_small", "人群过小，未揭示", "too few people; nothing was revealed",
        _PARTNER, _ATTEMPT,
    ),
    _kind(
        "intersection.ended", "求交未放行而结束", "an intersection ended without release",
        _PARTNER, _ATTEMPT, _CODE, _shared("state", "状态", "state"),
    ),
    _kind(
        "intersection.dispute_closed", "争议已对照并办结", "a dispute was compared and closed",
        _PARTNER, _closed("finding", "对照结果", "what the comparison showed"),
    ),
    _kind(
        "intersection.released", "放行目标名单", "a target list was released",
        _PARTNER, _ATTEMPT, _CONTRACT,
        _shared("result_digest", "己方结果摘要", "keyed digest of this side's result"),
        _shared("partner_digest", "对方结果摘要", "keyed digest of the other side's result"),
        _shared("key_kind", "比对的标识", "identifier compared"),
        _closed("customers", "放行人数", "customers released", "1"),
        _closed("dropped", "复核去掉", "dropped at the last check", "1"),
        _closed("list_digest", "名单摘要", "keyed digest of the list"),
        _closed("list_key", "名单摘要的密钥", "key of that digest"),
    ),
    _kind(
        "intersection.sealed", "双方共签完成", "both institutions co-signed the release",
        _PARTNER, _shared("own_entry", "己方条目", "own entry"), _shared("partner_entry", "对方条目", "entry of the other side"),
    ),
    _kind(
        "intersection.viewed", "查看目标名单（遮盖）", "the masked target list was viewed",
        _closed("rows", "行数", "rows", "1"),
    ),
    _kind(
        "lists.rewritten", "名单去掉一位客户后重写", "a list was rewritten without a customer",
        _closed("list", "名单", "list"), _closed("removed", "去掉的行数", "rows removed", "1"),
        _ERASURE,
    ),
    _kind(
        "lists.corrected", "名单中一位客户的信息更正", "a customer's row of a list was corrected",
        _closed("list", "名单", "list"), _closed("request", "权利请求编号", "number of the rights request"),
        _closed("rows", "更正的行数", "rows corrected", "1"), _closed("columns", "更正的列", "columns corrected"),
        Field("was", COMMITTED, "原值", "old values", subject=True), Field("now", COMMITTED, "新值", "new values", subject=True),
    ),
    _kind(
        "customers.erasure_asked", "提出擦除一位客户", "the erasure of a customer was asked for",
        _ERASURE,
        Field("reason", COMMITTED, "理由", "reason", subject=True),
        Field("by", COMMITTED, "由谁申请：本人、受托人、监护人或近亲属", "who asked: subject, agent, guardian or kin", subject=True),
        Field("proof", COMMITTED, "证明文件编号", "reference of the proof", subject=True),
        _closed("waits", "是否等待第二人", "whether a second person must confirm"),
    ),
    _kind(
        "customers.erasure_confirmed", "第二人确认擦除", "a second person confirmed an erasure",
        _ERASURE,
    ),
    _kind(
        "customers.erasure_searched", "擦除之后查找本机构的全部文件", "after an erasure every file of this node was searched",
        _closed("request", "擦除编号", "number of the erasure"), _closed("files", "文件数", "files", "1"),
        _closed("size", "大小", "size", "B"), _closed("hits", "找到的处数，- 为未查找", "places found, - for not searched", "1"),
    ),
    _kind(
        "evidence.restricted", "字段移入限制存放", "values were set aside in restricted storage",
        *_SET_ASIDE,
        _closed("until", "最后的到期时刻", "end of the last term", "ms"), _closed("basis", "保存依据", "ground of retention"),
        _RECOVERY,
    ),
    _kind(
        "evidence.erased", "字段与密钥已销毁", "values and their keys were destroyed",
        *_SET_ASIDE,
        _RECOVERY,
    ),
    _kind(
        "evidence.restricted_read", "查看限制存放的内容", "restricted values were read",
        _closed("restrictions", "限制存放编号", "numbers of the restrictions"), _closed("reason", "理由", "reason"),
    ),
    _kind(
        "intersection.exported", "导出目标名单", "the target list was exported",
        _closed("customers", "导出人数", "customers exported", "1"),
        _closed("withheld", "导出时已无授权", "without a live grant at export", "1"),
        _closed("columns", "导出的列", "columns"),
        _shared("key_kind", "比对的标识", "identifier compared"),
        _closed("file_sm3", "文件 SM3", "SM3 of the file"),
        _closed("list_digest", "名单摘要", "keyed digest of the list"),
        _closed("list_key", "名单摘要的密钥", "key of that digest"),
        _shared("automatic", "是否由命令直接导出", "yes in test workspaces only"),
    ),
)  # fmt: skip
