"""A program that answers inside a sandbox beside its worker: how it is started, as both institutions name it by a digest.

Document: docs/protocols/sandbox.md section 3. The provider defines it; the tenant names name and digest in a manifest, and the worker
measures the definition that it started. Where its files come from at the provider is no part of it: their bytes stand in the runtime
listing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.crypto.canonical import Json
from workbench_sandbox.formats import reading

KIND = "sandbox-program"
MAX_BYTES = 16 << 10
MOST_READY_S = 1_800
PLACES = ("{python}", "{socket}", "{model}", "{threads}")
"""What stands for something in an argument: the interpreter of the runtime, the socket to listen on, the weights, processors."""

_MEMBERS = ("name", "argv", "environment", "modules", "binds", "model", "path", "ready_s")
_ARGUMENT = re.compile(r"[\x20-\x7e]{1,1000}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_OURS = frozenset({"LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "HOME", "TMPDIR"})
_MODULE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}(\.[a-zA-Z_][a-zA-Z0-9_]{0,63}){0,9}")
_INSIDE = re.compile(r"/(?:program|runtime/lib)/(?!.*\.\.)[A-Za-z0-9._+-]{1,80}(?:/[A-Za-z0-9._+-]{1,80}){0,9}")
_PLACE = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Program:
    """argv: first the program, `{python}` or a path inside; environment: besides what every program gets; modules: of the provider's
    Python packages, bound with all they load; binds: further files and folders inside, below /program or /runtime/lib; model: name
    that a question is asked for; path: of its interface; ready_s: how long it may take to answer for the first time."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    modules: tuple[str, ...]
    binds: tuple[str, ...]
    model: str
    path: str
    ready_s: int

    def __post_init__(self) -> None:
        reading.need(reading.NAME.fullmatch(self.name), "name")
        reading.need(2 <= len(self.argv) <= 200 and all(_ARGUMENT.fullmatch(one) for one in self.argv), "argv")
        reading.need(self.argv[0] == "{python}" or self.argv[0] in self.binds, "the program is the interpreter or a file that is bound")
        reading.need(all(one in PLACES for part in self.argv for one in _PLACE.findall(part)), "an argument has a place that there is not")
        reading.need(sum(part.count("{socket}") for part in self.argv) == 1, "one argument names the socket")
        reading.need(all(_VARIABLE.fullmatch(name) and name not in _OURS for name in self.environment), "environment")
        reading.need(all(_ARGUMENT.fullmatch(one) for one in self.environment.values()), "environment")
        reading.need(reading.each(_MODULE, self.modules) and reading.each(_INSIDE, self.binds), "modules or binds")
        reading.need(re.fullmatch(r"[!-~]{1,200}", self.model) and re.fullmatch(r"(?:/[a-zA-Z0-9._-]{1,40}){0,5}", self.path), "model or path")
        reading.need(reading.within(self.ready_s, least=1, most=MOST_READY_S), "ready_s")

    @property
    def encoded(self) -> bytes:
        """The canonical bytes."""
        return reading.write(
            {
                "name": self.name, "argv": list(self.argv), "environment": {**self.environment}, "modules": list(self.modules),
                "binds": list(self.binds), "model": self.model, "path": self.path, "ready_s": self.ready_s,
            },
            KIND,
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """SM3 of the canonical bytes, hexadecimal: what a manifest and evidence name."""
        return reading.digest(self.encoded)

    def arguments(self, **places: str) -> list[str]:
        """The arguments with each place filled; python, socket, model, threads."""
        return [_PLACE.sub(lambda found: places[found.group()[1:-1]], one) for one in self.argv]


def parse_program(data: bytes) -> Program:
    """Raises ValueError for anything but canonical bytes of one."""
    body = reading.read(data, _MEMBERS, KIND, most=MAX_BYTES)
    return _program(body)


def _program(body: Mapping[str, Json]) -> Program:
    environment = body["environment"]
    reading.need(isinstance(environment, dict), "environment")
    assert isinstance(environment, dict)
    return Program(
        reading.text(body["name"]), reading.texts(body["argv"], most=200), {name: reading.text(one) for name, one in environment.items()},
        reading.texts(body["modules"], most=50), reading.texts(body["binds"], most=200), reading.text(body["model"]), reading.text(body["path"]),
        reading.whole(body["ready_s"]),
    )  # fmt: skip
