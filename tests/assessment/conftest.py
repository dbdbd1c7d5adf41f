"""One world for the tests of assessments: broker and bank with real nodes, and one released and exported intersection."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.flows.institutions import Institutions, fresh_workspace, running
from workbench.domain.party import Role

PURPOSE = "investor-education"
WORDS = {
    "necessity": "为向客户提供其同意接收的投资者教育材料，范围限于双方共同客户。",
    "impact": "客户可能收到更多联系；若泄露，手机号可被滥用，影响中等且可控。",
    "measures": "逐人授权核对、最小人群、加密存放与共签留证，与风险相适应。",
    "risk": "medium", "residual": "低", "conclusion": "proceed",
}  # fmt: skip


@dataclass
class Office:
    """The institutions and shortcuts."""

    three: Institutions
    job: str = ""

    @property
    def node(self) -> Any:
        return self.three.nodes["broker"]

    def call(self, operation: str, /, role: Role = Role.COMPLIANCE, party: str = "broker", **request: Any) -> Any:
        return self.three.call(party, role, operation, **request)

    def entries(self, kind: str, party: str = "broker") -> list[Any]:
        return self.three.entries(party, kind=kind)

    def approved(self, purpose: str, *, party: str = "broker", partner: str = "bank", **words: Any) -> str:
        """An assessment written by compliance and approved by the approver."""
        made = self.call("assessment.draft", party=party, purpose=purpose, recipient=partner).info.assessment
        self.call("assessment.save", party=party, assessment=made, **{**WORDS, **words})
        self.call("assessment.submit", party=party, assessment=made)
        self.call("assessment.approve", Role.APPROVER, party=party, assessment=made)
        return str(made)

    def file(self, reply: Any) -> bytes:
        return bytes(self.node.downloads.take(self.three.caller("broker", Role.COMPLIANCE), reply.download)[1])

    def files(self, reply: Any) -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self.file(reply))) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    @contextmanager
    def stage(self, stage: str, *parties: str) -> Iterator[None]:
        """The nodes as if their settings file said this stage."""
        nodes = [self.three.nodes[one] for one in parties or ("broker", "bank")]
        for node in nodes:
            node.setting = lambda name, node=node: stage if name == "assessment.stage" else node.settings[name]
        try:
            yield
        finally:
            for node in nodes:
                del node.setting


@pytest.fixture(scope="package")
def office() -> Iterator[Office]:
    workspace = fresh_workspace()
    with running(workspace, ("broker", "bank")) as three:
        made = Office(three)
        made.job = three.run("broker", "bank", PURPOSE, audience="资产档 in (A, B)", columns=["资产档"])[0].job
        three.exported("broker", made.job, columns=["资产档"])
        yield made
    shutil.rmtree(workspace.folder)
