"""Default deny everywhere: no path yields a customer's row without a decision of the registry.

Three walks. Over the sources: whoever reads rows of a list or a result either asks the registry in the same function, or is one of
the few modules named here with the reason. Over the operations: every one that the node knows is called with whatever it takes, and no reply, file or frame names a customer who never consented. Over the registry: without a grant
nobody is usable for anything, at any time.
"""

from __future__ import annotations

import ast
import functools
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench.contracts import GrantQuery
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId, Role
from workbench.errors import WorkbenchError
from workbench.operations import Operation

from tests.flows import population
from tests.flows.institutions import CATALOGUE, Institutions, fresh_institutions
from tests.privacy.searching import Search, forms

ROOT = Path(__file__).parents[2]
PURPOSE = population.SPARE[-1]

ASKS = frozenset({"decide", "explain", "explain_customer", "choose_inputs"})
"""Calls that ask the registry, or take what asks it."""
WITHOUT_DECISION = {
    "workbench/node/lists.py": "the catalogue itself: counts of an audience, and the one reader that all others use",
    "workbench/node/intersections.py": "rows of a released result, masked, which the last check of their job decided",
    "workbench/node/erasing.py": "takes rows away",
    "workbench/node/withdrawals.py": "finds the one who left, to tell the partner of the common job",
    "workbench/node/correcting.py": "writes a correction that the customer asked for",
    "workbench/node/subject_records.py": "a person's own data, after their identity was checked",
    "workbench/node/evidence_export.py": "finds the jobs of one customer; no row goes into a package",
    "workbench/flows/withdrawal.py": "strikes the one who left from released results",
    "workbench/host.py": "the keys of a released result, for the set digest of its receipt",
    "plugins/workbench_assessment/breaches.py": "who is affected by a breach and has to be told (PIPL 57)",
    "plugins/workbench_rights/explaining.py": "a person's own data, after their identity was checked",
    "plugins/workbench_inference/operations_policy.py": "whom compliance invites from a list; customers who restrict processing are left out there",
    "plugins/workbench_inference/policy/customers.py": "names that are taken out of questions before they leave; no row goes anywhere",
    "plugins/workbench_consent/receipts/operations.py": "grants of the customers of a list: who has none gets no receipt",
}


WORDS = ("lists.frame", "get_frame", "Inputs(")
"""A source without any of these has nothing to do with rows."""


@functools.cache
def sources() -> dict[str, ast.Module]:
    """The sources of the program that name rows at all, parsed."""
    paths = [*sorted((ROOT / "workbench").rglob("*.py")), *sorted((ROOT / "plugins").rglob("*.py"))]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}
    return {place: ast.parse(text) for place, text in texts.items() if any(word in text for word in WORDS)}


def readers() -> Iterator[tuple[str, str, bool]]:
    """(file, function, whether it asks the registry) of every function that reads rows."""
    for place, tree in sources().items():
        if place.startswith(("workbench/store/", "workbench/intake/")) or "/pages/" in place:
            continue  # storage and files know no customer lists; pages are clients of operations
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            called = [one.func for one in ast.walk(function) if isinstance(one, ast.Call)]
            names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called}
            lists = {ast.unparse(one) for one in called if isinstance(one, ast.Attribute) and one.attr == "frame"}
            if "get_frame" in names or any(one.endswith("lists.frame") for one in lists):
                yield place, function.name, bool(names & ASKS)


def test_whoever_reads_rows_asks_the_registry_or_is_named_with_a_reason() -> None:
    found = list(readers())
    assert len(found) > 10 and sum(asks for _, _, asks in found) >= 5
    silent = {place for place, _, asks in found if not asks}
    assert sorted(silent - set(WITHOUT_DECISION)) == [], "read rows by way of the registry, or say here why not"
    assert all(any(place == one for one, _, _ in found) for place in WITHOUT_DECISION), "a reason without a reader"


def test_inputs_of_an_intersection_are_made_in_one_place_and_only_from_a_decision() -> None:
    makers = [
        place
        for place, tree in sources().items()
        for one in ast.walk(tree)
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "Inputs"
    ]
    assert set(makers) == {"workbench/flows/inputs.py"}
    (maker,) = [
        one for one in ast.walk(sources()["workbench/flows/inputs.py"])
        if isinstance(one, ast.FunctionDef) and any(isinstance(c, ast.Call) and getattr(c.func, "id", "") == "Inputs" for c in ast.walk(one))
    ]  # fmt: skip
    assert "decide(" in ast.unparse(maker), "the only way to inputs asks first"


# ---- every operation


def filled(schema: dict[str, Any], pool: dict[str, Any], definitions: dict[str, Any], *, everything: bool) -> Any:
    """A value that fits a JSON schema as far as the schema tells; names in `pool` get theirs."""
    if "$ref" in schema:
        return filled(definitions[schema["$ref"].rpartition("/")[2]], pool, definitions, everything=everything)
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], pool, definitions, everything=everything)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        wanted = schema.get("properties", {})
        needed = set(schema.get("required", ()))
        return {
            name: pool[name] if name in pool and "$ref" not in one else filled(one, pool, definitions, everything=everything)
            for name, one in wanted.items()
            if name in needed or (everything and name in pool)
        }
    if kind == "array":
        return [filled(schema["items"], pool, definitions, everything=everything)] * schema.get("minItems", 0)
    if kind == "integer":
        return max(schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1)
    if kind == "number":
        return schema.get("minimum", 0)
    if kind == "boolean":
        return False
    return "x" * max(5, schema.get("minLength", 0))


def requests_of(operation: Operation, pool: dict[str, Any]) -> list[dict[str, Any]]:
    schema = operation.request.model_json_schema()
    made = [filled(schema, pool, schema.get("$defs", {}), everything=every) for every in (False, True)]
    return made if made[0] != made[1] else made[:1]


