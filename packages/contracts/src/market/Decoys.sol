// SPDX-License-Identifier: Apache-2.0
// Forced errors: one claim in so many is wrong on purpose, and catching it pays out of the pool (docs/protocol.md §3, docs/economics.md). So looking
// pays even where nobody cheats, and who does not look is found out.
//
// The solver seals (true root, decoy root, secret) before the block whose hash decides, with the secret, which of the two its claim shows. Nobody
// else knows it until the claim is opened, at the latest when the audit discloses; then the claim is about the true root. A decoy differs from the
// truth only in the probe commitments of its leaves, in all of them, and the opening proves that: so nothing but a re-run tells the two apart, no
// state is served twice, and whoever re-ran has seen it.
//
// INVARIANT (farming never pays): each seal pays the slice's fee F = price / 50 into the pool before its bit is known, whether or not it is ever
// claimed, and serves one claim. That claim shows a decoy with chance 1/m, m = decoyOneIn, and then pays out at most J + J_w =
// price · m · (1/200 + 1/100) = ¾ · F · m, whoever the winners are. So whoever makes seals, however many names it has and however often it
// starts over, expects at most ¾ of what it paid in. The price is the one that the fee was paid on: later terms change nothing.
pragma solidity ^0.8.28;

import {Claim, IDecoys, IDocket, ILedger, ITasks, Spec, Stage} from "./Types.sol";
import {Merkle} from "../dispute/Merkle.sol";
import {Moment} from "./Moment.sol";
import {Randomness} from "./Randomness.sol";

/// What a decoy's two trees are made of, a value a segment.
struct Leaves {
    bytes32[] states;
    bytes32[] trueCommits;
    bytes32[] decoyCommits;
}

