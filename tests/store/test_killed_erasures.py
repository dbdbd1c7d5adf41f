"""Kill -9 at every step of both stages of an erasure: it goes on at the next start, and nothing half-done is shown as done."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from killed_erasures import AFTER_ALL_TERMS_H, PHONE, REASON, THREADS

from tests.consent.captured_files import pdf
from tests.host.house import House, opened
from workbench.contracts import OperationContext
from workbench.domain.party import Role
from workbench.errors import NotFound
from workbench.store.vault import RESTRICTED_PREFIX
from workbench.workspace import Workspace, create_workspace, load_workspace

OTHER = "10000000002"
FORM = "synthetic signed form of "
CATALOGUE = {
    "name": "n", "owner": "o", "source": "s", "subjects": "synthetic", "method": "m", "data_class": "C2", "lawful_basis": "consent",
}  # fmt: skip


def operate(house: House, role: Role, name: str, **request: Any) -> Any:
    operation = house.node.gate.registry.named(name)
    ctx = OperationContext(
        host=house.node, caller=house.caller(role), progress=lambda *_: None, cancelled=lambda: False
    )
    return operation.run(ctx, operation.request(**request))


def filled(folder: Path) -> Workspace:
    """Two customers in a list, each with a grant and a signed form, and a withdrawal of the first one's."""
    workspace = create_workspace(folder / "template", kind="test", parties=("broker", "bank"))
    packed = io.BytesIO()
    rows = ["phone,purpose,recipient,valid_from,valid_until,document"]
    with zipfile.ZipFile(packed, "w") as archive:
        for phone in (PHONE, OTHER):
            rows.append(f"{phone},customer-service,bank,2020-01-01,2099-12-31,{phone[-1]}.pdf")
            archive.writestr(f"{phone[-1]}.pdf", pdf(f"{FORM}{phone}"))
    files = {
        "list.csv": f"客户号,手机号\n1,{PHONE}\n2,{OTHER}\n".encode(),
        "grants.csv": "\n".join(rows).encode(),
        "forms.zip": packed.getvalue(),
    }
    with opened(workspace) as house:
        ids = {}
        for name, data in files.items():
            (folder / name).write_bytes(data)
            ids[name] = house.node.uploads.adopt(folder / name)
        operate(house, Role.MARKETING, "lists.import", file=ids["list.csv"], catalogue=CATALOGUE)
        operate(house, Role.COMPLIANCE, "consent.import", file=ids["grants.csv"], documents=ids["forms.zip"])
        for one in ids.values():
            house.node.uploads.remove(one)
        operate(house, Role.COMPLIANCE, "consent.withdraw", phone=PHONE, purpose="investor-education", reason="asked")
    return workspace


def killed_at_every_step(stage: str, template: Path, target: Path) -> list[Path]:
    """Copies of the institution, by the step at which its process was killed; at the last nobody was."""
    target.mkdir()
    program = [sys.executable, str(Path(__file__).with_name("killed_erasures.py")), stage, str(template), str(target)]
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(program, check=True, cwd=root, env={**os.environ, **THREADS, "PYTHONPATH": path})
    return [target / str(number) for number in range(1, len(list(target.iterdir())) + 1)]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("erasures")
    return killed_at_every_step("first", filled(folder).folder, folder / "first")


