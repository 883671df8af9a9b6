// SPDX-License-Identifier: Apache-2.0
// Every legal move of a dispute after which it goes on, where it binds: the twin of dispute/claims.ts, same functions, same errors, same state
// (docs/protocol.md §4). The moves that end one are in Grounds.sol. A move that is not legal reverts and changes nothing. Who sent it is the
// caller's business.
//
// Twin order: begin awake turn · bisect bisectFold open descend showChunk · pick enterState showExpr pickElement · timeout
pragma solidity ^0.8.28;

import {Op, U8_CODE} from "../arbiter/Expr.sol";
import {Game, Level, Papers, Side} from "./GameState.sol";
import {Merkle} from "./Merkle.sol";
import {Position} from "./Position.sol";

/// Why a game ended.
enum Ground {
    None, // it goes on
    Scalar,
    Input,
    State,
    Probe,
    Padding,
    Tail,
    Clock
}

/// A 32-byte item with its siblings.
struct Item {
    bytes32 value;
    bytes32[] proof;
}

/// Something that the solver has revealed, by its index: the value (of steps: both ends of the part), then its siblings.
struct Pick {
    uint32 index;
    bytes32[] path;
}

/// The words of an `open`: what the step's two moments are hashes of.
struct Opened {
    bytes32 preState;
    bytes32 preChain;
    bytes32 postState;
    bytes32 postChain;
}

/// How a game ended, if it did. Numbers that the ground does not concern are 0; a state names its slot in `element`.
struct Verdict {
    bool convicted;
    Ground ground;
    uint32 expr;
    uint32 element;
    uint32 term;
    uint32 claimed;
    uint32 computed;
}

/// What a move asks of the arbiter.
interface IDescribe {
    function describe(bytes calldata leaf)
        external
        view
        returns (uint8 op, uint8 dtype, uint256 size, uint256 byteLength, uint256 terms, uint32 firstAttr);
}

