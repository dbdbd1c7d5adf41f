"""What of the host is bound into a sandbox: interpreter, its library, C libraries and packages by name, and nothing else.

Document: docs/protocols/sandbox.md sections 3 and 7 (`files`). The list comes from a process that has imported the worker and the
engine once; every file of it stands in the runtime listing with its SM3. Compiled forms (`__pycache__`) are bound nowhere that the
interpreter reads: it is told another place, filled by the launcher from exactly these sources.
"""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import struct
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

from workbench.crypto import sm3
from workbench.errors import StartRefused
from workbench_sandbox.formats.manifest import runtime_listing

ROOT = "/runtime"
CODE = f"{ROOT}/code"
PACKAGES = f"{ROOT}/packages"
LIBRARIES = f"{ROOT}/lib"
STANDARD = f"{ROOT}/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
PROGRAM = f"{ROOT}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
COMPILED = f"{ROOT}/compiled"
_LEFT_OUT = ("__pycache__", "ensurepip", "idlelib", "lib2to3", "site-packages", "dist-packages", "test", "tkinter", "turtledemo")
_OURS = {"workbench": ("crypto", "channel", "domain"), "workbench_sandbox": ("formats", "corpus", "engines", "inside")}
_OUR_FILES = {"workbench": ("__init__.py", "errors.py"), "workbench_sandbox": ("__init__.py", "py.typed")}
_PIECE = 1 << 20
_KNOWN = "known.json"

_SURVEY = """
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[2])
import workbench_sandbox.inside.worker as worker
names = json.loads(sys.argv[1])
for name in names:
    importlib.import_module(name)
files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
maps = {line.split(maxsplit=5)[5].strip() for line in open("/proc/self/maps") if len(line.split(maxsplit=5)) == 6}
print(json.dumps({"files": {n: f for n, f in files.items() if f}, "maps": sorted(m for m in maps if m.startswith("/"))}))
"""


@dataclass(frozen=True, slots=True)
class Bind:
    """One read-only bind. source: a file or folder of this machine; inside: where it is found in the sandbox."""

    source: str
    inside: str


@dataclass(frozen=True, slots=True)
class EngineCode:
    """Where an engine's class is. place: `module:class`; modules: further ones that it imports when it loads; paths: folders to
    search besides the installed packages (tests)."""

    place: str
    modules: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    """binds: what is bound; masks: folders of it that must be empty; listing: the runtime listing; sources: modules that were
    imported, source -> place inside, to be compiled beforehand."""

    binds: tuple[Bind, ...]
    masks: tuple[str, ...]
    listing: bytes
    sources: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """SM3 of the listing: what a manifest names."""
        return sm3.digest(self.listing).hex()

    def measured(self, inside: str) -> str:
        """SM3 of a file by its place inside, as the listing says; "" for none."""
        return next((line.rpartition(" ")[2] for line in self.listing.decode("ascii").splitlines() if line.startswith(f"{inside} ")), "")

    def compile(self, folder: Path) -> bool:
        """Write the compiled forms of everything that was imported; False where a source is not any more what the listing says, so that
        another program would run under its name. Cost: a millisecond a module."""
        listed = {path: digest for path, _, digest in (line.split(" ") for line in self.listing.decode("ascii").splitlines())}
        for source, inside in self.sources:
            if inside not in listed:
                continue  # of a name that no listing takes: it is not compiled beforehand
            target = folder / inside.lstrip("/")
            target = target.with_name(f"{target.stem}.{sys.implementation.cache_tag}.pyc")
            target.parent.mkdir(parents=True, exist_ok=True)
            py_compile.compile(
                source, str(target), inside, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
            )
            # The compiled form carries a hash of what it was made from: PEP 552.
            content = Path(source).read_bytes()
            if sm3.digest(content).hex() != listed[inside] or target.read_bytes()[8:16] != importlib.util.source_hash(content):
                return False
        return True


class Beside(Protocol):
    """What a server beside the worker needs: `programs.Installed`."""

    @property
    def modules(self) -> Sequence[str]:
        """Python modules that it loads, those of its keeper among them."""

    def binds(self) -> Sequence[Bind]:
        """Files and folders of its own."""


