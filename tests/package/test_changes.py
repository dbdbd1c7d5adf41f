"""Whatever is changed in a package is refused, by both verifiers, with the entry, field and party named.

The forger here is careful: files are exchanged and manifest and container made anew, so that only signatures, paths and
commitments can tell. What only the manifest covers (README, reports, claims of package.json) needs the export receipt.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.world import BANK, BROKER, CARDNET, World
from tests.package.package_world import EXPLAINED, build, files_of, order_of, packed, trust_bytes
from workbench.crypto import canonical
from workbench.domain.package import Selection
from workbench.node.trust import parse_trust
from workbench_ledger.package.verifier import formats
from workbench_ledger.package.verifier.checks import Package, check_package

Files = dict[str, bytes]
Engine = Callable[[list[dict[str, Any]]], list[Any]]

@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Two logs, two heads of one of them, references, openings: one of everything, and little of it."""
    world = World(tmp_path_factory.mktemp("small") / "world")
    world.broker.write(3)
    world.bank.write(2, partner="broker")
    world.settle()
    world.broker.write(2)
    world.exchange(BROKER, BANK)
    opened = {index: world.broker.openings[index] for index in (0, 4)}
    places = [*((BROKER, index) for index in range(5)), *((BANK, index) for index in range(2))]
    files = files_of(build(world, order_of(places, opened))[0])
    world.close()
    # What only explains is cut short here: it would be hashed anew for every change of something else.
    return {name: data[:9] if name in EXPLAINED else data for name, data in files.items() if name != "manifest.json"}


def checked(files: Mapping[str, bytes], *, trust: bytes | None = b"", manifest: bool = True) -> dict[str, Any]:
    """The Python verifier's result for these files with a manifest made anew."""
    held = files_of(packed(files)) if manifest else dict(files)
    pinned = None if trust is None else formats.parse_trust(trust or trust_bytes())
    return check_package(Package(sorted(held), held.__getitem__, "", []), pinned, [], None)


def codes(result: Mapping[str, Any]) -> set[str]:
    return {one["code"] for step in result["steps"] for one in step["problems"]}


def test_the_small_package_is_sound_and_its_tail_is_sealed_not_full(small: Files) -> None:
    result = checked(small)
    assert (result["verdict"], result["full"], result["sealed"], result["pending"]) == ("OK", 5, 2, 0)
    assert [step["name"] for step in result["steps"]] == [
        "container", "manifest", "package", "keys", "checkpoints", "entries", "sha256", "sm3", "openings", "consistency",
        "references", "sm2", "sealed",
    ]  # fmt: skip


def changes(data: bytes, step: int) -> Iterator[bytes]:
    for at in {*range(0, len(data), step), len(data) - 1}:
        yield data[:at] + bytes([data[at] ^ (0x20 if at % 2 else 0x01)]) + data[at + 1 :]


def evidence_of(files: Files) -> list[str]:
    return [name for name in sorted(files) if name not in (*EXPLAINED, "package.json")]


def test_every_one_byte_change_of_every_file_of_evidence_is_refused_even_with_a_new_manifest(small: Files) -> None:
    survived = []
    for name in evidence_of(small):
        for changed in changes(small[name], 53 if len(small[name]) > 400 else 17):
            if checked({**small, name: changed})["verdict"] != "FAILED":
                survived.append((name, changed))
    assert survived == []


def test_both_verifiers_say_the_same_about_every_change(small: Files, engine: Engine, tmp_path: Path) -> None:
    packages = []
    for name in evidence_of(small):
        packages += [packed({**small, name: changed}) for changed in changes(small[name], 211)]
    packages += [packed({**small, "package.json": changed}) for changed in changes(small["package.json"], 29)]
    packages += [packed({**small, name: small[name] + b"\n"}) for name in evidence_of(small)[::3]]
    packages += [packed({one: data for one, data in small.items() if one != name}) for name in sorted(small)[::4]]
    cases = []
    for number, data in enumerate(packages):
        (tmp_path / f"{number}.zip").write_bytes(data)
        cases.append({"path": str(tmp_path / f"{number}.zip"), "trust": trust_bytes().hex()})
    results = engine(cases)
    for data, result in zip(packages, results, strict=True):
        held = files_of(data)
        assert result == check_package(Package(sorted(held), held.__getitem__, "", []), formats.parse_trust(trust_bytes()), [], None)
    assert {one["verdict"] for one in results[: len(evidence_of(small))]} == {"FAILED"}


