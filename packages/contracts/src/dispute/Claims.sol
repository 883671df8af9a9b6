// SPDX-License-Identifier: Apache-2.0
// Every legal move of a dispute, where it binds: the twin of dispute/claims.ts, same functions, same errors, same state (docs/protocol.md §4).
// A move that is not legal reverts and changes nothing. Who sent it is the caller's business.
//
// Twin order: begin turn · bisect pick open enter proveProbe descend showExpr proveInput proveState showChunk pickElement proveScalar timeout · arrive
pragma solidity ^0.8.28;

import {Arbiter} from "../arbiter/Arbiter.sol";
import {Op, U8_CODE} from "../arbiter/Expr.sol";
import {Operand} from "../arbiter/Witness.sol";
import {Merkle} from "./Merkle.sol";
import {Position} from "./Position.sol";

enum Level {
    Steps, // solver: bisect, challenger: pick
    Open, // solver: open
    Enter, // challenger: enter, or proveProbe
    Trace, // solver: descend, challenger: pick
    Expr, // challenger: showExpr, or proveInput
    State, // solver: descend, challenger: pick
    Slot, // challenger: proveState
    Tensor, // solver: descend, challenger: pick
    Chunk, // solver: showChunk
    Element, // challenger: pickElement
    Fold, // solver: bisect, challenger: pick
    Scalar, // challenger: proveScalar
    Over
}

enum Side {
    Solver,
    Challenger
}

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

/// Everything that is known of a game; fields that no move has set yet are 0.
struct Game {
    bytes32 graphId;
    bytes32 dataRoot;
    uint32 exprs;
    uint32 stateSlots;
    uint32 dataSlots;
    uint32 probe;
    uint64 movedAt; // unix seconds of the last move
    uint32 solverClock; // seconds left
    uint32 challengerClock;
    Level level;
    Side toMove;
    uint8 depth; // trace, state, tensor: levels below the node
    uint8 dtype;
    uint32 from; // steps, fold: the interval
    uint32 to;
    uint32 index; // trace, state, tensor: the node's index at its height
    uint32 step; // the training step within the segment
    uint32 expr;
    uint32 element;
    uint32 terms; // of the fold behind each of the expr's elements
    uint64 size; // elements of the expr
    bytes32 lo; // steps, fold: accepted start and refused end (moments, or words in the last four bytes)
    bytes32 hi;
    bytes32 list; // steps, fold: the items root over start, revealed values and end, while the challenger is to pick
    bytes32 node; // trace, state, tensor: the refused node
    bytes32 preState;
    bytes32 preChain;
    bytes32 postState;
    bytes32 postChain;
    bytes32 trace;
    bytes32 leaf; // hash of the expr's leaf
}

