"""A hostile package must not crash a verifier, nor make the two disagree: JSON of every shape in every place."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.ledger.world import World
from tests.package.package_world import EXPLAINED, files_of, packed, trust_bytes
from workbench.crypto import canonical
from workbench.domain.listdigest import export_digest
from workbench.domain.package import Container
from workbench_ledger.package.verifier import formats, main
from workbench_ledger.package.verifier.checks import Package, check_package
from workbench_ledger.package.verifier.lists import key_column
from workbench_ledger.package.verifier.receipts import check_receipt

Engine = Callable[[list[dict[str, Any]]], list[Any]]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**53 - 1, "", "x", "\u0000", "é\U0001f512", [], {}, [[]], ["sha256", "sm3"], {"": ""}, {"a": {"b": []}},
    {"sha256": [], "sm3": []}, "0" * 64, [None], {"__proto__": 1}, "constructor",
)  # fmt: skip


def mutants(value: Any, chance: random.Random, count: int) -> Iterator[Any]:
    """Copies with one place exchanged for something odd, removed, doubled or renamed."""
    for _ in range(count):
        made = copy.deepcopy(value)
        place: Any = made
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = chance.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.7:
                place = place[key]
                continue
            match chance.randrange(5):
                case 0 if isinstance(place, dict):
                    del place[key]
                case 1 if isinstance(place, dict):
                    place[chance.choice(["more", "__proto__", "é", "toString"])] = place[key]
                case 2 if isinstance(place, list):
                    place.append(place[key])
                case _:
                    place[key] = chance.choice(ODD)
            break
        yield made


def python(files: dict[str, bytes]) -> dict[str, Any]:
    held = files_of(packed(files))
    return check_package(Package(sorted(held), held.__getitem__, "", []), formats.parse_trust(trust_bytes()), [], None)


def test_odd_json_in_a_package_crashes_nobody_and_both_say_the_same(package: bytes, engine: Engine, tmp_path: Path) -> None:
    chance, files = random.Random(7), files_of(package)
    files = {name: data[:9] if name in EXPLAINED else data for name, data in files.items() if name != "manifest.json"}
    made = []
    for name in ("package.json", "keys/trust.json", "entries/broker/000000000005.json", "openings/broker/000000000005.json"):
        for value in mutants(json.loads(files[name]), chance, 30):
            made.append({**files, name: canonical.format(value)})
    cases = []
    for number, one in enumerate(made):
        (tmp_path / f"{number}.zip").write_bytes(packed(one))
        cases.append({"path": str(tmp_path / f"{number}.zip"), "trust": trust_bytes().hex()})
    assert engine(cases) == [python(one) for one in made]


def test_odd_json_in_a_manifest_crashes_nobody_and_both_say_the_same(package: bytes, engine: Engine, tmp_path: Path) -> None:
    chance = random.Random(8)
    held = {name: data[:9] if name in EXPLAINED else data for name, data in files_of(package).items()}
    results, expected = [], []
    for number, value in enumerate(mutants(json.loads(held["manifest.json"]), chance, 25)):
        # A container whose manifest is another one: its header and the directory are made anew by hand.
        container = Container()
        parts = [container.add(name, held[name]) for name in sorted(held) if name != "manifest.json"]
        data = b"".join([*parts, container._member("manifest.json", canonical.format(value))])
        directory = b"".join(container._central)
        data += directory + formats.end_record(len(container._central), len(directory), len(data))
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        results.append({"path": str(path), "trust": trust_bytes().hex()})
        expected.append(main.verify(path, formats.parse_trust(trust_bytes()), [], None))
    assert engine(results) == expected
    assert {one["verdict"] for one in expected} == {"FAILED"}


def test_odd_receipts_crash_nobody_and_both_say_the_same(sealed: World, engine: Engine) -> None:
    chance = random.Random(9)
    receipt = sealed.broker.ledger.receipt(sealed.broker.party, 4, openings=sealed.broker.openings[4])
    receipt["links"] = [sealed.bank.ledger.receipt(sealed.bank.party, 1)]
    found = [json.dumps(value).encode() for value in mutants(receipt, chance, 120)]
    found += [b"{}", b"[]", b"null", b'{"v":1,"v":1}', b"\xff", b"", b"[" * 1000, json.dumps(receipt).encode(), b'{"a":' * 3000]
    found += [json.dumps(receipt).replace('"index": 4', text).encode() for text in ('"index": 4.0', '"index": 04', '"index": 4e0', '"index": -0', '"index": true', '"index": NaN')]
    found += [json.dumps(receipt).replace('"entry": "', '"entry": "\\ud800').encode(), json.dumps(receipt, indent=3).encode()]
    trust = formats.parse_trust(trust_bytes())
    for data, theirs in zip(found, engine([{"data": one.hex(), "trust": trust_bytes().hex()} for one in found]), strict=True):
        value = main.parse_once(data) if _is_object(data) else None
        if value is None:
            assert theirs["verdict"] == "FAILED" and theirs["steps"][0]["problems"][0]["code"] == "CONTAINER", data[:80]
            continue
        ours = {name: one for name, one in check_receipt(value, trust, []).items() if name not in ("entry", "index")}
        assert theirs == ours, data[:200]


def _is_object(data: bytes) -> bool:
    try:
        main.parse_once(data)
    except ValueError:
        return False
    return True


CSV = (
    "phone\r\n1\r\n2\r\n", "phone,a\n1,2\n3,4", "\ufeffphone\n1", 'phone\n"1"\n', 'a,phone\n"x,""y""",7\n', "phone\n\n1\n\n", "phone\r1\r2",
    'phone\n"1"2\n', 'phone\n"1', "phone\n1,2\n", "a\n1\n", "phone,mobile\n1,2\n", "a,phone\n1\n", "", 'phone\n1"2\n', "phone\n ,\n", '"phone"\n1\n', "手机号\n1\n",
)  # fmt: skip


def test_both_read_every_csv_alike(engine: Engine, sealed: World) -> None:
    """By the digest that a list would have: equal digests, or both cannot read it."""
    key, cases, expected = b"\1" * 32, [], []
    for text in CSV:
        data = text.encode("utf-8")
        try:
            digest, problems = export_digest(key, key_column(data, "phone")), []
        except ValueError:
            digest, problems = bytes(32), ["LIST_FILE"]
        body, openings = sealed.broker.export(digest, key, "")
        fields = {name: {"salt": salt.hex(), "value": value} for name, (salt, value) in openings.items() if name != "file_sm3"}
        receipt = {**sealed.broker.ledger.receipt(sealed.broker.party, 0), "entry": body.decode(), "openings": fields}
        cases.append({"data": json.dumps(receipt).encode().hex(), "lists": [{"name": "l.csv", "data": data.hex()}]})
        expected.append(problems)
        assert problems_of(check_receipt(receipt, None, [("l.csv", data)])) == problems, text
    assert [problems_of(one) for one in engine(cases)] == expected
    assert [] in expected and ["LIST_FILE"] in expected


def problems_of(result: dict[str, Any]) -> list[str]:
    return [one["code"] for step in result["steps"] if step["name"] == "lists" for one in step["problems"]]