def test_without_a_new_manifest_every_change_of_every_file_is_refused(small: Files) -> None:
    held = files_of(packed(small))
    for name in sorted(small):
        for at in {0, len(small[name]) // 2, len(small[name]) - 1}:
            changed = small[name][:at] + bytes([small[name][at] ^ 1]) + small[name][at + 1 :]
            result = checked({**held, name: changed}, manifest=False)
            found = next(step for step in result["steps"] if step["name"] == "manifest")
            assert result["verdict"] == "FAILED" and [one["file"] for one in found["problems"]] == [name]


def entry_name(log: str, index: int) -> str:
    return f"entries/{log}/{index:012d}.json"


def changed_entry(files: Files, log: str, index: int, **shared: str) -> Files:
    value = json.loads(files[entry_name(log, index)])
    value["shared"].update(shared)
    return {**files, entry_name(log, index): canonical.format(value)}


def test_a_rewritten_entry_is_named_with_its_log_and_who_acts(small: Files) -> None:
    result = checked(changed_entry(small, "broker", 1, note="nothing happened"))
    step = next(one for one in result["steps"] if one["name"] == "sm3")
    (problem,) = step["problems"]
    assert (problem["code"], problem["log"], problem["index"]) == ("INCLUSION", "broker", 1)
    assert "compliance of broker" in problem["en"] and "broker 的合规人员" in problem["zh"]
    assert result["verdict"] == "FAILED" and result["en"].startswith("FAILED at sha256")


def test_two_entries_that_changed_places_are_both_named(small: Files) -> None:
    first, second = entry_name("broker", 0), entry_name("broker", 1)
    result = checked({**small, first: small[second], second: small[first]})
    found = {(one["code"], one["index"]) for step in result["steps"] for one in step["problems"]}
    assert {("INCLUSION", 0), ("INCLUSION", 1)} <= found


def test_another_value_or_salt_in_an_opening_names_the_field(small: Files) -> None:
    name = "openings/broker/000000000004.json"
    value = json.loads(small[name])
    for change in ({"value": "999"}, {"salt": "00" * 32}):
        value = json.loads(small[name])
        value["fields"]["count"].update(change)
        result = checked({**small, name: canonical.format(value)})
        problems = [one for step in result["steps"] for one in step["problems"]]
        assert [(one["code"], one["field"], one["index"]) for one in problems] == [("OPENING", "count", 4)]


def test_an_opening_of_another_institution_s_entry_is_refused(small: Files) -> None:
    files = {**small, "openings/bank/000000000000.json": small["openings/broker/000000000000.json"]}
    assert "OPENING_FORM" in codes(checked(files))


NOTE = "checkpoints/broker/000000000003.note"


def with_note(files: Files, change: Callable[[list[str]], list[str]], name: str = NOTE) -> Files:
    """The checkpoint and every tlog-proof that carries it, with other signature lines."""
    note = files[name].decode()
    text, _, lines = note.rpartition("\n\n")
    other = text + "\n\n" + "\n".join(change(lines[:-1].split("\n"))) + "\n"
    return {one: data.replace(note.encode(), other.encode()) for one, data in files.items()}


def line_of(lines: list[str], party: str, kind: int) -> int:
    """Where a line of a party stands: 0 the Ed25519 one of its pair, 1 the SM2 one."""
    places = [at for at, line in enumerate(lines) if line.split(" ")[1].endswith(f"/{party}")]
    return places[-2:][kind]


@pytest.mark.parametrize("party", ["bank", "broker", "cardnet"])
@pytest.mark.parametrize("kind", [0, 1])
def test_half_a_co_signature_refuses_the_note(small: Files, party: str, kind: int) -> None:
    def drop(lines: list[str]) -> list[str]:
        return [line for at, line in enumerate(lines) if at != line_of(lines, party, kind)]

    result = checked(with_note(small, drop))
    problem = next(one for step in result["steps"] for one in step["problems"] if step["name"] == "checkpoints")
    assert (problem["code"], problem["party"]) == ("COSIGNATURE_HALF", party)


def test_a_doubled_or_missing_log_signature_refuses_the_note(small: Files) -> None:
    for change in (lambda lines: [lines[0], *lines], lambda lines: lines[1:]):
        assert "LOG_SIGNATURE" in codes(checked(with_note(small, change)))


def test_a_co_signature_of_another_head_is_refused(small: Files) -> None:
    other = small["checkpoints/bank/000000000002.note"].decode().rpartition("\n\n")[2].split("\n")

    def exchange(lines: list[str]) -> list[str]:
        mine, theirs = (line_of(lines, "cardnet", kind) for kind in (0, 1))
        changed = list(lines)
        changed[mine], changed[theirs] = (other[line_of(other[:-1], "cardnet", kind)] for kind in (0, 1))
        return changed

    result = checked(with_note(small, exchange))
    assert "COSIGNATURE" in codes(result)


def test_lines_of_unknown_keys_count_for_nothing_and_are_told(small: Files) -> None:
    stranger = "\u2014 workbench.example/evidence/stranger " + "A" * 96
    result = checked(with_note(small, lambda lines: [*lines, stranger]))
    assert result["verdict"] == "OK"
    assert any("1 signature lines are by unknown keys" in one["en"] for one in result["unchecked"])


def test_a_pair_taken_out_leaves_the_entry_not_final(small: Files) -> None:
    """Whoever strips the partner's co-signature does not get a final package, and whoever strips it and lies is found."""

    def drop(lines: list[str]) -> list[str]:
        gone = {line_of(lines, "bank", 0), line_of(lines, "bank", 1)}
        return [line for at, line in enumerate(lines) if at not in gone]

    files = {name: data for name, data in with_note(small, drop).items() if not name.startswith("sm2/broker/000000000003/bank")}
    assert codes(checked(files)) == {"NOT_FINAL", "COUNT"}
    about = json.loads(files["package.json"]) | {"state": "NOT_FINAL", "not_final": 3}
    result = checked({**files, "package.json": canonical.format(about)})
    assert (result["verdict"], result["pending"]) == ("NOT_FINAL", 3)
    problem = next(one for step in result["steps"] for one in step["problems"])
    assert (problem["party"], problem["log"]) == ("bank", "broker")
    assert "NOT_FINAL" in result["zh"] and "do not rely" in result["en"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"state": "NOT_FINAL"}, "COUNT"),
        ({"not_final": 1}, "COUNT"),
        ({"opened": 0}, "COUNT"),
        ({"entries": {"bank": 2, "broker": 4}}, "COUNT"),
        ({"exporter": "bank"}, "OPENING_FORM"),
        ({"project": "another"}, "CHECKPOINT_OF_OTHERS"),
        ({"made": "2026-02-30T00:00:00.000Z"}, "PACKAGE_FORM"),
        ({"report_pdf": "yes"}, "FILE_MISSING"),
        ({"selection": {"by": "job", "value": "", "from": "", "to": "", "identifier": "10000000000"}}, "PACKAGE_FORM"),
        ({"more": 1}, "PACKAGE_FORM"),
        ({"withheld": True}, "PACKAGE_FORM"),
    ],
)
def test_what_the_description_claims_and_can_be_computed_is_compared(small: Files, change: dict[str, Any], code: str) -> None:
    about = {**json.loads(small["package.json"]), **change}
    assert code in codes(checked({**small, "package.json": canonical.format(about)}))