/// A 32-byte item with its siblings.
struct Item {
    bytes32 value;
    bytes32[] proof;
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

/// The moves, over a game in storage.
library Claims {
    // not now
    error WrongMove(Level level, Side toMove);
    error ClockRanOut(uint256 thought, uint256 left);
    error ClockRuns(uint256 thought, uint256 left);
    // not of this form
    error WrongCount(uint256 got, uint256 want);
    error WrongIndex(uint256 got);
    error WrongWord(bytes32 value);
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

    /// A game about the segment between two moments, the solver to move. The caller has set what comes of the spec: graphId to probe.
    function begin(Game storage g, uint32 steps, uint32 clockSeconds, bytes32 start, bytes32 end) internal {
        g.movedAt = uint64(block.timestamp);
        g.solverClock = clockSeconds;
        g.challengerClock = clockSeconds;
        g.level = steps == 1 ? Level.Open : Level.Steps;
        g.to = steps;
        g.lo = start;
        g.hi = end;
    }

    /// Checks level, side and clock, and takes what was thought from the side that thought.
    function turn(Game storage g, Side side, uint256 levels) private returns (Level level) {
        level = g.level;
        if (g.toMove != side || levels & bit(level) == 0) revert WrongMove(level, g.toMove);
        uint256 left = side == Side.Solver ? g.solverClock : g.challengerClock;
        uint256 thought = block.timestamp - g.movedAt;
        if (thought > left) revert ClockRanOut(thought, left);
        if (side == Side.Solver) g.solverClock = uint32(left - thought);
        else g.challengerClock = uint32(left - thought);
        g.movedAt = uint64(block.timestamp);
    }

    function bisect(Game storage g, bytes32[] calldata values) internal {
        Level level = turn(g, Side.Solver, bit(Level.Steps) | bit(Level.Fold));
        uint256 want = Position.valuesOf(g.to - g.from);
        if (values.length != want) revert WrongCount(values.length, want);
        bytes32[] memory list = new bytes32[](want + 2);
        list[0] = g.lo;
        list[want + 1] = g.hi;
        for (uint256 i = 0; i < want; ++i) {
            if (level == Level.Fold && uint256(values[i]) > type(uint32).max) revert WrongWord(values[i]);
            list[i + 1] = values[i];
        }
        g.list = Merkle.itemsRoot(list);
        g.toMove = Side.Challenger;
    }

    /// In an interval: the items at `index` and `index + 1` under the list's root. In a tree: the item at `index` under the node.
    function pick(Game storage g, uint32 index, Item[] calldata items) internal returns (Verdict memory) {
        Level level = turn(
            g, Side.Challenger, bit(Level.Steps) | bit(Level.Fold) | bit(Level.Trace) | bit(Level.State) | bit(Level.Tensor)
        );
        if (level != Level.Steps && level != Level.Fold) return pickChild(g, index, items);
        pickPart(g, level, index, items);
        return goesOn();
    }

    function pickPart(Game storage g, Level level, uint256 index, Item[] calldata items) private {
        (uint256 from, uint256 to) = (g.from, g.to);
        uint256 parts = Position.partsOf(to - from);
        if (index >= parts) revert WrongIndex(index);
        if (items.length != 2) revert WrongCount(items.length, 2);
        bytes32 list = g.list;
        for (uint256 k = 0; k < 2; ++k) {
            if (!Merkle.proves(list, Merkle.depthOf(parts + 1), index + k, items[k].value, items[k].proof)) revert NotProven();
        }
        (from, to) = (Position.cutAt(from, to, index), Position.cutAt(from, to, index + 1));
        g.from = uint32(from);
        g.to = uint32(to);
        g.lo = items[0].value;
        g.hi = items[1].value;
        g.list = 0;
        if (to - from > 1) {
            g.toMove = Side.Solver;
        } else if (level == Level.Steps) {
            g.level = Level.Open;
            g.step = uint32(from);
            g.toMove = Side.Solver;
        } else {
            g.level = Level.Scalar;
        }
    }

    function pickChild(Game storage g, uint256 i, Item[] calldata items) private returns (Verdict memory) {
        uint256 take = Position.takeOf(g.depth);
        if (i >= 1 << take) revert WrongIndex(i);
        if (items.length != 1) revert WrongCount(items.length, 1);
        if (!Merkle.proves(g.node, take, i, items[0].value, items[0].proof)) revert NotProven();
        return arrive(g, g.level, items[0].value, g.depth - take, Position.childAt(g.index, take, i));
    }

    function open(Game storage g, bytes32 preState, bytes32 preChain, bytes32 postState, bytes32 postChain, bytes32 trace) internal {
        turn(g, Side.Solver, bit(Level.Open));
        if (momentOf(preState, sha256(abi.encode(preChain))) != g.lo) revert StartDiffers();
        if (momentOf(postState, sha256(abi.encode(postChain))) != g.hi) revert EndDiffers();
        g.preState = preState;
        g.preChain = preChain;
        g.postState = postState;
        g.postChain = postChain;
        g.trace = trace;
        g.level = Level.Enter;
        g.toMove = Side.Challenger;
    }

    function enter(Game storage g, Level level) internal returns (Verdict memory) {
        turn(g, Side.Challenger, bit(Level.Enter));
        if (level == Level.Trace) return arrive(g, level, g.trace, Merkle.depthOf(g.exprs), 0);
        if (level == Level.State) return arrive(g, level, g.postState, Merkle.depthOf(g.stateSlots), 0);
        revert WrongMove(Level.Enter, Side.Challenger);
    }

    function proveProbe(Game storage g, Item calldata probe) internal returns (Verdict memory v) {
        turn(g, Side.Challenger, bit(Level.Enter));
        if (!Merkle.proves(g.trace, Merkle.depthOf(g.exprs), g.probe, probe.value, probe.proof)) revert NotProven();
        if (sha256(abi.encode(g.preChain, probe.value)) == g.postChain) revert NoFault();
        v = convicted(g, Ground.Probe);
        v.expr = g.probe;
    }

    function descend(Game storage g, bytes32[] calldata values) internal {
        turn(g, Side.Solver, bit(Level.Trace) | bit(Level.State) | bit(Level.Tensor));
        uint256 want = 1 << Position.takeOf(g.depth);
        if (values.length != want) revert WrongCount(values.length, want);
        if (Merkle.rootOf(values) != g.node) revert RootDiffers();
        g.toMove = Side.Challenger;
    }

    function showExpr(Game storage g, Arbiter arbiter, bytes calldata leaf, bytes32[] calldata proof) internal returns (Verdict memory) {
        turn(g, Side.Challenger, bit(Level.Expr));
        bytes32 hash = Merkle.leafHash(leaf);
        if (!Merkle.proves(g.graphId, graphDepth(g), g.expr, hash, proof)) revert NotProven();
        (uint8 op, uint8 dtype, uint256 size, uint256 byteLength, uint256 terms,) = arbiter.describe(leaf);
        if (op == Op.INPUT) revert IsInput();
        g.leaf = hash;
        g.dtype = dtype;
        g.size = uint64(size);
        g.terms = uint32(terms);
        return arrive(g, Level.Tensor, g.node, Merkle.depthOf(Merkle.chunksOf(byteLength)), 0);
    }

    function proveInput(Game storage g, Arbiter arbiter, bytes calldata leaf, bytes32[] calldata proof, Item calldata slot)
        internal
        returns (Verdict memory v)
    {
        turn(g, Side.Challenger, bit(Level.Expr));
        if (!Merkle.proves(g.graphId, graphDepth(g), g.expr, Merkle.leafHash(leaf), proof)) revert NotProven();
        (uint8 op,,,,, uint32 s) = arbiter.describe(leaf);
        if (op != Op.INPUT) revert NotInput();
        uint256 states = g.stateSlots;
        bool proven = s < states
            ? Merkle.proves(g.preState, Merkle.depthOf(states), s, slot.value, slot.proof)
            : Merkle.proves(g.dataRoot, Merkle.depthOf(g.dataSlots), s - states, slot.value, slot.proof);
        if (!proven) revert NotProven();
        if (slot.value == g.node) revert NoFault();
        v = convicted(g, Ground.Input);
        v.expr = g.expr;
        v.element = s;
    }

    function proveState(Game storage g, uint32 expr, bytes32[] calldata proof, Item calldata fed) internal returns (Verdict memory v) {
        turn(g, Side.Challenger, bit(Level.Slot));
        uint32 slot = g.index;
        // graph/encode: the leaf that says which expr feeds a state slot
        bytes32 leaf = Merkle.leafHash(abi.encodePacked(uint8(2), slot, expr));
        if (!Merkle.proves(g.graphId, graphDepth(g), uint256(g.exprs) + slot, leaf, proof)) revert NotProven();
        if (!Merkle.proves(g.trace, Merkle.depthOf(g.exprs), expr, fed.value, fed.proof)) revert NotProven();
        if (fed.value == g.node) revert NoFault();
        v = convicted(g, Ground.State);
        v.expr = expr;
        v.element = slot;
    }

    function showChunk(Game storage g, bytes calldata chunk) internal returns (Verdict memory v) {
        turn(g, Side.Solver, bit(Level.Chunk));
        checkChunk(g, chunk);
        uint256 end = uint256(g.size) * widthOf(g) - uint256(g.index) * Merkle.CHUNK;
        if (end < Merkle.CHUNK && !isZero(chunk[end:])) {
            v = convicted(g, Ground.Tail);
            v.expr = g.expr;
            return v;
        }
        g.level = Level.Element;
        g.toMove = Side.Challenger;
    }

    function pickElement(Game storage g, uint32 i, bytes calldata chunk) internal {
        turn(g, Side.Challenger, bit(Level.Element));
        checkChunk(g, chunk);
        uint256 width = widthOf(g);
        uint256 element = uint256(g.index) * Merkle.CHUNK / width + i;
        if (i >= Merkle.CHUNK / width || element >= g.size) revert WrongIndex(i);
        uint32 word;
        // Tensors are little-endian.
        for (uint256 k = width; k > 0; --k) {
            word = word << 8 | uint8(chunk[i * width + k - 1]);
        }
        g.element = uint32(element);
        g.from = 0;
        g.to = g.terms;
        g.lo = 0; // the identity: +0, 0, or index 0
        g.hi = bytes32(uint256(word));
        bool folds = g.terms > 1;
        g.level = folds ? Level.Fold : Level.Scalar;
        if (folds) g.toMove = Side.Solver;
    }

    function proveScalar(Game storage g, Arbiter arbiter, bytes calldata leaf, Operand[] calldata operands)
        internal
        returns (Verdict memory v)
    {
        turn(g, Side.Challenger, bit(Level.Scalar));
        if (Merkle.leafHash(leaf) != g.leaf) revert LeafDiffers();
        uint32 computed = arbiter.step(leaf, g.element, g.from, uint32(uint256(g.lo)), g.trace, g.exprs, operands);
        uint32 claimed = uint32(uint256(g.hi));
        if (computed == claimed) revert NoFault();
        v = convicted(g, Ground.Scalar);
        v.expr = g.expr;
        v.element = g.element;
        v.term = g.from;
        v.claimed = claimed;
        v.computed = computed;
    }

    function timeout(Game storage g) internal returns (Verdict memory v) {
        if (g.level == Level.Over) revert WrongMove(Level.Over, g.toMove);
        bool solvers = g.toMove == Side.Solver;
        uint256 left = solvers ? g.solverClock : g.challengerClock;
        uint256 thought = block.timestamp - g.movedAt;
        if (thought <= left) revert ClockRuns(thought, left);
        if (solvers) g.solverClock = 0;
        else g.challengerClock = 0;
        g.movedAt = uint64(block.timestamp);
        v = convicted(g, Ground.Clock);
        v.convicted = solvers;
    }

    /// A node was reached. At the bottom of a descent an index beyond the last item must hold the padding; else the next level begins.
    function arrive(Game storage g, Level level, bytes32 node, uint256 depth, uint256 index) private returns (Verdict memory v) {
        g.node = node;
        g.depth = uint8(depth);
        g.index = uint32(index);
        g.level = level;
        g.toMove = Side.Solver;
        if (depth > 0) return v;
        uint256 count = level == Level.Trace
            ? g.exprs
            : level == Level.State ? g.stateSlots : Merkle.chunksOf(uint256(g.size) * widthOf(g));
        if (index >= count) {
            if (node == (level == Level.Tensor ? Merkle.ZERO_CHUNK : Merkle.ZERO)) revert NoFault();
            v = convicted(g, Ground.Padding);
            if (level == Level.Tensor) v.expr = g.expr;
            v.element = uint32(index);
            return v;
        }
        if (level == Level.Tensor) {
            g.level = Level.Chunk;
            return v;
        }
        g.toMove = Side.Challenger;
        if (level == Level.State) {
            g.level = Level.Slot;
        } else {
            g.level = Level.Expr;
            g.expr = uint32(index);
        }
    }

    /// H(0x02 ‖ state root ‖ probe commitment): where a run stands between two steps.
    function momentOf(bytes32 stateRoot, bytes32 probeCommit) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x02), stateRoot, probeCommit));
    }

    function convicted(Game storage g, Ground ground) private returns (Verdict memory v) {
        g.level = Level.Over;
        v.convicted = true;
        v.ground = ground;
    }

    function goesOn() private pure returns (Verdict memory) {}

    function checkChunk(Game storage g, bytes calldata chunk) private view {
        if (chunk.length != Merkle.CHUNK) revert ChunkLength(chunk.length);
        if (Merkle.leafHash(chunk) != g.node) revert ChunkDiffers();
    }

    function isZero(bytes calldata data) private pure returns (bool) {
        for (uint256 i = 0; i < data.length; i += 32) {
            // A slice that ends early is padded with zeros.
            if (bytes32(data[i:]) != 0) return false;
        }
        return true;
    }

    /// Levels of the graph's tree: exprs, one leaf a state slot, the header.
    function graphDepth(Game storage g) private view returns (uint256) {
        return Merkle.depthOf(uint256(g.exprs) + g.stateSlots + 1);
    }

    function widthOf(Game storage g) private view returns (uint256) {
        return g.dtype == U8_CODE ? 1 : 4;
    }

    function bit(Level level) private pure returns (uint256) {
        return 1 << uint256(level);
    }
}
