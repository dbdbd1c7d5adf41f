"""What waits for this person on other pages: clocks of the rights desk, withdrawals, contact stops, decisions of a second person.

Read through the operations of those pages, for whoever may act there; nothing that is read here leaves an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workbench.app.page import PageContext, is_offline, is_signed_out
from workbench.errors import WorkbenchError
from workbench_ledger.pages.agenda import Due, urgency
from workbench_ledger.pages.words import Words

Reply = Mapping[str, Any]
Found = dict[str, Any]
"""Replies by operation, None where reading failed; letters about withdrawals also by "consent.withdrawals/<state>"."""
SHOWN = 20
"""So many lines of one kind, those that are due first; the others are counted in one line."""
READS: Mapping[str, tuple[str, str, str, Mapping[str, Any]]] = {
    "rights.list": ("rights.decide", "rights", "requests", {"state": "open", "limit": 500}),
    "complaints.list": ("complaints.told", "rights", "complaints", {"state": "open", "limit": 500}),
    "complaints.tasks": ("complaints.finish_task", "rights", "tasks", {"open": True}),
    "consent.withdrawals": ("consent.tell_again", "consent", "withdrawals", {"state": "overdue", "limit": 500}),
    "consent.contact_stops": ("consent.contact_stop_file", "consent", "stops", {"open_only": True, "limit": 500}),
    "consent.backdatings": ("consent.backdating_approve", "consent", "capture", {}),
    "notices.list": ("notices.publish", "consent", "notices", {}),
    "assessment.list": ("assessment.approve", "assessment", "assessments", {}),
}
"""Operation that tells -> operation that acts, page, its section, request."""
CHECKS: Mapping[str, str] = {
    "rights": "rights.list", "complaints": "complaints.list", "tasks": "complaints.tasks", "withdrawals": "consent.withdrawals",
    "contact stops": "consent.contact_stops",
}  # fmt: skip
"""Lines of health that say in one sentence what these operations say one by one."""


async def read(page: PageContext) -> Found:
    """Ask everything this person may act on. What cannot be read is None; only an absent node or session raises."""
    found: Found = {}
    for operation, (act, _, _, request) in READS.items():
        if not (page.may(operation) and page.may(act)):
            continue
        try:
            found[operation] = await page.run(page.client.call, operation, **request)
            if operation == "consent.withdrawals":
                for state in ("refused", "waiting"):
                    if found[operation]["counts"].get(state):
                        found[f"{operation}/{state}"] = await page.run(page.client.call, operation, state=state, limit=500)
        except WorkbenchError as error:
            if is_offline(error) or is_signed_out(error):
                raise
            found[operation] = None
    return found


def covered(found: Found) -> set[str]:
    """Names of the lines of health that need not be shown beside these."""
    return {check for check, operation in CHECKS.items() if found.get(operation) is not None}


def due(found: Found, me: str, words: Words) -> list[Due]:
    """One line a thing. me: display name of this person, who does not decide on what they proposed. Pure."""
    made: list[Due] = []
    for operation, told in _LINES.items():
        reply, (_, page, section, _) = found.get(operation), READS[operation]
        where = (("section", section),)
        if operation in found and reply is None:
            made.append(Due(f"unread:{operation}", words.t("due.unread", what=words.t(f"due.of.{operation}")), None, page, where))
        elif reply is not None:
            lines = sorted(told(reply, me, words), key=urgency)
            made += lines[:SHOWN]
            if len(lines) > SHOWN:
                rest = words.t("due.more", count=words.count(len(lines) - SHOWN), what=words.t(f"due.of.{operation}"))
                made.append(Due(f"more:{operation}", rest, lines[SHOWN].until_ms, page, where))
    return made + list(_letters(found, "refused", words))


def letters_waiting(found: Found, words: Words) -> list[tuple[str, str, str]]:
    """Partners who were told of withdrawals and still have time to answer: rows of what is under way."""
    return [(one.id, one.text, "pending") for one in _letters(found, "waiting", words)]


def _days(case: Reply, words: Words) -> str:
    """A clock of working days in words; the day itself where no holiday table reached it says so."""
    left = int(case["days_left"])
    if case["is_overdue"]:
        told = words.t("clock.overdue", days=abs(left)) if left < 0 else words.t("clock.overdue_today")
    else:
        told = words.t("clock.left", days=left) if left > 0 else words.t("clock.today")
    return words.t("clock.estimated", clock=told) if case["is_estimated"] else told


def _requests(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    for one in reply["requests"]:
        text = words.t("due.request", number=one["request"], kind=one[f"kind_{words.lang}"], state=one[f"state_{words.lang}"])
        yield Due(f"request:{one['request']}", text, int(one["due_ms"]), "rights", (("request", one["request"]),), left=_days(one, words), day=one["due_day"])


def _complaints(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    """The clock of working days stops when the customer was told; the complaint stays until it is closed."""
    for one in reply["complaints"]:
        key = "due.complaint_told" if one["told_ms"] else "due.complaint"
        text = words.t(key, number=one["complaint"], kind=one[f"category_{words.lang}"])
        where = (("complaint", one["complaint"]),)
        if one["told_ms"]:
            yield Due(f"complaint:{one['complaint']}", text, None, "rights", where)
        else:
            yield Due(f"complaint:{one['complaint']}", text, int(one["due_ms"]), "rights", where, left=_days(one, words), day=one["due_day"])


def _tasks(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    for one in reply["tasks"]:
        if one["state"] == "OPEN" and one["party"] == words.own:
            text = words.t(f"due.{one['kind']}", number=one["complaint"] or one["group"])
            yield Due(f"task:{one['task']}", text, int(one["due_ms"]), "rights", (("section", "tasks"),), day=one["due_day"])


def _letters(found: Found, state: str, words: Words) -> Iterator[Due]:
    """Letters about withdrawals in one state, a line a partner."""
    name = "consent.withdrawals" if state == "overdue" else f"consent.withdrawals/{state}"
    by_partner: dict[str, list[int]] = {}
    for one in (found.get(name) or {"withdrawals": []})["withdrawals"]:
        for told in one["partners"]:
            if told["state"] == state:
                by_partner.setdefault(str(told["partner"]), []).append(int(told["due_ms"]))
    for partner, limits in sorted(by_partner.items()):
        text = words.t(f"due.letter.{state}", partner=words.party(partner), count=words.count(len(limits)))
        limit = None if state == "refused" else min(limits)
        yield Due(f"letter:{state}:{partner}", text, limit, "consent", (("section", "withdrawals"), ("state", state)))


def _overdue(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    yield from _letters({"consent.withdrawals": reply}, "overdue", words)


def _stops(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    """A line a job: contact stops at once, so there is no limit to wait for."""
    by_job: dict[str, list[Reply]] = {}
    for one in reply["stops"]:
        if not one["taken_ms"]:
            by_job.setdefault(str(one["job"]), []).append(one)
    for job, stops in by_job.items():
        text = words.t("due.stop", job=f"…{job[-8:]}", partner=words.party(stops[0]["partner"]), count=words.count(len(stops)))
        since = min(int(one["at_ms"]) for one in stops)
        yield Due(f"stop:{job}", text, since, "consent", (("section", "stops"),), left=words.t("home.at_once"), at_once=True)


def _backdatings(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    for one in reply["proposals"]:
        if one["state"] == "WAITING" and not one["mine"]:
            text = words.t("due.backdating", number=one["proposal"], count=words.count(int(one["most"])))
            yield Due(f"backdating:{one['proposal']}", text, None, "consent", (("section", "capture"),))


def _notices(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    for one in reply["rows"]:
        if one["state"] == "PROPOSED" and one["proposed_by"] != me:
            text = words.t("due.notice", title=words.both(one["title"]) or one["notice"], version=one["version"])
            yield Due(f"notice:{one['notice']}/{one['version']}", text, None, "consent", (("section", "notices"),))


def _assessments(reply: Reply, me: str, words: Words) -> Iterator[Due]:
    for one in reply["assessments"]:
        if one["state"] == "SUBMITTED" and one["submitted_by"] != me:
            names = {part: one[f"{part}_{words.lang}"] for part in ("purpose", "recipient")}
            text = words.t("due.assessment", number=one["assessment"], **names)
            yield Due(f"assessment:{one['assessment']}", text, None, "assessment", (("assessment", one["assessment"]),))


_LINES: Mapping[str, Callable[[Reply, str, Words], Iterator[Due]]] = {
    "rights.list": _requests, "complaints.list": _complaints, "complaints.tasks": _tasks, "consent.withdrawals": _overdue,
    "consent.contact_stops": _stops, "consent.backdatings": _backdatings, "notices.list": _notices, "assessment.list": _assessments,
}  # fmt: skip


__all__ = ["CHECKS", "READS", "SHOWN", "Found", "covered", "due", "letters_waiting", "read"]
