"""One customer is erased at one institution: nothing of them is in any file, and everything older still verifies.

Documents: docs/protocols/erasure.md, decision 25. The customer took part in a released intersection, was looked up, has a
signed form and lies in an exported file.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from workbench_consent.capture import asking

from workbench.crypto import sm3
from workbench.domain.erasure import parse_references
from workbench.domain.party import Role
from workbench.errors import Denied, Refused, StorageFailed
from workbench.node import erasure_search
from workbench.node.pages import prepare_action
from workbench.verify import verify_receipt

from tests.consent.captured_files import pdf
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running
from tests.privacy import walk
from tests.privacy.searching import digest_forms, forms, Search

ANNA, BEN = 70, 72
PHONE, NUMBER = population.phone(ANNA), population.id_no(ANNA)
FORM = pdf(f"本人（手机 {PHONE}）同意" * 400)
REASON = "客户来电要求删除 Erase-Canary-0815"
AGENT = "合成代理人 Erase-Canary-4711"
PURPOSE = "customer-service"


@dataclass
class Erased:
    """secrets: bytes that were in the files before and must not be afterwards."""

    three: Institutions
    job: str = ""
    receipt: dict[str, Any] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict)
    looked_up: int = 0
    withdrawn: int = 0
    reply: Any = None
    secrets: dict[str, bytes] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)

    @property
    def node(self) -> Any:
        return self.three.nodes["broker"]

    def hits(self, search: Search) -> list[str]:
        assert self.node.store.checkpoint()
        folder = self.three.workspace.folder / "broker"
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert any(path.name == "evidence.db-shm" for path in files)
        return [f"{path.name}: {hit}" for path in files for hit in search.hits(path.read_bytes())]


def put_on_file(three: Institutions, folder: Path) -> None:
    """A consent with a signed form, imported with its folder."""
    rows = "phone,id_no,purpose,recipient,valid_from,valid_until,channel,document,signer,signer_name,signer_relation,authority\n"
    rows += f"{PHONE},{NUMBER},{PURPOSE},bank,2020-01-01,2099-12-31,网点,anna.pdf,agent,{AGENT},受托人,授权委托书\n"
    (folder / "forms.csv").write_text(rows, "utf-8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("anna.pdf", FORM)
    (folder / "forms.zip").write_bytes(packed.getvalue())
    upload = {name: three.upload("broker", folder / f"forms.{end}") for name, end in (("file", "csv"), ("documents", "zip"))}
    done = three.call("broker", Role.COMPLIANCE, "consent.import", **upload)
    assert done.accepted == 1


def wrapped_keys(node: Any, names: tuple[str, ...]) -> dict[str, bytes]:
    with node.store.read() as reader:
        rows = reader.execute("SELECT 'object ' || name, wrapped FROM vault_object WHERE name LIKE 'list/%' OR name LIKE 'result/%'").fetchall()
        rows += reader.execute(
            f"SELECT 'subject', wrapped FROM vault_subject WHERE subject IN ({','.join('?' * len(names))})", names
        ).fetchall()
        return {f"wrapped {name} {number}": bytes(key) for number, (name, key) in enumerate(rows)}


@pytest.fixture(scope="module")
def erased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erased]:
    workspace = fresh_workspace()
    with running(workspace) as three:
        made = Erased(three)
        node = three.nodes["broker"]
        put_on_file(three, tmp_path_factory.mktemp("forms"))
        made.job = three.run("broker", "bank", PURPOSE)[0].job
        assert PHONE in three.released_phones("broker", made.job)
        _, data = three.exported("broker", made.job)
        exports = node.folder / "exports"
        exports.mkdir(mode=0o700)
        (exports / f"{made.job}.csv").write_bytes(data)
        three.call("broker", Role.COMPLIANCE, "consent.check", phone=PHONE, purpose=PURPOSE, recipient="bank")
        three.call("broker", Role.COMPLIANCE, "consent.withdraw", phone=PHONE, purpose="test-40", reason=REASON)
        made.looked_up = three.entries("broker", kind="consent.checked")[-1].ref.index
        made.withdrawn = three.entries("broker", kind="consent.withdrawn")[-1].ref.index
        three.wait_until(lambda: node.sealing.pending()[1] == 0)
        made.receipt = three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=made.job).receipt
        with node.store.read() as reader:
            openings = node.evidence.openings(reader, made.withdrawn, ["reason"])
        made.opened = node.ledger.receipt("broker", made.withdrawn, openings=openings)
        names = node.consent.customer_names(phones=(PHONE,), id_nos=(NUMBER,))
        made.secrets = wrapped_keys(node, names)
        salt = openings["reason"][0]
        made.secrets |= {f"salt {name}": one for name, one in digest_forms("", salt).items()}
        made.before = made.hits(Search(made.secrets))
        made.reply = three.call("broker", Role.COMPLIANCE, "customers.erase", phone=PHONE, reason=REASON)
        yield made
    shutil.rmtree(workspace.folder)


def findings(reply: Any) -> dict[str, Any]:
    return {f"{one.owner} {one.what}": one for one in reply.findings}


def test_the_report_says_owner_by_owner_what_was_found_and_what_became_of_it(erased: Erased) -> None:
    found = findings(erased.reply)
    assert erased.reply.state == "RESTRICTED" and erased.reply.until_ms > erased.node.now_ms()
    for one in found.values():
        assert one.found == one.erased + one.restricted + one.left, one.owner
        assert one.zh and one.en
    assert (found["results target list rows"].erased, found["results target list rows"].names) == (1, [erased.job])
    assert found["lists list rows"].erased == 1
    grants = found["consent grants"]
    assert grants.restricted == grants.found > 50 and grants.until_ms == erased.reply.until_ms
    values = found["evidence values in entries"]
    assert values.erased >= 4 and values.restricted >= 4  # the look-up at once, the withdrawals for three years
    exports = found["exports exported files"]
    assert found["consent representatives"].restricted == 1
    assert exports.left == 1 and exports.names == [f"{erased.job}.csv (营销 01)"]
    assert PHONE not in erased.reply.model_dump_json() and NUMBER not in erased.reply.model_dump_json()


def test_the_entries_name_places_to_us_and_nothing_to_others(erased: Erased) -> None:
    told: dict[int, frozenset[str]] = {}
    for kind in ("evidence.restricted", "evidence.erased"):
        [entry] = erased.three.entries("broker", kind=kind)
        assert set(entry.values) - {"recovery"} <= {"request", "entries", "records", "until", "basis"}
        told |= parse_references(entry.values["entries"])
        body = erased.node.ledger.entry_bodies("broker", entry.ref.index, entry.ref.index + 1)[0]
        assert b"entry:" not in body and entry.refs == ()
        assert Search({f"{one} {name}": form for one in (PHONE, NUMBER) for name, form in forms(one).items()}).hits(body) == []
    assert told[erased.looked_up] >= {"subject", "purpose", "recipient", "outcome"}
    assert told[erased.withdrawn] == {"subject", "purpose", "recipient", "grants", "reason", "by", "proof"}


def test_normal_operations_read_nothing_of_what_was_set_aside(erased: Erased) -> None:
    with erased.node.store.read() as reader:
        assert "reason" not in erased.node.evidence.view(reader, erased.withdrawn)
        assert erased.node.evidence.openings(reader, erased.withdrawn, ["reason"]) == {}
    record = erased.node.consent.state()
    emptied = [row for row in range(len(record.grants)) if not record.grants.digest[row].any()]
    with pytest.raises(Denied) as denied:
        erased.three.call("broker", Role.COMPLIANCE, "consent.document", record=len(record.grants), reason="look at it")
    assert denied.value.code == "RESTRICTED"
    assert len(emptied) > 50 and all(record.grants.withdrawn[row] for row in emptied)
    with pytest.raises(Denied):
        erased.three.call("broker", Role.MARKETING, "customers.restricted", phone=PHONE, reason="for a campaign")


def test_compliance_and_audit_read_it_with_a_reason_and_each_reading_is_evidence(erased: Erased) -> None:
    before = len(erased.three.entries("broker", kind="evidence.restricted_read"))
    found = erased.three.call("broker", Role.AUDITOR, "customers.restricted", phone=PHONE, reason="court order 12")
    texts = [value for one in found.found for value in one.values.values()]
    assert REASON in texts
    assert any(AGENT in text for text in texts), "who signed for the customer is set aside with the grant"
    entries = erased.three.entries("broker", kind="evidence.restricted_read")
    assert len(entries) == before + 1 and entries[-1].values["reason"] == "court order 12"


def test_everything_older_still_verifies_also_what_was_opened_before(erased: Erased) -> None:
    trust = erased.node.trust_keys()
    assert verify_receipt(erased.receipt, trust=trust).exit_status == 0
    assert verify_receipt(erased.opened, trust=trust).exit_status == 0
    assert REASON in str(erased.opened)
    again = erased.three.call("broker", Role.COMPLIANCE, "evidence.receipt", job=erased.job).receipt
    assert verify_receipt(again, trust=trust).exit_status == 0


def test_every_audit_holds_after_the_erasure(erased: Erased) -> None:
    report = erased.three.call("broker", Role.COMPLIANCE, "evidence.audit", compare=False)
    assert [(one.problem, one.index, one.field) for one in report.findings] == []
    consent = erased.three.call("broker", Role.COMPLIANCE, "consent.audit")
    assert [(one.problem, one.event, one.record) for one in consent.findings] == []


def test_the_customer_is_used_nowhere_and_an_import_brings_nobody_back(erased: Erased, tmp_path: Path) -> None:
    put = tmp_path / "again.csv"
    header = "phone,id_no,purpose,recipient,valid_from,valid_until\n"
    put.write_text(header + f"{PHONE},{NUMBER},{PURPOSE},bank,2020-01-01,2099-12-31\n", "utf-8")
    done = erased.three.call("broker", Role.COMPLIANCE, "consent.import", file=erased.three.upload("broker", put))
    assert (done.accepted, done.suppressed) == (0, 1)
    checked = erased.three.call("broker", Role.COMPLIANCE, "consent.check", phone=PHONE, id_no=NUMBER, purpose=PURPOSE, recipient="bank")
    assert (checked.usable, checked.suppressed, checked.records) == (False, True, [])


def test_no_file_holds_the_customer_in_any_form_nor_a_destroyed_key(erased: Erased) -> None:
    """Write-ahead log and its index included. The exported file and the reading of others are out of the node's hands."""
    assert {one.partition(": ")[2].partition(" ")[0] for one in erased.before} >= {"wrapped"}, "they were there before"
    folder = erased.three.workspace.folder / "broker"
    (folder / "exports" / f"{erased.job}.csv").unlink()
    with erased.node.store.read() as reader:
        kept = {name: key for name, key in wrapped_keys(erased.node, ()).items()}
        restrictions = erased.node.restricted.restrictions(reader)
    gone = {name: key for name, key in erased.secrets.items() if key not in kept.values()}
    assert sum("wrapped" in name for name in gone) >= 3
    patterns = dict(gone)
    for one in (PHONE, NUMBER, REASON, AGENT):
        patterns |= {f"{one[:4]} {name}": form for name, form in forms(one).items() if len(form) >= 8}
    for number, part in enumerate((FORM[100:140], sm3.digest(FORM), hashlib.sha256(FORM).digest())):
        patterns[f"form {number}"] = part
    assert erased.hits(Search(patterns)) == []
    # The end of the terms: what was set aside goes too.
    with erased.node.store.read() as reader:
        aside = {
            f"aside {one.id}": bytes(reader.execute("SELECT wrapped FROM vault_object WHERE name = ?", (f"restricted/{one.id}",)).fetchone()[0])
            for one in restrictions
        }
    assert len(erased.hits(Search(aside))) == len(aside) > 1
    erased.node.store.write(lambda tx: tx.execute("UPDATE erasure_restriction SET until_ms = 1").rowcount)
    assert erased.node.erasure.sweep() == len(aside)
    assert erased.node.erasure.asked(erased.reply.request).state == "ERASED"
    assert erased.hits(Search(patterns | aside)) == []
    assert list((folder / "blobs").glob("??/*.blob")) == []
    report = erased.three.call("broker", Role.COMPLIANCE, "evidence.audit", compare=False)
    assert [(one.problem, one.index, one.field) for one in report.findings] == []
    assert verify_receipt(erased.opened, trust=erased.node.trust_keys()).exit_status == 0