@pytest.mark.parametrize("pattern", [r"entries/.*1\.json", r".*\.sm3-proof", r".*\.tlog-proof", r".*\.note", r".*\.consistency", r"sm2/.*der", r"keys/bank.*", r"package\.json", r"README\.txt", r"verify\.py"])
def test_a_file_that_is_missing_is_noticed(small: Files, pattern: str) -> None:
    name = next(one for one in sorted(small) if re.fullmatch(pattern, one))
    assert checked({one: data for one, data in small.items() if one != name})["verdict"] == "FAILED"


def test_a_file_that_nobody_explained_is_refused(small: Files) -> None:
    for name in ("entries/broker/1.json", "notes.txt", "sm2/broker/000000000003/eve.der", "proofs/broker/000000000077.sm3-proof", "keys/eve.sm2.pem"):
        assert checked({**small, name: b"{}"})["verdict"] == "FAILED"


def test_keys_other_than_the_pinned_ones_are_refused_and_their_institution_named(small: Files) -> None:
    trust = json.loads(trust_bytes())
    trust["parties"][2]["cosign_ed25519"], trust["parties"][1]["cosign_ed25519"] = (
        trust["parties"][1]["cosign_ed25519"],
        trust["parties"][2]["cosign_ed25519"],
    )
    result = checked(small, trust=canonical.format(trust))
    step = next(one for one in result["steps"] if one["name"] == "keys")
    assert [one["party"] for one in step["problems"]] == ["broker", "cardnet"]
    two = {**json.loads(trust_bytes()), "parties": json.loads(trust_bytes())["parties"][:2]}
    assert "KEY_DIFFERS" in codes(checked(small, trust=canonical.format(two)))


