"""Calls of partners that plugins answer: which plugin has a path, in which threads it works, what a partner is told.

Hook `workbench_peer_paths`. A call comes through the channel picked for the partner, like every other call below /peer/v1/,
and `peer` is who that channel says. Who answers slowly, or waits on purpose, keeps nobody but its own partner's calls of this
path waiting.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from workbench.contracts import PeerPath
from workbench.errors import StartRefused, WorkbenchError

MOST_REASONS = 1024
"""Pairs of partner and reason that are counted; a flood of new ones must not fill the memory."""
_PATH = re.compile(r"[a-z][a-z0-9-]{0,30}/[a-z0-9-]{0,30}")


class PeerPaths:
    """The paths of one node's plugins. Finding one is pure; the threads are made when a partner first calls."""

    def __init__(self, found: Sequence[tuple[str, PeerPath]], *, taken: Collection[str]) -> None:
        """found: (plugin, path). taken: first parts that the host and its channels have, such as "message" and "qkd".

        Raises StartRefused PEER_PATH_TAKEN where a first part is not one plugin's alone, PEER_PATH_FORM for another form than
        `area/` or `area/name`.
        """
        owners: dict[str, str] = dict.fromkeys(taken, "")
        self._paths: dict[str, PeerPath] = {}
        for plugin, one in found:
            if not _PATH.fullmatch(one.path) or one.threads < 1:
                raise _bad_form(plugin, one.path)
            area = one.path.partition("/")[0]
            if owners.setdefault(area, plugin) != plugin or one.path in self._paths:
                raise _taken(plugin, one.path, owners[area] or "workbench")
            self._paths[one.path] = one
        self._workers: dict[tuple[str, str], ThreadPoolExecutor] = {}
        self._reasons: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def of(self, path: str) -> PeerPath | None:
        """Who answers this path: the one of exactly this name, else the one of its first part."""
        area, slash, _ = path.partition("/")
        return self._paths.get(path) or (self._paths.get(f"{area}/") if slash else None)

    def workers(self, one: PeerPath, peer: str) -> ThreadPoolExecutor:
        """Threads of one path for one partner."""
        with self._lock:
            if (one.path, peer) not in self._workers:
                name = f"peer-{peer}-{one.path.rstrip('/').replace('/', '-')}"
                self._workers[one.path, peer] = ThreadPoolExecutor(one.threads, thread_name_prefix=name)
            return self._workers[one.path, peer]

    def told(self, one: PeerPath, peer: str, error: WorkbenchError) -> WorkbenchError:
        """What the partner gets in place of `error`, whose code is counted here."""
        with self._lock:
            mark = (peer, one.path, error.code)
            if mark in self._reasons or len(self._reasons) < MOST_REASONS:
                self._reasons[mark] += 1
        return one.refusal() if one.refusal is not None else error

    def reasons(self) -> dict[tuple[str, str, str], int]:
        """(partner, path, code) -> refusals since the node started, with the code that stayed here."""
        with self._lock:
            return dict(self._reasons)

    def close(self) -> None:
        """Take no further work; what waits is dropped."""
        with self._lock:
            workers = list(self._workers.values())
        for one in workers:
            one.shutdown(wait=False, cancel_futures=True)


def _bad_form(plugin: str, path: str) -> StartRefused:
    return StartRefused(
        f"插件「{plugin}」要应答的路径「{path}」形式不对，应为「area/」或「area/name」，节点不启动。管理员检查该插件",
        f"Plugin {plugin} wants to answer the path {path}, which is neither area/ nor area/name; the node does not start. An administrator checks that plugin",
        code="PEER_PATH_FORM",
    )


def _taken(plugin: str, path: str, owner: str) -> StartRefused:
    return StartRefused(
        f"插件「{plugin}」要应答路径「{path}」，已归「{owner}」所有，节点不启动。管理员移除其中一个插件",
        f"Plugin {plugin} wants to answer the path {path}, which {owner} has; the node does not start. An administrator removes one of them",
        code="PEER_PATH_TAKEN",
    )
