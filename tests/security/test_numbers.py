"""A file may hold people's numbers under any header: they must reach neither a rule, nor evidence, nor a notebook."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.host.house import House
from workbench.contracts import OperationContext
from workbench.domain.identifiers import looks_like_identifier
from workbench.domain.party import Role
from workbench.errors import Refused, WorkbenchError
from workbench.intake import parse_audience

SECOND_PHONES = pl.DataFrame({"备用电话": [f"1{number:010d}" for number in range(50)], "资产档": ["A", "B"] * 25})


@pytest.mark.parametrize("number", ["10000000001", "+86 100-0000-0001", "008610000000001", "11010119900307123X", "110101199003071232"])
@pytest.mark.parametrize("rule", ["备用电话 = '{}'", "备用电话 in (A, '{}')", "not 资产档 != '{}'"])
def test_a_rule_never_carries_a_number_of_a_person_into_evidence(rule: str, number: str) -> None:
    assert looks_like_identifier(number)
    with pytest.raises(Refused) as refused:
        parse_audience(rule.format(number))
    assert refused.value.code == "AUDIENCE_IDENTIFIER"
    assert number not in f"{refused.value}{refused.value.details}"


@pytest.mark.parametrize("rule", ["备用电话 > 5", "备用电话 = 1", "not 备用电话 in (A)", "资产档 = A and 备用电话 <= 10000000003000"])
def test_a_column_of_numbers_under_another_name_answers_no_rule(rule: str) -> None:
    """Counting who lies below a bound would find a masked number out in forty questions."""
    with pytest.raises(Refused, match="AUDIENCE_IDENTIFIER"):
        parse_audience(rule).select(SECOND_PHONES)
    assert parse_audience("资产档 = A").select(SECOND_PHONES).sum() == 25


def test_amounts_that_happen_to_look_like_a_phone_do_not_close_their_column() -> None:
    frame = pl.DataFrame({"资产": ["10000000001", *[str(number) for number in range(500)]]})
    assert parse_audience("资产 < 100").select(frame).sum() == 100


def test_the_numbers_of_an_unnamed_column_are_not_listed_as_its_values(house: House, tmp_path: Path) -> None:
    lines = ["客户号,手机号,备用电话,资产档"]
    lines += [f"N{number},100000000{number:02d},109999999{number:02d},{'AB'[number % 2]}" for number in range(10, 40)]
    source = tmp_path / "list.csv"
    source.write_text("\n".join(lines) + "\n", "utf-8")
    node, marketing = house.node, house.caller(Role.MARKETING)
    context = node.gate.context(marketing)
    assert isinstance(context, OperationContext)
    catalogue = dict.fromkeys(("name", "owner", "source", "subjects", "method"), "x")
    request = {
        "file": node.uploads.adopt(source),
        "catalogue": {**catalogue, "data_class": "C1", "lawful_basis": "consent"},
    }
    made = node.gate.call("lists.import", request, marketing).model_dump()
    weak = house.caller(Role.MARKETING, kernel=True)
    shown = node.gate.call("lists.audience", {"list_id": made["list_id"]}, weak).model_dump()
    assert shown["tags"]["资产档"] == ["A", "B"]
    assert "109999999" not in str(shown)
    with pytest.raises(WorkbenchError, match="AUDIENCE_IDENTIFIER"):
        node.gate.call("lists.audience", {"list_id": made["list_id"], "rule": "备用电话 > 3"}, weak)
