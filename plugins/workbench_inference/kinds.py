"""Kinds of evidence of the sandbox, for both roles. Document: docs/protocols/sandbox.md section 14.

The job of an entry is its lease. Where tenant and provider stand as initiator and partner, both must have co-signed before it is
sealed. No question, answer, name or identifier stands in any field; what could be guessed from a digest is committed.
"""

from __future__ import annotations

from typing import Final

from workbench.domain.evidence import EvidenceKind, Field, closed, shared

_BOTH: Final = (shared("initiator", "租用方", "the tenant"), shared("partner", "算力方", "the provider"))
_SANDBOX: Final = shared("sandbox", "沙箱", "sandbox")
_IMAGE: Final = shared("image", "镜像编号", "id of the image")
_CARDS: Final = shared("cards", "卡数", "cards", "1")
_FROM: Final = shared("from", "起", "from", "ms")
_UNTIL: Final = shared("until", "止", "until", "ms")
_AT: Final = shared("at", "租约的第几秒", "second of the lease", "s")
_ASSURANCE: Final = shared("assurance", "保证级别", "level of assurance")
_CAUSE: Final = shared("cause", "原因", "cause")
_CODE: Final = shared("code", "代码", "code")
_DIGEST: Final = shared("digest", "订单的 SM3", "SM3 of the order")
_STATEMENT: Final = shared("statement", "沙箱证据的 SM3", "SM3 of the sandbox's evidence")
_SERIAL: Final = shared("serial", "证据序号", "number of the evidence", "1")
_MISSING: Final = shared("missing", "未生效的控制项", "controls that are not on")
_SESSION: Final = shared("session", "会话", "session")
_ASK: Final = shared("ask", "提问编号", "number of the ask")
_SERVER: Final = shared("server", "服务器", "server")
_CARD_SECONDS: Final = shared("card_seconds", "卡·秒", "card-seconds", "1")
_AGREED: Final = shared("agreed", "双方一致的卡·秒", "card-seconds that both counted", "1")
_PRICE: Final = closed("price", "单价（分/卡·分）", "price in fen a card-minute", "fen")
_REASON: Final = closed("reason", "理由", "reason")
_PERSON: Final = closed("person", "提问人的证据代号", "token of who asked")
_SCENARIO: Final = closed("scenario", "场景", "scenario")
_MODEL: Final = closed("model", "模型", "model")
_NAME: Final = closed("name", "名称", "name")
_VERSION: Final = closed("version", "版本", "version")
_TEXT_DIGEST: Final = closed("digest", "内容的 SM3", "SM3 of the content")
_KIND: Final = closed("kind", "种类", "kind")
_ACTION: Final = closed("action", "动作", "action")
_CHANNEL: Final = closed("channel", "渠道", "channel")
_CREDENTIAL: Final = closed("credential", "渠道凭据的证据代号", "token of the channel's credential")
_MILLISECONDS: Final = closed("milliseconds", "用时", "time taken", "ms")


def _of_a_lease(name: str, zh: str, en: str, *fields: Field) -> EvidenceKind:
    """An entry that names both institutions."""
    return EvidenceKind(name, (*_BOTH, *fields), zh, en)


def _own(name: str, zh: str, en: str, *fields: Field) -> EvidenceKind:
    """An entry about this institution alone."""
    return EvidenceKind(name, fields, zh, en)


