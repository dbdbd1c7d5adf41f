"""demo: three synthetic institutions, one real intersection, sign-ins, JupyterLab; Ctrl-C stops every child.

A demo workspace is one trust domain (decision 19): one user of this machine owns every institution, and says so.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from workbench.client.session import Record
from workbench.commands.common import (
    Options,
    client_for,
    exports_folder,
    print_result,
    say,
    write_private,
)
from workbench.commands.intersect import approve, propose, report_lines, summary, take_results, wait
from workbench.commands.lines import await_line, carry_over_line, make_line, start_line, stop_line
from workbench.commands.questions import await_lease, index_by_meaning, prepare_questions, tell_failure
from workbench.demo.data import populate
from workbench.domain.party import ROLE_NAMES, PartyId, Role
from workbench.errors import Refused, WorkbenchError
from workbench.node.keys import load_bundle
from workbench.node.trust import export_trust, parse_trust
from workbench.supervisor import RunningNode, running_nodes, start_nodes, stop_nodes
from workbench.verify import Verdict, verify_receipt_file
from workbench.workspace import Workspace, create_workspace, free_ports, load_workspace

FEWEST_CUSTOMERS = 2_000
"""Fewer synthetic customers would leave fewer common ones than the smallest crowd of 50."""

PURPOSE = "wealth-marketing"
AUDIENCE = "资产档 in (A,B,C) and risk_level >= C2"
PARTNER_AUDIENCE = "risk_level >= C3"
NOTEBOOK = "demo_notebooks/01_intersection.ipynb"
LAUNCHER = "workbench.jupyter.launch"
PROVIDERS = ("telecom",)
"""Who rents sandboxes out; --check and --without-provider leave it out."""


class Lab(Protocol):
    """JupyterLab of one person, as its launcher hands it over."""

    url: str

    def stop(self) -> None: ...


@dataclass(slots=True)
class Children:
    """What this command started and therefore stops."""

    workspace: Workspace
    started: tuple[PartyId, ...] = ()
    lab: Lab | None = None
    has_line: bool = False
    nodes: dict[PartyId, RunningNode] = field(default_factory=dict)

    def stop(self) -> None:
        """Stop all of it; further signals wait until everything has ended."""
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        try:
            if self.lab is not None:
                self.lab.stop()
                import_module(LAUNCHER).forget_labs(self.workspace, main_parties(self.workspace)[0])
        finally:
            stop_nodes(self.workspace, parties=self.started) if self.started else None
            stop_line(self.workspace) if self.has_line else None


def demo(options: Options) -> int:
    """Make or reuse the workspace, start it, show the main job, open JupyterLab, wait for Ctrl-C.

    Exit 0 when it ran and was stopped, or with --check when the job was released and its receipt holds; else 1 or 2.
    """
    began = time.monotonic()
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.default_int_handler)
    is_ready = False
    try:
        workspace = ensure_workspace(
            Path(options.dir), customers=options.customers, seed=options.seed, providers=() if options.check or options.without_provider else PROVIDERS
        )
        if not options.check and not running_nodes(workspace):
            make_line(workspace, main_parties(workspace), *_leasing_pairs(workspace))
            if options.over_qkd:
                carry_over_line(workspace, main_parties(workspace))
        with running(workspace) as children:
            if not options.check:
                children.has_line = True
                start_line(workspace)
                if options.over_qkd:
                    await_line(workspace, main_parties(workspace))
            lease = "" if options.check else lease_sandbox(workspace)
            value, status = show_main_job(children, anew=options.check)
            if not options.check:
                leave_proposal(workspace)
                await_sandbox(workspace, lease)
                children.lab = start_lab(workspace, open_browser=not options.no_browser)
                value["lab"] = children.lab.url if children.lab else None
                status = 0
            stays = [] if options.check else [*sign_in_lines(children), *_lab_lines(value["lab"])]
            lines = [*_job_lines(value), *stays]
            print_result(options, _without_texts(value), lines)
            is_ready = True
            say(f"就绪，用时 {time.monotonic() - began:.1f} 秒 / ready after {time.monotonic() - began:.1f} s")
            if not options.check:
                say("按 Ctrl-C 停止全部进程 / Ctrl-C stops every process")
                if lease:
                    threading.Thread(target=_index, args=(workspace,), daemon=True).start()
                watch(children)
            return status
    except KeyboardInterrupt:
        say("已停止全部进程 / every process has been stopped")
        return 0 if is_ready else 1


def ensure_workspace(folder: Path, *, customers: int, seed: int, providers: Sequence[str] = ()) -> Workspace:
    """The demo workspace in this folder; made complete under another name first, so that a stop leaves no half of it.

    providers: institutions beside the three that rent sandboxes out; a workspace that is there stays as it was made.
    """
    if (folder / "workspace.json").exists():
        workspace = load_workspace(folder)
        if workspace.kind == "production":
            raise Refused(
                "这是生产工作区，不能用于演示", "This is a production workspace; it is not for demonstrations",
                code="NOT_IN_PRODUCTION",
            )  # fmt: skip
        say(f"使用已有工作区「{folder.name}」/ using the workspace that is there")
        return workspace
    if folder.exists() and any(folder.iterdir()):
        raise Refused(
            f"「{folder.name}」不是空目录，也不是工作区。换一个目录",
            f"{folder.name} is neither empty nor a workspace. Choose another folder",
            code="FOLDER_NOT_EMPTY",
        )
    if customers < FEWEST_CUSTOMERS:
        say(
            f"客户数取 {FEWEST_CUSTOMERS:,}：再少就到不了最小人群 / using {FEWEST_CUSTOMERS:,} customers, fewer miss the floor"
        )
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    say("建立三家合成机构的工作区 / making the workspace of three synthetic institutions")
    try:
        made = create_workspace(making, kind="demo", providers=providers)
        populate(made, customers=max(FEWEST_CUSTOMERS, customers), seed=seed, say=say)
        folder.parent.mkdir(parents=True, exist_ok=True)
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return load_workspace(folder)


@contextlib.contextmanager
def running(workspace: Workspace) -> Iterator[Children]:
    """All nodes up; at the end those that this command started are stopped, whatever happened."""
    already = running_nodes(workspace)
    if not already:
        for name, (old, new) in free_ports(workspace).items():
            say(f"端口 {old} 被占用，{name} 改用 {new} / port {old} is taken, {name} uses {new}")
    children = Children(workspace, started=tuple(one for one in workspace.parties if one not in already))
    try:
        children.nodes = start_nodes(workspace)
        yield children
    finally:
        children.stop()


def show_main_job(children: Children, *, anew: bool) -> tuple[dict[str, Any], int]:
    """Run the main job where none was released yet (or always with `anew`); its summary, receipt and verdict.

    Returns the value that `--json` prints, with the exit status: 0 when released and the receipt holds.
    """
    workspace = children.workspace
    own, partner = main_parties(workspace)
    with client_for(workspace, own, Role.MARKETING) as client:
        done = None if anew else _released(client.intersection.jobs().jobs)
        if done is None:
            asked = _terms(partner, AUDIENCE)
            job = propose(client, asked)
            say(f"{job.job} 已提议，以 {partner} 审批岗批准（演示）/ proposed, approved as the partner's approver")
            approve(workspace, partner, job.job)
            done = wait(client, job.job, limit_s=asked.timeout_s + 60)
        value = summary(done)
        status = 0 if done.state == "RELEASED" else 2 if done.error else 1
        verdict = None
        if done.state == "RELEASED":
            failure = take_results(workspace, argparse.Namespace(out=None, party=own, columns=""), client, done, value)
            if failure is not None:
                raise failure
            verdict = verify_with_workspace_keys(workspace, own, Path(value["receipt"]))
            status = 0 if verdict.holds else 2
    value |= {
        "verdict": verdict.as_dict() if verdict else None,
        "nodes": {party: {"pid": node.pid, "staff_url": node.staff_url} for party, node in children.nodes.items()},
        "lab": None,
    }
    return value, status


def lease_sandbox(workspace: Workspace) -> str:
    """Everything a question needs, up to an ordered lease; its name, "" without a provider or where something refuses, which is said."""
    if not workspace.providers:
        return ""
    try:
        return prepare_questions(workspace)
    except WorkbenchError as error:
        tell_failure(error)
        return ""


def await_sandbox(workspace: Workspace, lease: str) -> None:
    """Say whether questions can be asked; a lease that takes longer runs later all the same."""
    if lease and await_lease(workspace, lease):
        say(f"租约 {lease} 已就绪：投顾可在「问模型」提问 / the lease runs: the adviser can ask")
    elif lease:
        say(f"租约 {lease} 还没有就绪，见「租约与计量」/ the lease does not run yet, see Leases and meters")


def _index(workspace: Workspace) -> None:
    try:
        index_by_meaning(workspace)
    except WorkbenchError as error:
        tell_failure(error)


def verify_with_workspace_keys(workspace: Workspace, party: str, receipt: Path) -> Verdict:
    """Check a receipt offline with the keys of this workspace, which are also written down for `workbench verify`."""
    data = export_trust([load_bundle(workspace.node_folder(one) / "keys") for one in workspace.parties])
    write_private(exports_folder(workspace, party) / "trust.json", data)
    pinned = parse_trust(data)
    trust = {one: keys.for_notes() for one, keys in pinned.items()}
    return verify_receipt_file(receipt, trust=trust)


def leave_proposal(workspace: Workspace) -> None:
    """One proposal of the partner waits in the own inbox, so that the approver's page has something to decide."""
    own, partner = main_parties(workspace)
    with client_for(workspace, partner, Role.MARKETING) as client:
        if any(job.side == "initiator" and not job.is_final for job in client.intersection.jobs().jobs):
            return
        job = propose(client, _terms(own, PARTNER_AUDIENCE))
    say(f"{partner} 的提议 {job.job} 在 {own} 收件箱等待审批 / a proposal waits in the inbox of {own}")


