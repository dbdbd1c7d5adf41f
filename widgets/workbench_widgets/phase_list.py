"""The phases of a protocol run: my progress, theirs, the record, and what each side will learn next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_keys, check_party
from .plain import PlainDict, PlainList

PHASE_STATES = ("done", "running", "waiting", "failed", "refused", "tampered")
RECORD_STATES = ("sealed", "pending", "tampered")


class PhaseList(Component):
    """One row per phase.

    rows: ``{name, state, mine?, theirs?, seconds?, record?, learn?, note?}``; ``mine`` and ``theirs`` are
    ``{done, total}``; ``learn`` says what each side will learn and stands in rows still ``waiting``; ``note`` explains
    the running row; ``record`` is one of :data:`RECORD_STATES`.
    mine, theirs: the two parties ``{tile, name, party?, mine?}``; padded: their counts include padding.
    """

    script: ClassVar[str] = "phase_list"

    rows = PlainList().tag(sync=True)
    mine = PlainDict({"tile": "我", "name": "我方", "mine": True}).tag(sync=True)
    theirs = PlainDict({"tile": "对", "name": "对方"}).tag(sync=True)
    padded = traitlets.Bool(True).tag(sync=True)

    @traitlets.validate("mine", "theirs")
    def _party_is_named(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        check_party(proposal["value"], proposal["trait"].name)
        return proposal["value"]

    @traitlets.validate("rows")
    def _rows_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, row in enumerate(proposal["value"]):
            where = f"rows[{number}]"
            check_keys(
                row,
                where,
                required=("name", "state"),
                optional=("mine", "theirs", "seconds", "record", "learn", "note"),
            )
            if row["state"] not in PHASE_STATES:
                raise ValueError(f"{where}.state: one of {PHASE_STATES} is needed")
            if row.get("record") not in (None, *RECORD_STATES):
                raise ValueError(f"{where}.record: one of {RECORD_STATES} is needed")
            if row["state"] == "waiting" and not row.get("learn"):
                raise ValueError(f"{where}.learn: a phase to come must say what each side will learn")
            for side in ("mine", "theirs"):
                if row.get(side) is not None:
                    check_keys(row[side], f"{where}.{side}", required=("done", "total"))
                    done = check_count(row[side]["done"], f"{where}.{side}.done")
                    if done > check_count(row[side]["total"], f"{where}.{side}.total"):
                        raise ValueError(f"{where}.{side}: more done than there is")
        return proposal["value"]
