"""Tables, kinds of evidence and settings of anchoring. Document: docs/protocols/anchor.md sections 1 to 4."""

from __future__ import annotations

from workbench.contracts import Migration, Setting
from workbench.domain.evidence import EvidenceKind, Field, shared

OWNER = "anchor"

MIGRATIONS = (
    Migration(
        OWNER,
        1,
        """
        -- Time stamps: the request as it was sent, the note it is about, the reply as it came. via: 'http' or 'file'.
        -- state: 'waiting', 'stamped' or 'given_up' (a newer note took its place).
        CREATE TABLE anchor_stamp (
            number    INTEGER PRIMARY KEY,
            size      INTEGER NOT NULL,
            note      TEXT NOT NULL,
            digest    BLOB NOT NULL,
            request   BLOB NOT NULL,
            nonce     INTEGER NOT NULL,
            policy    TEXT NOT NULL,
            via       TEXT NOT NULL,
            made_ms   INTEGER NOT NULL,
            state     TEXT NOT NULL,
            tries     INTEGER NOT NULL,
            next_ms   INTEGER NOT NULL,
            problem   TEXT NOT NULL,
            reply     BLOB NOT NULL,
            authority BLOB NOT NULL,
            time_ms   INTEGER NOT NULL,
            entry     INTEGER NOT NULL
        );
        -- Transactions to the chain. state: see section 3.3 of the document.
        CREATE TABLE anchor_transaction (
            number      INTEGER PRIMARY KEY,
            size        INTEGER NOT NULL,
            note        TEXT NOT NULL,
            digest      BLOB NOT NULL,
            chain_id    INTEGER NOT NULL,
            contract    BLOB NOT NULL,
            sender      BLOB NOT NULL,
            nonce       INTEGER NOT NULL,
            hash        BLOB NOT NULL,
            raw         BLOB NOT NULL,
            made_ms     INTEGER NOT NULL,
            state       TEXT NOT NULL,
            next_ms     INTEGER NOT NULL,
            problem     TEXT NOT NULL,
            block       INTEGER NOT NULL,
            block_hash  BLOB NOT NULL,
            time_ms     INTEGER NOT NULL,
            entry       INTEGER NOT NULL
        );
        -- Which entries of the own log anchoring itself wrote: they do not make the next anchor due.
        CREATE TABLE anchor_entry (idx INTEGER PRIMARY KEY);
        -- Contradictions between chain and logs, each kept and recorded once; over_ms: 0 while it lasts.
        CREATE TABLE anchor_finding (
            number   INTEGER PRIMARY KEY,
            log      TEXT NOT NULL,
            problem  TEXT NOT NULL,
            size     INTEGER NOT NULL,
            detail   TEXT NOT NULL,
            found_ms INTEGER NOT NULL,
            over_ms  INTEGER NOT NULL,
            UNIQUE (log, problem, size, detail)
        );
        """,
    ),
)
"""A released step is never changed, only followed."""


def _kind(name: str, zh: str, en: str, *fields: Field) -> EvidenceKind:
    return EvidenceKind(name, fields, zh, en)


_SIZE = shared("size", "所锚定检查点的条数", "entries of the anchored checkpoint", "entries")
_NOTE = shared("note_sha256", "所锚定检查点全文的 SHA-256", "SHA-256 of the anchored note")
_SIGNERS = shared("cosigners", "检查点上的共签机构", "institutions that had co-signed the note")
_WHAT = shared("what", "锚定方式：rfc3161 或 evm", "rfc3161 or evm")
_CHAIN = shared("chain_id", "链的编号", "id of the chain")
_CONTRACT = shared("contract", "锚定合约地址", "address of the contract")
_TRANSACTION = shared("transaction", "交易哈希", "hash of the transaction")
_BLOCK = shared("block", "区块高度", "number of the block")