_LEASES: Final = (
    _of_a_lease(
        "inference.lease_ordered", "租用方订租", "the tenant ordered a lease",
        _IMAGE, _CARDS, _FROM, _UNTIL, _ASSURANCE, shared("policy", "会话策略", "policy of its sessions"), _DIGEST,
        closed("budget", "预算（分）", "budget", "fen"), _PRICE, _REASON,
    ),
    _of_a_lease(
        "inference.leased", "算力方出租", "the provider leased",
        _IMAGE, _CARDS, _FROM, _UNTIL, _ASSURANCE, _DIGEST, closed("servers", "服务器", "servers"), _PRICE,
    ),
    _of_a_lease("inference.lease_refused", "算力方拒绝订租", "the provider refused an order", _CODE, _DIGEST, _REASON),
    _of_a_lease(
        "inference.lease_changed", "租约变更", "a lease was changed",
        shared("number", "变更序号", "number of the change", "1"), _CARDS, _UNTIL, _AT, closed("cause", "原因", "cause"),
    ),
    _of_a_lease("inference.lease_ended", "租约结束", "a lease ended", _CAUSE, _AT),
    _of_a_lease(
        "inference.scaled", "扩缩决定", "a decision about the number of cards",
        shared("before", "原卡数", "cards before", "1"), shared("after", "新卡数", "cards after", "1"),
        closed("queue", "等待的提问", "asks that waited", "1"), closed("rule", "规则", "rule"), _REASON,
    ),
)  # fmt: skip

_SANDBOXES: Final = (
    _of_a_lease(
        "inference.sandbox_started", "沙箱启动", "a sandbox was started",
        _SANDBOX, _SERVER, _IMAGE, _ASSURANCE, _MILLISECONDS, closed("pid_record", "进程记录的 SM3", "SM3 of the pid record"),
    ),
    _of_a_lease("inference.sandbox_ended", "沙箱结束", "a sandbox ended", _SANDBOX, _CAUSE),
    _of_a_lease(
        "inference.probed", "沙箱当场自检", "a sandbox ran its probe suite when it was asked to",
        _SANDBOX, shared("tried", "尝试的动作", "what was tried", "1"), shared("refused", "被拒绝的动作", "what was refused", "1"),
        shared("failed", "未被拒绝的动作", "what was not refused"), closed("frame", "沙箱签署的密文帧的 SM3", "SM3 of the sealed frame that the sandbox signed"),
    ),
    _of_a_lease(
        "inference.evidence_given", "算力方签署沙箱证据，说明沙箱如何隔离", "the provider signed evidence of a sandbox: how it is isolated",
        _SANDBOX, _SERIAL, _STATEMENT, _ASSURANCE, _MISSING,
    ),
    _of_a_lease(
        "inference.evidence_accepted", "租用方核对沙箱证据，通过", "the tenant checked a sandbox's evidence and took it",
        _SANDBOX, _SERIAL, _STATEMENT, _ASSURANCE, _MISSING,
    ),
    _of_a_lease(
        "inference.evidence_refused", "租用方核对沙箱证据，不通过，什么也没有发出", "the tenant checked a sandbox's evidence and refused it; nothing was sent",
        _SANDBOX, _SERIAL, _STATEMENT, _ASSURANCE, _MISSING, shared("check", "不通过的检查", "check that failed"),
    ),
    *(
        _of_a_lease(
            name, zh, en, _SESSION, shared("epoch", "期次", "epoch", "1"), _SANDBOX, _STATEMENT, shared("key_id", "密钥编号", "id of the key"),
            shared("provenance", "密钥来源", "origin of the key"), shared("policy", "策略", "policy"), shared("suite", "套件", "suite"),
        )
        for name, zh, en in (
            ("inference.session_opened", "与沙箱的加密会话建立", "an encrypted session with a sandbox began"),
            ("inference.session_renewed", "与沙箱的加密会话换用新密钥", "an encrypted session with a sandbox took a new key"),
        )
    ),
    _of_a_lease(
        "inference.session_ended", "与沙箱的加密会话结束", "an encrypted session with a sandbox ended",
        _SESSION, _CAUSE, shared("frames_out", "发出的密文帧", "frames sent", "1"), shared("frames_in", "收到的密文帧", "frames received", "1"),
    ),
)  # fmt: skip

