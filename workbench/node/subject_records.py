"""Every record this institution keeps about one customer: the host's own places, then every plugin.

Document: docs/rights.md section 3. Promises: an owner that cannot answer makes the whole answer fail, because half an answer
would pass for a whole one; rows of other people who share a phone are not given out. Reads only.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import polars as pl

from workbench.domain.envelope import parse_envelope
from workbench.domain.erasure import Customer
from workbench.domain.subject import OUTSIDE, SET_ASIDE, WAITING, SubjectRecord, SubjectRequest
from workbench.errors import NotFound, Refused
from workbench.node.erasing import finds_customers, owner_of
from workbench.store.frames import get_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

LARGEST_SEARCHED_BYTES = 64 << 20


def subject_records(host: Workbench, request: SubjectRequest) -> list[SubjectRecord]:
    """All of them, host first, then plugin by plugin in the order of their names.

    Raises Refused SUBJECT_RECORDS_FAILED when a plugin fails. Cost: opens every list, target list and waiting file.
    """

    def failed(plugin: str, error: Exception) -> None:
        host.log_fault(error)
        raise Refused(
            f"插件「{plugin}」没有给出它保存的客户记录，答复不完整，因此没有生成。管理员检查该插件",
            f"Plugin {plugin} did not give its records about the customer; the answer would be incomplete, so none was made."
            " An administrator checks that plugin",
            code="SUBJECT_RECORDS_FAILED",
        ) from error

    found = [
        *_lists(host, request.customer),
        *_results(host, request.customer),
        *_evidence(host, request.customer),
        *_set_aside(host, request.customer),
        *_files(host, request.customer),
        *_waiting_objects(host, request.customer),
        *_jobs(host, request.customer),
    ]
    for _, answer in host.plugins.collect("workbench_subject_records", failed=failed, host=host, request=request):
        found += answer
    return found


def _rows(host: Workbench, frame: pl.DataFrame, customer: Customer) -> pl.Series:
    for name in ("phone", "id_no"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, pl.String).alias(name))
    return pl.Series(finds_customers(host).rows_named(frame, customer.names))


def _values(row: dict[str, object]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items()}


def _lists(host: Workbench, customer: Customer) -> Iterator[SubjectRecord]:
    for info in host.lists.everything():
        try:
            frame = host.lists.frame(info.list_id)
        except NotFound:
            continue  # erased meanwhile
        mask = _rows(host, frame, customer)
        for number, row in zip(mask.arg_true().to_list(), frame.filter(mask).iter_rows(named=True), strict=True):
            yield SubjectRecord(
                "lists", "lists.row", f"{info.list_id} row {number + 1}",
                f"名单「{info.name}」中的一行（来源：{info.source}；责任部门：{info.owner}；类别 {info.data_class}）",
                f"a row of list {info.name} (source: {info.source}; owner: {info.owner}; class {info.data_class})",
                info.created_ms, _values(row), lawful_basis=info.lawful_basis, provided=True,
            )  # fmt: skip


def _results(host: Workbench, customer: Customer) -> Iterator[SubjectRecord]:
    """Target lists: by key, or by the number the institution's own list gave, as an erasure finds them."""
    with host.store.read() as reader:
        objects = [name for name in host.vault.names(reader, "result/") if name.count("/") == 1]
    numbers: dict[str, set[str]] = {}
    for name in objects:
        job_id = name.partition("/")[2]
        try:
            job = host.jobs.get(job_id)
            with host.store.read() as reader:
                frame = get_frame(reader, host.vault, name)
        except NotFound:
            continue
        list_id = str(job.request.get("list_id", ""))
        if list_id not in numbers:
            numbers[list_id] = _numbers(host, list_id, customer)
        mask = _rows(host, frame, customer)
        if "customer_id" in frame.columns and numbers[list_id]:
            mask = mask | frame["customer_id"].is_in(sorted(numbers[list_id]))
        zh, en = host.names(job.partner) if job.partner in host.parties() else (job.partner, job.partner)
        purpose = host.purposes().get(job.terms.purpose, (job.terms.purpose, job.terms.purpose))
        own = frame.filter(mask)
        stopped = host.withdrawals.stopped(job_id, own[job.terms.key_kind.value].to_list())
        for row, is_stopped in zip(own.iter_rows(named=True), stopped.tolist(), strict=True):
            told = {"stopped_by_partner": "yes"} if is_stopped else {}
            yield SubjectRecord(
                "results", "results.row", f"{job_id}",
                f"与{zh}为「{purpose[0]}」求交得到的目标名单中的一行；{zh}得到同样的共同客户",
                f"a row of the target list of an intersection with {en} for {purpose[1]}; {en} learned the same common customers",
                job.updated_ms, {**_values(row), "partner": job.partner, "purpose": job.terms.purpose, "job": job_id, **told},
                lawful_basis="consent",
            )  # fmt: skip


def _numbers(host: Workbench, list_id: str, customer: Customer) -> set[str]:
    """Customer numbers of this person in a list; none when the list is gone."""
    try:
        frame = host.lists.frame(list_id)
    except (NotFound, Refused):
        return set()
    return set(frame.filter(_rows(host, frame, customer))["customer_id"].to_list())


