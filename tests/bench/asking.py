"""What sealing and evidence add to a question: the same engine, corpus and questions in the clear in one process, and sealed.

Sealed is everything between a question that may be asked and an answer that counts: the sealed frame, `inference.asked` on disk, two
nodes' calls in memory, relay, worker (a real sandbox where this machine can), records back, the end checked, `inference.answered` on disk. What both ways need alike (rules,
redaction, citations) is in neither. Interleaved, one question at a time, so that a load of the machine falls on both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from tests.sandbox.world import lacking
from workbench.domain.party import Role
from workbench_inference.asking import house
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.service import asking_of
from workbench_inference.asking.steps import Asked
from workbench_inference.documents import corpus_store
from workbench_inference.engines import RECIPES
from workbench_inference.leasing import images, service
from workbench_sandbox.corpus import Corpus
from workbench_sandbox.engines.extractive import Extractive

ROUNDS = 60
WARM = 6
FIELDS = ("管理费率", "托管费率", "基金经理", "风险等级", "成立日期", "业绩比较基准")


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """Milliseconds of wall and processor time a question, p50, both ways, and what sealing adds."""
    is_real = not lacking()
    with tempfile.TemporaryDirectory(prefix="workbench-bench-ask-") as name, asking_world(Path(name), servers=1, is_real=is_real) as world:
        if is_real:
            provider = service.provider_of(world.institutions.nodes[TELECOM])
            recipe = replace(RECIPES[0], files=tuple)  # by words alone, as the engine in the clear
            image = images.register(world.tenant.host, recipe, name="extractive", version="1.0", runtime=provider.listing("extractive"))
        else:
            image = world.image(Path(name) / "image", name="extractive")
        lease = world.running(image.id, cards=1, hours=2)
        node = world.institutions.nodes[BROKER]
        node.store.write(lambda tx: tx.execute("INSERT INTO inference_quota (whose, month, most) VALUES ('adviser', '2000-01', 100000)"))
        titles = [str(one[0]) for one in world.query(BROKER, "SELECT title FROM inference_document WHERE kind = 'fund' ORDER BY document")]
        questions = [f"{titles[at % len(titles)]}的{FIELDS[at % len(FIELDS)]}是什么？" for at in range(rounds + WARM)]
        with node.store.read() as reader:
            corpus_row = corpus_store.current(reader)
        assert corpus_row is not None
        engine, corpus = Extractive(), Corpus.read(corpus_store.open_own(node, corpus_row.digest))
        engine.load({}, threads=1)
        clear: list[tuple[float, float]] = []
        sealed: list[tuple[float, float]] = []
        for at, text in enumerate(questions):
            spent, records = _sealed(world, text, at)
            began, cpu = time.perf_counter(), time.process_time()
            told = [one for one in engine.answer(records[0], corpus, lambda: False)]
            here = (time.perf_counter() - began, time.process_time() - cpu)
            assert len(told) == records[1], "both ways answered alike"
            if at >= WARM:
                sealed.append(spent)
                clear.append(here)
        del lease
    return {"isolation": "bubblewrap" if is_real else "in process", **_summary(clear, sealed)}


def _sealed(world: LeaseWorld, text: str, at: int) -> tuple[tuple[float, float], tuple[Any, int]]:
    """((wall, processor) seconds of steps 5 to 12 without judging, (the ask, its records))."""
    node = world.institutions.nodes[BROKER]
    steps = asking_of(node).desk.steps
    caller = world.institutions.caller(BROKER, Role.ADVISER)
    asked = Asked(f"ask-{node.random(16).hex()}", text, "research")
    prepared = steps.redact(steps.admit(caller, asked))
    row = AskRow(asked.ask, "", caller.person.token, "adviser", "research", "", prepared.admitted.model, prepared.klass, "QUEUED", "", node.now_ms())
    node.store.write(lambda tx: house.taken_in(tx, row))
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


def _summary(clear: list[tuple[float, float]], sealed: list[tuple[float, float]]) -> dict[str, Any]:
    def p50(rows: list[tuple[float, float]], column: int) -> float:
        return round(statistics.median(one[column] for one in rows) * 1000, 2)

    wall, cpu = (p50(sealed, 0), p50(clear, 0)), (p50(sealed, 1), p50(clear, 1))
    total = [sum(one[0] for one in rows) for rows in (sealed, clear)]
    return {
        "questions": len(clear), "clear_ms": wall[1], "sealed_ms": wall[0], "added_ms": round(wall[0] - wall[1], 2), "clear_cpu_ms": cpu[1],
        "sealed_cpu_ms": cpu[0], "added_cpu_ms": round(cpu[0] - cpu[1], 2), "throughput_change": round(total[1] / total[0] - 1, 4),
    }  # fmt: skip


if __name__ == "__main__":
    print(measure())