_ASKS: Final = (
    _of_a_lease(
        "inference.asked", "脱敏并密封的提问发出", "a question was sent, redacted and sealed",
        _ASK, shared("frame", "密文帧的 SM3", "SM3 of the sealed frame"), _PERSON, _SCENARIO, closed("template", "提示词模板", "prompt template"), _MODEL,
        closed("question", "脱敏后问题的 SM3", "SM3 of the redacted question"), closed("redacted", "各类脱敏数", "replaced, by type"),
        closed("class", "数据分级", "data class"), _CHANNEL, _CREDENTIAL, closed("documents", "随问资料数", "documents sent with it", "1"),
        closed("context", "随问资料的 SM3", "SM3 of the documents sent with it"),
    ),
    _own(
        "inference.ask_refused", "提问被拒，什么也没有发出", "a question was refused; nothing was sent",
        _PERSON, _SCENARIO, _MODEL, closed("rule", "规则", "rule"), closed("code", "代码", "code"), _CHANNEL, _CREDENTIAL,
    ),
    _of_a_lease(
        "inference.answered", "提问有了结果，回答已核对并留存", "a question came to its outcome; what was answered was checked and kept",
        _ASK, shared("frame", "结束帧的 SM3", "SM3 of the sealed end"), closed("end", "结束记录的 SM3", "SM3 of the end's JSON"),
        closed("number", "会话内序号", "number in its session", "1"), closed("state", "结果", "outcome"), closed("answer", "回答的 SM3", "SM3 of the answer"),
        closed("shown", "留存的回答文字的 SM3", "SM3 of the answer's text as kept"),
        closed("citations", "引用数", "citations", "1"), closed("dropped", "无出处而删去的句子", "sentences dropped without a source", "1"),
        closed("tokens_in", "输入词元", "tokens in", "1"), closed("tokens_out", "输出词元", "tokens out", "1"),
        closed("card_ms", "卡毫秒", "card milliseconds", "ms"), closed("watermark", "水印", "watermark"), closed("engine", "引擎", "engine"),
    ),
    _of_a_lease("inference.answer_lost", "没有得到回答", "no answer came", _ASK, _CAUSE),
    _own("inference.rated", "对回答评价", "an answer was rated", closed("ask", "提问编号", "number of the ask"), closed("rating", "评价", "rating"), _REASON),
    _own("inference.history_exported", "导出提问记录", "the history of asks was exported", closed("count", "条数", "asks", "1"), closed("receipt", "收据的 SM3", "SM3 of the receipt")),
)  # fmt: skip

_ACCOUNTS: Final = (
    _of_a_lease(
        "inference.metered", "一段时间的计量，双方核对", "meters of a while, checked by both",
        shared("from", "起于租约第几秒", "from second of the lease", "s"), shared("to", "止于租约第几秒", "to second of the lease", "s"),
        shared("ticks", "计量条数", "ticks", "1"), _CARD_SECONDS, _AGREED, shared("differing", "不一致的条数", "ticks that differ", "1"),
        closed("root", "各条 SM3 的根", "SM3 over the ticks' SM3"), closed("asks", "提问数", "asks", "1"), closed("tokens", "词元", "tokens", "1"),
    ),
    _of_a_lease(
        "inference.statement", "租约对账单", "statement of account of a lease",
        _CARD_SECONDS, _AGREED, closed("statement", "对账单的 SM3", "SM3 of the statement"), closed("amount", "金额（分）", "amount", "fen"), _PRICE,
    ),
    _of_a_lease(
        "inference.settle_proposed", "提出差异的处理", "it was proposed how to settle a difference",
        _CARD_SECONDS, closed("agreement", "约定的 SM3", "SM3 of the agreement"), _REASON,
    ),
    _of_a_lease(
        "inference.settled", "差异由人商定", "people settled a difference",
        _CARD_SECONDS, closed("agreement", "约定的 SM3", "SM3 of the agreement"), closed("people", "两位经办人", "the two people"), _REASON,
    ),
    _of_a_lease(
        "inference.erased", "擦除收据：算力方签署的所查所见", "receipt of an erasure: what the provider looked at and found, signed by it",
        _SERVER, shared("receipt", "收据的 SM3", "SM3 of the receipt"), shared("clean", "各项检查是否都未见残留", "whether every check found nothing left"), shared("reason", "起因", "what led to it"),
        closed("checks", "各项检查所见", "what each check found"),
    ),
    _of_a_lease("inference.erase_missing", "没有擦除收据", "a receipt of an erasure is missing", _SERVER, shared("since", "自", "since", "ms")),
    _of_a_lease(
        "inference.reaped", "重启后清除前次运行留下的沙箱", "sandboxes that an earlier run had left were ended after a restart",
        _SERVER, shared("sandboxes", "沙箱", "sandboxes"), _CAUSE,
    ),
    _own(
        "inference.server_changed", "服务器状态变更", "a server changed its state",
        closed("server", "服务器", "server"), closed("from", "原状态", "state before"), closed("to", "新状态", "state"), closed("cause", "原因", "cause"),
    ),
    _own("inference.freeze_changed", "冻结窗口变更", "a freeze window was changed", _FROM, _UNTIL, _REASON),
    _own(
        "inference.tariff_changed", "单价变更", "the price was changed",
        closed("before", "原单价（分/卡·分）", "price before", "fen"), _PRICE, _REASON,
    ),
    _own(
        "inference.rule_changed", "排期、扩缩规则或预算变更", "a calendar, scaling rule or budget was changed",
        closed("what", "哪一项", "which"), closed("before", "原值", "value before"), closed("after", "新值", "value"), _REASON,
    ),
    _own(
        "inference.service_key_made", "生成服务密钥", "a service key was made",
        shared("statement", "服务密钥声明原文与签名", "statement of the service key as written"),
    ),
)  # fmt: skip

