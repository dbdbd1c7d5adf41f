"""`python -m tests.bench`: measure, print a table, and write JSON where asked. Document: docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench import (
    devices,
    distillation,
    frames,
    links,
    intersections,
    key_delivery,
    keys,
    ledger,
    machine,
    receipts,
    redaction,
    report,
    secretflow,
    stores,
)

SIZES = (1 << 16, 1 << 18)
LARGE = 1 << 20
ODD = (50_000, 300_000)
"""Sizes well inside a bucket: 50,000 + 64 fill 87 % of theirs, 300,000 + 64 fill 92 %."""
ECDH_SIZE = 1 << 14


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    sizes = sorted({*options.sizes, *(ODD if options.odd else ()), *((LARGE,) if options.large else ())})
    result: dict[str, Any] = {"machine": machine.facts(), "skipped": {}}
    with tempfile.TemporaryDirectory(prefix="workbench-bench-files-") as name:
        folder = Path(name)
        if "intersection" in options.parts:
            runs = []
            for size in sizes:
                _say(f"intersection of {size:,} and {size:,}")
                runs.append(intersections.measure(size, files=folder).as_dict())
            result["intersections"] = runs
            result["secretflow"] = _beside(folder, sizes, result["skipped"], wanted=not options.without_spu)
        if "stores" in options.parts:
            _say(f"import and consent filter of {options.rows:,}")
            result["imports"] = stores.measure_imports(options.rows, folder)
        if "receipts" in options.parts:
            _say("a hundred thousand consent receipts")
            result["receipts"] = receipts.measure(folder)
        if "ledger" in options.parts:
            _say(f"a log of {options.entries:,}")
            result["ledger"] = ledger.measure(options.entries)
        if "distill" in options.parts:
            _say("distillation of a simulated line")
            result["distillation"] = distillation.measure()
        if "keys" in options.parts:
            _say("keys from a stock of a million")
            result["keys"] = keys.measure()
            _say("one key device beside two")
            result["devices"] = devices.measure()
        if "delivery" in options.parts:
            _say("requests to a pair of key-management entities")
            result["delivery"] = key_delivery.measure()
        if "frames" in options.parts:
            _say("sealed frames and sessions")
            result["frames"] = frames.measure()
            _say("links below the sessions")
            result["links"] = links.measure()
        if "redaction" in options.parts:
            _say("identifiers in questions")
            result["redaction"] = redaction.measure()
        if "sandbox" in options.parts:
            _say("a sandbox from lease to receipt")
            result["sandbox"] = _sandbox(result["skipped"])
        if "ask" in options.parts:
            _say("questions in the clear and sealed")
            from tests.bench import asking

            result["ask"] = asking.measure()
            _say("many who ask at once")
            result["ask"]["throughput"] = [asking.throughput(cards) for cards in (1, 2)]
        if "retrieval" in options.parts:
            _say("search in ten thousand passages")
            result["retrieval"] = _retrieval()
        if "answers" in options.parts:
            _say("questions to the synthetic corpus")
            result["answers"] = _answers()
        if "scaling" in options.parts:
            _say("the scaler beside the exact optimum")
            from tests.bench import scaling

            result["scaling"] = scaling.measure()
        if "load" in options.parts:
            _say("many callers over one, two and four cards")
            result["load"] = _load(result["skipped"])
        if options.pages:
            result["pages"] = _pages(result["skipped"])
    result["load_at_end"] = machine.load()
    print(report.render(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", "utf-8")
        _say(f"figures in {options.json.name}")
    return 0


def _beside(folder: Path, sizes: list[int], skipped: dict[str, str], *, wanted: bool) -> list[dict[str, Any]]:
    """SPU's runs on the same lists; what could not run is named in `skipped`."""
    if not wanted:
        skipped["SecretFlow SPU"] = "--without-spu"
        return []
    try:
        python = secretflow.interpreter()
    except secretflow.Unavailable as reason:
        skipped["SecretFlow SPU"] = str(reason)
        return []
    plans = [(size, "PROTOCOL_RR22", "") for size in sizes]
    plans += [(ECDH_SIZE, "PROTOCOL_ECDH", curve) for curve in ("CURVE_25519", "CURVE_25519_ELLIGATOR2")]
    done = []
    for size, protocol, curve in plans:
        _say(f"SecretFlow SPU {protocol} {curve} {size:,}")
        truth = intersections.write_lists(folder, size)
        lists = (folder / f"broker-{size}-ids.csv", folder / f"bank-{size}-ids.csv")
        try:
            cost = secretflow.measure(python, lists=lists, size=size, protocol=protocol, curve=curve)
        except secretflow.Unavailable as reason:
            skipped[f"{protocol} {curve} {size}"] = str(reason)
            continue
        done.append({**cost.as_dict(), "same_result": cost.keys == truth})
    return done


def _sandbox(skipped: dict[str, str]) -> dict[str, Any]:
    from tests.bench import sandbox

    try:
        return sandbox.measure()
    except sandbox.Unavailable as reason:
        skipped["sandbox"] = str(reason)
        return {}


def _load(skipped: dict[str, str]) -> dict[str, Any]:
    from tests.bench import load

    try:
        return load.measure()
    except load.Unavailable as reason:
        skipped["load"] = str(reason)
        return {}


def _retrieval() -> dict[str, Any]:
    from tests.bench import retrieval  # sets the number of threads, for itself alone where nothing else is measured

    return retrieval.measure()


def _answers() -> dict[str, Any]:
    from tests.bench import answers

    return answers.measure()


def _pages(skipped: dict[str, str]) -> list[dict[str, Any]]:
    from tests.bench import pages

    try:
        return pages.measure()
    except pages.Unavailable as reason:
        skipped["pages"] = str(reason)
        return []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--sizes", type=_numbers, default=list(SIZES), help="customers of each side, e.g. 65536,262144")
    parser.add_argument("--large", action="store_true", help="2^20 as well: about five minutes more")
    parser.add_argument("--odd", action="store_true", help="sizes that are no bucket as well")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the imports and of the consent filter")
    parser.add_argument("--entries", type=int, default=1_000_000, help="entries of the log that is proved and audited")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--without-spu", action="store_true", help="do not install or run SecretFlow SPU")
    parser.add_argument("--pages", action="store_true", help="time the pages of JupyterLab in Chromium")
    parser.add_argument(
        "--parts",
        type=lambda text: text.split(","),
        default=["intersection", "stores", "receipts", "ledger", "distill", "keys", "delivery", "frames", "redaction", "sandbox", "ask", "retrieval", "answers", "scaling", "load"],
        help="what to measure: intersection,stores,receipts,ledger,distill,keys,delivery,frames,redaction,sandbox,ask,retrieval,answers,scaling,load",
    )
    return parser


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
