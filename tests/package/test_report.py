"""What people read: report, README and keys, in both languages, with nothing in them but text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.ledger.world import BANK, BROKER, CARDNET, JOB, PINNED, World
from tests.package.package_world import build, files_of, order_of
from workbench.domain import checkpoint as notes
from workbench.domain.envelope import build_envelope
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.package import Selection
from workbench_ledger.package import pdf
from workbench_ledger.package.sentences import CHECK, LIMITS, SENTENCES
from workbench_ledger.package.verifier import words

GO_PATH = Path("/usr/share/gocode")
needs_go = pytest.mark.skipif(
    shutil.which("go") is None or not (GO_PATH / "src/golang.org/x/mod/sumdb/tlog").is_dir(),
    reason="Go and golang-golang-x-mod-dev are not installed",
)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the OpenSSL command is not installed")
needs_font = pytest.mark.skipif(pdf.find_font("") is None, reason="no Chinese font is installed")

MESSAGE = EvidenceKind(
    "intersection.message",
    tuple(Field(name, Visibility.SHARED, name, name) for name in ("partner", "direction", "digest")),
    "协议消息",
    "a protocol message",
)


def message(node: object, partner: str, direction: str, digest: str) -> None:
    values = {"partner": partner, "direction": direction, "digest": digest}
    body, openings = build_envelope(
        MESSAGE, values, time_ms=node.now_ms, log=node.party, job=JOB, actor="", refs=(), salts=node.salts  # type: ignore[attr-defined]
    )
    node.append(body, openings)  # type: ignore[attr-defined]


class Text(HTMLParser):
    """The text of a page, and what else it consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.attributes = "", set[str](), set[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_every_sentence_has_both_languages_and_the_same_blanks() -> None:
    blanks = re.compile(r"\{([a-z0-9_]+)\}")
    for table in (SENTENCES, words.STEPS, words.PROBLEMS, words.UNCHECKED):
        for name, (zh, en) in table.items():
            assert zh and en and set(blanks.findall(zh)) == set(blanks.findall(en)), name
    assert len(LIMITS[0]) == len(LIMITS[1]) and len(CHECK[0]) == len(CHECK[1])


def test_the_report_tells_the_story_in_both_languages(sealed: World, package: bytes) -> None:
    page = Text(files_of(package)["report.html"].decode("utf-8"))
    for sentence in ("证据包报告", "Evidence report", "已定稿：21 条记录", "Final: all 21 entries", "合成数据，无真人", "甲证券（broker） 12", "Broker A (broker) 12", "它证明不了什么", "What it does not prove"):
        assert sentence in page.text
    assert "人数*：5" in page.text and "customers*: 5" in page.text
    assert "NOT_FINAL" not in page.text


def test_text_of_entries_is_text(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.broker.write(1, note="<script>alert(1)</script><img src=x onerror=y>")
    world.settle()
    page = files_of(build(world, order_of([(BROKER, 0)]))[0])["report.html"].decode("utf-8")
    world.close()
    read = Text(page)
    assert "<script>alert(1)</script><img src=x onerror=y>" in read.text
    assert not read.tags & {"script", "img", "iframe", "link", "object"} and "onerror" not in read.attributes
    assert "default-src 'none'" in page


def test_messages_that_only_one_side_recorded_are_named(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    for digest in ("aa" * 32, "bb" * 32, "cc" * 32):
        message(world.broker, "bank", "sent", digest)
    message(world.bank, "broker", "received", "aa" * 32)
    message(world.bank, "broker", "sent", "bb" * 32)
    world.settle()
    places = [*((BROKER, index) for index in range(3)), (BANK, 0), (BANK, 1)]
    page = Text(files_of(build(world, order_of(places))[0])["report.html"].decode("utf-8"))
    alone = Text(files_of(build(world, order_of(places[:3]))[0])["report.html"].decode("utf-8"))
    world.close()
    assert "2 条消息只有一方有记录" in page.text and "bbbbbbbbbbbbbbbb…" in page.text and "cccccccccccccccc…" in page.text
    assert "aaaaaaaaaaaaaaaa…" not in page.text
    assert "只有一方有记录" not in alone.text, "without the other log nothing can be said"


def test_an_identifier_stands_in_a_report_only_if_it_was_asked_for(sealed: World) -> None:
    chosen = Selection("customer", "ab" * 16)
    without = files_of(build(sealed, order_of([(BROKER, 0)], selection=chosen))[0])
    named = files_of(build(sealed, order_of([(BROKER, 0)], selection=replace(chosen, identifier="10000000001")))[0])
    assert not any(b"10000000001" in data for data in without.values())
    assert b"10000000001" in named["report.html"] and b"10000000001" in named["package.json"]


@needs_font
def test_the_pdf_embeds_its_font_and_is_the_same_each_time(sealed: World, tmp_path: Path) -> None:
    order = order_of([(BROKER, index) for index in range(3)], font="")
    first, second = (build(sealed, order)[0] for _ in range(2))
    assert first == second
    data = files_of(first)["report.pdf"]
    assert data.startswith(b"%PDF") and b"/FontFile3" in data and len(data) < 400_000
    if shutil.which("pdftotext"):
        (tmp_path / "report.pdf").write_bytes(data)
        text = subprocess.run(["pdftotext", str(tmp_path / "report.pdf"), "-"], capture_output=True, text=True, check=True, timeout=60).stdout
        assert "证据包报告" in text and "Evidence report" in text and "已定稿" in text


def test_without_a_chinese_font_the_pdf_is_left_out_and_said_so(sealed: World) -> None:
    files = files_of(build(sealed, order_of([(BROKER, 0)]))[0])
    assert "report.pdf" not in files
    assert b'"report_pdf":"NO_FONT"' in files["package.json"]
    assert "没有中文字体" in files["README.txt"].decode() and "no Chinese font" in files["README.txt"].decode()


def test_the_keys_are_marked_as_unproven(package: bytes) -> None:
    text = files_of(package)["keys/COMPARE.txt"].decode("utf-8")
    assert "什么也证明不了" in text and "PROVE NOTHING" in text
    for keys in PINNED.values():
        assert keys.ed25519.raw.hex()[:16] in text and keys.sm2.raw.hex()[:16] in text


def unpacked(package: bytes, folder: Path) -> Path:
    for name, data in files_of(package).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@needs_openssl
def test_openssl_commands_of_the_readme_work_as_written(package: bytes, tmp_path: Path) -> None:
    folder = unpacked(package, tmp_path)
    text = (folder / "README.txt").read_text("utf-8")
    commands = [one.replace("\\\n", " ") for one in re.findall(r"openssl dgst(?:.*\\\n)*.*", text)]
    assert len(commands) == 2 and commands[0].split() == commands[1].split()

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(commands[0].split(), cwd=folder, capture_output=True, text=True, check=False, timeout=60)

    done = run()
    assert (done.returncode, done.stdout.strip()) == (0, "Verified OK"), done.stderr
    message_file = folder / commands[0].split()[-1]
    head = (folder / f"checkpoints/{message_file.parts[-3]}/{message_file.parts[-2]}.note").read_text("utf-8")
    assert message_file.read_text("utf-8").split("\n")[-5:-1] == head.split("\n")[:4]
    message_file.write_bytes(message_file.read_bytes().replace(b"sm3 ", b"sm3  "))
    assert run().returncode != 0


@needs_go
@pytest.mark.timeout(300)
def test_the_go_program_of_the_readme_works_as_written(package: bytes, tmp_path: Path) -> None:
    folder = unpacked(package, tmp_path)
    text = (folder / "README.txt").read_text("utf-8")
    (folder / "check.go").write_text(text.partition("check.go\n--------\n")[2], "utf-8")
    arguments = re.findall(r"go run check\.go (.*)", text)
    assert len(arguments) == 2 and arguments[0] == arguments[1]
    settings = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOCACHE": str(tmp_path / "cache"), "GOFLAGS": ""}
    subprocess.run(["go", "build", "-o", "check", "check.go"], cwd=folder, env=settings, check=True, timeout=240)

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["./check", *arguments[0].split()], cwd=folder, capture_output=True, text=True, check=False, timeout=60)

    assert run().stdout.startswith("holds: entry")
    entry = folder / arguments[0].split()[-1]
    entry.write_bytes(entry.read_bytes().replace(b"step", b"stop"))
    assert run().returncode != 0


def test_the_verifier_keys_are_those_that_go_expects(package: bytes) -> None:
    files = files_of(package)
    assert files["keys/broker.log.vkey"].decode() == notes.log_vkey("evidence", PINNED[BROKER]) + "\n"
    assert files["keys/cardnet.cosign.vkey"].decode() == notes.cosigner_vkey("evidence", PINNED[CARDNET]) + "\n"
