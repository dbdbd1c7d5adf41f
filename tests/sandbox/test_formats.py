"""Every format of the sandbox: one spelling, exactly its members, every change refused or another value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox.samples import (
    ACCOUNT,
    ASK,
    FACTS,
    KEYS,
    LEASE,
    MANIFEST,
    MEASURED,
    NONCE,
    NOW,
    ORDER,
    PROVIDER,
    PROVIDER_SERVICE,
    PUBLIC_SHARES,
    QUESTION,
    RECEIPT,
    RECORDS,
    SANDBOX,
    TENANT,
    TICK,
    VIEW,
    Sample,
    all_formats,
    make_end,
    make_evidence,
)
from workbench.crypto import sm2
from workbench.errors import KeyUnavailable, ProtocolViolation, Refused, VerificationError, WorkbenchError
from workbench_inference import settings as plugin_settings
from workbench_sandbox.formats import (
    asking,
    carried,
    erasing,
    evidence,
    manifest,
    metering,
    order,
    reading,
    relay,
    servicekey,
)

FORMATS = all_formats()
TRIES = 200
"""Places of a format at which a byte is changed, beside its first and last ones, where a signature is verified each time."""
LONG = 600


def refused(sample: Sample, read: Callable[[bytes], Any], raw: bytes) -> bool:
    """Whether these bytes are refused with the format's own code; any other error is a fault."""
    try:
        read(raw)
    except WorkbenchError as error:
        assert error.code in sample.codes, (sample.name, error.code)
        return True
    return False


