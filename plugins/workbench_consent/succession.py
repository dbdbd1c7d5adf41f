"""Party succession (PIPL 22): an institution merges, splits or takes another name. Document: docs/consent.md section 16.

The one who receives the personal information goes on with the duties of the one before; people are told its name and contact. As
long as purpose and method stay, their consent stays. So a version of a notice that takes over the registered name changes the
recipient's name without making any grant stale; every other change is material as ever. The party's id in this project stays.
"""

from __future__ import annotations

from workbench_consent import changes
from workbench_consent.notices.text import Words
from workbench_consent.tables import Reader

KIND = "succession"


def names(reader: Reader) -> dict[str, Words]:
    """Institution -> its name since the newest succession that two people registered."""
    found = changes.all_changes(reader, KIND, state=changes.IN_FORCE)
    return {one.name: Words(one.body["name"]["zh"], one.body["name"]["en"]) for one in found}
