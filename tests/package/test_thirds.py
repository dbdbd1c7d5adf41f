"""ML-DSA-44 lines in packages and receipts: every line of a known key is verified, and a demanded one may not be missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ledger import world as worlds
from tests.ledger.test_mldsa import THIRD, WITH_THIRD
from tests.ledger.world import BANK, BROKER, KEYS, PARTIES, World
from tests.package.package_world import build, files_of, order_of, packed, trust_bytes
from workbench.crypto import canonical
from workbench.node.trust import parse_trust
from workbench.verify import verify_receipt
from workbench_ledger.package.verifier import formats
from workbench_ledger.package.verifier.checks import Package, check_package
from workbench_ledger.package.verifier.receipts import check_receipt

Files = dict[str, bytes]
Engine = Callable[[list[dict[str, Any]]], list[Any]]
TRUST = trust_bytes(2, **{party: {"cosign_mldsa44": THIRD[party].public.format()} for party in PARTIES})
PLACES = [(BROKER, index) for index in range(3)]
NOTE = "checkpoints/broker/000000000003.note"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three nodes that know all third keys; broker and bank write the third line, the card network does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "PINNED", WITH_THIRD)
        made = World(tmp_path_factory.mktemp("thirds") / "world")
        for party in (BROKER, BANK):
            made.nodes[party].close()
            made.nodes[party].keys = replace(KEYS[party], mldsa44=THIRD[party])
            made.nodes[party].open()
        made.broker.write(3)
        made.settle()
        yield made
        made.close()


def package_of(world: World, *required: str) -> tuple[Files, str]:
    """Files of the package of three entries, and the state its exporter says."""
    keys = {party: one.for_notes() for party, one in parse_trust(TRUST).items()}
    data, summary = build(world, order_of(PLACES, trust=TRUST, keys=keys, mldsa_required=required))
    return files_of(data), summary.state


@pytest.fixture(scope="module")
def packages(world: World) -> tuple[Files, Files]:
    """The same three entries with the demand and without."""
    found = [package_of(world, *required) for required in (["intersection."], [])]
    assert [state for _, state in found] == ["FINAL", "FINAL"]
    return found[0][0], found[1][0]


@pytest.fixture(scope="module")
def files(packages: tuple[Files, Files]) -> Files:
    return packages[0]


@pytest.fixture(scope="module")
def undemanded(packages: tuple[Files, Files]) -> Files:
    return packages[1]


def checked(files: Mapping[str, bytes], *, trust: bytes | None = TRUST, mldsa: list[str] | None = None) -> dict[str, Any]:
    held = files_of(packed(files))
    pinned = None if trust is None else formats.parse_trust(trust)
    return check_package(Package(sorted(held), held.__getitem__, "", []), pinned, [], None, mldsa)


def problems(result: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(one["code"], one["party"]) for step in result["steps"] for one in step["problems"]}


def third_line(note: str, party: str) -> str:
    """The longest line of a party in a note: its ML-DSA-44 line."""
    return max((line for line in note.split("\n") if line.startswith(f"\u2014 workbench.example/evidence/{party} ")), key=len)


def with_note(files: Files, change: Callable[[str], str]) -> Files:
    note = files[NOTE].decode()
    return {name: data.replace(note.encode(), change(note).encode()) for name, data in files.items()}


def test_a_package_of_a_project_that_demands_the_line_is_of_version_2_and_holds(files: Files) -> None:
    about = json.loads(files["package.json"])
    assert (about["v"], about["mldsa_required"], about["anchors"]) == ("workbench/v2/package", ["intersection."], 0)
    result = checked(files)
    assert (result["verdict"], result["full"]) == ("OK", 3)
    assert not any("unknown keys" in one["en"] for one in result["unchecked"])
    assert "ML-DSA-44" in files["report.html"].decode() and b"workbench/v2/package" in files["README.txt"]


def test_without_a_demand_the_package_stays_of_version_1_and_its_lines_are_verified_all_the_same(undemanded: Files) -> None:
    files = undemanded
    assert json.loads(files["package.json"])["v"] == "workbench/v1/package"
    line = third_line(files[NOTE].decode(), "bank")
    broken = with_note(files, lambda note: note.replace(line, line[:1000] + ("A" if line[1000] != "A" else "B") + line[1001:]))
    assert checked(files)["verdict"] == "OK"
    assert ("COSIGNATURE_MLDSA", "bank") in problems(checked(broken))
    # Who does not know the key counts the line and relies on the pair.
    plain = {name: trust_bytes() if name == "keys/trust.json" else data for name, data in broken.items()}
    old = checked(plain, trust=trust_bytes())
    assert old["verdict"] == "OK" and any("2 signature lines are by unknown keys" in one["en"] for one in old["unchecked"])


def damages(files: Files) -> list[Files]:
    """Lines that are wrong, alone, doubled, taken out; demands taken out, reordered, doubled, of another form."""
    note = files[NOTE].decode()
    bank, broker = third_line(note, "bank"), third_line(note, "broker")
    pair = [line for line in note.split("\n") if line.startswith("\u2014 workbench.example/evidence/bank ") and line != bank]
    found = [with_note(files, lambda note, line=line: note.replace(line + "\n", "")) for line in (bank, *pair)]  # type: ignore[misc]  # bound now
    found.append(with_note(files, lambda note: note.replace(bank, bank + "\n" + bank)))
    found.append(with_note(files, lambda note: note.replace(bank, broker.replace("evidence/broker", "evidence/bank"))))
    for at in (70, 90, 1200, 3200, len(bank) - 5):
        found.append(with_note(files, lambda note, at=at: note.replace(bank, bank[:at] + ("A" if bank[at] != "A" else "B") + bank[at + 1 :])))  # type: ignore[misc]  # bound now
    about = json.loads(files["package.json"])
    changes: list[dict[str, Any]] = [{"mldsa_required": one} for one in ([], ["b.", "a."], ["a.", "a."], ["A."], "intersection.", [1], ["ledger."])]
    changes += [{"anchors": -1}, {"anchors": True}, {"anchors": 1}, {"v": "workbench/v1/package"}, {"v": "workbench/v3/package"}]
    found += [{**files, "package.json": canonical.format({**about, **one})} for one in changes]
    return found


def test_a_missing_line_is_not_final_and_a_wrong_one_fails(files: Files) -> None:
    results = [checked(one) for one in damages(files)]
    assert problems(results[0]) == {("MLDSA_MISSING", "bank"), ("COUNT", "")}
    assert {("COSIGNATURE_HALF", "bank")} <= problems(results[1]) and {("COSIGNATURE_HALF", "bank")} <= problems(results[3])
    weaker = results.pop(16)  # another demand than the project's: the exporter's claim, as section 4.1 says
    assert weaker["verdict"] == "OK" and {one["verdict"] for one in results} == {"FAILED"}
    about = json.loads(files["package.json"]) | {"state": "NOT_FINAL", "not_final": 3}
    honest = checked({**damages(files)[0], "package.json": canonical.format(about)})
    assert (honest["verdict"], honest["pending"], problems(honest)) == ("NOT_FINAL", 3, {("MLDSA_MISSING", "bank")})


def test_both_verifiers_say_the_same_about_every_damage(files: Files, engine: Engine, tmp_path: Path) -> None:
    asked, expected = [], []
    for number, one in enumerate([files, *damages(files)]):
        (tmp_path / f"{number}.zip").write_bytes(packed(one))
        for trust, mldsa in ((TRUST, []), (trust_bytes(), ["consent."]), (None, [""])):
            asked.append({"path": str(tmp_path / f"{number}.zip"), "trust": trust and trust.hex(), "mldsa": mldsa})
            expected.append(checked(one, trust=trust, mldsa=mldsa))
    assert engine(asked) == expected


def test_a_reader_whose_trust_file_lacks_a_demanded_key_is_told_so_first(files: Files) -> None:
    result = checked(files, trust=trust_bytes())
    assert result["en"].startswith("FAILED at keys") and ("MLDSA_UNPINNED", "bank") in problems(result)


def test_the_exporter_says_not_final_where_a_participant_wrote_no_third_line(world: World) -> None:
    world.broker.write(1, partner="cardnet")
    world.settle()
    keys = {party: one.for_notes() for party, one in parse_trust(TRUST).items()}
    data, summary = build(world, order_of([(BROKER, 3)], trust=TRUST, keys=keys, mldsa_required=("intersection.",)))
    assert (summary.state, summary.not_final) == ("NOT_FINAL", 1)
    result = checked(files_of(data))
    assert (result["verdict"], problems(result)) == ("NOT_FINAL", {("MLDSA_MISSING", "cardnet")})


def test_what_the_reader_demands_besides_makes_it_not_final_and_accuses_nobody(undemanded: Files) -> None:
    files, result = undemanded, checked(undemanded, mldsa=[""])
    assert result["verdict"] == "OK"  # broker and bank are required and have the line
    stripped = with_note(files, lambda note: note.replace(third_line(note, "bank") + "\n", ""))
    assert checked(stripped)["verdict"] == "OK"
    assert problems(checked(stripped, mldsa=[""])) == {("MLDSA_MISSING", "bank")}


def test_the_three_verifiers_agree_about_the_lines_of_a_receipt(world: World, engine: Engine) -> None:
    receipt = world.broker.ledger.receipt("broker", 1)
    line = third_line(receipt["checkpoint"], "bank")
    broken = line[:1000] + ("A" if line[1000] != "A" else "B") + line[1001:]
    texts = [json.dumps(receipt, ensure_ascii=False)]
    texts += [texts[0].replace(line, broken), texts[0].replace(line + "\\n", ""), texts[0].replace(line, line + "\\n" + line)]
    cases = [(text, trust, mldsa) for text in texts for trust in (TRUST, trust_bytes(), None) for mldsa in ([], ["intersection."])]
    pages = engine([{"data": text.encode().hex(), "trust": trust and trust.hex(), "mldsa": mldsa} for text, trust, mldsa in cases])
    words = set()
    for (text, trust, mldsa), page in zip(cases, pages, strict=True):
        pinned = None if trust is None else {party: one.for_notes() for party, one in parse_trust(trust).items()}
        node = verify_receipt(json.loads(text), trust=pinned, mldsa_kinds=mldsa)
        ours = check_receipt(json.loads(text), None if trust is None else formats.parse_trust(trust), [], mldsa)
        assert {name: one for name, one in ours.items() if name not in ("entry", "index")} == page
        assert page["verdict"] == node.word
        words.add(node.word)
    assert words == {"OK", "KEYS_NOT_PINNED", "NOT_FINAL", "FAILED"}
