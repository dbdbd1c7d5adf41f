"""Customer lists: the catalogue without which a list cannot be used (row A4), and the rows in the vault."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from workbench.contracts import LearnsLists, OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.identifiers import looks_like_identifier
from workbench.domain.intersection import ListId
from workbench.domain.party import Role
from workbench.errors import NotFound, Refused
from workbench.intake import (
    CustomerTable,
    parse_audience,
    preview_customers,
    read_customers,
    require_quality,
)
from workbench.operations import NoInput, Operation, Reply, Request
from workbench.store.frames import get_frame, stage_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

KEPT_BYTES = 512 << 20
STAFF = frozenset({Role.MARKETING, Role.APPROVER, Role.COMPLIANCE})
DATA_CLASSES = ("C1", "C2", "C3")
LAWFUL_BASES = ("consent", "contract", "legal-duty", "public-health", "news", "public-information", "other-law")
"""PIPL article 13; only the first needs the person's consent."""


class CatalogueEntry(Request):
    """What must be declared about a list before anyone can use it (JR/T 0171 class from memory, to be checked).

    as_of: the day on which the data was right, for files without a column that says so.
    """

    name: str = Field(min_length=1, max_length=120)
    owner: str = Field(min_length=1, max_length=120)
    source: str = Field(min_length=1, max_length=200)
    subjects: str = Field(min_length=1, max_length=200)
    method: str = Field(min_length=1, max_length=200)
    data_class: str = Field(pattern="^C[123]$")
    lawful_basis: str = Field(min_length=1, max_length=60)
    as_of: date | None = None


class ImportCustomers(Request):
    """file: id of an upload. mapping: our field -> header in the file, for headers that are not recognised.

    sheet: of a workbook, "" for the first.
    """

    file: str
    catalogue: CatalogueEntry
    mapping: dict[str, str] = {}
    sheet: str = Field(default="", max_length=200)
    max_bad_share: float | None = Field(default=None, ge=0, le=1)


class ImportReply(Reply):
    """list_id: id of the new list. rejects: id of a download with the rejected rows, "" when there are none."""

    list_id: str
    rows: int
    accepted: int
    rejected: int
    duplicates: int
    shared_keys: int
    reasons: dict[str, int]
    rejects: str
    report: dict[str, Any]


class PreviewFile(Request):
    """file: id of an upload; mapping and sheet as in ImportCustomers."""

    file: str
    mapping: dict[str, str] = {}
    sheet: str = Field(default="", max_length=200)


class PreviewFileReply(Reply):
    """How the file was read, what each column becomes, and five rows with every identifier masked."""

    name: str
    kind: str
    encoding: str
    delimiter: str
    sheet: str
    sheets: list[str]
    rows_estimate: int
    header: list[str]
    columns: list[dict[str, Any]]
    sample: list[list[str]]


class ListInfo(Reply):
    """One catalogue entry with counts; tags: names of the further columns."""

    list_id: str
    name: str
    owner: str
    source: str
    subjects: str
    method: str
    data_class: str
    lawful_basis: str
    rows: int
    tags: list[str]
    report: dict[str, Any]
    created_ms: int


class ListsReply(Reply):
    lists: list[ListInfo]


class AudienceRequest(Request):
    """rule: audience rule, "" for everybody."""

    list_id: str
    rule: str = ""


class AudienceReply(Reply):
    """size: how many customers fit the rule; canonical: the rule in its one spelling; zh, en: as a sentence.

    is_below: fewer than `size` fit, which then is the smallest crowd: a small number would point at people.
    """

    size: int
    is_below: bool = False
    total: int
    canonical: str
    digest: str
    zh: str
    en: str
    tags: dict[str, list[str]]