def main_parties(workspace: Workspace) -> tuple[PartyId, PartyId]:
    """Who proposes and with whom: broker and bank where they exist."""
    own = PartyId("broker") if "broker" in workspace.exchanging else workspace.exchanging[0]
    others = [one for one in workspace.exchanging if one != own]
    if not others:
        raise Refused("演示至少需要两家机构", "A demonstration needs two institutions", code="BAD_PARTY")
    return own, PartyId("bank") if "bank" in others else others[-1]


def _leasing_pairs(workspace: Workspace) -> list[tuple[PartyId, PartyId]]:
    """Who rents from whom: a line of its own for each."""
    tenant = workspace.tenant
    return [(tenant, one) for one in workspace.providers] if tenant is not None else []


def start_lab(workspace: Workspace, *, open_browser: bool) -> Lab | None:
    """JupyterLab of the own institution with the first notebook open; None, with the reason said, when it cannot run."""
    own, _ = main_parties(workspace)
    try:
        launcher = import_module(LAUNCHER)
        lab: Lab = launcher.start_lab(workspace, own, open_browser=open_browser)
    except (ImportError, WorkbenchError) as error:
        reason = error.zh if isinstance(error, WorkbenchError) else f"{type(error).__name__}: {error}"
        say(f"JupyterLab 没有启动：{reason} / JupyterLab did not start; the nodes run")
        return None
    return lab


