"""Documents that go along with one question: chosen beside it, read for this answer alone, in no corpus."""

from __future__ import annotations

from typing import Any, Final

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.app.parts.upload import Upload

KINDS: Final = ("news", "fund", "quote", "prompt", "question")
MOST_FILES: Final = 8
MOST_BYTES: Final = 16 << 20


class Enclosed:
    """Files of one question, in the memory of this tab until it is sent. root: what stands above the buttons of the composer."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.files: list[tuple[str, bytes]] = []
        self.kind = layout.select(page, "ask.enclosed.kind", options={})
        self.upload = Upload(self._took, self._too_large, limit=MOST_BYTES)
        self.upload.accept = ".csv,.xlsx,.jsonl,.pdf,.md"
        self.told = Notes(framed=False)
        self.button = layout.button(page, "ask.enclosed.add", self._show)
        self.clear = layout.button(page, "ask.enclosed.clear", self.empty)
        self._place = layout.stack(layout.fields(self.kind), self.upload)
        self.root = layout.stack(self._place, self.told)
        self._place.visible = self.clear.visible = False

    def _show(self) -> None:
        self._place.visible = not self._place.visible
        self.draw()

    def _took(self, name: str, content: bytes) -> None:
        if len(self.files) < MOST_FILES:
            self.files.append((name, content))
        self._place.visible = False
        self.draw()
        if len(self.files) == MOST_FILES:
            self.told.tell(*self._list(), notes.text(self.page.t("ask.enclosed.most", most=MOST_FILES), meta=True))

    def _too_large(self, name: str, _size: int) -> None:
        self.told.tell(*self._list(), notes.text(self.page.t("upload.too_large", name=name), tone="failed"))

    def empty(self) -> None:
        """Nothing goes along with the next question."""
        self.files, self._place.visible = [], False
        self.draw()

    async def request(self) -> dict[str, Any]:
        """Hand the files to the node; fields of the question. The node keeps them until the question was taken in or refused."""
        page = self.page
        ids = [await page.run(page.client.upload_bytes, name, content) for name, content in self.files]
        return {"files": ids, "files_kind": str(self.kind.value or KINDS[0])} if ids else {}

    def _list(self) -> list[Any]:
        names = [name for name, _ in self.files]
        return [notes.bullets(names, title=self.page.t("ask.enclosed"), mark="check"), notes.text(self.page.t("ask.enclosed.means"), meta=True)] if names else []

    def draw(self) -> None:
        """Texts in the present language; what was chosen stays."""
        t = self.page.t
        layout.set_options(self.kind, {t(f"option.kind.{one}"): one for one in KINDS}, self.kind.value or KINDS[0])
        self.upload.say(choose=t("upload.choose"), hint=t("ask.enclosed.hint"), sending=t("upload.sending", share="{share}"))
        self.clear.visible = bool(self.files)
        self.told.tell(*self._list())


__all__ = ["Enclosed"]
