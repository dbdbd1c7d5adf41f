"""Comparing a checkpoint with what a chain says, for a regulator's own machine. docs/protocols/anchor.md section 5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.domain.merkle import SHA256, SM3, check_consistency
from workbench.errors import VerificationError, WorkbenchError
from workbench_anchor import contract
from workbench_anchor.chain import Chain
from workbench_anchor.notes import read_note


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """What a chain says about a checkpoint. state: CONFIRMED, NOT_THERE, SPLIT_VIEW, ROLLED_BACK, UNREACHABLE.

    size: entries of the newest head on the chain, 0 for none; time_s: of its block.
    """

    state: str
    size: int
    time_s: int
    zh: str
    en: str


def compare_with_chain(
    chain: Chain,
    *,
    chain_id: int,
    address: bytes,
    note: str,
    anchored_note: str = "",
    sha256_path: Sequence[bytes] = (),
    sm3_path: Sequence[bytes] = (),
    transaction: bytes = b"",
) -> ChainVerdict:
    """Whether the entries of a checkpoint stand on the chain.

    note: the checkpoint, whose signatures the caller has verified. anchored_note, paths: the anchor of the package, with
    the consistency paths from `note` to it; without them the checkpoint itself must be the newest head. transaction: hash
    of the anchor's transaction (32 bytes), for heads that newer ones have followed. Raises nothing.
    """
    try:
        if chain.chain_id() != chain_id:
            return _verdict("NOT_THERE", 0, 0, "这个节点属于另一条链", "that node is of another chain")
        if chain.code(address) != contract.deployed_code():
            return _verdict(
                "NOT_THERE", 0, 0, "该地址上不是锚定合约", "what lies at that address is not the anchor contract"
            )
        return _compare(chain, address, note, anchored_note or note, sha256_path, sm3_path, transaction)
    except VerificationError as error:
        return _verdict("NOT_THERE", 0, 0, error.zh, error.en)
    except (WorkbenchError, ValueError) as error:
        text = str(error)
        return _verdict(
            "UNREACHABLE", 0, 0, f"链没有给出可用的回答：{text}", f"the chain gave no usable answer: {text}"
        )


def _compare(
    chain: Chain,
    address: bytes,
    note: str,
    anchored_note: str,
    sha256_path: Sequence[bytes],
    sm3_path: Sequence[bytes],
    transaction: bytes,
) -> ChainVerdict:
    asked, held = read_note(note), read_note(anchored_note)
    if (asked.checkpoint.project, asked.checkpoint.log) != (held.checkpoint.project, held.checkpoint.log):
        return _verdict("NOT_THERE", 0, 0, "锚定的是另一本日志", "the anchor is of another log")
    for tree, path, old, new in (
        (SHA256, sha256_path, asked.checkpoint.sha256_root, held.checkpoint.sha256_root),
        (SM3, sm3_path, asked.checkpoint.sm3_root, held.checkpoint.sm3_root),
    ):
        check_consistency(tree, old=asked.size, new=held.size, old_root=old, new_root=new, proof=path)
    head = contract.read_latest(chain.call(address, contract.latest_call(held.origin_id)))
    if head is None:
        return _verdict("NOT_THERE", 0, 0, "链上没有这本日志的任何检查点", "the chain has no head of this log at all")
    where = (head.size, head.time_s)
    if head.size < held.size:
        zh = f"链上最新只有 {head.size} 条，少于所出示的 {held.size} 条：链回到了旧数据，或从未锚定"
        en = f"the chain's newest head has {head.size} entries, fewer than the {held.size} shown: rolled back, or never anchored"
        return _verdict("ROLLED_BACK" if transaction else "NOT_THERE", *where, zh, en)
    if head.size == held.size:
        if head.roots != (held.checkpoint.sha256_root, held.checkpoint.sm3_root):
            zh, en = (
                "链上同样条数的树根不同：存在两份历史",
                "the chain has other roots for the same size: there are two histories",
            )
            return _verdict("SPLIT_VIEW", *where, zh, en)
        return _confirmed(*where)
    return _by_transaction(chain, address, held.origin_id, contract.head_of(held), transaction, where)


def _by_transaction(
    chain: Chain, address: bytes, origin: bytes, wanted: contract.ChainHead, transaction: bytes, where: tuple[int, int]
) -> ChainVerdict:
    """For a head that newer ones have followed: the log of its transaction still says so."""
    receipt = chain.receipt(transaction) if transaction else None
    if receipt is None or not receipt.accepted:
        zh = "链上已有更新的检查点；要核对这一个，须给出它的交易哈希"
        en = "the chain has a newer head; this one can be compared only by the hash of its transaction"
        return _verdict("NOT_THERE", *where, zh, en)
    block = chain.block(receipt.block)
    logs = [one for one in receipt.logs if one.address == address and one.topics[:2] == (contract.ANCHORED, origin)]
    if block is None or block.hash != receipt.block_hash or len(logs) != 1:
        return _verdict("NOT_THERE", *where, "该交易没有锚定这本日志", "that transaction did not anchor this log")
    log = logs[0]
    if log.topics != contract.anchored_topics(origin, wanted.size):
        return _verdict("NOT_THERE", *where, "该交易锚定的是另一个条数", "that transaction anchored another size")
    if log.data[:64] != contract.anchored_data(wanted)[:64]:
        zh, en = "该交易锚定的树根不同：存在两份历史", "that transaction anchored other roots: there are two histories"
        return _verdict("SPLIT_VIEW", *where, zh, en)
    return _confirmed(wanted.size, block.time_s)


def _confirmed(size: int, time_s: int) -> ChainVerdict:
    zh = f"链上有这份检查点（{size} 条）；之后没有人能改动其中记录而不被发现"
    en = f"the chain has this head ({size} entries); nobody can have changed an entry of it since without being found"
    return _verdict("CONFIRMED", size, time_s, zh, en)


def _verdict(state: str, size: int, time_s: int, zh: str, en: str) -> ChainVerdict:
    return ChainVerdict(state, size, time_s, zh, en)
