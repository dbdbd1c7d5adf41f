"""A receipt (evidence.md section 9) by itself, with its links, in the steps of `workbench verify`."""

from __future__ import annotations

from typing import Any, NamedTuple

from workbench_ledger.package.verifier.formats import (
    MAX_INTEGER,
    PARTY,
    TREES,
    Bad,
    Envelope,
    Keys,
    Note,
    b64,
    counting,
    hashes,
    leads,
    members_at,
    opens,
    parse_envelope,
    parse_opened,
    read_key,
    time_of,
    verify_note,
    weighty,
)
from workbench_ledger.package.verifier.lists import Csv, check_list
from workbench_ledger.package.verifier.result import Result

_MEMBERS = {"v", "log", "index", "entry", "proof", "checkpoint", "tlog_proof", "keys", "openings", "links"}


class _Receipt(NamedTuple):
    log: str
    at: int
    body: bytes
    paths: dict[str, list[bytes]]
    note: str
    tlog_proof: str
    keys: dict[str, Keys]
    opened: dict[str, tuple[bytes, str]]
    links: list[_Receipt]


class _Checked(NamedTuple):
    receipt: _Receipt
    envelope: Envelope
    note: Note


def check_receipt(
    value: Any, trust: dict[str, Keys] | None, lists: list[tuple[str, Csv]] | None = None, mldsa: list[str] | None = None
) -> dict[str, Any]:
    """The result of all steps; besides, `entry` (the envelope or None) and `index`. mldsa: as in `check_package`."""
    result = Result()
    step = result.begin("format")
    try:
        receipt = _parse(value, linked=False)
    except (ValueError, TypeError, KeyError, AttributeError):  # odd JSON is odd in many ways; all of them are one answer
        step.problem("RECEIPT_FORM")
        return {**result.finish("FAILED"), "entry": None, "index": 0}
    step.end()
    checked = [_check_one(one, trust, result, f"link {at} " if at else "") for at, one in enumerate([receipt, *receipt.links])]
    main, found = checked[0], [one for one in checked if one is not None]
    _check_jobs(checked, result)
    if lists:
        step = result.begin("lists")
        for name, content in lists:
            vouching = [
                (one.envelope.shared.get("key_kind", ""), {field: text for field, (_, text) in one.receipt.opened.items()})
                for one in found
                if {"list_digest", "list_key"} <= set(one.receipt.opened)
            ]
            problem = check_list(vouching, content)
            if problem:
                step.problem(problem, file=name)
        step.end(count=len(lists))
    keys = trust or receipt.keys
    result.parties = len(keys)
    if main is not None and len(found) == len(checked):
        _check_all_sealed(found, keys, mldsa or [], result)
    if trust is None:
        result.leave("keys")
    for left in ("time", "truth"):
        result.leave(left)
    done = result.finish("OK" if trust is not None else "KEYS_NOT_PINNED")
    return {**done, "entry": main.envelope if main else None, "index": receipt.at}


def _parse(value: Any, *, linked: bool) -> _Receipt:
    """Raises ValueError, TypeError or KeyError for another form."""
    if not isinstance(value, dict) or set(value) != _MEMBERS or value["v"] != "workbench/v1/receipt":
        raise ValueError("members")
    index, proof, links = value["index"], value["proof"], value["links"]
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < MAX_INTEGER:
        raise ValueError("index")
    if set(proof) != {"sha256", "sm3"} or not all(isinstance(one, list) for one in proof.values()):
        raise ValueError("proof")
    if not isinstance(links, list) or len(links) > (0 if linked else 8) or len(value["keys"]) > 64:
        raise ValueError("links")
    keys = {}
    for party, one in value["keys"].items():
        if not PARTY.fullmatch(party) or set(one) != {"ed25519", "sm2"}:
            raise ValueError("keys")
        keys[party] = Keys(read_key(one["ed25519"], point=False), read_key(one["sm2"], point=True))
    texts = [value[name] for name in ("log", "entry", "checkpoint", "tlog_proof")]
    if not all(isinstance(one, str) for one in texts) or not PARTY.fullmatch(value["log"]):
        raise ValueError("texts")
    return _Receipt(
        value["log"],
        index,
        value["entry"].encode("utf-8"),
        {tree: hashes(proof[tree]) for tree in TREES},
        value["checkpoint"],
        value["tlog_proof"],
        keys,
        parse_opened(value["openings"]),
        [_parse(one, linked=True) for one in links],
    )