def survey(engine: EngineCode, *, shared: Path | None = None, program: Beside | None = None) -> Runtime:
    """Find what an engine and the server beside it need, and measure every file of it.

    shared: folder of the provider where what was found is kept; a file is read again once its inode, size or times differ, and the
    import is made again once one of the files that it loaded does. Cost: 0.3 s and 3 ns a byte, then 0.03 s.
    Raises StartRefused (SANDBOX_RUNTIME) if the engine cannot be imported here.
    """
    known = Known.read(shared)
    files, maps = known.imported(engine if program is None else replace(engine, modules=(*engine.modules, *program.modules)))
    binds = {one.inside: one for one in (*_interpreter(), *(program.binds() if program is not None else ()))}
    for file in sorted({*files, *maps}):
        for one in _bind_of(file, engine.paths):
            binds.setdefault(one.inside, one)
    ordered = tuple(binds[one] for one in sorted(binds))
    masks = tuple(f"{STANDARD}/{name}" for name in sorted(one.name for one in _standard().iterdir()) if _is_left_out(_standard() / name))
    sources = tuple((file, inside) for file in sorted(set(files)) if file.endswith(".py") and (inside := _inside(file, ordered)))
    found = Runtime(ordered, masks, listing(ordered, known), sources)
    known.write(shared)
    return found


Facts = list[int]
"""Device, inode, size, time of change and of its inode: what differs when a file does."""


class Known:
    """What was found about files, as long as their facts are what they were."""

    def __init__(self, measured: dict[str, tuple[Facts, str]], imports: dict[str, tuple[dict[str, Facts], list[str]]]) -> None:
        self._measured, self._imports = measured, imports
        self._is_new = False

    @classmethod
    def read(cls, shared: Path | None) -> Known:
        """What lies there; nothing where it cannot be read."""
        try:
            body = json.loads((shared / _KNOWN).read_bytes()) if shared is not None else {}
            measured = {path: (list(facts), str(sm3)) for path, (facts, sm3) in body.get("measured", {}).items()}
            imports = {name: (dict(files), list(maps)) for name, (files, maps) in body.get("imports", {}).items()}
            return cls(measured, imports)
        except (OSError, ValueError, TypeError):
            return cls({}, {})

    def write(self, shared: Path | None) -> None:
        """Keep it, for the provider's account alone."""
        if shared is None or not self._is_new:
            return
        shared.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = shared / f".{_KNOWN}-{os.getpid()}-{threading.get_native_id()}"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({"measured": self._measured, "imports": self._imports}), "utf-8")
        draft.replace(shared / _KNOWN)

    def imported(self, engine: EngineCode) -> tuple[list[str], list[str]]:
        """Files of the modules, and what was mapped, in a process that imported worker and engine."""
        name = json.dumps([sys.executable, sys.version, engine.place, engine.modules, engine.paths])
        if name in self._imports:
            facts, maps = self._imports[name]
            if all(_facts(Path(one)) == before for one, before in facts.items()):
                return [one for one in facts if one not in maps], maps
        files, maps = _import(engine)
        self._imports[name] = {one: _facts(Path(one)) for one in (*files, *maps)}, maps
        self._is_new = True
        return files, maps

    def measured(self, path: Path) -> tuple[int, str]:
        """(size, SM3) of a file. Raises OSError."""
        facts = _facts(path)
        before = self._measured.get(str(path))
        if before is None or before[0] != facts:
            before = self._measured[str(path)] = facts, _digest(path)
            self._is_new = True
        return facts[2], before[1]


def _facts(path: Path) -> Facts:
    try:
        one = path.stat()
    except OSError:
        return []
    return [one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns]


