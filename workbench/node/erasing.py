"""What the host itself keeps of a customer, place by place: lists, results, waiting downloads, uploads, files.

Document: docs/protocols/erasure.md sections 1 and 2. Every function may run again and then finds nothing. Openings and
plugins' records are not here: workbench/store/restricted.py and hook workbench_erase_customer.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench.contracts import FindsCustomers, LearnsLists, Transaction
from workbench.domain.envelope import format_time
from workbench.domain.erasure import Customer, ErasureFinding, ErasureRequest
from workbench.domain.identifiers import IDENTIFIER_SHAPE
from workbench.errors import NotFound, Refused
from workbench.flows.endings import RUNNING_STATES
from workbench.store.frames import get_frame, stage_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

LARGEST_SEARCHED_BYTES = 64 << 20
TEXTS = ("draft/", "action/", "action-reply/")
"""Objects of the vault that a person wrote or was answered, and that are gone by themselves within minutes or days."""


def finds_customers(host: Workbench) -> FindsCustomers:
    """The consent registry as the one who knows customers by token; Refused when it cannot."""
    registry = host.consent
    if not isinstance(registry, FindsCustomers):
        raise Refused(
            "授权登记不支持按客户擦除：管理员更换插件",
            "the consent registry cannot name customers: an administrator installs another one",
            code="ERASURE_NOT_SUPPORTED",
        )
    return registry


def identify(host: Workbench, phone: str | None, id_no: str | None) -> Customer:
    """Everything known to be this person's: identifiers in lists and tokens, signed forms included.

    Raises Refused AMBIGUOUS_CUSTOMER when a phone alone is known to several persons. A phone that somebody else of a list
    has too is left out, unless its own entry says so: what lies under it alone may be the other's. Cost: every list.
    """
    phones, numbers = {phone} if phone else set(), {id_no} if id_no else set()
    frames = [frame.select("phone", "id_no") for _, frame in _lists(host)]
    everything = pl.concat(frames) if frames else pl.DataFrame(schema={"phone": pl.String, "id_no": pl.String})
    if phone and not id_no:
        numbers = set(everything.filter(pl.col("phone") == phone)["id_no"].drop_nulls())
        if len(numbers) > 1:
            raise ambiguous()
    mine = everything.filter(pl.col("id_no").is_in(sorted(numbers)))
    phones |= set(mine["phone"].drop_nulls())
    theirs = pl.col("phone").is_in(sorted(phones)) & pl.col("id_no").is_not_null() & ~pl.col("id_no").is_in(sorted(numbers))
    shared = set(everything.filter(theirs)["phone"]) if numbers else set()
    own = tuple(sorted(phones - shared))
    names = finds_customers(host).customer_names(phones=own, id_nos=tuple(sorted(numbers)))
    return Customer(names, own, tuple(sorted(numbers)))


def ambiguous() -> Refused:
    return Refused(
        "这个手机号对应不止一位客户：请同时填写身份证号",
        "several persons have this phone: give the identity number too",
        code="AMBIGUOUS_CUSTOMER",
    )


def erase_from_host(host: Workbench, request: ErasureRequest) -> Iterator[ErasureFinding]:
    """All places of the host, results before lists, because a result is found through its list."""
    _require_no_run(host, request)
    results = _results(host, request)
    yield results
    yield _lists_rewritten(host, request)
    yield _downloads(host, request)
    yield _uploads(host, request)
    yield _texts(host, request)
    yield _exports(host, request)
    yield _given_out(host, results.names)
    yield _jobs(host, request)


# ------------------------------------------------------------------------------------------- lists and results


def _lists(host: Workbench) -> Iterator[tuple[str, pl.DataFrame]]:
    for info in host.lists.everything():
        try:
            yield info.list_id, host.lists.frame(info.list_id)
        except NotFound:
            continue  # erased meanwhile


def rows_of(host: Workbench, frame: pl.DataFrame, customer: Customer) -> np.ndarray:
    """bool (n): the customer's rows. Cost for 10^6 rows: 30 ms while every name is known in clear, else half a second."""
    for name in ("phone", "id_no"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.String).alias(name))
    finds = finds_customers(host)
    if set(customer.names) <= set(finds.tokens_of(phones=customer.phones, id_nos=customer.id_nos)):
        mine = pl.col("id_no").is_in(customer.id_nos) | (pl.col("id_no").is_null() & pl.col("phone").is_in(customer.phones))
        return frame.select(mine.fill_null(value=False).alias("mine"))["mine"].to_numpy()
    return np.asarray(finds.rows_named(frame, customer.names), bool)


