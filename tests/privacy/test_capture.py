"""A whole run captured: every frame on the link and every file of every institution, searched for every person in it.

Promises: no phone and no identity number in plain, hexadecimal, base64, SHA-256 or SM3; no guess over all phones
succeeds with what the log says in clear; sizes and entries do not tell how long a list is within its bucket.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workbench.crypto import sm3
from workbench.domain.envelope import parse_envelope
from workbench.domain.party import Role

from tests.flows import population
from tests.flows.institutions import CATALOGUE, Institutions, fresh_workspace, running
from tests.privacy.searching import Search, digest_forms, forms, search_for

PEOPLE = sorted({one for known in population.KNOWN.values() for one in known} | {901})
PHONES = [population.phone(one) for one in PEOPLE]
NUMBERS = [population.id_no(one) for one in PEOPLE]
PARTIES = ("broker", "cardnet", "bank")


@dataclass
class Captured:
    """wire: (sender, recipient, path, bytes) of every call and reply. files: path below the workspace -> bytes."""

    three: Institutions
    jobs: dict[str, str]
    wire: list[tuple[str, str, str, bytes]]
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def captured() -> Iterator[Captured]:
    """A release by phone, one by identity number with a withdrawal on the way, and one below the floor."""
    workspace = fresh_workspace()
    with running(workspace) as three:
        three.wire.keeps = True
        jobs = {"phone": three.run("broker", "bank", population.RICH)[0].job}
        jobs["id_no"] = three.propose("bank", "broker", "customer-service", key_kind="id_no")
        three.wire.before(
            "bank", "strike",
            lambda: three.call(
                "bank", Role.COMPLIANCE, "consent.withdraw", phone=population.phone(99), purpose="customer-service"
            ),
            job=jobs["id_no"],
        )  # fmt: skip
        three.approve("broker", jobs["id_no"])
        three.both("bank", "broker", jobs["id_no"], "RELEASED")
        jobs["small"] = three.run("broker", "bank", "investor-education", "REFUSED_SMALL", minimum_crowd=120)[0].job
        three.exported("broker", jobs["phone"])
        for party in PARTIES:
            three.call(party, Role.COMPLIANCE, "evidence.timeline", job=jobs["phone"])
            three.wait_until(lambda party=party: three.nodes[party].sealing.pending()[1] == 0)
        three.nodes["broker"].heartbeat.greet("bank")  # the regular one may fall outside this run
        files = {
            str(path.relative_to(workspace.folder)): path.read_bytes()
            for path in sorted(workspace.folder.rglob("*"))
            if path.is_file()
        }
        yield Captured(three, jobs, list(three.wire.calls), files)
    shutil.rmtree(workspace.folder)


@pytest.fixture(scope="module")
def search() -> Search:
    return search_for([*PHONES, *NUMBERS])


def test_the_search_finds_every_form_wherever_it_stands(search: Search) -> None:
    """What follows finds nothing; so first, that it would."""
    for identifier in (PHONES[3], NUMBERS[5]):
        for name, form in forms(identifier).items():
            for before in (b"", b"\x00", b"ab", b"abc", b"{\"phone\":\""):
                assert f"{identifier} as {name}" in search.hits(before + form + b"tail"), name
        text = b'{"x": ' + identifier.encode() + b"}"
        for offset in range(3):
            assert search.hits(base64.b64encode(bytes(offset) + text)), offset
    assert search.hits(bytes(1000)) == [] and search.hits(b"") == [] and search.hits(b"abc") == []


def test_no_frame_between_institutions_holds_an_identifier(captured: Captured, search: Search) -> None:
    assert {path for _, _, path, _ in captured.wire} >= {"message", "mirror", "mirror reply", "hello"}
    assert sum(len(body) for *_, body in captured.wire) > 300_000 and search.size > 8_000
    for sender, recipient, path, body in captured.wire:
        assert search.hits(body) == [], (sender, recipient, path)


def test_no_file_of_any_institution_holds_an_identifier(captured: Captured, search: Search) -> None:
    """Not even of the one whose customers they are: lists, results and grants lie encrypted or as keyed tokens."""
    databases = [name for name in captured.files if "evidence.db" in name]
    assert {name.partition("/")[0] for name in databases} == set(PARTIES)
    for name, data in captured.files.items():
        assert search.hits(data) == [], name


def test_what_one_institution_only_holds_of_another_are_its_envelopes(captured: Captured) -> None:
    """The third institution's mirror of a job it has no part in: only kinds, digests, roots and codes."""
    node = captured.three.nodes["cardnet"]
    seen = set()
    for party in ("broker", "bank"):
        for index in node.mirror_index(party).entries(captured.jobs["phone"]):
            envelope = parse_envelope(node.ledger.entry_bodies(party, index, index + 1)[0])
            seen.add(envelope.kind)
            for name, value in envelope.shared.items():
                # The number dropped at the cut-off is the one count in the open (row B7).
                counts = ("customers", "reasons", "cardinality", "size", "audience", "struck", "remaining", "checked")
                assert name not in counts, envelope.kind
                assert len(value) <= 128
    assert "intersection.released" in seen and "intersection.message" in seen


