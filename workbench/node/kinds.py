"""Kinds of evidence the host writes, with the visibility of every field (decision 2). docs/evidence.md is made of them."""

from __future__ import annotations

from workbench.domain.evidence import EvidenceKind, Field, Visibility, closed, shared

SHARED = Visibility.SHARED
COMMITTED = Visibility.COMMITTED


def _kind(name: str, zh: str, en: str, *fields: Field) -> EvidenceKind:
    return EvidenceKind(name=name, fields=fields, zh=zh, en=en)


_PARTNER = shared("partner", "对方机构", "the other institution")
_CONTRACT = shared("contract", "约定摘要 SM3", "SM3 of the contract")
_ATTEMPT = shared("attempt", "第几次尝试", "number of the attempt", "1")
_CODE = shared("code", "结果代码", "code of the outcome")
_PERSON = closed("person", "证据代号", "token in evidence")
_ERASURE = closed("request", "擦除编号", "number of the erasure")
_SET_ASIDE = (
    _ERASURE, closed("entries", "涉及的记录与字段", "entries and fields concerned"),
    closed("records", "其他记录的数量", "other records, by count"),
)  # fmt: skip
_RECOVERY = shared("recovery", "本机构恢复旧副本时所需，已加密", "what this institution needs after a restore, sealed")
_LETTER = (
    shared("kind", "信函种类", "kind of letter"), shared("letter", "信函编号", "id of the letter"),
    shared("digest", "信函摘要 SM3", "SM3 of the letter"),
)  # fmt: skip
_ANSWER = (shared("answer", "回执摘要 SM3", "SM3 of the acknowledgement"), _CODE)

