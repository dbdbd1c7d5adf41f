"""One value of every format of the sandbox, for tests here and of the plugin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from workbench.channel import frame
from workbench.channel.prepared import PreparedShares
from workbench.channel.terms import DEFAULT_SUITES
from workbench.crypto import random, sm2
from workbench.domain.party import PartyId
from workbench_sandbox.formats import asking, carried, erasing, evidence, leasefile, manifest, metering, order, reading, relay, servicekey

NOW = 1_763_798_400_000
TENANT, PROVIDER = PartyId("broker"), PartyId("telecom")
LEASE, SERVER, SANDBOX = "L-20251122-0a1b2c3d", "v-00112233", "sb-0123456789abcdef"
NONCE, BOOT = "5e" * 32, "b0" * 16
ASK, WATERMARK = "ask-" + "1f" * 16, "9d" * 8
KEYS = {
    name: sm2.generate(random.SeededSource(b"sandbox " + name.encode()))
    for name in (
        "tenant-contract",
        "provider-contract",
        "tenant-service",
        "provider-service",
        "sandbox",
        "tenant-message",
    )
}
CORPUS = "c0" * 32
ENGINE = manifest.Engine("extractive", "extractive", "1", "inside")
LIMITS = manifest.Limits(512 << 20, 64, 1000, 32 << 20, 1 << 20, 4)

PROVIDER_SERVICE = servicekey.ServiceKey(
    PROVIDER, KEYS["provider-service"].public, NOW - 86_400_000, NOW + 86_400_000, ""
)
TENANT_SERVICE = servicekey.ServiceKey(TENANT, KEYS["tenant-service"].public, NOW - 86_400_000, NOW + 86_400_000, "")
MANIFEST = manifest.Manifest(
    TENANT, "extractive", "1.0", ENGINE,
    (
        manifest.ManifestFile("code/engine.py", 1200, "a1" * 32, "code"),
        manifest.ManifestFile("weights/words.bin", 4096, "b2" * 32, "weights"),
    ),
    "d4" * 32, LIMITS, (manifest.Licence("weights/words.bin", "Apache-2.0", "测试"),), NOW,
)  # fmt: skip
ORDER = order.Order(
    LEASE, TENANT, PROVIDER, "7c" * 16, "run", MANIFEST.id, "shared", 1, 4, NOW, NOW + 3_600_000, "process",
    ("user", "no-network", "probe"), "hybrid-required", ("simulated",), order.Tariff(12, 5000), True, 600,
)  # fmt: skip
SHARES = PreparedShares.make(DEFAULT_SUITES, random.SeededSource(b"sandbox shares"))
FACTS = evidence.OuterFacts(
    PROVIDER, TENANT, LEASE, "run", SERVER, "shared", SANDBOX, 1, NOW - 60_000, BOOT, "process",
    evidence.ImageName(MANIFEST.id, "extractive", "1.0", ENGINE), "d4" * 32, "bubblewrap 0.11.0", LIMITS,
    (
        evidence.Control("host-user", "on", "uid 64001", "outside"), evidence.Control("no-network", "on", "namespace", "outside"),
        evidence.Control("memory", "on", "cgroup-v2", "outside"), evidence.Control("no-swap", "off", "swap in use", "outside"),
    ),
)  # fmt: skip
MEASURED = evidence.Measured(
    (evidence.Weight("weights/words.bin", "b2" * 32),), "3.11.2", "6.18.0", "x86_64",
    tuple(
        evidence.Control(name, "on", "tried", "inside")
        for name in evidence.CONTROLS
        if name not in ("host-user", "memory", "no-swap", "own-ipc")
    ),
    evidence.Probe(22, 22, ()),
)  # fmt: skip
PUBLIC_SHARES = evidence.PublicShares.of(KEYS["sandbox"].public, SHARES.public())
TICK = metering.Tick(LEASE, 1, 0, 60, 2, 120, 120, 3, 400, 90, 9000, 12000, "")
VIEW = metering.View(TICK.digest, 118, 118, 3, "seconds")
ACCOUNT = metering.make_statement([TICK], lease=LEASE, agreed_card_seconds=118, fen_per_card_minute=12)
RECEIPT = erasing.Receipt(
    PROVIDER, TENANT, LEASE, SERVER, (SANDBOX,), "released", NOW, NOW + 80, "process",
    tuple(erasing.Check(name, 0, "looked") for name in erasing.CHECKS), ("images/" + "e5" * 32,),
)  # fmt: skip
QUESTION = asking.Ask(
    ASK, NOW, NOW + 30_000, "advice", "advice.fund@1", "ab" * 32, "晨星稳健的单位净值是多少？", "", CORPUS, ("fund", "news"), (), NOW, 0, "zh",
    512, 7, WATERMARK,
)  # fmt: skip
RECORDS: tuple[asking.Record, ...] = (
    asking.Open("extractive", "extractive", "1", "inside", WATERMARK),
    asking.Stage("retrieve", 12),
    asking.Text("单位净值为 1.2345 元"),
    asking.Cite(1, "fund-000001", "2025-11-21", 10, 24, "f1" * 32, "f2" * 32),
    asking.FieldValue("nav", "1.2345", "元", 1),
    asking.Dropped("number", 2),
)


def make_end(said: tuple[asking.Record, ...] = RECORDS, **changes: Any) -> asking.End:
    """The end that fits these records."""
    writer = asking.RecordWriter()
    for one in said:
        writer.add(one)
    end = asking.End(
        ASK,
        1,
        "answered",
        "",
        writer.digest,
        writer.bytes,
        writer.records,
        40,
        12,
        18,
        writer.citations,
        writer.dropped,
    )
    return replace(end, **changes)


def make_evidence(**changes: Any) -> bytes:
    """A document of the sandbox, countersigned. changes: of `make_statement`'s arguments."""
    given: dict[str, Any] = {
        "facts": FACTS,
        "measured": MEASURED,
        "keys": PUBLIC_SHARES,
        "nonce": NONCE,
        "made_ms": NOW,
        **changes,
    }
    until_ms = given.pop("until_ms", given["made_ms"] + 120_000)
    facts, measured, keys = given.pop("facts"), given.pop("measured"), given.pop("keys")
    encoded = evidence.make_statement(facts, measured, keys, until_ms=until_ms, **given)
    raw = evidence.sign_statement(encoded, key=KEYS["sandbox"])
    service = servicekey.sign_service_key(PROVIDER_SERVICE, key=KEYS["provider-contract"])
    return evidence.sign_evidence(raw, facts=facts, nonce=given["nonce"], key=KEYS["provider-service"], service=service)


