"""Three real institutions and a real JupyterLab for tests, started once per run of pytest; plus a browser made of httpx."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from workbench.client.session import Client, Record, sign_in
from workbench.demo.data import populate
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused
from workbench.jupyter.launch import RunningLab, start_lab
from workbench.supervisor import RunningNode, running_nodes, start_nodes, stop_nodes
from workbench.workspace import Workspace, create_workspace, free_ports

CUSTOMERS = 2_000
ANSWER_S = 60
"""How long a page, a form or a Lab may take to answer on a busy machine; every wait ends as soon as it is answered."""
AUDIENCE = "资产档 in (A,B,C) and risk_level >= C2"


@dataclass
class Institutions:
    """A test workspace with synthetic people whose nodes run; nothing is shared with any other test process."""

    workspace: Workspace
    nodes: dict[PartyId, RunningNode]
    labs: dict[str, RunningLab] = field(default_factory=dict)

    def client(self, party: str, role: Role, *, audience: str = "command") -> Client:
        account, password = self.workspace.sign_in(party, role)
        return sign_in(self.nodes[PartyId(party)].staff_url, account, password, audience=audience)

    def node_url(self, party: str = "broker") -> str:
        return self.nodes[PartyId(party)].staff_url

    def lab(self, party: str = "broker") -> RunningLab:
        """The Lab of one person of this party, started at its first use."""
        if party not in self.labs:
            self.labs[party] = start_lab(self.workspace, party, port=0)
        return self.labs[party]

    def approve(self, party: str, job: str) -> None:
        """As the partner's approver with a password, which a test workspace allows from a program."""
        _, password = self.workspace.sign_in(party, Role.APPROVER)
        with self.client(party, Role.APPROVER) as client, contextlib.suppress(Refused):  # somebody else was first
            client.confirmed("intersection.approve", password=password, job=job, automatic=True)

    def released_job(self) -> str:
        """An intersection of broker and bank that was released, run at the first call."""
        with self.client("broker", Role.MARKETING) as client:
            done = [one for one in client.intersection.jobs().jobs if one.state == "RELEASED"]
            if done:
                return str(done[0].job)
            job = client.intersection.propose(
                partner="bank", purpose="wealth-marketing", audience=AUDIENCE, columns=["资产档", "城市"]
            )
            self.approve("bank", job.job)
            return str(wait_for(lambda: _final(client, job.job), 180).job)

    def stop(self) -> None:
        for lab in self.labs.values():
            lab.stop()
        stop_nodes(self.workspace)


def wait_for(question: Callable[[], Any], limit_s: float) -> Any:
    """The first true answer, asked again and again; an assertion error after limit_s."""
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"no answer within {limit_s} s")


_running: list[Institutions] = []


@pytest.fixture(scope="session")
def institutions() -> Iterator[Institutions]:
    """Started once, whichever folder's tests ask first; stopped at the end of the run, before a worker says it is done."""
    if _running:
        yield _running[0]
        return
    folder = Path(tempfile.mkdtemp(prefix="workbench-test-"))
    try:
        # Compiled arithmetic of earlier runs: nodes would spend a minute of processor time making it again.
        compiled = Path(tempfile.gettempdir()) / f"workbench-tests-compiled-{os.getuid()}"
        compiled.mkdir(mode=0o700, exist_ok=True)
        os.environ.setdefault("NUMBA_CACHE_DIR", str(compiled))
        workspace = create_workspace(folder / "ws", kind="test")
        populate(workspace, customers=CUSTOMERS, seed=20261121, say=lambda text: None)
        for party in workspace.parties:  # a frame that a busy machine holds up is no clock that goes wrong
            settings = workspace.node_folder(party) / "settings.json"
            settings.write_text(json.dumps({**json.loads(settings.read_text("utf-8")), "node.max_skew_s": 30}), "utf-8")
        free_ports(workspace)
        start_nodes(workspace)
        made = Institutions(workspace, running_nodes(workspace))
        _running.append(made)
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Browser:
    """Cookies, forms and redirects as a browser has them, against one Lab; `let_in` gives Jupyter's token once."""

    def __init__(self, institutions: Institutions, party: str = "broker") -> None:
        self.institutions = institutions
        self.party = party
        self.lab = institutions.lab(party)
        self.http = httpx.Client(base_url=self.lab.base_url, timeout=ANSWER_S, trust_env=False)

    def let_in(self) -> Browser:
        token = self.lab.url.partition("token=")[2]
        assert self.http.get("lab", params={"token": token}).status_code in (200, 302)
        return self

    def node_form(self) -> httpx.Response:
        """The node's sign-in page, reached through the Lab."""
        sent = self.http.get("workbench/signin")
        assert sent.status_code == 302
        return httpx.get(sent.headers["Location"], trust_env=False, timeout=ANSWER_S)

    def fill(self, form: httpx.Response, role: Role) -> httpx.Response:
        """Post account and password of a role; returns the node's answer."""
        account, password = self.institutions.workspace.sign_in(self.party, role)
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form.text))
        origin = self.institutions.node_url(self.party)
        return httpx.post(
            urljoin(origin, "/signin"),
            data={**hidden, "person": account, "password": password},
            headers={"Origin": origin},
            trust_env=False,
            timeout=ANSWER_S,
        )

    def sign_in(self, role: Role) -> dict[str, Any]:
        """All of it; returns the Lab's status afterwards."""
        back = self.fill(self.node_form(), role)
        assert back.status_code == 303, back.text
        done = self.http.get(back.headers["Location"])
        assert done.status_code == 200, done.text
        return self.status()

    def status(self) -> dict[str, Any]:
        return dict(self.http.get("workbench/status").json())

    def sign_out(self) -> httpx.Response:
        return self.http.post("workbench/signout", json={}, headers={"X-XSRFToken": self.http.cookies.get("_xsrf", "")})

    def forget_theme(self) -> None:
        """Lab's own theme again, whatever an earlier test chose or was about to choose."""
        path = "lab/api/settings/@jupyterlab/apputils-extension:themes"
        answer = self.http.put(path, json={"raw": "{}"}, headers={"X-XSRFToken": self.http.cookies.get("_xsrf", "")})
        assert answer.is_success, answer.text

    def page(self, name: str, **headers: str) -> httpx.Response:
        """The document of a page, once the pages' process is up."""

        def ask() -> httpx.Response | None:
            answer = self.http.get("workbench/app/page", params={"name": name}, headers=headers)
            return None if answer.status_code == 503 else answer

        return wait_for(ask, 2 * ANSWER_S)


def _final(client: Client, job: str) -> Record | None:
    state = Record(client.intersection.job(job=job))
    return state if state.is_final else None
