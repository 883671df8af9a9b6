// SPDX-License-Identifier: Apache-2.0
// Every move of a dispute that ends it, where it binds: the challenger proves that what it points at is wrong. Twin: dispute/grounds.ts, same
// functions, same errors. Each narrows as a pick would before it proves (docs/protocol.md §4).
//
// Twin order: proveProbe proveInput provePadding proveState proveTail proveElement proveTerm
pragma solidity ^0.8.28;

import {Expr, ExprLib, Op} from "../arbiter/Expr.sol";
import {Scalar} from "../arbiter/Scalar.sol";
import {Operand, Witness, WitnessLib} from "../arbiter/Witness.sol";
import {Claims, Ground, Item, Opened, Pick, Verdict} from "./Claims.sol";
import {Game, Level, Papers, Side} from "./GameState.sol";
import {Merkle} from "./Merkle.sol";

/// What an `input` expr should have read: its leaf in the graph, and the slot under the state before the step, or under the data.
struct Source {
    bytes leaf;
    bytes32[] proof;
    bytes32 preState;
    bytes32 preCommit; // hash of the probe chain before the step
    Item slot;
}

/// Which expr feeds a state slot, by the graph, and its tensor's root, by the trace.
struct Fed {
    uint32 expr;
    bytes32[] proof;
    Item root;
}

