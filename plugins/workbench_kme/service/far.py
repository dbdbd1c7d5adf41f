"""Which applications stand at the other end of a line: those of kme.json, and what its KME has told since it started.

Document: key-delivery.md section 8, verb `applications`. In memory only: either end's new start is followed by telling anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from workbench_kme.service.applications import MOST
from workbench_kme.service.config import is_name


class FarApplications:
    """configured: of this line's peer in kme.json. is_free: whether an id belongs neither to this site nor to another line."""

    def __init__(self, configured: Collection[str], is_free: Callable[[str], bool]) -> None:
        self._configured, self._is_free = tuple(configured), is_free
        self.saes: tuple[str, ...] = self._configured
        """Ids that keys of this line may be asked for, those of kme.json first."""

    def forget(self) -> None:
        """The other end has started anew."""
        self.saes = self._configured

    def hear(self, body: Mapping[str, Any]) -> list[str]:
        """Take in what the other end told; ids that are somebody else's here and were passed over. Raises ValueError."""
        registered, withdrawn = (list(body[name]) for name in ("registered", "withdrawn"))
        every = [*registered, *withdrawn]
        if len(every) > MOST or len(set(every)) != len(every) or not all(is_name(one) for one in every):
            raise ValueError("ids of applications, each once")
        taken = [one for one in registered if one not in self._configured and not self._is_free(one)]
        known = dict.fromkeys((*self._configured, *registered))
        self.saes = tuple(one for one in known if one not in withdrawn and one not in taken)
        return taken


__all__ = ["FarApplications"]
