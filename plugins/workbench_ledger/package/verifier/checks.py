"""The steps of package.md section 7, in order. Nothing here reads a clock, asks a network or writes a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from workbench_ledger.package.verifier.anchors import ANCHOR_FILE, check_anchors
from workbench_ledger.package.verifier.arithmetic import der_of
from workbench_ledger.package.verifier.decisions import check_decisions
from workbench_ledger.package.verifier.formats import (
    COSIGN_TYPE,
    HEX32,
    LOG_TYPE,
    MAX_INTEGER,
    PARTY,
    TREES,
    Bad,
    Envelope,
    Keys,
    Note,
    continues,
    counting,
    hashes,
    is_name,
    is_time,
    leads,
    members_at,
    number,
    opens,
    origin,
    parse_canonical,
    parse_envelope,
    parse_opened,
    parse_trust,
    sm2_pem,
    sm2_signed,
    time_of,
    verify_note,
    vkey,
    weighty,
)
from workbench_ledger.package.verifier.lists import Csv, check_list
from workbench_ledger.package.verifier.receipts import check_receipt
from workbench_ledger.package.verifier.result import Result

_PLACE = r"([a-z][a-z0-9-]{1,30})/([0-9]{12})"
_ENTRY = re.compile(rf"entries/{_PLACE}\.json")
_PROOF = re.compile(rf"(?:proofs/{_PLACE}\.(?:tlog|sm3)-proof|openings/{_PLACE}\.json)")
_NOTE = re.compile(rf"checkpoints/{_PLACE}\.(note|consistency)")
_KEY_FILE = re.compile(r"keys/([a-z][a-z0-9-]{1,30})\.(log\.vkey|cosign\.vkey|sm2\.pem)")
_SM2_FILE = re.compile(rf"sm2/{_PLACE}/([a-z][a-z0-9-]{{1,30}})\.(message|der)")
_ENTRY_REF = re.compile(r"entry:([a-z][a-z0-9-]{1,30}):(0|[1-9][0-9]{0,15}):([0-9a-f]{64})")
_FIXED = {
    "README.txt", "keys/COMPARE.txt", "report.html", "verify.html", "verify.py", "package.json", "keys/trust.json",
    "manifest.json",
}  # fmt: skip
_PACKAGE = {
    "v", "project", "exporter", "made", "actor", "workspace", "selection", "entries", "held", "state", "not_final",
    "uncovered", "opened", "withheld", "report_pdf",
}  # fmt: skip
_PREFIX = re.compile(r"[a-z0-9_.-]{0,64}")


class Package(NamedTuple):
    """The files of a package. names: all of them, ascending; read gives one; whole: the ZIP's SM3 in hex, "" for a folder.

    damaged: files that do not fit the ZIP's checksums.
    """

    names: list[str]
    read: Callable[[str], bytes]
    whole: str
    damaged: list[str]


class _Entry(NamedTuple):
    """What later steps need of an entry. head: size of its checkpoint, 0 when its proof does not hold."""

    envelope: Envelope
    leaf: str
    head: int
    opened: dict[str, str]


Place = tuple[str, int]


def check_package(
    package: Package,
    trust: dict[str, Keys] | None,
    lists: list[tuple[str, Csv]],
    receipt: dict[str, Any] | None,
    mldsa: list[str] | None = None,
) -> dict[str, Any]:
    """The result of all steps. trust: pinned keys; lists: name and content of exported files; receipt: of the export.

    mldsa: prefixes of kinds for which the reader demands ML-DSA-44 lines, besides those that the package names.
    """
    result = Result()
    step = result.begin("container")
    for name in package.damaged:
        step.problem("FILE_CRC", file=name)
    step.end(count=len(package.names))
    _check_manifest(package, result)
    about = _check_description(package, result)
    demanded = sorted({*(mldsa or []), *(about.get("mldsa_required", []) if about else [])})
    keys = _check_keys(package, trust, about, bool(demanded), result)
    if about is None or not keys:
        return result.finish("FAILED")
    notes = _check_checkpoints(package, keys, about["project"], result)
    entries = _check_entries(package, notes, about["exporter"], result)
    _check_consistency(package, notes, result)
    _check_references(entries, result)
    _check_sm2(package, notes, result)
    decided = check_decisions([(log, index, one.envelope) for (log, index), one in entries.items()], keys, result)
    left: list[tuple[str, dict[str, str]]] = []
    if about.get("anchors"):
        indices: dict[str, list[int]] = {}
        for log, index in entries:
            indices.setdefault(log, []).append(index)
        left = check_anchors(package.names, package.read, notes, keys, about["project"], indices, about["anchors"], result)
    if lists:
        _check_lists(entries, lists, result)
    if receipt is not None:
        _check_export(receipt, trust or keys, about, package.whole, result)
    _check_sealed(entries, notes, keys, about, demanded, _counts(package.names), result)
    unknown = sum(note.unknown for note in notes.values())
    result.parties = len(keys)
    if trust is None:
        result.leave("keys")
    for name in ("time", "truth"):
        result.leave(name)
    if receipt is None:
        result.leave("claims")
    for name, values in left:
        result.leave(name, **values)
    if decided:
        result.leave("two_people")
    result.leave("verifier")
    if unknown:
        result.leave("foreign", count=unknown)
    return result.finish("OK" if trust is not None else "KEYS_NOT_PINNED")


def _check_manifest(package: Package, result: Result) -> None:
    step = result.begin("manifest")
    here = set(package.names) - {"manifest.json"}
    try:
        value = parse_canonical(package.read("manifest.json"))
        files = value["files"]
        if set(value) != {"files", "v"} or value["v"] != "workbench/v1/manifest" or not isinstance(files, dict):
            raise ValueError("members")
        for name, one in files.items():
            if not is_name(name) or not isinstance(one, dict) or set(one) != {"sha256", "size", "sm3"}:
                raise ValueError("file")
            if not _is_count(one["size"]) or not all(_is_digest(one[tree]) for tree in TREES):
                raise ValueError("file")
    except (ValueError, KeyError):
        step.problem("MANIFEST_FORM", file="manifest.json")
        return
    for name in sorted(here | set(files)):
        if name not in files:
            step.problem("FILE_EXTRA", file=name)
        elif name not in here:
            step.problem("FILE_MISSING", file=name)
        else:
            data, said = package.read(name), files[name]
            if len(data) != said["size"] or any(digest(data).hex() != said[tree] for tree, digest in TREES.items()):
                step.problem("FILE_CHANGED", file=name)
    step.end(count=len(files))


def _check_description(package: Package, result: Result) -> dict[str, Any] | None:
    step = result.begin("package")
    about: dict[str, Any] | None = None
    try:
        about = parse_canonical(package.read("package.json"))
        if not _is_description(about):
            raise ValueError("description")
    except (ValueError, KeyError):
        step.problem("PACKAGE_FORM", file="package.json")
        about = None
    names, places = set(package.names), set()
    fixed = _FIXED | ({"report.pdf"} if about and about["report_pdf"] == "yes" else set())
    patterns = [_PROOF, _NOTE, _KEY_FILE, _SM2_FILE, *([ANCHOR_FILE] if about and about.get("anchors") else [])]
    for name in package.names:
        entry = _ENTRY.fullmatch(name)
        if entry:
            places.add(f"{entry[1]}/{entry[2]}")
        elif name not in fixed and not any(one.fullmatch(name) for one in patterns):
            step.problem("FILE_UNKNOWN", file=name)
    for name in sorted(fixed):
        if name not in names:
            step.problem("FILE_MISSING", file=name)
    for place in sorted(places):
        log, index = place.split("/")
        for name in (f"proofs/{place}.tlog-proof", f"proofs/{place}.sm3-proof"):
            if name not in names:
                step.problem("PROOF_MISSING", file=name, log=log, index=int(index))
    for name in package.names:
        found = _PROOF.fullmatch(name)
        if found and (f"{found[1]}/{found[2]}" if found[1] else f"{found[3]}/{found[4]}") not in places:
            step.problem("PROOF_STRAY", file=name)
    step.end(count=len(places))
    return about


def _is_description(about: dict[str, Any]) -> bool:
    """The form of package.json (sections 4 and 4.1)."""
    selection, version = about.get("selection"), about.get("v")
    if version == "workbench/v2/package":
        required = about.get("mldsa_required")
        if not isinstance(required, list) or not all(isinstance(one, str) and _PREFIX.fullmatch(one) for one in required):
            return False
        if required != sorted(set(required)) or not _is_count(about.get("anchors")) or not (required or about["anchors"]):
            return False
    elif version != "workbench/v1/package":
        return False
    grown = {"anchors", "mldsa_required"} if version == "workbench/v2/package" else set()
    if set(about) != _PACKAGE | grown or not isinstance(selection, dict):
        return False
    texts = [about[name] for name in ("project", "exporter", "actor", "workspace", "state", "report_pdf")]
    return (
        all(isinstance(one, str) for one in [*texts, *selection.values()])
        and bool(PARTY.fullmatch(about["exporter"]))
        and set(selection) == {"by", "value", "from", "to", "identifier"}
        and selection["by"] in ("job", "campaign", "period", "customer")
        and (selection["by"] == "customer" or not selection["identifier"])
        and about["workspace"] in ("demo", "test", "production")
        and about["state"] in ("FINAL", "NOT_FINAL")
        and about["report_pdf"] in ("yes", "NO_FONT", "NO_LIBRARY")
        and is_time(about["made"])
        and all(_is_count(about[name]) for name in ("not_final", "uncovered", "opened", "withheld"))
        and all(
            isinstance(about[name], dict)
            and all(PARTY.fullmatch(log) and _is_count(count) for log, count in about[name].items())
            for name in ("entries", "held")
        )
    )


def _check_keys(
    package: Package, trust: dict[str, Keys] | None, about: dict[str, Any] | None, thirds: bool, result: Result
) -> dict[str, Keys]:
    """The keys to verify with: pinned where there are any. thirds: whether ML-DSA-44 lines are demanded."""
    step = result.begin("keys")
    try:
        inside = parse_trust(package.read("keys/trust.json"))
    except (Bad, KeyError):
        step.problem("TRUST_FORM", file="keys/trust.json")
        return {}
    if trust is not None:
        for party in sorted(set(inside) | set(trust)):
            if not _same_keys(inside.get(party), trust.get(party)):
                step.problem("KEY_DIFFERS", file="keys/trust.json", party=party)
            elif thirds and inside[party].mldsa44 and not trust[party].mldsa44:
                step.problem("MLDSA_UNPINNED", file="keys/trust.json", party=party)
    if about is not None:
        expected = {}
        for party, keys in inside.items():
            name = origin(about["project"], party)
            expected[f"keys/{party}.log.vkey"] = vkey(name, LOG_TYPE, keys.ed25519) + "\n"
            expected[f"keys/{party}.cosign.vkey"] = vkey(name, COSIGN_TYPE, keys.ed25519) + "\n"
            expected[f"keys/{party}.sm2.pem"] = sm2_pem(keys.sm2)
        found = {name for name in package.names if _KEY_FILE.fullmatch(name)}
        for name in sorted(found | set(expected)):
            if name not in found or package.read(name) != expected.get(name, "").encode():
                step.problem("KEY_FILE", file=name)
    step.end("keys_pinned" if trust is not None else "keys_unpinned", parties=", ".join(sorted(inside)))
    if trust is None:
        return inside
    # The package can only take a co-signature's weight away: a pinned file may be older than a change of members.
    return {party: one._replace(spans=one.spans + inside[party].spans if party in inside else one.spans) for party, one in trust.items()}


def _check_checkpoints(package: Package, keys: dict[str, Keys], project: str, result: Result) -> dict[Place, Note]:
    step = result.begin("checkpoints")
    notes: dict[Place, Note] = {}
    for name in package.names:
        found = _NOTE.fullmatch(name)
        if not found or found[3] != "note":
            continue
        log, size = found[1], int(found[2])
        try:
            note = verify_note(package.read(name).decode("utf-8"), keys, project)
            if (note.log, note.size) != (log, size):
                raise Bad("CHECKPOINT_OF_OTHERS", party=note.log)
            notes[log, size] = note
        except Bad as bad:
            step.problem(bad.code, file=name, log=log, party=bad.where.get("party", ""))
        except UnicodeDecodeError:
            step.problem("CHECKPOINT_FORM", file=name, log=log)
    who: dict[str, int] = {}
    for note in notes.values():
        for party, (time_s, _) in note.cosigners.items():
            who[party] = max(time_s, who.get(party, 0))
    cosigners = ", ".join(f"{party} ({time_of(time_s)})" for party, time_s in sorted(who.items()))
    step.end(count=len(notes), cosigners=cosigners or "—")
    return notes


def _check_entries(
    package: Package, notes: dict[Place, Note], exporter: str, result: Result
) -> dict[Place, _Entry]:
    """Steps `entries`, `sha256`, `sm3` and `openings`, entry by entry, so that a large package needs little memory."""
    steps = {name: result.begin(name) for name in ("entries", "sha256", "sm3")}
    opening_step = result.begin("openings")
    names, entries, opened_count = set(package.names), {}, 0
    for name in package.names:
        found = _ENTRY.fullmatch(name)
        if not found:
            continue
        log, index = found[1], int(found[2])
        body, place = package.read(name), f"{log}/{found[2]}"
        where: dict[str, Any] = {"log": log, "index": index}
        envelope = None
        try:
            envelope = parse_envelope(body)
            if envelope.log != log:
                raise ValueError("log")
        except ValueError:
            envelope = None
            steps["entries"].problem("ENVELOPE", file=name, **where)
        heads = []
        for tree, kind in (("sha256", "tlog"), ("sm3", "sm3")):
            proof = f"proofs/{place}.{kind}-proof"
            if proof not in names:
                steps[tree].problem("PROOF_FORM", file=proof, **where)
                continue
            try:
                heads.append(_check_proof(tree, package.read(proof), body, log, index, notes))
            except Bad as bad:
                steps[tree].problem(bad.code, file=proof, **where)
            except ValueError:
                steps[tree].problem("PROOF_FORM", file=proof, **where)
        opened: dict[str, str] = {}
        if f"openings/{place}.json" in names:
            opened = _check_openings(package, f"openings/{place}.json", envelope, log == exporter, where, opening_step)
            opened_count += len(opened)
        if envelope is not None:
            head = heads[0] if len(heads) == 2 and heads[0] == heads[1] else 0
            entries[log, index] = _Entry(envelope, TREES["sha256"](b"\0" + body).hex(), head, opened)
            if len(heads) == 2 and not head:
                steps["sm3"].problem("PROOF_FORM", file=f"proofs/{place}.sm3-proof", **where)
    for step in steps.values():
        step.end(count=len(entries))
    opening_step.end(count=opened_count)
    return entries


def _check_proof(tree: str, data: bytes, body: bytes, log: str, index: int, notes: dict[Place, Note]) -> int:
    """The size of the checkpoint to which a proof file leads. Raises Bad or ValueError."""
    text = data.decode("utf-8")
    if tree == "sha256":
        head, separator, note = text.partition("\n\n")
        lines = head.split("\n")
        of = next((one for (owner, _), one in notes.items() if owner == log and one.note == note), None)
        if lines[0] != "c2sp.org/tlog-proof@v1" or not separator or len(lines) < 2:
            raise ValueError("form")
        said, path = lines[1], lines[2:]
    else:
        lines = text.split("\n")
        if len(lines) < 4 or lines[0] != "workbench/v1/sm3-proof" or lines[-1] or not lines[2].startswith("size "):
            raise ValueError("form")
        of = notes.get((log, number(lines[2][5:])))
        said, path = lines[1], lines[3:-1]
    if of is None or said != f"index {index}":
        raise ValueError("checkpoint")
    digest = TREES[tree]
    if not leads(digest, index, of.size, digest(b"\0" + body), hashes(path), of.roots[tree]):
        raise Bad("INCLUSION")
    return of.size


def _check_openings(
    package: Package, name: str, envelope: Envelope | None, is_own: bool, where: dict[str, Any], step: Any
) -> dict[str, str]:
    try:
        value = parse_canonical(package.read(name))
        if set(value) != {"fields", "v"} or value["v"] != "workbench/v1/openings" or not is_own:
            raise ValueError("members")
        opened = parse_opened(value["fields"])
        if not opened:
            raise ValueError("empty")
    except ValueError:
        step.problem("OPENING_FORM", file=name, **where)
        return {}
    for field, (salt, text) in sorted(opened.items()):
        if envelope is None or not opens(envelope, field, salt, text):
            step.problem("OPENING", file=name, field=field, **where)
    return {field: text for field, (_, text) in opened.items()}


def _check_consistency(package: Package, notes: dict[Place, Note], result: Result) -> None:
    step = result.begin("consistency")
    files = {name for name in package.names if name.endswith(".consistency")}
    count = 0
    previous: Note | None = None
    for (log, size), note in sorted(notes.items()):
        name = f"checkpoints/{log}/{size:012d}.consistency"
        if previous is not None and previous.log == log:
            try:
                if name not in files or not _continues(package.read(name), previous, note):
                    raise ValueError("missing")
            except ValueError:
                step.problem("CONSISTENCY", file=name, log=log)
            files.discard(name)
            count += 1
        previous = note
    for name in sorted(files):
        step.problem("CONSISTENCY", file=name, log=name.split("/")[1])
    step.end(count=count)


def _continues(data: bytes, old: Note, new: Note) -> bool:
    lines = data.decode("utf-8").split("\n")
    head = ["workbench/v1/consistency", f"old {old.size}", f"new {new.size}"]
    rest = lines[3:-1]
    first = [line[7:] for line in rest if line.startswith("sha256 ")]
    second = [line[4:] for line in rest if line.startswith("sm3 ")]
    if lines != [*head, *(f"sha256 {one}" for one in first), *(f"sm3 {one}" for one in second), ""]:
        return False
    paths = {"sha256": hashes(first), "sm3": hashes(second)}
    return all(
        continues(digest, old.size, new.size, old.roots[tree], new.roots[tree], paths[tree])
        for tree, digest in TREES.items()
    )


def _check_references(entries: dict[Place, _Entry], result: Result) -> None:
    step = result.begin("references")
    count = 0
    for (log, index), entry in entries.items():
        for ref in entry.envelope.refs:
            found = _ENTRY_REF.fullmatch(ref)
            target = entries.get((found[1], int(found[2]))) if found else None
            if found and target:
                count += 1
                if target.leaf != found[3]:
                    step.problem("REFERENCE", file=f"entries/{log}/{index:012d}.json", log=log, index=index, party=found[1])
    step.end(count=count)


def _check_sm2(package: Package, notes: dict[Place, Note], result: Result) -> None:
    step = result.begin("sm2")
    expected: dict[str, bytes] = {}
    for (log, size), note in notes.items():
        for party, (time_s, signature) in note.cosigners.items():
            stem = f"sm2/{log}/{size:012d}/{party}"
            expected[f"{stem}.message"] = sm2_signed(party, note.text, time_s)
            expected[f"{stem}.der"] = der_of(signature)
    found = {name for name in package.names if _SM2_FILE.fullmatch(name)}
    for name in sorted(found | set(expected)):
        if name not in found or package.read(name) != expected.get(name):
            step.problem("SM2_FILE", file=name)
    step.end(count=len(expected) // 2)


def _check_lists(entries: dict[Place, _Entry], lists: list[tuple[str, Csv]], result: Result) -> None:
    step = result.begin("lists")
    vouching = [
        (one.envelope.shared.get("key_kind", ""), one.opened)
        for one in entries.values()
        if {"list_digest", "list_key"} <= set(one.opened)
    ]
    for name, content in lists:
        problem = check_list(vouching, content)
        if problem:
            step.problem(problem, file=name)
    step.end(count=len(lists))


def _check_export(
    receipt: dict[str, Any], keys: dict[str, Keys], about: dict[str, Any], whole: str, result: Result
) -> None:
    step = result.begin("export")
    found = check_receipt(receipt, keys)
    entry = found.get("entry")
    if not whole:
        step.problem("EXPORT_FOLDER", file="manifest.json")
    elif found["verdict"] != "OK" or entry is None:
        step.problem("EXPORT_RECEIPT", party=about["exporter"])
    elif (entry.kind, entry.log, entry.shared.get("package_sm3")) != ("evidence.exported", about["exporter"], whole):
        step.problem("EXPORT_OTHER", party=about["exporter"])
    else:
        step.end(party=entry.log, index=found["index"], time=entry.time)


def _check_sealed(
    entries: dict[Place, _Entry],
    notes: dict[Place, Note],
    keys: dict[str, Keys],
    about: dict[str, Any],
    demanded: list[str],
    counts: dict[str, int],
    result: Result,
) -> None:
    required: dict[str, set[str]] = {}
    for entry in entries.values():
        required.setdefault(entry.envelope.job, set()).update(entry.envelope.participants())
    states = {"FULL": 0, "SEALED": 0, "PENDING": 0}
    step = result.begin("sealed")
    unproven = claimed = 0
    for (log, index), entry in sorted(entries.items()):
        note = notes.get((log, entry.head))
        if note is None:  # its proof does not hold, which is said above; nothing is known of who signed it
            unproven += 1
            continue
        signers, members = counting(note, keys, index), members_at(keys, log, index)
        needed = _required(entry.envelope, required, members)
        as_said = weighty(entry.envelope.kind, signers, note, about.get("mldsa_required", []))
        claimed += int(bool(needed - as_said) or len(as_said) < 2)
        counted = weighty(entry.envelope.kind, signers, note, demanded)
        missing = needed - counted
        if not missing and len(counted) >= 2:
            states["FULL" if members <= signers else "SEALED"] += 1
        else:
            states["PENDING"] += 1
            names = ", ".join(sorted(missing)) or "—"
            code = "MLDSA_MISSING" if needed <= signers and len(signers) >= 2 else "NOT_FINAL"
            step.problem(code, final=False, file=f"entries/{log}/{index:012d}.json", log=log, index=index, party=names)
    opened = sum(len(entry.opened) for entry in entries.values())
    said = (about["entries"], about["opened"], about["state"], about["not_final"])
    found = (counts, opened, "NOT_FINAL" if claimed else "FINAL", claimed)
    if said[:2] != found[:2] or (not unproven and said != found):
        step.problem("COUNT", file="package.json")
    result.counted(len(entries), states)
    step.end(full=states["FULL"], sealed=states["SEALED"])


def _counts(names: list[str]) -> dict[str, int]:
    """log -> number of entries."""
    counts: dict[str, int] = {}
    for name in names:
        found = _ENTRY.fullmatch(name)
        if found:
            counts[found[1]] = counts.get(found[1], 0) + 1
    return counts


def _same_keys(inside: Keys | None, pinned: Keys | None) -> bool:
    """An ML-DSA key may be younger than the reader's trust file; two different ones are a contradiction."""
    if inside is None or pinned is None or (inside[:3], inside.names) != (pinned[:3], pinned.names):
        return False
    return not (inside.mldsa44 and pinned.mldsa44) or inside.mldsa44 == pinned.mldsa44


def _required(envelope: Envelope, of_jobs: dict[str, set[str]], members: set[str]) -> set[str]:
    """Whose co-signatures an entry needs (section 6); two institutions in all are needed besides."""
    if envelope.kind.startswith("ledger.member_"):
        return members - {envelope.shared.get("party", "")} | {envelope.log}
    if envelope.kind.startswith("ledger."):
        return {envelope.log}
    return of_jobs[envelope.job] if envelope.job else envelope.participants()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and bool(HEX32.fullmatch(value))


__all__ = ["Package", "check_package"]
