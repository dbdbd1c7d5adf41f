// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Newest tree heads of evidence logs, as their institutions anchored them.
/// @notice docs/protocols/anchor.md section 3. A head never shrinks and never changes under one size; whoever deploys
/// (the regulator) names the one sender of every log and can change neither heads nor history. No ether is taken.
contract EvidenceAnchor {
    struct Head {
        uint64 size;
        uint64 time;
        bytes32 sha256Root;
        bytes32 sm3Root;
        bytes32 noteDigest;
    }

    event SenderRegistered(bytes32 indexed origin, address indexed sender);
    event Anchored(
        bytes32 indexed origin,
        uint64 indexed size,
        bytes32 sha256Root,
        bytes32 sm3Root,
        bytes32 noteDigest
    );

    error NotRegistrar();
    error NotSender(bytes32 origin);
    error EmptyTree();
    error Rollback(uint64 have, uint64 got);
    error SplitView(uint64 size);

    address public registrar;
    mapping(bytes32 => address) public senderOf;
    mapping(bytes32 => Head) public latestOf;

    // A state variable and no immutable: the code at the address is then the same for everybody and can be compared.
    constructor() {
        registrar = msg.sender;
    }

    /// @notice Name the one account that may anchor a log; zero stops it. Heads stay as they are.
    function register(bytes32 origin, address sender) external {
        if (msg.sender != registrar) revert NotRegistrar();
        senderOf[origin] = sender;
        emit SenderRegistered(origin, sender);
    }

    /// @notice Anchor a head. The same head again is accepted, so that a repeated message does no harm; so is another
    /// noteDigest for the same head, because co-signatures are added to a note later.
    function anchor(bytes32 origin, uint64 size, bytes32 sha256Root, bytes32 sm3Root, bytes32 noteDigest) external {
        if (msg.sender != senderOf[origin]) revert NotSender(origin);
        if (size == 0) revert EmptyTree();
        Head storage head = latestOf[origin];
        if (size < head.size) revert Rollback(head.size, size);
        if (size == head.size && (head.sha256Root != sha256Root || head.sm3Root != sm3Root)) revert SplitView(size);
        latestOf[origin] = Head(size, uint64(block.timestamp), sha256Root, sm3Root, noteDigest);
        emit Anchored(origin, size, sha256Root, sm3Root, noteDigest);
    }
}
