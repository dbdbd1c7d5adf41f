"""Images: signed and kept at the tenant, pulled from there by the provider and checked byte by byte. docs/protocols/sandbox.md section 3.

The tenant's store is a folder of its node; the provider's volumes lie beside its node, one folder a tenant, so that the accounts of
servers reach them. Nothing is given out that no order or fetch named.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

from workbench.contracts import EngineRecipe, Transaction
from workbench.crypto import sm3
from workbench.domain.party import PartyId
from workbench.errors import NotFound, PeerError, Refused, StorageFailed, VerificationError, WorkbenchError
from workbench_inference.leasing import rows
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_sandbox.formats import relay
from workbench_sandbox.formats.manifest import (
    MAX_BYTES,
    RUNTIME_IMAGE,
    Engine,
    Licence,
    Limits,
    Manifest,
    ManifestFile,
    image_refused,
    parse_manifest,
    sign_manifest,
    verify_manifest,
)
from workbench_sandbox.server import volumes as layout

PIECE: Final = relay.PULL_BYTES
_MOST_IMAGE: Final = 64 << 30


# ---------------------------------------------------------------- tenant


def store_folder(host: LeasingHost) -> Path:
    """Where a tenant keeps the files of its images."""
    return host.folder / "images"


def register(
    host: LeasingHost, recipe: EngineRecipe, *, name: str, version: str, runtime: str, licences: Iterable[Licence] = (), actor: str = "",
    program: tuple[str, str] = ("", ""),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:  # fmt: skip
    """Copy a recipe's files into the own store, sign their manifest, and write that down.

    runtime: "image", or the listing of the provider's runtime that this institution takes; program: name and SM3 of the definition of
    the server that is started inside, for a recipe whose engine asks one. Raises InvalidRequest-like ValueError for
    a name or limits that the format refuses, StorageFailed without room.
    """
    sources = sorted(recipe.files(), key=lambda one: one.path)
    files = []
    for done, one in enumerate(sources):
        progress(done, len(sources))
        files.append(ManifestFile(one.path, one.source.stat().st_size, layout.measure(one.source), one.role))
    manifest = Manifest(
        host.party, name, version, Engine(recipe.name, recipe.kind, recipe.version, recipe.place, *program), tuple(files), runtime,
        Limits(**{str(key): int(number) for key, number in recipe.limits.items()}), tuple(licences), host.now_ms(),
    )  # fmt: skip
    written = sign_manifest(manifest, key=host.keys.contract)
    place = store_folder(host) / manifest.id
    _fill(place, ((one.path, _pieces(source.source), one.size, one.sm3) for one, source in zip(files, sources, strict=True)))

    def change(tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO inference_image (id, manifest, signature, state, tenant, made_ms) VALUES (?, ?, ?, 'signed', ?, ?)",
            (manifest.id, manifest.encoded, written, host.party, manifest.made_ms),
        )
        values = {"image": manifest.id, "name": name, "version": version, "engine": f"{recipe.name} {recipe.kind} {recipe.version} {recipe.place}"}
        values |= {"files": str(len(files)), "bytes": str(sum(one.size for one in files))}
        host.evidence.append(tx, "inference.image_signed", values, actor=actor)

    host.store.write(change)
    return manifest


def give(host: LeasingHost, peer: PartyId, body: bytes, corpus: Callable[[str, int, int], bytes]) -> bytes:
    """The tenant's answer to `sandbox/pull`. corpus: (digest, offset, most) -> bytes of a sealed corpus; NotFound without it.

    Raises Refused SANDBOX_REFUSED for what no live order of this partner names.
    """
    asked = relay.parse_pull(body)
    if asked.of == "corpus":
        return relay.accepted(corpus(asked.id, asked.offset, PIECE))
    with host.store.read() as reader:
        ordered = [one for one in rows.listed(reader, states=rows.LIVE) if one.side == rows.TENANT and one.partner == peer and one.order.image == asked.id]
        found = reader.execute("SELECT signature FROM inference_image WHERE id = ? AND state = 'signed'", (asked.id,)).fetchone()
    if not ordered or found is None:
        raise relay.sandbox_refused()
    written = bytes(found[0])
    if asked.file == -1:
        return relay.accepted(written[asked.offset : asked.offset + PIECE])
    manifest = parse_manifest(written)
    if asked.file >= len(manifest.files):
        raise relay.sandbox_refused()
    with (store_folder(host) / asked.id / manifest.files[asked.file].path).open("rb") as source:
        source.seek(asked.offset)
        return relay.accepted(source.read(PIECE))


# ---------------------------------------------------------------- provider


def volumes(host: LeasingHost) -> Path:
    """Folder of the tenants' volumes: the setting, or beside the node's folder."""
    named = str(host.setting("inference.volumes"))
    return Path(named) if named else host.folder.parent / f"volumes-{host.party}"


def image_folder(host: LeasingHost, tenant: str, image: str) -> Path:
    """Where a pulled image lies, its manifest and its files; complete as soon as it exists."""
    return layout.image_folder(volumes(host), tenant, image)


def pulled(reader: Reader, image: str) -> str:
    """State of an image at the provider: "", pulling, ready or refused."""
    row = reader.execute("SELECT state FROM inference_image WHERE id = ?", (image,)).fetchone()
    return str(row[0]) if row else ""


def manifest_of(reader: Reader, image: str) -> tuple[Manifest, bytes]:
    """(manifest, as written) of an image that is kept here; NotFound NO_IMAGE."""
    row = reader.execute("SELECT signature FROM inference_image WHERE id = ?", (image,)).fetchone()
    if row is None or not row[0]:
        raise NotFound(f"没有镜像「{image[:8]}」", f"There is no image {image[:8]}", code="NO_IMAGE")
    return parse_manifest(bytes(row[0])), bytes(row[0])


def written_of(host: LeasingHost, image: str) -> bytes:
    """A manifest as written; NotFound NO_IMAGE."""
    with host.store.read() as reader:
        return manifest_of(reader, image)[1]


def pull(host: LeasingHost, tenant: PartyId, image: str, *, lease: str, timeout_s: float = 30.0) -> Manifest:
    """Fetch an image from its tenant's own store and check every byte; at once when it lies here complete.

    Raises Refused IMAGE_REFUSED (manifest) or IMAGE_ALTERED (a file), each with its entry, PeerError when the tenant does not give it.
    """
    with host.store.read() as reader:
        if pulled(reader, image) == "ready" and image_folder(host, tenant, image).is_dir():
            return manifest_of(reader, image)[0]
    began = time.monotonic()
    taken = 0

    def fetch(number: int, most: int) -> Iterator[bytes]:
        nonlocal taken
        offset = 0
        while True:
            piece = fetch_piece(host, tenant, relay.Pull("image", image, number, offset), timeout_s=timeout_s)
            if not piece:
                return
            offset += len(piece)
            taken += len(piece)
            if len(piece) > PIECE or offset > most:
                raise image_refused("longer than the manifest says")
            yield piece

    try:
        written = b"".join(fetch(-1, MAX_BYTES + 4096))
        manifest = verify_manifest(written, tenant=tenant, contract_key=host.pinned_keys(tenant).contract, image=image)
        if sum(one.size for one in manifest.files) > _MOST_IMAGE:
            raise image_refused("larger than what is taken here")
        files = ((f"{layout.FILES}/{one.path}", fetch(number, one.size), one.size, one.sm3) for number, one in enumerate(manifest.files))
        first = (layout.MANIFEST, iter([written]), len(written), sm3.digest(written).hex())
        (volumes(host) / tenant).mkdir(mode=0o700, parents=True, exist_ok=True)
        _fill(image_folder(host, tenant, image), chain([first], files))
    except VerificationError as error:
        _say(host, tenant, lease, image, "refused", b"", b"", kind="inference.image_refused", code=error.code, taken=taken, began=began)
        raise Refused(error.zh, error.en, code=error.code) from error
    _say(host, tenant, lease, image, "ready", manifest.encoded, written, kind="inference.image_pulled", code="", taken=taken, began=began)
    return manifest


def corpus_file(host: LeasingHost, tenant: str, corpus: str) -> Path:
    """Where a sealed corpus of a tenant lies once it is complete; named by SM3 of its bytes."""
    return layout.corpora_folder(volumes(host), tenant) / corpus


def pull_corpus(host: LeasingHost, tenant: PartyId, corpus: str, size: int, *, timeout_s: float = 30.0) -> Path:
    """Fetch a sealed corpus from its tenant's own store and check it. Raises VerificationError IMAGE_ALTERED, PeerError, StorageFailed."""
    place = corpus_file(host, tenant, corpus)
    if place.is_file():
        return place
    staged = place.with_name(f"{corpus}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        hasher, offset = sm3.new(), 0
        with staged.open("wb") as out:
            while piece := fetch_piece(host, tenant, relay.Pull("corpus", corpus, 0, offset), timeout_s=timeout_s):
                offset += len(piece)
                if offset > size:
                    raise altered("a corpus longer than was said")
                hasher.update(piece)
                out.write(piece)
        if offset != size or hasher.digest().hex() != corpus:
            raise altered("corpus")
        staged.chmod(0o444)
        os.replace(staged, place)
    except OSError as error:
        raise StorageFailed("资料包写不进磁盘，运维腾出空间后重试", f"The corpus cannot be written: {error.strerror}; operators make room", code="IMAGE_NOT_STORED") from error
    finally:
        staged.unlink(missing_ok=True)
    return place


def fetch_piece(host: LeasingHost, tenant: PartyId, wanted: relay.Pull, *, timeout_s: float) -> bytes:
    """At most a mebibyte from the tenant's own store; b"" at the end. Raises PeerError."""
    return relay.read_reply(host.call(tenant, relay.PULL, relay.format_pull(wanted), timeout_s=timeout_s))


def forget(tx: Transaction, image: str) -> None:
    """An image that goes with its last lease (`keep` false)."""
    tx.execute("DELETE FROM inference_image WHERE id = ? AND state IN ('ready', 'refused')", (image,))


def drop_files(host: LeasingHost, tenant: str, image: str) -> None:
    """Remove the files of an image from a volume."""
    place = image_folder(host, tenant, image)
    if place.is_dir():
        _writable(place)
        shutil.rmtree(place)


def altered(what: str) -> VerificationError:
    """A file is not what the manifest says."""
    return VerificationError(
        f"镜像文件与清单不符（{what}），服务器不进入就绪，什么也不运行；请双方运维核对", f"A file of the image is not what its manifest says ({what}): no server becomes ready, nothing runs; operators of both ends compare",
        code="IMAGE_ALTERED",
    )  # fmt: skip


def drop_corpora(host: LeasingHost, tenant: str) -> None:
    """Remove the sealed corpora of a tenant from its volume."""
    folder = layout.corpora_folder(volumes(host), tenant)
    for one in folder.iterdir() if folder.is_dir() else ():
        one.unlink(missing_ok=True)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while piece := source.read(PIECE):
            yield piece


def _fill(place: Path, files: Iterable[tuple[str, Iterator[bytes], int, str]]) -> None:
    """Write files into a folder that appears when all of them are there and each is what it shall be: size and SM3."""
    if place.is_dir():
        return
    staged = place.with_name(place.name + ".part")
    try:
        if staged.exists():
            _writable(staged)
            shutil.rmtree(staged)
        staged.mkdir(parents=True)
        for name, pieces, size, expected in files:
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            written = 0
            with path.open("xb") as out:
                for piece in pieces:
                    out.write(piece)
                    written += len(piece)
            if written != size or layout.measure(path) != expected:
                raise altered(name)
            path.chmod(0o444)
        for folder in [one for one in staged.rglob("*") if one.is_dir()]:
            folder.chmod(0o755)
        os.replace(staged, place)
    except OSError as error:
        raise StorageFailed("镜像写不进磁盘，运维腾出空间后重试", f"The image cannot be written: {error.strerror}; operators make room", code="IMAGE_NOT_STORED") from error
    except (WorkbenchError, PeerError):
        _writable(staged)
        shutil.rmtree(staged, ignore_errors=True)
        raise
    place.chmod(0o755)


def _writable(place: Path) -> None:
    """Let a read-only tree be removed."""
    for folder in [place, *(one for one in place.rglob("*") if one.is_dir())]:
        folder.chmod(0o750)


def _say(
    host: LeasingHost, tenant: PartyId, lease: str, image: str, state: str, manifest: bytes, written: bytes, *, kind: str, code: str, taken: int, began: float
) -> None:
    def change(tx: Transaction) -> None:
        tx.execute(
            "INSERT INTO inference_image (id, manifest, signature, state, tenant, made_ms) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest, signature = excluded.signature, state = excluded.state, made_ms = excluded.made_ms",
            (image, manifest, written, state, tenant, host.now_ms()),
        )
        values = {"initiator": tenant, "partner": host.party, "image": image, "bytes": str(taken), "milliseconds": str(round((time.monotonic() - began) * 1000))}
        host.evidence.append(tx, kind, values | ({"code": code} if code else {}), job=lease)

    host.store.write(change)


def summary(manifest: Manifest) -> dict[str, Any]:
    """What a page shows of a manifest."""
    return {
        "id": manifest.id, "tenant": manifest.tenant, "name": manifest.name, "version": manifest.version, "engine": manifest.engine.name,
        "engine_kind": manifest.engine.kind, "engine_version": manifest.engine.version, "place": manifest.engine.place, "program": manifest.engine.program, "files": len(manifest.files),
        "bytes": sum(one.size for one in manifest.files), "weights": [one.path for one in manifest.of_role("weights")],
        "licences": [f"{one.file}: {one.licence} ({one.source})" for one in manifest.licences], "runtime": manifest.runtime,
        "memory_bytes": manifest.limits.memory_bytes, "made_ms": manifest.made_ms,
    }  # fmt: skip


__all__ = [
    "PIECE", "RUNTIME_IMAGE", "altered", "corpus_file", "drop_corpora", "drop_files", "fetch_piece", "forget", "give", "image_folder", "manifest_of", "pull", "pull_corpus", "pulled",
    "register", "store_folder", "summary", "volumes", "written_of",
]  # fmt: skip
