"""Where a provider keeps what a tenant's sandboxes may read: `volumes/<tenant>/`, and nowhere else.

Document: docs/protocols/sandbox.md section 3. The folder of a tenant is closed (0700); what lies below may be read by the user of a
sandbox, into which it is bound by name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from workbench.crypto import sm3
from workbench.errors import Refused, VerificationError
from workbench_sandbox.formats.manifest import Manifest, image_refused, parse_manifest

MANIFEST = "manifest"
FILES = "files"
_PIECE = 1 << 20


def image_folder(volumes: Path, tenant: str, image: str) -> Path:
    """The folder of an image: `manifest` as written (LV4 and signature), and its files by their paths below `files/`."""
    return volumes / tenant / "images" / image


def corpora_folder(volumes: Path, tenant: str) -> Path:
    """The folder of sealed corpora, each named by SM3 of its bytes."""
    return volumes / tenant / "corpora"


def check_image(volumes: Path, tenant: str, image: str) -> Manifest:
    """The manifest of an image whose every byte was measured. Cost: 3 ns a byte.

    The signature was verified by the node when it was pulled; the id is the digest of what was signed.
    Raises VerificationError (IMAGE_REFUSED), Refused (IMAGE_ALTERED).
    """
    folder = image_folder(volumes, tenant, image)
    try:
        manifest = parse_manifest((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise image_refused("it was not pulled") from error
    if manifest.id != image or manifest.tenant != tenant:
        raise image_refused("another image than the one named")
    for one in manifest.files:
        path = folder / FILES / one.path
        try:
            is_same = not path.is_symlink() and path.stat().st_size == one.size and measure(path) == one.sm3
        except OSError:
            is_same = False
        if not is_same:
            raise image_altered(one.path)
    for other in sorted(set(_files(folder / FILES)) - {one.path for one in manifest.files}):
        raise image_altered(other[:200])
    return manifest


def _files(folder: Path) -> Iterator[str]:
    """Everything below a folder but the folders themselves; a link to one is no folder of it."""
    for place, folders, names in os.walk(folder):
        links = [one for one in folders if Path(place, one).is_symlink()]
        yield from (str(Path(place, one).relative_to(folder)) for one in (*names, *links))


def open_for_reading(volumes: Path, tenant: str, image: str) -> None:
    """Let the user of a sandbox read it, whoever wrote it: the closed folder above it is not opened by that."""
    folder = image_folder(volumes, tenant, image) / FILES
    folder.mkdir(parents=True, exist_ok=True)
    corpora = corpora_folder(volumes, tenant)
    corpora.mkdir(parents=True, exist_ok=True)
    for path in (folder, *folder.rglob("*"), corpora):
        path.chmod(0o755 if path.is_dir() else 0o444)
    for path in corpora.iterdir():
        path.chmod(0o444)


def measure(path: Path) -> str:
    """SM3 of a file, hexadecimal. Raises OSError."""
    hasher = sm3.new()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.digest().hex()


def image_altered(what: str) -> Refused:
    """The refusal of an image that is not what its manifest says. what: a path of the manifest, or `runtime`."""
    return Refused(
        f"镜像与清单不符（{what}），服务器未就绪，未运行任何程序；请运维人员重新拉取并查明原因",
        f"the image is not what its manifest says ({what}): nothing runs; operators pull it again and find out why",
        code="IMAGE_ALTERED",
        details={"file": what},
    )


__all__ = ["VerificationError", "check_image", "corpora_folder", "image_altered", "image_folder", "measure", "open_for_reading"]