_MATERIAL: Final = (
    _own(
        "inference.image_signed", "签署镜像清单", "a manifest of an image was signed",
        _IMAGE, _NAME, _VERSION, closed("engine", "引擎", "engine"), closed("files", "文件数", "files", "1"), closed("bytes", "大小", "size", "B"),
    ),
    _of_a_lease("inference.image_pulled", "算力方取得镜像", "the provider pulled an image", _IMAGE, closed("bytes", "大小", "size", "B"), _MILLISECONDS),
    _of_a_lease(
        "inference.image_refused", "镜像与清单不符或不在约定内", "an image is not what its manifest says, or was not agreed",
        _IMAGE, _CODE, closed("bytes", "大小", "size", "B"), _MILLISECONDS,
    ),
    _own(
        "inference.documents_imported", "导入资料", "documents were imported",
        _KIND, closed("file", "文件的 SM3", "SM3 of the file"), closed("rows", "份数", "documents", "1"), closed("rejected", "未导入份数", "rejected", "1"),
        closed("class", "数据分级", "data class"), closed("source", "来源", "source"),
    ),
    _own("inference.documents_removed", "移除资料", "documents were removed", _KIND, closed("rows", "份数", "documents", "1"), _REASON),
    _own(
        "inference.corpus_indexed", "生成资料包", "a corpus was indexed",
        shared("corpus", "密封资料包的 SM3", "SM3 of the sealed corpus"), closed("documents", "份数", "documents", "1"), closed("passages", "段数", "passages", "1"),
        closed("embedder", "向量模型", "embedder"), closed("seconds", "用时", "time taken", "s"),
    ),
)  # fmt: skip

