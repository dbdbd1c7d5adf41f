"""What sealing and evidence add to a question: the same engine, corpus and questions in the clear, and sealed.

Sealed is everything between a question that may be asked and an answer that counts: the sealed frame, `inference.asked` on disk, two
nodes' calls in memory, relay, worker (a real sandbox where this machine can), records back, the end checked, `inference.answered` on disk. What both ways need alike (rules,
redaction, citations) is in neither. Interleaved, so that a load of the machine falls on both. One question at a time by words alone, and
`throughput`: many who ask at once of an engine with its embedder, in the clear from as many processes as the lease has cards.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, LeaseWorld
from tests.sandbox.world import lacking
from workbench.domain.party import Role
from workbench_inference.asking import house
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.service import asking_of
from workbench_inference.asking.steps import Asked, Prepared
from workbench_inference.documents import corpus_store, indexing
from workbench_inference.engines import RECIPES
from workbench_inference.leasing import images, launching
from workbench_sandbox.corpus import Corpus
from workbench_sandbox.corpus.embedding import installed
from workbench_sandbox.engines.extractive import Extractive

ROUNDS = 60
WARM = 6
CALLERS = 8
FIELDS = ("管理费率", "托管费率", "基金经理", "风险等级", "成立日期", "业绩比较基准")
TOPICS = ("利率", "债券市场", "消费升级", "光伏设备", "城市燃气", "大额申购", "基金经理", "海外市场")
_NUMBERED = re.compile(r"-(sb-)?[0-9a-f]+$")
IDLE_S, IDLE_CPU_S, IDLE_MOST_S = 0.5, 0.02, 30.0
"""Idle is a node that used less than 20 ms of processor in half a second: what a start and a lease leave to do is done then."""


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Milliseconds of wall and processor time a question, p50, both ways, and what sealing adds."""
    with _world(cards=1) as world:
        questions, data = _questions(world, rounds + WARM), _corpus(world)
        engine, corpus = Extractive(), Corpus.read(data)
        engine.load({}, threads=1)
        clear: list[tuple[float, float]] = []
        sealed: list[tuple[float, float]] = []
        waited, before = _settled(), _by_thread()
        for at, text in enumerate(questions):
            spent, records = _sealed(world, _prepared(world, text))
            began, cpu = time.perf_counter(), time.process_time()
            told = [one for one in engine.answer(records[0], corpus, lambda: False)]
            here = (time.perf_counter() - began, time.process_time() - cpu)
            assert len(told) == records[1], "both ways answered alike"
            if at >= WARM:
                sealed.append(spent)
                clear.append(here)
        spent_by = {name: (value - before.get(name, 0.0)) / len(questions) for name, value in _by_thread().items()}
    most = dict(sorted(spent_by.items(), key=lambda one: -one[1])[:8])
    threads = {name: round(value * 1000, 2) for name, value in most.items() if value > 5e-5}
    return {"isolation": "in process" if lacking() else "bubblewrap", "idle_after_s": round(waited, 1), **_summary(clear, sealed), "threads_cpu_ms": threads}


