// SPDX-License-Identifier: Apache-2.0
// The operands of a scalar step, each proved against the trace root before its bits are believed: the twin of dispute/witness.ts.
//
// Twin order: read done
pragma solidity ^0.8.28;

import {Expr, ExprLib, Type, U8_CODE} from "./Expr.sol";
import {Merkle} from "../dispute/Merkle.sol";

/// One read of one operand: the operand's tensor root with its way up to the trace root, and the chunk that holds the element with its way up to
/// the tensor root.
struct Operand {
    bytes32 root;
    bytes32[] traceProof;
    bytes chunk;
    bytes32[] chunkProof;
}

/// The operands, what they are checked against, and how many were read: read n consumes operand n.
struct Witness {
    Operand[] operands;
    bytes32 trace;
    uint256 exprs;
    uint256 used;
}

library WitnessLib {
    /// The scalar step reads more operands than were given.
    error OperandMissing(uint256 read);
    /// The scalar step would read beyond an operand's last element.
    error IndexOutOfRange(uint256 operand, uint256 index, uint256 size);
    /// A chunk that is not 1,024 bytes.
    error ChunkLength(uint256 read, uint256 length);
    /// The chunk does not stand where it should under the operand's root.
    error BadChunk(uint256 read);
    /// The operand's root does not stand at the operand's position under the trace root.
    error BadRoot(uint256 read);
    /// More operands were given than the scalar step reads.
    error OperandsLeft(uint256 used, uint256 given);

    /// The 32-bit word of element `index` of operand `k` (of u8: the byte), proved.
    function read(Witness memory w, Expr memory e, uint256 k, uint256 index) internal view returns (uint32 word) {
        uint256 n = w.used++;
        if (n >= w.operands.length) revert OperandMissing(n);
        Type memory t = e.operands[k];
        uint256 size = ExprLib.sizeOf(t);
        if (index >= size) revert IndexOutOfRange(k, index, size);
        Operand memory o = w.operands[n];
        if (o.chunk.length != Merkle.CHUNK) revert ChunkLength(n, o.chunk.length);
        uint256 width = ExprLib.bytesOf(t);
        uint256 offset = index * width;
        uint256 depth = Merkle.depthOf(Merkle.chunksOf(size * width));
        if (!Merkle.proves(o.root, depth, offset / Merkle.CHUNK, Merkle.leafHash(o.chunk), o.chunkProof)) revert BadChunk(n);
        if (!Merkle.proves(w.trace, Merkle.depthOf(w.exprs), e.positions[k], o.root, o.traceProof)) revert BadRoot(n);
        offset %= Merkle.CHUNK;
        if (t.dtype == U8_CODE) return uint8(o.chunk[offset]);
        // Tensors are little-endian.
        for (uint256 i = 4; i > 0; --i) {
            word = word << 8 | uint8(o.chunk[offset + i - 1]);
        }
    }

    /// Checks that nothing was given that was not read.
    function done(Witness memory w) internal pure {
        if (w.used != w.operands.length) revert OperandsLeft(w.used, w.operands.length);
    }
}