class Lists:
    """Lists of one node; rows live encrypted in the vault, the catalogue in host_list."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._kept = threading.local()

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Within this block, in this thread, a list is read once: for work that looks at every list several times.

        Memory: at most KEPT_BYTES of frames, the first ones read.
        """
        if hasattr(self._kept, "frames"):
            yield  # within such a block already
            return
        self._kept.frames = {}
        try:
            yield
        finally:
            del self._kept.frames

    def forget(self, list_id: str) -> None:
        """The list was rewritten: read it again."""
        getattr(self._kept, "frames", {}).pop(list_id, None)

    def add(
        self, ctx: OperationContext, table: CustomerTable, catalogue: CatalogueEntry
    ) -> tuple[ListId, str]:
        """Store an imported table; returns its id and the id of the rejects download ("" when there are none)."""
        host = self._host
        list_id = ListId("C-" + host.random(6).hex())
        report = table.report.as_dict()
        root = rows_root(table.frame, host.random(32))
        tags = [name for name in table.frame.columns if name not in CORE_COLUMNS]
        registry = host.consent
        # The first decision on a list need not make what every decision on it needs.
        learned = registry.learn(table.frame, list_id=list_id) if isinstance(registry, LearnsLists) else None
        staged = stage_frame(host.vault, f"list/{list_id}", table.frame)

        def change(tx: Transaction) -> str:
            host.vault.adopt(tx, staged)
            if learned is not None:
                learned(tx)
            tx.execute(
                "INSERT INTO host_list(list, name, owner, source, subjects, method, data_class, lawful_basis, rows,"
                " tags, report, root, created_ms, created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    list_id,
                    catalogue.name,
                    catalogue.owner,
                    catalogue.source,
                    catalogue.subjects,
                    catalogue.method,
                    catalogue.data_class,
                    catalogue.lawful_basis,
                    table.frame.height,
                    json.dumps(tags, ensure_ascii=False),
                    json.dumps(report, ensure_ascii=False),
                    root,
                    host.now_ms(),
                    ctx.caller.person.person,
                ),
            )
            host.evidence.append(
                tx,
                "lists.imported",
                {
                    "list": list_id,
                    "catalogue": json.dumps(catalogue.model_dump(mode="json", exclude_none=True), ensure_ascii=False, sort_keys=True),
                    "rows": str(table.frame.height),
                    "rejected": str(table.report.rejected),
                    "root": root,
                },
                actor=ctx.caller.person.token,
            )
            if table.rejects.height == 0:
                return ""
            return str(host.downloads.offer(tx, ctx.caller, "rejects.csv", rejects_csv(table)))

        try:
            return list_id, host.store.write(change, timeout_s=300)
        except BaseException:
            host.vault.discard(staged)
            raise

    def everything(self) -> list[ListInfo]:
        """Catalogue of all lists that are not erased, newest first."""
        with self._host.store.read() as reader:
            rows = reader.execute(
                "SELECT * FROM host_list WHERE erased_ms IS NULL ORDER BY created_ms DESC, list"
            ).fetchall()
        return [_info(row) for row in rows]

    def info(self, list_id: str) -> ListInfo:
        """One catalogue entry; Refused UNDECLARED_LIST when there is none (row A4)."""
        with self._host.store.read() as reader:
            row = reader.execute("SELECT * FROM host_list WHERE list = ? AND erased_ms IS NULL", (list_id,)).fetchone()
        if row is None:
            raise Refused(
                "这份名单没有登记，不能使用。先导入并登记",
                "This list is not in the catalogue and cannot be used. Import and declare it first",
                code="UNDECLARED_LIST",
            )
        return _info(row)

    def newest(self) -> ListInfo:
        """The list that was imported last; Refused when there is none."""
        lists = self.everything()
        if not lists:
            raise NotFound("还没有名单。先导入 CSV、XLSX 或 Parquet", "There is no list yet. Import a file first", code="NO_LIST")
        return lists[0]

    def frame(self, list_id: str) -> pl.DataFrame:
        """The rows of a declared list: customer_id, phone, id_no, name, risk_level, then tags."""
        self.info(list_id)
        kept: dict[str, pl.DataFrame] | None = getattr(self._kept, "frames", None)
        if kept is not None and list_id in kept:
            return kept[list_id]
        with self._host.store.read() as reader:
            frame = get_frame(reader, self._host.vault, f"list/{list_id}")
        if kept is not None and sum(one.estimated_size() for one in (frame, *kept.values())) <= KEPT_BYTES:
            kept[list_id] = frame
        return frame


CORE_COLUMNS = ("customer_id", "phone", "id_no", "name", "risk_level")


def rows_root(frame: pl.DataFrame, salt: bytes) -> str:
    """SM3 over a salt and the rows in order: binds an import entry to its rows (decision 5). Hex.

    Rows are hashed in blocks of 65,536 as Arrow text rows, so that 10^6 rows cost about a second.
    """
    digest = sm3.new()
    digest.update(salt)
    for block in frame.iter_slices(65_536):
        digest.update(block.write_csv(include_header=False).encode())
    return digest.digest().hex()


def rejects_csv(table: CustomerTable) -> bytes:
    """The rejects as UTF-8 CSV with BOM, so that a spreadsheet shows Chinese."""
    return b"\xef\xbb\xbf" + table.rejects.write_csv().encode()


def _info(row: Any) -> ListInfo:
    return ListInfo(
        list_id=row["list"],
        name=row["name"],
        owner=row["owner"],
        source=row["source"],
        subjects=row["subjects"],
        method=row["method"],
        data_class=row["data_class"],
        lawful_basis=row["lawful_basis"],
        rows=row["rows"],
        tags=json.loads(row["tags"]),
        report=json.loads(row["report"]),
        created_ms=row["created_ms"],
    )