contract Decoys is IDecoys {
    /// Jackpot of a decoy for its verifiers together: price · decoyOneIn / 200, so half a per cent of the price a slice on average.
    uint256 public constant VERIFIERS_JACKPOT_SHARE = 200;
    /// For those that challenged it before it was opened: price · decoyOneIn / 100 where one did, one per cent on average; of k each that / 2^(k-1),
    /// together never more than for one, so that Sybils win nothing by multiplying (Teutsch and Reitwiessner's rule).
    uint256 public constant WHISTLE_JACKPOT_SHARE = 100;
    /// Audit.MAX_ROUNDS.
    uint256 private constant MAX_ROUNDS = 3;

    struct Seal {
        bytes32 commitment;
        uint128 priceWei; // of a slice, when it was sealed: what its jackpots are measured by
        uint64 anchorBlock;
        bool used; // one claim each
    }

    /// The seal of a claim; without one (hash 0) the claim is plain.
    struct Mask {
        bytes32 anchorHash;
        uint48 openBy; // unix seconds; disputes about the claim stand still until it is opened, or until then
        uint48 openedAt;
        uint32 challengers; // that stood when a decoy was opened
        bool opened;
        bool decoy; // opened, and it was one
    }

    ILedger public immutable stake;
    ITasks public immutable market;
    IDocket public immutable audit;
    address public immutable court;

    mapping(uint256 taskId => mapping(uint256 slice => mapping(address solver => Seal))) private _seals;
    mapping(uint256 claimId => Mask) private _masks;

    event SealedSlice(uint256 indexed taskId, uint256 indexed slice, address indexed solver, bytes32 commitment, uint256 anchorBlock);
    /// The claim is made under its solver's seal; `plain` when the chain has forgotten the anchor or the seal was used before.
    event Bound(uint256 indexed claimId, bool plain);
    /// `root` is the true one. Of a decoy: its leaves' true probe commitments, and how many had challenged it.
    event Opened(uint256 indexed claimId, bool decoy, bytes32 root, bytes32[] probeCommits, uint256 challengers);
    /// A verifier or a challenger had found the decoy.
    event Caught(uint256 indexed claimId, address indexed catcher, uint256 rewardWei);

    error NotAllowed(address caller);
    error EmptyCommitment(uint256 taskId);
    error SealedAlready(uint256 taskId, uint256 slice, address solver);
    error NoDecoys(uint256 taskId);
    error NotSealed(uint256 taskId, uint256 slice, address solver);
    /// Another hash decides than the one that the solver went by; 0: none, the claim is plain.
    error AnchorDiffers(bytes32 decides, bytes32 given);
    error NothingToOpen(uint256 claimId);
    error NotNow(uint256 claimId, Stage stage);
    error NoDecoy(uint256 claimId);
    error CommitmentDiffers(bytes32 committed, bytes32 opened);
    /// The claim shows another root than the bit says.
    error ShowsTheOther(bool decoy, bytes32 shown, bytes32 wanted);
    error WrongCount(uint256 got, uint256 want);
    /// A leaf of a decoy with the true probe commitment.
    error LeafNotMasked(uint256 segment);
    error EndDiffers(bytes32 got, bytes32 want);
    error RootDiffers(bytes32 got, bytes32 want);

    /// The other contracts may not exist yet: their addresses follow from the deployer's nonce.
    constructor(ILedger stake_, ITasks market_, IDocket audit_, address court_) {
        (stake, market, audit, court) = (stake_, market_, audit_, court_);
    }

    // ---------------------------------------------------------------- the solver

    /// Before it claims: keccak256(abi.encode(taskId, slice, solver, trueRoot, decoyRoot, secret)). Once a slice and solver, never to be replaced;
    /// the slice's fee goes to the pool.
    function seal(uint256 taskId, uint32 slice, bytes32 commitment) external {
        if (commitment == 0) revert EmptyCommitment(taskId);
        if (_oneIn(taskId) == 0) revert NoDecoys(taskId);
        Seal storage s = _seals[taskId][slice][msg.sender];
        if (s.commitment != 0) revert SealedAlready(taskId, slice, msg.sender);
        s.commitment = commitment;
        s.anchorBlock = uint64(Randomness.anchor());
        s.priceWei = uint128(market.payFee(taskId, slice, msg.sender));
        emit SealedSlice(taskId, slice, msg.sender, commitment, s.anchorBlock);
    }

    /// Opens a claim that shows the truth, while the audit waits for the disclosure.
    function openTrue(uint256 claimId, bytes32 trueRoot, bytes32 decoyRoot, bytes32 secret) external {
        Claim memory c = _mustBeOpenable(claimId);
        (Stage stage,,,,,,) = audit.stageOf(claimId);
        if (stage != Stage.Disclosing) revert NotNow(claimId, stage);
        _checkSeal(claimId, c, trueRoot, decoyRoot, secret, false);
        (_masks[claimId].opened, _masks[claimId].openedAt) = (true, uint48(block.timestamp));
        emit Opened(claimId, false, trueRoot, new bytes32[](0), 0);
    }

    /// Opens a claim that shows a decoy, while the audit waits for the disclosure; not sooner, so that whoever looks has the whole time to seal. An
    /// audit that never gets there (nobody is drawn) must not cost the solver its defence: from `discloseSeconds` before `openBy` on it may open anyway.
    /// The leaves of both trees are shown: the same states, and probe commitments that differ in every one.
    function openDecoy(uint256 claimId, bytes32 secret, Leaves calldata leaves) external {
        Claim memory c = _mustBeOpenable(claimId);
        Mask storage m = _masks[claimId];
        {
            (Stage stage,,,,,,) = audit.stageOf(claimId);
            bool stuck = block.timestamp + market.specOf(c.taskId).discloseSeconds >= m.openBy && stage < Stage.Disclosing;
            if (stage != Stage.Disclosing && !stuck) revert NotNow(claimId, stage);
        }
        (bytes32 trueRoot, bytes32 decoyRoot) = _rootsOf(c, leaves);
        _checkSeal(claimId, c, trueRoot, decoyRoot, secret, true);
        (m.opened, m.decoy, m.openedAt, m.challengers) = (true, true, uint48(block.timestamp), c.games);
        market.unmask(claimId, trueRoot);
        audit.unmask(claimId, trueRoot);
        emit Opened(claimId, true, trueRoot, leaves.trueCommits, c.games);
    }

    // ---------------------------------------------------------------- the market and the audit

    /// A claim is made: uses the solver's seal up and fixes the hash that decides. Waiting until the chain has forgotten the anchor makes the claim
    /// plain: it can only avoid a decoy, never win one. `anchorHash` is the hash that the solver went by, 0 for a plain claim: a claim that is mined
    /// later than it was meant, or on another branch of the chain, is refused instead of showing what it must not.
    function bind(uint256 claimId, uint256 taskId, uint32 slice, address solver, bytes32 anchorHash) external {
        if (msg.sender != address(market)) revert NotAllowed(msg.sender);
        Seal storage s = _seals[taskId][slice][solver];
        if (s.commitment == 0) revert NotSealed(taskId, slice, solver);
        bool plain = s.used || Randomness.isLost(s.anchorBlock);
        bytes32 decides = plain ? bytes32(0) : Randomness.hashOf(s.anchorBlock);
        if (anchorHash != decides) revert AnchorDiffers(decides, anchorHash);
        if (!plain) {
            Spec memory spec = market.specOf(taskId);
            Mask storage m = _masks[claimId];
            m.anchorHash = decides;
            // Each round of drawing and sealing, and the disclosure.
            m.openBy = uint48(block.timestamp + 2 * MAX_ROUNDS * spec.sealSeconds + spec.discloseSeconds);
        }
        s.used = true;
        emit Bound(claimId, plain);
    }

    /// The verifiers that caught a decoy, each the same share of the jackpot as if all places had.
    function payCatchers(uint256 claimId, address[] calldata catchers, uint256 places) external {
        if (msg.sender != address(audit)) revert NotAllowed(msg.sender);
        Claim memory c = market.claimOf(claimId);
        uint256 shareWei = _seals[c.taskId][c.slice][c.solver].priceWei * _oneIn(c.taskId) / VERIFIERS_JACKPOT_SHARE / places;
        for (uint256 i = 0; i < catchers.length; ++i) {
            emit Caught(claimId, catchers[i], stake.reward(catchers[i], shareWei));
        }
    }

    /// The court, giving back the bond of a game that stood when its claim turned out to be a decoy; once a game.
    function caught(uint256 claimId, address challenger) external {
        if (msg.sender != court) revert NotAllowed(msg.sender);
        Mask storage m = _masks[claimId];
        if (!m.decoy) revert NoDecoy(claimId);
        Claim memory c = market.claimOf(claimId);
        uint256 jackpotWei = _seals[c.taskId][c.slice][c.solver].priceWei * _oneIn(c.taskId) / WHISTLE_JACKPOT_SHARE;
        emit Caught(claimId, challenger, stake.reward(challenger, m.challengers > 128 ? 0 : jackpotWei >> (m.challengers - 1)));
    }

    // ---------------------------------------------------------------- views

    /// Until when disputes about a claim stand still (its first answer is not due): its opening, or the time by which it must be opened, whichever is
    /// sooner, so that opening late winds no clock up again; 0 where there is no seal.
    function sealedUntil(uint256 claimId) external view returns (uint256) {
        Mask storage m = _masks[claimId];
        return m.opened && m.openedAt < m.openBy ? m.openedAt : m.openBy;
    }

    /// Whether the claim's seal is opened, or there is nothing to open.
    function isOpen(uint256 claimId) external view returns (bool) {
        Mask storage m = _masks[claimId];
        return m.anchorHash == 0 || m.opened;
    }

    function sealOf(uint256 taskId, uint256 slice, address solver) external view returns (Seal memory) {
        return _seals[taskId][slice][solver];
    }

    function maskOf(uint256 claimId) external view returns (Mask memory) {
        return _masks[claimId];
    }

    /// Whether a claim shows a decoy, by its anchor's hash and the solver's secret.
    function isDecoy(bytes32 anchorHash, uint256 taskId, uint32 slice, bytes32 secret, uint256 oneIn) public pure returns (bool) {
        return uint256(keccak256(abi.encode(anchorHash, taskId, slice, secret))) % oneIn == 0;
    }

    // ---------------------------------------------------------------- within

    function _oneIn(uint256 taskId) private view returns (uint256) {
        return market.specOf(taskId).decoyOneIn;
    }

    function _mustBeOpenable(uint256 claimId) private view returns (Claim memory c) {
        c = market.claimOf(claimId);
        if (msg.sender != c.solver) revert NotAllowed(msg.sender);
        Mask storage m = _masks[claimId];
        if (m.anchorHash == 0 || m.opened) revert NothingToOpen(claimId);
    }

    /// The seal, the bit, and that the claim shows what the bit says.
    function _checkSeal(uint256 claimId, Claim memory c, bytes32 trueRoot, bytes32 decoyRoot, bytes32 secret, bool decoy) private view {
        bytes32 opened = keccak256(abi.encode(uint256(c.taskId), c.slice, c.solver, trueRoot, decoyRoot, secret));
        bytes32 committed = _seals[c.taskId][c.slice][c.solver].commitment;
        if (opened != committed) revert CommitmentDiffers(committed, opened);
        bool bit = isDecoy(_masks[claimId].anchorHash, c.taskId, c.slice, secret, _oneIn(c.taskId));
        bytes32 wanted = bit ? decoyRoot : trueRoot;
        if (bit != decoy || c.root != wanted) revert ShowsTheOther(bit, c.root, wanted);
    }

    /// Both trees of a decoy, which must be over the same states, end in the claim's, and differ in every leaf.
    function _rootsOf(Claim memory c, Leaves calldata leaves) private view returns (bytes32 trueRoot, bytes32 decoyRoot) {
        uint256 n = market.specOf(c.taskId).checkpointsPerSlice;
        _mustHave(leaves.states.length, n);
        _mustHave(leaves.trueCommits.length, n);
        _mustHave(leaves.decoyCommits.length, n);
        bytes32[] memory truth = new bytes32[](n);
        bytes32[] memory decoy = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            (bytes32 state, bytes32 a, bytes32 b) = (leaves.states[i], leaves.trueCommits[i], leaves.decoyCommits[i]);
            if (a == b) revert LeafNotMasked(i);
            (truth[i], decoy[i]) = (Moment.hash(state, a), Moment.hash(state, b));
        }
        if (leaves.states[n - 1] != c.endState) revert EndDiffers(leaves.states[n - 1], c.endState);
        (trueRoot, decoyRoot) = (Merkle.itemsRoot(truth), Merkle.itemsRoot(decoy));
        if (decoyRoot != c.root) revert RootDiffers(decoyRoot, c.root);
    }

    function _mustHave(uint256 got, uint256 want) private pure {
        if (got != want) revert WrongCount(got, want);
    }
}
