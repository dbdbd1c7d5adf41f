#!/usr/bin/env python3
"""Checks an evidence package, or a receipt, with nothing but Python 3.9. 核对证据包或收据，只需 Python 3.9。

usage: verify.py PACKAGE [--trust FILE] [--list FILE]... [--receipt FILE] [--form FILE] [--mldsa PREFIX]... [--json]

PACKAGE  the ZIP, the unpacked folder, or a receipt (JSON)      证据包 ZIP、解压后的文件夹，或收据、授权凭据
--trust  pinned keys that came to you by another way            经另一途径取得的信任文件
--list   an exported list to be checked too, may be repeated    一并核对的导出名单，可多次
--receipt  the receipt of the export, which covers the whole ZIP 导出收据，覆盖整个 ZIP
--form   the signed form of a consent receipt (then --receipt is  授权凭据所依据的签署文件
         its anchor.json)                                        （此时 --receipt 为 anchor.json）
--mldsa  entries of kinds that begin so count only co-signatures  这些前缀的种类只认带
         with an ML-DSA-44 line, besides what the package names    ML-DSA-44 行的共签
--json   the result as one JSON object                          结果为一个 JSON 对象

Exit status 0: everything holds (read the verdict: keys pinned or not). 2: not final, or failed. 3: a consent
receipt that holds, of a grant that was not live. 64: wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from workbench_ledger.package.verifier.arithmetic import sm3
from workbench_ledger.package.verifier.checks import Package, check_package
from workbench_ledger.package.verifier.consent import check_consent_receipt, is_consent_receipt, reader_time_ms
from workbench_ledger.package.verifier.formats import (
    Bad,
    Keys,
    damaged_members,
    is_name,
    parse_once,
    parse_trust,
    read_container,
    read_member,
)
from workbench_ledger.package.verifier.receipts import check_receipt
from workbench_ledger.package.verifier.result import Result

MAX_RECEIPT = 4 * 1024 * 1024


def open_folder(folder: Path) -> Package:
    """An unpacked package: plain files only. Raises Bad."""
    names: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()) or not is_name(name):
            raise Bad("CONTAINER")
        if path.is_file():
            names.append(name)
    return Package(sorted(names), lambda name: _read_known(folder / name), "", [])


def _read_known(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise KeyError(path.name) from error


def open_zip(path: Path, file: BinaryIO) -> Package:
    """A package as one file, open while it is read; every byte outside its files is compared. Raises Bad."""
    members = read_container(file, path.stat().st_size)
    damaged = damaged_members(file, members)
    return Package(sorted(members), lambda name: read_member(file, members[name]), _file_sm3(path), damaged)


def _file_sm3(path: Path) -> str:
    try:
        hasher = hashlib.new("sm3")
    except ValueError:
        return sm3(path.read_bytes()).hex()
    with path.open("rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            hasher.update(part)
    return hasher.hexdigest()


def verify(
    path: Path,
    trust: dict[str, Keys] | None,
    lists: list[tuple[str, bytes]],
    receipt: dict[str, Any] | None,
    mldsa: list[str] | None = None,
    form: bytes | None = None,
) -> dict[str, Any]:
    """The result for a package or a receipt (package.md section 7, consent-receipt.md section 6). Raises OSError when it cannot be read."""
    if path.is_file():
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        if not is_zip and path.stat().st_size <= MAX_RECEIPT:
            data = path.read_bytes()
            if is_consent_receipt(data):
                return check_consent_receipt(data, trust, receipt, form, reader_time_ms(), mldsa)
            value = _receipt(path)
            if value is not None:
                found = check_receipt(value, trust, lists, mldsa)
                return {name: one for name, one in found.items() if name not in ("entry", "index")}
    try:
        if path.is_dir():
            return check_package(open_folder(path), trust, lists, receipt, mldsa)
        with path.open("rb") as file:
            return check_package(open_zip(path, file), trust, lists, receipt, mldsa)
    except Bad as bad:
        result = Result()
        result.begin("container").problem(bad.code)
        return result.finish("FAILED")


def _receipt(path: Path) -> dict[str, Any] | None:
    try:
        return parse_once(path.read_bytes())
    except ValueError:
        return None


def as_text(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = []
    for step in result["steps"]:
        lines.append(f"{'✓' if step['ok'] else '✗'} [{step['name']}] {step['zh']}\n    {step['en']}")
        lines += [f"    ✗ {one['zh']}\n      {one['en']}" for one in step["problems"][1:]]
        if step["more"]:
            lines.append(f"    … {step['more']}")
    lines += ["", "没有核对 / not checked:"]
    lines += [f"  - {one['zh']}\n    {one['en']}" for one in result["unchecked"]]
    if "status" in result:
        lines += ["", result["status"]["zh"], result["status"]["en"]]
    return "\n".join([*lines, "", result["zh"], result["en"]])


def main(arguments: list[str] | None = None) -> int:
    """Read the files named on the command line, print the result, return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")  # a console of another code page must not end the verification
    parser = argparse.ArgumentParser(prog="verify.py", description="证据包核对 / verify an evidence package")
    parser.add_argument("package", type=Path)
    parser.add_argument("--trust", type=Path)
    parser.add_argument("--list", type=Path, action="append", default=[])
    parser.add_argument("--receipt", type=Path)
    parser.add_argument("--form", type=Path)
    parser.add_argument("--mldsa", action="append", default=[], metavar="PREFIX")
    parser.add_argument("--json", action="store_true")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return 0 if stop.code in (0, None) else 64
    try:
        trust = parse_trust(options.trust.read_bytes()) if options.trust else None
        lists = [(path.name, path.read_bytes()) for path in options.list]
        receipt = (_receipt(options.receipt) or {}) if options.receipt else None
        if options.receipt and not options.receipt.is_file():
            raise FileNotFoundError(options.receipt.name)
        result = verify(options.package, trust, lists, receipt, options.mldsa, options.form.read_bytes() if options.form else None)
    except OSError as error:
        print(f"读不了文件 / cannot read: {error.filename}: {error.strerror}", file=sys.stderr)
        return 64
    except Bad as bad:
        print(f"信任文件不可用 / the trust file cannot be used [{bad.code}]", file=sys.stderr)
        return 64
    print(json.dumps(result, ensure_ascii=False) if options.json else as_text(result))
    if result["verdict"] not in ("OK", "KEYS_NOT_PINNED"):
        return 2
    status = result.get("status")
    return 0 if status is None or (status["state"] == "LIVE" and not status["ended"]) else 3


if __name__ == "__main__":
    sys.exit(main())