def _import(ctx: OperationContext, request: ImportCustomers) -> ImportReply:
    host = ctx.host
    path = host.uploads.path(request.file)
    try:
        table = read_customers(
            path,
            mapping=request.mapping or None,
            sheet=request.sheet or None,
            today=host.today(),
            progress=lambda done, total: ctx.progress(done, total or 0, "读取名单", "reading the list"),
            cancelled=ctx.cancelled,
            as_of=request.catalogue.as_of,
            stale_days=int(host.setting("lists.stale_days")),
        )
        limit = host.setting("lists.max_bad_share") if request.max_bad_share is None else request.max_bad_share
        try:
            require_quality(table.report, limit)
        except Refused as refusal:
            if table.rejects.height:
                refused_rows = rejects_csv(table)
                refusal.details["rejects"] = host.store.write(
                    lambda tx: host.downloads.offer(tx, ctx.caller, "rejects.csv", refused_rows)
                )
            raise
        list_id, rejects = host.lists.add(ctx, table, request.catalogue)
    finally:
        host.uploads.remove(request.file)
    report = table.report
    return ImportReply(
        list_id=list_id,
        rows=report.rows,
        accepted=report.accepted,
        rejected=report.rejected,
        duplicates=report.duplicates,
        shared_keys=report.shared_keys,
        reasons=dict(report.reasons),
        rejects=rejects,
        report=report.as_dict(),
    )


def _preview(ctx: OperationContext, request: PreviewFile) -> PreviewFileReply:
    path = ctx.host.uploads.path(request.file)
    shown = preview_customers(path, mapping=request.mapping or None, sheet=request.sheet or None)
    info = shown.info
    return PreviewFileReply(
        name=info.file,
        kind=str(info.kind),
        encoding=info.encoding,
        delimiter=info.delimiter,
        sheet=info.sheet,
        sheets=list(info.sheets),
        rows_estimate=info.rows_estimate,
        header=list(info.header),
        columns=shown.mapping.as_list(),
        sample=[list(row) for row in shown.sample],
    )


def _all(ctx: OperationContext, request: NoInput) -> ListsReply:
    return ListsReply(lists=ctx.host.lists.everything())


def _audience(ctx: OperationContext, request: AudienceRequest) -> AudienceReply:
    frame = ctx.host.lists.frame(request.list_id)
    audience = parse_audience(request.rule) if request.rule.strip() else None
    size = int(audience.select(frame).sum() or 0) if audience else frame.height
    floor = int(ctx.host.setting("intersection.minimum_crowd"))
    is_below = audience is not None and 0 < size < floor
    columns = [name for name in frame.columns if name not in ("customer_id", "phone", "id_no", "name")]
    values = {
        name: sorted(text for text in map(str, frame[name].drop_nulls().unique()) if not looks_like_identifier(text))[:50]
        for name in columns
        if frame[name].n_unique() <= 50
    }
    return AudienceReply(
        size=floor if is_below else size,
        is_below=is_below,
        total=frame.height,
        canonical=audience.canonical if audience else "",
        digest=audience.digest() if audience else "",
        zh=audience.explain("zh") if audience else "全部客户",
        en=audience.explain("en") if audience else "all customers",
        tags=values,
    )


LIST_OPERATIONS = (
    Operation(
        name="lists.import",
        zh="导入客户名单",
        en="import a customer list",
        request=ImportCustomers,
        reply=ImportReply,
        roles=frozenset({Role.MARKETING, Role.OPERATOR}),
        run=_import,
        weak_token=True,
        long=True,
        takes_file=True,
        evidence=("lists.imported",),
    ),
    Operation(
        name="lists.preview",
        zh="预览上传的名单（遮盖）",
        en="preview an uploaded list, masked",
        request=PreviewFile,
        reply=PreviewFileReply,
        roles=frozenset({Role.MARKETING, Role.OPERATOR}),
        run=_preview,
        weak_token=True,
        reads_only=True,
    ),
    Operation(
        name="lists.all",
        zh="查看名单目录",
        en="read the list catalogue",
        request=NoInput,
        reply=ListsReply,
        roles=STAFF,
        run=_all,
        weak_token=True,
        reads_only=True,
    ),
    Operation(
        name="lists.audience",
        zh="试算受众",
        en="count an audience",
        request=AudienceRequest,
        reply=AudienceReply,
        roles=STAFF,
        run=_audience,
        weak_token=True,
        reads_only=True,
    ),
)
