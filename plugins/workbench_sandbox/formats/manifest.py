"""What a sandbox runs: program, engine and weights as the tenant signed them. docs/protocols/sandbox.md section 3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from workbench.channel.terms import Signer
from workbench.crypto import sm2
from workbench.crypto.canonical import Json
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading

KIND = "sandbox-image"
MAX_BYTES = 1 << 20
MAX_FILES = 20_000
RUNTIME_IMAGE = "image"
ROLES = ("code", "runtime", "weights", "sealed")

_MEMBERS = frozenset({"tenant", "name", "version", "engine", "files", "runtime", "limits", "licences", "made_ms"})
_ENGINE = ("name", "kind", "version", "place", "program", "program_sm3")
_LIMITS = ("memory_bytes", "processes", "cpu_milli", "scratch_bytes", "answer_bytes", "asks_at_once")
_FILE = ("path", "size", "sm3", "role")
_LICENCE = ("file", "licence", "source")


@dataclass(frozen=True, slots=True)
class Engine:
    """Who answers. kind: extractive, generator or upstream; place: inside, or behind where text leaves the sandbox for it; program,
    program_sm3: name and SM3 of the definition of the server that is started in the sandbox, "" but for `upstream` inside."""

    name: str
    kind: str
    version: str
    place: str
    program: str = ""
    program_sm3: str = ""

    def __post_init__(self) -> None:
        reading.need(reading.NAME.fullmatch(self.name) and reading.VERSION.fullmatch(self.version), "name or version")
        reading.need(self.kind in reading.ENGINE_KINDS and self.place in reading.PLACES, "kind or place")
        if (self.kind, self.place) == ("upstream", "inside"):
            reading.need(reading.NAME.fullmatch(self.program) and reading.HEX64.fullmatch(self.program_sm3), "the server inside")
        else:
            reading.need(not self.program and not self.program_sm3, "a server where none is started")

    def body(self) -> dict[str, Json]:
        """As it stands in a manifest and in evidence."""
        return reading.body_of(self, _ENGINE)

    @classmethod
    def read(cls, value: Json) -> Engine:
        """Raises ValueError."""
        return cls(*reading.texts_of(reading.members(value, _ENGINE), _ENGINE))


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a sandbox uses: bytes, processes, thousandths of a processor, bytes of scratch and of an answer, asks at once."""

    memory_bytes: int
    processes: int
    cpu_milli: int
    scratch_bytes: int
    answer_bytes: int
    asks_at_once: int

    def __post_init__(self) -> None:
        reading.need(reading.within(*self.values(), least=1), "limits")

    def values(self) -> tuple[int, ...]:
        """In the order of the members."""
        return tuple(getattr(self, one) for one in _LIMITS)

    def fits(self, most: Limits) -> bool:
        """Whether none is above that of `most`."""
        return all(mine <= theirs for mine, theirs in zip(self.values(), most.values(), strict=True))

    def body(self) -> dict[str, Json]:
        """As it stands in a manifest and in evidence."""
        return dict(zip(_LIMITS, self.values(), strict=True))

    @classmethod
    def read(cls, value: Json) -> Limits:
        """Raises ValueError."""
        return cls(*reading.wholes_of(reading.members(value, _LIMITS), _LIMITS))


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of an image. path: below the image's root; sm3: of its bytes, hexadecimal."""

    path: str
    size: int
    sm3: str
    role: str

    def __post_init__(self) -> None:
        reading.need(reading.PATH.fullmatch(self.path) and reading.HEX64.fullmatch(self.sm3), "path or digest")
        reading.need(reading.within(self.size) and self.role in ROLES, "size or role")


@dataclass(frozen=True, slots=True)
class Licence:
    """What the person who registered a file stated about it."""

    file: str
    licence: str
    source: str

    def __post_init__(self) -> None:
        reading.need(reading.PATH.fullmatch(self.file), "file")
        reading.need(all(reading.SENTENCE.fullmatch(one) for one in (self.licence, self.source)), "licence or source")


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image. runtime: "image", or SM3 of the provider's runtime listing that the tenant has looked at and takes."""

    tenant: PartyId
    name: str
    version: str
    engine: Engine
    files: tuple[ManifestFile, ...]
    runtime: str
    limits: Limits
    licences: tuple[Licence, ...]
    made_ms: int

    def __post_init__(self) -> None:
        reading.party(self.tenant)
        reading.need(reading.NAME.fullmatch(self.name) and reading.VERSION.fullmatch(self.version), "name or version")
        reading.need(self.runtime == RUNTIME_IMAGE or reading.HEX64.fullmatch(self.runtime), "runtime")
        paths = [one.path for one in self.files]
        reading.need(len(paths) <= MAX_FILES and reading.ascending(paths), "files ascend by path")
        reading.need({one.file for one in self.licences} <= set(paths), "a licence names a file of the image")
        reading.need(reading.within(self.made_ms), "made_ms")

    @property
    def encoded(self) -> bytes:
        """The canonical bytes that the tenant signs. Cost: grows with the files, 5 microseconds each."""
        return reading.write(
            {
                "tenant": self.tenant, "name": self.name, "version": self.version, "engine": self.engine.body(),
                "files": [{"path": one.path, "size": one.size, "sm3": one.sm3, "role": one.role} for one in self.files],
                "runtime": self.runtime, "limits": self.limits.body(),
                "licences": [{"file": one.file, "licence": one.licence, "source": one.source} for one in self.licences],
                "made_ms": self.made_ms,
            },
            KIND,
        )  # fmt: skip

    @property
    def id(self) -> str:
        """The image id: SM3 of the manifest, hexadecimal."""
        return reading.digest(self.encoded)

    def of_role(self, role: str) -> tuple[ManifestFile, ...]:
        """Files of one role, by path."""
        return tuple(one for one in self.files if one.role == role)