def _require_no_run(host: Workbench, request: ErasureRequest) -> None:
    """A run that began before the withdrawal may still bring the customer's row into a result; later ones cannot."""
    running = [job.job for state in sorted(RUNNING_STATES) for job in host.jobs.in_state(state)]
    if running:
        raise Refused(
            f"擦除 {request.request} 已撤回授权；有 {len(running)} 次求交正在运行，结束后一分钟内自动继续",
            f"Erasure {request.request}: consent is withdrawn; {len(running)} intersections run, and it goes on by itself within"
            " a minute of their end",
            code="ERASURE_WAITS",
            details={"request": request.request, "jobs": " ".join(running[:20])},
        )


def _results(host: Workbench, request: ErasureRequest) -> ErasureFinding:
    """Target lists in the vault: the customer's row goes, by key or by the number the institution's own list gave."""
    found, touched = 0, []
    with host.store.read() as reader:
        objects = [name for name in host.vault.names(reader, "result/") if name.count("/") == 1]
    numbers = {
        list_id: set(frame.filter(pl.Series(rows_of(host, frame, request.customer)))["customer_id"])
        for list_id, frame in (_lists(host) if objects else ())
    }
    for name in objects:
        job = name.partition("/")[2]
        with host.store.read() as reader:
            frame = get_frame(reader, host.vault, name)
        try:
            list_id = host.jobs.get(job).request.get("list_id", "")
        except NotFound:
            list_id = ""
        mask = rows_of(host, frame, request.customer)
        if "customer_id" in frame.columns and numbers.get(list_id):
            mask = mask | frame["customer_id"].is_in(sorted(numbers[list_id])).to_numpy()
        if mask.any():
            found += int(mask.sum())
            touched.append(job)
            _rewrite(host, name, frame.filter(pl.Series(~mask)))
    return ErasureFinding(
        "results", "target list rows", found, found, 0, 0,
        "目标名单已重写，旧密钥已销毁；以前的收据与摘要仍可核对",
        "target lists were rewritten and their old keys destroyed; earlier receipts and digests still verify",
        names=tuple(touched),
    )  # fmt: skip


def _lists_rewritten(host: Workbench, request: ErasureRequest) -> ErasureFinding:
    found, touched = 0, []
    for list_id, frame in _lists(host):
        mask = rows_of(host, frame, request.customer)
        if not mask.any():
            continue
        removed = int(mask.sum())
        kept = frame.filter(pl.Series(~mask))
        with host.store.read() as reader:
            derived = host.vault.names(reader, f"list/{list_id}/")
        values = {"list": list_id, "removed": str(removed), "request": request.request}

        def change(tx: Transaction) -> None:
            for name in derived:  # noqa: B023 - runs before the next round
                host.vault.shred(tx, name)
            tx.execute("UPDATE host_list SET rows = ? WHERE list = ?", (kept.height, list_id))  # noqa: B023
            host.evidence.append(tx, "lists.rewritten", values, actor=request.actor)  # noqa: B023

        _rewrite(host, f"list/{list_id}", kept, also=change)
        host.lists.forget(list_id)
        found += removed
        touched.append(list_id)
    return ErasureFinding(
        "lists", "list rows", found, found, 0, 0,
        "名单已重写，旧密钥已销毁。业务系统再次导入会再带来此人，但仍不能使用",
        "lists were rewritten and their old keys destroyed. Importing again brings the row back; it stays unusable",
        names=tuple(touched),
    )  # fmt: skip


