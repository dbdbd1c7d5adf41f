"""The workbench in a notebook: pages as frames, and the same actions without any page.

A notebook's token reads, proposes and runs. Approving, exporting and withdrawing happen on the node's own page, so a
notebook that somebody else wrote cannot do them (decision 18). Every value shown here comes masked from the node.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from workbench.client.asking import Answer, ask
from workbench.client.display import Rows, make_widget, show
from workbench.client.session import Client, Record
from workbench.client.timeline import PAGE_ROWS, join_pages
from workbench.errors import Cancelled, Refused, WorkbenchError

POLL_S = 0.25
WAIT_FOR_APPROVAL_S = 120.0
PAGE_HEIGHT_PX = 760
WAITING = frozenset({"PROPOSED", "APPROVED"})
PHASES = {
    "prepare": ("准备", "preparing"),
    "mask": ("遮蔽标识", "masking"),
    "compare": ("比对密文", "comparing ciphertext"),
    "count": ("核对人数", "counting"),
    "strike": ("剔除已撤回", "striking withdrawn"),
    "reveal": ("揭示", "revealing"),
    "check": ("放行前复核", "last check"),
    "compare-results": ("核对结果", "comparing results"),
}


class NotebookWorkbench:
    """The own institution's node for one signed-in person. `client` reaches every operation open to a notebook.

    lang: "zh" or "en", for what widgets and sentences say here.
    """

    def __init__(self, client: Client, *, base_url: str = "/", lang: str = "zh") -> None:
        self.client = client
        self.lang = lang
        self._base_url = base_url
        self._me: Record | None = None

    def __repr__(self) -> str:
        me = self.me
        roles = "、".join(zh for zh, _ in me.me.role_names) if self.lang == "zh" else ", ".join(en for _, en in me.me.role_names)
        name = me.party_zh if self.lang == "zh" else me.party_en
        return f"{name} · {me.me.display_name} · {roles}"

    @property
    def me(self) -> Record:
        """Who is signed in: the reply of people.me."""
        if self._me is None:
            self._me = Record(self.client.call("people.me"))
        return self._me

    def page(self, name: str, /, *, height_px: int = PAGE_HEIGHT_PX, **params: str) -> Any:
        """A page of the workbench below the cell, e.g. wb.page("intersection") or wb.page("evidence", job="J-…")."""
        from IPython.display import IFrame

        query = urlencode({**params, "lang": self.lang, "name": name})
        source = f"{self._base_url.rstrip('/')}/workbench/app/page?{query}"
        return IFrame(src=source, width="100%", height=height_px)

    # ------------------------------------------------------------------ reading

    def lists(self) -> Rows:
        """The institution's customer lists: id, name, rows, class, tags."""
        return Rows(self.client.call("lists.all").lists, ("list_id", "name", "rows", "data_class", "tags"))

    def jobs(self) -> Rows:
        """Intersections, the most recently changed first."""
        return Rows(self.client.call("intersection.jobs").jobs, ("job", "partner", "purpose", "state", "side"))

    def job(self, job: str) -> IntersectionJob:
        """One intersection by its id."""
        return IntersectionJob(self, Record(self.client.call("intersection.job", job=job)))

    def evidence(self, job: IntersectionJob | str = "", *, limit: int = PAGE_ROWS) -> Timeline:
        """The newest entries of a job, joined from both institutions' logs; of the own log without a job.

        limit: own entries of one page, at most 1,000. A longer story says so; `older()` reads the page before it.
        """
        named = job.job if isinstance(job, IntersectionJob) else job
        return Timeline(self, named, limit, self.client.call("evidence.timeline", job=named, limit=limit))

    def estimate(
        self, partner: str, *, purpose: str, audience: str = "", key_kind: str = "phone", list_id: str = ""
    ) -> Record:
        """What an intersection would bring in: the waterfall of consent, seconds and bytes. Nothing is proposed."""
        return Record(
            self.client.call(
                "intersection.preview", partner=partner, purpose=purpose, audience=audience, key_kind=key_kind, list_id=list_id
            )
        )

    # ------------------------------------------------------------------ acting

    def intersect(
        self,
        partner: str,
        *,
        purpose: str,
        audience: str = "",
        key_kind: str = "phone",
        minimum_crowd: int = 50,
        timeout_s: int = 600,
        list_id: str = "",
        columns: Sequence[str] = (),
        wait: bool = True,
        approval_wait_s: float = WAIT_FOR_APPROVAL_S,
    ) -> IntersectionJob:
        """Propose an intersection, show its progress, and wait for the partner's approval and the end.

        partner: id of the institution. audience: rule such as "资产档 in (A,B) and risk_level >= C3". wait False returns at once; so does a partner who
        has not approved within approval_wait_s: the job goes on by itself, `job.wait()` takes up the waiting again.
        Interrupting the kernel while waiting cancels the job. Raises what the node refuses, e.g. EMPTY_AUDIENCE.
        """
        proposed = self.client.call(
            "intersection.propose", partner=partner, purpose=purpose, audience=audience, key_kind=key_kind,
            minimum_crowd=minimum_crowd, timeout_s=timeout_s, list_id=list_id, columns=list(columns),
        )  # fmt: skip
        job = IntersectionJob(self, Record(proposed))
        job.show_progress()
        return job.wait(approval_wait_s=approval_wait_s) if wait else job

    def ask(
        self, question: str, *, scenario: str = "advice", model: str = "", kinds: Sequence[str] = (), client_class: str = "",
        documents: Sequence[str | Path] = (), documents_kind: str = "news",
    ) -> Answer:  # fmt: skip
        """Ask a model in a leased sandbox and wait for its answer; interrupting the kernel stops it.

        scenario: one of this person's; model: name of an image, "" for the leased one; kinds: of documents, none for all of the
        scenario's; client_class: C1 to C5 of the customer it is about; documents: files that may be read for this question alone, of documents_kind. Raises
        what the node refuses, e.g. ASK_DENIED, NO_LEASE.
        """
        return ask(
            self.client, question, scenario=scenario, model=model, lang=self.lang, documents=documents, kinds=list(kinds), client_class=client_class,
            files_kind=documents_kind,
        )  # fmt: skip

    def party_name(self, party: str, *, lang: str = "") -> str:
        """What the institution is called in this language, or in `lang`; one that has left keeps its name."""
        names = {one: (zh, en) for one, zh, en in (*self.me.parties, *self.me.former)}
        return str(names.get(party, (party, party))[0 if (lang or self.lang) == "zh" else 1])


