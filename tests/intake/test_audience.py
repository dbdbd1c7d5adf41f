"""Audience rules mean what their text says, in one spelling, and agree with a naive evaluator row by row."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import Refused
from workbench.intake.audience import (
    EVERYBODY,
    Audience,
    Comparison,
    Every,
    Membership,
    Node,
    Not,
    Some,
    Value,
    compare_cell,
    parse_audience,
)

FRAME = pl.DataFrame(
    {
        "customer_id": ["a", "b", "c", "d", "e"],
        "risk_level": ["C1", "C3", "C5", None, "C4"],
        "资产档": ["A", "B", "A", "A", None],
        "资产": ["500000", "1,200,000", "0012", "高", None],
        "最近 交易": ["2025-01-31", "2024-12-31", None, "x", "2025-02-01"],
    }
)


def _chosen(rule: str) -> str:
    mask = parse_audience(rule).select(FRAME)
    return "".join(FRAME.filter(mask)["customer_id"])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("资产档 in (A,B) and risk_level >= C3", "bc"),
        ("资产档 in （A、B） 且 风险等级 ≥ c3", "bc"),
        ("资产 >= 50万", "ab"),
        ("资产 = 1200000", "b"),
        ("资产 = 12", ""),
        ("资产 = 0012", "c"),
        ('资产 = "500000"', "a"),
        ("资产 != 500000", "bcd"),
        ("资产 > 500000 or 资产档 = A", "abcd"),
        ("not 资产 > 500000", "a"),
        ("资产档 not in (B)", "acd"),
        ("not (资产档 = A or risk_level < C4)", ""),
        ("`最近 交易` >= 2025-01-01", "ae"),
        ("risk_level in (c1, C5)", "ac"),
        ("*", "abcde"),
    ],
)
def test_a_rule_selects_the_customers_it_describes(rule: str, expected: str) -> None:
    assert _chosen(rule) == expected


def test_a_customer_without_the_value_is_in_neither_a_rule_nor_its_negation() -> None:
    assert "e" not in _chosen("资产档 = A") + _chosen("not 资产档 = A") + _chosen("资产档 not in (A)")


@pytest.mark.parametrize(
    ("rule", "position", "code"),
    [
        ("", 1, "AUDIENCE_SYNTAX"),
        ("资产档", 4, "AUDIENCE_SYNTAX"),
        ("资产档 = ", 7, "AUDIENCE_SYNTAX"),
        ("资产档 ~ A", 5, "AUDIENCE_SYNTAX"),
        ("资产档 = A B", 9, "AUDIENCE_SYNTAX"),
        ("(资产档 = A", 9, "AUDIENCE_SYNTAX"),
        ("资产档 in (A", 10, "AUDIENCE_SYNTAX"),
        ("资产档 in ()", 9, "AUDIENCE_SYNTAX"),
        ('资产档 = "A', 7, "AUDIENCE_SYNTAX"),
        ("资产 >= 高", 7, "AUDIENCE_SYNTAX"),
        ('资产 >= "5"', 7, "AUDIENCE_SYNTAX"),
        ("资产档 = A and", 12, "AUDIENCE_SYNTAX"),
        ("a = 1 and 手机号 = 1", 11, "AUDIENCE_IDENTIFIER"),
        ("customer_id = 1", 1, "AUDIENCE_IDENTIFIER"),
        ("(" * 30 + "a = 1" + ")" * 30, 21, "AUDIENCE_TOO_LARGE"),
        ("not " * 30 + "a = 1", 81, "AUDIENCE_TOO_LARGE"),
        ("a = 1" + " or a = 1" * 100, 901, "AUDIENCE_TOO_LARGE"),
        ("a in (" + ",".join(map(str, range(600))) + ")", 1900, "AUDIENCE_TOO_LARGE"),
        ("a = " + "x" * 5000, 1, "AUDIENCE_TOO_LARGE"),
        ("a = 1; b", 8, "AUDIENCE_SYNTAX"),
        ("a = \x00", 5, "AUDIENCE_SYNTAX"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_its_position(rule: str, position: int, code: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_audience(rule)
    assert caught.value.code == code
    assert caught.value.details["position"] == str(position)
    assert caught.value.zh and caught.value.en


def test_an_error_names_the_token_but_no_number_as_long_as_a_key() -> None:
    with pytest.raises(Refused, match="“~”"):
        parse_audience("a ~ 1")
    with pytest.raises(Refused) as caught:
        parse_audience("10000138000 10000138000")
    assert "10000138000" not in str(caught.value)


def test_an_unknown_column_is_refused_with_the_columns_there_are() -> None:
    with pytest.raises(Refused) as caught:
        parse_audience("资产当 = A").select(FRAME)
    assert caught.value.code == "AUDIENCE_COLUMN"
    assert "资产档" in caught.value.zh and "risk_level" in caught.value.en
    assert "customer_id" not in caught.value.en


def test_code_in_a_rule_is_text_and_selects_nobody() -> None:
    rule = parse_audience("资产档 = \"__import__('os').system('id')\" or 资产档 = '<script>alert(1)</script>'")
    assert not rule.select(FRAME).any()
    assert "<script>" in rule.explain()


@pytest.mark.parametrize(
    "rules",
    [
        [
            "a in (y,x,x) and b >= C3",
            "a in (x, y) 且 b≥c3",
            "(a in ('y',\"x\")) AND (b >= C3)",
            "a 属于（x、y）并且 b >= C3",
        ],
        ["a = 1", "a == 1.0", "a = +1", "a ＝ 1.00"],
        ["(a = 1 or b = 2) or c = 3", "a = 1 or (b = 2 or c = 3)", "a = 1 或 b = 2 或者 c = 3"],
        ["not not a = 1", "a = 1"],
        ["风险等级 >= C2", "risk_level >= c2", "Risk_Level >= C2"],
        ["x = 150000000", "x = 1.5亿", "x = 15000万"],
    ],
)
def test_one_rule_in_many_spellings_has_one_digest(rules: list[str]) -> None:
    parsed = [parse_audience(rule) for rule in rules]
    assert len({one.canonical for one in parsed}) == 1
    assert len({one.digest() for one in parsed}) == 1


def test_different_rules_have_different_digests() -> None:
    rules = ["a = 1", 'a = "1"', "a != 1", "a in (1)", "not a = 1", "a = 1 and b = 1", "a = 1 or b = 1", "*", "b = 1"]
    assert len({parse_audience(rule).digest() for rule in rules}) == len(rules)


def test_a_rule_is_explained_in_both_languages() -> None:
    rule = parse_audience("资产档 in (A,B) and (risk_level >= C3 or not 城市 = 上海)")
    assert rule.explain() == "资产档 是 A、B 之一，并且 （风险等级 不低于 C3，或者 并非（城市 等于 “上海”））"
    assert rule.explain("en") == '资产档 is one of A, B and (risk level is at least C3 or not (城市 is "上海"))'
    assert EVERYBODY.explain() == "全部客户"


_COLUMNS = ["a", "b c", "档"]
_CELLS = st.one_of(
    st.none(),
    st.sampled_from(["1", "1.0", "-2", "+3", "007", "1,000", "1000", "C1", "c3", "C5", "C6", "A", "是", "2025-01-31"]),
    st.sampled_from(["", " ", "x", "1e3", "١", "2025-1-31", 'q"', "NaN", "999999999999999", "9999999999999999"]),
)
_ORDERED = st.one_of(
    st.sampled_from(["0", "1", "-2", "3", "1000", "999.5"]).map(lambda text: Value(text, "number")),
    st.sampled_from(["C1", "C3", "C5"]).map(lambda text: Value(text, "level")),
    st.sampled_from(["2025-01-31", "2024-12-01"]).map(lambda text: Value(text, "date")),
)
_VALUES = st.one_of(
    _ORDERED, st.sampled_from(["A", "是", "1", "x y", 'q"', "", "007", "且"]).map(lambda text: Value(text, "text"))
)


def _membership(column: str, values: list[Value]) -> Node:
    return Membership(column, tuple(sorted(set(values), key=lambda value: (value.kind, value.text))))


_LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(Comparison, st.sampled_from(_COLUMNS), st.sampled_from(["=", "!="]), _VALUES),
    st.builds(Comparison, st.sampled_from(_COLUMNS), st.sampled_from(["<", "<=", ">", ">="]), _ORDERED),
    st.builds(_membership, st.sampled_from(_COLUMNS), st.lists(_VALUES, min_size=1, max_size=4)),
)
_NODES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda part: part.part if isinstance(part, Not) else Not(part)),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Every(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Some(tuple(parts))),
    ),
    max_leaves=8,
)


def _naive(node: Node, row: dict[str, str | None]) -> bool | None:
    """Kleene's logic, one row at a time."""
    if isinstance(node, Comparison):
        return compare_cell(row[node.column], node.operator, node.value)
    if isinstance(node, Membership):
        return _any([compare_cell(row[node.column], "=", value) for value in node.values])
    if isinstance(node, Not):
        inner = _naive(node.part, row)
        return None if inner is None else not inner
    results = [_naive(part, row) for part in node.parts]
    if isinstance(node, Some):
        return _any(results)
    return False if False in results else (None if None in results else True)


