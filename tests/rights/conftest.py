"""One world for the tests of the rights desk: three institutions, a released intersection, a customer who is everywhere."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.consent.captured_files import pdf
from tests.flows import population
from tests.flows.institutions import CATALOGUE, Institutions, fresh_workspace, running
from tests.gate_client import GateClient
from workbench.domain.party import Role

ANNA = 70
PHONE, NUMBER = population.phone(ANNA), population.id_no(ANNA)
PURPOSE = "customer-service"
RULE = "资产档 in (A, B)"
FORM = pdf(f"本人（手机 {PHONE}）同意" * 200)


@dataclass
class Desk:
    """The institutions, the released job, and shortcuts."""

    three: Institutions
    job: str = ""

    @property
    def node(self) -> Any:
        return self.three.nodes["broker"]

    def call(self, operation: str, /, role: Role = Role.COMPLIANCE, party: str = "broker", **request: Any) -> Any:
        return self.three.call(party, role, operation, **request)

    def ask(self, kind: str, person: int = ANNA, *, identified: bool = True, **more: Any) -> str:
        """A request of this person, with the identity confirmed."""
        made = self.call("rights.receive", kind=kind, phone=population.phone(person), id_no=population.id_no(person), **more)
        if identified:
            self.call("rights.identify", request=made.request, method="in-person", note="证件与本人一致")
        return str(made.request)

    def granted(self, kind: str, person: int = ANNA, **more: Any) -> str:
        request = self.ask(kind, person, **more)
        self.call("rights.decide", request=request, decision="granted", reason="依法办理，核身无误")
        return request

    def taken(self, download: str, role: Role = Role.COMPLIANCE) -> bytes:
        _, data = self.node.downloads.take(self.three.caller("broker", role), download)
        return bytes(data)

    def answer(self, request: str) -> tuple[Any, dict[str, bytes]]:
        reply = self.call("rights.answer", request=request)
        with zipfile.ZipFile(io.BytesIO(self.taken(reply.download))) as archive:
            return reply, {name: archive.read(name) for name in archive.namelist()}

    def entries(self, kind: str) -> list[Any]:
        return self.three.entries("broker", kind=kind)


def gate_client(desk: Desk, party: str, role: Role) -> GateClient:
    """What a command gets instead of a connection."""
    return GateClient(
        desk.node.gate.registry, lambda operation, **request: desk.three.call(party, role, operation, **request),
        upload=lambda path: desk.three.upload(party, path), download=lambda download: desk.taken(download, role),
    )  # fmt: skip


def put_on_file(three: Institutions, folder: Path) -> None:
    """A second list with a tag of its own, and a consent with a signed form."""
    (folder / "second.csv").write_text(
        f"客户号,手机号,身份证号,姓名,风险等级,城市\nS-1,{PHONE},{NUMBER},合成客户,C3,杭州\nS-2,{population.phone(71)},,合成客户,C1,宁波\n", "utf-8"
    )
    three.call(
        "broker", Role.MARKETING, "lists.import", file=three.upload("broker", folder / "second.csv"),
        catalogue={**CATALOGUE, "name": "第二名单", "lawful_basis": "contract"},
    )
    rows = "phone,id_no,purpose,recipient,valid_from,valid_until,channel,document\n"
    rows += f"{PHONE},{NUMBER},{PURPOSE},bank,2020-01-01,2098-12-31,网点,anna.pdf\n"
    (folder / "forms.csv").write_text(rows, "utf-8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("anna.pdf", FORM)
    (folder / "forms.zip").write_bytes(packed.getvalue())
    upload = {name: three.upload("broker", folder / f"forms.{end}") for name, end in (("file", "csv"), ("documents", "zip"))}
    three.call("broker", Role.COMPLIANCE, "consent.import", **upload)


@pytest.fixture(scope="package")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    workspace = fresh_workspace()
    with running(workspace) as three:
        made = Desk(three)
        first = three.nodes["broker"].lists.newest().list_id
        put_on_file(three, tmp_path_factory.mktemp("desk"))
        made.job = three.run("broker", "bank", PURPOSE, audience=RULE, list_id=first, columns=["资产档"])[0].job
        yield made
    shutil.rmtree(workspace.folder)
