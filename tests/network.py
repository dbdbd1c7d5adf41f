"""A link in memory between two protocol sessions, which can drop, repeat, reorder, truncate and alter messages.

The link does what a host does and no more: it carries payloads in order, insists on the kind a session asks for, and
tells a session when its partner has gone silent. What the network does to the messages is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.contracts import (
    AskDropped,
    AskStruck,
    IntersectionOutcome,
    Mark,
    Phase,
    Receive,
    Send,
    Session,
)
from workbench.errors import PeerUnavailable, ProtocolViolation, WorkbenchError


@dataclass(frozen=True)
class Message:
    """One message on the wire. number: 0, 1, 2 … among all messages of its sender; nth: among those of its kind."""

    sender: str
    number: int
    kind: str
    nth: int
    payload: bytes = field(repr=False)

    def carrying(self, payload: bytes) -> Message:
        return Message(self.sender, self.number, self.kind, self.nth, payload)

    def instead(self, _: bytes) -> bytes:
        """This message's payload, whatever another one carries: for `alter`."""
        return self.payload


Fault = Callable[[Message], Iterable[Message]]
"""What the network delivers for a message: normally itself. Held-back messages are given with a later call."""


def deliver(message: Message) -> list[Message]:
    """A network without faults."""
    return [message]


def drop(sender: str, kind: str, nth: int = 0) -> Fault:
    """Lose one message."""
    return _at(sender, kind, nth, lambda _: [])


def silence(sender: str, kind: str, nth: int = 0) -> Fault:
    """From one message on, nothing of this sender arrives any more: it was killed, frozen or cut off."""
    gone: list[Message] = []

    def fault(message: Message) -> list[Message]:
        if (message.sender, message.kind, message.nth) == (sender, kind, nth):
            gone.append(message)
        return [] if gone and message.sender == sender else [message]

    return fault


def repeat(sender: str, kind: str, nth: int = 0) -> Fault:
    """Deliver one message twice."""
    return _at(sender, kind, nth, lambda message: [message, message])


def truncate(sender: str, kind: str, nth: int = 0, *, by: int = 1) -> Fault:
    """Cut the end off one message."""
    return alter(sender, kind, lambda payload: payload[:-by], nth)


def alter(sender: str, kind: str, change: Callable[[bytes], bytes], nth: int = 0) -> Fault:
    """Replace the payload of one message."""
    return _at(sender, kind, nth, lambda message: [message.carrying(change(message.payload))])


def swap_with_next(sender: str, kind: str, nth: int = 0) -> Fault:
    """Deliver one message after the next one of the same sender."""
    held: list[Message] = []

    def fault(message: Message) -> list[Message]:
        if message.sender == sender and held:
            return [message, held.pop()]
        if (message.sender, message.kind, message.nth) == (sender, kind, nth):
            held.append(message)
            return []
        return [message]

    return fault


def reflect(sender: str, kind: str) -> Fault:
    """Give `sender`'s partner its own messages of this kind back, in place of `sender`'s."""
    seen: dict[int, bytes] = {}
    held: list[Message] = []

    def fault(message: Message) -> list[Message]:
        if message.kind != kind:
            return [message]
        if message.sender != sender:
            seen[message.nth] = message.payload
            released = [one.carrying(seen[one.nth]) for one in held if one.nth in seen]
            held[:] = [one for one in held if one.nth not in seen]
            return [message, *released]
        if message.nth in seen:
            return [message.carrying(seen[message.nth])]
        held.append(message)
        return []

    return fault


def _at(sender: str, kind: str, nth: int, act: Callable[[Message], list[Message]]) -> Fault:
    def fault(message: Message) -> list[Message]:
        return act(message) if (message.sender, message.kind, message.nth) == (sender, kind, nth) else [message]

    return fault