def _import(engine: EngineCode) -> tuple[list[str], list[str]]:
    names = [engine.place.partition(":")[0], *engine.modules]
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SURVEY, json.dumps(names), json.dumps(list(engine.paths))],
        capture_output=True, check=False, timeout=120, cwd="/", env={"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
        raise StartRefused(
            "沙箱引擎在本机无法载入，服务器未就绪；请运维人员检查安装的软件包",
            f"the engine of a sandbox cannot be imported on this machine; operators look at the installed packages ({last[0][:120]})",
            code="SANDBOX_RUNTIME",
        )
    seen = json.loads(done.stdout)
    maps = list(seen["maps"])
    return sorted(set(seen["files"].values()) - set(maps)), maps


def _interpreter() -> Iterator[Bind]:
    """Binary, loader, standard library."""
    binary = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    yield Bind(str(binary), PROGRAM)
    yield Bind(str(_standard()), STANDARD)
    loader = elf_interpreter(binary)
    if loader:
        yield Bind(str(Path(loader).resolve()), loader)


@cache
def _standard() -> Path:
    return Path(sysconfig.get_path("stdlib")).resolve()


def _bind_of(file: str, paths: Sequence[str]) -> Iterator[Bind]:
    """What has to be bound so that this file of a module or this mapped library is found."""
    path = Path(file)
    is_package = "site-packages" in path.parts or "dist-packages" in path.parts
    if not is_package and (path.is_relative_to(_standard()) or not path.exists()):
        return
    for package, folders in _OURS.items():
        root = _package_root(package)
        if path.is_relative_to(root):
            for name in _OUR_FILES[package]:
                if (root / name).exists():
                    yield Bind(str(root / name), f"{CODE}/{package}/{name}")
            for name in folders:
                if (root / name).is_dir():
                    yield Bind(str(root / name), f"{CODE}/{package}/{name}")
            return
    for extra in paths:
        if path.is_relative_to(extra):
            yield Bind(str(path), f"{CODE}/{path.relative_to(extra)}")
            return
    for site in _sites():
        if path.is_relative_to(site):
            top = path.relative_to(site).parts[0]
            yield Bind(str(site / top), f"{PACKAGES}/{top}")
            return
    if ".so" in path.name:
        yield Bind(str(path.resolve()), f"{LIBRARIES}/{soname(path) or path.name}")


@cache
def _package_root(package: str) -> Path:
    import workbench
    import workbench_sandbox

    return Path(str({"workbench": workbench, "workbench_sandbox": workbench_sandbox}[package].__file__)).resolve().parent


@cache
def _sites() -> list[Path]:
    return [Path(one).resolve() for one in dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sys.path))
            if one.endswith(("site-packages", "dist-packages"))]  # fmt: skip


def _inside(file: str, binds: Sequence[Bind]) -> str:
    for one in binds:
        if file == one.source:
            return one.inside
        if file.startswith(one.source + "/"):
            return one.inside + file[len(one.source) :]
    return ""


def _is_left_out(path: Path) -> bool:
    return path.is_dir() and (path.name in _LEFT_OUT or path.name.startswith("config-"))


def listing(binds: Sequence[Bind], known: Known) -> bytes:
    """The runtime listing of everything that is bound."""
    return runtime_listing((inside, *known.measured(source)) for source, inside in _files(binds))


def _files(binds: Sequence[Bind]) -> Iterator[tuple[Path, str]]:
    """Every file that can be read at its place, compiled forms left out."""
    seen: set[str] = set()
    for one in binds:
        source = Path(one.source)
        if not source.is_dir():
            if one.inside not in seen:
                seen.add(one.inside)
                yield source, one.inside
            continue
        for folder, folders, names in os.walk(source):
            is_standard = one.inside == STANDARD and folder == one.source
            folders[:] = sorted(
                name for name in folders if name != "__pycache__" and not (is_standard and _is_left_out(source / name))
            )
            for name in sorted(names):
                path = f"{folder}/{name}"
                inside = one.inside + path[len(one.source) :]
                if inside.isascii() and " " not in inside and inside not in seen and os.path.isfile(path):  # noqa: PTH113 - thousands
                    seen.add(inside)
                    yield Path(path), inside


def _digest(path: Path) -> str:
    hasher = sm3.new()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.digest().hex()


# ---------------------------------------------------------------------------------------------------- ELF, 64 bits


def elf_interpreter(path: Path) -> str:
    """The loader that a program names (PT_INTERP), "" for none. Source: elf(5)."""
    return next((_text(part) for kind, part in _segments(path.read_bytes()) if kind == 3), "")


def soname(path: Path) -> str:
    """The name under which a shared library is looked for (DT_SONAME), "" for none. Source: elf(5)."""
    data = path.read_bytes()
    entries: dict[int, int] = {}
    for kind, part in _segments(data):
        if kind == 2:
            for place in range(0, len(part) - 15, 16):
                tag, value = struct.unpack_from("<QQ", part, place)
                entries.setdefault(tag, value)
    if 14 not in entries or 5 not in entries:
        return ""
    strings = _place_of(data, entries[5])
    return _text(data[strings + entries[14] : strings + entries[14] + 256])


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, offset, _, size in _headers(data):
        yield kind, data[offset : offset + size]


def _headers(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(kind, offset in the file, address, size in the file) of every program header."""
    if data[:4] != b"\x7fELF" or data[4:6] != b"\x02\x01":
        return
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    for number in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, start + number * size)
        yield kind, offset, address, length


def _place_of(data: bytes, address: int) -> int:
    for kind, offset, begins, size in _headers(data):
        if kind == 1 and begins <= address < begins + size:
            return offset + address - begins
    return 0


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("ascii", "replace")