@pytest.fixture(scope="module")
def two() -> Iterator[Institutions]:
    with fresh_institutions("broker", "bank") as made:
        yield made


STRANGER = {
    f"{what} {name}": pattern
    for what, text in (("phone", population.phone(population.STRANGER)), ("number", population.id_no(population.STRANGER)))
    for name, pattern in forms(text).items()
} | {"customer number": f"broker-{population.STRANGER}".encode(), "customer number at the bank": f"bank-{population.STRANGER}".encode()}


def test_no_operation_of_any_role_yields_somebody_who_never_consented(two: Institutions) -> None:
    search = Search({name: pattern for name, pattern in STRANGER.items() if len(pattern) >= 8})
    two.wire.keeps = True
    mine, _ = two.run("broker", "bank", PURPOSE, columns=["资产档"])
    for party in ("broker", "bank"):
        assert set(two.released_phones(party, mine.job)) <= population.usable(party, "bank" if party == "broker" else "broker", PURPOSE)
    node = two.nodes["broker"]
    pool = {
        "job": mine.job, "list_id": node.lists.newest().list_id, "partner": "bank", "recipient": "bank", "purpose": PURPOSE,
        "key_kind": "phone", "columns": ["资产档"], "audience": "资产档 in (A,B,C)", "limit": 100, "within_days": 1100, "record": 1, "notice": "joint-service",
        "from_day": "2020-01-01", "to_day": "2099-12-31", "party": "broker", "months": 36, "contact": "sms", "language": "zh",
    }  # fmt: skip
    answered, refused, leaks = set(), set(), []
    everyone = {one.person for one in node.people.everyone()}
    for operation in node.gate.registry:
        roles = [role for role in sorted(operation.roles) if role.value in everyone]
        if not roles:
            continue  # of a part that is not built in
        made = requests_of(operation, pool)
        # What it shows does not depend on the role (tests/node/test_roles.py): each request is asked by another one.
        for request, role in zip(made[-1:] if operation.long else made, (roles[0], roles[-1]), strict=False):
            caller = two.caller("broker", Role(role))
            try:
                reply = node.gate.call(operation.name, request, caller, is_confirmed=True)
            except WorkbenchError as refusal:
                refused.add(operation.name)
                shown = json.dumps(refusal.as_dict(), ensure_ascii=False).encode()
            else:
                answered.add(operation.name)
                shown = reply.model_dump_json().encode()
                for text in set(strings(reply.model_dump(mode="json"))):
                    shown += taken(two, role, text)
            leaks += [(operation.name, role.value, hit) for hit in search.hits(shown)]
    assert leaks == []
    assert answered | refused == {one.name for one in node.gate.registry if {role.value for role in one.roles} & everyone}
    assert len(answered) > 40, "a walk that only meets refusals proves little"
    assert {"intersection.export", "intersection.result", "consent.coverage", "lists.audience", "consent.renewals"} <= answered
    sent = [body for sender, _, _, body in two.wire.calls if sender == "broker"]
    assert len(sent) > 50 and [hit for body in sent for hit in search.hits(body)] == []
    # The search itself works: what the list holds is found where it may lie.
    assert search.hits(f"…{population.phone(population.STRANGER)}…".encode()) == ["phone plain"]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


def taken(two: Institutions, role: Role, text: str) -> bytes:
    """The file behind a reply's text where it is the id of a download; zipped members are looked into as they are."""
    if not 16 <= len(text) <= 64 or " " in text:
        return b""
    try:
        _, data = two.nodes["broker"].downloads.take(two.caller("broker", role), text)
    except WorkbenchError:
        return b""
    return unzipped(data)


def unzipped(data: bytes) -> bytes:
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return b"\n".join(unzipped(archive.read(one)) for one in archive.namelist())


# ---- the registry


def test_without_a_grant_nobody_is_usable_for_anything_at_any_time(two: Institutions) -> None:
    node = two.nodes["broker"]
    people = pl.DataFrame(
        {
            "customer_id": ["C1", "C2", "C3"],
            "phone": [population.phone(population.STRANGER), population.phone(99_000_001), None],
            "id_no": [population.id_no(population.STRANGER), None, population.id_no(902)],
        }
    )
    now = node.now_ms()
    for purpose in (*population.PURPOSES,):
        for recipient in ("bank", "cardnet"):
            for kind in KeyKind:
                for at_ms in (0, now, 4_102_444_800_000):
                    query = GrantQuery(purpose, PartyId(recipient), at_ms, kind)
                    assert not node.consent.decide(people, query).usable.any(), query
    for purpose, recipient in (("", "bank"), ("*", "bank"), (PURPOSE, ""), (PURPOSE, "broker"), (PURPOSE, "*")):
        with pytest.raises(WorkbenchError):
            node.consent.decide(people, GrantQuery(purpose, PartyId(recipient), now, KeyKind.PHONE))
    nobody = pl.DataFrame(schema=people.schema)
    assert node.consent.decide(nobody, GrantQuery(PURPOSE, PartyId("bank"), now, KeyKind.PHONE)).counts == {}
    list_of_strangers = "客户号,手机号\n" + "".join(f"s{one},{population.phone(99_000_000 + one)}\n" for one in range(80))
    path = node.folder / "strangers.csv"
    path.write_text(list_of_strangers, "utf-8")
    list_id = two.call("broker", Role.MARKETING, "lists.import", file=two.upload("broker", path), catalogue=CATALOGUE).list_id
    with pytest.raises(WorkbenchError, match="NO_CONSENT"):
        two.propose("broker", "bank", PURPOSE, list_id=list_id)