@dataclass
class Side:
    """One session on the link, what it may be asked, and what came of it."""

    name: str
    session: Session
    struck: Iterable[int] = ()
    dropped: Callable[[np.ndarray], Iterable[int]] = lambda hits: ()
    inbox: deque[Message] = field(default_factory=deque)
    sent: list[Message] = field(default_factory=list)
    received: list[Message] = field(default_factory=list)
    marks: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    outcome: IntersectionOutcome | None = None
    error: BaseException | None = None
    waiting: str | None = None

    @property
    def ended(self) -> bool:
        return self.outcome is not None or self.error is not None

    @property
    def code(self) -> str:
        """Code of the error it ended with, "" without one."""
        return self.error.code if isinstance(self.error, WorkbenchError) else ""

    def sizes(self) -> list[tuple[str, int]]:
        return [(message.kind, len(message.payload)) for message in self.sent]


class FaultyNetwork:
    """Runs two sessions against each other in one thread until both have ended."""

    def __init__(
        self, one: Side, other: Side, fault: Fault = deliver, interrupt: Callable[[Side, object], None] | None = None
    ) -> None:
        """interrupt: called before a request is answered; what it raises is thrown into the session."""
        self._sides = {one.name: one, other.name: other}
        self._partner = {one.name: other, other.name: one}
        self._fault = fault
        self._interrupt = interrupt

    def run(self) -> None:
        """Returns when both sides have an outcome or an error; errors that are not the workbench's own are raised."""
        sides = list(self._sides.values())
        for side in sides:
            self._advance(side, None)
        while not all(side.ended for side in sides):
            ready = [side for side in sides if not side.ended and side.inbox]
            for side in ready:
                self._hand_over(side)
            if not ready:
                for side in sides:
                    if not side.ended:
                        self._throw(side, PeerUnavailable("对方没有回应", "the partner does not answer"))

    def _hand_over(self, side: Side) -> None:
        message = side.inbox.popleft()
        if message.kind != side.waiting:
            self._throw(side, ProtocolViolation("消息种类不对", "a message of another kind", code="WRONG_MESSAGE"))
            return
        side.received.append(message)
        self._advance(side, message.payload)

    def _throw(self, side: Side, error: WorkbenchError) -> None:
        self._step(side, None, error)

    def _advance(self, side: Side, answer: Any) -> None:
        self._step(side, answer, None)

    def _step(self, side: Side, answer: Any, thrown: WorkbenchError | None) -> None:
        """Carry out requests until the session must wait for a message or ends."""
        while True:
            try:
                request = side.session.throw(thrown) if thrown else side.session.send(answer)
            except StopIteration as stop:
                side.outcome = stop.value
                return
            except WorkbenchError as error:
                side.error = error
                return
            answer = thrown = None
            try:
                if self._interrupt is not None:
                    self._interrupt(side, request)
                if not isinstance(request, Receive):
                    answer = self._answer(side, request)
                    continue
                side.waiting = request.kind
                if not side.inbox:
                    return
                answer = self._take(side)
            except WorkbenchError as error:
                thrown = error

    def _take(self, side: Side) -> bytes:
        message = side.inbox.popleft()
        if message.kind != side.waiting:
            raise ProtocolViolation("消息种类不对", "a message of another kind", code="WRONG_MESSAGE")
        side.received.append(message)
        return message.payload

    def _answer(self, side: Side, request: object) -> Any:
        match request:
            case Send(kind, payload):
                nth = sum(message.kind == kind for message in side.sent)
                message = Message(side.name, len(side.sent), kind, nth, payload)
                side.sent.append(message)
                for delivered in self._fault(message):
                    self._partner[delivered.sender].inbox.append(delivered)
                return None
            case Phase():
                side.phases.append(request)
                return None
            case Mark(name, values):
                side.marks.append((name, values))
                return None
            case AskStruck():
                return np.array(sorted(side.struck), np.int64)
            case AskDropped(hits):
                return np.array(sorted(side.dropped(hits)), np.int64)
        raise TypeError(f"a session cannot ask for {type(request).__name__}")