def test_no_table_but_those_that_keep_the_customer_out_holds_a_token_of_the_customer(erased: Erased) -> None:
    """The walk of docs/protocols/erasure.md section 11, cell by cell, after the end of the terms."""
    node = erased.node
    tokens = [bytes.fromhex(one) for one in node.consent.customer_names(phones=(PHONE,), id_nos=(NUMBER,))]
    forms_of_tokens = {form for one in tokens for form in (one, one.hex().encode())}
    becomes = walk.tables()
    holding: set[str] = set()
    with node.store.read() as reader:
        for table in walk.tables_of(reader):
            for row in reader.execute(f'SELECT * FROM "{table}"'):
                cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
                if any(form in cell for form in forms_of_tokens for cell in cells):
                    holding.add(table)
    assert "consent_suppression" in holding
    # A row of an opening keeps its keyed token beside nothing; look-ups after the erasure add such rows.
    assert {table for table in holding if becomes[table] != "stays"} <= {"evidence_opening"}, holding


def test_every_table_and_every_object_of_the_vault_has_an_owner_in_the_walk(erased: Erased) -> None:
    becomes = walk.tables()
    for party in ("broker", "bank"):
        node = erased.three.nodes[party]
        with node.store.read() as reader:
            assert set(walk.tables_of(reader)) - set(becomes) == set(), "a table without an owner: docs/protocols/erasure.md section 11"
            prefixes = walk.objects()
            strange = [one for one in node.vault.names(reader) if not one.startswith(tuple(prefixes))]
        assert strange == [], "an object of the vault without an owner: docs/protocols/erasure.md section 11"
    assert set(becomes.values()) == {"none", "out", "aside", "stays"}
    writers = {path for paths in walk.objects().values() for path in paths}
    assert walk.writers_in_sources() - writers == set(), "a module writes to the vault and is not in section 11"