class Timeline(Rows):
    """Entries of a job or of the own log, the oldest of those read so far first; `full_count` says how many there are in all."""

    def __init__(self, workbench: NotebookWorkbench, job: str, limit: int, reply: Record) -> None:
        super().__init__(reply.entries, ("log", "index", "zh" if workbench.lang == "zh" else "en", "seal", "cosigners"))
        self._workbench, self._job, self._limit, self._reply = workbench, job, limit, reply

    @property
    def full_count(self) -> int:
        """Entries of the whole job in all logs; without a job, of the whole own log."""
        return int(self._reply["count"] if self._job else self._reply["total"])

    @property
    def is_whole(self) -> bool:
        """Whether nothing older is left to read."""
        return not (self._reply["more"] and self)

    def older(self) -> Timeline:
        """These entries and those of the page before them; the same when nothing is older."""
        if self.is_whole:
            return self
        further = {"older": self._reply["older"]} if self._job else {"before": self[0]["index"]}
        before = self._workbench.client.call("evidence.timeline", job=self._job, limit=self._limit, **further)
        # A log has an order of its own, a job only that of time.
        joined = join_pages(before, self._reply) if self._job else {**self._reply, "entries": [*before["entries"], *self], "more": before["more"]}
        return Timeline(self._workbench, self._job, self._limit, Record(joined))

    def __repr__(self) -> str:
        return "\n".join(filter(None, (super().__repr__(), self._rest())))

    def _repr_html_(self) -> str:
        rest = self._rest()
        return super()._repr_html_() + (f"<p>{html.escape(rest)}</p>" if rest else "")

    def _rest(self) -> str:
        if self.is_whole:
            return ""
        if self._workbench.lang == "zh":
            return f"已读最新 {len(self):,} 条，共 {self.full_count:,} 条；用 .older() 读更早的"
        return f"the newest {len(self):,} of {self.full_count:,} entries; .older() reads the page before"


