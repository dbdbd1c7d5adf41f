"""What all components have in common: how a module for the browser is put together, and the traits every one has.

A component is one Python class and one script. The script is joined, in Python, with the shared pieces (style sheet,
locale, formats, elements) into a single ES module that imports nothing, so the same text runs in a notebook, in a
Panel page and in a static file, without a build step and without any request leaving the machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Final, Literal

import anywidget
import traitlets

from .formats import Lang
from .plain import PlainDict, PlainText

STATES: Final = ("loading", "empty", "refused", "failed", "tampered", "done")
Theme = Literal["auto", "light", "dark"]
EventHandler = Callable[[str, dict[str, Any]], None]

_MAX_ACTIONS: Final = 2
_EXPORT: Final = "export default "
_PIECES: Final[Mapping[str, tuple[str, ...]]] = {"proof_chain": ("hashing.js",), "proof_path": ("hashing.js",)}
"""What a script needs besides the pieces that every script has."""
_MACHINERY: Final = frozenset({"layout", "tabbable", "tooltip"})


@cache
def asset(name: str) -> str:
    """The text of one file of this package's ``assets`` folder."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


@cache
def locale_table() -> dict[str, dict[str, str]]:
    """Every sentence of the components: key to ``{"zh": ..., "en": ...}``, both with the same fields."""
    table: dict[str, dict[str, str]] = json.loads(asset("locale.json"))
    return table


@cache
def esm(name: str, opening: str = _EXPORT) -> str:
    """The complete ES module of the component ``name``: shared pieces, its part of the locale, its script.

    name: the stem of ``assets/<name>.js``; its sentences are those whose key starts with ``common.`` or ``<name>.``.
    opening: what stands before the component itself, for a page that needs something other than an export.
    """
    script = asset(f"{name}.js")
    if script.count(_EXPORT) != 1:
        raise ValueError(f"{name}.js: exactly one default export is needed")
    part = {key: text for key, text in locale_table().items() if key.split(".")[0] in ("common", name)}
    head = f"const CSS_TEXT = {_literal(_squeeze(asset('theme.css')))};\nconst LOCALE = {_literal(part)};\n"
    pieces = [asset(piece) for piece in ("formats.js", "dom.js", *_PIECES.get(name, ()))]
    return "\n".join((head, *pieces, script.replace(_EXPORT, opening)))


class Component(anywidget.AnyWidget):
    """Base of all components: plain data in, events out, the same states everywhere.

    theme: ``light``, ``dark`` or ``auto`` (the page's own mark: JupyterLab, Panel or Bootstrap attributes).
    lang: ``zh`` or ``en``; switching needs no reload and keeps what was typed.
    state: one of :data:`STATES`; ``loading`` shows a skeleton after 300 ms, ``tampered`` warns above the content.
    heading, hint: title of the card and the small remark at its right; framed: draw the card's edge.
    notice: ``{sentence, reason, todo, code, actions: [{name, label, primary}]}`` for the states that are not ``done``.
    as_of_ms: the time the shown values are from, when the source is away.
    event: ``{name, payload, counter}``, set by the browser; listen with :meth:`on_action`.
    Texts and data are always rendered as text; an unmasked phone or ID number in any of them raises ``ValueError``.
    """

    script: ClassVar[str] = ""
    events: ClassVar[Mapping[str, str]] = {}
    written: ClassVar[tuple[str, ...]] = ()

    theme = traitlets.Enum(("auto", "light", "dark"), default_value="auto").tag(sync=True)
    lang = traitlets.Enum(("zh", "en"), default_value="zh").tag(sync=True)
    state = traitlets.Enum(STATES, default_value="done").tag(sync=True)
    heading = PlainText().tag(sync=True)
    hint = PlainText().tag(sync=True)
    framed = traitlets.Bool(True).tag(sync=True)
    notice = PlainDict().tag(sync=True)
    as_of_ms = traitlets.Int(None, allow_none=True).tag(sync=True)
    focus_count = traitlets.Int(0).tag(sync=True)
    event = traitlets.Dict().tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:  # Any: passed on as it came
        # Once per script: traitlets derives a class per widget to add traits, which must keep the trait it adds.
        if "script" in cls.__dict__:
            cls._esm = esm(cls.script)
        super().__init_subclass__(**kwargs)

    def on_action(self, handler: EventHandler, name: str | None = None) -> Callable[[], None]:
        """Call ``handler(name, payload)`` for each event, or only for those called ``name``.

        Events the class does not declare, and payloads that are not a dictionary, are dropped: they come from a
        browser. Returns a function that stops the calls.
        """

        def receive(change: Mapping[str, Any]) -> None:  # Any: traitlets' change record
            told = change["new"]
            if not isinstance(told, dict) or told.get("name") not in self.known_events():
                return
            payload = told.get("payload")
            if isinstance(payload, dict) and name in (None, told["name"]):
                handler(told["name"], payload)

        self.observe(receive, names="event")
        return lambda: self.unobserve(receive, names="event")

    def take_focus(self) -> None:
        """Move the keyboard focus to this component's first sentence, as after an action."""
        self.focus_count += 1

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Whatever is assigned inside reaches the browser together: no sentence of now beside a state of before."""
        with self.hold_sync(), self.hold_trait_notifications():
            yield

    def known_events(self) -> frozenset[str]:
        """Names of the events this component can raise; ``action`` is a button of a notice."""
        return frozenset(self.events) | {"action"}

    @classmethod
    def module_text(cls, opening: str = _EXPORT) -> str:
        """The component's ES module with another opening than an export; see :func:`esm`."""
        return esm(cls.script, opening)

    def written_traits(self) -> tuple[str, ...]:
        """Traits the browser may set: the event, and what a person chooses in this component."""
        return ("event", *self.written)

    @traitlets.validate("notice")
    def _notice_is_sound(self, proposal: Mapping[str, Any]) -> dict[str, Any]:  # Any: plain data, checked here
        notice: dict[str, Any] = proposal["value"]
        check_keys(notice, "notice", optional=("sentence", "reason", "todo", "code", "actions"))
        check_actions(notice.get("actions", []))
        return notice


