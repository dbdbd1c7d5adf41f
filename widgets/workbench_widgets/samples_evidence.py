"""Samples of the components of the evidence explorer: the proof path and the graph of a job."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

Data = dict[str, Any]
AT_MS = 1_795_241_152_000


def signed_text(proof: Data, sm3_root: str) -> str:
    """The text of a checkpoint that states both roots, as a C2SP checkpoint with an extension line."""
    roots = [base64.b64encode(bytes.fromhex(one)).decode() for one in (proof["root"], sm3_root)]
    return f"workbench.example/demo/broker\n{proof['size']}\n{roots[0]}\nsm3 {roots[1]}\n"


def with_both_roots(proof: Data) -> Data:
    """A proof with its signed text and values for the other tree; these stand in for SM3 in a sample."""
    path = [hashlib.sha256(b"other" + bytes.fromhex(one)).hexdigest() for one in proof["path"]]
    leaf = hashlib.sha256(b"other leaf").hexdigest()
    hashes, now = [], leaf
    for sibling in path:
        now = hashlib.sha256(bytes.fromhex(now) + bytes.fromhex(sibling)).hexdigest()
        hashes.append(now)
    root = hashes[-1] if hashes else leaf
    return {**proof, "sm3": {"leaf": leaf, "path": path, "hashes": hashes, "root": root}, "text": signed_text(proof, root)}


def graph_stages(*, gap: bool = False, changed: bool = False) -> list[Data]:
    """The stages of a job of two institutions; gap: the bank lacks records; changed: one record of the broker was edited."""
    both = {"from": "broker", "to": "bank", "state": "sealed"}
    back = {"from": "bank", "to": "broker", "state": "sealed"}
    lonely = {"state": "pending", "missing": "bank", "missing_count": 2} if gap else {}
    return [
        {"key": "consent", "label": "授权", "acts": [
            {"party": "broker", "text": "授权筛选 20,000 → 3,668", "state": "sealed", "id": "broker/181"},
            {"party": "bank", "text": "授权筛选（只登记摘要）", "state": "sealed", "id": "bank/97"},
        ], "flows": []},
        {"key": "agreement", "label": "约定", "acts": [
            {"party": "broker", "text": "提议求交", "state": "sealed", "id": "broker/178"},
            {"party": "bank", "text": "批准约定", "state": "sealed", "id": "bank/95"},
        ], "flows": [
            {**both, "text": "提议", "count": 1, "id": "broker/179"}, {**back, "text": "批准", "count": 1, "id": "broker/180"},
        ]},
        {"key": "exchange", "label": "比对", "acts": [], "flows": [
            {**both, "text": "遮蔽后的标识", "count": 16, "id": "broker/185", **lonely},
            {**back, "text": "再次遮蔽并排序", "count": 16, "id": "broker/203"},
            {**both, "text": "公开命中人数", "count": 1, "id": "broker/224", **({"state": "tampered"} if changed else {})},
        ]},
        {"key": "reveal", "label": "揭示", "acts": [], "flows": [{**both, "text": "揭示切片", "count": 64, "id": "broker/230"}]},
        {"key": "result", "label": "结果", "acts": [
            {"party": "broker", "text": "放行 1,128 位", "state": "sealed", "id": "broker/300"},
            {"party": "bank", "text": "放行（人数只登记摘要）", "state": "sealed", "id": "bank/244"},
            {"party": "broker", "text": "导出 200 位", "state": "pending", "id": "broker/311"},
        ], "flows": []},
    ]  # fmt: skip
