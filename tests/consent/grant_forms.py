"""Forms and notices of one institution as staff enter them: rows of a file with every condition, operations by name."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import polars as pl
from consent_house import DOCUMENT, House, beijing_ms, identity_number, phone_number
from workbench_consent import deciding, decisions, outlook
from workbench_consent.notices import operations as notices
from workbench_consent.notices import sample

from workbench.contracts import GrantQuery, OperationContext
from workbench.domain.identifiers import id_check_character
from workbench.domain.intersection import KeyKind
from workbench.domain.party import Caller, PartyId, Person, PersonId

BY_NAME = {one.name: one for one in (*notices.OPERATIONS, *deciding.DECIDE_OPERATIONS, *decisions.DECISION_OPERATIONS, *outlook.OPERATIONS)}
NAMES = {"broker": ("甲证券", "Broker A"), "bank": ("乙银行", "Bank B"), "cardnet": ("丙清算", "Card network C")}
P1, P2, P3 = (phone_number(number) for number in (1, 2, 3))
I1, I2 = identity_number(1), identity_number(2)
HEADER = "phone,id_no,purpose,recipient,valid_from,valid_until,document_digest,channel,notice,categories,contact_channels,method,signer,separate,max_uses"


def call(house: House, operation_name: str, /, by: str = "chen", **request: Any) -> Any:
    operation = BY_NAME[operation_name]
    person = Person(PersonId(by), house.party, operation.roles, by, f"t-{by}")
    context = OperationContext(house, Caller(person), lambda done, total, zh, en: None, lambda: False)  # type: ignore[arg-type]
    return operation.run(context, operation.request.model_validate(request))


def content(**line: Any) -> dict[str, Any]:
    """The sample with every line changed alike; effective since the start of 2026."""
    text = deepcopy(sample.content("broker", NAMES))
    text["effective_ms"] = beijing_ms("2026-01-01 00:00:00")
    for one in text["lines"]:
        one |= line
    return text


def publish(house: House, text: dict[str, Any]) -> int:
    check = call(house, "notices.lint", notice="joint", content=text)
    proposed = call(house, "notices.propose", notice="joint", content=text, confirm=check.must_confirm)
    done = call(house, "notices.publish", by="li", notice="joint", version=proposed.version, digest=proposed.digest)
    return int(done.version)


def row(
    phone: str = "", id_no: str = "", *, recipient: str = "bank", start: str = "2026-02-01", end: str = "2026-12-31", notice: str = "",
    categories: str = "", contacts: str = "", method: str = "", signer: str = "", separate: str = "", uses: str = "",
) -> str:  # fmt: skip
    return f"{phone},{id_no},wealth-marketing,{recipient},{start},{end},{DOCUMENT},app,{notice},{categories},{contacts},{method},{signer},{separate},{uses}"


def give(house: House, *lines: str, bad: float = 0.0) -> Any:
    path = house.folder / "forms.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    return house.registry.import_file(path, actor="t-compliance", max_bad_share=bad, also=lambda tx, table: table)


def query(house: House, at: str = "", *, kind: KeyKind = KeyKind.PHONE, recipient: str = "bank", **more: Any) -> GrantQuery:
    return GrantQuery("wealth-marketing", PartyId(recipient), beijing_ms(at) if at else house.time_ms, kind, **more)


def reasons(house: House, people: pl.DataFrame, asked: GrantQuery) -> list[str]:
    return [one or "OK" for one in house.registry.decide(people, asked).reason]


def born_on(day: str, order: int = 1) -> str:
    """An identity number of an area not in use, of somebody born on this day."""
    body = f"990000{day}{order:03d}"
    return body + id_check_character(body)
