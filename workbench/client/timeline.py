"""A story of evidence longer than one reply: pages of it from the newest on, joined in the order of time.

What the command line, the notebook and the page Evidence share. Pages are the node's (evidence.timeline): the newest comes
first, and every reply says in `older` what to ask with for the page before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.client.session import Record

PAGE_ROWS = 1000
"""Own entries of one page of a job's story; the node gives no more in one reply."""


def join_pages(before: Mapping[str, Any], after: Mapping[str, Any]) -> Record:
    """Two pages of one story as one: `after` with the page `before` it. An entry that both hold is taken from `after`.

    count, total and one_sided are of the whole story, so the later reading's stand; older is the earlier page's.
    """
    entries = {(one["log"], one["index"]): one for page in (before, after) for one in page["entries"]}
    ordered = sorted(entries.values(), key=lambda one: (one["time_ms"], one["log"], one["index"]))
    return Record({**after, "entries": ordered, "older": before["older"], "more": before["more"]})


def read_story(client: Any, job: str, *, kind: str = "", pages: int | None = None, limit: int = PAGE_ROWS) -> Record:
    """The newest pages of a job's story as one reply; all of them unless `pages` says how many.

    client: of the signed-in person. kind, limit: as in evidence.timeline. Raises what the node refuses.
    """
    story = Record(client.call("evidence.timeline", job=job, kind=kind, limit=limit))
    read = 1
    while story["older"] and (pages is None or read < pages):
        story = join_pages(client.call("evidence.timeline", job=job, kind=kind, limit=limit, older=story["older"]), story)
        read += 1
    return story


__all__ = ["PAGE_ROWS", "join_pages", "read_story"]