def watch(children: Children) -> None:
    """Wait for a signal; say it once when a node ends by itself."""
    expected = set(children.nodes)
    while True:
        time.sleep(1.0)
        now = set(running_nodes(children.workspace))
        for party in sorted(expected - now):
            say(f"{party} 的节点已停止，见其目录 run/node.log / the node of {party} has ended, see run/node.log")
        expected = now


def sign_in_lines(children: Children) -> list[str]:
    """Addresses and the account of each role at each institution."""
    workspace = children.workspace
    lines = [
        "",
        "登录（演示账号，同一系统用户拥有全部机构）/ sign-ins (demo: one user of this machine owns all institutions)",
    ]
    for party in workspace.parties:
        lines += ["", f"  {party}  {children.nodes[party].staff_url}"]
        for account, _, roles in workspace.staff(party):
            _, password = workspace.sign_in(party, roles[0])
            zh, en = ROLE_NAMES[roles[0]]
            lines.append(f"    {account:<11} {password}   {zh} {en}")
    return lines


def _released(jobs: list[Record]) -> Record | None:
    mine = [job for job in jobs if job.state == "RELEASED" and job.side == "initiator"]
    return max(mine, key=lambda job: int(job.created_ms)) if mine else None


def _terms(partner: str, audience: str) -> argparse.Namespace:
    return argparse.Namespace(
        partner=partner,
        purpose=PURPOSE,
        key="phone",
        audience=audience,
        min_crowd=50,
        timeout_s=600,
        columns="资产档,城市",
        campaign="",
    )


def _job_lines(value: dict[str, Any]) -> list[str]:
    lines = report_lines(value)
    verdict = value["verdict"]
    if verdict:
        lines += ["", f"离线核对收据 / receipt checked offline: {verdict['verdict']}（{verdict['cosigned']}）"]
        lines += [f"  {'✓' if step['ok'] else '✗'} {step['zh']} / {step['en']}" for step in verdict["steps"]]
        lines += [f"  {verdict['zh']}", f"  {verdict['en']}"]
    return lines


def _lab_lines(url: str | None) -> list[str]:
    return ["", f"JupyterLab：{url}（{NOTEBOOK}）"] if url else []


def _without_texts(value: dict[str, Any]) -> dict[str, Any]:
    wanted = ("job", "state", "waterfall", "partner_bucket", "cardinality", "released", "result_digest", "receipt", "sealed",
              "seconds", "bytes", "error", "verdict", "nodes", "lab")  # fmt: skip
    return {name: value.get(name) for name in wanted}


__all__ = ["demo"]
