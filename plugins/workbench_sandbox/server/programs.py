"""Programs that answer inside a sandbox, as the provider's operator names them: setting `inference.programs`.

Document: docs/sandbox-engines.md section 3. A program is the provider's, never anybody's text: the tenant's manifest names one of them
by name and by the SM3 of its definition, and the bytes of its files stand in the runtime listing.
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench.errors import StartRefused
from workbench_sandbox.formats.manifest import Manifest
from workbench_sandbox.formats.program import Program
from workbench_sandbox.server.runtime import LIBRARIES, PROGRAM, Bind, elf_interpreter

PROCESSES: Final = 2
"""The keeper and the server."""
_KEEPER: Final = "workbench_sandbox.inside.keeper"
_MEMBERS: Final = frozenset({"argv", "environment", "modules", "binds", "model", "path", "ready_s", "weights", "limits"})
"""weights: at the tenant, file or folder that an image of it is made of; limits: of such an image."""
READY_S: Final = 60
_LOADER: Final = re.compile(r"/(?:usr/)?lib(?:32|64|x32)?(?:/[a-z0-9_-]+)?/ld(?:-linux[a-z0-9_-]*|64|-musl-[a-z0-9_-]+)?\.so\.[0-9]")
"""How loaders of the C library are named: source ld.so(8), and musl's."""
_SYSTEM: Final = ("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32")
_ASK_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Installed:
    """A program of this machine. sources: path inside -> file or folder here."""

    program: Program
    sources: Mapping[str, str]

    @property
    def modules(self) -> tuple[str, ...]:
        """Python modules that it loads, those of its keeper among them."""
        return (_KEEPER, *self.program.modules)

    @property
    def executable(self) -> str:
        """Where inside the program is that is started: its own file, or the interpreter."""
        return self.program.argv[0].replace("{python}", PROGRAM)

    def binds(self) -> list[Bind]:
        """Its files and folders, and the libraries that its program and its own libraries name. Raises StartRefused (PROGRAM_WRONG)."""
        found = {inside: Bind(source, inside) for inside, source in self.sources.items()}
        try:
            for one in _libraries(self.sources.values()):
                found.setdefault(one.inside, one)
        except subprocess.TimeoutExpired as error:
            raise wrong(self.program.name, "the loader does not say which libraries it needs") from error
        except _LoaderRefused as error:
            raise wrong(self.program.name, "one of its files names a loader that is not the system's") from error
        except (OSError, struct.error) as error:
            raise wrong(self.program.name, "one of its files cannot be read as a program") from error
        return list(found.values())


def named(setting: Mapping[str, Any], name: str) -> Installed:
    """The program of this name of setting `inference.programs`, its files there. Raises StartRefused (PROGRAM_WRONG)."""
    found = defined(setting, name)
    missing = next((one for one in found.sources.values() if not Path(one).exists()), "")
    if missing:
        raise wrong(name, f"{Path(missing).name} is not there")
    return found


def defined(setting: Mapping[str, Any], name: str) -> Installed:
    """The same, whether or not its files are on this machine: a tenant signs an image for what its provider has."""
    try:
        body = setting[name]
        if not isinstance(body, dict) or set(body) - _MEMBERS:
            raise ValueError("other members")
        sources = {str(inside): str(source) for inside, source in body.get("binds", {}).items()}
        program = Program(
            name, _texts(body["argv"]), {str(key): str(value) for key, value in body.get("environment", {}).items()}, _texts(body.get("modules", [])),
            tuple(sorted(sources)), str(body.get("model", name)), str(body.get("path", "/v1")), body.get("ready_s", READY_S),
        )  # fmt: skip
        return Installed(program, sources)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise wrong(name, str(error)) from error


def names(setting: Mapping[str, Any], *, here: bool) -> list[str]:
    """Programs whose definitions hold, by name; here: those whose files are on this machine as well."""
    found = []
    for name in sorted(setting):
        try:
            _ = named(setting, name) if here else defined(setting, name)
        except StartRefused:
            continue  # an operator's own command says why; what cannot be started is not offered
        found.append(name)
    return found


def wrong(name: str, why: str) -> StartRefused:
    """The refusal of a program that is not defined as it must be. why: never a place of this machine."""
    return StartRefused(
        f"设置 inference.programs 中没有「{name}」，或其定义不成立（{why}）；未启动任何程序，请运维更正",
        f"setting inference.programs has no {name}, or its definition does not hold ({why}): nothing is started; operations correct it",
        code="PROGRAM_WRONG",
    )


def model_of(manifest: Manifest) -> str:
    """Where the weights of an image are inside: its one file, else their folder."""
    weights = manifest.of_role("weights")
    if len(weights) == 1:
        return f"/image/{weights[0].path}"
    return "/image/weights" if weights else ""


def silent(why: str) -> StartRefused:
    """The refusal of a server inside that did not become ready. why: what it said, from before anything of a tenant was inside."""
    return StartRefused(
        f"沙箱内的推理服务没有就绪，服务器保持未清状态；请运维人员查看原因：{why}",
        f"the server inside the sandbox did not become ready, and its card stays dirty; operators look into it: {why}",
        code="SERVER_SILENT",
    )


def _texts(value: Any) -> tuple[str, ...]:  # Any: JSON of a setting
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("no list of texts")
    return tuple(value)


def _libraries(sources: Iterable[str]) -> Iterator[Bind]:
    """What the loader maps for programs and libraries among these files and folders, and itself.

    Asked of the loader, which runs nothing of them (ld.so(8), --list). What lies among them already is found there. The loader itself
    runs as the node does: only the system's own is asked, whatever a file names.
    Raises _LoaderRefused, subprocess.TimeoutExpired, OSError, struct.error.
    """
    roots = [Path(one) for one in sources]
    files = [one for root in roots for one in (root.rglob("*") if root.is_dir() else [root]) if one.is_file() and _is_elf(one)]
    own = f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    for file in files:
        loader = elf_interpreter(file)
        asked = _of_the_system(loader) if loader else str(Path(elf_interpreter(Path(own).resolve())).resolve())
        if loader:
            yield Bind(asked, loader)
        done = subprocess.run(
            [asked, "--library-path", ":".join(str(one.parent) for one in files), "--list", str(file)], capture_output=True, check=False, timeout=_ASK_S,
            env={}, cwd="/",
        )  # fmt: skip
        for line in done.stdout.decode("ascii", "replace").splitlines():
            name, arrow, rest = line.strip().partition(" => ")
            path = Path(rest.partition(" (")[0])
            if arrow and path.is_absolute() and path.is_file() and not any(path.is_relative_to(root) for root in roots):
                yield Bind(str(path.resolve()), f"{LIBRARIES}/{name}")


class _LoaderRefused(Exception):
    """A file names a loader that is none of the system's."""


def _of_the_system(loader: str) -> str:
    """The file of a loader of the system. Raises _LoaderRefused."""
    path = Path(loader).resolve()
    if not _LOADER.fullmatch(loader) or not path.is_file() or not any(path.is_relative_to(Path(one).resolve()) for one in _SYSTEM):
        raise _LoaderRefused
    return str(path)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"
