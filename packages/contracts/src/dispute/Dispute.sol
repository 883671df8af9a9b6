// SPDX-License-Identifier: Apache-2.0
// The court: opens games against claims, lets the two sides move, and carries the verdict to market and stake. Every rule is in Claims.sol.
// Of a game it keeps a hash; a move brings what hashes to it, and the log has everything. No owner, no pause, no upgrade; any number of games on
// one claim at once, each independent.
pragma solidity ^0.8.28;

import {Arbiter} from "../arbiter/Arbiter.sol";
import {Operand} from "../arbiter/Witness.sol";
import {ClaimView, IAudit, IDecoys, IMarket, IStake, Spec} from "../market/Types.sol";
import {Claims, Ground, IDescribe, Item, Opened, Pick, Verdict} from "./Claims.sol";
import {Game, GameState, Level, Papers} from "./GameState.sol";
import {Facts} from "./Facts.sol";
import {Fed, Source} from "./Grounds.sol";
import {Merkle} from "./Merkle.sol";

/// Where the market says who keeps its seals.
interface IMasked {
    function decoys() external view returns (IDecoys);
}

/// A leaf of a claim's tree, shown.
struct Opening {
    bytes32 stateRoot;
    bytes32 probeCommit;
    bytes32[] proof;
}

/// What is kept of a game.
struct Quarrel {
    bytes32 state; // hash of the packed game; 0 once it is over
    address challenger;
    uint64 claimId;
}