def sign_manifest(value: Manifest, *, key: Signer) -> bytes:
    """The manifest as written. key: the tenant's contract key. Raises ValueError if it is larger than 1 MiB."""
    encoded = value.encoded
    reading.need(len(encoded) <= MAX_BYTES, "a manifest has at most 1 MiB")
    return reading.lv4(encoded) + reading.sign(KIND, party=value.tenant, job="", body=encoded, key=key)


def parse_manifest(raw: bytes) -> Manifest:
    """What is written there, its signature not looked at. Raises VerificationError (IMAGE_REFUSED)."""
    return _split(raw)[0]


def verify_manifest(raw: bytes, *, tenant: PartyId, contract_key: sm2.PublicKey, image: str = "") -> Manifest:
    """The manifest in `raw`, as written. contract_key: the pinned one of `tenant`. image: the id it must have, "" for any.

    Raises VerificationError (IMAGE_REFUSED). Cost: 1 ms and 10 microseconds a file.
    """
    value, encoded, signature = _split(raw)
    with reading.refusing(lambda: image_refused("not signed with the tenant's contract key")):
        reading.verify(KIND, party=tenant, job="", body=encoded, key=contract_key, signature=signature)
    if value.tenant != tenant or (image and image != reading.digest(encoded)):
        raise image_refused("another image than the one ordered")
    return value


def runtime_listing(files: Iterable[tuple[str, int, str]]) -> bytes:
    """The listing of what a provider binds into a sandbox: path inside, size, SM3 in hexadecimal. Its SM3 is what a manifest names."""
    lines = sorted(files)
    reading.need(reading.ascending([one for one, _, _ in lines]), "a path comes twice")
    for path, size, sm3 in lines:
        reading.need(reading.ASCII_LINE.fullmatch(path) and " " not in path and path, "path")
        reading.need(reading.within(size) and reading.HEX64.fullmatch(sm3), "size or digest")
    return "".join(f"{path} {size} {sm3}\n" for path, size, sm3 in lines).encode("ascii")


def image_refused(why: str) -> VerificationError:
    """The refusal of an image. why: in English, without a value of the other institution."""
    return VerificationError(
        "镜像清单不成立或不是所订的镜像，不予运行；请运维人员与租用方核对",
        f"the image does not hold ({why}): it is not run; operators compare with the tenant",
        code="IMAGE_REFUSED",
    )


def _split(raw: bytes) -> tuple[Manifest, bytes, bytes]:
    with reading.refusing(lambda: image_refused("malformed")):
        encoded, signature, rest = reading.split_signed(raw, most=MAX_BYTES)
        reading.need(not rest, "bytes after the end")
        value = _manifest(reading.read(encoded, _MEMBERS, KIND, most=MAX_BYTES))
    return value, encoded, signature


def _manifest(body: reading.Body) -> Manifest:
    return Manifest(
        tenant=PartyId(reading.text(body["tenant"])),
        name=reading.text(body["name"]),
        version=reading.text(body["version"]),
        engine=Engine.read(body["engine"]),
        files=tuple(_file(one) for one in reading.items(body["files"], most=MAX_FILES)),
        runtime=reading.text(body["runtime"]),
        limits=Limits.read(body["limits"]),
        licences=tuple(_licence(one) for one in reading.items(body["licences"], most=MAX_FILES)),
        made_ms=reading.whole(body["made_ms"]),
    )


def _file(value: Json) -> ManifestFile:
    body = reading.members(value, _FILE)
    path, sm3, role = reading.texts_of(body, ("path", "sm3", "role"))
    return ManifestFile(path, reading.whole(body["size"]), sm3, role)


def _licence(value: Json) -> Licence:
    return Licence(*reading.texts_of(reading.members(value, _LICENCE), _LICENCE))