_RULES: Final = (
    _own("inference.template_proposed", "提出提示词模板", "a prompt template was proposed", _NAME, _VERSION, _TEXT_DIGEST, _REASON),
    *(
        _own(
            name, zh, en, _NAME, _VERSION, _TEXT_DIGEST, closed("first", "提出人", "who proposed"), closed("second", "确认人", "who confirmed"),
        )
        for name, zh, en in (
            ("inference.template_published", "第二人发布提示词模板", "a second person published a prompt template"),
            ("inference.rules_published", "第二人发布内容规则", "a second person published rules of content"),
        )
    ),
    _own("inference.template_promoted", "模板由调试转为运行", "a template went from debug to run", _NAME, _VERSION, _TEXT_DIGEST, closed("author", "作者", "author")),
    _own(
        "inference.access_changed", "岗位 × 场景 × 模型的许可变更", "what a role may ask of which model was changed",
        closed("role", "岗位", "role"), _SCENARIO, _MODEL, closed("allowed", "是否许可", "allowed"), _REASON,
    ),
    _own(
        "inference.usage_changed", "资料使用许可变更", "a usage of documents was granted or revoked",
        closed("usage", "许可编号", "number of the usage"), _ACTION, _KIND, _SCENARIO, closed("roles", "岗位", "roles"), closed("most", "次数上限", "most uses", "1"),
        closed("until", "止", "until", "ms"), _REASON,
    ),
    _own(
        "inference.cohort_changed", "名额变更", "the cohort was changed",
        _ACTION, closed("people", "变更后人数", "people after it", "1"), closed("cap", "上限", "cap", "1"), _REASON,
    ),
    *(
        _own(
            name, zh, en, closed("before", "原阶段", "stage before"), closed("after", "新阶段", "stage after"), closed("report", "依据（评价报告）的 SM3", "SM3 of its ground, the report"),
            closed("filing", "备案或批准文号", "filing or approval"), closed("first", "提出人", "who proposed"), closed("second", "决定人", "who decided"), _REASON,
        )
        for name, zh, en in (
            ("inference.stage_proposed", "提出试点阶段变更", "a step of the trial was proposed"),
            ("inference.stage_changed", "第二人决定试点阶段变更", "a second person decided a step of the trial"),
            ("inference.stage_declined", "试点阶段变更未通过", "a step of the trial was declined"),
            ("inference.stage_closed", "试点退回前面的阶段", "the trial was taken back to an earlier stage"),
        )
    ),
    *(
        _own(
            name, zh, en, _CREDENTIAL, _NAME, _CHANNEL, closed("role", "岗位", "role"), closed("per_minute", "每分钟次数上限", "most requests a minute", "1"), _UNTIL,
            closed("first", "新增人", "who added"), _REASON,
        )
        for name, zh, en in (
            ("inference.channel_added", "新增渠道凭据，待确认", "a credential of a channel was added and waits"),
            ("inference.channel_confirmed", "第二人确认渠道凭据", "a second person confirmed a credential of a channel"),
            ("inference.channel_revoked", "撤销渠道凭据", "a credential of a channel was revoked"),
        )
    ),
    _own(
        "inference.duty_changed", "值班表变更", "the duty roster was changed",
        _ACTION, closed("duty", "班次", "turn", "1"), closed("person", "值班人的证据代号", "token of who is on duty"), _FROM, _UNTIL, _REASON,
    ),
    _own(
        "inference.risk_changed", "风险登记变更", "the risk register was changed",
        _ACTION, closed("risk", "风险编号", "number of the risk", "1"), closed("level", "等级", "level"), closed("owner", "负责人的证据代号", "token of the owner"),
        closed("due", "期限", "due day"), closed("state", "状态", "state"), _REASON,
    ),
    _own(
        "inference.register_exported", "导出值班表或风险登记", "the roster or the risk register was exported",
        closed("what", "哪一份", "which"), closed("count", "条数", "rows", "1"), closed("file", "文件的 SM3", "SM3 of the file"),
    ),
    *(
        _own(name, zh, en, closed("of", "谁的", "whose"), closed("limit", "上限", "limit", "1"), closed("used", "已用", "used", "1"))
        for name, zh, en in (
            ("inference.quota_changed", "提问额度变更", "a quota of asks was changed"),
            ("inference.budget_reached", "预算用到一定比例", "a budget was used to a mark"),
        )
    ),
)  # fmt: skip

EVIDENCE_KINDS: Final = (*_LEASES, *_SANDBOXES, *_ASKS, *_ACCOUNTS, *_MATERIAL, *_RULES)
"""All kinds of the plugin, of both roles."""

__all__ = ["EVIDENCE_KINDS"]
