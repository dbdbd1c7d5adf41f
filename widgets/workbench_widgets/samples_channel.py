"""Example data of the components that the page of the quantum channel uses; see samples."""

from __future__ import annotations

from typing import Any

from . import AttackSlider, Component, KeyLife, LineChart, LineDiagram, PoolGauge

Data = dict[str, Any]  # Any: the plain data of a component differs from one to the next


def channel_samples(at_ms: int) -> list[tuple[type[Component], str, Data]]:
    """(component, title, traits) of a line that is listened to, and of a quiet one."""
    minute = 60_000
    begin = at_ms - 60 * minute
    qber = [[begin + n * minute, 3.3 + (n % 5) * 0.12 if n < 41 else 8.0 - (n % 3) * 0.3] for n in range(54)]
    rate = [[begin + n * minute, 88.0 - (n % 4) * 1.5 if n < 41 else 0.0] for n in range(54)]
    line = {
        "left": {"name": "甲证券 机房 A", "rows": ["密钥管理 KME-A", "光源 100 MHz"]},
        "right": {"name": "丁云 机房 B", "rows": ["密钥管理 KME-B", "探测器"]},
        "quantum": {"label": "量子信道 20 km（模拟）", "state": "simulated"},
        "classical": {"label": "经典信道：已认证，公开可读", "state": "done"},
    }
    chart = {
        "heading": "过去一小时", "hint": "红底 = 报警", "start": float(begin), "stop": float(at_ms),
        "panels": [
            {
                "title": "误码率 QBER，%", "lines": [{"label": "7.4 %", "kind": "first", "points": qber}], "top": 12,
                "band": {"low": 2.9, "high": 3.7, "label": "基线 3.3 % ± 0.4"}, "bound": {"at": 11, "label": "11 % 上限"},
            },
            {"title": "成码率，kbit/s", "lines": [{"label": "0 kbit/s", "kind": "second", "points": rate}]},
        ],
        "spans": [{"start": begin + 41 * minute, "stop": at_ms - 7 * minute}],
        "marks": [{"at": begin + 41 * minute, "label": "打开窃听演示"}],
        "said": "误码率从 3.3 % 升到 7.4 %，成码率降到 0",
    }  # fmt: skip
    curve = {
        "heading": "发表的曲线与模拟的曲线", "timed": False, "across_label": "km",
        "panels": [
            {
                "title": "每脉冲密钥，bit", "log": True,
                "lines": [
                    {"label": "上界", "kind": "third", "points": [[0, 0.8], [50, 0.09], [100, 0.008], [140, 0.001]]},
                    {"label": "模型", "kind": "first", "points": [[0, 2.5e-3], [50, 2.2e-4], [100, 1.7e-5], [140, 2.5e-7]]},
                    {"label": "发表值", "kind": "points", "points": [[0, 2.55e-3], [100, 1.72e-5]]},
                ],
            }
        ],
    }  # fmt: skip
    pool = {
        "count": 1_184_000, "capacity": 2_000_000, "low_water": 200_000, "unit": "把可用",
        "rows": [{"label": "来源", "value": "全部为模拟", "state": "simulated"}, {"label": "到低水位", "value": "约 5 小时"}],
    }  # fmt: skip
    life = {
        "steps": [
            {"label": "入池", "count": 1_184_000, "told": "可以预留"}, {"label": "预留", "count": 12, "told": "本端已取"},
            {"label": "交付", "count": 9, "told": "对端已取"}, {"label": "用过", "count": 31_200, "told": "只用一次"},
        ],
        "exits": [{"label": "隔离", "count": 96, "told": "报警时的块"}, {"label": "吊销", "count": 0}],
    }  # fmt: skip
    attack = {
        "choices": [
            {"kind": "intercept-resend", "label": "截获重发", "told": "误码率会升高"},
            {"kind": "detector-blinding", "label": "探测器致盲", "told": "误码率看不到，诱骗态也看不到"},
        ],
        "kind": "intercept-resend", "share": 20, "warnings": ["低比例截获可被隐私放大吸收，不一定报警"],
    }  # fmt: skip
    return [
        (AttackSlider, "running", attack),
        (AttackSlider, "quiet", {**attack, "share": 0}),
        (LineDiagram, "listened to", {**line, "eavesdropper": {"name": "窃听者", "label": "被截获 20 %，重发"}}),
        (LineDiagram, "quiet", line),
        (LineChart, "an hour with an alarm", chart),
        (LineChart, "two curves and points", curve),
        (PoolGauge, "enough", pool),
        (PoolGauge, "low", {**pool, "count": 120_000}),
        (KeyLife, "all states", life),
    ]


__all__ = ["channel_samples"]