def synced_traits(widget: Component) -> tuple[str, ...]:
    """Names of the traits a browser gets, without those of the notebook's own machinery."""
    return tuple(name for name in widget.traits(sync=True) if not name.startswith("_") and name not in _MACHINERY)


def check_actions(actions: Any) -> None:  # Any: data from the caller, checked here
    """Raise ``ValueError`` unless actions are at most two buttons, at most one of them primary."""
    if not isinstance(actions, list) or len(actions) > _MAX_ACTIONS:
        raise ValueError("actions: a list of at most 2 buttons")
    for number, action in enumerate(actions):
        check_keys(action, f"actions[{number}]", required=("name", "label"), optional=("primary", "icon", "disabled"))
    if sum(bool(action.get("primary")) for action in actions) > 1:
        raise ValueError("actions: at most one is primary")


def check_keys(
    value: Any,  # Any: data from the caller, checked here
    where: str,
    *,
    required: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
) -> None:
    """Raise ``ValueError`` unless the dictionary ``value`` has the required and only known keys (``TypeError``: no dictionary)."""
    if not isinstance(value, dict):
        raise TypeError(f"{where}: a dictionary is needed")
    missing = [key for key in required if key not in value]
    unknown = [key for key in value if key not in required and key not in optional]
    if missing or unknown:
        raise ValueError(f"{where}: missing {missing}, unknown {unknown}")


def check_count(value: Any, where: str) -> int:  # Any: data from the caller, checked here
    """Return ``value`` if it is a whole number of things, zero or more; else raise ``ValueError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{where}: a whole number from 0 is needed")
    return value


def check_party(value: Any, where: str, *, extra: tuple[str, ...] = ()) -> None:  # Any: checked here
    """Raise ``ValueError`` unless ``value`` names a party: ``{tile, name, party?, mine?}``; the tile is one letter."""
    check_keys(value, where, required=("tile", "name"), optional=("party", "mine", *extra))
    if not isinstance(value["tile"], str) or len(value["tile"]) != 1:
        raise ValueError(f"{where}.tile: one letter is needed")


def check_lanes(lanes: Any) -> Any:  # Any: checked here
    """Return ``lanes`` if each is a party with its id, as diagrams of several institutions need; else raise ``ValueError``."""
    for number, lane in enumerate(lanes):
        check_party(lane, f"lanes[{number}]")
        if not lane.get("party"):
            raise ValueError(f"lanes[{number}].party: missing")
    return lanes


def _literal(value: object) -> str:
    # JSON is a JavaScript literal; the two line separators and "<" are escaped so the text can stand in any page.
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _squeeze(css: str) -> str:
    return "\n".join(line.strip() for line in css.splitlines() if line.strip())


__all__ = [
    "STATES",
    "Component",
    "Lang",
    "Theme",
    "asset",
    "check_actions",
    "check_count",
    "check_keys",
    "check_lanes",
    "check_party",
    "esm",
    "locale_table",
]
