"""Builds an evidence package, part by part. Document: docs/protocols/package.md.

Memory: one file of the package and a few hundred bytes an entry. The same order and the same ledger give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from workbench.contracts import Store
from workbench.crypto import sm2, sm3
from workbench.domain.checkpoint import VerifiedNote, cosigner_vkey, log_vkey, sm2_message
from workbench.domain.envelope import Opening, check_opening, format_time, parse_envelope
from workbench.domain.package import (
    Container,
    PackageOrder,
    PackageSummary,
    format_anchor,
    format_consistency,
    format_description,
    format_openings,
    format_sm3_proof,
    place_name,
)
from workbench.domain.party import PartyId
from workbench.domain.receipt import format_tlog_proof
from workbench.errors import Refused
from workbench_ledger.package import assemble
from workbench_ledger.package.anchors import Anchored, anchors_of
from workbench_ledger.package.pdf import render_pdf
from workbench_ledger.package.plan import Plan, Planned, Shelf
from workbench_ledger.package.readme import compare_text, readme_text
from workbench_ledger.package.report import Report, render_html, tell

File = tuple[str, bytes]


def build_package(
    store: Store,
    party: PartyId,
    own_note: Callable[[int], object],
    order: PackageOrder,
    summary: PackageSummary,
) -> Iterator[bytes]:
    """The bytes of the ZIP, in order; `summary` is complete after the last.

    own_note: makes the own checkpoint of a size. Raises Refused (PACKAGE_TOO_LARGE, NOTHING_SELECTED), VerificationError
    (ENTRY_CHANGED, TREE, CHECKPOINT_SIGNATURE) when what is held does not hold, and what `order.step` raises.
    Cost: about 2 ms an entry, and one to five seconds for the PDF.
    """
    shelf = Shelf(store, party, own_note)
    plan = shelf.plan(order)
    openings = {one.index: dict(order.openings(one.index)) for one in plan.entries if one.log == order.exporter}
    openings = {index: opened for index, opened in openings.items() if opened}
    for one in plan.entries:
        summary.entries[one.log] = summary.entries.get(one.log, 0) + 1
    summary.not_final, summary.uncovered = len(plan.pending), len(plan.uncovered)
    summary.opened = sum(len(opened) for opened in openings.values())
    anchors = anchors_of(order, plan, shelf)
    summary.anchors = len(anchors)
    report = tell(order, plan, shelf, openings, summary, anchors)
    pdf, summary.report_pdf = render_pdf(report, order.font)
    container = Container()
    done = len(plan.entries)
    try:
        for name, data in _files(order, summary, plan, shelf, openings, anchors, report, pdf):
            yield container.add(name, data)
            if name.startswith(("entries/", "proofs/")) and not name.endswith(".tlog-proof"):
                done += 1
                order.step(done)
        yield container.close()
    except ValueError as error:
        raise Refused(
            "证据包超过 1 GiB，没有导出：请缩短时段或按任务导出",
            "The package exceeds 1 GiB; nothing was exported: choose a shorter period, or a job",
            code="PACKAGE_TOO_LARGE",
        ) from error
    summary.package_sm3, summary.size = container.sm3(), container.size
    summary.verify_py_sm3 = sm3.digest(assemble.verify_py()).hex()
    summary.verify_html_sm3 = sm3.digest(assemble.verify_html()).hex()


def _files(
    order: PackageOrder,
    summary: PackageSummary,
    plan: Plan,
    shelf: Shelf,
    openings: Mapping[int, Mapping[str, Opening]],
    anchors: Sequence[Anchored],
    report: Report,
    pdf: bytes | None,
) -> Iterator[File]:
    """All files but the manifest, ascending by name."""
    entries = sorted(plan.entries, key=lambda one: place_name("entries", one.log, one.index, "json"))
    yield "README.txt", readme_text(order, summary, plan)
    yield from _anchors(anchors)
    yield from _checkpoints(plan, shelf)
    for (log, index), body in shelf.bodies([(one.log, one.index) for one in entries]):
        yield place_name("entries", log, index, "json"), body
    yield from _keys(order)
    yield from _openings(order, shelf, entries, openings)
    yield "package.json", format_description(order, summary, made=format_time(order.made_ms), held=plan.held)
    for one, sha256_path, sm3_path in shelf.proofs(entries, plan):
        yield place_name("proofs", one.log, one.index, "sm3-proof"), format_sm3_proof(one.index, one.head, sm3_path)
        text = format_tlog_proof(one.index, sha256_path, plan.notes[one.log, one.head].format())
        yield place_name("proofs", one.log, one.index, "tlog-proof"), text.encode("utf-8")
    yield "report.html", render_html(report)
    if pdf is not None:
        yield "report.pdf", pdf
    yield from _signatures(plan)
    yield "verify.html", assemble.verify_html()
    yield "verify.py", assemble.verify_py()


def _anchors(anchors: Iterable[Anchored]) -> Iterable[File]:
    files: list[File] = []
    for one in anchors:
        about = format_anchor(
            one.anchor, time=one.time, checkpoint=one.checkpoint, sha256_path=one.sha256_path, sm3_path=one.sm3_path
        )
        files += [(f"{one.folder}/anchor.json", about), *((f"{one.folder}/{name}", data) for name, data in one.files.items())]
    return sorted(files)


def _checkpoints(plan: Plan, shelf: Shelf) -> Iterator[File]:
    files: list[File] = []
    previous: VerifiedNote | None = None
    for (log, size), note in sorted(plan.notes.items()):
        files.append((place_name("checkpoints", log, size, "note"), note.format().encode("utf-8")))
        if previous is not None and previous.checkpoint.log == log:
            old = previous.checkpoint.size
            paths = shelf.consistency(log, old, size)
            files.append((place_name("checkpoints", log, size, "consistency"), format_consistency(old, size, *paths)))
        previous = note
    yield from sorted(files)


def _keys(order: PackageOrder) -> Iterable[File]:
    files = {"keys/COMPARE.txt": compare_text(order), "keys/trust.json": order.trust}
    for party, keys in order.keys.items():
        files[f"keys/{party}.log.vkey"] = (log_vkey(order.project, keys) + "\n").encode()
        files[f"keys/{party}.cosign.vkey"] = (cosigner_vkey(order.project, keys) + "\n").encode()
        files[f"keys/{party}.sm2.pem"] = sm2.public_pem(keys.sm2).encode()
    return sorted(files.items())


def _openings(
    order: PackageOrder, shelf: Shelf, entries: Iterable[Planned], openings: Mapping[int, Mapping[str, Opening]]
) -> Iterator[File]:
    opened = [(one.log, one.index) for one in entries if one.log == order.exporter and one.index in openings]
    for (log, index), body in shelf.bodies(opened):
        envelope = parse_envelope(body)
        for name, (salt, value) in openings[index].items():
            check_opening(envelope, name, salt, value)
        yield place_name("openings", log, index, "json"), format_openings(openings[index])


def _signatures(plan: Plan) -> Iterable[File]:
    files: list[File] = []
    for (log, size), note in plan.notes.items():
        for party, one in note.cosignatures.items():
            stem = f"sm2/{log}/{size:012d}/{party}"
            files.append((f"{stem}.message", sm2_message(party, note.text, one.time_s)))
            files.append((f"{stem}.der", sm2.der_from_raw(one.sm2_line.payload[8:])))
    return sorted(files)