def altered(sample: Sample) -> Iterator[bytes]:
    """Copies with one byte changed: every one, but of long ones under a signature those at both ends and spread over the rest."""
    raw = sample.raw
    step = max(1, len(raw) // TRIES) if sample.is_signed or len(raw) > LONG else 1
    places = sorted({*range(min(12, len(raw))), *range(0, len(raw), step), *range(max(0, len(raw) - 4), len(raw))})
    for place in places:
        flip = (1, 0x20, 0x80)[place % 3]
        yield raw[:place] + bytes([raw[place] ^ flip]) + raw[place + 1 :]


def test_every_format_reads_back_what_was_written_and_no_change_stays_unseen() -> None:
    for sample in FORMATS:
        assert sample.read(sample.raw) == sample.value, sample.name
        for copy in altered(sample):
            if not refused(sample, sample.read, copy):
                # Not signed here but by the letter, frame or channel around it: another value, in its only spelling.
                assert not sample.is_signed and sample.rewrite is not None, sample.name
                value = sample.read(copy)
                assert value != sample.value and sample.rewrite(value) == copy, sample.name
        if sample.name != "answer":  # whatever follows the sandbox's name there is the message of an exchange
            assert refused(sample, sample.read, sample.raw + b"\x00"), sample.name
            assert refused(sample, sample.read, sample.raw[:-1]) and refused(sample, sample.read, b""), sample.name


def test_no_format_takes_a_further_member_or_does_without_one() -> None:
    for sample in FORMATS:
        if sample.json is None:
            continue
        start, end = sample.json
        body = json.loads(sample.raw[start:end])
        changes = [other for place in objects(body) for other in changed(body, place)]
        assert len(changes) >= 2, sample.name
        for other in changes:
            encoded = json.dumps(other, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
            raw = sample.raw[:start] + encoded + sample.raw[end:]
            if start:
                raw = raw[: start - 4] + len(encoded).to_bytes(4, "big") + raw[start:]
            assert refused(sample, sample.parse, raw), (sample.name, other)


def put(sample: Sample, encoded: bytes) -> bytes:
    """The format with other JSON in it, and the length that fits."""
    assert sample.json is not None
    start, end = sample.json
    length = len(encoded).to_bytes(4, "big") if start else b""
    return sample.raw[: max(0, start - 4)] + length + encoded + sample.raw[end:]


def test_no_format_takes_a_number_out_of_range_or_its_members_in_another_spelling() -> None:
    for sample in FORMATS:
        if sample.json is None:
            continue
        encoded = sample.raw[slice(*sample.json)]
        body = json.loads(encoded)
        for place, number in numbers(body):
            for wrong in (b"9007199254740993", b"-9007199254740993", b"1e3", b"1.0", b"01", b"%d.5" % number, b'"%d"' % number, b"true"):
                other = json.loads(encoded)
                step = other
                for one in place[:-1]:
                    step = step[one]
                step[place[-1]] = "@here@"
                spelled = json.dumps(other, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode().replace(b'"@here@"', wrong)
                assert refused(sample, sample.parse, put(sample, spelled)), (sample.name, place, wrong)
        first = next(iter(body))
        member = json.dumps({first: body[first]}, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()[1:-1]
        rest = dict(reversed(body.items()))
        for spelled in (
            b"{" + member + b"," + encoded[1:], encoded[:-1] + b"," + member + b"}", encoded.replace(b":", b": ", 1), b" " + encoded, encoded + b"\n", b"\xef\xbb\xbf" + encoded,
            encoded.replace(b'"v"', b'"\\u0076"', 1), b"[" + encoded + b"]", b"null", encoded.replace(b'"v":1', b'"v":2'),
            *([json.dumps(rest, ensure_ascii=False, separators=(",", ":")).encode()] if len(rest) > 1 else []),
        ):  # fmt: skip
            assert refused(sample, sample.parse, put(sample, spelled)), (sample.name, spelled[:40])


def test_what_bears_a_length_is_refused_with_any_other() -> None:
    for sample in FORMATS:
        if sample.json is None or not sample.json[0]:
            continue
        start, end = sample.json
        for size in (0, end - start - 1, end - start + 1, 1 << 24, (1 << 32) - 1):
            raw = sample.raw[: start - 4] + size.to_bytes(4, "big") + sample.raw[start:]
            assert refused(sample, sample.parse, raw), (sample.name, size)
        for cut in range(0, len(sample.raw), 1 + len(sample.raw) // 40):
            assert refused(sample, sample.read, sample.raw[:cut]), (sample.name, cut)


def numbers(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Where whole numbers are, and which; of several in a list the first stands for all."""
    found = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for name, one in found:
        if type(one) is int:
            yield (*place, name), one
        else:
            yield from numbers(one, (*place, name))


def objects(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where objects are; of several in a list the first stands for all."""
    if isinstance(value, dict):
        yield place
        for name, one in value.items():
            yield from objects(one, (*place, name))
    elif isinstance(value, list) and value:
        yield from objects(value[0], (*place, 0))


def changed(body: Any, place: tuple[Any, ...]) -> Iterator[Any]:
    """The body with one member more or less in the object at this place, or one of another type."""

    def at(copy: Any) -> dict[str, Any]:
        for step in place:
            copy = copy[step]
        assert isinstance(copy, dict)
        return copy

    copy = json.loads(json.dumps(body))
    at(copy)["zz"] = 1
    yield copy
    for name, one in at(body).items():
        copy = json.loads(json.dumps(body))
        del at(copy)[name]
        if name not in ("x25519", "sm2_share") or len(at(body)) < 3:
            yield copy
        copy = json.loads(json.dumps(body))
        at(copy)[name] = (
            [] if isinstance(one, dict) else {} if isinstance(one, list) else True if isinstance(one, int) else 7
        )
        if isinstance(one, bool):
            at(copy)[name] = 1
        yield copy


# ------------------------------------------------------------------------------------------------------- what is signed


def test_a_signature_of_another_key_kind_lease_or_party_does_not_count() -> None:
    service = servicekey.sign_service_key(PROVIDER_SERVICE, key=KEYS["tenant-contract"])
    with pytest.raises(VerificationError, match="contract key"):
        servicekey.verify_service_key(
            service, party=PROVIDER, contract_key=KEYS["provider-contract"].public, known=None, now_ms=NOW
        )
    raw = metering.sign_tick(TICK, provider=PROVIDER, key=KEYS["provider-service"])
    for wrong in (
        {"lease": "L-20251122-00000000"},
        {"provider": TENANT},
        {"service_key": KEYS["tenant-service"].public},
    ):
        arguments: dict[str, Any] = {
            "lease": LEASE,
            "provider": PROVIDER,
            "service_key": KEYS["provider-service"].public,
            **wrong,
        }
        with pytest.raises(VerificationError) as caught:
            metering.verify_tick(raw, **arguments)
        assert caught.value.code == "TICK_REFUSED"
    agreed = metering.sign_agreed(TICK, tenant=TENANT, key=KEYS["tenant-service"])
    later = replace(TICK, number=2, previous=TICK.digest, total_card_seconds=240)
    with pytest.raises(VerificationError):  # a reply to one tick is none to the next
        metering.verify_reply(agreed, tick=later, tenant=TENANT, service_key=KEYS["tenant-service"].public)
    with pytest.raises(VerificationError):  # a signature over a tick by its provider is no agreement of its tenant
        metering.verify_reply(
            b"\x01" + raw[-64:], tick=TICK, tenant=TENANT, service_key=KEYS["provider-service"].public
        )


def test_a_service_key_counts_within_its_time_and_in_its_chain_only() -> None:
    contract = KEYS["provider-contract"]
    following = replace(PROVIDER_SERVICE, key=KEYS["sandbox"].public, previous=PROVIDER_SERVICE.digest)
    unrelated = replace(following, previous="00" * 32)

    def verify(
        value: servicekey.ServiceKey, known: servicekey.ServiceKey | None, now_ms: int = NOW
    ) -> servicekey.ServiceKey:
        raw = servicekey.sign_service_key(value, key=contract)
        return servicekey.verify_service_key(
            raw, party=PROVIDER, contract_key=contract.public, known=known, now_ms=now_ms
        )

    assert verify(PROVIDER_SERVICE, None) == verify(PROVIDER_SERVICE, PROVIDER_SERVICE) == PROVIDER_SERVICE
    assert verify(following, PROVIDER_SERVICE) == following == verify(following, None)
    edges = (PROVIDER_SERVICE.from_ms - 5_000, PROVIDER_SERVICE.until_ms + 5_000)
    assert all(verify(PROVIDER_SERVICE, None, at) for at in edges)
    for value, known, at in (
        (unrelated, PROVIDER_SERVICE, NOW), (PROVIDER_SERVICE, following, NOW), (PROVIDER_SERVICE, None, edges[0] - 1),
        (PROVIDER_SERVICE, None, edges[1] + 1), (replace(PROVIDER_SERVICE, party=TENANT), None, NOW),
    ):  # fmt: skip
        with pytest.raises(VerificationError) as caught:
            verify(value, known, at)
        assert caught.value.code == "SERVICE_KEY"


def test_a_provider_signs_no_evidence_that_says_more_than_it_saw() -> None:
    encoded = evidence.make_statement(FACTS, MEASURED, PUBLIC_SHARES, nonce=NONCE, made_ms=NOW, until_ms=NOW + 1)
    raw = evidence.sign_statement(encoded, key=KEYS["sandbox"])
    weaker = tuple(replace(one, state="off") if one.name == "no-network" else one for one in FACTS.controls)
    for facts, nonce in (
        (FACTS, "00" * 32), (replace(FACTS, serial=2), NONCE), (replace(FACTS, assurance="gvisor"), NONCE), (replace(FACTS, controls=weaker), NONCE),
        (replace(FACTS, controls=FACTS.controls[1:]), NONCE), (replace(FACTS, limits=replace(FACTS.limits, memory_bytes=1)), NONCE),
        (replace(FACTS, boot="00" * 16), NONCE), (replace(FACTS, listing=""), NONCE),
    ):  # fmt: skip
        with pytest.raises(VerificationError) as caught:
            evidence.sign_evidence(raw, facts=facts, nonce=nonce, key=KEYS["provider-service"], service=b"")
        assert caught.value.details == {"check": "facts"}
    stranger = evidence.sign_statement(encoded, key=KEYS["tenant-service"])
    with pytest.raises(VerificationError) as caught:  # signed by another key than the statement names
        evidence.verify_self(stranger)
    assert caught.value.details == {"check": "signatures"}


def test_a_control_is_on_where_everybody_who_looked_saw_it_on_and_unknown_where_nobody_did() -> None:
    statement = evidence.parse_evidence(make_evidence()).statement
    assert (statement.control("no-network").state, statement.control("no-network").seen) == ("on", "both")
    assert statement.control("no-network").how == "namespace; tried"
    assert (statement.control("own-ipc").state, statement.control("own-ipc").seen) == ("unknown", "")
    assert statement.missing == ("own-ipc", "no-swap")
    off = tuple(replace(one, state="off") if one.name == "no-network" else one for one in FACTS.controls)
    assert (
        evidence.parse_evidence(make_evidence(facts=replace(FACTS, controls=off))).statement.control("no-network").state
        == "off"
    )
    assert plugin_settings.CONTROLS == evidence.CONTROLS


# ------------------------------------------------------------------------------------------------------------- answers


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 400))
def test_an_answer_is_read_alike_however_its_bytes_are_cut(cuts: list[int], at: int) -> None:
    writer = asking.RecordWriter()
    stream = b"".join(writer.add(one) for one in RECORDS)
    reader, found, place = asking.RecordReader(), [], 0
    for size in (*cuts, len(stream)):
        found += reader.feed(stream[place : place + size])
        place += size
    assert tuple(found) == RECORDS
    reader.finish(make_end())
    other = asking.RecordReader()
    place = at % len(stream)
    try:
        other.feed(stream[:place] + bytes([stream[place] ^ 1]) + stream[place + 1 :])
        other.finish(make_end())
    except VerificationError as error:
        assert error.code == "ANSWER_ALTERED"
        with pytest.raises(VerificationError):
            other.feed(b"")
    else:
        raise AssertionError("an altered answer was taken")


def test_an_answer_that_is_cut_or_counted_otherwise_is_refused() -> None:
    writer = asking.RecordWriter()
    stream = b"".join(writer.add(one) for one in RECORDS)
    for wrong in ({"records": 5}, {"bytes": 1}, {"digest": "00" * 32}, {"citations": 2}, {"dropped": 0}):
        reader = asking.RecordReader()
        reader.feed(stream)
        with pytest.raises(VerificationError):
            reader.finish(make_end(**wrong))
    for part in (stream[:-1], stream[: len(asking.format_record(RECORDS[0]))], b""):
        reader = asking.RecordReader()
        reader.feed(part)
        with pytest.raises(VerificationError):
            reader.finish(make_end())
    for start in (RECORDS[1:], (*RECORDS, RECORDS[0])):  # who answers is said first, and once
        with pytest.raises(VerificationError):
            asking.RecordReader().feed(b"".join(map(asking.format_record, start)))
    with pytest.raises(VerificationError):
        asking.RecordReader(most_bytes=len(stream) - 1).feed(stream)


def test_a_question_is_padded_so_that_its_length_shows_in_steps_of_512_only() -> None:
    sizes = {len(asking.format_ask(replace(QUESTION, question="问" * count))) for count in range(1, 90, 7)}
    assert sizes == {512, 1024}
    assert all(
        len(asking.format_ask(replace(QUESTION, question="问" * count))) % 512 == 0 for count in (200, 3000, 8000)
    )
    raw = asking.format_ask(QUESTION)
    for wrong in (raw + bytes(512), raw[:-1] + b"\x01", raw[: 4 + int.from_bytes(raw[:4], "big")]):
        with pytest.raises(VerificationError, match="ASK_MALFORMED"):
            asking.parse_ask(wrong)
    with pytest.raises(VerificationError, match="ASK_TOO_LARGE"):
        asking.parse_ask(bytes(asking.MAX_ASK_BYTES + 512))
    with pytest.raises(ValueError, match="64 KiB"):
        asking.format_ask(replace(QUESTION, prompt="问" * 30_000))


def test_nothing_is_written_that_a_reader_would_refuse() -> None:
    for make in (
        lambda: asking.format_ask(replace(QUESTION, question="")), lambda: asking.format_ask(replace(QUESTION, kinds=("chat",))),
        lambda: asking.format_ask(replace(QUESTION, watermark="short")), lambda: asking.format_ask(replace(QUESTION, most_tokens=5000)),
        lambda: asking.format_record(asking.Text("")), lambda: asking.format_end(make_end(state="done")),
        lambda: asking.format_end(make_end(state="failed")), lambda: asking.format_end(make_end(code="ASK_LATE")),
        lambda: replace(ORDER, cards=5), lambda: replace(ORDER, until_ms=NOW), lambda: replace(ORDER, controls=("probe", "user")),
        lambda: replace(ORDER, tenant=PROVIDER), lambda: replace(MANIFEST, files=MANIFEST.files[::-1]),
        lambda: manifest.ManifestFile("a/../b", 1, "00" * 32, "code"), lambda: manifest.ManifestFile("./b", 1, "00" * 32, "code"),
        lambda: manifest.ManifestFile("/b", 1, "00" * 32, "code"), lambda: replace(TICK, card_seconds=119), lambda: replace(TICK, previous="00" * 32),
        lambda: replace(ACCOUNT, amount_fen=24), lambda: metering.sign_differs(TICK, replace(VIEW, tick="00" * 32), tenant=TENANT, key=KEYS["tenant-service"]),
        lambda: replace(RECEIPT, checks=RECEIPT.checks[1:]), lambda: replace(RECEIPT, reason="because"*9),
        lambda: replace(PROVIDER_SERVICE, until_ms=NOW + 400 * 86_400_000), lambda: evidence.Control("user", "on", "", ""),
        lambda: evidence.Probe(3, 1, ()), lambda: relay.refused("SANDBOX_GONE"), lambda: relay.refused("SANDBOX_ENDED", cause="tired"),
        lambda: relay.FramesRequest(SANDBOX, relay.Upload(0, 0), 20_001), lambda: relay.Start(SANDBOX, "", "cd" * 32, "k-1", ""),
        lambda: carried.CorpusOpen("c0" * 32, "x", b"short"), lambda: evidence.make_statement(
            FACTS, MEASURED, PUBLIC_SHARES, nonce=NONCE, made_ms=NOW, until_ms=NOW + 120_001
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            make()


def test_a_statement_of_account_is_made_of_one_chain_of_ticks() -> None:
    second = replace(TICK, number=2, from_s=60, to_s=90, card_seconds=60, total_card_seconds=180, previous=TICK.digest)
    account = metering.make_statement([TICK, second], lease=LEASE, agreed_card_seconds=180, fen_per_card_minute=7)
    assert (account.ticks, account.card_seconds, account.amount_fen) == (2, 180, 21)
    for ticks in ([second], [TICK, TICK], [second, TICK], [TICK, replace(second, lease="L-20251122-ffffffff")]):
        with pytest.raises(ValueError, match="chain"):
            metering.make_statement(ticks, lease=LEASE, agreed_card_seconds=0, fen_per_card_minute=7)


def test_replies_that_refuse_say_what_the_caller_needs_and_nothing_else() -> None:
    assert relay.read_reply(relay.accepted(b"body")) == b"body"
    with pytest.raises(Refused) as busy:
        relay.read_reply(relay.refused("SANDBOX_BUSY", retry_after_s=3))
    assert (busy.value.code, busy.value.details) == ("SANDBOX_BUSY", {"retry_after_s": "3"})
    with pytest.raises(Refused) as ended:
        relay.read_reply(relay.refused("SANDBOX_ENDED", cause="memory"))
    assert ended.value.details == {"cause": "memory"}
    with pytest.raises(KeyUnavailable, match="QKD_KEY_REQUIRED"):
        relay.read_reply(relay.refused("QKD_KEY_REQUIRED", retry_after_s=9))
    for raw in (b"", b"\x02", b"\x01{}", relay.refused("SANDBOX_BUSY")[:-1]):
        with pytest.raises(ProtocolViolation):
            relay.read_reply(raw)
    told = set()
    for parse, raw in (
        (relay.parse_fetch, b"{}"), (relay.parse_start, b""), (relay.parse_frames, b"\x02"), (relay.parse_answer, b"\x00"), (relay.parse_state_request, b'{"lease":"L-1","v":1}'),
        (relay.parse_pull, relay.format_pull(relay.Pull("image", "ab" * 32, 0, 0))[:-1]), (relay.parse_evidence_request, b'{"v":2}'),
    ):  # fmt: skip
        with pytest.raises(Refused) as uniform:
            parse(raw)
        told.add(json.dumps(uniform.value.as_dict(), sort_keys=True))
    assert len(told) == 1  # whatever was wrong, the same bytes


def test_the_root_of_signed_ends_depends_on_each_and_on_their_order() -> None:
    ends = [asking.format_end(make_end(number=number)) for number in (1, 2, 3)]
    roots = {carried.ends_root(one) for one in (ends, ends[::-1], ends[:2], [*ends[:2], ends[2] + b" "])}
    assert len(roots) == 4 and carried.ends_root(ends) == reading.root(map(reading.digest, ends))


def test_a_runtime_listing_is_one_spelling_of_the_same_files() -> None:
    files = [("/runtime/lib/libc.so.6", 12, "aa" * 32), ("/runtime/bin/python3", 9, "bb" * 32)]
    assert manifest.runtime_listing(files) == manifest.runtime_listing(files[::-1])
    assert manifest.runtime_listing(files).splitlines()[0] == b"/runtime/bin/python3 9 " + b"bb" * 32
    for wrong in ([files[0], files[0]], [("/a b", 1, "aa" * 32)], [("", 1, "aa" * 32)]):
        with pytest.raises(ValueError):
            manifest.runtime_listing(wrong)


def test_a_frame_stream_of_an_answer_carries_the_name_of_its_ask() -> None:
    assert asking.stream_of(ASK) == bytes.fromhex(ASK[4:20])
    assert sm2.PublicKey.parse(PUBLIC_SHARES.sm2) == KEYS["sandbox"].public
    assert order.parse_order(order.format_order(ORDER)).digest == ORDER.digest
    assert erasing.parse_receipt(erasing.sign_receipt(RECEIPT, key=KEYS["provider-service"], service=b"x"))[0].clean
