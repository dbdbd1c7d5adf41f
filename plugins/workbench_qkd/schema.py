"""Tables, kinds of evidence and settings of the quantum channel. Document: docs/quantum-channel.md."""

from __future__ import annotations

from workbench.channel.terms import DEFAULT_SUITES
from workbench.contracts import Migration, Setting
from workbench.domain.evidence import EvidenceKind, closed, shared

OWNER = "qkd"
LINK_GROUP = "curveSM2MLKEM768"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        -- What the people of this site decided that a line demands. second: '' when it became stricter (one person's act).
        CREATE TABLE qkd_policy (
            line       TEXT PRIMARY KEY,
            policy     TEXT NOT NULL,
            since_ms   INTEGER NOT NULL,
            first      TEXT NOT NULL DEFAULT '',
            second     TEXT NOT NULL DEFAULT '',
            reason     TEXT NOT NULL DEFAULT ''
        );
        -- What one person asks for and another decides: a weaker policy, or a line that makes keys again.
        CREATE TABLE qkd_proposal (
            proposal   TEXT PRIMARY KEY,
            line       TEXT NOT NULL,
            act        TEXT NOT NULL,
            target     TEXT NOT NULL,
            before     TEXT NOT NULL,
            reason     TEXT NOT NULL,
            asked_ms   INTEGER NOT NULL,
            asked_by   TEXT NOT NULL,
            until_ms   INTEGER NOT NULL,
            state      TEXT NOT NULL,
            decided_ms INTEGER NOT NULL DEFAULT 0,
            decided_by TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX qkd_proposal_state ON qkd_proposal (state, line);
        -- How far events, blocks and alarms of a key-management entity have become evidence; another entity starts anew.
        CREATE TABLE qkd_followed (
            source     TEXT PRIMARY KEY,
            last       INTEGER NOT NULL,
            at_ms      INTEGER NOT NULL
        );
        -- Alarms that stand, by number, until their end is evidence.
        CREATE TABLE qkd_alarm (
            source     TEXT NOT NULL,
            number     INTEGER NOT NULL,
            PRIMARY KEY (source, number)
        );
        -- Lines that an alarm stopped: no session starts on them until two people resume.
        CREATE TABLE qkd_held (
            line       TEXT PRIMARY KEY,
            since_ms   INTEGER NOT NULL,
            cause      TEXT NOT NULL,
            block      INTEGER NOT NULL
        );
        -- What became of keys since the last entry that counts it; from_ms: when counting began.
        CREATE TABLE qkd_tally (
            line       TEXT NOT NULL,
            what       TEXT NOT NULL,
            number     INTEGER NOT NULL,
            from_ms    INTEGER NOT NULL,
            PRIMARY KEY (line, what)
        );
        -- Sessions that took a key of a line, or were refused one. key_id: never a value.
        CREATE TABLE qkd_session (
            session    TEXT PRIMARY KEY,
            line       TEXT NOT NULL,
            what       TEXT NOT NULL,
            policy     TEXT NOT NULL,
            state      TEXT NOT NULL,
            key_id     TEXT NOT NULL DEFAULT '',
            provenance TEXT NOT NULL DEFAULT '',
            suite      TEXT NOT NULL DEFAULT '',
            opened_ms  INTEGER NOT NULL,
            ended_ms   INTEGER NOT NULL DEFAULT 0,
            records    INTEGER NOT NULL DEFAULT 0,
            code       TEXT NOT NULL DEFAULT ''
        );
        CREATE INDEX qkd_session_line ON qkd_session (line, opened_ms);
        """,
    ),
    Migration(
        OWNER,
        2,
        """
        -- Key of a renewal that is being agreed: whoever revokes it ends the session before it comes to use the key.
        ALTER TABLE qkd_session ADD COLUMN next_key_id TEXT NOT NULL DEFAULT '';
        """,
    ),
    Migration(
        OWNER,
        3,
        """
        -- What the link of a session was found to be when it began; '' for sessions without one of their own.
        ALTER TABLE qkd_session ADD COLUMN link_version TEXT NOT NULL DEFAULT '';
        ALTER TABLE qkd_session ADD COLUMN link_group TEXT NOT NULL DEFAULT '';
        ALTER TABLE qkd_session ADD COLUMN link_suite TEXT NOT NULL DEFAULT '';
        ALTER TABLE qkd_session ADD COLUMN link_fingerprint TEXT NOT NULL DEFAULT '';
        """,
    ),
    Migration(
        OWNER,
        4,
        """
        -- What people decided, signed by the institution, one after the other (docs/protocols/qkd-channel.md section 9).
        CREATE TABLE qkd_decision (
            number     INTEGER PRIMARY KEY,
            line       TEXT NOT NULL,
            act        TEXT NOT NULL,
            body       BLOB NOT NULL
        );
        CREATE INDEX qkd_decision_line ON qkd_decision (line, act, number);
        -- What was asked for, signed; '' for a proposal of before, which has to be made anew.
        ALTER TABLE qkd_proposal ADD COLUMN request BLOB NOT NULL DEFAULT x'';
        -- Revocations of after an older copy, until the key-management entity was told them once more. keys: ids; block: -1 for none.
        CREATE TABLE qkd_revoke_again (
            entry      INTEGER PRIMARY KEY,
            line       TEXT NOT NULL,
            keys       TEXT NOT NULL,
            block      INTEGER NOT NULL,
            is_all     INTEGER NOT NULL
        );
        """,
    ),
    Migration(
        OWNER,
        5,
        """
        -- What was seen of a line in an hour (its number since 1970 UTC): times, blocks, rates in bit/s, requests for keys.
        CREATE TABLE qkd_quality (
            line            TEXT NOT NULL,
            hour            INTEGER NOT NULL,
            covered_ms      INTEGER NOT NULL,
            available_ms    INTEGER NOT NULL,
            until_ms        INTEGER NOT NULL,
            blocks          INTEGER NOT NULL,
            failed_blocks   INTEGER NOT NULL,
            keys            INTEGER NOT NULL,
            rated           INTEGER NOT NULL,
            sum_bps         REAL NOT NULL,
            least_bps       REAL NOT NULL,
            requests        INTEGER NOT NULL,
            failed_requests INTEGER NOT NULL,
            PRIMARY KEY (line, hour)
        ) WITHOUT ROWID;
        -- Time of that hour in which no key could be had, by cause; times: how often it began.
        CREATE TABLE qkd_quality_down (
            line       TEXT NOT NULL,
            hour       INTEGER NOT NULL,
            cause      TEXT NOT NULL,
            ms         INTEGER NOT NULL,
            from_ms    INTEGER NOT NULL,
            until_ms   INTEGER NOT NULL,
            times      INTEGER NOT NULL,
            PRIMARY KEY (line, hour, cause)
        ) WITHOUT ROWID;
        -- How long requests for keys took, counted in steps of a quarter of a doubling.
        CREATE TABLE qkd_quality_latency (
            line       TEXT NOT NULL,
            hour       INTEGER NOT NULL,
            step       INTEGER NOT NULL,
            number     INTEGER NOT NULL,
            PRIMARY KEY (line, hour, step)
        ) WITHOUT ROWID;
        """,
    ),
    Migration(
        OWNER,
        6,
        """
        -- Tag of the tenant whose line a session took its key of; '' for a line without one.
        ALTER TABLE qkd_session ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
        """,
    ),
)
"""A released step is never changed, only followed."""


_LINE = shared("line", "线路", "line")
_POLICY = shared("policy", "策略", "policy")
_BEFORE = shared("before", "原策略", "policy before")
_REASON = closed("reason", "理由", "reason")
_PROPOSAL = shared("proposal", "提议编号", "number of the proposal")
_RECOVERY = shared("recovery", "本机构恢复旧副本时所需，已加密", "what this institution needs after a restore, sealed")
_REQUEST = shared("request", "提议原文与签名", "what was asked for, signed")
_DECISION = shared("decision", "决定原文与签名", "the decision, signed")
_FIRST = closed("first", "提出人", "who asked")
_PROVENANCE = shared("provenance", "密钥来源", "origin of the keys")
_QBER = shared("qber", "误码率", "QBER", "1e-6")
_CAUSE = shared("cause", "原因", "cause")
_SESSION = closed("session", "会话", "session")
_TENANT = shared("tenant", "租户标记", "tag of the tenant")
_KEY_ID = closed("key_id", "密钥编号", "id of the key")
_FROM = closed("from_ms", "起", "from", "ms")
_UNTIL = closed("until_ms", "止", "until", "ms")

EVIDENCE_KINDS = (
    EvidenceKind(
        "qkd.block_distilled",
        (
            _LINE, shared("block", "块", "block"), _PROVENANCE, _QBER, closed("sifted", "筛后比特", "sifted bits", "bit"),
            closed("leak_bits", "纠错泄漏", "bits leaked by error correction", "bit"), closed("key_bits", "密钥比特", "key bits", "bit"),
            shared("keys", "密钥数", "keys", "1"),
        ),
        "一个块成码入池", "a block became keys",
    ),
    EvidenceKind(
        "qkd.block_aborted", (_LINE, shared("block", "块", "block"), _PROVENANCE, _QBER, _CAUSE), "一个块被放弃或隔离", "a block was given up or quarantined"
    ),
    EvidenceKind(
        "qkd.alarm_raised",
        (_LINE, _CAUSE, shared("value", "读数", "reading", "1e-6"), shared("limit", "界限", "limit", "1e-6"), shared("block", "块", "block")),
        "线路报警", "an alarm on a line",
    ),
    EvidenceKind("qkd.alarm_cleared", (_LINE, _CAUSE), "线路报警解除", "the alarm on a line is over"),
    EvidenceKind(
        "qkd.keys_counted",
        (
            _LINE, _FROM, _UNTIL, shared("reserved", "预留", "reserved", "1"), shared("delivered", "交付", "delivered", "1"),
            shared("consumed", "用过", "consumed", "1"), shared("destroyed", "销毁", "destroyed", "1"), shared("expired", "过期", "expired", "1"),
            shared("revoked", "吊销", "revoked", "1"), shared("quarantined", "隔离", "quarantined", "1"),
        ),
        "一段时间内密钥的去向", "what became of keys over a while",
    ),
    EvidenceKind("qkd.pool_low", (_LINE, shared("stored", "可用密钥", "keys left", "1"), shared("low_water", "低水位", "low-water mark", "1")), "密钥低于低水位", "keys are below the low-water mark"),
    EvidenceKind(
        "qkd.told", (_LINE, shared("event", "事件", "event"), closed("facts", "内容", "facts")),
        "密钥管理实体报告的其他事件", "another event that the key-management entity told of",
    ),
    EvidenceKind("qkd.self_test_failed", (closed("tests", "不过的项", "tests that failed"),), "自检不过，设备停用", "a self-test failed, the device is disabled"),
    EvidenceKind("qkd.policy_tightened", (_LINE, _POLICY, _BEFORE, _REASON, _DECISION), "线路策略收紧", "the policy of a line was made stricter"),
    EvidenceKind(
        "qkd.downgrade_proposed", (_PROPOSAL, _LINE, _POLICY, _BEFORE, _REASON, shared("until", "有效至", "until", "ms"), _REQUEST),
        "提议降低线路策略", "a weaker policy of a line was proposed",
    ),
    EvidenceKind(
        "qkd.downgraded", (_PROPOSAL, _LINE, _POLICY, _BEFORE, _FIRST, closed("second", "确认人", "who confirmed"), _REASON, _DECISION),
        "第二人确认降低线路策略", "a second person confirmed a weaker policy of a line",
    ),
    EvidenceKind("qkd.resume_proposed", (_PROPOSAL, _LINE, _REASON, shared("until", "有效至", "until", "ms"), _REQUEST), "提议恢复成码", "it was proposed to make keys again"),
    EvidenceKind("qkd.resumed", (_PROPOSAL, _LINE, _FIRST, closed("second", "确认人", "who confirmed"), _REASON, _DECISION), "第二人确认恢复成码", "a second person let a line make keys again"),
    EvidenceKind("qkd.proposal_declined", (_PROPOSAL, _LINE, _REASON), "提议被拒绝", "a proposal was declined"),
    EvidenceKind("qkd.revoked", (_LINE, shared("keys", "密钥数", "keys", "1"), closed("what", "范围", "what"), _REASON, _RECOVERY), "吊销密钥", "keys were revoked"),
    EvidenceKind("qkd.rekeyed", (_LINE, shared("keys", "密钥数", "keys", "1"), shared("sessions", "会话数", "sessions", "1"), _REASON), "会话换钥", "sessions changed their keys"),
    EvidenceKind(
        "qkd.initial_secret_put", (_LINE, shared("check", "校验值", "check value"), _REASON),
        "线路换入新的初始秘密", "a new initial secret of a line was put in",
    ),
    EvidenceKind(
        "qkd.device_added",
        (shared("device", "设备", "device"), shared("backend", "类型", "kind"), shared("kek", "密钥加密密钥编号", "id of its key-encryption key"), _REASON),
        "在线加入密钥设备", "a key device was added while the entity ran",
    ),
    EvidenceKind(
        "qkd.device_drained", (shared("device", "设备", "device"), shared("values", "转出的密钥数", "values moved", "1"), _REASON),
        "密钥转出后撤出密钥设备", "a key device was taken away after its values had moved",
    ),
    EvidenceKind("qkd.leak_reported", (_LINE, _KEY_ID, shared("uses", "保护过的会话", "sessions it protected", "1")), "查询一把密钥保护过什么", "it was asked what a key protected"),
    EvidenceKind(
        "qkd.eavesdropper_set", (_LINE, shared("fraction", "截获比例", "fraction intercepted", "1e-6"), shared("attack", "手法", "attack")),
        "窃听演示开关", "the eavesdropper of the demonstration was set",
    ),
    EvidenceKind(
        "qkd.self_tested",
        (
            shared("tests", "项数", "tests", "1"), shared("failed", "不过", "failed", "1"), shared("cause", "缘由", "cause"),
            shared("vectors", "答案版本", "version of the answers"), shared("at", "时间", "time", "ms"),
        ),
        "自检", "self-test",
    ),
    EvidenceKind(
        "qkd.check_reported",
        (
            shared("at", "自检时间", "time of the check", "ms"), shared("passed", "通过", "passed", "1"), shared("tests", "项数", "tests", "1"),
            shared("failed", "不过", "failed", "1"), shared("vectors", "答案版本", "version of the answers"), shared("digest", "报告的 SM3", "SM3 of the report"),
        ),
        "出具密码设备检查报告", "a check report of the key device was made",
    ),
    EvidenceKind("qkd.session_opened", (_LINE, _TENANT, _SESSION, _POLICY, _KEY_ID, _PROVENANCE), "会话取得密钥", "a session got its key"),
    EvidenceKind("qkd.session_refused", (_LINE, _TENANT, _POLICY, shared("code", "代码", "code"), shared("missing", "缺", "missing", "1")), "会话被拒绝，没有改用其他密钥", "a session was refused; no other key was used"),
    EvidenceKind(
        "qkd.session_renewed", (_LINE, _TENANT, _SESSION, shared("epoch", "期次", "epoch"), _POLICY, _KEY_ID, _PROVENANCE), "会话换用新密钥", "a session took a new key"
    ),
    EvidenceKind(
        "qkd.session_linked",
        (
            _LINE, _SESSION, shared("version", "TLS 版本", "version of TLS"), shared("group", "密钥交换组", "group of the key exchange"),
            shared("suite", "套件", "suite"), shared("fingerprint", "对端证书指纹", "fingerprint of the other end's certificate"),
        ),
        "会话所走的加密链路", "the encrypted link of a session",
    ),
    EvidenceKind(
        "qkd.line_passed_over", (_LINE, shared("taken", "改用的线路", "line taken instead"), _SESSION, _CAUSE),
        "会话没有走这条线路，改走同一机构的另一条", "a session did not take this line but another to the same institution",
    ),
    EvidenceKind(
        "qkd.session_used",
        (
            _LINE, _TENANT, shared("partner", "对方机构", "partner"), shared("attempt", "尝试", "attempt"), _SESSION, shared("epoch", "期次", "epoch"), _POLICY,
            _KEY_ID, _PROVENANCE,
        ),
        "一次求交的消息走这个会话与密钥", "messages of a job travelled under this session and key",
    ),
    EvidenceKind(
        "qkd.frame_refused",
        (
            _LINE, _SESSION, shared("partner", "对方机构", "partner"), shared("code", "代码", "code"),
            shared("count", "本次运行以来拒收数", "refused of this partner in this run", "1"),
        ),
        "会话中有密文帧或链路记录被改动、重放或来路不明，已拒收", "a frame or record in a session was altered, repeated or from elsewhere, and refused",
    ),
    EvidenceKind(
        "qkd.frames_missing",
        (_LINE, _SESSION, shared("partner", "对方机构", "partner"), shared("count", "本次运行以来缺失数", "missing of this partner in this run", "1")),
        "会话中有密文帧发出而未到，序号有缺口", "frames of a session were sent and never came: a gap in the sequence",
    ),
    EvidenceKind("qkd.session_ended", (_LINE, _SESSION, _CAUSE), "会话结束", "a session ended"),
)  # fmt: skip

SETTINGS = (
    Setting(
        "qkd.kme", dict, {}, "",
        "本站点密钥管理实体：{\"folder\": 站点目录} 或 address、kme、authority、certificate、key（docs/quantum-channel.md 第 4 节）；空为没有",
        "this site's key-management entity: {\"folder\": folder of the site}, or address, kme, authority, certificate, key (docs/quantum-channel.md section 4); empty for none",
    ),
    Setting(
        "qkd.required_origins", list, ["device-014"], "",
        "策略 qkd-required 下算数的密钥来源；加入 simulated 只为演示，模拟密钥不保护任何东西",
        "origins of keys that count under qkd-required; simulated is for demonstrations only, such keys protect nothing",
    ),
    Setting("qkd.proposal_hours", int, 24, "h", "降级与恢复的提议等待第二人的时限", "how long a weaker policy or a resumption waits for the second person"),
    Setting(
        "qkd.rehearsals_an_hour", int, 30, "1",
        "每小时应答一个伙伴多少次演练会话；每次用去线路的一把密钥，0 为不应答", "how many rehearsed sessions of a partner are answered within an hour; each takes a key of the line, 0 for none",
    ),
    Setting("qkd.follow_s", float, 2.0, "s", "向密钥管理实体取事件的间隔", "pause between questions to the key-management entity"),
    Setting("qkd.channel_renew_s", int, 1800, "s", "通道 qkd 的会话多久换一次密钥，最长 3600", "how long a session of the channel qkd keeps its key, 3600 at most"),
    Setting("qkd.channel_renew_bytes", int, 1 << 30, "B", "通道 qkd 的会话加密多少字节后换密钥，最多 64 GiB", "after how many bytes a session of the channel qkd takes a new key, 64 GiB at most"),
    Setting(
        "qkd.link_group", str, LINK_GROUP, "",
        "通道 qkd 的链路加密用哪个密钥交换组：curveSM2MLKEM768（套件 TLS_SM4_GCM_SM3）或 X25519MLKEM768（TLS_AES_256_GCM_SHA384）。双方一致；密码库没有它时节点不启动，不改用其他算法。启动时读取",
        "group of the key exchange of links of the channel qkd: curveSM2MLKEM768 (suite TLS_SM4_GCM_SM3) or X25519MLKEM768 (TLS_AES_256_GCM_SHA384). The same at both"
        " ends; a node whose library lacks it does not start, and nothing else is used. Read at start",
    ),
    Setting(
        "qkd.suites", list, list(DEFAULT_SUITES), "",
        "本机构允许的会话套件，最想用的在前；发起方的次序算数。frame.md 第 3 节：默认 SM4-GCM，x25519-mlkem768-sm3-aes256gcm 为 AES-256-GCM。双方没有共同的则没有会话。启动时读取",
        "suites of sessions that this institution allows, most wanted first; the caller's order counts. frame.md section 3: SM4-GCM unless stated,"
        " x25519-mlkem768-sm3-aes256gcm is AES-256-GCM. Ends without a common one have no session. Read at start",
    ),
    Setting(
        "qkd.objective_availability", float, 99.5, "%", "服务目标：取得到密钥的时间占比；0 为不设", "objective of service: share of the time in which a key can be had; 0 for none"
    ),
    Setting(
        "qkd.objective_latency_ms", float, 50.0, "ms", "服务目标：本节点取密钥的第 95 百分位时延；0 为不设", "objective of service: 95th percentile of this node's requests for keys; 0 for none"
    ),
    Setting("qkd.objective_rate_bps", float, 1000.0, "bit/s", "服务目标：平均成码率；0 为不设", "objective of service: mean key rate; 0 for none"),
    Setting("qkd.count_minutes", int, 10, "min", "把密钥去向的计数写成一条证据的间隔", "pause between entries that count what became of keys"),
)  # fmt: skip