def _evidence(host: Workbench, customer: Customer) -> Iterator[SubjectRecord]:
    """Values sealed under the customer's key, entry by entry."""
    found: dict[int, dict[str, str]] = {}
    with host.store.read() as reader:
        for name in customer.names:
            for index, field, (_, value) in host.evidence.openings_about(reader, name):
                found.setdefault(index, {})[field] = value
    for index, values in sorted(found.items()):
        envelope = parse_envelope(host.ledger.entry_bodies(host.party, index, index + 1)[0])
        kind = host.kinds.get(envelope.kind)
        yield SubjectRecord(
            "evidence", envelope.kind, f"{host.party}/{index}",
            f"证据：{kind.zh if kind else envelope.kind}", f"evidence: {kind.en if kind else envelope.kind}",
            envelope.time_ms, {**values, **({"job": envelope.job} if envelope.job else {})},
            note_zh="证据须依法保存；subject 是只有本机构能算出的代号",
            note_en="kept as evidence; subject is a token that only this institution can compute",
        )  # fmt: skip


def _set_aside(host: Workbench, customer: Customer) -> Iterator[SubjectRecord]:
    for one in host.erasure.of_names(customer.names):
        yield SubjectRecord(
            "restricted", one.kind, one.place, f"限制存放的记录 {one.items} 项", f"{one.items} records in restricted storage",
            one.at_ms, {"restriction": one.id, "until_ms": str(one.until_ms)}, SET_ASIDE,
            f"依据：{one.basis_zh}；到期自动销毁。内容须写明理由另行查看",
            f"ground: {one.basis_en}; destroyed when its term ends. Its content needs a reason of its own",
        )  # fmt: skip


def _files(host: Workbench, customer: Customer) -> Iterator[SubjectRecord]:
    """Files that name the customer: waiting to be taken, uploaded and not imported, exported."""
    if not customer.identifiers:
        return
    with host.store.read() as reader:
        waiting = reader.execute("SELECT download, name, vault_name FROM host_download").fetchall()
        for download, name, stored in waiting:
            try:
                data = host.vault.get(reader, stored)
            except NotFound:
                continue
            if holds(data, customer):
                yield SubjectRecord(
                    "downloads", "downloads.file", f"download {download[:8]}",
                    "等待取走的文件，一小时内自动销毁", "a file that waits to be taken; destroyed within the hour",
                    0, {"name": _kind_of(name)}, WAITING,
                )  # fmt: skip
    for path in sorted((host.folder / "uploads").glob("*/*")):
        if path.is_file() and holds(path.read_bytes(), customer):
            yield SubjectRecord(
                "uploads", "uploads.file", f"upload {path.parent.name[:8]}",
                "上传而未导入的文件，十二小时内自动删除", "an upload not imported; removed within twelve hours",
                0, {"name": _kind_of(path.name)}, WAITING,
            )  # fmt: skip
    for path in sorted((host.folder / "exports").rglob("*")):
        if path.is_file() and holds(path.read_bytes(), customer):
            owner = owner_of(host, path.stem)
            yield SubjectRecord(
                "exports", "exports.file", f"exports {_kind_of(path.name)}",
                f"导出的文件，由{owner}保管", f"an exported file, kept by {owner}", 0, {"owner": owner}, OUTSIDE,
            )  # fmt: skip


def _waiting_objects(host: Workbench, customer: Customer) -> Iterator[SubjectRecord]:
    """Drafts, confirmations that wait and letters on their way: they should name nobody; one that does is told."""
    if not customer.identifiers:
        return
    with host.store.read() as reader:
        for name in host.vault.names(reader, ""):
            kind = _PASSING.get(name.partition("/")[0])
            if kind is None:
                continue
            try:
                data = host.vault.get(reader, name)
            except NotFound:
                continue
            if holds(data, customer):
                yield SubjectRecord(
                    "pages", "pages.waiting", name.rpartition("/")[2], kind[0], kind[1], 0, {"object": name.partition("/")[0]}, WAITING
                )


_PASSING = {
    "draft": ("某人未提出的求交草稿", "somebody's draft of an intersection"),
    "action": ("等待确认的操作，数分钟内自动销毁", "an action that waits for its confirmation; destroyed within minutes"),
    "action-reply": ("已确认操作的回复，数分钟内自动销毁", "the reply to a confirmed action; destroyed within minutes"),
    "letter": ("正在送往伙伴的信函", "a letter on its way to a partner"),
}


def _jobs(host: Workbench, customer: Customer) -> Iterator[SubjectRecord]:
    """A rule should name nobody; one that does is told."""
    for job in host.jobs.all(limit=100_000):
        rule = str(job.request.get("audience", ""))
        if any(one in rule for one in customer.identifiers):
            yield SubjectRecord(
                "jobs", "jobs.rule", str(job.job), "任务的受众规则写有您的标识", "the rule of a job names you",
                job.created_ms, {"rule": "…"},
            )  # fmt: skip


def holds(data: bytes, customer: Customer) -> bool:
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


def _kind_of(name: str) -> str:
    """The ending of a file's name: the rest may hold anybody's number."""
    return f"*.{name.rpartition('.')[2]}" if "." in name else "*"


__all__ = ["holds", "subject_records"]
