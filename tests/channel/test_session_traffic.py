"""Both directions, renewals, repeats and overtaking in any order, against a model of section 8 that knows no cryptography."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from session_world import NOW, renew, sessions, share
from workbench.errors import VerificationError

WINDOW = 64


@dataclass
class Model:
    """What one end has accepted, as section 8 tells it in words."""

    epoch: int = 0
    accepted: set[int] = field(default_factory=set)
    under_this_epoch: list[int] = field(default_factory=list)
    before_is_open: bool = False

    def takes(self, sequence: int, epoch: int) -> bool:
        if sequence in self.accepted or sequence <= max(self.accepted, default=0) - WINDOW:
            return False
        if epoch == self.epoch:
            return True
        in_time = self.before_is_open and epoch == self.epoch - 1
        return in_time and (not self.under_this_epoch or sequence < min(self.under_this_epoch))

    def accept(self, sequence: int, epoch: int) -> None:
        self.accepted.add(sequence)
        if epoch == self.epoch:
            self.under_this_epoch.append(sequence)
            self.before_is_open &= len(self.under_this_epoch) < WINDOW

    def renewed(self) -> None:
        self.epoch, self.under_this_epoch, self.before_is_open = self.epoch + 1, [], True


class Traffic(RuleBasedStateMachine):
    """Two sessions and everything that was ever on the line between them."""

    @initialize()
    def begin(self) -> None:
        self.ends = sessions()
        self.models = Model(), Model()
        self.line: tuple[list[tuple[bytes, int, int, bytes]], ...] = ([], [])
        self.refused = [0, 0]
        self.keys = 1

    @rule(end=st.integers(0, 1), count=st.integers(1, 80))
    def send(self, end: int, count: int) -> None:
        for _ in range(count):
            sequence = self.ends[end].status().sent + 1
            payload = b"%d from %d" % (sequence, end)
            frame = self.ends[end].seal(payload, purpose="question", now_ms=NOW)
            self.line[end].append((frame, sequence, self.models[end].epoch, payload))

    @rule(
        end=st.integers(0, 1),
        back=st.integers(0, 90),
        count=st.integers(1, 90),
        backwards=st.booleans(),
        times=st.integers(1, 2),
    )
    def deliver(self, end: int, back: int, count: int, backwards: bool, times: int) -> None:
        """A stretch of what `end` ever sent, in order or backwards, once or twice, whether it arrived before or not."""
        place = max(len(self.line[end]) - 1 - back, 0)
        stretch = self.line[end][place : place + count]
        model, other = self.models[1 - end], self.ends[1 - end]
        for frame, sequence, epoch, payload in (stretch[::-1] if backwards else stretch) * times:
            expected = model.takes(sequence, epoch)
            try:
                opened = other.open(frame, now_ms=NOW)
            except VerificationError as error:
                assert not expected and error.code == "FRAME_REFUSED", (sequence, epoch, model)
                other._refused_before += 1  # this test repeats more than a session bears
                self.refused[1 - end] += 1
            else:
                assert expected and (opened.sequence, opened.payload) == (sequence, payload), (sequence, epoch, model)
                model.accept(sequence, epoch)

    @rule()
    def renew(self) -> None:
        self.keys += 1
        renew(*self.ends, share(self.keys))
        for model in self.models:
            model.renewed()

    @invariant()
    def counts_agree(self) -> None:
        for end, model, refused in zip(
            getattr(self, "ends", ()), getattr(self, "models", ()), getattr(self, "refused", ()), strict=True
        ):
            status = end.status()
            assert (status.accepted, status.refused, status.live) == (len(model.accepted), refused, True)
            assert status.missing == max(model.accepted, default=0) - len(model.accepted)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