@pytest.fixture(scope="module")
def second(first: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return killed_at_every_step("second", first[-1], tmp_path_factory.mktemp("erasures") / "second")


def listed(house: House) -> list[str]:
    node = house.node
    return sorted(node.lists.frame(node.lists.newest().list_id)["phone"].to_list())


def lying(house: House) -> int:
    """How many restrictions lie here; each must open."""
    node = house.node
    with node.store.read() as reader:
        found = node.restricted.restrictions(reader)
        for one in found:
            node.restricted.open(reader, one.id)
        assert sorted(RESTRICTED_PREFIX + one.id for one in found) == sorted(node.vault.names(reader, RESTRICTED_PREFIX))
    return len(found)


def forms(house: House) -> int:
    return len(list((house.node.folder / "blobs").glob("??/*.blob")))


def said(house: House) -> list[str]:
    """What the log says of erasures, oldest first."""
    with house.node.store.read() as reader:
        rows = house.node.evidence.search(reader, kind="evidence.", limit=100)
    return [row.kind for row in reversed(rows) if row.kind in ("evidence.restricted", "evidence.erased")]


def everything_holds(house: House) -> None:
    node = house.node
    assert list(node.evidence.check_openings()) == []
    assert list(node.erasure.check()) == []
    assert list(node.consent.audit().findings) == []
    assert OTHER in listed(house), "nobody else is touched"


def keys(folder: Path) -> set[bytes]:
    """Every wrapped key in the vault of a copy that is not open."""
    with closing(sqlite3.connect(folder / "broker" / "evidence.db")) as reader:
        return {row[0] for row in reader.execute("SELECT wrapped FROM vault_object UNION SELECT wrapped FROM vault_subject")}


def in_files(folder: Path, secrets: set[bytes]) -> list[str]:
    """Files in which one of these lies, write-ahead log and indexes included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(one in data for data in [path.read_bytes()] for one in secrets)]


def no_identifier_waits(house: House, request: str) -> None:
    """The identifiers of the request have gone with its last step; tokens stay until the terms have ended."""
    with house.node.store.read() as reader:
        try:
            assert PHONE.encode() not in house.node.vault.get(reader, f"erasure/{request}")
        except NotFound:
            pass


def test_a_first_stage_killed_at_any_step_is_not_called_done_and_goes_on_at_the_next_start(first: list[Path]) -> None:
    seen = set()
    destroyed = keys(first[0]) - keys(first[-1])
    assert destroyed
    left_by_a_kill = []
    for number, folder in enumerate(first, 1):
        left = in_files(folder, destroyed)
        with opened(load_workspace(folder)) as house:
            before = house.node.erasure.requests()
            state = before[0].state if before else ""
            seen.add(state)
            is_done = state == "RESTRICTED"
            assert is_done is ("evidence.restricted" in said(house)), f"step {number}"
            if is_done:
                left_by_a_kill += left
                assert in_files(folder, destroyed) == [], f"step {number}"
                assert before[0].report and listed(house) == [OTHER] and lying(house) > 0, f"step {number}"
            else:
                assert not before or not before[0].report, f"step {number}"
            everything_holds(house)
            house.node.erasure.sweep()
            if not before:
                assert listed(house) == [PHONE, OTHER], "a request that nobody was told of leaves no trace"
                house.node.erasure.ask(house.caller(Role.COMPLIANCE), phone=PHONE, id_no="", reason=REASON)
            [asked] = house.node.erasure.requests()
            assert asked.state == "RESTRICTED", f"step {number}"
            assert said(house).count("evidence.restricted") == 1, f"step {number}"
            assert listed(house) == [OTHER]
            assert (lying(house) > 0, forms(house)) == (True, 2)
            no_identifier_waits(house, asked.request)
            assert in_files(folder, destroyed) == [], f"step {number}"
            everything_holds(house)
    assert seen == {"", "RUNNING", "RESTRICTED"}, "the kills fell on every side"
    assert left_by_a_kill, "a kill right after the last step leaves destroyed keys in the write-ahead log; the next start empties it"


def test_the_end_of_a_term_killed_at_any_step_is_not_called_done_and_goes_on_at_the_next_start(second: list[Path]) -> None:
    seen = set()
    for number, folder in enumerate(second, 1):
        with opened(load_workspace(folder)) as house:
            [asked] = house.node.erasure.requests()
            seen.add(asked.state)
            assert (asked.state == "ERASED") is (lying(house) == 0), f"step {number}"
            everything_holds(house)
            house.clock.forward(hours=AFTER_ALL_TERMS_H)
            house.node.blobs.sweep()
            house.node.erasure.sweep()
            [asked] = house.node.erasure.requests()
            assert asked.state == "ERASED", f"step {number}"
            assert (lying(house), forms(house)) == (0, 1), f"step {number}"
            with house.node.store.read() as reader:
                assert house.node.vault.names(reader, "erasure/") == []
            everything_holds(house)
    assert seen == {"RESTRICTED", "ERASED"}
