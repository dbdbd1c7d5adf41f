"""How the parts of a page stand together: stacks, two columns that become one, rows of fields, buttons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts.drawer import DRAWER_PX, Drawer

BADGE_PX = 126
"""As wide as the longer of the two languages' words."""
_PLAIN = ".scroll-button { display: none; }"
"""What is hidden is hidden by a style of Bokeh's, so only grids, which are never hidden, set `display` here. Panel puts an empty element into each column, which a gap would set apart."""
_STACK = _PLAIN + ":host { gap: 12px; }"
_SPLIT = (
    _PLAIN
    + """:host([class]) { display: grid; grid-template-columns: COLUMNS; gap: 12px; align-items: start; }
@media (max-width: LASTpx) { :host([class]) { grid-template-columns: minmax(0, 1fr); } FIRST }"""
)
_DRAWER = f"""@media screen and (max-width: {DRAWER_PX - 1}px) {{
  .wb-side {{ position: fixed !important; inset: 0 0 0 auto; width: min(420px, 92vw) !important; height: auto !important; max-height: none; overflow: auto;
    z-index: 30; padding: 52px 16px 20px; box-sizing: border-box; background: var(--wb-bg); border-left: 1px solid var(--wb-line); visibility: hidden; }}
  .wb-side.wb-open {{ visibility: visible; }}
}}
@media screen and (min-width: {DRAWER_PX}px), print {{ .wb-drawer {{ display: none !important; }} }}"""
"""What is behind the button keeps its place in the document; only the narrow screen takes it out of the flow."""
_FIELDS = _PLAIN + ":host([class]) { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); gap: 12px 16px; align-items: end; }"
_BUTTONS = _PLAIN + ":host { flex-wrap: wrap; gap: 8px 12px; align-items: center; }"
_CARD = _PLAIN + ":host { gap: 10px; }"

_BUTTON = ":host { width: max-content; }"
_TICKS = """.bk-input-group { display: flex; flex-wrap: wrap; gap: 6px 20px; }
.bk-input-group label { color: var(--wb-text); display: inline-flex; align-items: center; gap: 6px; min-height: 24px; }
.bk-input-group input { margin: 0; width: 16px; height: 16px; accent-color: var(--wb-primary); }"""


def stack(*items: Any) -> Any:  # Any: Panel has no types
    """Items below one another, 12 px apart."""
    return pn.Column(*items, sizing_mode="stretch_width", margin=0, stylesheets=[_STACK])


def card(*items: Any) -> Any:  # Any: Panel has no types
    """A card that holds widgets."""
    return pn.Column(*items, sizing_mode="stretch_width", margin=0, css_classes=["wb-card"], stylesheets=[_CARD])


def split(
    main: Any,
    side: Any,
    *,
    side_px: int = 372,
    side_first: bool = False,
    from_px: int = 1200,
    side_up: bool = False,
    drawer: tuple[PageContext, str] | None = None,
) -> Any:  # Any: Panel has no types
    """Two columns from `from_px` of page width on, one below the other on narrower pages.

    side_first: the side column stands left, and above on a narrow page. side_up: it stands right, but above there.
    drawer: page and key of a label; below DRAWER_PX the side column waits behind a button of that name.
    """
    columns = f"{side_px}px minmax(0, 1fr)" if side_first else f"minmax(0, 1fr) {side_px}px"
    sheet = _SPLIT.replace("COLUMNS", columns).replace("LAST", str(from_px - 1))
    sheet = sheet.replace("FIRST", ".wb-up { order: -1; }" if side_up else "")
    if side_up:
        side.css_classes = ["wb-up"]
    parts: tuple[Any, ...] = (side, main) if side_first else (main, side)
    if drawer is not None:
        page, key = drawer
        side.css_classes = [*side.css_classes, "wb-side"]
        sheet += _DRAWER
        parts = (Drawer(page, key), *parts)
    return pn.Column(*parts, sizing_mode="stretch_width", margin=0, stylesheets=[sheet])


def fields(*widgets: Any) -> Any:  # Any: Panel has no types
    """Input fields side by side where there is room."""
    return pn.Column(*widgets, sizing_mode="stretch_width", margin=0, stylesheets=[_FIELDS])


def buttons(*items: Any) -> Any:  # Any: Panel has no types
    """Buttons in reading order; `spacer()` pushes what follows to the right."""
    return pn.Row(*items, sizing_mode="stretch_width", margin=0, stylesheets=[_BUTTONS])


def first_line(head: Any, badge: Any) -> Any:  # Any: Panel has no types
    """Title of a page with the badge of origin at its right; badge: a pane or None."""
    if badge is None:
        return buttons(head)
    badge.param.update(sizing_mode="fixed", width=BADGE_PX)
    head.styles = {"flex": "1 1 320px", "width": "auto"}
    return buttons(head, badge)


def spacer() -> Any:  # Any: Panel has no types
    return pn.Spacer(sizing_mode="stretch_width", height=1, margin=0)  # type: ignore[no-untyped-call]


def button(page: PageContext, key: str, handler: Callable[..., Any], *, primary: bool = False) -> Any:  # Any: as above
    """A button whose text follows the language and whose errors are shown on the page."""
    look = "primary" if primary else "default"
    made = pn.widgets.Button(label=page.label(key), color=look, margin=0, stylesheets=[_BUTTON])  # type: ignore[no-untyped-call]
    made.on_click(page.action(lambda _event: handler()))
    return made


def select(page: PageContext, key: str, **options: Any) -> Any:  # Any: Panel's parameters
    """A list to choose one from."""
    return field(pn.widgets.Select, page, key, **options)


def field(kind: Callable[..., Any], page: PageContext, key: str, **options: Any) -> Any:  # Any: Panel has no types
    """An input of Panel whose label follows the language, as wide as its place."""
    return kind(label=page.label(key), **{"sizing_mode": "stretch_width", "margin": 0, **options})


def ticks(page: PageContext, key: str, options: Sequence[str] = ()) -> Any:  # Any: as above
    """Boxes to tick, side by side, with room between them."""
    return field(pn.widgets.CheckBoxGroup, page, key, options=list(options), inline=True, stylesheets=[_TICKS])


def set_options(widget: Any, options: dict[str, Any], value: Any = None) -> None:  # Any: Panel has no types
    """New options in the present language; what was chosen stays chosen where it still exists."""
    wanted = widget.value if value is None else value
    known = list(options.values())
    widget.param.update(options=options, value=wanted if wanted in known else (known[0] if known else None))