def test_the_search_finds_a_customer_who_is_still_in_a_file_and_says_where(erased: Erased, tmp_path: Path) -> None:
    """Somebody of the list who was not erased: what the report of an incomplete erasure would say."""
    node, folder = erased.node, erased.three.workspace.folder / "broker"
    phone = population.phone(92)
    run = folder / "run"
    run.mkdir(exist_ok=True)
    left = {
        "plain.log": f"x{phone}y".encode(), "hex.log": phone.encode().hex().encode(), "wide.txt": phone.encode("utf-16-be"),
        "b64.txt": base64.b64encode(b"ab" + phone.encode()), "digest.bin": sm3.digest(phone.encode()),
    }  # fmt: skip
    for name, data in left.items():
        (run / name).write_bytes(bytes(9 << 20)[: (8 << 20) - 5] + data)  # across the border of two blocks
    (run / f"{phone}.txt").write_text(phone, "utf-8")
    seen: list[tuple[int, int]] = []
    reply = erased.three.call("broker", Role.COMPLIANCE, "customers.erase", phone=phone, reason="asked for it in writing")
    found = {one.owner: one for one in reply.findings}
    assert found["search"].left == len(left) + 1 == found["search"].found
    assert {name.partition(": ")[0] for name in found["search"].names} == {f"run/{name}" for name in left} | {"run/****.txt"}
    entry = erased.three.entries("broker", kind="customers.erasure_searched")[-1]
    assert entry.values["hits"] == str(len(left) + 1) and int(entry.values["files"]) > len(left)
    for path in run.iterdir():
        path.unlink()
    # Stopped half-way: the erasure stands, the report says that nobody looked.
    again = node.erasure.ask(
        erased.three.caller("broker", Role.COMPLIANCE), phone=phone, id_no="", reason="asked once more",
        step=lambda done, total: bool(seen.append((done, total))),
    )  # fmt: skip
    [stopped] = [one for one in again.report if one["owner"] == "search"]
    assert "stopped" in stopped["en"] and seen and seen[0][0] <= seen[0][1]
    assert erased.three.entries("broker", kind="customers.erasure_searched")[-1].values["hits"] == "-"


