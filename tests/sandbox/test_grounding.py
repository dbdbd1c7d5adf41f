"""Numbers in any spelling, and sentences that say only what a source says."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench_sandbox.engines.grounding import cited, keep_grounded
from workbench_sandbox.engines.quantities import carries, scan, values

SOURCE = (
    "基金代码：000123。管理费率：1.20%/年。基金经理：张明远。基金托管人：中和银行股份有限公司。"
    "截至2026年3月31日，基金规模为12.50亿元，份额1,180,000,000份。2026年6月10日单位净值1.0532元，日涨跌幅-0.35%。风险等级R3。"
)
TITLE = "星河稳健债券型证券投资基金A"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("１２．５亿元", "1,250,000,000元"), ("12.50亿", "12.5亿"), ("1.20%", "百分之一点二"), ("１．２％", "1.2%"),
        ("2026年3月31日", "2026-03-31"), ("2026/3/31", "March 31, 2026"), ("31 Mar 2026", "20260331"),
        ("二〇二六年三月三十一日", "2026.3.31"), ("一千二百万份", "1200万份"), ("三成", "30%"), ("25bp", "0.25个百分点"),
        ("1.5 million", "150万"), ("十二亿元", "12亿元"), ("一点五万亿", "1.5万亿"), ("2026年3月", "2026-03"),
    ],
)  # fmt: skip
def test_one_value_in_two_spellings_is_one_value(one: str, other: str) -> None:
    assert values(one) == values(other) != set()


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.2%", "1.2"), ("1.2%", "1.2个百分点"), ("12万", "12亿"), ("-1.2%", "1.2%"), ("为-1.2%", "为1.2%"), ("2026年3月31日", "2026年3月30日"),
     ("3.31", "3月31日"), ("000123", "123"), ("1.2", "1.20001")],
)  # fmt: skip
def test_different_values_are_different(one: str, other: str) -> None:
    assert values(one).isdisjoint(values(other))


def test_a_date_is_carried_by_one_that_says_more_and_not_by_one_that_says_less() -> None:
    whole, part = values("2026年3月31日"), values("2026年3月")
    assert carries(whole, scan("3月31日")[0]) and carries(whole, scan("2026年")[0]) and carries(whole, scan("2026-03")[0])
    assert not carries(part, scan("2026年3月31日")[0])


@pytest.mark.parametrize("text", ["一般而言", "统一安排", "第一", "万一", "千方百计", "进一步", "", "净值"])
def test_numerals_in_plain_words_are_no_numbers(text: str) -> None:
    assert not scan(text)


@settings(max_examples=80)
@given(st.text(alphabet="0123456789.,-%年月日万亿 一二十百点R/元A", max_size=40))
def test_whatever_is_scanned_lies_in_order_within_the_text(text: str) -> None:
    found = scan(text)
    assert all(0 <= each.start < each.end <= len(text) for each in found)
    assert all(first.end <= second.start for first, second in zip(found, found[1:], strict=False))


@settings(max_examples=60)
@given(st.decimals(min_value=0, max_value=10**7, places=4))
def test_a_number_means_the_same_with_separators_full_width_and_in_wan(value: Decimal) -> None:
    plain = f"{value:f}"
    wide = plain.translate(str.maketrans("0123456789.", "０１２３４５６７８９．"))
    wan = f"{value / 10000:f}万"
    if not plain.startswith("0") or plain.startswith("0."):
        assert values(plain) == values(wide) == values(f"{value:,f}") == values(wan)


@pytest.mark.parametrize(
    "sentence",
    [
        "管理费率为1.2%[1]。", "规模为1,250,000,000元[1]。", "基金经理是张明远。", "托管人是中和银行股份有限公司[1]。",
        "截至3月31日，规模为12.5亿元。", "代码000123。", "风险等级为R3。", "星河稳健债券型证券投资基金A的管理费率为百分之一点二。",
        "日涨跌幅为-0.35%。",
    ],
)  # fmt: skip
def test_what_a_source_says_is_kept(sentence: str) -> None:
    assert cited([(TITLE, SOURCE)], "管理费率是多少").reason(sentence) == ""


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("管理费率为1.3%。", "number"), ("管理费率为1.20。", "number"), ("规模为12.5万元。", "number"), ("日涨跌幅为0.35%。", "number"),
        ("截至2026年3月30日，规模为12.50亿元。", "number"), ("共有两只基金。", "number"), ("代码000124。", "number"),
        ("累计净值为1.0532元，增长了二十三个百分点。", "number"), ("风险等级为R4。", "number"),
        ("基金经理是李小明。", "name"), ("托管人是工商银行。", "name"), ("华夏成长混合的管理费率为1.20%。", "name"),
        ("《海天策略》的管理费率为1.20%。", "name"), ("The fund of Galaxy charges 1.20%.", "name"),
        ("该基金深受海外机构投资者追捧。", "no-source"),
    ],
)  # fmt: skip
def test_what_no_source_says_is_dropped_with_its_reason(sentence: str, reason: str) -> None:
    assert cited([(TITLE, SOURCE)], "管理费率是多少").reason(sentence) == reason


def test_a_draft_keeps_its_good_sentences_as_they_stood() -> None:
    draft = "管理费率为1.20%[1]。基金经理是李小明。托管费率为9.99%。风险等级为R3[1]。"
    kept, dropped = keep_grounded(draft, cited([(TITLE, SOURCE)], "费率"))
    assert kept == "管理费率为1.20%[1]。风险等级为R3[1]。"
    assert sum(dropped.values()) == 2 and dropped["number"] == 1


@settings(max_examples=60)
@given(st.integers(0, 10**9), st.sampled_from(["", "%", "万", "亿元", "个百分点"]))
def test_no_number_passes_that_the_source_does_not_have(number: int, unit: str) -> None:
    sentence = f"规模为{number}{unit}。"
    grounding = cited([(TITLE, SOURCE)], "规模")
    passes = not grounding.missing_number(sentence)
    assert passes == bool(values(f"{number}{unit}") & values(SOURCE))
