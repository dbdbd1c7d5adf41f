"""Who knows what after an intersection: two circles, the partner's remainder in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import traitlets

from .component import Component, check_count, check_party
from .plain import PlainDict, PlainText


class Venn(Component):
    """Two circles, not to scale.

    mine: ``{tile, name, count}``, exact; partner: ``{tile, name, bucket}``, the padded bound that is all we know.
    released: customers that can be used; dropped: matched, then taken out at the last check.
    Raises ``ValueError`` when more were matched than either side can hold.
    """

    script: ClassVar[str] = "venn"

    mine = PlainDict().tag(sync=True)
    partner = PlainDict().tag(sync=True)
    released = traitlets.Int(0).tag(sync=True)
    dropped = traitlets.Int(0).tag(sync=True)
    caption = PlainText().tag(sync=True)

    @traitlets.validate("mine", "partner", "released", "dropped")
    def _numbers_fit(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        name = proposal["trait"].name
        value = proposal["value"]
        if name in ("mine", "partner"):
            if value:
                size = "count" if name == "mine" else "bucket"
                check_party(value, name, extra=(size,))
                check_count(value.get(size), f"{name}.{size}")
        else:
            check_count(value, name)
        told = {
            "mine": self.mine,
            "partner": self.partner,
            "released": self.released,
            "dropped": self.dropped,
            name: value,
        }
        matched = told["released"] + told["dropped"]
        for size in (told["mine"].get("count"), told["partner"].get("bucket")):
            if size is not None and matched > size:
                raise ValueError("venn: more matched than one side holds")
        return value
