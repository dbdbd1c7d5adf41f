"""One institution as an object: real keys, database, ledger and vault; a clock that tests move; plugins of their own."""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.domain.party import Caller, Role
from workbench.gate import action_digest
from workbench.host import Workbench
from workbench.loading import PluginSet, found_entry_points, load_plugins
from workbench.node import keys as institution_keys
from workbench.operations import Operation
from workbench.store.vault_key import unlock_vault_key
from workbench.workspace import Workspace, create_workspace, load_workspace

START_MS = 1_790_000_000_000
PASSWORD = "a long enough secret 7391"


class Clock:
    """Milliseconds since 1970 that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def forward(self, *, minutes: float = 0, hours: float = 0) -> None:
        self.now_ms += round((minutes + 60 * hours) * 60_000)


def plugin_module(name: str, **hooks: Callable[..., object]) -> types.ModuleType:
    """A plugin as a module; hooks: implementations already marked with `hookimpl`."""
    module = types.ModuleType(name)
    module.WORKBENCH_API = 1  # type: ignore[attr-defined]  # modules take any attribute
    module.__version__ = "9.9"  # type: ignore[attr-defined]
    for hook, function in hooks.items():
        setattr(module, hook, function)
    return module


def with_plugins(*extra: types.ModuleType) -> PluginSet:
    """The installed plugins and these."""
    sources: list[tuple[str, Callable[[], object]]] = [(point.name, point.load) for point in found_entry_points()]
    return load_plugins([*sources, *((one.__name__, lambda one=one: one) for one in extra)])


class House:
    """A node with its clock."""

    def __init__(self, workspace: Workspace, node: Workbench, clock: Clock) -> None:
        self.workspace = workspace
        self.node = node
        self.clock = clock

    def caller(self, role: Role, *, kernel: bool = False) -> Caller:
        """The test person of a role, as if signed in."""
        people = {one.person: one for one in self.node.people.everyone()}
        return Caller(person=people[role.value], kernel=kernel)  # type: ignore[index]  # a PersonId is a str

    def password(self, role: Role) -> str:
        return self.workspace.sign_in("broker", role)[1]

    def confirmation(self, role: Role, operation: Operation, request: dict[str, Any]) -> str:
        """A fresh password for exactly this request."""
        digest = action_digest(operation.name, self.node.gate.validate(operation, request))
        return self.node.people.confirm(self.caller(role), password=self.password(role), action_digest=digest)

    def entries(self, kind: str) -> list[dict[str, str]]:
        """Values of the own entries of a kind, oldest first, with the actor as "actor"."""
        with self.node.store.read() as reader:
            rows = self.node.evidence.search(reader, kind=kind, limit=1000)
            return [{**self.node.evidence.view(reader, row.index), "actor": row.actor} for row in reversed(rows)]


def template(folder: Path) -> Workspace:
    """A test workspace of one institution, made once: making keys and password hashes takes seconds."""
    return create_workspace(folder / "template", kind="test", parties=("broker",))


@contextmanager
def opened(
    workspace: Workspace, *, plugins: PluginSet | None = None, settings: dict[str, Any] | None = None
) -> Iterator[House]:
    """The node of this workspace's broker with a clock of the test; closed at the end."""
    folder = workspace.node_folder("broker")
    secret = (folder / "passphrase").read_text("utf-8").strip()
    clock = Clock()
    node = Workbench(
        folder=folder,
        kind=workspace.kind,
        project=workspace.project,
        keys=institution_keys.load(folder / "keys", secret),
        vault_key=unlock_vault_key(folder / "vault.key", secret),
        settings=settings,
        plugins=plugins,
        now_ms=clock,
    )
    try:
        yield House(workspace, node, clock)
    finally:
        node.close()


def copied(original: Workspace, target: Path) -> Workspace:
    """The same institution in another folder, so that tests do not see each other's entries."""
    shutil.copytree(original.folder, target)
    for one in [target, *target.rglob("*")]:
        one.chmod(0o700 if one.is_dir() else 0o600)
    return load_workspace(target)


def text_of(value: object) -> str:
    """Everything a reader could see of a value."""
    return json.dumps(value, ensure_ascii=False, default=repr)