def _check_one(
    receipt: _Receipt, trust: dict[str, Keys] | None, result: Result, prefix: str
) -> _Checked | None:
    """All steps about one entry but the seal; None when a basic one fails."""
    where: dict[str, Any] = {"log": receipt.log, "index": receipt.at}
    envelope: Envelope | None = None
    step = result.begin(prefix + "entry")
    try:
        envelope = parse_envelope(receipt.body)
        if envelope.log != receipt.log:
            raise ValueError("log")
        step.end("entry", **where, kind=envelope.kind, time=envelope.time)
    except ValueError:
        envelope = None
        step.problem("ENVELOPE", **where)
    keys, note = receipt.keys if trust is None else trust, None
    found = result.begin(prefix + "keys")
    differing = [party for party, one in sorted(receipt.keys.items()) if trust is not None and _differs(trust.get(party), one)]
    for party in differing:
        found.problem("KEY_DIFFERS", party=party)
    found.end("keys_unpinned" if trust is None else "keys_pinned", parties=", ".join(sorted(keys)))
    step = result.begin(prefix + "checkpoint")
    try:
        note = verify_note(receipt.note, keys, None)
        if note.log != receipt.log:
            raise Bad("CHECKPOINT_OF_OTHERS", party=note.log)
        times = [f"{party} ({time_of(time_s)})" for party, (time_s, _) in sorted(note.cosigners.items())]
        step.end("checkpoint", cosigners=", ".join(times) or "—")
    except Bad as bad:
        step.problem(bad.code, log=receipt.log, party=bad.where.get("party", ""))
        note = None
    for tree, digest in TREES.items():
        step = result.begin(prefix + tree)
        leaf, path = digest(b"\0" + receipt.body), receipt.paths[tree]
        if note is None or not leads(digest, receipt.at, note.size, leaf, path, note.roots[tree]):
            step.problem("INCLUSION", **where)
        step.end(tree, count=1)
    step = result.begin(prefix + "tlog_proof")
    lines = ["c2sp.org/tlog-proof@v1", f"index {receipt.at}", *map(b64, receipt.paths["sha256"])]
    if receipt.tlog_proof != "\n".join(lines) + "\n\n" + receipt.note:
        step.problem("RECEIPT", **where)
    step.end("tlog_proof")
    if receipt.opened:
        step = result.begin(prefix + "openings")
        for field, (salt, text) in sorted(receipt.opened.items()):
            if envelope is None or not opens(envelope, field, salt, text):
                step.problem("OPENING", field=field, **where)
        step.end("openings", count=len(receipt.opened))
    return None if envelope is None or note is None else _Checked(receipt, envelope, note)


def _differs(pinned: Keys | None, inside: Keys) -> bool:
    return pinned is None or (pinned.ed25519, pinned.sm2) != (inside.ed25519, inside.sm2)


def _check_jobs(checked: list[_Checked | None], result: Result) -> None:
    """Every link is another entry of the same job and project."""
    main, seen = checked[0], set()
    for at, one in enumerate(checked):
        if one is None or main is None:
            continue
        place, job = (one.receipt.log, one.receipt.at), one.envelope.job
        if at:
            step = result.begin(f"link {at} job")
            if job != main.envelope.job or not job or one.note.project != main.note.project or place in seen:
                step.problem("RECEIPT", log=place[0], index=place[1])
            step.end("job", log=place[0], index=place[1])
        seen.add(place)


def _check_all_sealed(checked: list[_Checked], keys: dict[str, Keys], mldsa: list[str], result: Result) -> None:
    required: set[str] = set()
    for one in checked:
        required |= {one.receipt.log} | one.envelope.participants()
    signed = [counting(one.note, keys, one.receipt.at) for one in checked]
    counted = [weighty(one.envelope.kind, found, one.note, mldsa) for one, found in zip(checked, signed)]  # noqa: B905  new in 3.10
    everybody = members_at(keys, checked[0].receipt.log, checked[0].receipt.at)
    signers = set.intersection(*counted) & everybody
    missing = sorted({party for one in counted for party in required - one})
    lacks_third = counted != signed and not any(required - one for one in signed)
    step = result.begin("sealed")
    final = not missing and len(signers) >= 2
    first = checked[0].receipt
    if not final:
        step.problem("MLDSA_MISSING" if lacks_third else "NOT_FINAL", final=False, log=first.log, index=first.at, party=", ".join(missing) or "—")
    full = final and signers >= everybody
    result.counted(1, {"FULL": int(full), "SEALED": int(final and not full), "PENDING": int(not final)})
    step.end("receipt_sealed", share=f"{len(signers)}/{len(everybody)}")