@pytest.mark.parametrize(("program", "status"), [("false", 1), ("true", 0)])
def test_a_search_whose_process_gives_no_answer_says_so_and_how_it_ended(
    program: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which(program)
    assert found is not None
    monkeypatch.setattr(erasure_search.sys, "executable", found)
    with pytest.raises(StorageFailed, match=f"exit status {status}|退出码 {status}"):
        erasure_search.search(tmp_path, ["13800000001"])


def test_next_of_kin_ask_with_a_proof_which_goes_with_the_customer(erased: Erased) -> None:
    three, phone = erased.three, population.phone(96)
    asking = {"phone": phone, "reason": "relatives wrote to us", "by": "kin"}
    with pytest.raises(Refused, match="PROOF_NEEDED"):
        three.call("broker", Role.COMPLIANCE, "customers.erase", **asking)
    assert three.call("broker", Role.COMPLIANCE, "customers.erase", proof="Kin-Canary-0816", **asking).state == "RESTRICTED"
    found = three.call("broker", Role.AUDITOR, "customers.restricted", phone=phone, reason="court order 13").found
    kept = [one.values for one in found if "proof" in one.values]
    assert len(kept) == 2 and all((one["by"], one["proof"]) == ("kin", "Kin-Canary-0816") for one in kept)
    assert erased.hits(Search({"proof": b"Kin-Canary-0816"})) == []


def test_drafts_waiting_actions_and_files_that_name_the_customer_go(erased: Erased, tmp_path: Path) -> None:
    three, node = erased.three, erased.node
    phone, number = population.phone(94), population.id_no(94)
    three.call("broker", Role.MARKETING, "intersection.draft_save", audience=f"备注 = {phone}")
    three.call("broker", Role.MARKETING, "intersection.draft_save", audience="资产档 = A")
    waiting = prepare_action(node, three.caller("broker", Role.COMPLIANCE), "consent.withdraw", {"phone": phone, "id_no": number})
    node.store.write(lambda tx: node.downloads.offer(tx, three.caller("broker", Role.MARKETING), "list.csv", phone.encode()))
    (tmp_path / "later.csv").write_text(f"手机号\n{phone}\n", "utf-8")
    upload = three.upload("broker", tmp_path / "later.csv")
    job = three.run("broker", "bank", PURPOSE)[0].job
    three.exported("broker", job)
    reply = three.call("broker", Role.COMPLIANCE, "customers.erase", id_no=number, reason="asked for it in writing")
    found = {f"{one.owner} {one.what}": one for one in reply.findings}
    assert found["texts drafts and waiting actions"].erased == 2
    assert found["downloads files waiting to be taken"].erased == found["uploads files not imported"].erased == 1
    assert len(three.call("broker", Role.MARKETING, "intersection.draft_get").drafts) == 1
    with node.store.read() as reader:
        assert f"action/{waiting}" not in node.vault.names(reader, "action/")
    assert not (node.folder / "uploads" / upload).exists()
    given = found["given out files exported from lists that held the customer"]
    entry = three.entries("broker", job, "intersection.exported")[0]
    assert [name for name in given.names if name.startswith(f"{job} #{entry.ref.index} ")] and "营销" in given.names[0]
    assert found["search files searched"].left == 0, found["search files searched"]


def test_an_emptied_field_that_no_entry_tells_of_is_found(erased: Erased) -> None:
    node = erased.node
    index = erased.three.entries("broker", kind="consent.imported")[-1].ref.index
    kept = node.store.write(
        lambda tx: tx.execute("SELECT blob FROM evidence_opening WHERE entry_idx = ? AND field = 'file'", (index,)).fetchone()[0]
    )
    node.store.write(
        lambda tx: tx.execute("UPDATE evidence_opening SET blob = x'' WHERE entry_idx = ? AND field = 'file'", (index,)).rowcount
    )
    assert [(one.index, one.field, one.problem) for one in node.erasure.check()] == [(index, "file", "ERASED_UNRECORDED")]
    node.store.write(
        lambda tx: tx.execute("UPDATE evidence_opening SET blob = ? WHERE entry_idx = ? AND field = 'file'", (kept, index)).rowcount
    )
    assert list(node.erasure.check()) == []


def test_a_form_changed_on_disk_is_in_the_report_of_every_audit(erased: Erased, tmp_path: Path) -> None:
    """What `workbench audit` calls: entry, grant, party, and who acts."""
    three, folder = erased.three, erased.three.workspace.folder / "broker" / "blobs"
    phone, number = population.phone(88), population.id_no(88)
    (tmp_path / "rows.csv").write_text(
        "phone,id_no,purpose,recipient,valid_from,valid_until,document\n"
        f"{phone},{number},{PURPOSE},bank,2021-01-01,2098-12-31,x.pdf\n",
        "utf-8",
    )
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.pdf", FORM)
    three.call(
        "broker", Role.COMPLIANCE, "consent.import", file=three.upload("broker", tmp_path / "rows.csv"),
        documents=three.upload("broker", tmp_path / "x.zip"),
    )  # fmt: skip
    entry = three.entries("broker", kind="consent.imported")[-1].ref.index
    (path,) = folder.glob("??/*.blob")
    kept = path.read_bytes()
    path.write_bytes(kept[:500] + bytes([kept[500] ^ 4]) + kept[501:])
    report = three.call("broker", Role.COMPLIANCE, "evidence.audit", compare=False)
    [found] = report.findings
    assert (report.holds, found.problem, found.log, found.index) == (False, "DOCUMENT_CHANGED", "broker", entry)
    assert "合规" in found.zh and "compliance" in found.en and found.field.startswith("root (grant ")
    path.write_bytes(kept)
    assert three.call("broker", Role.COMPLIANCE, "evidence.audit", compare=False).holds


def test_a_phone_of_two_persons_needs_the_number_and_the_other_stays(erased: Erased) -> None:
    shared = population.phone(population.SHARED_PHONE)
    with pytest.raises(Refused) as refused:
        erased.three.call("broker", Role.COMPLIANCE, "customers.erase", phone=shared, reason="asked at the counter")
    assert refused.value.code == "AMBIGUOUS_CUSTOMER"
    erased.three.call("broker", Role.COMPLIANCE, "customers.erase", id_no=population.id_no(901), reason="asked at the counter")
    frame = erased.node.lists.frame(erased.node.lists.newest().list_id)
    assert frame.filter(frame["phone"] == shared)["customer_id"].to_list() == [f"broker-{population.SHARED_PHONE}"]


def test_an_erasure_cut_off_in_the_middle_goes_on_at_the_next_start(
    erased: Erased, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists and grants are done, the openings are not; identifiers wait sealed, and go when it is finished."""
    three, phone = erased.three, population.phone(84)
    three.call("broker", Role.COMPLIANCE, "consent.check", phone=phone, purpose=PURPOSE, recipient="bank")
    looked_up = three.entries("broker", kind="consent.checked")[-1]

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(erased.node.restricted, "take_openings", stop)
    with pytest.raises(KeyboardInterrupt):
        three.call("broker", Role.COMPLIANCE, "customers.erase", phone=phone, reason="asked for it by mail")
    [left] = erased.node.erasure.requests(states=("RUNNING",))
    three.stop("broker")
    three.start("broker")
    three.wait_until(lambda: erased.node.erasure.asked(left.request).state == "RESTRICTED")
    with erased.node.store.read() as reader:
        assert "outcome" not in erased.node.evidence.view(reader, looked_up.ref.index)
        assert phone.encode() not in erased.node.vault.get(reader, f"erasure/{left.request}")
    assert erased.hits(Search({name: form for name, form in forms(phone).items()})) == []
    assert list(erased.node.erasure.check()) == []


def test_a_restored_copy_brings_neither_the_erased_nor_the_withdrawn_back(erased: Erased) -> None:
    """The copy is older than an erasure, a withdrawal and a refusal to be asked; the mirrors give the entries back, and nobody asks people."""
    three, folder = erased.three, erased.three.workspace.folder / "broker"
    gone, withdrawn, declined = population.phone(74), population.phone(76), population.phone(88)
    offers = [{"purpose": PURPOSE, "recipient": "bank", "until": "2030-12-31"}]
    question = {"phone": declined, "offers": offers, "place": "counter", "identity": "document seen"}
    secret = three.call("broker", Role.COMPLIANCE, "consent.ask", **question).path.rpartition("/")[2]
    three.stop("broker")
    copy = folder.parent / "older.db"
    shutil.copyfile(folder / "evidence.db", copy)
    three.start("broker")
    three.call("broker", Role.COMPLIANCE, "consent.withdraw", phone=withdrawn, reason="changed his mind")
    three.call("broker", Role.COMPLIANCE, "customers.erase", phone=gone, reason="asked for it in writing")
    asking.refuse(erased.node, secret)
    three.wait_until(lambda: erased.node.sealing.pending()[1] == 0)
    last = erased.node.ledger.size("broker")
    three.stop("broker")
    for name in ("evidence.db-wal", "evidence.db-shm"):
        (folder / name).unlink(missing_ok=True)
    shutil.copyfile(copy, folder / "evidence.db")
    node = three.start("broker")
    three.wait_until(lambda: node.ledger.size("broker") > last and not node.erasure.requests(states=("RUNNING",)))
    frame = node.lists.frame(node.lists.newest().list_id)
    assert gone not in frame["phone"].to_list() and withdrawn in frame["phone"].to_list()
    for phone in (gone, withdrawn):
        answer = three.call("broker", Role.COMPLIANCE, "consent.check", phone=phone, purpose=PURPOSE, recipient="bank")
        assert (answer.usable, answer.suppressed) == (False, True)
    assert node.store.write(lambda tx: tx.execute("SELECT count(*) FROM consent_replay WHERE done = 0").fetchone()[0]) == 0
    with pytest.raises(Refused) as asked_again:
        three.call("broker", Role.COMPLIANCE, "consent.ask", **question)
    assert asked_again.value.code == "ASKED_TOO_SOON"
    assert [one.state for one in three.call("broker", Role.COMPLIANCE, "consent.asked", phone=declined).questions] == ["REFUSED"]
    with pytest.raises(Refused) as link:
        asking.show(node, secret)
    assert link.value.code == "LINK_USED"
    assert erased.hits(Search({f"{name}": form for name, form in forms(gone).items()})) == []
    copy.unlink()


def test_production_waits_for_a_second_person(erased: Erased) -> None:
    node, three = erased.node, erased.three
    node.kind = "production"
    try:
        asked = three.call("broker", Role.COMPLIANCE, "customers.erase", phone=population.phone(80), reason="asked by letter")
        assert asked.state == "WAITING"
        with pytest.raises(Denied) as denied:
            three.call("broker", Role.COMPLIANCE, "customers.confirm_erasure", request=asked.request)
        assert denied.value.code == "OWN_REQUEST"
        assert population.phone(80) in node.lists.frame(node.lists.newest().list_id)["phone"].to_list()
    finally:
        node.kind = "test"
    node.store.write(lambda tx: tx.execute("UPDATE erasure_request SET asked_by = 'somebody-else'").rowcount)
    done = three.call("broker", Role.COMPLIANCE, "customers.confirm_erasure", request=asked.request)
    assert done.state == "RESTRICTED"
    assert population.phone(80) not in node.lists.frame(node.lists.newest().list_id)["phone"].to_list()