def learn_again(host: Workbench, list_ids: Sequence[str]) -> None:
    """What the registry had prepared for lists that were rewritten is prepared anew; until then a decision takes longer.

    Nothing is kept of a list that was rewritten once more meanwhile.
    """
    registry = host.consent
    if not isinstance(registry, LearnsLists):
        return
    for list_id in list_ids:
        frame = host.lists.frame(list_id)
        learned = registry.learn(frame, list_id=list_id)

        def change(tx: Transaction, list_id: str = list_id, height: int = frame.height, adopt: Any = learned) -> None:
            row = tx.execute("SELECT rows FROM host_list WHERE list = ? AND erased_ms IS NULL", (list_id,)).fetchone()
            if row is not None and row[0] == height:
                adopt(tx)

        host.store.write(change)


def _rewrite(host: Workbench, name: str, frame: pl.DataFrame, *, also: object = None) -> None:
    draft = stage_frame(host.vault, name, frame)

    def change(tx: Transaction) -> None:
        host.vault.adopt(tx, draft)
        if callable(also):
            also(tx)

    try:
        host.store.write(change, timeout_s=300)
    except BaseException:
        host.vault.discard(draft)
        raise


# -------------------------------------------------------------------------------------------------- files


def _holds(data: bytes, customer: Customer) -> bool:
    """Whether a file names the customer: in plain, in UTF-16, or inside a ZIP such as a workbook."""
    needles = [form for one in customer.identifiers for form in (one.encode(), one.encode("utf-16-le"))]
    return any(needle in part for part in _contents(data) for needle in needles)


def _contents(data: bytes) -> Iterable[bytes]:
    yield data
    if data[:2] == b"PK":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for one in archive.infolist():
                    if one.file_size <= LARGEST_SEARCHED_BYTES:
                        yield archive.read(one)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
            return


def _downloads(host: Workbench, request: ErasureRequest) -> ErasureFinding:
    """Files that wait to be taken: one that names the customer is destroyed; it can be made again without."""
    customer, gone = request.customer, 0
    with host.store.read() as reader:
        names = host.vault.names(reader, "download/") if customer.identifiers else []
        waiting = [name for name in names if _holds(_got(host, reader, name), customer)]
    for name in waiting:

        def change(tx: Transaction, name: str = name) -> bool:
            tx.execute("DELETE FROM host_download WHERE vault_name = ?", (name,))
            return host.vault.shred(tx, name)

        gone += host.store.write(change)
    return ErasureFinding(
        "downloads", "files waiting to be taken", gone, gone, 0, 0,
        "待取的文件已销毁，需要的人可重新导出", "files that waited were destroyed; whoever needs one exports again",
    )  # fmt: skip


def _got(host: Workbench, reader: object, name: str) -> bytes:
    try:
        return host.vault.get(reader, name)  # type: ignore[arg-type]
    except NotFound:
        return b""


def _uploads(host: Workbench, request: ErasureRequest) -> ErasureFinding:
    """Uploads nobody imported yet lie in clear: those that name the customer are removed."""
    gone = 0
    for path in sorted((host.folder / "uploads").glob("*/*")):
        if path.is_file() and request.customer.identifiers and _holds(path.read_bytes(), request.customer):
            host.uploads.remove(path.parent.name)
            gone += 1
    return ErasureFinding(
        "uploads", "files not imported", gone, gone, 0, 0,
        "未导入的上传文件已删除，请上传去掉此人的文件", "uploads not yet imported were removed: upload a file without the customer",
    )  # fmt: skip


