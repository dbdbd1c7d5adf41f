"""Writes one static page that shows every component in every state, in both languages and both themes.

The page holds the same modules a notebook gets, each started on a small stand-in for the notebook's model; it asks no
server for anything. ``python -m workbench_widgets.gallery FILE.html``; add ``#dark``, ``#en`` or both to the address.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .component import Component, synced_traits
from .samples import Sample, samples

_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>Workbench widgets</title><meta name="viewport" content="width=device-width">
<style>
body { margin: 0; padding: 12px 20px; background: #F4F6F5; color: #182026; font: 14px/22px "Noto Sans CJK SC", sans-serif; }
html[data-theme="dark"] body { background: #11161A; color: #E7ECEE; }
nav { display: flex; gap: 8px; align-items: center; margin-bottom: 12px; } h1 { font-size: 16px; margin: 0 auto 0 0; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 560px), 1fr)); gap: 12px; align-items: start; }
main > div { min-width: 0; } main > div > p { margin: 0 0 2px; font: 12px/18px ui-monospace, "DejaVu Sans Mono", monospace; opacity: .8; }
.wide { grid-column: 1 / -1; } .small { display: inline-block; }
</style></head><body>
<nav><h1>Workbench widgets</h1><button id="theme" type="button">light / dark</button><button id="lang" type="button">中 / EN</button></nav>
<main id="all"></main>
<script type="application/json" id="data">@DATA@</script>
<script type="module">
const { modules, shown } = JSON.parse(document.getElementById("data").textContent);
class Model {
  constructor(state) { this.state = state; this.calls = new Map(); this.changed = new Set(); this.events = []; }
  get(name) { return this.state[name]; }
  set(name, value) { this.state[name] = value; this.changed.add(name); if (name === "event") this.events.push(value); }
  save_changes() { const names = [...this.changed]; this.changed.clear(); for (const name of names) for (const call of [...(this.calls.get(`change:${name}`) || [])]) call(); }
  on(name, call) { if (!this.calls.has(name)) this.calls.set(name, new Set()); this.calls.get(name).add(call); }
  off(name, call) { this.calls.get(name)?.delete(call); }
  send() {}
}
const loaded = {};
for (const [name, text] of Object.entries(modules)) loaded[name] = (await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })))).default;
const place = document.getElementById("all");
const models = [];
for (const { script, title, id, wide, state } of shown) {
  const box = document.createElement("div");
  box.id = id;
  if (wide) box.className = "wide";
  const name = document.createElement("p");
  name.textContent = `${id.split("--")[0]} · ${title}`;
  const el = document.createElement("div");
  box.append(name, el);
  place.append(box);
  const model = new Model(state);
  model.stop = loaded[script].render({ model, el });
  models.push(model);
  box.model = model;
}
const all = (name, value) => { for (const model of models) { model.set(name, value); model.save_changes(); } };
const theme = (value) => { document.documentElement.dataset.theme = value; };
const lang = (value) => { document.documentElement.lang = value === "en" ? "en" : "zh-CN"; all("lang", value); };
document.getElementById("theme").onclick = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
document.getElementById("lang").onclick = () => lang(models[0].get("lang") === "en" ? "zh" : "en");
theme(location.hash.includes("dark") ? "dark" : "light");
if (location.hash.includes("en")) lang("en");
window.gallery = { models, all, theme, lang, loaded };
document.documentElement.dataset.ready = "yes";
</script></body></html>
"""
_WIDE = {"AnswerStrip", "CostCurve", "Stepper", "PhaseList", "Lanes", "KeyNumbers", "RuleBuilder", "LineDiagram", "LineChart", "KeyLife"}


def page(shown: Sequence[Sample] | None = None) -> str:
    """The gallery as one HTML text; ``shown`` replaces the usual samples."""
    modules: dict[str, str] = {}
    entries = []
    counts: dict[str, int] = {}
    for sample in samples() if shown is None else shown:
        widget = sample.component(**sample.traits)
        name = sample.component.__name__
        counts[name] = counts.get(name, 0) + 1
        modules[widget.script] = str(widget._esm)
        entries.append(
            {
                "script": widget.script,
                "title": sample.title,
                "id": f"{name}--{counts[name]}",
                "wide": name in _WIDE,
                "state": plain_state(widget),
            }
        )
        widget.close()
    data = json.dumps({"modules": modules, "shown": entries}, ensure_ascii=False).replace("<", "\\u003c")
    return _PAGE.replace("@DATA@", data)


def plain_state(widget: Component) -> dict[str, Any]:  # Any: JSON data of the component
    """The traits the browser gets, without those of the notebook's own machinery."""
    return {name: getattr(widget, name) for name in synced_traits(widget)}


def main(arguments: Sequence[str]) -> int:
    """Write the page to the file named by the only argument; 64 for wrong usage."""
    if len(arguments) != 1:
        print("usage: python -m workbench_widgets.gallery FILE.html", file=sys.stderr)
        return 64
    Path(arguments[0]).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
