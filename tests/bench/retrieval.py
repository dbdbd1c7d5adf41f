"""Search in 10^4 passages with one thread: the question's embedding, BM25 and the fused order. docs/protocols/corpus.md section 4.

The rows of the matrix are drawn, since embedding 10^4 passages takes minutes and a search's time does not depend on them; the
questions are embedded in truth.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from workbench.domain.documents import SourceDocument
from workbench_sandbox.corpus import Corpus
from workbench_sandbox.corpus.building import contents_of
from workbench_sandbox.corpus.embedding import NAME, SIZE, installed
from workbench_sandbox.corpus.files import format_corpus

PASSAGES = 10_000
ROUNDS = 60
AIM_MS = 45.0
_SIGNS = "基金净值管理费托管行情公告星河稳健成长混合债券指数风险等级经理公司发布季度报告分红派息投资策略市场波动上涨下跌年月日元一二三"
_QUESTIONS = ("星河稳健债券的管理费率是多少？", "稳健成长混合最新净值", "谁在管成长指数", "What is the management fee of the fund?", "市场波动时公司发布的公告")


def measure(rounds: int = ROUNDS, passages: int = PASSAGES) -> dict[str, Any]:
    """p50 and p95 of a search with its embedding, of the search alone, and of opening the file. Takes about 8 s."""
    embedder = installed()
    data = b"".join(format_corpus(_contents(passages, embedded=embedder is not None)))
    began, used = time.perf_counter(), time.process_time()
    corpus = Corpus.read(data, embedder=embedder)
    opening = {"wall_ms": (time.perf_counter() - began) * 1e3, "cpu_ms": (time.process_time() - used) * 1e3}
    whole, plain = [], []
    by_words = corpus.using(None)
    for number in range(rounds):
        question = _QUESTIONS[number % len(_QUESTIONS)]
        for times, sources in ((whole, corpus), (plain, by_words)):
            began, used = time.perf_counter(), time.thread_time()
            sources.search(question, kinds=("fund", "news"), ids=(), until_ms=0, most=8)
            times.append(((time.perf_counter() - began) * 1e3, (time.thread_time() - used) * 1e3))
    return {
        "passages": corpus.passage_count,
        "bytes": len(data),
        "by_meaning": embedder is not None,
        "opening": {name: round(value, 1) for name, value in opening.items()},
        "search": _spread(whole),
        "by_words": _spread(plain),
        "aim_ms": AIM_MS,
    }


def _contents(passages: int, *, embedded: bool) -> Any:
    draw = random.Random(20261122)
    documents = [
        SourceDocument(
            f"d{number:06}", "news", "1", f"标题{number}", "drawn", number, "public", True,
            "。".join("".join(draw.choices(_SIGNS, k=40)) for _ in range(25)),
        )
        for number in range(passages // 5)
    ]  # fmt: skip
    contents = contents_of(documents, None, progress=lambda done, every: None)
    if not embedded:
        return contents
    rows = np.random.default_rng(20261122).normal(size=(len(contents.places), SIZE)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return replace(contents, embedder=NAME, matrix=rows)


def _spread(times: list[tuple[float, float]]) -> dict[str, float]:
    wall, cpu = (sorted(each[place] for each in times) for place in (0, 1))
    return {
        "p50_ms": round(wall[len(wall) // 2], 2),
        "p95_ms": round(wall[len(wall) * 95 // 100], 2),
        "cpu_p50_ms": round(cpu[len(cpu) // 2], 2),
    }
