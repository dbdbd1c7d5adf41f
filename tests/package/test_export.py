"""The operation: what each selection holds, who may ask, what is opened, and the evidence it leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running, write_consents
from tests.package.package_world import files_of
from workbench.contracts import OperationContext
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.errors import Cancelled, Denied, InvalidRequest, NotFound, WorkbenchError
from workbench.node.evidence_export import ExportRequest, export
from workbench_ledger.package.verifier import formats
from workbench_ledger.package.verifier.checks import Package, check_package
from workbench_ledger.package.verifier.receipts import check_receipt

PERSON = 150
"""Known to broker, cardnet and bank, with a grant for everything."""


@pytest.fixture(scope="module")
def three() -> Iterator[Institutions]:
    with running(fresh_workspace()) as made:
        for node in made.nodes.values():
            node.settings._values["evidence.report_font"] = "no such font"
        yield made


@pytest.fixture(scope="module")
def job(three: Institutions) -> str:
    """A released and exported job of a campaign, everything co-signed by all three."""
    made, _ = three.run("broker", "cardnet", "test-01", campaign="autumn-2026")
    three.exported("broker", made.job)
    settle(three)
    return str(made.job)


def settle(three: Institutions) -> None:
    def everything_is_signed() -> bool:
        return all(
            node.ledger.seal_state(party, node.ledger.size(party) - 1, required=list(node.parties())).state == "FULL"
            for party, node in three.nodes.items()
        )

    for node in three.nodes.values():
        node.sealing.wake()
    three.wait_until(everything_is_signed)


def exported(three: Institutions, *, party: str = "broker", role: Role = Role.COMPLIANCE, opened: bool = False, **request: Any) -> tuple[Any, bytes]:
    name = "evidence.export_opened" if opened else "evidence.export"
    reply = three.call(party, role, name, **request)
    taken, data = three.nodes[party].downloads.take(three.caller(party, role), reply.download)
    assert (taken, len(data), sm3.digest(data).hex()) == (reply.name, reply.size, reply.package_sm3)
    return reply, data


def verdict(three: Institutions, data: bytes, *, receipt: dict[str, Any] | None = None, lists: Any = ()) -> dict[str, Any]:
    files = files_of(data)
    trust = formats.parse_trust(files["keys/trust.json"])
    return check_package(Package(sorted(files), files.__getitem__, sm3.digest(data).hex(), []), trust, list(lists), receipt)


def test_a_job_s_package_holds_both_logs_and_verifies_with_the_list_and_the_receipt(three: Institutions, job: str) -> None:
    _, rows = three.exported("broker", job)
    settle(three)
    reply, data = exported(three, opened=True, job=job)
    node = three.nodes["broker"]
    assert (reply.state, reply.not_final, reply.uncovered) == ("FINAL", 0, 0)
    assert reply.entries == {
        "broker": len(three.entries("broker", job)), "cardnet": len(node.mirror_index("cardnet").entries(job)),
    }  # fmt: skip
    settle(three)
    receipt = node.ledger.receipt("broker", reply.index)
    found = verdict(three, data, receipt=receipt, lists=[("list.csv", rows)])
    assert (found["verdict"], found["entries"]) == ("OK", sum(reply.entries.values())), found["en"]
    assert [step["name"] for step in found["steps"]][-3:] == ["lists", "export", "sealed"]
    assert not any("only the manifest" in one["en"] for one in found["unchecked"])


def test_a_changed_list_or_a_receipt_of_another_export_is_refused(three: Institutions, job: str) -> None:
    _, rows = three.exported("broker", job)
    settle(three)  # a package of what is not yet co-signed says so, and this asks for its verdict
    first, data = exported(three, opened=True, job=job)
    second, _ = exported(three, job=job)
    settle(three)
    ledger = three.nodes["broker"].ledger
    found = verdict(three, data, lists=[("list.csv", rows.replace(b"100", b"101", 1))])
    assert found["verdict"] == "FAILED" and "LIST_OTHER" in found["steps"][-2]["problems"][0]["code"]
    found = verdict(three, data, receipt=ledger.receipt("broker", second.index))
    assert found["verdict"] == "FAILED" and found["steps"][-2]["problems"][0]["code"] == "EXPORT_OTHER"
    assert verdict(three, data, receipt=ledger.receipt("broker", first.index))["verdict"] == "OK"


def test_the_export_is_evidence_with_the_digest_and_not_the_contents(three: Institutions, job: str) -> None:
    reply, _ = exported(three, job=job)
    entry = three.entries("broker", kind="evidence.exported")[-1]
    assert entry.ref.index == reply.index and entry.values["package_sm3"] == reply.package_sm3
    assert (entry.values["entries"], entry.values["state"]) == (str(sum(reply.entries.values())), "FINAL")
    assert json.loads(entry.values["selection"]) == {"by": "job", "value": job, "from": "", "to": ""}
    body = three.nodes["broker"].ledger.entry_bodies("broker", reply.index, reply.index + 1)[0]
    assert json.loads(body)["shared"] == {"package_sm3": reply.package_sm3}


def test_nothing_is_opened_without_a_fresh_password(three: Institutions, job: str) -> None:
    reply, data = exported(three, job=job)
    assert (reply.opened, [name for name in files_of(data) if name.startswith("openings/")]) == (0, [])
    node, caller = three.nodes["broker"], three.caller("broker", Role.COMPLIANCE)
    with pytest.raises(WorkbenchError) as refused:
        node.gate.call("evidence.export_opened", {"job": job}, caller)
    assert refused.value.http_status == 403


def test_a_campaign_s_package_holds_the_jobs_proposed_under_its_name(three: Institutions, job: str) -> None:
    assert exported(three, campaign="autumn-2026")[0].entries == exported(three, job=job)[0].entries
    with pytest.raises(NotFound):
        exported(three, campaign="spring-2026")
    with pytest.raises(NotFound):
        exported(three, party="cardnet", campaign="autumn-2026")  # a partner never learns the name


def test_a_campaign_s_name_is_a_commitment_and_never_leaves_the_institution(three: Institutions, job: str) -> None:
    proposed = three.entries("broker", job, "intersection.proposed")[0]
    assert proposed.values["campaign"] == "autumn-2026"
    body = three.nodes["cardnet"].ledger.entry_bodies("broker", proposed.ref.index, proposed.ref.index + 1)[0]
    assert b"autumn-2026" not in body
    with pytest.raises(InvalidRequest):
        three.propose("broker", "cardnet", "test-02", campaign="a b")


def test_a_period_s_package_holds_all_logs_and_only_those_days(three: Institutions, job: str) -> None:
    today = three.nodes["broker"].today().isoformat()
    settle(three)
    reply, data = exported(three, from_day=today, to_day=today)
    assert set(reply.entries) == {"bank", "broker", "cardnet"}
    assert reply.entries["broker"] == three.nodes["broker"].ledger.size("broker") - 1  # its own entry comes after it
    assert verdict(three, data)["verdict"] == "OK"
    with pytest.raises(NotFound):
        exported(three, from_day="2020-01-01", to_day="2020-01-31")


@pytest.mark.parametrize(
    "request_",
    [
        {}, {"job": "J-1", "campaign": "x"}, {"from_day": "2026-01-02", "to_day": "2026-01-01"}, {"from_day": "2026-01-01"},
        {"from_day": "2026-02-30", "to_day": "2026-03-01"}, {"campaign": "a/b"}, {"customer": "xyz"}, {"phone": "12"},
    ],
)  # fmt: skip
def test_a_request_that_selects_nothing_or_two_things_is_refused(three: Institutions, request_: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        exported(three, **request_)


def customer_package(three: Institutions, **request: Any) -> tuple[Any, bytes]:
    return exported(three, opened=True, phone=population.phone(PERSON), **request)


def test_a_customer_s_package_holds_their_consent_and_the_jobs_that_used_them(three: Institutions, job: str) -> None:
    phone = population.phone(PERSON)
    asked = {"phone": phone, "purpose": "test-01", "recipient": "cardnet"}
    three.call("broker", Role.COMPLIANCE, "consent.check", **asked)
    three.call("broker", Role.COMPLIANCE, "consent.check", **{**asked, "phone": population.phone(PERSON + 1)})
    settle(three)
    _, data = customer_package(three)
    kinds = {json.loads(data_)["kind"] for name, data_ in files_of(data).items() if name.startswith("entries/")}
    assert {"consent.checked", "intersection.released", "intersection.exported"} <= kinds and "intersection.message" not in kinds
    checked = [one for one in three.entries("broker", kind="consent.checked")]
    assert len(checked) == 2
    held = {name for name in files_of(data) if name.startswith("entries/broker/")}
    assert f"entries/broker/{checked[0].ref.index:012d}.json" in held
    assert f"entries/broker/{checked[1].ref.index:012d}.json" not in held, "another customer's entry"
    about = json.loads(files_of(data)["package.json"])
    opened = json.loads(files_of(data)[f"openings/broker/{checked[0].ref.index:012d}.json"])["fields"]
    assert about["selection"]["value"] == opened["subject"]["value"]
    assert verdict(three, data)["verdict"] == "OK"
    assert phone.encode() not in data and population.id_no(PERSON).encode() not in data
    again, _ = exported(three, opened=True, customer=about["selection"]["value"])
    assert again.entries["broker"] >= 1


def test_the_story_of_a_customer_begins_with_the_imports_that_brought_their_consent(three: Institutions, job: str, tmp_path: Path) -> None:
    """Consent, use, result: of all imports exactly those with a grant of this customer, by phone, number or token alike."""
    other = write_consents(tmp_path / "other.csv", [(population.phone(PERSON - 60), "bank")], purpose=population.SPARE[-1])
    three.call("broker", Role.COMPLIANCE, "consent.import", file=three.upload("broker", other))
    mine = write_consents(tmp_path / "mine.csv", [(population.phone(PERSON), "bank"), (population.phone(PERSON - 60), "bank")], purpose=population.SPARE[-2])
    three.call("broker", Role.COMPLIANCE, "consent.import", file=three.upload("broker", mine))
    settle(three)
    imports = [one.ref.index for one in three.entries("broker", kind="consent.imported")]
    assert len(imports) >= 3

    def held(data: bytes) -> set[int]:
        kinds = {name: json.loads(body)["kind"] for name, body in files_of(data).items() if name.startswith("entries/broker/")}
        return {int(name[-17:-5]) for name, kind in kinds.items() if kind == "consent.imported"}

    _, data = customer_package(three)
    assert held(data) == {*imports[:-2], imports[-1]}, "the import about somebody else alone stays out"
    assert verdict(three, data)["verdict"] == "OK"
    token = json.loads(files_of(data)["package.json"])["selection"]["value"]
    assert held(exported(three, customer=token)[1]) == held(data)
    by_number = exported(three, opened=True, id_no=population.id_no(PERSON))[1]
    assert held(by_number) == held(data)
    # Whoever has the token alone, as a regulator does, gets the same story: consent, use and result.
    stories = [
        {name for name, body in files_of(one).items() if name.startswith("entries/") and json.loads(body)["kind"].startswith(("consent.", "intersection."))}
        for one in (data, by_number, exported(three, role=Role.REGULATOR, customer=token)[1])
    ]
    assert stories[0] == stories[1] == stories[2] and any(name.startswith("entries/cardnet/") for name in stories[0])
    for party in ("cardnet", "bank"):
        bodies = three.nodes[party].ledger.entry_bodies("broker", 0, three.nodes[party].ledger.size("broker"))
        assert not any(token.encode() in body for body in bodies), "no token of a customer in what partners hold"


def test_a_customer_is_named_only_when_asked_for(three: Institutions, job: str) -> None:
    phone = population.phone(PERSON)
    _, data = customer_package(three, name_customer=True)
    files = files_of(data)
    assert json.loads(files["package.json"])["selection"]["identifier"] == phone and phone.encode() in files["report.html"]
    for name in ("entries", "proofs", "openings"):
        assert not any(phone.encode() in data for path, data in files.items() if path.startswith(name))
    assert phone not in json.dumps([one.values for one in three.entries("broker", kind="evidence.exported")])


def test_no_identifier_of_any_customer_and_no_stranger_s_token_is_in_a_package(three: Institutions, job: str) -> None:
    today = three.nodes["broker"].today().isoformat()
    settle(three)
    reply, data = exported(three, opened=True, from_day=today, to_day=today)
    assert reply.opened > 100
    for person in {*population.KNOWN["broker"], *population.KNOWN["bank"]}:
        assert population.phone(person).encode() not in data and population.id_no(person).encode() not in data
    opened = [json.loads(one)["fields"] for name, one in files_of(data).items() if name.startswith("openings/")]
    assert not any("subject" in fields for fields in opened) and reply.withheld > 0


def test_a_phone_written_into_a_free_text_stays_closed(three: Institutions, job: str) -> None:
    node = three.nodes["broker"]
    for name in ("回访 10000000077 的客户.csv", "sheet.csv"):
        node.store.write(lambda tx, name=name: node.evidence.append(tx, "files.taken", {"name": name}, job="J-text"))
    settle(three)
    reply, data = exported(three, opened=True, job="J-text")
    assert (reply.opened, reply.withheld) == (1, 1) and b"10000000077" not in data and b"sheet.csv" in data


def test_only_those_who_check_may_export_and_a_regulator_types_no_phone(three: Institutions, job: str) -> None:
    for role in (Role.MARKETING, Role.OPERATOR, Role.APPROVER, Role.ADMIN):
        with pytest.raises(Denied):
            exported(three, role=role, job=job)
    for role in (Role.AUDITOR, Role.REGULATOR):
        assert exported(three, role=role, job=job)[0].state == "FINAL"
    with pytest.raises(Denied):
        exported(three, role=Role.REGULATOR, phone=population.phone(PERSON))
    node = three.nodes["broker"]
    with pytest.raises(Denied):
        node.gate.call("evidence.export", {"job": job}, three.caller("broker", Role.COMPLIANCE, kernel=True))


def test_a_package_made_while_the_partner_is_away_says_that_it_is_not_final(three: Institutions, job: str) -> None:
    node = three.nodes["broker"]
    three.wire.cut("bank", "cardnet")
    try:
        node.store.write(lambda tx: node.evidence.append(tx, "files.taken", {"name": "a"}, job="J-alone"))
        reply, data = exported(three, job="J-alone")
    finally:
        three.wire.mend()
    assert (reply.state, reply.not_final) == ("NOT_FINAL", 1) and reply.name.endswith("-NOT_FINAL.zip")
    files = files_of(data)
    assert all(b"NOT_FINAL" in files[name] for name in ("README.txt", "package.json", "report.html"))
    assert verdict(three, data)["verdict"] == "NOT_FINAL"
    settle(three)
    assert exported(three, job="J-alone")[0].state == "FINAL"


def test_a_stopped_export_leaves_no_file_and_no_entry(three: Institutions, job: str) -> None:
    node = three.nodes["broker"]
    stop = threading.Event()
    steps: list[int] = []

    def progress(done: int, total: int, zh: str, en: str) -> None:
        steps.append(done)
        if done > 200:
            stop.set()

    ctx = OperationContext(host=node, caller=three.caller("broker", Role.COMPLIANCE), progress=progress, cancelled=stop.is_set)
    before = len(three.entries("broker", kind="evidence.exported"))
    with pytest.raises(Cancelled):
        export(ctx, ExportRequest(job=job))
    assert len(three.entries("broker", kind="evidence.exported")) == before
    with node.store.read() as reader:
        assert reader.execute("SELECT count(*) FROM host_download").fetchone()[0] == 0
        orphans = "SELECT count(*) FROM vault_chunk WHERE object NOT IN (SELECT object FROM vault_object)"
        assert reader.execute(orphans).fetchone()[0] == 0
    assert steps == sorted(steps) or steps[0] == 0


def test_partners_packages_of_one_job_agree_entry_by_entry(three: Institutions, job: str) -> None:
    """What a court can do who trusts neither: the same entry and path from two institutions."""
    ours, theirs = (files_of(exported(three, party=party, job=job)[1]) for party in ("broker", "cardnet"))
    entries = [name for name in ours if name.startswith("entries/")]
    assert entries and all(ours[name] == theirs[name] for name in entries if name in theirs)
    assert {name for name in theirs if name.startswith("entries/")} <= set(entries)


def test_a_receipt_by_itself_has_the_verdict_of_the_node_s_own_verifier(three: Institutions, job: str) -> None:
    from workbench.verify import verify_receipt

    settle(three)
    node = three.nodes["broker"]
    receipt = json.loads(json.dumps(three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=job).receipt))
    files = files_of(exported(three, job=job)[1])
    trust = formats.parse_trust(files["keys/trust.json"])
    changes: list[Any] = [lambda one: one]
    changes += [lambda one, member=member: {**one, member: one[member] + " "} for member in ("entry", "checkpoint", "tlog_proof")]
    changes += [lambda one: {**one, "index": one["index"] + 1}, lambda one: {**one, "links": [one]}, lambda one: {**one, "more": 1}]
    changes += [lambda one: {**one, "links": []}, lambda one: {**one, "openings": {}}]
    changes += [lambda one: {**one, "checkpoint": one["checkpoint"].rpartition("\u2014")[0]}]
    for change in changes:
        changed = change(receipt)
        for pinned, ours in ((node.trust_keys(), trust), (None, None)):
            assert check_receipt(changed, ours)["verdict"] == verify_receipt(changed, trust=pinned).word