def make_lease_file(**changes: Any) -> leasefile.LeaseFile:
    """All that was signed about LEASE: one tick that differs, its statement, a document, signed ends, a receipt. changes: of members."""
    service, own = (servicekey.sign_service_key(one, key=KEYS[key]) for one, key in ((PROVIDER_SERVICE, "provider-contract"), (TENANT_SERVICE, "tenant-contract")))
    ends = (reading.digest(asking.format_end(make_end())), reading.digest(asking.format_end(make_end(number=2))))
    payload = carried.format_signed(carried.AnswersSigned(1, 2, carried.root_of(ends)))
    said = frame.make_statement(
        sender=f"{PROVIDER}:{SANDBOX}", recipient=TENANT, session="5a" * 16, sequence=9, purpose=asking.ANSWERS_SIGNED, time_ms=NOW, payload=payload, key_id="k-1",
        provenance="simulated", reply_to="",
    )  # fmt: skip
    signature = frame.sign_statement(said, sender=f"{PROVIDER}:{SANDBOX}", session="5a" * 16, key=KEYS["sandbox"])
    tick = metering.sign_tick(TICK, provider=PROVIDER, key=KEYS["provider-service"])
    reply = metering.sign_differs(TICK, VIEW, tenant=TENANT, key=KEYS["tenant-service"])
    given: dict[str, Any] = {
        "party": TENANT, "order": ORDER, "service_keys": {PROVIDER: (service,), TENANT: (own,)}, "ticks": ((tick, reply),), "statement": metering.format_statement(ACCOUNT),
        "receipts": (erasing.sign_receipt(RECEIPT, key=KEYS["provider-service"], service=service),), "evidence": (make_evidence(),),
        "ends": (leasefile.SignedEnds(payload, said, signature, ends),),
    }  # fmt: skip
    return leasefile.LeaseFile(**{**given, **changes})


@dataclass(frozen=True)
class Sample:
    """A format: its bytes, how they are read (raises for what does not hold), and what they say.

    rewrite: from what was read back to bytes, where the signature does not stand in the way; json: where in `raw` the JSON is.
    """

    name: str
    raw: bytes
    read: Callable[[bytes], Any]
    parse: Callable[[bytes], Any]
    value: Any
    codes: frozenset[str]
    json: tuple[int, int] | None
    is_signed: bool = False
    rewrite: Callable[[Any], bytes] | None = None


