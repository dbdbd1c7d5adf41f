"""Shows a component in a Panel page without a single request to another machine.

``panel.pane.IPyWidget`` loads anywidget's own script from a public content network, and ``AnyWidgetComponent`` loads
React from one; a bank has neither. :func:`pane` therefore runs the component's module on Panel's plain ``JSComponent``
with a thin model in between. Only this module of the package knows Panel, and nothing here imports it for notebooks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

import panel as pn
import param

from . import COMPONENTS, Component
from .component import asset, synced_traits

_PREFIX: Final = "t_"


class ComponentPane(pn.custom.JSComponent):
    """One component in a Panel layout; made by :func:`pane`.

    The component stays the single owner of its values: assign to its traits, listen with ``on_action``. From the
    browser only the traits a component declares in ``written`` are taken.
    """

    __abstract = True

    def __init__(self, widget: Component, **layout: Any) -> None:  # Any: Panel's layout parameters
        self._widget = widget
        self._names = synced_traits(widget)
        self._shown = {name: getattr(widget, name) for name in self._names}
        values = {_PREFIX + name: _text(value) for name, value in self._shown.items()}
        super().__init__(**{"sizing_mode": "stretch_width", **layout, **values})  # type: ignore[no-untyped-call]  # Panel
        widget.observe(self._show, names=list(self._names))
        self._watcher = self.param.watch(self._take, [_PREFIX + name for name in widget.written_traits()])

    @property
    def widget(self) -> Component:
        """The component shown here."""
        return self._widget

    def close(self) -> None:
        """Cut the tie to the component and free it; done for each page when its session ends."""
        self.param.unwatch(self._watcher)
        self._widget.unobserve(self._show, names=list(self._names))
        self._widget.close()

    def _show(self, _change: Mapping[str, Any]) -> None:  # Any: traitlets' change record
        # Everything that differs goes in one message: what was assigned at once (Component.at_once) is drawn at once.
        now = {name: getattr(self._widget, name) for name in self._names}
        texts = {_PREFIX + name: _text(value) for name, value in now.items() if value is not self._shown[name]}
        self._shown = now
        self.param.update(**{name: text for name, text in texts.items() if getattr(self, name) != text})

    def _take(self, *changes: Any) -> None:  # Any: param's change records
        # The event comes last, so that a listener finds the values that led to it.
        for change in sorted(changes, key=lambda one: bool(one.name == _PREFIX + "event")):
            name = change.name.removeprefix(_PREFIX)
            if change.new != _text(getattr(self._widget, name)):
                setattr(self._widget, name, json.loads(change.new))


def pane(widget: Component, **layout: Any) -> ComponentPane:  # Any: Panel's layout parameters
    """A Panel object that shows ``widget``, as wide as its place and as high as its content.

    layout: Panel's own parameters (``width``, ``margin``, ``sizing_mode``, ...). Within a served session the tie and
    the component are freed when the session ends.
    """
    shown = _CLASSES[type(widget).script](widget, **layout)
    if pn.state.curdoc is not None and pn.state.curdoc.session_context is not None:
        pn.state.on_session_destroyed(lambda _context: shown.close())
    return shown


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _pane_class(component: type[Component]) -> type[ComponentPane]:
    module = component.module_text("const COMPONENT = ") + asset("panel_adapter.js")
    # Precedence 0 keeps them out of Panel's own widgets; text is compared cheaply and never interpreted on the way.
    fields = {_PREFIX + name: param.String("null", precedence=0) for name in synced_traits(component())}
    body = {"_esm": module, "__module__": __name__, "__doc__": f"{component.__name__} in a Panel page.", **fields}
    return cast("type[ComponentPane]", type(f"{component.__name__}Pane", (ComponentPane,), body))


# Made once, before any session: a class made while a page is live would be unknown to the browsers of other pages.
_CLASSES: Final = {component.script: _pane_class(component) for component in reversed(COMPONENTS)}
