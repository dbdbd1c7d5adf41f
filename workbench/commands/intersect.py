"""intersect: the main job from the terminal, for scripts and checks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.client.notebook import PHASES
from workbench.client.session import Client, Record
from workbench.commands.common import (
    Options,
    ProgressLine,
    client_for,
    credentials,
    exports_folder,
    print_result,
    require_place,
    say,
    workspace_of,
    write_private,
)
from workbench.domain.party import Role
from workbench.errors import Refused, WorkbenchError
from workbench.flows.baseline import MATCH
from workbench.workspace import Workspace

POLL_S = 0.15
RULE_STATES = frozenset({"REFUSED_SMALL", "REJECTED", "WITHDRAWN", "EXPIRED", "CANCELLED"})


def intersect(options: Options) -> int:
    """Propose, approve where allowed, wait, export, and print what came out."""
    workspace = workspace_of(options)
    if options.auto_approve and workspace.kind == "production":
        raise Refused("生产工作区没有自动批准", "There is no automatic approval in production", code="NOT_IN_PRODUCTION")
    if options.out:
        require_place(Path(options.out))  # a job released in vain would spend budget and reveal a list
    failure: WorkbenchError | None = None
    with client_for(workspace, options.party, Role.MARKETING) as client:
        job = propose(client, options)
        say(f"{job.job} 已提议，等待 {options.partner} 批准 / proposed")
        if options.auto_approve:
            approve(workspace, options.partner, job.job)
        done = wait(client, job.job, limit_s=options.timeout_s + 60)
        value = summary(done)
        if done.state == "RELEASED":
            failure = take_results(workspace, options, client, done, value)
    print_result(options, value, report_lines(value))
    if failure is not None:
        say(f"{failure.zh} [{failure.code}]\n{failure.en}")
        return failure.exit_status
    if done.state == "RELEASED":
        return 0
    return 2 if done.state in RULE_STATES else 1


def propose(client: Client, options: Options) -> Record:
    job: Record = client.intersection.propose(
        partner=options.partner,
        purpose=options.purpose,
        key_kind=options.key,
        audience=options.audience or "",
        minimum_crowd=options.min_crowd,
        timeout_s=options.timeout_s,
        columns=[name for name in (options.columns or "").split(",") if name],
        campaign=options.campaign,
    )
    return job


def approve(workspace: Workspace, party: str, job: str) -> None:
    """As the partner's approver in a test or demo workspace; the entry says that it was automatic."""
    _, password = credentials(workspace, party, Role.APPROVER)
    with client_for(workspace, party, Role.APPROVER) as client:
        client.confirmed("intersection.approve", password=password, job=job, automatic=True)


def wait(client: Client, job: str, *, limit_s: float) -> Record:
    """The job in its last state, with progress on standard error; Ctrl-C cancels it."""
    line = ProgressLine()
    limit = time.monotonic() + limit_s
    try:
        while True:
            state: Record = client.intersection.job(job=job)
            if state.is_final:
                return state
            progress = state.progress
            if progress:
                zh, en = PHASES.get(progress["name"], (progress["name"], progress["name"]))
                line(progress["done"], progress["total"], zh, en)
            if time.monotonic() > limit:
                return state
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        client.intersection.cancel(job=job)
        raise Refused("已取消，没有产生结果", "Cancelled; no result exists", code="CANCELLED") from None
    finally:
        line.end()


def summary(job: Record) -> dict[str, Any]:
    """What `--json` prints about a job; below the floor there is no count at all."""
    result = job.result
    return {
        "job": job.job,
        "state": job.state,
        "waterfall": list(job.waterfall),
        "partner_bucket": result.get("partner_bucket"),
        "cardinality": result.get("cardinality"),
        "released": result.get("released", 0),
        "result_digest": result.get("result_digest"),
        "receipt": None,
        "seconds": result.get("seconds"),
        "bytes": result.get("bytes"),
        "baseline": result.get("baseline"),
        "error": job.error or None,
    }


