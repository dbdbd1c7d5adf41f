"""What a page says first about a job: a sentence, its reason, who does what next. One function for every state. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workbench_psi.pages.names import WORKING, Names, Translate, error_sentence
from workbench_widgets import formats

Job = Mapping[str, Any]
"""One JobInfo of the node (operation intersection.job)."""

PHASES = ("prepare", "mask", "compare", "count", "strike", "reveal", "check", "compare-results", "seal")
"""The engine's phases in order, then sealing, which is the host's."""
TIMED_PHASES = ("prepare", "mask", "compare")
"""Phases long enough, and even enough, that their remaining time can be told."""
SHORTEST_TOLD_S = 3.0
"""Below this the elapsed time says too little about the rest."""


@dataclass(frozen=True, slots=True)
class Action:
    """A button of the answer strip; label is a finished text."""

    name: str
    label: str
    primary: bool = False
    icon: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the answer strip shows; state is one of its states."""

    state: str
    sentence: str
    reason: str = ""
    todo: str = ""
    code: str = ""
    actions: tuple[Action, ...] = ()

    def traits(self) -> dict[str, Any]:
        """Values for the traits of an AnswerStrip."""
        actions = [
            {"name": one.name, "label": one.label, "primary": one.primary} | ({"icon": one.icon} if one.icon else {})
            for one in self.actions
        ]
        return {
            "state": self.state,
            "sentence": self.sentence,
            "reason": self.reason,
            "todo": self.todo,
            "code": self.code,
            "actions": actions,
        }


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the page knows beside the job.

    may: whether this person may call an operation. records: entries about the job in the own log, None when not read.
    cosigners, parties: how many signed the release entry, of how many; 0 when not read. asking_cancel: the person has
    pressed cancel and not yet confirmed. now_ms: the present.
    """

    now_ms: int
    may: Callable[[str], bool]
    records: int | None = None
    cosigners: int = 0
    parties: int = 0
    asking_cancel: bool = False


def answer_for(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    """The answer for any state of a job; a state this page does not know is named as it is."""
    if around.asking_cancel:
        return _asking(job, t, around)
    state = str(job["state"])
    if state in WORKING:
        return _running(job, names, t, around)
    told = _TELLERS.get(state)
    return told(job, names, t, around) if told else Answer("info", t("answer.unknown", state=state))


def title_for(job: Job, t: Translate) -> str:
    """The title of the tab: name, job and how far it is."""
    state = str(job["state"])
    short = formats.short_id(job["job"])
    progress = job["progress"]
    if state in WORKING and progress:
        return t("tab.running", job=short, share=formats.share(_share(progress)))
    return t("tab.state", job=short, state=t(f"state.{state}"))


def phase_number(progress: Mapping[str, Any]) -> int:
    """Which phase runs, from 1; 0 before the first one."""
    name = progress.get("name", "")
    return PHASES.index(name) + 1 if name in PHASES else 0


def remaining_s(progress: Mapping[str, Any]) -> float | None:
    """Seconds left in the running phase, from its own pace; None when that would be a guess."""
    elapsed = (progress["now_ms"] - progress["since_ms"]) / 1000
    share = _share(progress)
    if progress["name"] not in TIMED_PHASES or elapsed < SHORTEST_TOLD_S or not 0.05 <= share < 1:
        return None
    return float(elapsed * (1 - share) / share)


def _share(progress: Mapping[str, Any]) -> float:
    return float(progress["done"]) / progress["total"] if progress.get("total") else 0.0


def _asking(job: Job, t: Translate, around: Circumstances) -> Answer:
    waiting = job["state"] in ("PROPOSED", "APPROVED")
    stays = t("cancel.records", count=formats.count(around.records)) if around.records else t("cancel.all_records")
    return Answer(
        "pending",
        t("cancel.withdraw_sentence" if waiting and job["side"] == "initiator" else "cancel.sentence", stays=stays),
        t("cancel.reason_reveal") if job["state"] in ("REVEALING", "CHECKING") else t("cancel.reason"),
        actions=(Action("cancel_now", t("cancel.do"), icon="cross"), Action("keep", t("cancel.keep"), primary=True)),
    )


def _cancel(t: Translate, around: Circumstances, key: str = "action.cancel") -> tuple[Action, ...]:
    return (Action("cancel", t(key), icon="cross"),) if around.may("intersection.cancel") else ()


def _running(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    progress = job["progress"]
    number = phase_number(progress) if progress else 0
    if not number:
        return Answer("running", t("answer.starting"), t("answer.nobody_sees"), actions=_cancel(t, around))
    name = PHASES[number - 1]
    rest = remaining_s(progress)
    timed = t("answer.rest", rest=formats.estimate(rest, _lang(names))) if rest is not None else ""
    sentence = t(
        "answer.step", number=number, all=len(PHASES), doing=t(f"doing.{name}"), share=formats.share(_share(progress)), rest=timed
    )
    floor = formats.count(job["minimum_crowd"])
    key = "answer.after_reveal" if number >= PHASES.index("reveal") + 1 else "answer.before_reveal"
    return Answer("running", sentence, t(key, floor=floor), actions=_cancel(t, around))


def _proposed(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    lang = _lang(names)
    partner = names.party(job["partner"])
    until = formats.time(job["valid_until_ms"])
    left = formats.left((job["valid_until_ms"] - around.now_ms) / 1000, lang)
    if job["side"] == "partner":
        may = around.may("intersection.approve")
        actions = (Action("inbox", t("action.open_inbox"), primary=True),) if may else ()
        return Answer(
            "pending", t("answer.ours_decides", partner=partner), t("answer.open_until", until=until, left=left),
            t("answer.ours_todo"), actions=actions,
        )  # fmt: skip
    return Answer(
        "pending", t("answer.waits", partner=partner), t("answer.waits_reason", until=until, left=left),
        t("answer.waits_todo", partner=partner), actions=_cancel(t, around, "action.withdraw"),
    )  # fmt: skip


def _approved(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    partner = names.party(job["partner"])
    if job["side"] == "partner":
        return Answer("pending", t("answer.approved_ours", partner=partner), t("answer.approved_ours_reason"), actions=_cancel(t, around))
    again = _run_again(job, t, around)
    if job["error"]:
        return Answer(
            "refused", error_sentence(job["error"], names), t("answer.approved_stuck", partner=partner),
            code=str(job["error"].get("code", "")), actions=again,
        )  # fmt: skip
    return Answer("running", t("answer.approved", partner=partner), t("answer.nobody_sees"), actions=again)


def _sealing(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    return Answer(
        "pending",
        t("answer.sealing", partner=names.party(job["partner"])),
        t("answer.sealing_reason"),
        t("answer.sealing_todo"),
    )


def _released(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    result = job["result"]
    count, gone = int(result["released"]), int(result["cardinality"]) - int(result["released"])
    seal = ""
    if around.records and around.parties:
        key = "answer.sealed_by_all" if around.cosigners == around.parties else "answer.sealed_by"
        seal = t(key, records=formats.count(around.records), good=around.cosigners, all=around.parties)
    reason = t(
        "answer.released_reason",
        matched=formats.count(result["cardinality"]),
        floor=formats.count(job["minimum_crowd"]),
        recheck=t("answer.recheck_dropped", count=formats.count(gone)) if gone else t("answer.recheck_none"),
        seal=seal,
    )
    actions = []
    if around.may("intersection.export"):
        actions.append(Action("export", t("action.export", count=formats.count(count)), primary=True, icon="down"))
    if around.may("evidence.receipt"):
        actions.append(Action("receipt", t("action.receipt")))
    return Answer("sealed", t("answer.released", count=formats.count(count)), reason, actions=tuple(actions[:2]))


def _refused_small(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    late = str(job["error"].get("details", {}).get("after_reveal", "")) == "yes"
    key = "answer.small_late" if late else "answer.small"
    return Answer(
        "refused", t(key, floor=formats.count(job["minimum_crowd"])), t(f"{key}_reason"), t("answer.small_todo"),
        code="REFUSED_SMALL", actions=_copy(job, t, around),
    )  # fmt: skip


def _aborted(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    partner = names.party(job["partner"])
    told = error_sentence(job["error"], names)
    why = re.split(r"[。；]|\. |; ", told)[0].rstrip(".") if told else t("answer.aborted")
    again = _run_again(job, t, around)
    return Answer(
        "failed",
        why,
        t("answer.nobody_has_list"),
        t("answer.aborted_todo" if again else "answer.aborted_todo_copy", partner=partner),
        code=str(job["error"].get("code", "")),
        actions=again or _copy(job, t, around),
    )


def _aborted_after_reveal(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    details = job["error"].get("details", {})
    own = _number(details.get("own_learned"), t, exact=True)
    theirs = _number(details.get("partner_learned_at_most"), t, exact=False)
    partner = names.party(job["partner"])
    again = _run_again(job, t, around)
    return Answer(
        "failed",
        t("answer.half", own=own, theirs=theirs, partner=partner, mine=names.party(names.own)),
        t("answer.half_reason"),
        t("answer.half_todo"),
        code="ABORTED_AFTER_REVEAL",
        actions=again or _copy(job, t, around),
    )


def _disputed(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    actions = (Action("evidence", t("action.evidence"), primary=True, icon="chain"),)
    told = t("answer.disputed_todo")
    if job["error"].get("dispute_closed_ms"):
        time = formats.time(int(job["error"]["dispute_closed_ms"]), "zh" if names.lang == "zh" else "en")
        told = t("answer.dispute_closed", time=time, by=job["error"]["dispute_closed_by"])
    return Answer("tampered", t("answer.disputed"), error_sentence(job["error"], names), told, code="DISPUTED", actions=actions)


def _rejected(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
    ours = job["side"] == "partner"
    key = "answer.rejected_ours" if ours else "answer.rejected"
    return Answer(
        "refused", t(key, partner=names.party(job["partner"])), t("answer.nothing_happened"), "" if ours else t("answer.rejected_todo"),
        code="REJECTED", actions=() if ours else _copy(job, t, around),
    )  # fmt: skip


def _over(key: str) -> Callable[[Job, Names, Translate, Circumstances], Answer]:
    def tell(job: Job, names: Names, t: Translate, around: Circumstances) -> Answer:
        ours = job["side"] == "initiator"
        values = {"partner": names.party(job["partner"]), "until": formats.time(job["valid_until_ms"])}
        code = str(job["error"].get("code", "")) if job["error"] else ""
        reason = t("answer.nothing_happened")
        if key == "cancelled" and job["attempt"]:
            reason = t("answer.cancelled_reason")
        if code == "STOPPED_BY_PARTNER" or code == "APPROVAL_REFUSED":
            reason = f"{error_sentence(job['error'], names)}{t('answer.stop')}{reason}"
        sentence = t(f"answer.{key}" if ours else f"answer.{key}_partner", **values)
        return Answer("info", sentence, reason, actions=_copy(job, t, around))

    return tell


def _copy(job: Job, t: Translate, around: Circumstances) -> tuple[Action, ...]:
    if job["side"] != "initiator" or not around.may("intersection.propose"):
        return ()
    return (Action("copy", t("action.copy"), icon="copy"),)


def _run_again(job: Job, t: Translate, around: Circumstances) -> tuple[Action, ...]:
    if not job["can_run_again"] or not around.may("intersection.run"):
        return ()
    first = job["attempt"] == 0
    return (Action("run", t("action.run" if first else "action.run_again"), primary=True, icon="play"),)


def _number(value: Any, t: Translate, *, exact: bool) -> str:
    if not str(value or "").isdigit():
        return t("word.unknown")
    count = formats.count(int(value))
    return count if exact else t("word.at_most", count=count)


def _lang(names: Names) -> formats.Lang:
    return "zh" if names.lang == "zh" else "en"


_TELLERS: Mapping[str, Callable[[Job, Names, Translate, Circumstances], Answer]] = {
    "PROPOSED": _proposed,
    "APPROVED": _approved,
    "SEALING": _sealing,
    "RELEASED": _released,
    "REFUSED_SMALL": _refused_small,
    "ABORTED": _aborted,
    "ABORTED_AFTER_REVEAL": _aborted_after_reveal,
    "DISPUTED": _disputed,
    "REJECTED": _rejected,
    "WITHDRAWN": _over("withdrawn"),
    "EXPIRED": _over("expired"),
    "CANCELLED": _over("cancelled"),
}