HOST_KINDS = (
    _kind(
        "node.started", "节点启动，列出插件与版本", "the node started with these plugins and versions",
        shared("version", "程序版本", "version of the program"),
        shared("plugins", "插件与版本", "plugins with versions"),
        shared("workspace", "工作区性质", "kind of workspace: demo, test or production"),
    ),
    _kind(
        "node.recovered", "重启后处理未完成的任务", "a job left open by a stop was settled at restart",
        shared("state", "新状态", "new state"),
    ),
    _kind(
        "people.added", "新增账号", "an account was added",
        closed("account", "账号名", "name of the account"),
        _PERSON,
        closed("roles", "岗位", "roles"),
    ),
    _kind(
        "people.confirmed", "第二位管理员确认账号", "a second administrator confirmed an account",
        closed("account", "账号名", "name of the account"), _PERSON,
        closed("added_by", "由谁新增", "who had added it"),
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
        _PERSON, closed("until", "新的期限", "new end", "ms"),
    ),
    _kind("people.password_changed", "更换密码", "a person changed their password"),
    _kind("people.signed_in", "登录", "a person signed in", closed("audience", "用途", "what the ticket is for")),
    _kind(
        "people.sign_in_refused", "登录或确认被拒", "a sign-in or confirmation was refused",
        closed("operation", "动作", "sign-in or confirm"), closed("code", "原因", "reason"),
    ),
    _kind(
        "action.refused", "操作被拒", "an operation was refused",
        closed("operation", "操作", "operation"), closed("code", "原因代码", "code of the reason"),
    ),
    _kind(
        "action.unrecorded", "操作没有留下自己的证据", "an action left no entry of its own",
        closed("operation", "操作", "operation"),
    ),
    _kind(
        # Written since the explorer; `regulator.viewed` stays readable.
        "evidence.viewed", "查看证据或业务记录", "somebody looked at evidence or records",
        closed("operation", "操作", "operation"),
        # Of a look at one customer it says which one, to whoever can compute the customer's token.
        Field("selection", COMMITTED, "所查内容 SM3", "SM3 of what was asked for", subject=True),
        closed("count", "看到的条数", "things shown", "1"),
    ),
    _kind(
        "regulator.viewed", "监管查看", "the regulator looked at something",
        closed("operation", "操作", "operation"), closed("request", "所查内容 SM3", "SM3 of what was asked for"),
    ),
    _kind(
        "lists.imported", "导入客户名单", "a customer list was imported",
        closed("list", "名单编号", "id of the list"),
        closed("catalogue", "目录登记", "catalogue entry"),
        closed("rows", "行数", "rows", "1"),
        closed("rejected", "未导入行数", "rejected rows", "1"),
        shared("root", "各行的加盐 SM3", "salted SM3 over the rows"),
    ),
    _kind(
        "peer.refused", "拒绝对方请求", "a request of another institution was refused",
        closed("address", "来源地址", "remote address"), closed("peer", "自称", "claimed institution"), _CODE,
    ),
    _kind(
        "partners.change_proposed", "提出伙伴白名单变更", "a change of the allow-list was proposed",
        shared("party", "机构", "institution"), shared("action", "动作", "add, replace or remove"),
        shared("bundle", "公开信息 SM3", "SM3 of the public bundle"),
    ),
    _kind(
        "partners.changed", "伙伴白名单变更，两人签署", "the allow-list changed, signed by two people",
        shared("party", "机构", "institution"), shared("action", "动作", "add, replace or remove"),
        shared("bundle", "公开信息 SM3", "SM3 of the public bundle"),
        closed("proposed_by", "提出人", "who proposed"), closed("confirmed_by", "确认人", "who confirmed"), _RECOVERY,
    ),
    _kind(
        "evidence.exported", "导出证据包", "an evidence package was exported",
        shared("package_sm3", "证据包的 SM3", "SM3 of the package"),
        closed("selection", "选取范围", "what was selected"),
        closed("entries", "记录条数", "entries", "1"),
        closed("opened", "开示的字段数", "fields opened", "1"),
        closed("state", "是否定稿", "final or not"),
    ),
    _kind(
        "files.taken", "取走文件", "a person took a file", closed("name", "文件名", "name of the file"),
    ),
    _kind(
        "consent.withdrawal_followed", "一次撤回：找到所涉名单与导出，告知对方机构",
        "a withdrawal was followed: lists and exports were found, partners told",
        closed("event", "授权事件序号", "number of the consent event"), closed("partners", "告知的机构", "partners told"),
        closed("jobs", "所涉求交", "intersections concerned"), closed("exports", "所涉导出文件", "exported files concerned", "1"),
    ),
    _kind(
        "consent.withdrawal_received", "收到对方客户的撤回并标记", "a partner's withdrawal arrived and was marked",
        _PARTNER, shared("letter", "信函编号", "id of the letter"), closed("jobs", "所涉求交", "intersections concerned"),
        closed("marked", "标记的行数", "rows marked", "1"), closed("exports", "此前的导出文件", "exported files before", "1"),
    ),
    _kind(
        "consent.withdrawal_told_again", "再次告知拒收撤回的机构", "a partner that refused was told of a withdrawal once more",
        closed("event", "授权事件序号", "number of the consent event"), closed("letters", "此前被拒的信函", "letters refused before", "1"),
        closed("reason", "理由", "reason"),
    ),
    _kind(
        "consent.contact_stop_taken", "取走停止联系名单", "the file of whom to contact no more was taken",
        closed("customers", "人数", "customers", "1"), closed("file_sm3", "文件 SM3", "SM3 of the file"),
    ),
    _kind(
        "letter.posted", "写信函给另一机构", "a letter to another institution was posted",
        _PARTNER, *_LETTER, closed("size", "大小", "size", "B"),
    ),
    _kind(
        "letter.received", "收到另一机构的信函并签了回执", "a letter of another institution arrived and was answered",
        _PARTNER, *_LETTER, *_ANSWER, closed("size", "大小", "size", "B"),
    ),
    _kind(
        "letter.acknowledged", "信函得到签名回执或被拒收", "a letter was acknowledged, or refused, under signature",
        _PARTNER, *_LETTER, *_ANSWER,
    ),
    _kind(
        "intersection.proposed", "提议求交", "an intersection was proposed",
        _PARTNER, shared("terms", "条款 SM3", "SM3 of the terms"), shared("purpose", "目的", "purpose"),
        shared("key_kind", "比对的标识", "identifier compared"),
        closed("audience", "受众规则", "audience rule"), closed("customers", "有授权的客户数", "customers with a grant", "1"),
        closed("reasons", "排除原因与人数", "reasons for exclusion with counts"),
        closed("campaign", "活动名", "name of the campaign"),
    ),
    _kind(
        "intersection.proposal_received", "收到求交提议", "a proposal arrived",
        _PARTNER, shared("terms", "条款 SM3", "SM3 of the terms"),
    ),
    _kind(
        "intersection.approved", "批准求交", "an intersection was approved",
        _PARTNER, shared("terms", "条款 SM3", "SM3 of the terms"), shared("automatic", "是否自动批准", "yes in test workspaces only"),
        closed("customers", "有授权的客户数", "customers with a grant", "1"),
    ),
    _kind(
        "intersection.approval_received", "收到批准", "the approval arrived",
        _PARTNER, shared("terms", "条款 SM3", "SM3 of the terms"),
    ),
    _kind("intersection.rejected", "拒绝提议", "a proposal was rejected", _PARTNER, closed("reason", "理由", "reason")),
    _kind("intersection.run_requested", "要求重新运行", "somebody asked to run it again", _PARTNER, _ATTEMPT),
    _kind("intersection.cancel_requested", "要求取消", "somebody asked to cancel it", _PARTNER, _ATTEMPT),
    _kind(
        "intersection.attempt_started", "开始一次求交尝试", "an attempt started",
        _PARTNER, _ATTEMPT, closed("as_of", "授权记录截至", "newest consent event considered"),
        closed("customers", "参与的客户数", "customers taking part", "1"),
        closed("reasons", "排除原因与人数", "reasons for exclusion with counts"),
        shared("commitment_root", "承诺根", "root of the commitments"),
        closed("near_duplicates", "以往几乎相同的名单数", "earlier jobs with nearly the same list", "1"),
        closed("nearest", "其中最近的一次", "the nearest of them"),
    ),
    _kind(
        "intersection.contract", "双方签署约定", "both institutions signed the contract",
        _PARTNER, _ATTEMPT, _CONTRACT, shared("own_signature", "己方签名", "own signature"),
        shared("partner_signature", "对方签名", "signature of the other side"),
    ),
    _kind(
        "intersection.message", "协议消息", "a protocol message",
        _PARTNER, _ATTEMPT, shared("direction", "方向", "sent or received"), shared("message", "消息种类", "kind of message"),
        # Sizes would tell the third institution how many customers were common: 20 bytes each in the slices.
        shared("round", "序号", "sequence number", "1"), closed("size", "大小", "size", "B"),
        shared("digest", "帧头与签名的 SM3（帧头含内容摘要）", "SM3 of header and signature; the header states the SM3 of the content"),
    ),
    _kind(
        "intersection.cardinality", "双方签署命中人数（不低于下限）", "both signed the number of matches, at or above the floor",
        _CONTRACT, closed("cardinality", "命中人数", "matches", "1"),
    ),
    _kind(
        "intersection.refused_small", "人群过小，未揭示", "too few people; nothing was revealed",
        _PARTNER, _ATTEMPT,
    ),
    _kind(
        "intersection.ended", "求交未放行而结束", "an intersection ended without release",
        _PARTNER, _ATTEMPT, _CODE, shared("state", "状态", "state"),
    ),
    _kind(
        "intersection.dispute_closed", "争议已对照并办结", "a dispute was compared and closed",
        _PARTNER, closed("finding", "对照结果", "what the comparison showed"),
    ),
    _kind(
        "intersection.released", "放行目标名单", "a target list was released",
        _PARTNER, _ATTEMPT, _CONTRACT,
        shared("result_digest", "己方结果摘要", "keyed digest of this side's result"),
        shared("partner_digest", "对方结果摘要", "keyed digest of the other side's result"),
        shared("key_kind", "比对的标识", "identifier compared"),
        closed("customers", "放行人数", "customers released", "1"),
        closed("dropped", "复核去掉", "dropped at the last check", "1"),
        closed("list_digest", "名单摘要", "keyed digest of the list"),
        closed("list_key", "名单摘要的密钥", "key of that digest"),
    ),
    _kind(
        "intersection.sealed", "双方共签完成", "both institutions co-signed the release",
        _PARTNER, shared("own_entry", "己方条目", "own entry"), shared("partner_entry", "对方条目", "entry of the other side"),
    ),
    _kind(
        "intersection.viewed", "查看目标名单（遮盖）", "the masked target list was viewed",
        closed("rows", "行数", "rows", "1"),
    ),
    _kind(
        "lists.rewritten", "名单去掉一位客户后重写", "a list was rewritten without a customer",
        closed("list", "名单", "list"), closed("removed", "去掉的行数", "rows removed", "1"),
        _ERASURE,
    ),
    _kind(
        "lists.corrected", "名单中一位客户的信息更正", "a customer's row of a list was corrected",
        closed("list", "名单", "list"), closed("request", "权利请求编号", "number of the rights request"),
        closed("rows", "更正的行数", "rows corrected", "1"), closed("columns", "更正的列", "columns corrected"),
        Field("was", COMMITTED, "原值", "old values", subject=True), Field("now", COMMITTED, "新值", "new values", subject=True),
    ),
    _kind(
        "customers.erasure_asked", "提出擦除一位客户", "the erasure of a customer was asked for",
        _ERASURE,
        Field("reason", COMMITTED, "理由", "reason", subject=True),
        Field("by", COMMITTED, "由谁申请：本人、受托人、监护人或近亲属", "who asked: subject, agent, guardian or kin", subject=True),
        Field("proof", COMMITTED, "证明文件编号", "reference of the proof", subject=True),
        closed("waits", "是否等待第二人", "whether a second person must confirm"),
    ),
    _kind(
        "customers.erasure_confirmed", "第二人确认擦除", "a second person confirmed an erasure",
        _ERASURE,
    ),
    _kind(
        "customers.erasure_searched", "擦除之后查找本机构的全部文件", "after an erasure every file of this node was searched",
        closed("request", "擦除编号", "number of the erasure"), closed("files", "文件数", "files", "1"),
        closed("size", "大小", "size", "B"), closed("hits", "找到的处数，- 为未查找", "places found, - for not searched", "1"),
    ),
    _kind(
        "evidence.restricted", "字段移入限制存放", "values were set aside in restricted storage",
        *_SET_ASIDE,
        closed("until", "最后的到期时刻", "end of the last term", "ms"), closed("basis", "保存依据", "ground of retention"),
        _RECOVERY,
    ),
    _kind(
        "evidence.erased", "字段与密钥已销毁", "values and their keys were destroyed",
        *_SET_ASIDE,
        _RECOVERY,
    ),
    _kind(
        "evidence.restricted_read", "查看限制存放的内容", "restricted values were read",
        closed("restrictions", "限制存放编号", "numbers of the restrictions"), closed("reason", "理由", "reason"),
    ),
    _kind(
        "intersection.exported", "导出目标名单", "the target list was exported",
        closed("customers", "导出人数", "customers exported", "1"),
        closed("withheld", "导出时已无授权", "without a live grant at export", "1"),
        closed("columns", "导出的列", "columns"),
        shared("key_kind", "比对的标识", "identifier compared"),
        closed("file_sm3", "文件 SM3", "SM3 of the file"),
        closed("list_digest", "名单摘要", "keyed digest of the list"),
        closed("list_key", "名单摘要的密钥", "key of that digest"),
        shared("automatic", "是否由命令直接导出", "yes in test workspaces only"),
    ),
)  # fmt: skip
