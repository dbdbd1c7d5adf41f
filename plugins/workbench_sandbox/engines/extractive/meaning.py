"""Which field a question means when none of its words says so: by the embedder, against a few wordings of each field.

It decides only with a clear lead over the next field, and over what no template states; else the engine abstains.
"""

from __future__ import annotations

import numpy as np

from workbench_sandbox.corpus.types import Embedder
from workbench_sandbox.engines.contract import Stop
from workbench_sandbox.engines.extractive.vocabulary import NAMED

LEAD = 0.008
"""How far the nearest field must be ahead of the second, in cosine."""

_WORDINGS: dict[str, tuple[str, ...]] = {
    "management_fee": ("这只基金每年收多少管理费", "基金公司每年从里面拿走的报酬是几个点", "What does the fund charge for management each year"),
    "custody_fee": ("这只基金的托管费是多少", "托管银行保管资产每年收取的费率", "What does the bank charge for safekeeping the assets"),
    "sales_fee": ("这只基金的销售服务费是多少", "C类份额每年计提给销售渠道的费用", "What is the ongoing sales service fee"),
    "purchase_fee": ("买入这只基金要付多少申购费", "买的时候要扣百分之几的手续费", "What is the entry fee for buying the fund"),
    "redemption_fee": ("卖出这只基金要扣多少赎回费", "持有不足七天就退出要罚多少", "What is the exit fee for selling early"),
    "risk_class": ("这只基金的风险等级是几级", "这只基金风险高不高，安全吗", "How risky is the fund"),
    "manager": ("这只基金的基金经理是谁", "现在由谁负责投资和操盘", "Who manages the fund"),
    "management_company": ("这只基金是哪家基金公司的", "背后是哪家机构在管理发行", "Which company runs and issued the fund"),
    "custodian": ("这只基金托管在哪家银行", "基金的钱由哪家银行看管", "Which bank holds the assets of the fund"),
    "inception": ("这只基金什么时候成立的", "从哪一年开始运作，存在多久了", "When was the fund started"),
    "scale": ("这只基金规模有多大", "一共管理着多少亿资产", "How much money is in the fund"),
    "nav": ("这只基金现在一份多少钱", "最新单位净值是多少", "What is one unit of the fund worth now"),
    "minimum": ("最少要买多少钱这只基金", "多少钱起步就能买", "What is the least amount I can invest"),
    "benchmark": ("这只基金的业绩比较基准是什么", "业绩拿哪个指数来衡量", "Which index is the fund measured against"),
    "fund_type": ("这只基金是什么类型的", "What type of fund is it"),
    "settle_days": ("赎回这只基金几天到账", "卖出以后多久能拿到钱", "How long until the money arrives after selling"),
    "holding_days": ("这只基金最短要持有多少天", "买了以后多久不能卖", "How long is the lock-up period"),
    "open_rule": ("这只基金哪些日子可以买卖", "开放日怎么安排", "On which days can the fund be bought or sold"),
}
_OTHER = (
    "这只基金今年以来赚了多少", "这只基金重仓了哪些股票", "基金经理的学历、年龄和薪水", "基金公司的电话和地址", "这只基金以后会涨吗", "有多少人持有这只基金",
    "这只基金的夏普比率和最大回撤", "这只基金有没有被处罚过", "公司有多少员工", "这只基金在同类里排名第几", "这只基金的投资策略是什么", "这只基金跟大盘比谁强",
    "How did the fund perform", "Which stocks does the fund hold", "Should I buy the fund", "How many people hold the fund",
)  # fmt: skip


class Meaning:
    """The wordings as vectors, made when they are first needed. Cost: 20 ms each, about a second and a half once; a question 20 ms."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._pairs = [(field, text) for field, texts in _WORDINGS.items() for text in texts] + [("", text) for text in _OTHER]
        self._rows: list[np.ndarray] = []

    def field(self, masked: str, stop: Stop) -> str:
        """The field that a masked question means; "" where none is clearly ahead, or the tenant stopped meanwhile."""
        while len(self._rows) < len(self._pairs):
            if stop():
                return ""
            self._rows.append(self._embedder.query(self._pairs[len(self._rows)][1]))
        latin = sum(character.isascii() and character.isalpha() for character in masked)
        plain = masked.replace(NAMED, " the fund " if latin * 2 > len(masked) else "这只基金")
        likeness = np.stack(self._rows) @ self._embedder.query(" ".join(plain.split()))
        best: dict[str, float] = {}
        for (field, _), value in zip(self._pairs, likeness, strict=True):
            best[field] = max(best.get(field, -1.0), float(value))
        ordered = sorted(best.items(), key=lambda each: -each[1])
        return ordered[0][0] if ordered[0][1] - ordered[1][1] >= LEAD else ""
