"""The plain-language report of a package: told once as blocks in Chinese and in English, drawn as HTML here and as PDF.

Document: docs/protocols/package.md section 3. Every text from entries is escaped; the page has no script and asks no
network.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources

from workbench.domain.envelope import Envelope, Opening, format_time, parse_envelope
from workbench.domain.package import PackageOrder, PackageSummary
from workbench_ledger.package import sentences
from workbench_ledger.package.anchors import Anchored, how_to_check
from workbench_ledger.package.plan import Plan, Planned, Shelf

MAX_ROWS = 400
MAX_NAMED = 12
SHANGHAI = timezone(timedelta(hours=8))
INSTANT = re.compile(r"[1-9][0-9]{12}")
"""Milliseconds since 1970, from 2001 to 2286; no duration is as long."""


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A band. tone: "sealed", "pending", "tampered", "simulated" or "empty"."""

    tone: str
    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """rows: cells of text. widths: share of each column. mono: columns of digests and ids."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[int, ...]
    mono: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """Text to be copied as it stands."""

    text: str


Block = Heading | Paragraph | Notice | Table | Command


@dataclass(frozen=True, slots=True)
class Report:
    """The same story in both languages. made: UTC, for the PDF's own date."""

    zh: tuple[Block, ...]
    en: tuple[Block, ...]
    made: datetime


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the story: an entry, or a run of protocol messages of one institution."""

    entry: Planned
    count: int
    envelope: Envelope | None
    opened: Mapping[str, str]


def tell(
    order: PackageOrder,
    plan: Plan,
    shelf: Shelf,
    openings: Mapping[int, Mapping[str, Opening]],
    summary: PackageSummary,
    anchors: Sequence[Anchored] = (),
) -> Report:
    """The report of a package. Memory: a few hundred rows, however large the package is."""
    rows, left = _rows(order, plan, shelf, openings)
    alone = one_sided(plan)
    made = datetime.fromtimestamp(order.made_ms / 1000, UTC)
    blocks = [
        tuple(_blocks(order, plan, summary, rows, left, alone, anchors, language)) for language in ("zh", "en")
    ]
    return Report(blocks[0], blocks[1], made)


def one_sided(plan: Plan) -> list[tuple[str, str]]:
    """(institution that recorded it, digest) of every message between two logs held here that only one recorded."""
    frames: dict[tuple[str, frozenset[str]], set[tuple[str, str]]] = {}
    logs = {entry.log for entry in plan.entries}
    for entry in plan.entries:
        if entry.frame and entry.frame[2] in logs:
            digest, direction, partner = entry.frame
            frames.setdefault((digest, frozenset({entry.log, partner})), set()).add((entry.log, direction))
    alone = []
    for (digest, _), records in frames.items():
        senders = {log for log, direction in records if direction == "sent"}
        receivers = {log for log, direction in records if direction == "received"}
        if not senders or not receivers or senders == receivers:
            alone.append((min(log for log, _ in records), digest))
    return sorted(alone)


def render_html(report: Report) -> bytes:
    """One page with both languages, for reading and printing."""
    style = resources.files("workbench_ledger.package").joinpath("report.css").read_text("utf-8")
    parts = [
        '<!doctype html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'; base-uri \'none\'; form-action \'none\'">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>证据包报告 Evidence report</title>\n<style>\n{style}</style>\n</head>\n<body>",
        '<nav aria-label="语言 Language"><a href="#zh">中文</a> <a href="#en" lang="en">English</a></nav>',
    ]
    for language, blocks in (("zh", report.zh), ("en", report.en)):
        parts.append(f'<main id="{language}" lang="{"zh-CN" if language == "zh" else "en"}">')
        parts += [_DRAW[type(block)](block) for block in blocks]
        parts.append("</main>")
    return ("\n".join([*parts, "</body>", "</html>"]) + "\n").encode("utf-8")


def local_time(time_ms: int) -> str:
    """Asia/Shanghai to the second."""
    return f"{datetime.fromtimestamp(time_ms / 1000, SHANGHAI):%Y-%m-%d %H:%M:%S}"


# -------------------------------------------------------------------------------------------- telling


def _rows(
    order: PackageOrder, plan: Plan, shelf: Shelf, openings: Mapping[int, Mapping[str, Opening]]
) -> tuple[list[_Row], int]:
    """The story in the order of time, runs of messages as one row; and how many rows are left out."""
    ordered = sorted(plan.entries, key=lambda one: (one.time_ms, one.log, one.index))
    grouped: list[tuple[Planned, int]] = []
    for entry in ordered:
        last = grouped[-1][0] if grouped else None
        if last and entry.frame and last.frame and entry.job == last.job:
            grouped[-1] = (last, grouped[-1][1] + 1)
        else:
            grouped.append((entry, 1))
    shown, rows = grouped[:MAX_ROWS], []
    for (entry, count), (_, body) in zip(
        shown, shelf.bodies([(one.log, one.index) for one, _ in shown]), strict=True
    ):
        opened = openings.get(entry.index, {}) if entry.log == order.exporter else {}
        values = {name: value for name, (_, value) in opened.items()}
        rows.append(_Row(entry, count, None if count > 1 else parse_envelope(body), values))
    return rows, len(grouped) - len(shown)


def _blocks(
    order: PackageOrder,
    plan: Plan,
    summary: PackageSummary,
    rows: Sequence[_Row],
    left: int,
    alone: Sequence[tuple[str, str]],
    anchors: Sequence[Anchored],
    language: str,
) -> list[Block]:
    at = 0 if language == "zh" else 1

    def say(name: str, **values: object) -> str:
        return sentences.SENTENCES[name][at].format(**values)

    total = len(plan.entries)
    names = {party: (keys.name_zh, keys.name_en)[at] or str(party) for party, keys in order.keys.items()}

    def called(party: str) -> str:
        return f"{next((name for one, name in names.items() if one == party), party)}（{party}）" if at == 0 else f"{next((name for one, name in names.items() if one == party), party)} ({party})"

    blocks: list[Block] = [Heading(say("title"), 1)]
    if summary.not_final:
        blocks.append(Notice("pending", say("not_final", count=summary.not_final, total=total), say("not_final_why")))
    else:
        blocks.append(Notice("sealed", say("final", total=total), say("final_why", full=plan.full, total=total)))
    if order.workspace != "production":
        blocks.append(Notice("simulated", say("synthetic"), say("synthetic_why", workspace=order.workspace)))
    chosen = order.selection
    about = say(f"by_{chosen.by}", value=chosen.value, start=chosen.from_day, end=chosen.to_day)
    if chosen.identifier:
        about += say("identifier", identifier=chosen.identifier)
    first, last = min(one.time_ms for one in plan.entries), max(one.time_ms for one in plan.entries)
    facts = [
        (say("about"), about),
        (say("span"), f"{local_time(first)} – {local_time(last)}"),
        (say("exporter"), called(order.exporter)),
        (say("made"), say("made_by", time=local_time(order.made_ms), utc=format_time(order.made_ms), actor=order.actor)),
        (say("entries"), say("entries_of", total=total, logs="; ".join(f"{called(log)} {count}" for log, count in sorted(summary.entries.items())))),
        (say("opened"), say("opened_of", opened=summary.opened, withheld=order.withheld)),
    ]
    if order.mldsa_required:
        facts.append(("ML-DSA-44", say("mldsa", kinds="; ".join(f"{one}…" for one in order.mldsa_required))))
    if summary.uncovered:
        facts.append((say("uncovered"), str(summary.uncovered)))
    blocks.append(Table(("", ""), tuple(facts), (22, 78)))
    blocks += [Heading(say("story")), Paragraph(say("story_how"))]
    blocks.append(_story(order, plan, rows, say, called, at))
    if left:
        blocks.append(Paragraph(say("more_rows", count=left)))
    if alone:
        named = ", ".join(f"{called(log)} {digest[:16]}…" for log, digest in alone[:MAX_NAMED])
        blocks.append(Notice("failed", say("one_sided", count=len(alone)), say("one_sided_why", named=named)))
    blocks += [Heading(say("witnesses")), Paragraph(say("witnesses_how")), _witnesses(plan, called, say)]
    if anchors:
        blocks += [Heading(say("anchors")), Paragraph(say("anchors_how")), *_anchored(anchors, called, say)]
    blocks += [Heading(say("limits")), *(Paragraph(f"• {one}") for one in sentences.LIMITS[at])]
    blocks += [Heading(say("check")), *(Paragraph(f"{number}. {one}") for number, one in enumerate(sentences.CHECK[at], 1))]
    return blocks


def _story(
    order: PackageOrder,
    plan: Plan,
    rows: Sequence[_Row],
    say: Callable[..., str],
    called: Callable[[str], str],
    at: int,
) -> Table:
    table = []
    for row in rows:
        entry = row.entry
        kind = order.kinds.get(entry.kind)
        sentence = (kind.zh, kind.en)[at] if kind else entry.kind
        if row.count > 1:
            sentence, detail, place = say("messages", count=row.count), "", f"{entry.index}…"
            who = say("both_sides")
        else:
            detail, place, who = _detail(order, row, at), str(entry.index), called(entry.log)
        is_pending = (entry.log, entry.index) in plan.pending
        share = f"{len(plan.signers(entry))}/{len(plan.members(entry))}"
        state = say("pending" if is_pending else "sealed", share=share)
        table.append((local_time(entry.time_ms), who, place, sentence, detail, state))
    columns = tuple(say(f"column_{name}") for name in ("time", "who", "place", "what", "detail", "state"))
    return Table(columns, tuple(table), (15, 15, 6, 22, 31, 11), mono=())


def _detail(order: PackageOrder, row: _Row, at: int) -> str:
    """Shared fields in clear, opened ones marked, the rest counted."""
    envelope = row.envelope
    if envelope is None:
        return ""
    kind = order.kinds.get(envelope.kind)
    names = kind.fields if kind else {}
    parts = []
    for values, mark in ((envelope.shared, ""), (row.opened, "*")):
        for name, value in values.items():
            label = names[name][at] if name in names else name
            unit = names[name][2] if name in names else ""
            parts.append(f"{label}{mark}{'：' if at == 0 else ': '}{_told(value, unit)}")
    closed = len(envelope.committed) - len(row.opened)
    if closed:
        parts.append(sentences.SENTENCES["closed"][at].format(count=closed))
    return ("；" if at == 0 else "; ").join(parts)


def _told(value: str, unit: str) -> str:
    """A value with its unit; milliseconds since 1970, which nobody reads, as a time of day."""
    if unit == "ms" and INSTANT.fullmatch(value):
        return local_time(int(value))
    return f"{_short(value)} {unit}" if unit not in ("", "1") else _short(value)


def _short(value: str) -> str:
    text = " ".join(value.split()) or "—"
    if len(text) >= 64 and all(one in "0123456789abcdef" for one in text):
        return f"{text[:8]}…{text[-4:]}"
    return text if len(text) <= 120 else text[:117] + "…"


def _witnesses(plan: Plan, called: Callable[[str], str], say: Callable[..., str]) -> Table:
    rows = []
    for (log, size), note in sorted(plan.notes.items()):
        for party, one in sorted(note.cosignatures.items()):
            root = note.checkpoint.sm3_root.hex()
            signer = called(party) + (" + ML-DSA-44" if one.mldsa_line else "")
            rows.append((called(log), f"{size:,}", signer, local_time(one.time_s * 1000), f"{root[:8]}…{root[-4:]}"))
    columns = tuple(say(f"column_{name}") for name in ("log", "size", "signer", "signed", "root"))
    return Table(columns, tuple(rows), (25, 12, 25, 20, 18), mono=(4,))


def _anchored(anchors: Sequence[Anchored], called: Callable[[str], str], say: Callable[..., str]) -> list[Block]:
    """Every anchor as a row, and below the table what a reader does about those with proof."""
    rows: list[tuple[str, ...]] = []
    orders: list[Block] = []
    for one in anchors:
        anchor = one.anchor
        when = local_time(anchor.time_ms) if one.is_confirmed else "—"
        state = say(f"anchor_{anchor.state}", folder=f"{one.folder}/")
        covered = say("covers", size=f"{anchor.size:,}", covered=one.covered, entries=one.entries) if one.is_confirmed else f"{anchor.size:,}"
        rows.append((called(anchor.log), say(f"kind_{anchor.kind}"), covered, when, state))
        if one.is_confirmed:
            command, facts = how_to_check(one)
            orders.append(Paragraph(say(f"do_{anchor.kind}", log=called(anchor.log), folder=one.folder)))
            if facts:
                orders.append(Table(("", ""), tuple((say(name), value) for name, value in facts.items()), (22, 78), mono=(1,)))
            orders.append(Command(command))
    columns = tuple(say(f"column_{name}") for name in ("log", "anchor", "covers", "outside", "state"))
    return [Table(columns, tuple(rows), (18, 17, 20, 17, 28)), *orders]


# -------------------------------------------------------------------------------------------- drawing


def _heading(block: Heading) -> str:
    return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"


def _notice(block: Notice) -> str:
    text = f"<p>{html.escape(block.text)}</p>" if block.text else ""
    return f'<section class="band {block.tone}"><strong>{html.escape(block.title)}</strong>{text}</section>'


def _table(block: Table) -> str:
    columns = "".join(f'<col style="width:{share}%">' for share in block.widths)
    head = "".join(f"<th scope=col>{html.escape(one)}</th>" for one in block.columns)
    head = f"<thead><tr>{head}</tr></thead>" if any(block.columns) else ""
    rows = []
    for row in block.rows:
        cells = [
            f'<td{" class=mono" if at in block.mono else ""}>{html.escape(cell)}</td>' for at, cell in enumerate(row)
        ]
        if not head:
            cells[0] = f"<th scope=row>{html.escape(row[0])}</th>"
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<div class=scroll><table><colgroup>{columns}</colgroup>{head}<tbody>{''.join(rows)}</tbody></table></div>"


_DRAW: dict[type, Callable[..., str]] = {
    Heading: _heading,
    Paragraph: lambda block: f"<p>{html.escape(block.text)}</p>",
    Command: lambda block: f"<pre>{html.escape(block.text)}</pre>",
    Notice: _notice,
    Table: _table,
}
