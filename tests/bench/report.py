"""The table of a benchmark: plain text, in the order of docs/benchmarks.md. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Value = Mapping[str, Any]

AIMS = {
    "AVX-512": {"per_identifier_us": 35.0, "outside_us": 12.0},
    "AVX2": {"per_identifier_us": 55.0, "outside_us": 12.0},
}
"""Aims of the project, by vectors in use; they are shown beside the figures and never tested."""


def render(result: Value) -> str:
    """Everything that was measured, as text."""
    parts = [_machine(result["machine"], result["load_at_end"])]
    if result.get("intersections"):
        parts += [_intersections(result["intersections"], result["machine"]), _phases(result["intersections"])]
    if result.get("secretflow"):
        parts.append(_secretflow(result["secretflow"], result.get("intersections") or []))
    for name, reason in (result.get("skipped") or {}).items():
        parts.append(f"skipped: {name}: {reason}")
    if result.get("imports"):
        parts.append(_imports(result["imports"]))
    if result.get("receipts"):
        parts.append(_receipts(result["receipts"]))
    if result.get("ledger"):
        parts.append(_ledger(result["ledger"]))
    if result.get("distillation"):
        parts.append(_distillation(result["distillation"]))
    if result.get("keys"):
        parts.append(_keys(result["keys"]))
    if result.get("devices"):
        parts.append(_devices(result["devices"]))
    if result.get("delivery"):
        parts.append(_delivery(result["delivery"]))
    if result.get("frames"):
        parts.append(_frames(result["frames"]))
    if result.get("links"):
        parts.append(_links(result["links"]))
    if result.get("redaction"):
        parts.append(_redaction(result["redaction"]))
    if result.get("sandbox"):
        parts.append(_sandbox(result["sandbox"]))
    if result.get("ask"):
        parts.append(_ask(result["ask"]))
    if result.get("retrieval"):
        parts.append(_retrieval(result["retrieval"]))
    if result.get("answers"):
        parts.append(_answers(result["answers"]))
    if result.get("scaling"):
        parts.append(_scaling(result["scaling"]))
    if result.get("load"):
        parts.append(_load(result["load"]))
    if result.get("pages"):
        parts.append(_pages(result["pages"]))
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns aligned to the right, the first one to the left."""
    cells = [[_cell(one) for one in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(one.rjust(width) for one, width in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _machine(machine: Value, load_at_end: Sequence[float]) -> str:
    features = ", ".join(name if there else f"no {name}" for name, there in machine["features"].items())
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return "\n".join(
        [
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB; {features}",
            f"arithmetic: {machine['curve']}, {machine['vectors']}; {machine['kernel']}; Python {machine['python']}",
            packages,
            f"load average {machine['load']} at the start, {list(load_at_end)} at the end",
        ]
    )


def _intersections(runs: Sequence[Value], machine: Value) -> str:
    aims = AIMS.get(machine["vectors"])
    rows = [
        [
            f"{run['size']:,}",
            f"{run['bucket']:,}",
            run["cpu_s"],
            run["per_identifier_us"],
            run["outside_us"],
            f"{run['outside_share']:.0%}",
            run["point_us"],
            run["wall_s"],
            run["peak_mb"],
            f"{run['wire_bytes'] / 1e6:.1f}",
            f"{run['released']:,}" + ("" if run["agrees"] else " WRONG"),
        ]
        for run in runs
    ]
    if aims:
        rows.append(["aim", "", "", aims["per_identifier_us"], aims["outside_us"], "", "", "", "", "", ""])
    head = ["customers", "bucket", "CPU s", "µs each", "outside µs", "share", "µs/point", "wall s", "peak MB", "wire MB", "released"]
    title = "Intersection, from stored lists to the sealed release: processor time of the larger party (one node process)"
    return f"{title}\n{table(head, rows)}"


def _phases(runs: Sequence[Value]) -> str:
    run = runs[-1]
    party = run["parties"]["broker"]
    rows = [[one["name"], one["cpu_s"], one["thread_s"], one["wall_s"], one["peak_mb"]] for one in party["phases"]]
    title = f"Phases of the broker at {run['size']:,} (process CPU s, CPU s of the attempt's thread, wall s, peak MB)"
    return f"{title}\n{table(['phase', 'CPU s', 'thread s', 'wall s', 'peak MB'], rows)}"


def _secretflow(runs: Sequence[Value], ours: Sequence[Value]) -> str:
    by_size = {run["size"]: run for run in ours}
    rows = []
    for run in runs:
        own = by_size.get(run["size"])
        rows.append(
            [
                f"{run['protocol']} {run['curve']}".strip(),
                f"{run['size']:,}",
                run["cpu_s"],
                run["per_identifier_us"],
                run["wall_s"],
                run["peak_mb"],
                f"{run['wire_bytes'] / 1e6:.1f}",
                "yes" if run["same_result"] else "NO",
                f"{own['cpu_s'] / run['cpu_s']:.1f}" if own else "",
                f"{(own['cpu_s'] - own['outside_s']) / run['cpu_s']:.1f}" if own else "",
            ]
        )
    title = (
        "SecretFlow SPU on the same identifiers: the larger side, inside the engine's call, without consent, commitments,\n"
        "signatures, TLS or evidence; last columns: processor time of ours (all; point arithmetic alone) over theirs"
    )
    head = ["engine", "customers", "CPU s", "µs each", "wall s", "peak MB", "wire MB", "same", "ours/theirs", "points/theirs"]
    return f"{title}\n{table(head, rows)}"


def _imports(value: Value) -> str:
    rows = [
        [f"import {value['rows']:,} customers", *_three(value["customers"])],
        [f"import {value['rows']:,} consents", *_three(value["consents"])],
        [f"consent filter of {value['filter']['rows']:,}, first", *_three(value["filter"]["first"])],
        [f"consent filter of {value['filter']['rows']:,}, further", *_three(value["filter"]["further"])],
        ["the same for categories and a channel", *_three(value["filter"]["narrowed"])],
        [f"withdrawal of one of {value['filter']['rows']:,}", *_three(value["filter"]["withdraw"])],
        ["the decision after it", *_three(value["filter"]["next_decision"])],
        [f"erasure of one of {value['filter']['rows']:,}", *_three(value["filter"]["erase"])],
        ["search of every file after it", *_three(value["filter"]["search"])],
    ]
    one = value["filter"]["one"]
    single = f"one customer of {value['filter']['rows']:,}: p50 {one['p50_ms']} ms, p99 {one['p99_ms']} ms over {one['count']:,} customers"
    return table(["lists and consent", "wall s", "CPU s", "peak MB"], rows) + f"\n{single}"


def _receipts(value: Value) -> str:
    rows = [[f"issue {value['receipts']:,} consent receipts, co-signed {value['sealed']}", *_three(value)]]
    made = f"ZIP of {value['zip_mb']} MB, {value['receipt_bytes']:,} bytes each; one checked in {value['verify_ms']} ms (aim: 60 s)"
    return table(["receipts", "wall s", "CPU s", "peak MB"], rows) + "\n" + made


def _ledger(value: Value) -> str:
    singles = [
        [f"one by one, {name} callers", one["per_s"], one["cpu_us"], one["longest_s"]]
        for name, one in value["single"].items()
    ]
    throughput = [["in batches", value["batches"]["per_s"], value["batches"]["cpu_us"], ""], *singles]
    proofs = [
        [f"{name} proof at {value['entries']:,}", one["p50_ms"], one["p99_ms"], one["cpu_p50_ms"], one["cpu_p99_ms"]]
        for name, one in value["proofs"].items()
    ]
    caught, growth, audit, network = value["catch_up"], value["growth"], value["audit"], value["network_ms"]
    parts = [
        "7.1 transaction throughput: evidence entries with both trees, on disk before they count (aims: 15,000/s, 1,000/s\n"
        "with four callers, no wait above 0.5 s)\n"
        + table(["", "entries/s", "CPU µs each", "longest wait s"], throughput),
        "7.2 query throughput, one thread (aims: p50 0.2 ms, p99 2 ms; audit 10 s)\n"
        + table(["", "p50 ms", "p99 ms", "CPU p50", "CPU p99"], proofs)
        + f"\n{value['queries']['entries_per_s']:,} entries/s read with their openings,"
        f" {value['queries']['searches_per_s']:,} searches/s by job;"
        f"\nfull audit of {value['entries']:,}: {audit['wall_s']:.1f} s, {audit['cpu_s']:.1f} CPU s of two processes;"
        f" peak memory of the measuring processes together {value['peak_mb']} MB",
        f"7.3 synchronisation: catch-up of {caught['entries']:,} entries {caught['wall_s']:.1f} s ({caught['per_s']:,}/s,"
        f" {caught['cpu_us']} CPU µs each, both sides, without the network; aim 15 s);\nco-signing round of three node processes on loopback, from"
        f" append to sealed p50 {network['sealed_p50']} ms, p95 {network['sealed_p95']} ms, to full p50 {network['full_p50']} ms,"
        f" p95 {network['full_p95']} ms (aim: p50 150 ms);\nthe same with function calls between the nodes, to full: p50"
        f" {value['round_ms']['p50']} ms, p99 {value['round_ms']['p99']} ms, {value['round_ms']['cpu_p50']} CPU ms",
        (f"7.4 deployment: workspace of three institutions {value['deployment']['workspace_s']} s, all nodes ready"
        f" {value['deployment']['ready_s']} s later ({value['deployment']['start_cpu_s']} CPU s and"
        f" {value['deployment']['idle_mb']} MB each)"),
        f"7.5 ledger growth, bytes an entry: body {growth['body']}; overhead of log and trees {growth['trees']}, in a mirror"
        f" {growth['mirror_trees']} (aim 300);\nbesides, at its own institution only: search index {growth['search']}, openings"
        f" {growth['openings']}",
        "Published by others, on other machines\n" + table(["system", "figure", "source"], value["published"]),
    ]
    return "Ledger, by the headings of JR/T 0193-2020\n" + "\n\n".join(parts)


def _distillation(value: Value) -> str:
    rows = [
        ["sifted bits a block", value["sifted_bits"], ""],
        ["error rate", f"{value['qber']:.2%}", ""],
        ["efficiency f of error correction", f"{value['efficiency']:.4f}", "1.07"],
        ["rounds, messages of both ends", f"{value['rounds']}, {value['messages']}", ""],
        ["bytes on the wire", f"{value['wire_bytes']:,}", ""],
        ["secret bits a sifted bit, as keys", f"{value['secret_fraction']:.3f}", ""],
        ["authentication bits a block", value["authentication_bits"], ""],
        ["correction, ns a sifted bit and end", value["parts"]["correction_ns"], ""],
        ["amplification, ns a sifted bit and end", value["parts"]["amplification_ns"], ""],
        ["sifted Mbit a CPU second, both ends", value["sifted_mbit_s"], ""],
        ["secret Mbit a CPU second, both ends", value["secret_mbit_s"], "1"],
    ]
    title = f"Distillation of a simulated line, both ends on one core, mean of {value['blocks']} blocks"
    return f"{title}\n{table(['', 'measured', 'aim'], rows)}"


def _keys(value: Value) -> str:
    rows = [
        ["4,000 keys", value["small_ms"], value["small_cpu_ms"]],
        [f"{value['stock']:,} keys", value["large_ms"], value["large_cpu_ms"]],
    ]
    title = "One key through both ends (five commits), from a stock of"
    last = f"Adding a key at one end: {value['add_us']} us of CPU. One sync over the large stock: {value['sync_ms']} ms."
    return f"{title}\n{table(['stock', 'ms', 'CPU ms'], rows)}\n{last}"


def _devices(value: Value) -> str:
    rows = [
        ["values wrapped at once, a second", value["one"]["wrapped_per_s"], value["two"]["wrapped_per_s"]],
        ["values opened at once, a second", value["one"]["opened_per_s"], value["two"]["opened_per_s"]],
        ["one value opened alone, us", value["one"]["single_us"], value["two"]["single_us"]],
        [f"keys a second at one end, {value['of_a_request']} a request", value["one"]["keys_per_s"], value["two"]["keys_per_s"]],
    ]
    title = f"One key device, and two of which one is a process of its own, in turn; a second joins in {value['joined_s']} s"
    return f"{title}\n{table(['', 'one', 'two'], rows)}"


def _delivery(value: Value) -> str:
    rows = [
        ["status", value["status_ms"]],
        ["key for the master (both ends)", value["master_ms"]],
        ["the same key for the slave", value["slave_ms"]],
    ]
    title = f"ETSI GS QKD 014 over kept connections, median of {value['requests']}, aim 5 ms"
    return f"{title}\n{table(['request', 'ms'], rows)}\nBoth processes ready after {value['start_s']} s."


def _frames(value: Value) -> str:
    rows = [
        [one["suite"], one["small_seal_us"], one["small_open_us"], f"{one['large_seal_ratio']:.3f}", f"{one['large_open_ratio']:.3f}", one["mb_per_s"]]
        for one in value["suites"]
    ]
    rows.append(["aim", 60.0, 60.0, "1.10", "1.10", ""])
    setup = [[one["suite"], one["p50_ms"], one["p95_ms"], one["cpu_ms"]] for one in value["setup"]]
    setup.append(["aim", 20.0, "", ""])
    return (
        "Sealed frames beside the library's cipher alone: µs more at 256 bytes, ratio at 64 KiB, speed of sealing\n"
        + table(["suite", "seal µs", "open µs", "seal 64 KiB", "open 64 KiB", "MB/s"], rows)
        + "\n\nExchange of a session with a QKD key, both ends in one process\n"
        + table(["suite", "p50 ms", "p95 ms", "CPU ms"], setup)
    )


def _links(value: Sequence[Value]) -> str:
    rows = [
        [one["group"], one["p50_ms"], one["p95_ms"], one["cpu_ms"], one[f"cpu_us_{256}"], one[f"cpu_us_{64 << 10}"], one[f"cpu_us_{1 << 20}"]] for one in value
    ]
    return (
        "Links of the channel qkd: set-up and one message, both ends in one process; CPU of both\n"
        + table(["group", "set-up p50 ms", "p95 ms", "CPU ms", "256 B µs", "64 KiB µs", "1 MiB µs"], rows)
    )


def _redaction(value: Value) -> str:
    rows = [[kind, one["labelled"], f"{one['recall']:.4f}", f"{one['covered']:.4f}", one["replaced"], f"{one['precision']:.4f}"] for kind, one in value["rates"].items()]
    for kind, one in value["third"].items():
        if one["labelled"]:
            rows.append([f"third set, {kind}", one["labelled"], f"{one['recall']:.4f}", f"{one['covered']:.4f}", one["replaced"], f"{one['precision']:.4f}"])
    rows.append(["aim", "", "0.99", "", "", "0.98"])
    return (
        f"Identifiers in {value['lines']} sentences of {value['characters']:,} characters, {value['microseconds_per_character']} µs a character\n"
        + table(["type", "labelled", "recall", "covered", "replaced", "precision"], rows)
        + "\nTaken for a customer where nobody is named: "
        + f"{value['long_list']['names']:,} names, {value['long_list']['characters']:,} characters, {value['long_list']['taken_for_names']}\n"
    )


def _ask(value: Value) -> str:
    rows = [
        ["wall p50", f"{value['clear_ms']:.2f}", f"{value['sealed_ms']:.2f}", f"{value['added_ms']:.2f}", "2"],
        ["processor p50, both nodes", f"{value['clear_cpu_ms']:.2f}", f"{value['sealed_cpu_ms']:.2f}", f"{value['added_cpu_ms']:.2f}", ""],
    ]
    many = [[one["cards"], one["callers"], one["clear"], one["sealed"], f"{one['ratio']:.3f}", "0.95"] for one in value["throughput"]]
    return (
        f"{value['questions']} questions in the clear and sealed ({value['isolation']}), ms\n"
        + table(["", "clear", "sealed", "added", "aim"], rows)
        + "processor by thread, ms a question, all steps and both ways: "
        + ", ".join(f"{name} {spent}" for name, spent in value["threads_cpu_ms"].items())
        + "\n\nQuestions a minute"
        + ("" if value["throughput"][0]["by_meaning"] else "; no embedder here: words alone")
        + "\n"
        + table(["cards", "callers", "clear", "sealed", "ratio", "aim"], many)
    )


def _sandbox(value: Value) -> str:
    rows = [
        ["lease to countersigned evidence, with a spare", *value["evidence_ms"], 150],
        ["release to signed receipt", *value["receipt_ms"], 100],
        ["a new spare (not waited for)", *value["ready_ms"], ""],
    ]
    left = ", ".join(f"{count} {name}" for name, count in value["left"].items())
    return f"A sandbox, {value['cycles']} cycles; left by all of them: {left}\n" + table(["", "ms median", "95th", "aim"], rows)


def _retrieval(value: Value) -> str:
    how = "" if value["by_meaning"] else "; no embedder here: words alone"
    rows = [
        ["search with the question's embedding", *(value["search"][name] for name in ("p50_ms", "p95_ms", "cpu_p50_ms")), value["aim_ms"]],
        ["search by words alone", *(value["by_words"][name] for name in ("p50_ms", "p95_ms", "cpu_p50_ms")), ""],
        ["open the file", value["opening"]["wall_ms"], "", value["opening"]["cpu_ms"], ""],
    ]
    head = f"Search in {value['passages']:,} passages, {value['bytes'] / 1e6:.1f} MB, one thread{how}\n"
    return head + table(["", "ms p50", "p95", "CPU p50", "aim"], rows)


def _answers(value: Value) -> str:
    plain = value["plain_texts"]
    rows = [
        [name, one["right"], one["of"], f"{one['share']:.4f}", value["aims"].get(name, ""), f"{plain[name]['share']:.4f}"]
        for name, one in value["shares"].items()
    ]
    wrong = "\n".join(f"  {one['set']}: {one['question']} -> {one['said']} (expected: {one['expected']})" for one in value["wrong"])
    head = f"{value['questions']} questions, {value['by']}, {value['processor_ms']} ms CPU and {value['wall_ms']} ms each\n"
    return head + table(["set", "right", "of", "share", "aim", "from plain texts"], rows) + (f"\nwrong:\n{wrong}" if wrong else "")


def _load(value: Value) -> str:
    """Rows of load.measure: callers over cards, of the paced engine, then of the engine by words alone."""
    names = ("cards", "callers", "answered", "refused", "p50_ms", "p95_ms", "per_card_minute", "of_model")
    rows = [[one[name] for name in names] for one in (*value["rows"], *value["by_words"])]
    head = f"Many who ask at once, {value['window_s']:.0f} s each; a card is held {value['pause_s']} s an answer, last rows: by words alone\n"
    return head + table(["cards", "callers", "answered", "told to wait", "p50 ms", "p95 ms", "a card-minute", "of the cards' time"], rows)


def _scaling(value: Value) -> str:
    rows = [
        [name, one["cost"], one["optimum"] or "-", f"{one['ratio']:.4f}" if one["ratio"] else "-", f"{one['ratio_to_bound']:.4f}", one["late_permille"], one["changes"], f"{one['static_most']:.2f}"]
        for name, one in value["days"].items()
    ]
    aim, rule = value["aim"], value["rule"]
    head = f"Cards by the scaler, start-up {rule['start_delay_s']} s, late after {rule['wait_s']} s; aim {aim['ratio']} at {aim['late_permille']} late in a thousand: {'holds' if value['holds'] else 'MISSED'}\n"
    return head + table(["day", "card slots", "optimum", "ratio", "to bound", "late per mille", "changes", "always most"], rows)


def _pages(value: Sequence[Value]) -> str:
    rows = [[one["page"], one["skeleton_s"], one["answer_s"]] for one in value]
    return table(["page", "skeleton s", "answer s"], rows)


def _three(value: Value) -> list[Any]:
    return [value["wall_s"], value["cpu_s"], value.get("peak_mb", "")]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value < 1 else f"{value:.1f}"
    return str(value)