library Grounds {
    using WitnessLib for Witness;

    function proveProbe(Game memory g, Papers memory p, Opened calldata o, Item calldata probe) internal view returns (Verdict memory v) {
        Claims.atRoot(g);
        if (Claims.momentOf(o.preState, sha256(abi.encode(o.preChain))) != p.start) revert Claims.StartDiffers();
        if (Claims.momentOf(o.postState, sha256(abi.encode(o.postChain))) != p.end) revert Claims.EndDiffers();
        if (!Merkle.proves(p.trace, Merkle.depthOf(p.exprs), p.probe, probe.value, probe.proof)) revert Claims.NotProven();
        if (sha256(abi.encode(o.preChain, probe.value)) == o.postChain) revert Claims.NoFault();
        v = Claims.convicted(Ground.Probe);
        v.expr = p.probe;
    }

    function proveInput(Game memory g, Papers memory p, Pick calldata picked, Source calldata source)
        internal
        view
        returns (Verdict memory v)
    {
        Claims.turn(g, Side.Challenger, Claims.bit(Level.Trace));
        Claims.exprOf(g, p, picked, source.leaf, source.proof);
        Expr memory e = ExprLib.decodeLeaf(source.leaf);
        if (e.op != Op.INPUT) revert Claims.NotInput();
        uint32 slot = e.attrs[0];
        if (Claims.momentOf(source.preState, source.preCommit) != p.start) revert Claims.StartDiffers();
        uint256 states = p.stateSlots;
        bool proven = slot < states
            ? Merkle.proves(source.preState, Merkle.depthOf(states), slot, source.slot.value, source.slot.proof)
            : Merkle.proves(p.dataRoot, Merkle.depthOf(p.dataSlots), slot - states, source.slot.value, source.slot.proof);
        if (!proven) revert Claims.NotProven();
        if (source.slot.value == picked.path[0]) revert Claims.NoFault();
        v = Claims.convicted(Ground.Input);
        v.expr = p.expr;
        v.element = slot;
    }

    /// At the bottom of a descent an index beyond the last item must hold the padding.
    function provePadding(Game memory g, Papers memory p, Pick calldata picked) internal view returns (Verdict memory v) {
        bool tensor = g.level == Level.Tensor;
        Claims.turn(g, Side.Challenger, Claims.bit(Level.Trace) | Claims.bit(Level.State) | Claims.bit(Level.Tensor));
        uint256 index = Claims.itemOf(g, picked);
        if (index < g.count) revert Claims.WrongIndex(index);
        if (picked.path[0] == (tensor ? Merkle.ZERO_CHUNK : Merkle.ZERO)) revert Claims.NoFault();
        v = Claims.convicted(Ground.Padding);
        if (tensor) v.expr = p.expr;
        v.element = uint32(index);
    }

    function proveState(Game memory g, Papers memory p, Pick calldata picked, Fed calldata fed) internal view returns (Verdict memory v) {
        Claims.turn(g, Side.Challenger, Claims.bit(Level.State));
        uint256 slot = Claims.itemOf(g, picked);
        if (slot >= g.count) revert Claims.WrongIndex(slot);
        // graph/encode: the leaf that says which expr feeds a state slot
        bytes32 leaf = Merkle.leafHash(abi.encodePacked(uint8(2), uint32(slot), fed.expr));
        if (!Merkle.proves(p.graphId, Claims.graphDepth(p), uint256(p.exprs) + slot, leaf, fed.proof)) revert Claims.NotProven();
        if (!Merkle.proves(p.trace, Merkle.depthOf(p.exprs), fed.expr, fed.root.value, fed.root.proof)) revert Claims.NotProven();
        if (fed.root.value == picked.path[0]) revert Claims.NoFault();
        v = Claims.convicted(Ground.State);
        v.expr = fed.expr;
        v.element = uint32(slot);
    }

    /// Bytes behind a tensor's last element must be 0. `picked.index` counts the chunk's words of 32 bytes.
    function proveTail(Game memory g, Papers memory p, Pick calldata picked) internal view returns (Verdict memory v) {
        Claims.turn(g, Side.Challenger, Claims.bit(Level.Chunk));
        Claims.wordOf(g, picked, picked.index);
        uint256 end = uint256(g.size) * Claims.widthOf(g);
        uint256 first = uint256(g.index) * Merkle.CHUNK + uint256(picked.index) * 32;
        // The word's bytes before the tensor's end.
        uint256 inside = end <= first ? 0 : end - first;
        if (inside >= 32 || uint256(picked.path[0]) << 8 * inside == 0) revert Claims.NoFault();
        v = Claims.convicted(Ground.Tail);
        v.expr = p.expr;
    }

    /// A wrong element that is no fold: the contract computes it.
    function proveElement(
        Game memory g,
        Papers memory p,
        Pick calldata picked,
        bytes calldata leaf,
        Operand[] calldata operands
    ) internal view returns (Verdict memory) {
        Claims.turn(g, Side.Challenger, Claims.bit(Level.Chunk));
        if (g.terms > 1) revert Claims.NotAtBottom();
        uint32 word;
        (g.element, word) = Claims.elementOf(g, picked);
        g.words = abi.encodePacked(uint32(0), word);
        g.from = 0;
        return judge(g, p, leaf, operands);
    }

    /// A wrong term of a fold: the contract computes the accumulator after it.
    function proveTerm(Game memory g, Papers memory p, uint32 index, bytes calldata leaf, Operand[] calldata operands)
        internal
        view
        returns (Verdict memory)
    {
        Claims.turn(g, Side.Challenger, Claims.bit(Level.Fold));
        if (!Claims.pickTerms(g, index)) revert Claims.NotAtBottom();
        return judge(g, p, leaf, operands);
    }

    function judge(Game memory g, Papers memory p, bytes calldata leaf, Operand[] calldata operands)
        private
        view
        returns (Verdict memory v)
    {
        if (Merkle.leafHash(leaf) != p.leaf) revert Claims.LeafDiffers();
        v = Claims.convicted(Ground.Scalar);
        v.computed = compute(g, p, leaf, operands);
        v.claimed = Claims.wordAt(g, 1);
        if (v.computed == v.claimed) revert Claims.NoFault();
        v.expr = p.expr;
        v.element = g.element;
        v.term = g.from;
    }

    function compute(Game memory g, Papers memory p, bytes calldata leaf, Operand[] calldata operands) private view returns (uint32 word) {
        Witness memory w = Witness({operands: operands, trace: p.trace, exprs: p.exprs, used: 0});
        word = Scalar.scalarStep(ExprLib.decodeLeaf(leaf), g.element, g.from, Claims.wordAt(g, 0), w);
        w.done();
    }
}