def throughput(cards: int, *, callers: int = CALLERS, each: int = 6, rounds: int = 3) -> dict[str, Any]:
    """Questions a minute of so many who ask at once, in the clear and sealed, and the ratio; medians of rounds in turn.

    Sealed counts the tenant's check of each citation too. Both ways the engine embeds each question, one thread a card. A machine without
    the embedder answers by words alone and says so.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    embedder = installed()
    with _world(cards=cards, has_embedder=embedder is not None) as world:
        node = world.institutions.nodes[BROKER]
        indexing.index(node, actor="", embedder=embedder, synthetic_only=False, progress=lambda done, total: None, cancelled=lambda: False)
        # No field of a fund: what is to be found by meaning alone has to be embedded.
        questions = [f"最近有哪些关于{TOPICS[at % len(TOPICS)]}的消息？这是第{at}问" for at in range(callers * each)]
        data = _corpus(world)
        weights = {one.path: one.source for one in RECIPES[0].files()} if embedder is not None else {}
        rates: dict[str, list[float]] = {"clear": [], "sealed": []}
        context = multiprocessing.get_context("spawn")
        with (
            ProcessPoolExecutor(cards, mp_context=context, initializer=_load, initargs=(weights, data)) as clear,
            ThreadPoolExecutor(callers) as people,
        ):
            asks = [_sealed(world, _prepared(world, one))[1][0] for one in questions[:cards]]
            for future in [clear.submit(_answered, one) for one in asks for _ in range(4)]:
                future.result()  # every process is there
            _settled()
            for _ in range(rounds):
                prepared = [_prepared(world, one) for one in questions]
                began = time.perf_counter()
                told = list(people.map(lambda one: _sealed(world, one)[1], prepared))
                rates["sealed"].append(len(told) * 60 / (time.perf_counter() - began))
                began = time.perf_counter()
                counts = list(people.map(lambda one: clear.submit(_answered, one[0]).result(), told))
                rates["clear"].append(len(told) * 60 / (time.perf_counter() - began))
                assert counts == [records for _, records in told], "both ways answered alike"
    found = {name: round(statistics.median(values)) for name, values in rates.items()}
    ratios = [one / other for one, other in zip(rates["sealed"], rates["clear"], strict=True)]
    return {"cards": cards, "callers": callers, "by_meaning": embedder is not None, **found, "ratio": round(statistics.median(ratios), 3)}


@contextmanager
def _world(*, cards: int, has_embedder: bool = False) -> Iterator[LeaseWorld]:
    """Two nodes with a lease of so many cards."""
    is_real = not lacking()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-ask-") as name, asking_world(Path(name), servers=cards, is_real=is_real) as world:
        if is_real:
            recipe = RECIPES[0] if has_embedder else replace(RECIPES[0], files=tuple)
            image = images.register(world.tenant.host, recipe, name="extractive", version="1.0", runtime=launching.own_listing("extractive"))
        else:
            image = world.image(Path(name) / "image", name="extractive")
        world.running(image.id, cards=cards, hours=2)
        node = world.institutions.nodes[BROKER]
        node.store.write(lambda tx: tx.execute("INSERT INTO inference_quota (whose, month, most) VALUES ('adviser', '2000-01', 100000)"))
        yield world


def _questions(world: LeaseWorld, count: int) -> list[str]:
    titles = [str(one[0]) for one in world.query(BROKER, "SELECT title FROM inference_document WHERE kind = 'fund' ORDER BY document")]
    return [f"{titles[at % len(titles)]}的{FIELDS[at % len(FIELDS)]}是什么？" for at in range(count)]


def _corpus(world: LeaseWorld) -> bytes:
    node = world.institutions.nodes[BROKER]
    with node.store.read() as reader:
        return corpus_store.open_own(node, corpus_store.require_corpus(reader, mode="run").digest)


def _settled() -> float:
    """Wait until this process has nothing left to do; how many seconds that took."""
    began = time.perf_counter()
    while time.perf_counter() - began < IDLE_MOST_S:
        cpu = time.process_time()
        time.sleep(IDLE_S)
        if time.process_time() - cpu < IDLE_CPU_S:
            break
    return time.perf_counter() - began


def _by_thread() -> dict[str, float]:
    """Seconds of processor that each thread of this process has had, by name; threads that are not Python's by what the kernel calls them.

    Of everything: admission, citations and the clear side are the main thread's too. It names who works while a question is asked.
    """
    names = {one.native_id: _NUMBERED.sub("", one.name) for one in threading.enumerate()}
    found: dict[str, float] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            nanoseconds = int((task / "schedstat").read_text().split()[0])
            name = names.get(int(task.name)) or (task / "comm").read_text().strip()
        except OSError:
            continue  # it ended
        found[name] = found.get(name, 0.0) + nanoseconds / 1e9
    return found


def _prepared(world: LeaseWorld, text: str) -> Prepared:
    """A question that may be asked, as its row says."""
    node = world.institutions.nodes[BROKER]
    steps = asking_of(node).desk.steps
    caller = world.institutions.caller(BROKER, Role.ADVISER)
    asked = Asked(f"ask-{node.random(16).hex()}", text, "research")
    prepared: Prepared = steps.redact(steps.admit(caller, asked))
    row = AskRow(asked.ask, "", caller.person.token, "adviser", "research", "", prepared.admitted.model, prepared.klass, "QUEUED", "", node.now_ms())
    node.store.write(lambda tx: house.taken_in(tx, row))
    return prepared


def _sealed(world: LeaseWorld, prepared: Prepared) -> tuple[tuple[float, float], tuple[Any, int]]:
    """((wall, processor) seconds of steps 5 to 12 without judging, (the ask, its records))."""
    steps = asking_of(world.institutions.nodes[BROKER]).desk.steps
    began, cpu = time.perf_counter(), time.process_time()
    leased = steps.lease(prepared)
    frame = steps.seal(leased)
    steps.record_asked(leased, frame)
    came = list(steps.send(leased, frame))
    first = (time.perf_counter() - began, time.process_time() - cpu)
    answer = steps.judge(leased, came[:-1], came[-1])
    began, cpu = time.perf_counter(), time.process_time()
    steps.record_answered(leased, answer)
    return (first[0] + time.perf_counter() - began, first[1] + time.process_time() - cpu), (leased.ask, len(came) - 1)


_inside: list[tuple[Extractive, Corpus]] = []


def _load(weights: dict[str, Path], data: bytes) -> None:
    """In each process of the clear side."""
    engine = Extractive()
    engine.load(weights, threads=1)
    _inside.append((engine, Corpus.read(data)))


def _answered(ask: Any) -> int:
    engine, corpus = _inside[0]
    return len(list(engine.answer(ask, corpus, lambda: False)))


def _summary(clear: list[tuple[float, float]], sealed: list[tuple[float, float]]) -> dict[str, Any]:
    def p50(rows: list[tuple[float, float]], column: int) -> float:
        return round(statistics.median(one[column] for one in rows) * 1000, 2)

    wall, cpu = (p50(sealed, 0), p50(clear, 0)), (p50(sealed, 1), p50(clear, 1))
    return {
        "questions": len(clear), "clear_ms": wall[1], "sealed_ms": wall[0], "added_ms": round(wall[0] - wall[1], 2), "clear_cpu_ms": cpu[1],
        "sealed_cpu_ms": cpu[0], "added_cpu_ms": round(cpu[0] - cpu[1], 2),
    }  # fmt: skip


if __name__ == "__main__":
    print(measure())
    print(throughput(1), throughput(2))