def _any(results: list[bool | None]) -> bool | None:
    return True if True in results else (None if None in results else False)


@settings(max_examples=250, deadline=None)
@given(_NODES, st.lists(st.tuples(_CELLS, _CELLS, _CELLS), max_size=8))
def test_the_compiled_rule_agrees_with_the_naive_evaluator(
    node: Node, rows: list[tuple[str | None, str | None, str | None]]
) -> None:
    cells = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
    frame = pl.DataFrame(
        {name: pl.Series(column, dtype=pl.String) for name, column in zip(_COLUMNS, cells, strict=True)}
    )
    expected = [_naive(node, dict(zip(_COLUMNS, row, strict=True))) is True for row in rows]
    assert Audience(node).select(frame).to_list() == expected


@settings(max_examples=250, deadline=None)
@given(_NODES)
def test_the_canonical_text_parses_back_to_the_same_selection_and_text(node: Node) -> None:
    audience = Audience(node)
    again = parse_audience(audience.canonical)
    assert again.canonical == parse_audience(again.canonical).canonical
    assert again.columns == audience.columns
    frame = pl.DataFrame({name: ["1", "C3", "A", None, "2025-01-31"] for name in _COLUMNS})
    assert again.select(frame).to_list() == audience.select(frame).to_list()


@settings(max_examples=250, deadline=None)
@given(st.text("ab档 ()<>=!&|'\"`,，、且或非notandori1C3.\n\x00", max_size=40))
def test_any_text_is_either_a_rule_or_refused(text: str) -> None:
    try:
        audience = parse_audience(text)
    except Refused as error:
        assert error.code.startswith("AUDIENCE_")
        return
    assert parse_audience(audience.canonical) == audience