class IntersectionJob:
    """One intersection as this side sees it; `info` is the node's last word about it."""

    def __init__(self, workbench: NotebookWorkbench, info: Record) -> None:
        self._workbench = workbench
        self.info = info
        self._progress: _Progress | None = None

    def __repr__(self) -> str:
        return f"{self.job} {self._sentence()}"

    @property
    def job(self) -> str:
        """The id, J-…."""
        return str(self.info.job)

    @property
    def state(self) -> str:
        """The state at the last look: PROPOSED … RELEASED, REFUSED_SMALL, …"""
        return str(self.info.state)

    @property
    def error(self) -> Record | None:
        """Why it ended without a result: code and sentences; None otherwise."""
        return Record(self.info.error) if self.info.error else None

    @property
    def waterfall(self) -> Rows:
        """From all customers to those that may be used, each step with its losses and their reasons."""
        return Rows(self.info.waterfall, ("zh" if self._workbench.lang == "zh" else "en", "kept", "removed", "reasons"))

    def refresh(self) -> IntersectionJob:
        """Ask the node once."""
        self.info = Record(self._workbench.client.call("intersection.job", job=self.job))
        return self

    def wait(self, *, approval_wait_s: float = WAIT_FOR_APPROVAL_S) -> IntersectionJob:
        """Wait for the end; interrupting the kernel cancels the job.

        Returns as it is when the partner has not approved within approval_wait_s: an approval may take days.
        """
        limit = time.monotonic() + approval_wait_s
        try:
            while not self.refresh().info.is_final:
                if self.state in WAITING and time.monotonic() > limit:
                    break
                if self._progress is not None:
                    self._progress.follow(self.info)
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            self.cancel()
            raise Cancelled("已取消，没有产生结果；记录保留", "Cancelled; no result exists, the records stay") from None
        if self._progress is not None:
            self._progress.follow(self.info)
        return self

    def cancel(self) -> IntersectionJob:
        """Stop it: no result will exist, the records stay. Refused when it is too late."""
        self.info = Record(self._workbench.client.call("intersection.cancel", job=self.job))
        return self

    def show_progress(self) -> None:
        """Show a bar with a cancel button; it follows the job by itself, also while other cells run."""
        self._progress = _Progress(self)

    def result(self, count: int = 20, *, offset: int = 0) -> Rows:
        """Released customers, masked, sorted by the key; each look is recorded. Refused before the release."""
        reply = self._workbench.client.call("intersection.result", job=self.job, offset=offset, limit=count)
        return Rows(reply.rows, reply.columns)

    def receipt(self) -> Record:
        """The receipt that anybody can verify offline with `workbench verify`; sealed says who co-signed, "3/3"."""
        return Record(self._workbench.client.call("evidence.receipt", job=self.job))

    def venn(self) -> Any:
        """Two circles: ours, theirs as far as it can be known, and the customers that can be used."""
        if self.state != "RELEASED":
            raise Refused(f"{self.job} 没有放行，没有可画的结果", f"{self.job} was not released", code="NOT_RELEASED")
        me, result = self._workbench.me, self.info.result
        steps = {row.code: row.kept for row in self.info.waterfall}
        mine_name, partner_name = (self._workbench.party_name(one) for one in (me.me.party, self.info.partner))
        shown = make_widget(
            "venn",
            mine={"tile": me.party_zh[:1], "name": mine_name, "mine": True, "count": steps["consent"]},
            partner={"tile": self._tile(), "name": partner_name, "bucket": result.partner_bucket},
            released=result.released,
            dropped=result.cardinality - result.released,
            lang=self._workbench.lang,
        )
        return shown if shown is not None else repr(self)

    def _tile(self) -> str:
        return self._workbench.party_name(str(self.info.partner), lang="zh")[:1]

    def _sentence(self) -> str:
        zh = self._workbench.lang == "zh"
        partner = self._workbench.party_name(str(self.info.partner))
        if self.state == "RELEASED":
            count = f"{self.info.result.released:,}"
            return f"{count} 位客户可用：双方都认得，此刻都有授权" if zh else f"{count} customers can be used"
        if self.error is not None:
            return f"{self.error.zh if zh else self.error.en} [{self.error.code}]"
        if self.state == "PROPOSED":
            return f"等{partner}批准，可以离开" if zh else f"waiting for {partner} to approve; you may leave"
        return self.state


class _Progress:
    """A progress widget that follows one job from a thread of its own; its button cancels the job."""

    def __init__(self, job: IntersectionJob) -> None:
        zh = job._workbench.lang == "zh"
        self._job = job
        self._zh = zh
        self._lock = threading.Lock()
        self._widget = make_widget(
            "progress",
            phase=job._sentence(),
            stays="已有的记录保留" if zh else "the records",
            goes="求交结果" if zh else "the result",
            cancel_label="取消求交" if zh else "Cancel the intersection",
            lang=job._workbench.lang,
        )
        if self._widget is None:
            show(repr(job))
            return
        self._widget.on_action(lambda name, payload: self._cancel(), "cancel")
        show(self._widget)
        threading.Thread(target=self._watch, name=f"progress {job.job}", daemon=True).start()

    def follow(self, info: Record) -> None:
        """Show what the node last said."""
        if self._widget is None:
            return
        progress = info.progress or {}
        name = str(progress.get("name", ""))
        phase = PHASES.get(name, (name, name))[0 if self._zh else 1]
        with self._lock, self._widget.at_once():
            self._widget.done, self._widget.total = int(progress.get("done", 0)), int(progress.get("total", 0))
            self._widget.phase = self._job._sentence() if info.is_final or not phase else phase
            if info.is_final:
                is_good = info.state == "RELEASED"
                self._widget.state = "done" if is_good else "refused" if info.state == "REFUSED_SMALL" else "failed"
                self._widget.done = self._widget.total = max(1, self._widget.total)
                if not is_good:
                    self._widget.notice = {"sentence": self._job._sentence(), "code": str(info.error.get("code", info.state))}

    def _cancel(self) -> None:
        self._widget.cancelling = True
        try:
            self._job.cancel()
        except WorkbenchError as refusal:
            self._widget.cancelling = False
            self._widget.cannot_cancel = refusal.zh if self._zh else refusal.en

    def _watch(self) -> None:
        while True:
            try:
                info = Record(self._job._workbench.client.call("intersection.job", job=self._job.job))
                self._job.info = info
                self.follow(info)
            except WorkbenchError:
                time.sleep(10 * POLL_S)  # the node is away, or nobody is signed in; the bar keeps its last values
                continue
            if info.is_final:
                return
            time.sleep(2 * POLL_S)


__all__ = ["IntersectionJob", "NotebookWorkbench", "Timeline"]
