"""Replies of asking as a node would give them, for pages without one."""

from __future__ import annotations

from typing import Any

from workbench_inference.asking.replies import (
    AskingDesk,
    AskStep,
    AskTold,
    CitedSource,
    RedactedTile,
    ScenarioOffered,
    SourceText,
    StatedField,
)

NOW_MS = 1_795_241_152_000
CITED = "管理费率每年 0.30 %"


def desk(**changes: Any) -> dict[str, Any]:
    """A desk at which a question can be asked."""
    offered = ScenarioOffered(
        scenario="advice", name_zh="投顾", name_en="Advice", version="v7", models=["extractive"], kinds=["fund", "news"], documents=1_012, documents_ms=NOW_MS - 60_000,
    )  # fmt: skip
    made = AskingDesk(
        scenarios=[offered], asked=41, quota=300, group="adviser", group_asked=612, group_quota=3_000, spent_fen=386, budget_fen=5_000, provider="telecom",
        lease="L-20261121-0091ab12", lease_state="RUNNING", pool="shared", cards=1, until_ms=NOW_MS + 23 * 60_000, began_ms=NOW_MS - 2_240_000, card_seconds=2_240,
        amount_fen=2_240, assurance="process", evidence="accepted", evidence_ms=NOW_MS - 5_000, missing=["no-swap"], image="5d" * 32, provenance="simulated",
        suite="SM2+MLKEM768", policy="hybrid-required", session="S-1", waiting=0, engine="extractive", engine_kind="extractive", place="inside", problem_code="",
        problem_zh="", problem_en="", now_ms=NOW_MS,
    )  # fmt: skip
    return dict(made.model_dump()) | changes


def answer(**changes: Any) -> dict[str, Any]:
    """An answered question with two citations."""
    question = "客户 姓名 1（手机 1）是 C3，想买 F0132。费率多少？"
    source = {"version": "2026-09-30", "kind": "fund", "source": "合成语料", "time_ms": NOW_MS - 86_400_000, "synthetic": True, "sm3": "5d" * 32, "matches": True}
    made = AskTold(
        ask="ask-" + "1f" * 16, state="ANSWERED", mine=True, scenario="advice", template="advice v7", model="extractive", lease="L-20261121-0091ab12", sandbox="sb-" + "0a" * 8,
        asked_ms=NOW_MS, ended_ms=NOW_MS + 1_300, question=question,
        tiles=[
            RedactedTile(kind="name", label_zh="姓名 1", label_en="Name 1", start=3, end=7),
            RedactedTile(kind="phone", label_zh="手机 1", label_en="Phone 1", start=8, end=12),
        ],
        text="F0132 管理费每年 0.30 %⟦1⟧，近一年最大回撤 −2.14 %⟦2⟧。",
        fields=[
            StatedField(name="management_fee", label_zh="管理费", label_en="Management fee", value="0.30", unit="%", cite=1),
            StatedField(name="scale", label_zh="规模", label_en="Scale", value="9", unit="亿元", cite=9),
        ],
        citations=[
            CitedSource(n=1, document="fund-0132", title="F0132 资料概要（合成）", start=1_204, end=1_204 + len(CITED), **source),
            CitedSource(n=2, document="quote-0132", title="F0132 净值（合成）", start=10, end=20, **source),
        ],
        dropped=0,
        steps=[
            AskStep(name="redacted", time_ms=NOW_MS, told={"count": "2"}), AskStep(name="evidence", time_ms=NOW_MS, told={"serial": "3"}),
            AskStep(name="key", time_ms=NOW_MS, told={"key_id": "88a1…", "provenance": "simulated"}), AskStep(name="sent", time_ms=NOW_MS, told={"bytes": "1912"}),
            AskStep(name="retrieved", time_ms=NOW_MS + 400, told={"ms": "41"}), AskStep(name="drafted", time_ms=NOW_MS + 500, told={"ms": "3"}),
            AskStep(name="grounded", time_ms=NOW_MS + 600, told={"ms": "1"}), AskStep(name="returned", time_ms=NOW_MS + 900, told={"citations": "2", "bytes": "1700"}),
            AskStep(name="judged", time_ms=NOW_MS + 1_000, told={}), AskStep(name="restored", time_ms=NOW_MS + 1_100, told={}),
            AskStep(name="metered", time_ms=NOW_MS + 1_300, told={"seconds": "2"}), AskStep(name="later", time_ms=NOW_MS + 1_300, told={"any": "1"}),
        ],
        engine="extractive", engine_kind="extractive", engine_version="1.2", place="inside", watermark="9f" * 8, tokens_in=700, tokens_out=142, card_ms=1_900, cost_fen=2,
        disclaimer_zh="只摘自所列文件，不承诺收益。", disclaimer_en="Taken from the listed documents only; no promise of return.", code="", rule="", zh="", en="", where="",
        entry="broker/186", seal="FINAL", rating="", rating_reason="",
    )  # fmt: skip
    return dict(made.model_dump()) | changes


def source(**changes: Any) -> dict[str, Any]:
    """The source of the first citation."""
    made = SourceText(
        document="fund-0132", version="2026-09-30", title="F0132 资料概要（合成）", source="合成语料", time_ms=NOW_MS - 86_400_000, synthetic=True, start=1_204,
        end=1_204 + len(CITED), before="……风险等级为 R2。", cited=CITED, after="，托管费率每年 0.08 %……", sm3="5d" * 32, matches=True,
    )  # fmt: skip
    return dict(made.model_dump()) | changes
