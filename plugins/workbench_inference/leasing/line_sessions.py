"""Keys of lines under sessions with sandboxes, at the provider's end: written down, looked at before frames, ended.

Document: docs/protocols/sandbox.md section 8, "The QKD key". The provider's node has that one share of a session's secret; people who
revoke it here, or a line that an alarm stops, end the session before its next frame, as at the tenant.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, replace

from workbench.contracts import SessionKeys
from workbench.errors import WorkbenchError
from workbench_inference.leasing.keys import LeasingHost
from workbench_sandbox.formats import relay


@dataclass(frozen=True, slots=True)
class _Line:
    """name: of the session, as the line's entries have it. is_open: both ends have its keys; is_new: an exchange is under way."""

    keys: SessionKeys
    name: str
    is_open: bool
    is_new: bool


class LineSessions:
    """One a node. Safe for threads; without a key of a line there is nothing to look at."""

    def __init__(self, host: LeasingHost) -> None:
        self._host = host
        self._known: dict[str, _Line] = {}
        self._lock = threading.Lock()

    def begun(self, sandbox: str, keys: SessionKeys, name: str) -> None:
        """A key was taken for a session of this sandbox, or for its next epoch."""
        with self._lock:
            before = self._known.get(sandbox)
            goes_on = before is not None and before.is_open and before.name == name
            self._known[sandbox] = _Line(keys, name, is_open=goes_on, is_new=True)
        if before is not None and before.name != name:
            self._ended(before, "replaced")

    def begun_without(self, sandbox: str) -> None:
        """A session that holds no key of a line."""
        with self._lock:
            before = self._known.pop(sandbox, None)
        if before is not None:
            self._ended(before, "replaced")

    def agreed(self, sandbox: str) -> None:
        """The sandbox has confirmed. Raises the one refusal when people ended it meanwhile."""
        found = self._found(sandbox)
        if found is None or not found.is_new:
            return
        try:
            self._host.store.write(lambda tx: found.keys.opened(tx, found.name, session="", suite=""))
        except WorkbenchError as error:
            self._lost(sandbox, found, error)
            raise relay.sandbox_refused() from error
        with self._lock:
            if self._known.get(sandbox) is found:
                self._known[sandbox] = replace(found, is_open=True, is_new=False)

    def failed(self, sandbox: str, error: WorkbenchError) -> None:
        """The exchange did not come to its end; an open session goes on under its old key."""
        found = self._found(sandbox)
        if found is None or not found.is_new:
            return
        self._host.store.write(lambda tx: found.keys.refused(tx, found.name, error))
        with self._lock:
            if self._known.get(sandbox) is found:
                self._known.pop(sandbox)
                if found.is_open:
                    self._known[sandbox] = replace(found, is_new=False)

    def require_live(self, sandbox: str) -> None:
        """Return if frames of this sandbox may pass. Raises the one refusal once people ended its session here."""
        found = self._found(sandbox)
        if found is None or not found.is_open:
            return
        try:
            found.keys.require_live(found.name)
        except WorkbenchError as error:
            self._lost(sandbox, found, error)
            raise relay.sandbox_refused() from error

    def keep(self, sandboxes: Collection[str]) -> None:
        """End the sessions of all other sandboxes: they are gone."""
        with self._lock:
            gone = [self._known.pop(one) for one in list(self._known) if one not in sandboxes]
        for one in gone:
            self._ended(one, "released")

    def _found(self, sandbox: str) -> _Line | None:
        with self._lock:
            return self._known.get(sandbox)

    def _lost(self, sandbox: str, found: _Line, error: WorkbenchError) -> None:
        """Nothing passes any more: what is left is a name that never is live again."""
        self._host.log_fault(error)
        with self._lock:
            if self._known.get(sandbox) is found:
                self._known[sandbox] = replace(found, is_open=True, is_new=False)
        self._ended(found, "revoked")

    def _ended(self, one: _Line, cause: str) -> None:
        try:
            self._host.store.write(lambda tx: one.keys.ended(tx, one.name, cause=cause))
        except WorkbenchError as error:
            self._host.log_fault(error)


__all__ = ["LineSessions"]
