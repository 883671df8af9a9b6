// SPDX-License-Identifier: Apache-2.0
// The judge of a scalar step, asked by anybody, or as the last move of a dispute. Stateless, so that whoever holds a dispute stays small and asks
// here. Twin: dispute/arbiter.ts.
pragma solidity ^0.8.28;

import {Pick, Verdict} from "../dispute/Claims.sol";
import {Game, GameState, Papers} from "../dispute/GameState.sol";
import {Grounds} from "../dispute/Grounds.sol";
import {Expr, ExprLib} from "./Expr.sol";
import {Scalar} from "./Scalar.sol";
import {Operand, Witness, WitnessLib} from "./Witness.sol";

/// Anybody may ask; nothing is stored. The caller has proved the leaf against the graph's id.
contract Arbiter {
    using WitnessLib for Witness;

    /// The accumulator after term `term` of element `element` of the leaf's expr, given the one before it.
    /// `trace` is the items root over the roots of `exprs` tensors; `operands` hold one witness per read, in the order of the reads.
    /// Reverts where the witness does not prove every read, or proves more.
    function step(bytes calldata leaf, uint256 element, uint256 term, uint32 acc, bytes32 trace, uint32 exprs, Operand[] calldata operands)
        external
        view
        returns (uint32 result)
    {
        Witness memory w = Witness({operands: operands, trace: trace, exprs: exprs, used: 0});
        result = Scalar.scalarStep(ExprLib.decodeLeaf(leaf), element, term, acc, w);
        w.done();
    }

    /// Scalar steps behind one element of the leaf's expr.
    function termsOf(bytes calldata leaf) external pure returns (uint256) {
        return Scalar.terms(ExprLib.decodeLeaf(leaf));
    }

    /// What a dispute needs to know of an expr: its op and dtype, the result's elements and bytes, the terms of a fold, and the first attribute
    /// (an input's slot; 0 where there is none).
    function describe(bytes calldata leaf)
        external
        pure
        returns (uint8 op, uint8 dtype, uint256 size, uint256 byteLength, uint256 terms, uint32 firstAttr)
    {
        Expr memory e = ExprLib.decodeLeaf(leaf);
        size = ExprLib.sizeOf(e.result);
        byteLength = ExprLib.byteLength(e.result);
        return (e.op, e.result.dtype, size, byteLength, Scalar.terms(e), e.attrs.length == 0 ? 0 : e.attrs[0]);
    }

    // Two last moves of a dispute, with the court's own signatures: the court has checked that state and papers are those of game number `gameId`,
    // and who sent them, and passes the whole call on.

    function proveElement(
        uint256,
        bytes calldata state,
        bytes calldata papers,
        Pick calldata picked,
        bytes calldata leaf,
        Operand[] calldata operands
    ) external view returns (Verdict memory) {
        Game memory g;
        Papers memory p;
        read(state, papers, g, p);
        return Grounds.proveElement(g, p, picked, leaf, operands);
    }

    function proveTerm(
        uint256,
        bytes calldata state,
        bytes calldata papers,
        uint32 index,
        bytes calldata leaf,
        Operand[] calldata operands
    ) external view returns (Verdict memory) {
        Game memory g;
        Papers memory p;
        read(state, papers, g, p);
        return Grounds.proveTerm(g, p, index, leaf, operands);
    }

    function read(bytes calldata state, bytes calldata papers, Game memory g, Papers memory p) private pure {
        GameState.unpack(state, g);
        GameState.unpackPapers(papers, p);
    }
}