def _envelopes(node: Any, party: str, job: str) -> list[Any]:
    return [
        parse_envelope(node.ledger.entry_bodies(party, index, index + 1)[0])
        for index in node.mirror_index(party).entries(job)
    ]


def test_guessing_every_phone_against_a_copy_of_the_log_finds_nobody(captured: Captured) -> None:
    """A dictionary attack with everything the log says in clear: digests of contract, terms, roots, points, job, times."""
    node = captured.three.nodes["cardnet"]
    known: set[bytes] = {b"", captured.three.workspace.project.encode()}
    for job in captured.jobs.values():
        known |= {job.encode()}
        for party in ("broker", "bank"):
            for envelope in _envelopes(node, party, job):
                if envelope.kind != "intersection.message":
                    known |= {value.encode() for value in envelope.shared.values()}
                    known |= {bytes.fromhex(value) for value in envelope.shared.values() if _is_digest(value)}
    assert 30 < len(known) < 400
    patterns: dict[str, bytes] = {}
    for phone in PHONES[::3]:
        text = phone.encode()
        for number, salt in enumerate(sorted(known)):
            for name, guess in (("salt first", salt + text), ("salt last", text + salt), ("apart", salt + b"\0" + text)):
                patterns[f"{phone} {number} {name} SM3"] = sm3.digest(guess)
                patterns[f"{phone} {number} {name} SM3 hex"] = sm3.digest(guess).hex().encode()
                patterns[f"{phone} {number} {name} SHA-256 hex"] = hashlib.sha256(guess).hexdigest().encode()
            patterns[f"{phone} {number} HMAC"] = sm3.hmac(salt or b"\0", text)
    search = Search(patterns)
    log = {name: data for name, data in captured.files.items() if "evidence.db" in name}
    assert search.hits(b"..." + patterns[f"{PHONES[0]} 3 apart SM3 hex"]) == [f"{PHONES[0]} 3 apart SM3 hex"]
    for name, data in log.items():
        assert search.hits(data) == [], name
    for *_, body in captured.wire:
        assert search.hits(body) == []


def _is_digest(value: str) -> bool:
    return len(value) == 64 and all(character in "0123456789abcdef" for character in value)


def test_nobody_who_knows_the_contract_recognises_a_point(captured: Captured) -> None:
    """H(id) can be computed by everybody who knows the contract's digest, which is public; only a·H(id) travels."""
    import workbench_psi.commitment as commitment
    import workbench_psi.curve as curve

    three = captured.three
    patterns: dict[str, bytes] = {}
    for name in ("phone", "small"):
        digest = bytes.fromhex(three.entries("broker", captured.jobs[name], "intersection.contract")[0].values["contract"])
        hashed = commitment.hash_identifiers([one.encode() for one in PHONES], key_kind="phone", contract_digest=digest)
        points = curve.elligator2(hashed, threads=1)
        for rows, what in ((hashed, "hash"), (points, "point")):
            for phone, row in zip(PHONES, np.asarray(rows), strict=True):
                patterns |= {f"{name} {phone} {what} {form}": value for form, value in digest_forms("", row.tobytes()).items()}
    search = Search(patterns)
    for *_, body in captured.wire:
        assert search.hits(body) == []
    for file, data in captured.files.items():
        assert search.hits(data) == [], file


