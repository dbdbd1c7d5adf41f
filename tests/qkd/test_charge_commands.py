"""What a medium does on its file from the command line, and how `qkd revoke` is told what to revoke."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest

from workbench.cli import main
from workbench_kme.keys import ChargeKey, Line, Provenance
from workbench_kme.keys.charge import charge_key_id, seal_delivery
from workbench_kme.keys.medium import pack_medium

NAMESPACE = Line("a1", "kme-broker", "kme-bank", "kme-broker").namespace
PERSON, DEVICE = "P-0a1b2c3d4e5f", "card-1"


def charge(counter: int) -> ChargeKey:
    return ChargeKey(charge_key_id(NAMESPACE, PERSON, DEVICE, counter), counter, bytearray([counter]) * 32)


def test_a_delivery_opens_once_and_its_charge_key_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    secret, medium, delivery, out = (tmp_path / name for name in ("secret", "medium.json", "delivery", "key"))
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    monkeypatch.setenv("WORKBENCH_MEDIUM_PASSPHRASE_FILE", str(secret))
    medium.write_bytes(pack_medium([charge(1)], "correct horse battery", namespace=NAMESPACE, line="a1", person=PERSON, device=DEVICE))
    value = bytes(range(32))
    delivery.write_bytes(seal_delivery(charge(1).value, charge(1).key_id, 1, UUID(int=7), Provenance.SIMULATED, value))
    command = ["qkd", "charge", "open", "--medium", str(medium), "--delivery", str(delivery), "--out", str(out), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["key_id"], told["provenance"], told["is_empty"]) == (str(UUID(int=7)), "simulated", True)
    assert out.read_bytes() == value and out.stat().st_mode & 0o777 == 0o600
    assert not medium.exists(), "an empty medium holds nothing"
    out.unlink()
    assert main(command) == 2
    assert not out.exists()
    secret.chmod(0o644)
    medium.write_bytes(b"{}")
    assert main(command) == 2, "a passphrase that others can read is none"


@pytest.mark.parametrize(
    "wrong",
    [
        [], ["--line", "a1"], ["--key", "0f8fad5b-d9cb-469f-a165-70867728950e"], ["--block", "3"], ["--line", "a1", "--block", "3", "--key", "x"],
        ["--person", "li", "--line", "a1", "--block", "3"], ["--device", "card-1", "--key", "x", "--line", "a1"],
    ],
)  # fmt: skip
def test_a_revocation_that_names_nothing_or_two_things_is_wrong_usage(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["qkd", "revoke", str(tmp_path), "--party", "broker", "--reason", "介质遗失，按预案处理", *wrong])
    assert left.value.code == 64