def test_a_package_signed_by_made_up_institutions_holds_under_its_own_keys_only(small: Files) -> None:
    """Why keys must be pinned: a forger with three own keys makes a package that is sound in itself."""
    assert checked(small, trust=None)["verdict"] == "KEYS_NOT_PINNED"
    assert any("whose the keys are" in one["en"] for one in checked(small, trust=None)["unchecked"])


def test_a_removed_member_s_co_signature_counts_for_nothing_in_either_verifier(tmp_path: Path, engine: Engine) -> None:
    world = World(tmp_path / "world")
    world.broker.write(3)
    world.settle()
    world.broker.write(2)
    world.exchange(BROKER, BANK)
    left = trust_bytes(2, bank={"left": {"broker": "3"}})
    keys = {party: one.for_notes() for party, one in parse_trust(left).items()}
    told = build(world, order_of([(BROKER, index) for index in range(5)], trust=left, keys=keys))[0]
    untold = build(world, order_of([(BROKER, index) for index in range(5)]))[0]
    world.close()
    again = trust_bytes(2, bank={"left": {"broker": "1"}, "joined": {"broker": "4"}})
    cases = [(told, left), (told, trust_bytes()), (untold, left), (untold, trust_bytes()), (untold, again)]
    found = [checked(files_of(data), trust=trust, manifest=False) for data, trust in cases]
    # Of entries 3 and 4 the broker and a former member signed the head: with nobody else that is one institution.
    assert [(one["verdict"], one["pending"]) for one in found] == [("NOT_FINAL", 2), ("NOT_FINAL", 2), ("FAILED", 2), ("OK", 0), ("FAILED", 4)]
    assert codes(found[2]) == {"NOT_FINAL", "COUNT"}
    pages = engine([{"data": data.hex(), "trust": trust.hex()} for data, trust in cases])
    assert [one["verdict"] for one in pages] == [one["verdict"] for one in found]
    assert [one["pending"] for one in pages] == [2, 2, 2, 0, 4]


def test_history_rewritten_between_two_heads_of_a_log_is_found(small: Files) -> None:
    name = "checkpoints/broker/000000000005.consistency"
    result = checked({**small, name: small[name].replace(b"new 5", b"new 6")})
    problem = next(one for step in result["steps"] for one in step["problems"])
    assert (problem["code"], problem["log"]) == ("CONSISTENCY", "broker")


