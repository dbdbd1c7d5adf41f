"""Evidence packages as bytes: the container, the manifest, and the small files that are not envelopes or notes.

Document: docs/protocols/package.md sections 2 to 5. Pure. Readers of packages are written apart from this
(plugins/workbench_ledger/package/verifier), so that one does not repeat the other's mistakes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.crypto import canonical, sm3
from workbench.crypto.sm3 import new as new_sm3
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.envelope import Opening
from workbench.domain.party import PartyId

MAX_ENTRIES = 15_000
MAX_FILES = 65_000
MAX_BYTES = 1 << 30
MAX_INDEX = 10**12 - 1
MANIFEST = "manifest.json"
STEPS_PER_ENTRY = 3
"""How often `PackageOrder.step` counts an entry: planned, written, proven."""

_NAME = re.compile(r"[A-Za-z0-9._/-]{1,160}")
_DATE = 0x21  # 1980-01-01, the first day a ZIP can name
_MODE = 0x81A40000  # -rw-r--r--

Place = tuple[PartyId, int]
"""An entry: whose log, and its number there."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a package is about (section 1). identifier: of the customer, "" unless asked for; secret in logs and errors."""

    by: str
    value: str
    from_day: str = ""
    to_day: str = ""
    identifier: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class KindText:
    """What a report says about a kind of entry: a sentence, and of every field its name and unit."""

    zh: str
    en: str
    fields: Mapping[str, tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class PackageAnchor:
    """What a node knows of one outside anchor of a log (docs/protocols/anchor.md section 5; contracts.AnchorProof).

    state: "confirmed" or one that proves nothing. size: entries its note covers. time_ms: outside time, 0 unless confirmed.
    digest: SHA-256 of the note. files: name -> bytes.
    """

    kind: str
    log: PartyId
    state: str
    size: int
    time_ms: int
    digest: bytes
    files: Mapping[str, bytes] = field(repr=False)


ANCHOR_FILES: Mapping[str, frozenset[str]] = {
    "rfc3161": frozenset({"checkpoint.note", "request.tsq", "token.tsr", "tsa.pem"}),
    "evm": frozenset({"checkpoint.note", "transaction.json"}),
}
"""Files of a confirmed anchor by kind (section 4.2); anchors of other kinds have no place in a package."""

ANCHOR_STATES = ("confirmed", "waiting", "lost", "conflict")
MLDSA_PREFIX = re.compile(r"[a-z0-9_.-]{0,64}")
"""Prefixes of kinds under `mldsa_required`; any other string is the prefix of no kind."""


def no_anchors(log: PartyId, size: int) -> Sequence[PackageAnchor]:
    """For an order whose node anchors nothing."""
    return ()


@dataclass(frozen=True, slots=True)
class PackageOrder:
    """Everything a package is made of besides what the ledger holds.

    places: distinct, in any order. openings: of an entry of the exporter's log, already reduced to what may be shown.
    trust: the trust file; keys: the same keys as values, with the names of their institutions. font: a font file with
    Chinese characters for the PDF, "" to look for one in the usual places. anchors: of the first entries of a log.
    mldsa_required: prefixes of kinds that need ML-DSA-44 lines, ascending, each as MLDSA_PREFIX.
    step(done): called now and then, up to STEPS_PER_ENTRY times the number of entries; what it raises ends the building.
    """

    project: str
    exporter: PartyId
    made_ms: int
    actor: str
    workspace: str
    selection: Selection
    places: Sequence[Place]
    openings: Callable[[int], Mapping[str, Opening]] = field(repr=False)
    withheld: int
    trust: bytes
    keys: Mapping[PartyId, PartyKeys]
    kinds: Mapping[str, KindText]
    step: Callable[[int], None] = field(repr=False)
    font: str = ""
    mldsa_required: tuple[str, ...] = ()
    anchors: Callable[[PartyId, int], Sequence[PackageAnchor]] = field(default=no_anchors, repr=False)


@dataclass(slots=True)
class PackageSummary:
    """What a package turned out to be; complete once its last part was taken.

    entries: by log. opened: fields. report_pdf: "yes" or why not. package_sm3, size: of the whole ZIP; the other two: of the
    verifiers in it.
    """

    entries: dict[str, int] = field(default_factory=dict)
    not_final: int = 0
    uncovered: int = 0
    opened: int = 0
    anchors: int = 0
    report_pdf: str = ""
    package_sm3: str = ""
    verify_py_sm3: str = ""
    verify_html_sm3: str = ""
    size: int = 0

    @property
    def state(self) -> str:
        return "NOT_FINAL" if self.not_final else "FINAL"


class Container:
    """Writes a ZIP in the one spelling of section 2. Memory: one file, and 150 bytes for each file written.

    files: names ascending, never the manifest; `close` writes it and the directory. Raises ValueError for another
    order, a name that is not allowed, or too much.
    """

    def __init__(self) -> None:
        self._central: list[bytes] = []
        self._files: dict[str, canonical.Json] = {}
        self._last = ""
        self._offset = 0
        self._whole = new_sm3()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._offset

    def add(self, name: str, data: bytes) -> bytes:
        """The bytes of one more file with its header."""
        if not is_name(name) or name == MANIFEST or name <= self._last:
            raise ValueError(f"{name} cannot follow {self._last}")
        self._last = name
        self._files[name] = _digests(data)
        return self._member(name, data)

    def close(self) -> bytes:
        """The manifest, the central directory and the end."""
        manifest = canonical.format({"files": self._files, "v": "workbench/v1/manifest"})
        rest = self._member(MANIFEST, manifest)
        start, directory = self._offset, b"".join(self._central)
        count = len(self._central)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
        return rest + self._wrote(directory + end)

    def sm3(self) -> str:
        """Hex SM3 of everything written."""
        return self._whole.digest().hex()

    def _member(self, name: str, data: bytes) -> bytes:
        raw, crc, size = name.encode("ascii"), zlib.crc32(data), len(data)
        if self._offset + size + 200 > MAX_BYTES or len(self._central) >= MAX_FILES:
            raise ValueError("the package is too large")
        offset = self._offset
        head = struct.pack("<4s6H3I", b"PK\1\2", 0x030A, 10, 0, 0, 0, _DATE, crc, size, size)
        self._central.append(head + struct.pack("<5H2I", len(raw), 0, 0, 0, 0, _MODE, offset) + raw)
        local = struct.pack("<4s5H3I2H", b"PK\3\4", 10, 0, 0, 0, _DATE, crc, size, size, len(raw), 0)
        return self._wrote(local + raw + data)

    def _wrote(self, data: bytes) -> bytes:
        self._offset += len(data)
        self._whole.update(data)
        return data


def is_name(name: str) -> bool:
    """Whether a file of a package may be called so."""
    return bool(_NAME.fullmatch(name)) and all(part not in ("", ".", "..") for part in name.split("/"))


def place_name(folder: str, log: str, number: int, ending: str) -> str:
    """`<folder>/<log>/<12 digits>.<ending>`. Raises ValueError for a number of more digits."""
    if not 0 <= number <= MAX_INDEX:
        raise ValueError("a package has entries below 10^12")
    return f"{folder}/{log}/{number:012d}.{ending}"


def format_sm3_proof(index: int, size: int, path: Iterable[bytes]) -> bytes:
    """The SM3 path of an entry to the checkpoint of this size (section 3)."""
    lines = ["workbench/v1/sm3-proof", f"index {index}", f"size {size}", *map(_b64, path)]
    return "".join(line + "\n" for line in lines).encode("ascii")


def format_consistency(old: int, new: int, sha256_path: Iterable[bytes], sm3_path: Iterable[bytes]) -> bytes:
    """How the checkpoint of size `new` continues that of size `old` in both trees (section 3)."""
    lines = ["workbench/v1/consistency", f"old {old}", f"new {new}"]
    lines += [f"sha256 {_b64(one)}" for one in sha256_path] + [f"sm3 {_b64(one)}" for one in sm3_path]
    return "".join(line + "\n" for line in lines).encode("ascii")


def format_openings(openings: Mapping[str, Opening]) -> bytes:
    """Opened fields of one entry (section 5)."""
    fields: dict[str, canonical.Json] = {
        name: {"salt": salt.hex(), "value": value} for name, (salt, value) in openings.items()
    }
    return canonical.format({"fields": fields, "v": "workbench/v1/openings"})


def format_description(order: PackageOrder, summary: PackageSummary, *, made: str, held: Mapping[PartyId, int]) -> bytes:
    """package.json (sections 4 and 4.1). made: as in an envelope."""
    chosen = order.selection
    grown: dict[str, canonical.Json] = {}
    if order.mldsa_required or summary.anchors:
        grown = {"v": "workbench/v2/package", "anchors": summary.anchors, "mldsa_required": list(order.mldsa_required)}
    return canonical.format(
        {
            "v": "workbench/v1/package",
            "project": order.project,
            "exporter": order.exporter,
            "made": made,
            "actor": order.actor,
            "workspace": order.workspace,
            "selection": {
                "by": chosen.by,
                "value": chosen.value,
                "from": chosen.from_day,
                "to": chosen.to_day,
                "identifier": chosen.identifier,
            },
            "entries": dict(summary.entries),
            "held": dict(held),
            "state": summary.state,
            "not_final": summary.not_final,
            "uncovered": summary.uncovered,
            "opened": summary.opened,
            "withheld": order.withheld,
            "report_pdf": summary.report_pdf,
            **grown,
        }
    )


def format_anchor(
    anchor: PackageAnchor, *, time: str, checkpoint: int, sha256_path: Iterable[bytes], sm3_path: Iterable[bytes]
) -> bytes:
    """anchor.json (section 4.2). time: as in an envelope, "" unless confirmed; checkpoint: 0 unless confirmed."""
    return canonical.format(
        {
            "v": "workbench/v1/package-anchor",
            "kind": anchor.kind,
            "log": anchor.log,
            "state": anchor.state,
            "size": anchor.size,
            "time": time,
            "digest": anchor.digest.hex(),
            "checkpoint": checkpoint,
            "sha256": [_b64(one) for one in sha256_path],
            "sm3": [_b64(one) for one in sm3_path],
        }
    )


def _digests(data: bytes) -> dict[str, canonical.Json]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "sm3": sm3.digest(data).hex()}


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
