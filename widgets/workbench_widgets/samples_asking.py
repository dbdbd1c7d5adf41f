"""Example data of the components that the page of questions uses; see samples."""

from __future__ import annotations

from typing import Any

from . import ChatMessage, Component, SourcePanel

Data = dict[str, Any]  # Any: the plain data of a component differs from one to the next

_CITED = "管理费率每年 0.30 %"
_BEFORE = "……本基金为债券型，风险等级为 R2。"


def asking_samples(at_ms: int) -> list[tuple[type[Component], str, Data]]:
    """(component, title, traits) of a conversation in every state, and of a source that holds and one that does not."""
    question = "客户 姓名 1（手机 1）是 C3，想买 F0132。费率多少？"
    answered = {
        "id": "ask-1", "state": "answered", "question": question, "tiles": [{"start": 3, "end": 7}, {"start": 8, "end": 12}],
        "masked": "发出前遮盖 2 处，原文留在甲证券",
        "text": "F0132 管理费每年 0.30 %⟦1⟧，近一年最大回撤 −2.14 %⟦2⟧。\n它是 R2⟦1⟧，没有超过客户的 C3。",
        "citations": [{"n": 1, "title": "F0132 稳健债 A 产品资料概要"}, {"n": 2, "title": "F0132 净值序列"}],
        "fields": [{"label": "管理费", "value": "0.30 % / 年", "cite": 1}, {"label": "最大回撤", "value": "−2.14 %（2025-11-21 至 2026-11-20）", "cite": 2}],
        "dropped": 1, "label": "AI 生成", "disclaimer": "只摘自所列文件，不承诺收益，不代替适当性核查。",
        "facts": ["抽取式 1.2 · 不生成数字", "1.3 秒", "842 词元", "2 卡·秒 ¥0.02"], "seal": "sealed", "rating": "up", "can_rate": True,
    }  # fmt: skip
    refused = {
        "id": "ask-2", "state": "refused", "question": "明年能涨多少？", "sentence": "不能预测或承诺收益",
        "reason": "规则「投顾 v7 · 不承诺收益」拦下了这一问，没有送进模型，也不计费。可以改问：历史业绩、波动、费率、持仓。", "code": "NO_FORECAST",
        "facts": ["在甲证券本机判定"], "seal": "pending",
    }  # fmt: skip
    others = [
        {"id": "ask-3", "state": "abstained", "question": "F0999 谁管？", "sentence": "所给资料里没有这一项，没有作答", "reason": "可换资料范围再问", "seal": "sealed"},
        {"id": "ask-4", "state": "cut", "question": "债市公告汇总", "sentence": "丁云在作答中断开，未完成的文字已丢弃，不计费", "code": "SANDBOX_ENDED"},
        {"id": "ask-5", "state": "streaming", "question": "F0087 换基金经理了吗", "text": "根据 2026-10-12 的公告⟦1⟧", "citations": [{"n": 1, "title": "F0087 公告"}]},
    ]
    source = {
        "n": 1, "title": "F0132 稳健债 A 产品资料概要", "version": "2026-09-30", "before": _BEFORE, "cited": _CITED, "after": "，托管费率每年 0.08 %……",
        "start": 1_204, "end": 1_204 + len(_CITED), "digest": {"algorithm": "SM3", "hex": "5d0e83b1" + "0" * 54 + "7f"}, "matches": True, "origin": "资料概要",
        "synthetic": True, "time_ms": at_ms - 52 * 86_400_000, "next": 2,
    }  # fmt: skip
    steps = [
        {"time_ms": at_ms, "told": "遮盖姓名 1 处、手机 1 处"}, {"time_ms": at_ms, "told": "核对沙箱证据（镜像、权重、控制项）"},
        {"time_ms": at_ms + 1_000, "told": "沙箱内检索 1,012 份，引用 2 份"}, {"time_ms": at_ms + 2_000, "told": "还原姓名，记用量 2 卡·秒"},
    ]  # fmt: skip
    return [
        (ChatMessage, "answered and refused", {"turns": [answered, refused], "chosen": {"id": "ask-1", "n": 1}}),
        (ChatMessage, "abstained, cut off, streaming", {"turns": others}),
        (SourcePanel, "a citation that holds", {"source": source, "steps": steps}),
        (SourcePanel, "a citation that does not", {"source": {**source, "matches": False}}),
    ]