/// The moves after which a game goes on, over a game in memory; and what Grounds.sol needs of them.
library Claims {
    // not now
    error WrongMove(Level level, Side toMove);
    error ClockRanOut(uint256 thought, uint256 left);
    error ClockRuns(uint256 thought, uint256 left);
    /// Nobody knows yet whether the claim is meant: the solver's first answer is due from `until` on.
    error StillSealed(uint256 until);
    /// The pick ends the descent, the fold or the chunk: say what is wrong with it in the same move.
    error AtBottom();
    error NotAtBottom();
    // not of this form
    error WrongCount(uint256 got, uint256 want);
    error WrongIndex(uint256 got);
    error ChunkLength(uint256 length);
    // hashes to something else
    error RootDiffers();
    error StartDiffers();
    error EndDiffers();
    error ChunkDiffers();
    error LeafDiffers();
    error NotProven();
    // proves nothing
    error IsInput();
    error NotInput();
    error NoFault();

    /// A game about the segment between two moments, the solver to move. The caller sets the players, and `fresh`.
    function begin(Game memory g, uint32 steps, uint32 clockSeconds, bytes32 start, bytes32 end) internal view {
        g.level = steps == 1 ? Level.Open : Level.Steps;
        g.movedAt = uint64(block.timestamp);
        g.solverClock = clockSeconds;
        g.challengerClock = clockSeconds;
        g.to = steps;
        g.lo = start;
        g.hi = end;
    }

    /// For a fresh game: its clock begins when the claim was opened or had to be, not before.
    function awake(Game memory g, uint256 sealedUntil) internal view {
        if (block.timestamp < sealedUntil) revert StillSealed(sealedUntil);
        if (sealedUntil > g.movedAt) g.movedAt = uint64(sealedUntil);
    }

    /// Checks level, side and clock, takes what was thought from the side that thought, and gives the turn to the other.
    function turn(Game memory g, Side side, uint256 levels) internal view {
        Level level = g.level;
        if (g.toMove != side || levels & bit(level) == 0) revert WrongMove(level, g.toMove);
        bool solvers = side == Side.Solver;
        uint256 left = solvers ? g.solverClock : g.challengerClock;
        uint256 thought = block.timestamp - g.movedAt;
        if (thought > left) revert ClockRanOut(thought, left);
        if (solvers) g.solverClock = uint32(left - thought);
        else g.challengerClock = uint32(left - thought);
        g.movedAt = uint64(block.timestamp);
        g.toMove = solvers ? Side.Challenger : Side.Solver;
        g.fresh = false;
    }

    // the solver's moves

    function bisect(Game memory g, bytes32[] calldata values) internal view {
        turn(g, Side.Solver, bit(Level.Steps));
        uint256 parts = Position.partsOf(g.to - g.from, Position.STEPS);
        if (values.length != parts - 1) revert WrongCount(values.length, parts - 1);
        bytes32[] memory list = new bytes32[](parts);
        bytes32 from = g.lo;
        for (uint256 i = 0; i < parts; ++i) {
            bytes32 to = i == parts - 1 ? g.hi : values[i];
            list[i] = Merkle.innerHash(from, to);
            from = to;
        }
        g.list = Merkle.itemsRoot(list);
    }

    /// The accumulators between the parts, four bytes each.
    function bisectFold(Game memory g, bytes calldata words) internal view {
        turn(g, Side.Solver, bit(Level.Fold));
        uint256 want = 4 * Position.partsOf(g.to - g.from, Position.TERMS) - 4;
        if (words.length != want) revert WrongCount(words.length, want);
        g.words = abi.encodePacked(bytes4(wordAt(g, 0)), words, bytes4(wordAt(g, 1)));
    }

    /// The step itself, and the first round of its trace.
    function open(Game memory g, Papers memory p, Opened calldata o, bytes32[] calldata values) internal view {
        turn(g, Side.Solver, bit(Level.Open));
        if (momentOf(o.preState, sha256(abi.encode(o.preChain))) != g.lo) revert StartDiffers();
        if (momentOf(o.postState, sha256(abi.encode(o.postChain))) != g.hi) revert EndDiffers();
        p.step = g.from;
        p.start = g.lo;
        p.end = g.hi;
        place(g, Level.Trace, 0, Merkle.depthOf(p.exprs), p.exprs);
        uint256 want = 1 << Position.takeOf(g.depth);
        if (values.length != want) revert WrongCount(values.length, want);
        g.node = Merkle.rootOf(values);
        p.trace = g.node;
    }

    function descend(Game memory g, bytes32[] calldata values) internal view {
        turn(g, Side.Solver, bit(Level.Trace) | bit(Level.State) | bit(Level.Tensor));
        uint256 want = 1 << Position.takeOf(g.depth);
        if (values.length != want) revert WrongCount(values.length, want);
        if (Merkle.rootOf(values) != g.node) revert RootDiffers();
    }

    function showChunk(Game memory g, bytes calldata chunk) internal view {
        turn(g, Side.Solver, bit(Level.Chunk));
        if (chunk.length != Merkle.CHUNK) revert ChunkLength(chunk.length);
        if (Merkle.leafHash(chunk) != g.node) revert ChunkDiffers();
        bytes32[] calldata words;
        assembly ("memory-safe") {
            words.offset := chunk.offset
            words.length := 32
        }
        g.node = Merkle.rootOf(words);
    }

    // the challenger's moves

    /// Narrows the game to one part or one child of what was revealed.
    function pick(Game memory g, Pick calldata picked) internal view {
        Level level = g.level;
        turn(g, Side.Challenger, bit(Level.Steps) | bit(Level.Fold) | bit(Level.Trace) | bit(Level.State) | bit(Level.Tensor));
        if (level == Level.Steps) {
            pickSteps(g, picked);
        } else if (level == Level.Fold) {
            if (picked.path.length != 0) revert WrongCount(picked.path.length, 0);
            if (pickTerms(g, picked.index)) revert AtBottom();
        } else {
            (uint256 take, uint256 index) = childOf(g, picked);
            if (take == g.depth) {
                if (level != Level.Tensor) revert AtBottom();
                if (index >= g.count) revert WrongIndex(index);
                g.level = Level.Chunk;
            }
            g.depth -= uint8(take);
            g.index = uint32(index);
            g.node = picked.path[0];
        }
    }

    function pickSteps(Game memory g, Pick calldata picked) private view {
        (uint256 from, uint256 to, uint256 index) = (g.from, g.to, picked.index);
        uint256 parts = Position.partsOf(to - from, Position.STEPS);
        if (index >= parts) revert WrongIndex(index);
        uint256 depth = Merkle.depthOf(parts);
        if (picked.path.length != depth + 2) revert WrongCount(picked.path.length, depth + 2);
        if (!Merkle.proves(g.list, depth, index, Merkle.innerHash(picked.path[0], picked.path[1]), picked.path[2:])) revert NotProven();
        g.from = uint32(Position.cutAt(from, to, parts, index));
        g.to = uint32(Position.cutAt(from, to, parts, index + 1));
        g.lo = picked.path[0];
        g.hi = picked.path[1];
        if (g.to - g.from == 1) g.level = Level.Open;
    }

    /// Narrows a fold; says whether one term is left.
    function pickTerms(Game memory g, uint256 index) internal pure returns (bool) {
        (uint256 from, uint256 to) = (g.from, g.to);
        uint256 parts = Position.partsOf(to - from, Position.TERMS);
        if (index >= parts) revert WrongIndex(index);
        g.from = uint32(Position.cutAt(from, to, parts, index));
        g.to = uint32(Position.cutAt(from, to, parts, index + 1));
        g.words = abi.encodePacked(bytes4(wordAt(g, index)), bytes4(wordAt(g, index + 1)));
        return g.to - g.from == 1;
    }

    /// The levels that this round takes, and the child's index below them: proved.
    function childOf(Game memory g, Pick calldata picked) internal view returns (uint256 take, uint256 index) {
        take = Position.takeOf(g.depth);
        if (picked.index >= 1 << take) revert WrongIndex(picked.index);
        if (picked.path.length != take + 1) revert WrongCount(picked.path.length, take + 1);
        if (!Merkle.proves(g.node, take, picked.index, picked.path[0], picked.path[1:])) revert NotProven();
        index = Position.childAt(g.index, take, picked.index);
    }

    /// A child that is an item.
    function itemOf(Game memory g, Pick calldata picked) internal view returns (uint256 index) {
        uint256 take;
        (take, index) = childOf(g, picked);
        if (take != g.depth) revert NotAtBottom();
    }

    /// Leaves the trace, whose root the challenger accepts, for the state that the step ended in.
    function enterState(Game memory g, Papers memory p, bytes32 postState, bytes32 postCommit) internal view {
        atRoot(g);
        if (momentOf(postState, postCommit) != p.end) revert EndDiffers();
        place(g, Level.State, postState, Merkle.depthOf(p.stateSlots), p.stateSlots);
    }

    function showExpr(Game memory g, Papers memory p, IDescribe arbiter, Pick calldata picked, bytes calldata leaf, bytes32[] calldata proof)
        internal
        view
    {
        turn(g, Side.Challenger, bit(Level.Trace));
        exprOf(g, p, picked, leaf, proof);
        (uint8 op, uint8 dtype, uint256 size, uint256 byteLength, uint256 terms,) = arbiter.describe(leaf);
        if (op == Op.INPUT) revert IsInput();
        p.leaf = Merkle.leafHash(leaf);
        g.dtype = dtype;
        g.size = uint64(size);
        g.terms = uint32(terms);
        uint256 chunks = Merkle.chunksOf(byteLength);
        place(g, Level.Tensor, picked.path[0], Merkle.depthOf(chunks), chunks);
        if (chunks == 1) g.level = Level.Chunk;
    }

    /// The first element of the shown chunk that is wrong; of a fold, which is then bisected.
    function pickElement(Game memory g, Pick calldata picked) internal view {
        turn(g, Side.Challenger, bit(Level.Chunk));
        if (g.terms < 2) revert AtBottom();
        uint32 word;
        (g.element, word) = elementOf(g, picked);
        g.from = 0;
        g.to = g.terms;
        g.words = abi.encodePacked(uint32(0), word); // from the identity: +0, 0, or index 0
        g.level = Level.Fold;
    }

    function timeout(Game memory g) internal view returns (Verdict memory v) {
        bool solvers = g.toMove == Side.Solver;
        uint256 left = solvers ? g.solverClock : g.challengerClock;
        uint256 thought = block.timestamp - g.movedAt;
        if (thought <= left) revert ClockRuns(thought, left);
        v = convicted(Ground.Clock);
        v.convicted = solvers;
    }

    /// H(0x02 ‖ state root ‖ probe commitment): where a run stands between two steps.
    function momentOf(bytes32 stateRoot, bytes32 probeCommit) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x02), stateRoot, probeCommit));
    }

    // inside

    /// The challenger's turn at the root of the trace.
    function atRoot(Game memory g) internal view {
        (Level level, Side side) = (g.level, g.toMove);
        turn(g, Side.Challenger, bit(Level.Trace));
        if (g.depth != Merkle.depthOf(g.count)) revert WrongMove(level, side);
    }

    /// Sets the game to a tree's root; what follows depends on who moved.
    function place(Game memory g, Level level, bytes32 node, uint256 depth, uint256 count) private pure {
        g.level = level;
        g.node = node;
        g.depth = uint8(depth);
        g.index = 0;
        g.count = uint32(count);
    }

    /// An item of the trace that is the tensor of an expr with this leaf.
    function exprOf(Game memory g, Papers memory p, Pick calldata picked, bytes calldata leaf, bytes32[] calldata proof) internal view {
        uint256 expr = itemOf(g, picked);
        if (expr >= g.count) revert WrongIndex(expr);
        if (!Merkle.proves(p.graphId, graphDepth(p), expr, Merkle.leafHash(leaf), proof)) revert NotProven();
        p.expr = uint32(expr);
    }

    /// Levels of the graph's tree: exprs, one leaf a state slot, the header.
    function graphDepth(Papers memory p) internal pure returns (uint256) {
        return Merkle.depthOf(uint256(p.exprs) + p.stateSlots + 1);
    }

    /// Checks that the shown chunk holds `picked.path[0]` as its word number `word`.
    function wordOf(Game memory g, Pick calldata picked, uint256 word) internal view {
        if (word >= Merkle.CHUNK / 32) revert WrongIndex(picked.index);
        if (picked.path.length != 6) revert WrongCount(picked.path.length, 6);
        if (!Merkle.proves(g.node, 5, word, picked.path[0], picked.path[1:])) revert NotProven();
    }

    /// Element `picked.index` of the shown chunk: its number in the tensor, and its bits.
    function elementOf(Game memory g, Pick calldata picked) internal view returns (uint32 element, uint32 bits) {
        uint256 width = widthOf(g);
        wordOf(g, picked, uint256(picked.index) * width / 32);
        uint256 number = uint256(g.index) * Merkle.CHUNK / width + picked.index;
        if (number >= g.size) revert WrongIndex(picked.index);
        uint256 offset = uint256(picked.index) * width % 32;
        uint256 word = uint256(picked.path[0]) << 8 * offset;
        // Tensors are little-endian.
        for (uint256 k = 0; k < width; ++k) {
            bits |= uint32(word >> 248 - 8 * k & 0xff) << uint32(8 * k);
        }
        return (uint32(number), bits);
    }

    function widthOf(Game memory g) internal pure returns (uint256) {
        return g.dtype == U8_CODE ? 1 : 4;
    }

    /// Accumulator number i of a fold.
    function wordAt(Game memory g, uint256 i) internal pure returns (uint32 word) {
        bytes memory words = g.words;
        // SAFETY: callers ask for i below the number of words, which `bisectFold` and `pickTerms` see to.
        assembly ("memory-safe") {
            word := shr(224, mload(add(add(words, 32), shl(2, i))))
        }
    }

    function convicted(Ground ground) internal pure returns (Verdict memory v) {
        v.convicted = true;
        v.ground = ground;
    }

    function bit(Level level) internal pure returns (uint256) {
        return 1 << uint256(level);
    }
}