def _texts(host: Workbench, request: ErasureRequest) -> ErasureFinding:
    """Drafts, actions that wait for a confirmation and their replies: one that names the customer is destroyed.

    An action that runs at this moment is left to its own end, which shreds it: it may be this erasure.
    """
    with host.store.read() as reader:
        running = {row[0] for row in reader.execute("SELECT action FROM host_action WHERE state = 'running'")}
        names = [
            name for prefix in TEXTS for name in host.vault.names(reader, prefix) if name.rpartition("/")[2] not in running
        ]
        naming = [name for name in names if request.customer.identifiers and _holds(_got(host, reader, name), request.customer)]

    def change(tx: Transaction) -> int:
        return sum(host.vault.shred(tx, name) for name in naming)

    gone = host.store.write(change) if naming else 0
    return ErasureFinding(
        "texts", "drafts and waiting actions", gone, gone, 0, 0,
        "写有此人的草稿与待确认的操作已销毁，需要的人另写一份",
        "drafts and waiting actions that named the customer were destroyed: whoever needs one writes it anew",
    )  # fmt: skip


def _given_out(host: Workbench, jobs: Sequence[str]) -> ErasureFinding:
    """Files handed out of lists that held the customer: they cannot be recalled, so each is named with its owner."""
    named: list[str] = []
    with host.store.read() as reader:
        for job in jobs:
            before: int | None = None
            while rows := host.evidence.search(reader, job=job, kind="intersection.exported", before=before, limit=1000):
                before = rows[-1].index
                for row in rows:
                    seen = host.evidence.entry(reader, row.index, required=[])
                    who = host.person_named(seen.actor) if seen.actor else "-"
                    named.append(f"{job} #{row.index} {format_time(seen.time_ms)} SM3 {seen.values.get('file_sm3', '')[:16]} ({who})")
    return ErasureFinding(
        "given out", "files exported from lists that held the customer", len(named), 0, 0, 0,
        "已交出的导出文件收不回：由所列人员按停止联系名单处理" if named else "没有交出过含此人名单的导出文件",
        ("files already handed out cannot be recalled: the persons named act on them" if named
         else "no file of a list that held the customer was handed out"),
        left=len(named), names=tuple(named),
    )  # fmt: skip


def _exports(host: Workbench, request: ErasureRequest) -> ErasureFinding:
    """Exported files are out of the node's hands: it names them and their owners, who delete them."""
    named = []
    for path in sorted((host.folder / "exports").rglob("*")):
        if path.is_file() and request.customer.identifiers and _holds(path.read_bytes(), request.customer):
            named.append(f"{shown_name(path.name)} ({owner_of(host, path.stem)})")
    return ErasureFinding(
        "exports", "exported files", len(named), 0, 0, 0,
        "这些导出文件里还有此人：由所列人员删除或去掉该行，再次查询应为零",
        "these exported files still hold the customer: the persons named delete them or the row, and ask again",
        left=len(named),
        names=tuple(named),
    )  # fmt: skip


def shown_name(name: str) -> str:
    """A file's name without any number a person could be known by."""
    return re.sub(IDENTIFIER_SHAPE, "****", name)


def owner_of(host: Workbench, stem: str) -> str:
    """Who exported a job's list last, by name; "-" when the file is not named after a job."""
    job = stem.partition(".")[0]
    with host.store.read() as reader:
        rows = host.evidence.search(reader, job=job, kind="intersection.exported", limit=1)
    return host.person_named(rows[0].actor) if rows and rows[0].actor else "-"


def _jobs(host: Workbench, request: ErasureRequest) -> ErasureFinding:
    """Jobs hold rules and counts, no customers; a rule that names one is found and left to people."""
    named = []
    for job in host.jobs.all(limit=100_000):
        text = json.dumps([dict(job.request), dict(job.result), dict(job.error)], ensure_ascii=False, default=str)
        if any(one in text for one in request.customer.identifiers):
            named.append(job.job)
    return ErasureFinding(
        "jobs", "jobs", len(named), 0, 0, 0,
        "任务的受众规则里写有此人的标识：合规岗处理" if named else "任务中没有此人的标识",
        "a rule of these jobs names the customer: compliance acts" if named else "no job names the customer",
        left=len(named),
        names=tuple(named),
    )  # fmt: skip


__all__ = ["ambiguous", "erase_from_host", "finds_customers", "identify", "learn_again", "owner_of", "rows_of", "shown_name"]