def _plain(
    name: str, value: Any, write: Callable[[Any], bytes], read: Callable[[bytes], Any], *codes: str, json: bool = True
) -> Sample:
    raw = write(value)
    return Sample(name, raw, read, read, value, frozenset(codes), (0, len(raw)) if json else None, rewrite=write)


def _signed(
    name: str,
    raw: bytes,
    value: Any,
    read: Callable[[bytes], Any],
    parse: Callable[[bytes], Any],
    *codes: str,
    at: int = 0,
) -> Sample:
    size = int.from_bytes(raw[at : at + 4], "big")
    return Sample(name, raw, read, parse, value, frozenset(codes), (at + 4, at + 4 + size), is_signed=True)


def all_formats() -> list[Sample]:
    """Every format once."""
    service = servicekey.sign_service_key(PROVIDER_SERVICE, key=KEYS["provider-contract"])
    image = manifest.sign_manifest(MANIFEST, key=KEYS["tenant-contract"])
    document = make_evidence()
    receipt = erasing.sign_receipt(RECEIPT, key=KEYS["provider-service"], service=service)
    provider, tenant = KEYS["provider-service"].public, KEYS["tenant-service"].public
    contract = KEYS["provider-contract"].public
    uploaded = relay.FramesRequest(SANDBOX, relay.Upload(7, 3, (b"one", b"", b"three" * 9)), 20_000)
    letter, altered, reply, uniform, malformed = (
        "LEASE_LETTER",
        "ANSWER_ALTERED",
        "SANDBOX_REPLY",
        "SANDBOX_REFUSED",
        "ASK_MALFORMED",
    )

    def read_service(raw: bytes) -> servicekey.ServiceKey:
        return servicekey.verify_service_key(raw, party=PROVIDER, contract_key=contract, known=None, now_ms=NOW)

    def read_image(raw: bytes) -> manifest.Manifest:
        return manifest.verify_manifest(
            raw, tenant=TENANT, contract_key=KEYS["tenant-contract"].public, image=MANIFEST.id
        )

    def read_evidence(raw: bytes) -> evidence.Statement:
        parsed = evidence.parse_evidence(raw)
        key = read_service(parsed.service)
        evidence.verify_signatures(parsed, service_key=key.key)
        return parsed.statement

    def read_tick(raw: bytes) -> metering.Tick:
        return metering.verify_tick(raw, provider=PROVIDER, lease=LEASE, service_key=provider)

    def read_reply(raw: bytes) -> metering.View | None:
        return metering.verify_reply(raw, tick=TICK, tenant=TENANT, service_key=tenant).view

    def read_receipt(raw: bytes) -> erasing.Receipt:
        return erasing.verify_receipt(raw, provider=PROVIDER, contract_key=contract, known=PROVIDER_SERVICE)[0]

    def parse_record(raw: bytes) -> asking.Record:
        reader = asking.RecordReader()
        records = reader.feed(opening + raw)
        reader.finish(
            replace(
                make_end(),
                digest=asking.sm3.digest(opening + raw).hex(),
                bytes=len(opening + raw),
                records=2,
                citations=1,
                dropped=0,
            )
        )
        return records[1]

    opening = asking.format_record(RECORDS[0])
    agreed = metering.sign_agreed(TICK, tenant=TENANT, key=KEYS["tenant-service"])
    differs = metering.sign_differs(TICK, VIEW, tenant=TENANT, key=KEYS["tenant-service"])
    return [
        _signed("service-key", service, PROVIDER_SERVICE, read_service, servicekey.parse_service_key, "SERVICE_KEY"),
        _signed("image", image, MANIFEST, read_image, manifest.parse_manifest, "IMAGE_REFUSED"),
        _signed("evidence", document, evidence.parse_evidence(document).statement, read_evidence, evidence.parse_evidence, "EVIDENCE_REFUSED", "SERVICE_KEY"),
        _signed("tick", metering.sign_tick(TICK, provider=PROVIDER, key=KEYS["provider-service"]), TICK, read_tick, metering.parse_tick, "TICK_REFUSED"),
        Sample("tick-agreed", agreed, read_reply, read_reply, None, frozenset({"TICK_REFUSED"}), None, is_signed=True),
        _signed("tick-differs", differs, VIEW, read_reply, read_reply, "TICK_REFUSED", at=1),
        _signed("receipt", receipt, RECEIPT, read_receipt, erasing.parse_receipt, "ERASE_RECEIPT", "SERVICE_KEY"),
        _plain("facts", FACTS, evidence.format_facts, evidence.parse_facts, "EVIDENCE_REFUSED"),
        _plain("order", ORDER, order.format_order, order.parse_order, letter),
        _plain("order-letter", (ORDER, service), lambda one: order.format_order_letter(*one), order.parse_order_letter, letter),
        _plain("order-answer", order.OrderAnswer(NOW, NOW + 60_000, 1, ORDER.tariff, service), order.format_order_answer, order.parse_order_answer, letter),
        _plain("change", order.Change(LEASE, 2, 3, NOW), order.format_change, order.parse_change, letter),
        _plain("change-answer", order.ChangeAnswer(3, NOW, 120), order.format_change_answer, order.parse_change_answer, letter),
        _plain("release", order.Release(LEASE, "收盘后归还"), order.format_release, order.parse_release, letter),
        _plain("release-answer", order.ReleaseAnswer(3600), order.format_release_answer, order.parse_release_answer, letter),
        _plain("statement", ACCOUNT, metering.format_statement, metering.parse_statement, "STATEMENT_REFUSED"),
        _plain("statement-answer", ("ticks", "root"), metering.format_statement_answer, metering.parse_statement_answer, "STATEMENT_REFUSED"),
        _plain("erased-answer", None, lambda _: erasing.format_erased_answer(), erasing.parse_erased_answer, "ERASE_RECEIPT"),
        _plain("ask", QUESTION, asking.format_ask, asking.parse_ask, malformed, "ASK_TOO_LARGE", json=False),
        _plain("ask-stop", ASK, asking.format_stop, asking.parse_stop, malformed),
        _plain("record", RECORDS[3], asking.format_record, parse_record, altered, json=False),
        _plain("end", make_end(), asking.format_end, asking.parse_end, altered),
        _plain("answers-signed", carried.AnswersSigned(1, 4, "3c" * 32), carried.format_signed, carried.parse_signed, altered),
        _plain("answers-sign", None, lambda _: carried.format_empty(), carried.parse_empty, malformed),
        _plain("corpus-open", carried.CorpusOpen(CORPUS, "corpora/" + CORPUS, bytes(range(32))), carried.format_corpus_open, carried.parse_corpus_open, malformed),
        _plain("corpus-ready", carried.CorpusReady(CORPUS, 12, 340), carried.format_corpus_ready, carried.parse_corpus_ready, altered),
        _plain("probe", carried.Probed(22, 21, ("mount",)), carried.format_probed, carried.parse_probed, altered),
        _plain("offer-request", None, lambda _: relay.format_offer_request(), relay.parse_offer_request, uniform),
        _plain("offer", relay.Offer((relay.Pool("shared", 2, 4), relay.Pool("dedicated", 0, 8)), ("process",), (MANIFEST.id,), 12, 20, 60, ((NOW, NOW + 1),)), relay.format_offer, relay.parse_offer, reply),
        _plain("fetch", relay.Fetch(LEASE, CORPUS, 4096), relay.format_fetch, relay.parse_fetch, uniform),
        _plain("evidence-request", relay.EvidenceRequest(LEASE, "", NONCE, NOW), relay.format_evidence_request, relay.parse_evidence_request, uniform),
        _plain("start", relay.Start(SANDBOX, "ab" * 16, "cd" * 32, "k-1", "simulated"), relay.format_start, relay.parse_start, uniform),
        _plain("answer", (SANDBOX, b"WBHS of an answer"), lambda one: relay.format_answer(*one), relay.parse_answer, uniform, json=False),
        _plain("frames", uploaded, relay.format_frames, relay.parse_frames, uniform, json=False),
        _plain("download", relay.Download(relay.LIVE, 3, (b"answer", b"end"), 10), relay.format_download, relay.parse_download, reply, json=False),
        _plain("state-request", LEASE, relay.format_state_request, relay.parse_state_request, uniform),
        _plain("state", relay.LeaseView("RUNNING", 61, 1, (relay.ServerView(SERVER, "LEASED", SANDBOX),), 0), relay.format_state, relay.parse_state, reply),
        _plain("lease-file", make_lease_file(), lambda one: one.encoded, leasefile.parse_lease_file, "LEASE_FILE", json=False),
        _plain("pull", relay.Pull("image", MANIFEST.id, 2, 1 << 20), relay.format_pull, relay.parse_pull, uniform),
    ]  # fmt: skip