contract Dispute {
    using Claims for Game;
    using GameState for Game;
    using GameState for Papers;

    /// What a challenger puts at risk, wei of the token: enough that stalling a solver costs more than it can gain, the same for every claim.
    uint256 public constant CHALLENGE_BOND = 10 ether;

    IMarket public immutable market;
    IStake public immutable stake;
    IAudit public immutable audit;
    IDecoys public immutable decoys;
    Arbiter public immutable arbiter;
    Facts public immutable facts = new Facts();

    /// Whose move a call is.
    uint256 private constant BY_SOLVER = 0;
    uint256 private constant BY_ANYBODY = 1;
    uint256 private constant BY_CHALLENGER = 2;
    /// A call that is no move.
    uint256 private constant NO_MOVE = 3;

    /// Games opened so far: their numbers are 0 …
    uint256 public gameCount;
    mapping(uint256 => Quarrel) private quarrels;

    event Challenged(
        uint256 indexed gameId, uint256 indexed claimId, address indexed challenger, address solver, uint32 segment, bytes32 start, bytes32 end
    );
    /// Where the game stands after a move, packed; and its papers where they have changed, else nothing. After the last move both are empty.
    event Moved(uint256 indexed gameId, bytes state, bytes papers);
    /// The solver's values at this level.
    event Revealed(uint256 indexed gameId, Level level, bytes32[] values);
    event StepOpened(uint256 indexed gameId, Opened opened);
    event ChunkShown(uint256 indexed gameId, bytes chunk);
    event Decided(
        uint256 indexed gameId, bool convicted, Ground ground, uint32 expr, uint32 element, uint32 term, uint32 claimed, uint32 computed
    );
    /// What the game was about is not claimed any more: its challenger has its bond back.
    event Withdrawn(uint256 indexed gameId);

    error NoGame(uint256 gameId);
    /// What was brought is not how the game stands.
    error StateDiffers(bytes32 hash);
    error PapersDiffer(bytes32 hash);
    error NotSolver(address solver);
    error NotChallenger(address challenger);
    error SelfChallenge();
    error ClaimNotOpen(uint256 claimId);
    error NoSegment(uint32 segment, uint32 segments);
    /// The opening does not stand under the claim's root.
    error NotOpened(uint32 segment);
    error Closed(uint256 gameId);
    /// The claim fell without this game, or shows another root now: `withdrawMoot`.
    error Moot(uint256 claimId);
    error NotMoot(uint256 claimId);

    constructor(IMarket market_, IStake stake_, IAudit audit_, Arbiter arbiter_) {
        market = market_;
        stake = stake_;
        audit = audit_;
        decoys = IMasked(address(market_)).decoys();
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
        gameId = gameCount++;
        quarrels[gameId].challenger = msg.sender;
        quarrels[gameId].claimId = uint64(claimId);
        Game memory g;
        g.solver = c.solver;
        g.challenger = msg.sender;
        // The probe chain starts anew: its commitment is the hash of 32 zero bytes.
        g.fresh = spec.decoyOneIn != 0;
        g.begin(spec.stepsPerCheckpoint, spec.clockSeconds, Claims.momentOf(startState, sha256(abi.encode(bytes32(0)))), leaf);
        emit Challenged(gameId, claimId, msg.sender, c.solver, segment, g.lo, leaf);
        Papers memory p;
        fill(p, claimId, segment, c.root, spec);
        file(gameId, g, p);
        stake.lock(msg.sender, CHALLENGE_BOND);
        market.contest(claimId, msg.sender);
        audit.disputed(claimId, msg.sender);
    }

    function fill(Papers memory p, uint256 claimId, uint32 segment, bytes32 root, Spec memory spec) private pure {
        p.claimId = uint64(claimId);
        p.segment = segment;
        p.exprs = spec.exprs;
        p.stateSlots = spec.stateSlots;
        p.dataSlots = spec.dataSlots;
        p.probe = spec.probe;
        p.root = root;
        p.graphId = spec.graphId;
        p.dataRoot = spec.dataRoot;
    }

    // the solver's moves: each brings the game's state

    function bisect(uint256 gameId, bytes calldata state, bytes32[] calldata values) external {
        Game memory g = load(gameId, state, BY_SOLVER);
        g.bisect(values);
        emit Revealed(gameId, Level.Steps, values);
        keep(gameId, g, "");
    }

    function bisectFold(uint256 gameId, bytes calldata state, bytes calldata words) external {
        Game memory g = load(gameId, state, BY_SOLVER);
        g.bisectFold(words);
        keep(gameId, g, "");
    }

    function open(uint256 gameId, bytes calldata state, bytes calldata papers, Opened calldata opened, bytes32[] calldata values) external {
        Game memory g = load(gameId, state, BY_SOLVER);
        Papers memory p = papersFor(g, papers);
        g.open(p, opened, values);
        emit StepOpened(gameId, opened);
        emit Revealed(gameId, Level.Trace, values);
        file(gameId, g, p);
    }

    function descend(uint256 gameId, bytes calldata state, bytes32[] calldata values) external {
        Game memory g = load(gameId, state, BY_SOLVER);
        g.descend(values);
        emit Revealed(gameId, g.level, values);
        keep(gameId, g, "");
    }

    function showChunk(uint256 gameId, bytes calldata state, bytes calldata chunk) external {
        Game memory g = load(gameId, state, BY_SOLVER);
        g.showChunk(chunk);
        emit ChunkShown(gameId, chunk);
        keep(gameId, g, "");
    }

    // the challenger's moves: each brings the game's state, and its papers where they are asked for

    function pick(uint256 gameId, bytes calldata state, Pick calldata picked) external {
        Game memory g = load(gameId, state, BY_CHALLENGER);
        g.pick(picked);
        keep(gameId, g, "");
    }

    function enterState(uint256 gameId, bytes calldata state, bytes calldata papers, bytes32 postState, bytes32 postCommit) external {
        Game memory g = load(gameId, state, BY_CHALLENGER);
        Papers memory p = papersFor(g, papers);
        g.enterState(p, postState, postCommit);
        keep(gameId, g, "");
    }

    function showExpr(
        uint256 gameId,
        bytes calldata state,
        bytes calldata papers,
        Pick calldata picked,
        bytes calldata leaf,
        bytes32[] calldata proof
    ) external {
        Game memory g = load(gameId, state, BY_CHALLENGER);
        Papers memory p = papersFor(g, papers);
        g.showExpr(p, IDescribe(address(arbiter)), picked, leaf, proof);
        file(gameId, g, p);
    }

    function pickElement(uint256 gameId, bytes calldata state, Pick calldata picked) external {
        Game memory g = load(gameId, state, BY_CHALLENGER);
        g.pickElement(picked);
        keep(gameId, g, "");
    }

    // the challenger's last moves, which others judge

    function proveProbe(uint256 gameId, bytes calldata state, bytes calldata papers, Opened calldata, Item calldata) external {
        conclude(address(facts), gameId, state, papers);
    }

    function proveInput(uint256 gameId, bytes calldata state, bytes calldata papers, Pick calldata, Source calldata) external {
        conclude(address(facts), gameId, state, papers);
    }

    function provePadding(uint256 gameId, bytes calldata state, bytes calldata papers, Pick calldata) external {
        conclude(address(facts), gameId, state, papers);
    }

    function proveState(uint256 gameId, bytes calldata state, bytes calldata papers, Pick calldata, Fed calldata) external {
        conclude(address(facts), gameId, state, papers);
    }

    function proveTail(uint256 gameId, bytes calldata state, bytes calldata papers, Pick calldata) external {
        conclude(address(facts), gameId, state, papers);
    }

    function proveElement(uint256 gameId, bytes calldata state, bytes calldata papers, Pick calldata, bytes calldata, Operand[] calldata)
        external
    {
        conclude(address(arbiter), gameId, state, papers);
    }

    function proveTerm(uint256 gameId, bytes calldata state, bytes calldata papers, uint32, bytes calldata, Operand[] calldata) external {
        conclude(address(arbiter), gameId, state, papers);
    }

    /// Passes the whole call on to a judge, which has a function of the same name and arguments that gives the verdict.
    function conclude(address judge, uint256 gameId, bytes calldata state, bytes calldata papers) private {
        Game memory g = load(gameId, state, BY_CHALLENGER);
        Papers memory p = papersFor(g, papers);
        (bool ok, bytes memory answer) = judge.staticcall(msg.data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        decide(gameId, g, p, abi.decode(answer, (Verdict)));
    }

    // anybody's

    /// Ends a game in which a clock ran out.
    function timeout(uint256 gameId, bytes calldata state, bytes calldata papers) external {
        Game memory g = load(gameId, state, BY_ANYBODY);
        Papers memory p = papersFor(g, papers);
        decide(gameId, g, p, g.timeout());
    }

    /// Gives a challenger its bond back when the claim fell without its game, or shows another root than the one the game is about.
    function withdrawMoot(uint256 gameId, bytes calldata state, bytes calldata papers) external {
        Game memory g = load(gameId, state, NO_MOVE);
        Papers memory p = papersFor(g, papers);
        ClaimView memory c = market.claimView(p.claimId);
        if (c.open && c.root == p.root) revert NotMoot(p.claimId);
        close(gameId);
        emit Withdrawn(gameId);
        stake.unlock(g.challenger, CHALLENGE_BOND);
        // It showed a decoy, and the challenger said so before that was known.
        if (c.root != p.root) decoys.caught(p.claimId, g.challenger);
    }

    /// What is kept of a game.
    function gameOf(uint256 gameId) external view returns (Quarrel memory) {
        if (gameId >= gameCount) revert NoGame(gameId);
        return quarrels[gameId];
    }

    /// Who opened a game.
    function challengerOf(uint256 gameId) external view returns (address) {
        return quarrels[gameId].challenger;
    }

    // inside

    /// Checks that a leaf stands under the claim's root.
    function mustStand(bytes32 root, uint32 segments, uint32 segment, bytes32 leaf, bytes32[] calldata proof) private view {
        if (!Merkle.proves(root, Merkle.depthOf(segments), segment, leaf, proof)) revert NotOpened(segment);
    }

    /// The game that `state` says, if it is the one that stands, and if its sender may move now.
    function load(uint256 gameId, bytes calldata state, uint256 by) private view returns (Game memory g) {
        bytes32 kept = quarrels[gameId].state;
        bytes32 hash = sha256(state);
        if (hash != kept) {
            if (kept != 0) revert StateDiffers(hash);
            if (gameId < gameCount) revert Closed(gameId);
            revert NoGame(gameId);
        }
        GameState.unpack(state, g);
        if (by == BY_SOLVER && msg.sender != g.solver) revert NotSolver(g.solver);
        if (by == BY_CHALLENGER && msg.sender != g.challenger) revert NotChallenger(g.challenger);
        if (g.fresh && by <= BY_ANYBODY) g.awake(decoys.sealedUntil(quarrels[gameId].claimId));
    }

    function papersFor(Game memory g, bytes calldata papers) private pure returns (Papers memory p) {
        bytes32 hash = sha256(papers);
        if (hash != g.papers) revert PapersDiffer(hash);
        GameState.unpackPapers(papers, p);
    }

    /// Keeps a game whose papers have changed.
    function file(uint256 gameId, Game memory g, Papers memory p) private {
        bytes memory papers = p.packPapers();
        g.papers = sha256(papers);
        keep(gameId, g, papers);
    }

    function keep(uint256 gameId, Game memory g, bytes memory papers) private {
        bytes memory state = g.pack();
        quarrels[gameId].state = sha256(state);
        emit Moved(gameId, state, papers);
    }

    function close(uint256 gameId) private {
        quarrels[gameId].state = 0;
        emit Moved(gameId, "", "");
    }

    /// The end of a game: money and market follow the verdict.
    function decide(uint256 gameId, Game memory g, Papers memory p, Verdict memory v) private {
        // INVARIANT: a claim falls once. Whoever comes second gets its bond back by withdrawMoot, and nobody is punished twice.
        // A claim that showed a decoy shows another root since it was opened: what was said about the decoy is settled by that.
        ClaimView memory c = market.claimView(p.claimId);
        if (!c.open || c.root != p.root) revert Moot(p.claimId);
        close(gameId);
        emit Decided(gameId, v.convicted, v.ground, v.expr, v.element, v.term, v.claimed, v.computed);
        if (v.convicted) {
            stake.unlock(g.challenger, CHALLENGE_BOND);
            market.convict(p.claimId, g.challenger, p.segment);
        } else {
            stake.slash(g.challenger, g.solver, CHALLENGE_BOND / 2);
            stake.burn(g.challenger, CHALLENGE_BOND - CHALLENGE_BOND / 2);
            market.uncontest(p.claimId, g.challenger);
        }
    }
}
