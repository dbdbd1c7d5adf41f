"""`workbench erase verify` holds a receipt against a key alone; words of the commands about leases."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sandbox import samples
from workbench.cli import build_parser, main
from workbench.lease_commands import spelled_out
from workbench_sandbox.formats.erasing import Receipt, sign_receipt
from workbench_sandbox.formats.servicekey import sign_service_key

CONTRACT = samples.KEYS["provider-contract"]


def written(receipt: Receipt) -> bytes:
    service = sign_service_key(samples.PROVIDER_SERVICE, key=CONTRACT)
    return sign_receipt(receipt, key=samples.KEYS["provider-service"], service=service)


def test_a_receipt_holds_without_a_node_and_every_changed_byte_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = written(samples.RECEIPT)
    path = tmp_path / "one.receipt"
    path.write_bytes(raw)
    arguments = ["erase", "verify", str(path), "--key", CONTRACT.public.format(), "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] and told["clean"] and told["lease"] == samples.LEASE and told["digest"] == samples.RECEIPT.digest
    for place in range(0, len(raw), 131):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert main(arguments) == 2, place
        assert "error" in json.loads(capsys.readouterr().out)


def test_residue_is_an_exit_status_and_another_key_is_a_refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = replace(samples.RECEIPT, checks=(replace(samples.RECEIPT.checks[0], found=1), *samples.RECEIPT.checks[1:]))
    path = tmp_path / "one.receipt"
    path.write_bytes(written(found))
    (tmp_path / "contract-key.txt").write_text(CONTRACT.public.format() + "\n")
    assert main(["erase", "verify", str(path), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] and not told["clean"] and told["checks"]["processes"] == 1
    assert main(["lease", "verify", str(path), "--key", samples.KEYS["tenant-contract"].public.format(), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "SERVICE_KEY"


def test_erase_alone_is_about_a_customer_and_its_two_words_about_servers() -> None:
    assert spelled_out(["erase", "list", "demo", "--party", "broker"]) == ["lease", "erasures", "demo", "--party", "broker"]
    assert spelled_out(["erase", "verify", "x"])[:2] == ["lease", "verify"]
    assert spelled_out(["erase", "demo", "--party", "broker"]) == ["erase", "demo", "--party", "broker"] and spelled_out(["erase"]) == ["erase"]
    parsed = build_parser().parse_args(["lease", "order", "demo", "--party", "broker", "--image", "ab", "--cards", "2", "--json"])
    assert (parsed.handler, parsed.cards, parsed.json) == ("leases:order", 2, True)
