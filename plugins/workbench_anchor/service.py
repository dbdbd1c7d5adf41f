"""The background work: anchors when due, watches the chain. Nothing runs and no connection is opened while both are off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import cast

from workbench.contracts import Host
from workbench.errors import Refused, StartRefused, WorkbenchError
from workbench_anchor import anchoring, stamping
from workbench_anchor.anchoring import Anchoring
from workbench_anchor.chain import Chain
from workbench_anchor.house import AnchorHost, House
from workbench_anchor.stamping import Stamping

STAMP_ROUND_S = 5.0
CHAIN_ROUND_S = 15.0


class AnchorService:
    """Anchoring of one node; one thread a kind that is on. problems: what the last round of a kind failed with."""

    name = "anchor"

    def __init__(self, host: Host, *, connect: Callable[[str, float], Chain] | None = None) -> None:
        self.host = cast("AnchorHost", host)
        self.house = House(self.host)
        self.stamping = Stamping(self.house)
        self.anchoring = Anchoring(self.house, connect)
        self.problems: dict[str, WorkbenchError] = {}
        self._locks = {stamping.WHAT: threading.Lock(), anchoring.WHAT: threading.Lock()}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin what is on."""
        if self.stamping.is_on:
            self._begin(stamping.WHAT, STAMP_ROUND_S)
        if self.anchoring.is_on:
            self._begin(anchoring.WHAT, CHAIN_ROUND_S)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def round(self, what: str, *, force: bool = False) -> None:
        """One round of a kind: "rfc3161" or "evm"; never two at once. Raises WorkbenchError, which is kept for health."""
        with self._locks[what]:
            try:
                if what == stamping.WHAT:
                    self.stamping.round(force=force)
                else:
                    self.anchoring.round(force=force)
            except WorkbenchError as error:
                self.problems[what] = error
                raise
            self.problems.pop(what, None)

    def now(self, *, actor: str) -> list[str]:
        """Anchor at once by every kind that is on; which. Raises Refused (ANCHOR_OFF) when none is."""
        kinds = [
            what
            for what, is_on in ((stamping.WHAT, self.stamping.is_on), (anchoring.WHAT, self.anchoring.is_on))
            if is_on
        ]
        if not kinds:
            raise Refused(
                "没有启用任何外部锚定：运维人员设置 anchor.tsa_url 或 anchor.chain_url 后重启节点；离线时用 --request",
                "No outside anchor is on: operations set anchor.tsa_url or anchor.chain_url and restart; offline, use --request",
                code="ANCHOR_OFF",
            )
        values = {"what": " ".join(kinds), "size": str(self.house.ledger.size(self.host.party))}
        self.host.store.write(lambda tx: self.house.record(tx, "anchor.ordered", values, actor=actor))
        failed: WorkbenchError | None = None
        for what in kinds:
            try:
                self.round(what, force=True)
            except WorkbenchError as error:  # the other kind is tried all the same
                failed = failed or error
        if failed is not None:
            raise failed
        return kinds

    def _begin(self, what: str, pause_s: float) -> None:
        thread = threading.Thread(target=self._rounds, args=(what, pause_s), name=f"anchor-{what}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _rounds(self, what: str, pause_s: float) -> None:
        while not self._stop.wait(pause_s):
            try:
                self.round(what)
            except WorkbenchError as error:
                self.host.log_fault(error)
            except Exception as fault:  # noqa: BLE001 - a fault in one round must not end anchoring for ever
                self.host.log_fault(fault)


def service_of(host: object) -> AnchorService:
    """The service that this plugin gave this node. Raises StartRefused when it could not be made."""
    works: Iterable[object] = getattr(host, "background", ())
    found = next((one for one in works if isinstance(one, AnchorService)), None)
    if found is None:
        raise StartRefused(
            "锚定插件没有启动：管理员查看健康页与日志", "The anchoring plugin did not start: an administrator looks at health and log",
            code="ANCHOR_NOT_STARTED",
        )  # fmt: skip
    return found
