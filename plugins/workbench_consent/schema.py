"""Tables, kinds of evidence and settings of the consent registry. Document: docs/consent.md sections 6 to 8."""

from __future__ import annotations

from workbench.contracts import Migration, Setting
from workbench.domain.evidence import EvidenceKind, closed, personal, shared
from workbench_consent import changes
from workbench_consent.capture import schema as capture
from workbench_consent.notices import schema as notices
from workbench_consent.receipts import schema as receipts

OWNER = "consent"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        CREATE TABLE consent_event (
            seq    INTEGER PRIMARY KEY,
            kind   TEXT NOT NULL,
            at_ms  INTEGER NOT NULL,
            actor  TEXT NOT NULL,
            first  INTEGER NOT NULL,
            rows   INTEGER NOT NULL,
            root   BLOB NOT NULL,
            salt   BLOB NOT NULL,
            entry  INTEGER NOT NULL
        );
        CREATE TABLE consent_term (
            number    INTEGER PRIMARY KEY,
            purpose   TEXT NOT NULL,
            recipient TEXT NOT NULL,
            channel   TEXT NOT NULL,
            UNIQUE (purpose, recipient, channel)
        );
        CREATE TABLE consent_grant (
            first    INTEGER PRIMARY KEY,
            seq      INTEGER NOT NULL,
            rows     INTEGER NOT NULL,
            phone    BLOB NOT NULL,
            id_no    BLOB NOT NULL,
            term     BLOB NOT NULL,
            from_ms  BLOB NOT NULL,
            until_ms BLOB NOT NULL,
            salt     BLOB NOT NULL,
            form     BLOB NOT NULL,
            digest   BLOB NOT NULL
        );
        CREATE TABLE consent_suppression (
            number     INTEGER PRIMARY KEY,
            seq        INTEGER NOT NULL,
            phone      BLOB NOT NULL,
            id_no      BLOB NOT NULL,
            purpose    TEXT NOT NULL,
            recipient  TEXT NOT NULL,
            suppresses INTEGER NOT NULL,
            lifted_seq INTEGER
        );
        CREATE TABLE consent_snapshot (
            snapshot       TEXT PRIMARY KEY,
            job            TEXT NOT NULL,
            attempt        INTEGER NOT NULL,
            at_ms          INTEGER NOT NULL,
            as_of          INTEGER NOT NULL,
            purpose        TEXT NOT NULL,
            recipient      TEXT NOT NULL,
            key_kind       TEXT NOT NULL,
            customers      INTEGER NOT NULL,
            usable         INTEGER NOT NULL,
            valid_until_ms INTEGER NOT NULL,
            root           BLOB NOT NULL,
            used_at_ms     INTEGER
        );
        CREATE UNIQUE INDEX consent_snapshot_once ON consent_snapshot (job, attempt) WHERE used_at_ms IS NOT NULL;
        """,
    ),
    Migration(
        OWNER,
        2,
        """
        -- Withdrawals that came back after a restore without their values: to be entered again.
        CREATE TABLE consent_replay (
            entry INTEGER PRIMARY KEY,
            kind  TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            done  INTEGER NOT NULL
        );
        """,
    ),
    Migration(
        OWNER,
        3,
        """
        CREATE TABLE consent_erased (
            record INTEGER PRIMARY KEY,
            seq    INTEGER NOT NULL
        );
        CREATE TABLE consent_leaf (
            first INTEGER PRIMARY KEY,
            hash  BLOB NOT NULL
        );
        """,
    ),
    Migration(
        OWNER,
        4,
        """
        CREATE TABLE consent_leaf_after (
            seq   INTEGER NOT NULL,
            first INTEGER NOT NULL,
            hash  BLOB NOT NULL,
            PRIMARY KEY (seq, first)
        ) WITHOUT ROWID;
        """,
    ),
    Migration(OWNER, 5, notices.TABLES),
    Migration(
        OWNER,
        6,
        """
        -- What a form says besides purpose, recipient and channel; forms of the first version say nothing of it.
        CREATE TABLE consent_term_wider (
            number        INTEGER PRIMARY KEY,
            purpose       TEXT NOT NULL,
            recipient     TEXT NOT NULL,
            channel       TEXT NOT NULL,
            notice        TEXT NOT NULL DEFAULT '',
            notice_digest TEXT NOT NULL DEFAULT '',
            categories    TEXT NOT NULL DEFAULT '',
            contacts      TEXT NOT NULL DEFAULT '',
            method        TEXT NOT NULL DEFAULT '',
            signer        TEXT NOT NULL DEFAULT '',
            minor         INTEGER NOT NULL DEFAULT 0,
            separate      INTEGER NOT NULL DEFAULT 0,
            max_uses      INTEGER NOT NULL DEFAULT 0,
            UNIQUE (purpose, recipient, channel, notice, categories, contacts, method, signer, minor, separate, max_uses)
        );
        INSERT INTO consent_term_wider (number, purpose, recipient, channel)
            SELECT number, purpose, recipient, channel FROM consent_term;
        DROP TABLE consent_term;
        ALTER TABLE consent_term_wider RENAME TO consent_term;
        """,
    ),
    Migration(
        OWNER,
        7,
        """
        -- Who refused profiling or a channel; lifted_seq: the event by which the person allowed it again.
        CREATE TABLE consent_refusal (
            number     INTEGER PRIMARY KEY,
            seq        INTEGER NOT NULL,
            phone      BLOB NOT NULL,
            id_no      BLOB NOT NULL,
            what       TEXT NOT NULL,
            lifted_seq INTEGER
        );
        -- Decisions of two people that are no notice: processor contracts, successions, run-off.
        CREATE TABLE consent_change (
            number      INTEGER PRIMARY KEY,
            kind        TEXT NOT NULL,
            name        TEXT NOT NULL,
            body        BLOB NOT NULL,
            digest      BLOB NOT NULL,
            state       TEXT NOT NULL,
            proposed_by TEXT NOT NULL,
            proposed_ms INTEGER NOT NULL,
            decided_by  TEXT NOT NULL DEFAULT '',
            decided_ms  INTEGER NOT NULL DEFAULT 0,
            ended_ms    INTEGER NOT NULL DEFAULT 0
        );
        """,
    ),
    *receipts.MIGRATIONS,
    *capture.MIGRATIONS,
)


_SUBJECT = personal("subject", "客户代号（仅本机构可算）", "token of the customer, computable here only")
_PURPOSE = personal("purpose", "用途，* 为全部", "purpose, * for every one")
_RECIPIENT = personal("recipient", "接收方，* 为全部", "recipient, * for every one")
_REASON = personal("reason", "经办理由", "reason given by staff")
_RECOVERY = shared("recovery", "本机构恢复旧副本时所需，已加密", "what this institution needs after a restore, sealed")

EVIDENCE_KINDS = (
    EvidenceKind(
        "consent.imported",
        (
            shared("root", "授权记录的 SM3 默克尔根", "SM3 Merkle root of the grant rows"),
            closed("file", "文件名", "name of the file"),
            closed("event", "授权事件序号", "number of the consent event"),
            closed("first_record", "首条记录号", "number of the first record"),
            closed("rows", "数据行数", "rows in the file", "1"),
            closed("accepted", "新增授权", "new grants", "1"),
            closed("rejected", "未导入行数", "rejected rows", "1"),
            closed("duplicates", "重复行数", "rows already known", "1"),
            closed("suppressed", "因撤回未导入", "rows kept out by a withdrawal", "1"),
            closed("documents", "所存签署文件", "signed forms kept", "1"),
            closed("proposal", "倒签提议编号，没有倒签为空", "number of the backdating proposal, empty without one"),
        ),
        "导入客户授权",
        "customer consents were imported",
    ),
    EvidenceKind(
        "consent.withdrawn",
        (
            shared("root", "撤回内容的加盐摘要 SM3", "salted SM3 of what was withdrawn"),
            closed("event", "授权事件序号", "number of the consent event"),
            _SUBJECT,
            _PURPOSE,
            _RECIPIENT,
            personal("grants", "随之失效的授权", "grants ended by it", "1"),
            closed("suppressed", "是否列入不再使用名单", "whether the customer is kept out from now on"),
            personal("by", "由谁撤回：本人、受托人、监护人或近亲属", "who withdrew: subject, agent, guardian or kin"),
            personal("proof", "证明文件编号", "reference of the proof"),
            _REASON,
            _RECOVERY,
        ),
        "客户撤回授权，立即生效",
        "a customer withdrew consent, effective at once",
    ),
    EvidenceKind(
        "consent.suppression_lifted",
        (
            shared("root", "解除内容的加盐摘要 SM3", "salted SM3 of what was lifted"),
            closed("event", "授权事件序号", "number of the consent event"),
            _SUBJECT,
            closed("entries", "解除的条目", "entries lifted", "1"),
            _REASON,
        ),
        "合规岗解除一位客户的不再使用标识",
        "compliance lifted the mark that kept a customer out",
    ),
    EvidenceKind(
        "consent.checked",
        (
            _SUBJECT,
            personal("purpose", "用途", "purpose"),
            personal("recipient", "接收方", "recipient"),
            personal("outcome", "结论代码，OK 为可用", "code of the outcome, OK when usable"),
        ),
        "合规岗查询了一位客户的授权",
        "compliance looked up the consent of one customer",
    ),
    EvidenceKind(
        "consent.snapshot",
        (
            shared("snapshot", "快照编号", "id of the snapshot"),
            shared("attempt", "第几次尝试", "number of the attempt", "1"),
            shared("purpose", "用途", "purpose"),
            shared("recipient", "接收方", "recipient"),
            shared("key_kind", "比对的标识", "identifier compared"),
            # The same customers give the same root in every job: shared, it would tell when nobody joined or left.
            closed("root", "可用客户授权摘要的 SM3 默克尔根", "SM3 Merkle root of the grant digests in use"),
            closed("at_ms", "判断时点", "instant of the decision", "ms"),
            closed("as_of", "依据的授权事件序号", "consent event it rests on"),
            closed("customers", "名单人数", "customers of the list", "1"),
            closed("usable", "可用人数", "customers who may be used", "1"),
        ),
        "为一次求交筛选出此刻有授权的客户",
        "customers with live consent were selected for one intersection",
    ),
    EvidenceKind(
        "consent.replayed",
        (
            shared("entries", "已补录的条目", "entries done again", "1"),
            shared("left", "尚待补录", "still to be done", "1"),
            _REASON,
        ),
        "恢复后，撤回已补录并确认",
        "after a restore, withdrawals were entered again and confirmed",
    ),
    EvidenceKind(
        "consent.erased",
        (
            shared("root", "所清除授权记录的加盐摘要 SM3", "salted SM3 of the grants taken out"),
            closed("event", "授权事件序号", "number of the consent event"),
            closed("request", "擦除编号", "number of the erasure"),
            closed("records", "清除的授权", "grants taken out", "1"),
        ),
        "一位客户的授权移出登记",
        "the grants of a customer were taken out of the registry",
    ),
    EvidenceKind(
        "consent.document_viewed",
        (
            personal("record", "授权记录号", "number of the grant"),
            personal("reason", "查看理由", "reason for reading it"),
        ),
        "查看一份签署文件",
        "a signed form was read",
    ),
    EvidenceKind(
        "consent.audited",
        (
            closed("records", "核对的授权条数", "grants checked", "1"),
            closed("findings", "发现的问题", "findings"),
        ),
        "核对授权登记与其摘要",
        "the consent records were checked against their digests",
    ),
    EvidenceKind(
        "consent.opted_out",
        (
            shared("root", "拒绝内容的加盐摘要 SM3", "salted SM3 of what was refused"),
            closed("event", "授权事件序号", "number of the consent event"),
            _SUBJECT,
            personal("what", "拒绝的内容：profiling 自动化营销，或联系渠道", "what was refused: profiling, or a channel"),
            _REASON,
            _RECOVERY,
        ),
        "客户拒绝自动化营销或一种联系渠道，立即生效",
        "a customer refused automated marketing or a channel of contact, effective at once",
    ),
    EvidenceKind(
        "consent.opted_in",
        (
            shared("root", "解除内容的加盐摘要 SM3", "salted SM3 of what was ended"),
            closed("event", "授权事件序号", "number of the consent event"),
            _SUBJECT,
            personal("what", "重新允许的内容", "what is allowed again"),
            closed("entries", "解除的条目", "entries ended", "1"),
            _REASON,
        ),
        "客户重新允许自动化营销或一种联系渠道",
        "a customer allowed automated marketing or a channel again",
    ),
    *changes.EVIDENCE_KINDS,
    *notices.EVIDENCE_KINDS,
    *receipts.EVIDENCE_KINDS,
    *capture.EVIDENCE_KINDS,
)

SETTINGS = (
    Setting(
        "consent.purposes",
        dict,
        {
            "wealth-marketing": ["财富管理营销", "wealth management marketing"],
            "investor-education": ["投资者教育", "investor education"],
            "customer-service": ["客户服务", "customer service"],
        },
        "",
        "用途代码及其中英文名称；未登记的用途一律拒绝",
        "purpose codes with their names in Chinese and English; any other purpose is refused",
    ),
    Setting(
        "consent.max_document_bytes",
        int,
        32 << 20,
        "B",
        "一份签署文件的上限",
        "largest signed form",
    ),
    Setting(
        "consent.max_bad_share",
        float,
        0.05,
        "1",
        "授权文件中不合格行超过此比例时整份不导入",
        "a consent file with a larger share of bad rows is not imported at all",
    ),
    Setting(
        "consent.methods",
        dict,
        {
            "paper": ["纸质签署", "signed on paper"],
            "esign": ["可靠电子签名", "reliable electronic signature"],
            "otp": ["短信验证码确认", "confirmed by a code in a text message"],
            "click": ["线上点选", "chosen online"],
            "voice": ["录音", "recorded voice"],
        },
        "",
        "签署方式代码及其中英文名称",
        "codes of how a form was signed, with names in Chinese and English",
    ),
    Setting(
        "consent.notice_required",
        bool,
        False,
        "",
        "导入的授权是否必须写明告知书版本；首个告知书发布后建议打开",
        "whether an imported consent must name the version of its notice; to be turned on once notices are published",
        production=True,
    ),
    Setting(
        "consent.backdating_required",
        bool,
        False,
        "",
        "授权文件中早于今天生效的行是否须有第二人批准的倒签",
        "whether rows of a consent file that begin before today need a backdating that a second person approved",
        production=True,
    ),
    Setting(
        "consent.representative_required",
        bool,
        False,
        "",
        "由监护人、代理人或近亲属签署的行是否必须写明代签人姓名和授权依据",
        "whether a row signed by a guardian, an agent or kin must name that person and the basis of authority",
        production=True,
    ),
    Setting(
        "consent.profiled_purposes",
        list,
        ["wealth-marketing"],
        "",
        "按个人特征挑选客户的用途：拒绝自动化营销的客户在其中不使用",
        "purposes for which customers are chosen by personal traits: who refused profiling is not used for them",
    ),
    *notices.SETTINGS,
    *receipts.SETTINGS,
    *capture.SETTINGS,
)