def take_results(
    workspace: Workspace, options: Options, client: Client, job: Record, value: dict[str, Any]
) -> WorkbenchError | None:
    """Export to --out where asked, save the receipt beside the institution's exports, and write both into `value`.

    The job is released whatever happens here: a failure is kept in `value["error"]` and returned, so that who reads the
    one object still knows which job it was and that its list exists. The receipt is taken even when the export failed.
    """
    failure: WorkbenchError | None = None
    for step in (_export, _save_receipt):
        try:
            value |= step(workspace, options, client, job)
        except WorkbenchError as error:
            failure = failure or error
        except OSError as error:
            failure = failure or WorkbenchError(
                f"{job.job} 已放行，但写不了文件：{error.strerror}", f"{job.job} is released, but a file failed: {error.strerror}",
                code="SYSTEM_ERROR",
            )  # fmt: skip
    if failure is not None:
        value["error"] = failure.as_dict()
    return failure


def _export(workspace: Workspace, options: Options, client: Client, job: Record) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    if options.out:
        _, password = credentials(workspace, options.party, Role.MARKETING)
        columns = [name for name in (options.columns or "").split(",") if name]
        export = client.confirmed(
            "intersection.export", password=password, job=job.job, columns=columns, automatic=True
        )
        write_private(Path(options.out), client.download(export.download))
        taken |= {"out": options.out, "exported": export.customers, "withheld": export.withheld}
    return taken


def _save_receipt(workspace: Workspace, options: Options, client: Client, job: Record) -> dict[str, Any]:
    receipt = wait_for_receipt(client, job.job)
    path = exports_folder(workspace, options.party) / f"R-{job.job[2:]}.json"
    write_private(path, json.dumps(receipt.receipt, ensure_ascii=False, indent=1).encode())
    return {"receipt": str(path), "sealed": receipt.sealed}


def wait_for_receipt(client: Client, job: str, *, limit_s: float = 10.0, final_limit_s: float = 60.0) -> Record:
    """The receipt: once both participants have co-signed all of it, an export of a moment ago too; without them it is not
    final, and they get up to a minute. A few seconds are given to the institution outside the job.
    """
    began = time.monotonic()
    while True:
        receipt: Record = client.evidence.receipt(job=job)
        have, _, all_of = receipt.sealed.partition("/")
        waited_s = time.monotonic() - began
        if have == all_of or waited_s > (limit_s if receipt.is_final else final_limit_s):
            return receipt
        time.sleep(POLL_S)


def report_lines(value: dict[str, Any]) -> list[str]:
    """The waterfall, the answer and the receipt for a person at the terminal."""
    lines = [f"求交 {value['job']}：{value['state']}", ""]
    top = max((row["kept"] for row in value["waterfall"]), default=1) or 1
    for row in value["waterfall"]:
        bar = "█" * round(30 * row["kept"] / top)
        removed = f"−{row['removed']:,}" if row["removed"] else ""
        lines.append(f"  {row['zh']:　<8} {bar:<30} {row['kept']:>10,} {removed:>10}")
        lines += [f"      {code}: {count:,}" for code, count in row["reasons"].items()]
    if value["state"] == "RELEASED":
        lines += [
            "",
            f"{value['released']:,} 位客户可用：双方都认得，此刻都有授权",
            f"{value['released']:,} customers can be used: known to both, consented right now",
            f"对方名单大小只知道不超过 {value['partner_bucket']:,}（含补齐）；用时 {value['seconds']} 秒，{value['bytes']:,} 字节",
            f"结果摘要 SM3 {value['result_digest'][:16]}…"
            + (f"；收据 {value['receipt']}（{value['sealed']} 共签）" if value["receipt"] else "；收据未取得 / no receipt was saved"),
        ]
    lines += baseline_lines(value.get("baseline") or {})
    if value["error"]:
        lines += ["", value["error"]["zh"], value["error"]["en"], f"[{value['error']['code']}]"]
    return lines


def baseline_lines(baseline: Mapping[str, Any]) -> list[str]:
    """How this result differs from the usual one with this partner and purpose; nothing when it does not."""
    lines = []
    for one in baseline.get("deviations", []):
        zh, en = ("命中占比", "match share") if one["code"] == MATCH else (f"{one['code']} 占比", f"share of {one['code']}")
        most_zh, most_en = ("不超过 ", "at most ") if one["is_below"] else ("", "")
        lines.append(
            f"⚠ {zh}{most_zh}{one['share']:.1%}，近 {baseline['earlier']} 次中位数 {one['median']:.1%} / "
            f"{en} {most_en}{one['share']:.1%}, median of the last {baseline['earlier']} is {one['median']:.1%}"
        )
    return ["", *lines] if lines else []


__all__ = ["approve", "intersect", "propose", "report_lines", "summary", "take_results", "wait"]