def test_a_reference_to_another_entry_than_the_one_here_names_both_institutions(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.bank.write(1, partner="broker")
    leaf = world.bank.ledger.leaves(BANK, 0, 1)[0][0].hex()
    for ref in (f"entry:bank:0:{leaf}", f"entry:bank:0:{'0' * 64}"):
        body, openings = world.broker.body(0)
        value = json.loads(body) | {"refs": [ref]}
        world.broker.append(canonical.format(value), openings)
    world.settle()
    files = files_of(build(world, order_of([(BANK, 0), (BROKER, 0), (BROKER, 1)]))[0])
    world.close()
    problems = [one for step in checked(files)["steps"] for one in step["problems"]]
    assert [(one["code"], one["log"], one["index"], one["party"]) for one in problems] == [("REFERENCE", "broker", 1, "bank")]


def test_an_entry_only_its_own_institution_signed_is_not_final_everywhere(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.broker.write(2)
    data, summary = build(world, order_of([(BROKER, 0), (BROKER, 1)], selection=Selection("job", "J-1")))
    world.close()
    files = files_of(data)
    assert (summary.state, summary.not_final) == ("NOT_FINAL", 2)
    for name in ("README.txt", "report.html", "package.json"):
        assert b"NOT_FINAL" in files[name]
    result = checked(files)
    assert (result["verdict"], result["pending"], result["full"]) == ("NOT_FINAL", 2, 0)


def test_a_sealed_entry_travels_with_the_head_that_seals_it(tmp_path: Path) -> None:
    """A newer head has as many co-signatures, but not that of the other participant."""
    world = World(tmp_path / "world")
    world.broker.write(1, partner="cardnet")
    world.exchange(BROKER, CARDNET)
    world.broker.write(1, partner="bank")
    world.broker.ledger.own_checkpoint()
    world.exchange(BROKER, BANK)
    data, summary = build(world, order_of([(BROKER, 0)]))
    world.close()
    assert (summary.state, summary.not_final) == ("FINAL", 0)
    result = checked(files_of(data))
    assert (result["verdict"], result["pending"]) == ("OK", 0)


def test_participants_named_by_any_entry_of_a_job_are_required_for_all_of_them(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.broker.write(1, partner="bank")
    world.exchange(BROKER, CARDNET)
    files = files_of(build(world, order_of([(BROKER, 0)]))[0])
    world.close()
    result = checked(files)
    problem = next(one for step in result["steps"] for one in step["problems"])
    assert (result["verdict"], problem["party"]) == ("NOT_FINAL", "bank")


def test_a_damaged_database_exports_nothing(tmp_path: Path) -> None:
    import sqlite3

    from workbench.errors import VerificationError

    world = World(tmp_path / "world")
    world.broker.write(3)
    world.settle()
    path = world.broker.path
    world.broker.store.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE entry SET body = replace(CAST(body AS TEXT), 'step 1', 'step 9') WHERE idx = 1")
    world.broker.open()
    with pytest.raises(VerificationError) as caught:
        build(world, order_of([(BROKER, index) for index in range(3)]))
    assert (caught.value.code, caught.value.details["index"]) == ("ENTRY_CHANGED", "1")
    world.close()


def test_building_can_be_stopped_between_two_entries(sealed: World) -> None:
    from workbench.errors import Cancelled

    seen = []

    def step(done: int) -> None:
        seen.append(done)
        if done > 25:
            raise Cancelled("", "")

    with pytest.raises(Cancelled):
        build(sealed, order_of([(BROKER, index) for index in range(12)], step=step))
    assert seen == list(range(1, 27))


def test_the_zip_is_checked_against_its_checksums_before_anything_else_is_said(package: bytes) -> None:
    at = package.index(b'"note":"step 3"') + 13
    changed = package[:at] + b"8" + package[at + 1 :]
    file = io.BytesIO(changed)
    members = formats.read_container(file, len(changed))
    assert formats.damaged_members(file, members) == [entry_name("bank", 3)]  # the first log that has such an entry
