"""Alarms of one line: each stands once, and its beginning and end are events for the node's evidence."""

from __future__ import annotations

from collections.abc import Callable

from workbench_kme.service.journal import Journal
from workbench_kme.service.judging import SOURCE_ALARMS


class Alarms:
    """record: writes an event."""

    def __init__(self, journal: Journal, line: str, record: Callable[..., None]) -> None:
        self._journal, self._line, self._record = journal, line, record

    def begin(self, kind: str, *, block: int = -1, value: float = -1.0, limit: float = -1.0) -> None:
        """This alarm stands from now on; nothing happens when it did before."""
        if self._journal.raise_alarm(self._line, kind, block=block, value=value, limit=limit):
            self._record("alarm.raised", self._line, alarm=kind, block=block)

    def end(self, *kinds: str) -> None:
        """These alarms stand no longer."""
        standing = sorted(self._journal.open_kinds(self._line) & set(kinds))
        if standing and self._journal.clear_alarms(self._line, tuple(standing)):
            self._record("alarm.cleared", self._line, alarms=" ".join(standing))

    def hold(self, kind: str, stands: bool, *, value: float = -1.0, limit: float = -1.0) -> None:
        """Begin or end, as the case is."""
        if stands:
            self.begin(kind, value=value, limit=limit)
        else:
            self.end(kind)

    @property
    def disturbed(self) -> bool:
        """Whether the source is: nothing is delivered then."""
        return bool(self._journal.open_kinds(self._line) & set(SOURCE_ALARMS))
