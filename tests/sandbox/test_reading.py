"""Fields read from the wording of documents that came without any."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.documents import document, ms
from workbench_inference.documents import synthetic
from workbench_sandbox.corpus.text import fold
from workbench_sandbox.engines.extractive.facts import Fact, facts_of


def _facts(text: str, *, kind: str = "fund", title: str = "") -> dict[str, Fact]:
    return {fact.field: fact for fact in facts_of(document("d", text, kind=kind, title=title or "资料"))}


@pytest.mark.parametrize(
    ("text", "field", "value", "unit"),
    [
        ("管理费率：1.20%/年", "management_fee", "1.20", "%"), ("| 年管理费 | ０．６０％ |", "management_fee", "０．６０", "%"),
        ("名称,风险等级,规模(亿元)\n远山成长混合型证券投资基金,R4,12.5", "scale", "12.5", "亿元"), ("基金托管费\n0.2%\n", "custody_fee", "0.2", "%"),
        ("成立日期    2020-05-06", "inception", "2020-05-06", ""), ("规模 : 349,000,000.00元", "scale", "349,000,000.00", "元"),
        ("基　金　经　理 | 陈知微", "manager", "陈知微", ""), ("本基金由欧阳明担任基金经理。", "manager", "欧阳明", ""),
        ("基金财产由海棠银行股份有限公司托管。", "custodian", "海棠银行股份有限公司", ""), ("H＝E×0.60%÷当年天数，H为每日应计提的管理费", "management_fee", "0.60", "%"),
        ("收盘：5030.64\n涨跌幅：-1.23%", "change", "-1.23", "%"), ("An annual management fee of 1.50% is charged", "management_fee", "1.50", "%"),
    ],
)  # fmt: skip
def test_a_label_or_sentence_states_its_value(text: str, field: str, value: str, unit: str) -> None:
    fact = _facts(text)[field]
    assert (fact.value, fact.unit) == (value, unit)


@pytest.mark.parametrize(
    "text", ["管理费将于近期调整。", "基金经理：", "托管费率待定", "风险等级见招募说明书", "成立日期：另行公告", "管理费|说明\n详见合同|无"]
)
def test_a_label_without_a_value_of_its_kind_states_nothing(text: str) -> None:
    assert not {"management_fee", "custody_fee", "manager", "risk_class", "inception"} & set(_facts(text))


@pytest.mark.parametrize(
    ("text", "field", "old", "new"),
    [
        ("自2026年6月20日起，本基金的管理费年费率由1.20%调低至0.96%。", "management_fee", "1.20", "0.96"),
        ("决定将托管费率下调为0.10%（原0.20%），自2026-05-24起实施。", "custody_fee", "0.20", "0.10"),
        ("| | 调整前 | 调整后 |\n|---|---|---|\n| 管理费率 | 1.00% | 0.60% |\n生效日期：2026年5月15日", "management_fee", "1.00", "0.60"),
        ("销售机构自2026年5月3日起将本产品按R3（中风险）管理，此前为R2。", "risk_class", "R2", "R3（中风险）"),
        ("赎回款项的到账时间由T+7日调整为T+2日，2026年5月8日起执行。", "settle_days", "T+7日", "T+2日"),
        ("增聘卓鹤汀为本基金基金经理，欧阳令仪同日离任，变更自2026年5月5日生效。", "manager", "欧阳令仪", "卓鹤汀"),
    ],
)  # fmt: skip
def test_an_announcement_states_what_was_and_what_is(text: str, field: str, old: str, new: str) -> None:
    facts = _facts(text, kind="news", title="远山成长混合：变更公告")
    assert (facts[f"old_{field}"].value, facts[field].value) == (old, new)
    assert facts[field].since != facts[field].document.time_ms and "effective_date" in facts


def test_a_corrected_value_is_the_right_one_of_its_day() -> None:
    facts = _facts("更正：2026年1月9日基金份额净值应为1.6346元（误披露为1.6386元）。", kind="news", title="净值更正公告")
    assert (facts["nav"].value, facts["nav"].day) == ("1.6346", (2026, 1, 9)) and facts["wrong_nav"].value == "1.6386"


def test_news_about_a_product_state_nothing_of_it() -> None:
    text = "远山成长混合型证券投资基金（610002）的管理费率：2.00%，基金经理：李四。"
    for title in ("远山旗下产品观察", "调整费率公告点评", "本周公告速览（合成）"):
        assert not {"management_fee", "manager"} & set(_facts(text, kind="news", title=title))
    assert "management_fee" in _facts(text, kind="news", title="关于调整费率的公告（合成）")


@settings(max_examples=60)
@given(st.lists(st.sampled_from([
    "管理费率", "托管费", "：", "1.20%", "|", "\n", "　", "由", "调整为", "0.6%", "基金经理", "张明远", "风险等级", "R3", "（中风险）", "T+2", "净值", "1.0532", "元",
    "2026年5月8日", "自", "起", "，", "。", "规模", "12亿", "名称", "星河债券型证券投资基金", "\t", ",", "原", "-0.5%", "收于", "3114.68", "涨跌幅", "𠮷", "①",
]), max_size=30).map("".join))  # fmt: skip
def test_every_value_that_is_read_stands_at_its_place(text: str) -> None:
    for kind, title in (("fund", "资料"), ("news", "公告"), ("quote", "行情")):
        each = document("d", text, kind=kind, title=title)
        for fact in facts_of(each):
            assert each.text[fact.start : fact.end] == fact.value != ""


def test_what_is_read_of_plain_texts_is_what_the_corpus_says() -> None:
    """Texts of the synthetic corpus without their fields: nearly everything is found again, and hardly anything is wrong."""
    corpus = synthetic.make(5, funds=60, notices=60, news=0, quotes=20, prompts=0, questions=0, series=0)
    right = wrong = missed = 0
    for each in corpus.documents:
        read = {fact.field: fact.value for fact in facts_of(replace(each, fields={})) if fact.day is None or "@" not in fact.field}
        for name in ("management_fee", "custody_fee", "redemption_fee", "manager", "custodian", "inception", "minimum", "fund_code", "benchmark"):
            if name not in each.fields:
                continue
            if name not in read:
                missed += 1
            elif fold(read[name]) == fold(each.fields[name].value):
                right += 1
            else:
                wrong += 1
    assert wrong <= right // 100 and missed <= right // 20


@pytest.mark.parametrize("piece", ["1", "2026-05-08", "a ", "管理费由1.2%"])
def test_a_long_document_of_one_piece_is_read_to_its_end(piece: str) -> None:
    """A pattern that looks at a run again from each of its signs would not end here."""
    for kind in ("fund", "news"):
        each = document("d", piece * (20_000 // len(piece)), kind=kind, title="公告")
        assert all(each.text[fact.start : fact.end] == fact.value for fact in facts_of(each))


def test_a_time_that_is_no_day_is_passed_over() -> None:
    text = "自2026年2月31日起，本基金的管理费年费率由1.20%调低至0.96%。"
    fact = _facts(text, kind="news", title="公告")["management_fee"]
    assert fact.since == ms("2026-06-30")
