// SPDX-License-Identifier: Apache-2.0
// The court: opens games against claims, lets the two sides move, and carries the verdict to market and stake. Every rule is in Claims.sol.
// No owner, no pause, no upgrade; any number of games on one claim at once, each independent.
pragma solidity ^0.8.28;

import {Arbiter} from "../arbiter/Arbiter.sol";
import {Operand} from "../arbiter/Witness.sol";
import {ClaimView, IAudit, IMarket, IStake, Spec} from "../market/Types.sol";
import {Claims, Game, Ground, Item, Level, Side, Verdict} from "./Claims.sol";
import {Merkle} from "./Merkle.sol";

/// A leaf of a claim's tree, shown.
struct Opening {
    bytes32 stateRoot;
    bytes32 probeCommit;
    bytes32[] proof;
}

/// A game and what it is about.
struct Quarrel {
    uint256 claimId;
    address solver;
    uint32 segment;
    bool closed; // decided, or moot and withdrawn
    address challenger;
    Game game;
}

contract Dispute {
    using Claims for Game;

    /// What a challenger puts at risk, wei of the token: enough that stalling a solver costs more than it can gain, the same for every claim.
    uint256 public constant CHALLENGE_BOND = 10 ether;

    IMarket public immutable market;
    IStake public immutable stake;
    IAudit public immutable audit;
    Arbiter public immutable arbiter;

    Quarrel[] private quarrels;

    event Challenged(
        uint256 indexed gameId, uint256 indexed claimId, address indexed challenger, address solver, uint32 segment, bytes32 start, bytes32 end
    );
    /// Where the game stands after a move.
    event Moved(uint256 indexed gameId, Level level, Side toMove, uint32 from, uint32 to, uint8 depth, uint32 index);
    /// The solver's values of a `bisect` or `descend` at this level.
    event Revealed(uint256 indexed gameId, Level level, bytes32[] values);
    event Opened(uint256 indexed gameId, bytes32 preState, bytes32 preChain, bytes32 postState, bytes32 postChain, bytes32 trace);
    event ChunkShown(uint256 indexed gameId, bytes chunk);
    event Decided(
        uint256 indexed gameId, bool convicted, Ground ground, uint32 expr, uint32 element, uint32 term, uint32 claimed, uint32 computed
    );
    /// The claim fell without this game: its challenger has its bond back.
    event Withdrawn(uint256 indexed gameId);

    error NoGame(uint256 gameId);
    error NotSolver(address solver);
    error NotChallenger(address challenger);
    error SelfChallenge();
    error ClaimNotOpen(uint256 claimId);
    error NoSegment(uint32 segment, uint32 segments);
    /// The opening does not stand under the claim's root.
    error NotOpened(uint32 segment);
    error Closed(uint256 gameId);
    /// The claim fell in another game or for another reason: `withdrawMoot`.
    error Moot(uint256 claimId);
    error NotMoot(uint256 claimId);

    constructor(IMarket market_, IStake stake_, IAudit audit_, Arbiter arbiter_) {
        market = market_;
        stake = stake_;
        audit = audit_;
        arbiter = arbiter_;
    }

    /// Says that `segment` of a claim is wrong, and locks the bond. `start` is the leaf before it (not looked at for segment 0, which starts from
    /// the claim's start state), `end` its own.
    function challenge(uint256 claimId, uint32 segment, Opening calldata start, Opening calldata end) external returns (uint256 gameId) {
        return begin(claimId, segment, start, Claims.momentOf(end.stateRoot, end.probeCommit), end.proof);
    }

    /// The same where the segment's own leaf is the hash of nothing that anybody was shown: the solver has to open it, or lose.
    function challengeLeaf(uint256 claimId, uint32 segment, Opening calldata start, bytes32 leaf, bytes32[] calldata proof)
        external
        returns (uint256 gameId)
    {
        return begin(claimId, segment, start, leaf, proof);
    }

    function begin(uint256 claimId, uint32 segment, Opening calldata start, bytes32 leaf, bytes32[] calldata proof)
        private
        returns (uint256 gameId)
    {
        ClaimView memory c = market.claimView(claimId);
        if (!c.open) revert ClaimNotOpen(claimId);
        if (msg.sender == c.solver) revert SelfChallenge();
        Spec memory spec = market.specOf(c.taskId);
        if (segment >= spec.checkpointsPerSlice) revert NoSegment(segment, spec.checkpointsPerSlice);
        bytes32 startState = c.startState;
        if (segment > 0) {
            startState = start.stateRoot;
            mustStand(c.root, spec.checkpointsPerSlice, segment - 1, Claims.momentOf(startState, start.probeCommit), start.proof);
        }
        mustStand(c.root, spec.checkpointsPerSlice, segment, leaf, proof);
        gameId = quarrels.length;
        Quarrel storage q = quarrels.push();
        q.claimId = claimId;
        q.solver = c.solver;
        q.segment = segment;
        q.challenger = msg.sender;
        Game storage g = q.game;
        g.graphId = spec.graphId;
        g.dataRoot = spec.dataRoot;
        g.exprs = spec.exprs;
        g.stateSlots = spec.stateSlots;
        g.dataSlots = spec.dataSlots;
        g.probe = spec.probe;
        // The probe chain starts anew: its commitment is the hash of 32 zero bytes.
        g.begin(spec.stepsPerCheckpoint, spec.clockSeconds, Claims.momentOf(startState, sha256(abi.encode(bytes32(0)))), leaf);
        emit Challenged(gameId, claimId, msg.sender, c.solver, segment, g.lo, leaf);
        moved(gameId);
        stake.lock(msg.sender, CHALLENGE_BOND);
        market.contest(claimId, msg.sender);
        audit.disputed(claimId, msg.sender);
    }

    // the solver's moves

    function bisect(uint256 gameId, bytes32[] calldata values) external {
        Game storage g = solvers(gameId);
        Level level = g.level;
        g.bisect(values);
        emit Revealed(gameId, level, values);
        moved(gameId);
    }

    function open(uint256 gameId, bytes32 preState, bytes32 preChain, bytes32 postState, bytes32 postChain, bytes32 trace) external {
        solvers(gameId).open(preState, preChain, postState, postChain, trace);
        emit Opened(gameId, preState, preChain, postState, postChain, trace);
        moved(gameId);
    }

    function descend(uint256 gameId, bytes32[] calldata values) external {
        Game storage g = solvers(gameId);
        Level level = g.level;
        g.descend(values);
        emit Revealed(gameId, level, values);
        moved(gameId);
    }

    function showChunk(uint256 gameId, bytes calldata chunk) external {
        Verdict memory v = solvers(gameId).showChunk(chunk);
        emit ChunkShown(gameId, chunk);
        settle(gameId, v);
    }

    // the challenger's moves

    function pick(uint256 gameId, uint32 index, Item[] calldata items) external {
        settle(gameId, challengers(gameId).pick(index, items));
    }

    function enter(uint256 gameId, Level level) external {
        settle(gameId, challengers(gameId).enter(level));
    }

    function proveProbe(uint256 gameId, Item calldata probe) external {
        settle(gameId, challengers(gameId).proveProbe(probe));
    }

    function showExpr(uint256 gameId, bytes calldata leaf, bytes32[] calldata proof) external {
        settle(gameId, challengers(gameId).showExpr(arbiter, leaf, proof));
    }

    function proveInput(uint256 gameId, bytes calldata leaf, bytes32[] calldata proof, Item calldata slot) external {
        settle(gameId, challengers(gameId).proveInput(arbiter, leaf, proof, slot));
    }

    function proveState(uint256 gameId, uint32 expr, bytes32[] calldata proof, Item calldata fed) external {
        settle(gameId, challengers(gameId).proveState(expr, proof, fed));
    }

    function pickElement(uint256 gameId, uint32 index, bytes calldata chunk) external {
        challengers(gameId).pickElement(index, chunk);
        moved(gameId);
    }

    function proveScalar(uint256 gameId, bytes calldata leaf, Operand[] calldata operands) external {
        settle(gameId, challengers(gameId).proveScalar(arbiter, leaf, operands));
    }

    // anybody's

    /// Ends a game in which a clock ran out.
    function timeout(uint256 gameId) external {
        settle(gameId, running(gameId).game.timeout());
    }

    /// Gives a challenger its bond back when the claim fell without its game.
    function withdrawMoot(uint256 gameId) external {
        Quarrel storage q = running(gameId);
        if (market.claimView(q.claimId).open) revert NotMoot(q.claimId);
        q.closed = true;
        emit Withdrawn(gameId);
        stake.unlock(q.challenger, CHALLENGE_BOND);
    }

    function gameOf(uint256 gameId) external view returns (Quarrel memory) {
        return found(gameId);
    }

    function gameCount() external view returns (uint256) {
        return quarrels.length;
    }

    // inside

    /// Checks that a leaf stands under the claim's root.
    function mustStand(bytes32 root, uint32 segments, uint32 segment, bytes32 leaf, bytes32[] calldata proof) private view {
        if (!Merkle.proves(root, Merkle.depthOf(segments), segment, leaf, proof)) revert NotOpened(segment);
    }

    function found(uint256 gameId) private view returns (Quarrel storage) {
        if (gameId >= quarrels.length) revert NoGame(gameId);
        return quarrels[gameId];
    }

    function running(uint256 gameId) private view returns (Quarrel storage q) {
        q = found(gameId);
        if (q.closed) revert Closed(gameId);
    }

    function solvers(uint256 gameId) private view returns (Game storage) {
        Quarrel storage q = running(gameId);
        if (msg.sender != q.solver) revert NotSolver(q.solver);
        return q.game;
    }

    function challengers(uint256 gameId) private view returns (Game storage) {
        Quarrel storage q = running(gameId);
        if (msg.sender != q.challenger) revert NotChallenger(q.challenger);
        return q.game;
    }

    function moved(uint256 gameId) private {
        Game storage g = quarrels[gameId].game;
        emit Moved(gameId, g.level, g.toMove, g.from, g.to, g.depth, g.index);
    }

    /// After a move that may have ended the game: money and market follow the verdict.
    function settle(uint256 gameId, Verdict memory v) private {
        moved(gameId);
        if (v.ground == Ground.None) return;
        Quarrel storage q = quarrels[gameId];
        (uint256 claimId, address challenger) = (q.claimId, q.challenger);
        // INVARIANT: a claim falls once. Whoever comes second gets its bond back by withdrawMoot, and nobody is punished twice.
        if (!market.claimView(claimId).open) revert Moot(claimId);
        q.closed = true;
        emit Decided(gameId, v.convicted, v.ground, v.expr, v.element, v.term, v.claimed, v.computed);
        if (v.convicted) {
            stake.unlock(challenger, CHALLENGE_BOND);
            market.convict(claimId, challenger, q.segment);
        } else {
            stake.slash(challenger, q.solver, CHALLENGE_BOND / 2);
            stake.burn(challenger, CHALLENGE_BOND - CHALLENGE_BOND / 2);
            market.uncontest(claimId, challenger);
        }
    }
}
