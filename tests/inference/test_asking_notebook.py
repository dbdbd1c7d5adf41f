"""Questions from a notebook and the command line: what is shown, what is never saved, how the words are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.inference.ask_samples import answer
from workbench.client import Record
from workbench.client.asking import MARK, Answer, ask
from workbench.cli import build_parser
from workbench.commands import asking as command
from workbench.errors import InvalidRequest
from workbench.jupyter import magics
from workbench.jupyter.notebook_cleaning import clean


def recorded(value: Any) -> Any:
    """As the client gives a reply: every object a Record."""
    return json.loads(json.dumps(value), object_hook=Record)


class Replies:
    """A client whose node answers what a test hands it; stops are counted."""

    def __init__(self, *told: dict[str, Any], interrupt: bool = False) -> None:
        self.told, self.calls, self.interrupt = list(told), [], interrupt

    def __enter__(self) -> Replies:
        return self

    def __exit__(self, *_: object) -> None: ...

    def call(self, name: str, **request: Any) -> Any:
        self.calls.append((name, request))
        if name == "inference.ask":
            return Record({"ask": self.told[0]["ask"], "waiting": 0})
        if name == "inference.ask_progress":
            if self.interrupt:
                self.interrupt = False
                raise KeyboardInterrupt
            after = request["after"]
            return recorded({"ask": self.told[min(after, len(self.told) - 1)], "next": after + 1})
        return Record({})


def test_a_question_is_followed_to_its_end_and_shown_with_its_citations() -> None:
    drafts: list[str] = []
    client = Replies(answer(state="QUEUED", text=""), answer(state="STREAMING", text="F0132"), answer())
    found = ask(client, "费率多少？", scenario="advice", tell=lambda told: drafts.append(str(told.state)))  # type: ignore[arg-type]
    assert drafts == ["QUEUED", "STREAMING", "ANSWERED"] and found.state == "ANSWERED"
    assert "[1]" in found.text and "⟦" not in found.text and "F0132" not in repr(found)
    shown = found._repr_html_()
    assert MARK in shown and "<sup>[1]</sup>" in shown and "AI 生成" in shown and "extractive" in shown and len(found.citations) == 2
    wild = Answer(client, recorded(answer(text="<script>x</script>", zh="<b>")))  # type: ignore[arg-type]
    assert "<script>" not in wild._repr_html_() and "<b>" not in wild._repr_html_()


def test_an_interrupted_cell_stops_the_answer_and_shows_what_it_ended_as() -> None:
    client = Replies(answer(state="STOPPED", text=""), interrupt=True)
    assert ask(client, "费率多少？", scenario="advice").state == "STOPPED"  # type: ignore[arg-type]
    assert "inference.ask_stop" in [name for name, _ in client.calls]


def test_an_answer_is_not_saved_with_its_notebook() -> None:
    found = Answer(Replies(), recorded(answer()))  # type: ignore[arg-type]
    output = {"output_type": "execute_result", "data": {"text/html": found._repr_html_(), "text/plain": repr(found)}}
    notebook = {"cells": [{"cell_type": "code", "source": "%%ask advice\n手机 13912345678 的客户问费率", "outputs": [output]}]}
    assert clean(notebook) == 2
    assert notebook["cells"][0]["outputs"] == [] and "13912345678" not in str(notebook)


def test_the_words_of_the_cell_magic_are_read_and_others_are_refused() -> None:
    words = magics.parse("advice --model extractive --class C3")
    assert (words.scenario, words.model, words.client_class) == ("advice", "extractive", "C3")
    for wrong in ("", "advice --what", "advice 'open"):
        with pytest.raises(InvalidRequest):
            magics.parse(wrong)
    known: dict[str, Any] = {}

    class Shell:
        def register_magic_function(self, function: Any, *, magic_kind: str, magic_name: str) -> None:
            known[f"{magic_kind} {magic_name}"] = function

    magics.load_ipython_extension(Shell())
    assert known == {"cell ask": magics.ask}


def test_the_command_prints_the_answer_with_its_sources_and_its_exit_status_says_what_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = {"ANSWERED": 0, "ABSTAINED": 0, "REFUSED": 2, "CUT": 1, "FAILED": 1}
    for state, status in states.items():
        client = Replies(answer(state="STREAMING", text="F0132 管理费"), answer(state=state, text="F0132 管理费每年 0.30 %⟦1⟧"))
        monkeypatch.setattr(command, "client_for", lambda *_: client)  # noqa: B023 - called before the next turn
        monkeypatch.setattr(command, "workspace_of", lambda _: None)
        options = build_parser().parse_args(["ask", "demo", "费率多少？", "--party", "broker", "--documents", "fund,news"])
        assert command.ask(options) == status
        said = capsys.readouterr()
        assert "[1] F0132 资料概要（合成）" in said.out and "F0132 管理费" in said.err
        assert client.calls[0][1]["kinds"] == ["fund", "news"]
