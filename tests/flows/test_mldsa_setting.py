"""The setting `ledger.mldsa` at one of three institutions: docs/protocols/ledger.md section 1, from key to trust file."""

from __future__ import annotations

import json

from tests.flows.institutions import Institutions, write_settings
from tests.package.package_world import files_of
from workbench.domain.checkpoint import verify_note
from workbench.domain.party import PartyId, Role
from workbench.node.keys import format_bundle
from workbench.node.trust import export_trust, parse_trust
from workbench.verify import verify_receipt
from workbench_ledger.package.verifier import formats
from workbench_ledger.package.verifier.checks import Package, check_package

BROKER, BANK = PartyId("broker"), PartyId("bank")


def test_the_third_line_appears_when_it_is_turned_on_and_counts_once_partners_have_pinned_the_bundle(
    apart: Institutions,
) -> None:
    apart.stop("broker")
    write_settings(apart.workspace, "broker", ledger__mldsa=True)
    broker = apart.start("broker")
    bank = apart.nodes["bank"]
    assert broker.keys.bundle.cosign_mldsa44 is not None
    apart.wait_until(lambda: bank.ledger.size(BROKER) == broker.ledger.size(BROKER))
    apart.wait_until(lambda: broker.ledger.seal(BROKER, broker.ledger.size(BROKER) - 1).state == "FULL")

    # a partner that has not pinned the new bundle ignores the line, and signs as before
    note = broker.ledger.own_checkpoint()
    assert verify_note(note, broker.trust_keys(), project=broker.project).cosignatures[BROKER].mldsa_line is not None
    seen = verify_note(note, bank.trust_keys(), project=bank.project)
    assert (seen.cosignatures[BROKER].mldsa_line, seen.unknown_lines) == (None, 1)

    # two people pin it, as every bundle; from then on the line is verified and kept there too
    bundle = format_bundle(broker.keys.bundle).decode()
    assert json.loads(bundle)["v"] == 2
    proposed = apart.call("bank", Role.OPERATOR, "partners.enrol", bundle=bundle)
    apart.call("bank", Role.ADMIN, "partners.confirm", digest=proposed.digest)
    broker.store.write(lambda tx: broker.evidence.append(tx, "people.password_changed", {}))
    last = broker.ledger.size(BROKER) - 1
    apart.wait_until(lambda: bank.ledger.seal(BROKER, last).state != "PENDING")
    receipt = bank.ledger.receipt(BROKER, last)
    assert "mldsa" not in json.dumps(receipt["keys"])  # the released format of receipts stays
    trust = {party: one.for_notes() for party, one in parse_trust(export_trust(bank.partners.trust.bundles())).items()}
    assert trust[BROKER].mldsa44 == broker.keys.bundle.cosign_mldsa44
    found = verify_note(receipt["checkpoint"], trust, project=bank.project)
    assert found.cosignatures[BROKER].mldsa_line is not None
    assert verify_receipt(receipt, trust=trust).holds
    assert bank.ledger.audit().holds

    # where the line is demanded, node and package agree that one institution's is not enough, and the package says whose is missing
    for name, value in (("ledger.mldsa_required", ["people."]), ("evidence.report_font", "no such font")):
        broker.settings._values[name] = value
    assert broker.ledger.seal(BROKER, last).state == "PENDING"
    today = broker.today().isoformat()
    reply = apart.call("broker", Role.COMPLIANCE, "evidence.export", from_day=today, to_day=today)
    files = files_of(broker.downloads.take(apart.caller("broker", Role.COMPLIANCE), reply.download)[1])
    about = json.loads(files["package.json"])
    assert (reply.state, about["v"], about["mldsa_required"]) == ("NOT_FINAL", "workbench/v2/package", ["people."])
    pinned = formats.parse_trust(files["keys/trust.json"])
    result = check_package(Package(sorted(files), files.__getitem__, "", []), pinned, [], None)
    problems = [one for step in result["steps"] for one in step["problems"]]
    assert result["verdict"] == "NOT_FINAL" and last in [one["index"] for one in problems if one["code"] == "MLDSA_MISSING"]
