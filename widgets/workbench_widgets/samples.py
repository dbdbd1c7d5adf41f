"""Example data for the gallery and the tests: every component in every state.

All institutions, people and numbers are invented. The figures of one intersection (20,000 to 1,128) run through all
components, so the pictures can be compared with one another.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, NamedTuple

from . import (
    AnswerStrip,
    Badge,
    Component,
    DataTable,
    FieldDiff,
    JobGraph,
    KeyNumbers,
    Lanes,
    MonthBars,
    NodeHealth,
    PhaseList,
    ProgressCancel,
    ProofChain,
    ProofPath,
    ReceiptCard,
    RejectsTable,
    RuleBuilder,
    StateChip,
    Stepper,
    TwoPersonAction,
    Venn,
    Waterfall,
)
from .badge import CHIP_STATES, ORIGINS
from .samples_asking import asking_samples
from .samples_channel import channel_samples
from .samples_evidence import graph_stages, with_both_roots
from .samples_leasing import leasing_samples

AT_MS = 1_795_241_152_000  # 2026-11-21 14:05:52 in Asia/Shanghai
BROKER = {"party": "broker", "tile": "甲", "name": "甲证券", "mine": True}
BANK = {"party": "bank", "tile": "乙", "name": "乙银行"}
CARDNET = {"party": "cardnet", "tile": "丙", "name": "丙卡组织"}
CLOUD = {"party": "cloud", "tile": "丁", "name": "丁云（算力）"}

Data = dict[str, Any]  # Any: the plain data of a component differs from one to the next

REFUSED: Data = {
    "sentence": "人群过小，未揭示：命中不足 50 人。双方都没有看到任何一位",
    "todo": "营销岗可放宽受众后重新提议",
    "code": "REFUSED_SMALL",
}
FAILED: Data = {
    "sentence": "乙银行 120 秒没有回应，J-…0042 已在揭示之前中止，双方都没有名单",
    "todo": "甲证券运维联系乙银行，恢复后点「重新运行」（同一约定，新的密文）",
    "code": "PEER_SILENT",
    "actions": [{"name": "retry", "label": "重新运行"}],
}
TAMPERED: Data = {
    "sentence": "本机副本不能采信：第 48,187 条「命中人数」共签时 1,131，现为 1,181",
    "todo": "甲证券运维从镜像恢复，合规复核",
    "code": "BODY_CHANGED",
}

WATERFALL_ROWS: list[Data] = [
    {"label": "导入名单", "kept": 20_000, "removed": 0},
    {"label": "标签规则", "kept": 7_412, "removed": 12_588},
    {"label": "适当性 R3", "kept": 6_105, "removed": 1_307},
    {
        "label": "授权 甲→乙",
        "kept": 3_684,
        "removed": 2_421,
        "open": True,
        "reasons": [
            {"label": "无授权", "count": 1_902, "code": "NO_GRANT"},
            {"label": "已到期", "count": 371, "code": "EXPIRED"},
            {"label": "用途不符", "count": 96, "code": "WRONG_PURPOSE"},
            {"label": "接收方不符", "count": 38, "code": "WRONG_RECIPIENT"},
            {"label": "已撤回", "count": 14, "code": "WITHDRAWN"},
        ],
    },
    {
        "label": "免打扰 / 抑制",
        "kept": 3_668,
        "removed": 16,
        "reasons": [{"label": "抑制名单", "count": 16, "code": "SUPPRESSED"}],
    },
    {"label": "对方未命中", "kept": 1_131, "removed": 2_537},
    {
        "label": "放行前复核",
        "kept": 1_128,
        "removed": 3,
        "reasons": [{"label": "选择之后撤回", "count": 3, "code": "WITHDRAWN"}],
    },
]

PHASES: list[Data] = [
    {"name": "承诺名单", "state": "done", "mine": {"done": 412_806, "total": 412_806}, "theirs": {"done": 1_203_200, "total": 1_203_200}, "seconds": 4, "record": "sealed"},
    {"name": "第一次加密", "state": "done", "mine": {"done": 412_806, "total": 412_806}, "theirs": {"done": 1_203_200, "total": 1_203_200}, "seconds": 31, "record": "sealed"},
    {"name": "比对密文", "state": "running", "mine": {"done": 412_806, "total": 412_806}, "theirs": {"done": 745_472, "total": 1_203_200}, "seconds": 114, "record": "pending", "note": "对方密文由我方再加密一次并打乱。密文里看不出是谁。"},
    {"name": "只数人数", "state": "waiting", "learn": "双方只得到一个数：命中几人"},
    {"name": "双方签署人数", "state": "waiting", "learn": "少于 50 人：到此为止，谁也看不到名单"},
    {"name": "揭示名单", "state": "waiting", "learn": "双方同时得到同一份名单"},
    {"name": "双向授权复核", "state": "waiting", "learn": "甲→丙、丙→甲 任一方向无授权即去掉"},
    {"name": "封存与共签", "state": "waiting", "learn": "甲、乙、丙 三家共签，收据可离线核对"},
]  # fmt: skip

_TALK = (
    (130, "act", "broker", None, "提出求交约定"),
    (182, "message", "bank", "broker", "批准约定（业务 02）"),
    (183, "message", "broker", "bank", "双方签署约定"),
    (251, "act", "broker", None, "授权筛选 20,000 → 3,668"),
    (254, "act", "bank", None, "授权筛选（只登记摘要）"),
    (260, "message", "broker", "bank", "承诺名单"),
    (261, "message", "bank", "broker", "承诺名单"),
    (266, "message", "broker", "bank", "密文 1 块"),
    (280, "message", "bank", "broker", "再加密并打乱 1 块"),
    (281, "message", "broker", "bank", "双方签署命中人数"),
    (289, "message", "bank", "broker", "揭示"),
    (290, "message", "broker", "bank", "双向授权复核 −3"),
    (291, "message", "broker", "bank", "结果摘要一致"),
    (292, "act", "broker", None, "放行 1,128"),
    (511, "checkpoint", None, None, "检查点 48,213 · 三家共签 14:09:31"),
)


def lane_rows(*, changed: int | None = None) -> list[Data]:
    """The entries of one intersection; the one at index ``changed`` is marked as tampered."""
    rows = []
    for number, (offset_s, kind, source, target, text) in enumerate(_TALK):
        index = 48_178 + number if kind != "checkpoint" else 48_213
        row: Data = {
            "index": index,
            "time_ms": AT_MS + (offset_s - 292) * 1000,
            "kind": kind,
            "text": text,
            "state": "tampered" if index == changed else "sealed",
        }
        if source:
            row["from"] = source
        if target:
            row["to"] = target
        rows.append(row)
    return rows


def many_lane_rows(count: int) -> list[Data]:
    """A long log: ``count`` entries, every fiftieth a checkpoint, the last twenty pending."""
    parties = ("broker", "bank", "cardnet")
    rows = []
    for index in range(count):
        row: Data = {
            "index": index,
            "time_ms": AT_MS + index * 700,
            "state": "pending" if index >= count - 20 else "sealed",
        }
        if index % 50 == 49:
            row |= {"kind": "checkpoint", "text": f"检查点 {index:,} · 三家共签"}
        elif index % 3 == 0:
            row |= {"kind": "act", "text": f"登记摘要 {index:,}", "from": parties[index % 2]}
        else:
            row |= {
                "kind": "message",
                "text": f"密文第 {index:,} 块",
                "from": parties[index % 3],
                "to": parties[(index + 1) % 3],
            }
        rows.append(row)
    return rows


class Tree(NamedTuple):
    """A proof and what it was made of."""

    proof: Data
    body: bytes


def sample_proof(*, index: int = 187, size: int = 213, changed: bool = False) -> Tree:
    """A true inclusion proof over ``size`` small leaves (RFC 9162, section 2.1.3); ``changed`` alters the body shown."""
    leaves = [b'{"kind":"intersection.step","n":%d}' % number for number in range(size)]
    leaves[index] = '{"field":"命中人数","job":"J-20261121-0042","kind":"intersection.counted","value":"1131"}'.encode()
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]
    leaf_hash = level[index].hex()
    path: list[str] = []
    at = index
    while len(level) > 1:
        sibling = at ^ 1
        if sibling < len(level):
            path.append(level[sibling].hex())
        pairs = [hashlib.sha256(b"\1" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = pairs + ([level[-1]] if len(level) % 2 else [])
        at //= 2
    body = leaves[index].replace(b"1131", b"1181") if changed else leaves[index]
    proof: Data = {
        "body_base64": base64.b64encode(body).decode(),
        "index": index,
        "size": size,
        "path": path,
        "root": level[0].hex(),
        "leaf_hash": leaf_hash,
    }
    return Tree(proof, body)


SIGNATURES: list[Data] = [
    {**party, "verdict": "valid", "algorithm": "SM2 与 Ed25519"} for party in (BROKER, BANK, CARDNET)
]
TIMED: list[Data] = [
    {**party, "verdict": "valid", "time_ms": AT_MS + 1000 * number} for number, party in enumerate(list[Data]((BROKER, BANK, CARDNET)))
]
ANCHORS: list[Data] = [
    {"label": "时间戳 RFC 3161", "word": "已确认", "state": "sealed", "time_ms": AT_MS + 60_000},
    {"label": "监管链", "word": "等待确认", "state": "pending"},
]
RECEIPT: Data = {
    "id": "R-20261121-0042",
    "checkpoint": 48_213,
    "sealed_ms": AT_MS + 219_000,
    "cosigners": [{**party, "verdict": "valid"} for party in (BROKER, BANK, CARDNET)],
    "required": 2,
    "roots": [{"algorithm": "SHA-256", "hex": "b41d90e7" + "0" * 52 + "5c2a"}, {"algorithm": "SM3", "hex": "7c02f6a8" + "0" * 52 + "91de"}],
    "command": "workbench verify R-20261121-0042.json",
}  # fmt: skip
DIFF_ROWS: list[Data] = [
    {"field": "任务", "here": "J-20261121-0042", "cosigned": "J-20261121-0042", "verdict": "same"},
    {"field": "命中人数", "here": 1_181, "cosigned": 1_131, "kind": "count", "verdict": "differs", "explain": "双方各自数出的人数，一致后签署；达到下限才可揭示名单。"},
    {"field": "最少人数", "here": 50, "cosigned": 50, "kind": "count", "verdict": "same", "explain": "低于这个数，谁也看不到名单。"},
    {"field": "签署", "here": "甲、乙", "cosigned": "甲、乙", "verdict": "same"},
    {"field": "名单大小", "here": None, "cosigned": None, "verdict": "hidden"},
    {"field": "时间", "here": AT_MS - 11_000, "cosigned": AT_MS - 11_000, "kind": "clock", "verdict": "same"},
]  # fmt: skip
TABLE_COLUMNS: list[Data] = [
    {"key": "token", "label": "客户代号", "kind": "token"},
    {"key": "phone", "label": "手机号", "kind": "masked"},
    {"key": "risk", "label": "风险等级"},
    {"key": "until", "label": "甲→乙 授权至", "kind": "date"},
    {"key": "back", "label": "乙→甲 授权", "kind": "check"},
]


def table_rows(count: int = 57) -> list[Data]:
    """Masked customers, five from the picture and then counted on."""
    first = [("C-7F3A-91", "199****0317", "C4"), ("C-80B2-4D", "198****5520", "C3"), ("C-81C9-07", "199****8846", "C5"), ("C-8A10-E3", "166****2093", "C3"), ("C-8D47-5A", "199****7161", "C4")]  # fmt: skip
    more = [
        (f"C-{0x8D48 + n * 37:04X}-{n % 256:02X}", f"199****{(n * 7919) % 10_000:04}", f"C{3 + n % 3}")
        for n in range(max(0, count - 5))
    ]
    return [
        {
            "id": token,
            "token": token,
            "phone": phone,
            "risk": risk,
            "until": AT_MS + (n + 9) * 86_400_000,
            "back": {"ok": True, "label": "凭证已核"},
        }
        for n, (token, phone, risk) in enumerate([*first, *more][:count])
    ]


REJECTS: list[Data] = [
    {"line": 3_204, "column": "身份证号", "masked": "3.1E+17", "reason": "Excel 改成了科学计数，末几位已丢失", "fix": "把该列设为文本后重新导出"},
    {"line": 3_377, "column": "手机号", "masked": "199****03", "reason": "只有 9 位", "fix": "补全 11 位"},
    {"line": 5_018, "column": "身份证号", "masked": "3101**********1231", "reason": "校验码不对", "fix": "与客户核对证件"},
]  # fmt: skip
NODES: list[Data] = [
    {**BROKER, "state": "ok"},
    {**BANK, "state": "ok"},
    {**CARDNET, "state": "away", "seen_ms": AT_MS - 222_000, "remark": "联系人：丙卡组织 运维", "openable": True},
    {**CLOUD, "state": "degraded", "remark": "时钟差 3 秒"},
]
ASK: Data = {"name": "运维 01", "role": "运维岗", "tile": "甲", "party_name": "甲证券", "mine": True, "at_ms": AT_MS}
COLUMNS: list[Data] = [
    {"name": "资产档", "kind": "choice", "values": ["A", "B", "C", "D"]},
    {"name": "risk_level", "label": "风险等级", "kind": "ordered", "values": ["C1", "C2", "C3", "C4", "C5"]},
    {"name": "城市", "kind": "text"},
    {"name": "持仓市值", "kind": "number"},
]
RULE_TREE: Data = {
    "join": "and",
    "items": [
        {"column": "资产档", "op": "in", "values": ["A", "B"]},
        {"column": "risk_level", "op": ">=", "values": ["C3"]},
        {
            "join": "or",
            "items": [
                {"column": "城市", "op": "in", "values": ["上海", "New York"]},
                {"column": "持仓市值", "op": ">=", "values": ["50000"]},
            ],
        },
    ],
}


class Sample(NamedTuple):
    """One component in one state: its class, a title, and its traits."""

    component: type[Component]
    title: str
    traits: Data


def samples() -> list[Sample]:
    """Every component in every state that has its own look."""
    shown = [*_answers(), *_runs(), *_results(), *_evidence(), *_tables(), *_people(), *(Sample(*one) for one in (*channel_samples(AT_MS), *asking_samples(AT_MS), *leasing_samples(AT_MS)))]
    stock: dict[type[Component], Data] = {}
    for sample in shown:
        stock.setdefault(sample.component, sample.traits)
    for component, traits in stock.items():
        if component in (AnswerStrip, StateChip, Badge):
            continue
        heading = {"heading": "标题"} if component in (Stepper, KeyNumbers) else {}
        base = {key: value for key, value in traits.items() if key not in ("state", "notice")}
        shown += [
            Sample(component, "loading", base | {"state": "loading"}),
            Sample(
                component,
                "empty",
                heading
                | {
                    "state": "empty",
                    "notice": {"actions": [{"name": "import", "label": "导入名单"}]} if component is Waterfall else {},
                },
            ),
            Sample(component, "refused", heading | {"state": "refused", "notice": REFUSED}),
            Sample(component, "failed", base | {"state": "failed", "notice": FAILED, "as_of_ms": AT_MS}),
            Sample(component, "tampered", base | {"state": "tampered", "notice": TAMPERED}),
        ]
    return sorted(shown, key=lambda sample: list(stock).index(sample.component))


def _answers() -> list[Sample]:
    two = [
        {"name": "export", "label": "导出小样 200 位", "primary": True, "icon": "down"},
        {"name": "receipt", "label": "取回收据"},
    ]
    return [
        Sample(AnswerStrip, "sealed", {"state": "sealed", "sentence": "1,128 位客户可用：双方都认得，此刻都有授权", "reason": "双方签署的命中人数 1,131，高于下限 50；放行前复核去掉其间撤回授权的 3 位；14 条记录已由三家共签封存。", "actions": two}),
        Sample(AnswerStrip, "pending", {"state": "pending", "sentence": "待封存：还差丙卡组织共签，通常 30 秒内", "reason": "没有共签之前不能导出。", "actions": [{"name": "receipt", "label": "取回收据", "disabled": True}]}),
        Sample(AnswerStrip, "refused", {"state": "refused", "sentence": "人群过小，未揭示：命中不足 50 人", "reason": "双方都没有看到任何一位。", "todo": "营销岗可放宽受众后重新提议。", "code": "REFUSED_SMALL", "actions": [{"name": "new", "label": "放宽受众"}]}),
        Sample(AnswerStrip, "failed", {"state": "failed", "sentence": "乙银行 120 秒没有回应，已在揭示之前中止", "reason": "J-…0042：双方都没有名单。", "todo": "甲证券运维联系乙银行，恢复后点「重新运行」（同一约定，新的密文）。", "code": "PEER_SILENT", "actions": [{"name": "again", "label": "重新运行", "primary": True}]}),
        Sample(AnswerStrip, "tampered", {"state": "tampered", "sentence": "本机副本不能采信：1 条记录被改过", "reason": "第 48,187 条「双方签署命中人数」：共签时是 1,131，甲证券本机库里现在是 1,181。乙银行、丙卡组织的副本仍与共签一致。", "todo": "甲证券运维从镜像恢复，甲证券合规复核，两人都签才恢复放行。本机导出已自动停止。", "actions": [{"name": "keep", "label": "保全现场并导出证据包", "primary": True, "icon": "lock"}, {"name": "restore", "label": "申请恢复"}]}),
        Sample(AnswerStrip, "running", {"state": "running", "sentence": "第 3 步，共 8 步：正在比对密文 62 %，约还需 1 分 10 秒", "reason": "此刻双方都看不到任何一位客户。下一步只揭示人数；少于 50 人，本次求交到此为止。", "actions": [{"name": "cancel", "label": "取消求交", "icon": "cross"}], "badge": {"label": "演示中"}}),
        Sample(AnswerStrip, "info", {"state": "info", "sentence": "今天有 3 件要你处理，最急的一件 16:00 到期", "actions": [{"name": "go", "label": "去处理最急的一件", "primary": True}]}),
        Sample(AnswerStrip, "loading", {"state": "loading"}),
    ]  # fmt: skip


def _runs() -> list[Sample]:
    steps = ["名单", "质量", "受众与授权", "伙伴与条款", "运行", "结果"]
    run = {
        "phase": "第 3 步，共 8 步：正在比对密文",
        "done": 745_472,
        "total": 1_203_200,
        "remaining_s": 64.2,
        "goes": "结果不会产生",
        "stays": "已有 17 条记录保留",
        "cancel_label": "取消求交",
    }
    running = {
        "rows": PHASES,
        "mine": BROKER,
        "theirs": CARDNET,
        "heading": "八个阶段",
        "hint": "每个阶段先留记录，再往下走",
    }
    stopped = [*PHASES[:2], {**PHASES[2], "state": "failed", "note": "丙卡组织 120 秒没有回应"}, *PHASES[3:]]
    return [
        Sample(Stepper, "running", {"steps": steps, "current": 4, "locked_before": 4}),
        Sample(Stepper, "refused step", {"steps": steps, "current": 4, "locked_before": 4, "stopped": "refused"}),
        Sample(Stepper, "all done", {"steps": steps, "current": 6, "locked_before": 6}),
        Sample(PhaseList, "running", running),
        Sample(PhaseList, "stopped", {**running, "rows": stopped}),
        Sample(ProgressCancel, "running", run),
        Sample(ProgressCancel, "length unknown", {**run, "total": 0, "done": 0, "remaining_s": None}),
        Sample(ProgressCancel, "cancelling", {**run, "cancelling": True}),
        Sample(ProgressCancel, "cannot cancel yet", {**run, "cancelling": True, "cannot_cancel": "揭示到一半，须等本片写完才能停，约 3 秒"}),
    ]  # fmt: skip


def _results() -> list[Sample]:
    venn = {
        "mine": {"tile": "甲", "name": "甲证券", "mine": True, "count": 3_668},
        "partner": {"tile": "乙", "name": "乙银行", "bucket": 8_448},
        "released": 1_128,
        "dropped": 3,
        "caption": "双方得到同一份名单，结果摘要一致。各自没有命中的客户，对方不知道是谁。",
    }
    return [
        Sample(Waterfall, "done", {"rows": WATERFALL_ROWS, "heading": "从 20,000 到 1,128：每一步为什么少"}),
        Sample(Venn, "done", venn),
        Sample(Venn, "nothing dropped", {**venn, "dropped": 0, "released": 1_131}),
        Sample(KeyNumbers, "audit", {"items": [{"value": 48_213, "label": "条已核对"}, {"value": 48_212, "label": "一致", "state": "sealed"}, {"value": 1, "label": "被改", "state": "tampered"}, {"value": 2, "label": "待封存（不在核对范围）", "state": "pending"}, {"value": "unknown", "label": "对方其余客户"}], "remark": "核对了正文，不只核对哈希"}),
        Sample(KeyNumbers, "large", {"large": True, "items": [{"value": 1_184_000, "label": "可用密钥", "unit": "把"}, {"value": "8.0 %", "label": "误码率", "state": "tampered"}, {"value": "¥22.40", "label": "今天用量"}, {"value": None, "label": "还没有数"}]}),
    ]  # fmt: skip


def _evidence() -> list[Sample]:
    lanes = {
        "lanes": [BROKER, BANK, CARDNET],
        "rows": lane_rows(changed=48_187),
        "hint": "15 条 · 点任一条看全文与证明",
        "selected": 48_181,
    }
    whole, altered = sample_proof(), sample_proof(changed=True)
    lost = {**whole.proof, "path": whole.proof["path"][:-1]}
    degraded = [*RECEIPT["cosigners"][:2], {**CARDNET, "verdict": "missing"}]
    forged = [*RECEIPT["cosigners"][:2], {**CARDNET, "verdict": "invalid"}]
    return [
        Sample(Lanes, "done", lanes),
        Sample(Lanes, "1,000 entries", {**lanes, "rows": many_lane_rows(1000), "height": 320, "hint": "", "selected": None}),
        Sample(ProofChain, "changed body", {"proof": altered.proof, "signatures": SIGNATURES, "required": 2, "remark": "树根与三家签名都有效，所以共签过的内容没有变；变的是甲证券本机这条正文。"}),
        Sample(ProofChain, "agrees", {"proof": whole.proof, "signatures": SIGNATURES, "required": 2}),
        Sample(ProofChain, "path cut, one signature missing", {"proof": lost, "signatures": [*SIGNATURES[:1], {**BANK, "verdict": "missing"}, {**CARDNET, "verdict": "missing"}], "required": 2}),
        Sample(ProofPath, "agrees", {"proof": with_both_roots(whole.proof), "signatures": TIMED, "required": 2, "no_anchor": "外部锚定：未配置"}),
        Sample(ProofPath, "changed body", {"proof": with_both_roots(altered.proof), "signatures": TIMED, "required": 2}),
        Sample(ProofPath, "pending", {"proof": whole.proof, "signatures": [TIMED[0], {**BANK, "verdict": "missing"}, {**CARDNET, "verdict": "missing"}], "required": 2, "anchors": ANCHORS}),
        Sample(JobGraph, "all agree", {"lanes": [BROKER, BANK, CARDNET], "stages": graph_stages()}),
        Sample(JobGraph, "gap and changed", {"lanes": [BROKER, BANK, CARDNET], "stages": graph_stages(gap=True, changed=True), "selected": "broker/224"}),
        Sample(FieldDiff, "one differs", {"rows": DIFF_ROWS, "heading": "第 48,187 条 · 双方签署命中人数", "here_label": "甲证券本机", "cosigned_label": "乙、丙 副本"}),
        Sample(ReceiptCard, "sealed", {"receipt": RECEIPT}),
        Sample(ReceiptCard, "degraded", {"receipt": {**RECEIPT, "cosigners": degraded}}),
        Sample(ReceiptCard, "forged", {"receipt": {**RECEIPT, "cosigners": forged}}),
    ]  # fmt: skip


def _tables() -> list[Sample]:
    table = {
        "columns": TABLE_COLUMNS,
        "rows": table_rows(),
        "page_size": 5,
        "heading": "目标名单",
        "hint": "1,128 行 · 看明文须填理由，查看会留痕",
        "openable": True,
    }
    mixed = {
        "heading": "往来消息",
        "columns": [
            {"key": "at", "label": "时间", "kind": "clock"},
            {"key": "way", "label": "方向"},
            {"key": "what", "label": "内容"},
            {"key": "size", "label": "大小", "kind": "size"},
            {"key": "digest", "label": "摘要", "kind": "digest"},
            {"key": "state", "label": "记录", "kind": "state"},
        ],
        "rows": [
            {
                "at": AT_MS,
                "way": "甲 → 丙",
                "what": "再加密 第 91 / 147 块",
                "size": 262_144,
                "digest": {"algorithm": "SM3", "hex": "e19a04c7" + "0" * 54 + "b2"},
                "state": "pending",
            },
            {
                "at": AT_MS - 1_000,
                "way": "检查点",
                "what": "高度 9,044，三家共签",
                "size": None,
                "digest": {"algorithm": "SM3", "hex": "7f20c4d9" + "0" * 54 + "e8"},
                "state": "sealed",
            },
        ],
    }
    return [
        Sample(DataTable, "masked list", table),
        Sample(DataTable, "messages", mixed),
        Sample(DataTable, "server-paged", {**table, "rows": table_rows(5), "total": 1_128, "page": 3}),
        Sample(RejectsTable, "some rejected", {"rows": REJECTS, "accepted": 19_214, "rejected": 786}),
        Sample(RejectsTable, "nothing imported", {"rows": REJECTS, "accepted": 0, "rejected": 3}),
        Sample(MonthBars, "twelve months", {"heading": "授权到期：理财营销 → 乙银行", "unit": "位客户", "bars": [
            {"label": f"{month} 月", "count": count, "soon": month < 4, "title": f"2027 年 {month} 月：{count} 位"}
            for month, count in enumerate((371, 902, 133, 0, 2_410, 1_118, 640, 88, 1_502, 3_077, 260, 2_530), 1)
        ]}),
    ]  # fmt: skip


def _people() -> list[Sample]:
    action = {
        "asked_by": ASK,
        "confirm_role": "合规岗",
        "changes": ["从乙银行镜像恢复第 48,187 条", "恢复甲证券本机导出"],
        "expires_ms": AT_MS + 7_200_000,
        "now_ms": AT_MS + 4_320_000,
    }
    rule = {
        "columns": COLUMNS,
        "tree": RULE_TREE,
        "rule": "资产档 in (A,B) and risk_level >= C3",
        "verdict": {"state": "done", "sentence": "7,412 位符合，导入名单 20,000 位"},
    }
    return [
        *(Sample(StateChip, kind, {"kind": kind}) for kind in CHIP_STATES),
        *(Sample(Badge, kind, {"kind": kind, "since_ms": AT_MS, "decided_by": "甲证券 管理员 01"}) for kind in ORIGINS),
        Sample(NodeHealth, "one away", {"nodes": NODES}),
        Sample(TwoPersonAction, "confirmer", {**action, "viewer": "confirmer", "confirm_label": "确认恢复", "decline_label": "拒绝恢复"}),
        Sample(TwoPersonAction, "asker", {**action, "viewer": "asker"}),
        Sample(TwoPersonAction, "declined", {**action, "viewer": "reader", "outcome": "declined"}),
        Sample(TwoPersonAction, "expired", {**action, "viewer": "confirmer", "now_ms": AT_MS + 9_000_000}),
        Sample(RuleBuilder, "sentences", rule),
        Sample(RuleBuilder, "free text, wrong", {**rule, "free": True, "rule": "资产档 in (A,B and risk_level >= C3", "verdict": {"state": "failed", "sentence": "第 13 个字符处少一个右括号"}}),
    ]  # fmt: skip