def test_replies_to_staff_show_masked_identifiers_only(captured: Captured, search: Search) -> None:
    three, job = captured.three, captured.jobs["phone"]
    for party in ("broker", "bank"):
        replies = [
            three.call(party, Role.MARKETING, "intersection.result", job=job, limit=500),
            three.call(party, Role.MARKETING, "intersection.jobs"),
            three.call(party, Role.MARKETING, "lists.all"),
            three.call(party, Role.COMPLIANCE, "evidence.timeline", limit=1000),
            three.call(party, Role.COMPLIANCE, "evidence.receipt", job=job),
            three.call(party, Role.COMPLIANCE, "consent.grants", limit=100),
            three.call(party, Role.OPERATOR, "node.status"),
        ]
        for reply in replies:
            assert search.hits(reply.model_dump_json().encode()) == [], type(reply).__name__


# ------------------------------------------------------------------------------------------------ sizes within a bucket


def imported(three: Institutions, folder: Path, people: list[int]) -> str:
    rows = ["客户号,手机号,资产档"] + [f"s{one:03d},{population.phone(one)},A" for one in people]
    path = folder / f"{len(people)}.csv"
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return str(
        three.call("broker", Role.MARKETING, "lists.import", file=three.upload("broker", path), catalogue=CATALOGUE).list_id
    )


def observed(three: Institutions, job: str) -> dict[str, Any]:
    """What an observer of the link, and the institution outside the job, can measure."""
    frames = [
        (sender, recipient, path.removesuffix(" reply"), len(body))
        for sender, recipient, path, body in three.wire.calls
        if path == "message" and job.encode() in body
    ]
    node = three.nodes["cardnet"]
    entries = []
    for party in ("broker", "bank"):
        for index in node.mirror_index(party).entries(job):
            body = node.ledger.entry_bodies(party, index, index + 1)[0]
            envelope = parse_envelope(body)
            shared = {name: len(value) for name, value in envelope.shared.items()}
            entries.append((party, envelope.kind, len(body), json.dumps(shared, sort_keys=True), sorted(envelope.committed)))
    # Which of two frames that cross is written down first is chance; the frames of each direction are in order.
    directions = {pair: [one for one in frames if one[:2] == pair] for pair in {one[:2] for one in frames}}
    return {"frames": directions, "entries": sorted(entries)}


def test_two_list_sizes_in_one_bucket_look_the_same_from_outside(captured: Captured, tmp_path: Path) -> None:
    """100 and 160 customers, the same 99 in common: every frame and every entry has the same kind and size."""
    three = captured.three
    common = [one for one in population.KNOWN["broker"] if one in population.KNOWN["bank"]]
    seen = []
    for people in (common, list(population.KNOWN["broker"])):
        list_id = imported(three, tmp_path, people)
        three.wire.calls.clear()
        mine, theirs = three.run("broker", "bank", "test-45", list_id=list_id)
        assert mine.result["cardinality"] == 99 and theirs.result["partner_bucket"] == 256
        party = three.nodes["cardnet"]
        three.wait_until(
            lambda party=party, job=mine.job: all(
                party.ledger.size(name) >= three.nodes[name].ledger.size(name) and _sealed(three, name, job) for name in ("broker", "bank")
            )
        )
        seen.append((mine.job, observed(three, mine.job)))
    (first, small), (second, large) = seen
    assert first != second
    assert sum(len(one) for one in small["frames"].values()) > 150 and len(small["entries"]) > 300
    assert small["frames"] == large["frames"]
    assert small["entries"] == large["entries"]


def _sealed(three: Institutions, party: str, job: str) -> bool:
    return "intersection.sealed" in {one.kind for one in _envelopes(three.nodes["cardnet"], party, job)}