KINDS = (
    _kind(
        "anchor.ordered", "有人要求立即锚定、取走一份离线请求或查看锚定账户", "somebody asked for an anchor now, took a request file or read the account",
        shared("what", "锚定方式：rfc3161、evm，或 account", "rfc3161, evm, or account"), _SIZE,
    ),
    _kind(
        "anchor.key_made", "生成了链上锚定账户，请登记方登记此地址", "an account for anchoring was made; the registrar registers it",
        shared("address", "账户地址", "address of the account"),
        shared("origin_id", "本日志在合约里的编号", "number of this log in the contract"),
    ),
    _kind(
        "anchor.stamped", "外部时间戳机构为检查点盖了时间戳，已核对", "an outside authority stamped a checkpoint; the token was verified",
        _SIZE, _NOTE, _SIGNERS,
        shared("time", "时间戳机构给出的时间（UTC）", "time by the authority, UTC"),
        shared("serial", "时间戳编号", "serial number of the token"),
        shared("policy", "时间戳政策", "policy of the token"),
        shared("signer_sha256", "钉住的签发证书指纹", "SHA-256 of the pinned certificate"),
        shared("reply_sha256", "时间戳回复的 SHA-256", "SHA-256 of the reply"),
    ),
    _kind(
        "anchor.anchored", "检查点已锚定到链上，达到确认数并逐字节读回核对", "a checkpoint stands on the chain, confirmed and read back byte for byte",
        _SIZE, _NOTE, _SIGNERS, _CHAIN, _CONTRACT, _TRANSACTION, _BLOCK,
        shared("block_hash", "区块哈希", "hash of the block"),
        shared("time", "区块时间（UTC）", "time of the block, UTC"),
        shared("confirmations", "要求的确认数", "confirmations demanded", "blocks"),
    ),
    _kind(
        "anchor.failed", "锚定没有成功；同一原因只记一次，直到成功", "an anchor failed; once for each reason until one succeeds",
        _WHAT, _SIZE, shared("code", "原因代码", "code of the reason"),
    ),
    _kind(
        "anchor.lost", "已锚定的检查点在链上不见了（链重组或换了旧数据）", "an anchored checkpoint is on the chain no more (reorganisation or older data)",
        _SIZE, _NOTE, _CHAIN, _CONTRACT, _TRANSACTION, _BLOCK,
    ),
    _kind(
        "anchor.conflict", "链上的内容与日志互相矛盾", "what the chain says and the log contradict each other",
        shared("origin", "涉及哪家机构的日志", "whose log"),
        shared("problem", "矛盾的种类", "kind of contradiction"),
        shared("size", "链上检查点的条数", "entries of the head on the chain", "entries"),
        _CHAIN, _CONTRACT,
        shared("detail", "链上所示内容的 SHA-256", "SHA-256 of what the chain shows"),
    ),
)  # fmt: skip

SETTINGS = (
    Setting("anchor.tsa_url", str, "", "", "RFC 3161 时间戳机构的地址；空为不启用", "address of the RFC 3161 authority; empty: off"),
    Setting("anchor.tsa_certificate", str, "tsa.pem", "", "钉住的时间戳证书文件，在机构目录下", "file of the pinned certificates, below the institution's folder"),
    Setting("anchor.tsa_policy", str, "", "", "要求的时间戳政策（对象标识符）；空为不限", "policy to demand (object identifier); empty: any"),
    Setting("anchor.chain_url", str, "", "", "监管链节点的地址；空为不启用", "address of a node of the regulator's chain; empty: off"),
    Setting("anchor.chain_id", int, 0, "", "链的编号，必须与节点所报一致", "id of the chain; must be what its node says"),
    Setting("anchor.chain_contract", str, "", "", "锚定合约地址（0x 与 40 位十六进制）", "address of the contract (0x and 40 hex digits)"),
    Setting("anchor.confirmations", int, 6, "blocks", "几个区块后视为已锚定", "depth at which an anchor counts"),
    Setting("anchor.largest_gas_price", int, 500_000_000_000, "wei", "愿付的最高单价", "highest gas price this node pays"),
    Setting("anchor.every_entries", int, 1000, "entries", "每多少条锚定一次", "anchor after this many entries"),
    Setting("anchor.every_minutes", int, 60, "min", "有新记录时至多隔多久锚定一次", "anchor new entries after at most this long"),
    Setting("anchor.timeout_s", int, 20, "s", "等待外部回答的最长时间", "longest wait for an outside answer"),
)  # fmt: skip
