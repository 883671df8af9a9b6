// SPDX-License-Identifier: Apache-2.0
// One expr out of its leaf in the graph's tree, so that a contract that never saw the graph knows all about the scalar step it must do: the
// twin of dispute/leaf.ts. Layout (graph/encode.ts `encodeExpr`, numbers big-endian): 0x01 · op · #operands · #attributes · dtype · rank ·
// sizes u32… · attributes u32… · then for each operand: position u32 · dtype · rank · sizes u32…
//
// Twin order: decodeLeaf operandsOf attrsOf sizeOf bytesOf byteLength
pragma solidity ^0.8.28;

/// A tensor's element type (codes below) and axis sizes.
struct Type {
    uint8 dtype;
    uint32[] shape;
}

/// An op applied: what a judge needs to know of one vertex of a graph.
struct Expr {
    uint8 op;
    Type result;
    uint32[] attrs;
    /// Positions of the operands in the trace, and their types.
    uint32[] positions;
    Type[] operands;
}

uint8 constant F32_CODE = 0;
uint8 constant I32_CODE = 1;
uint8 constant U8_CODE = 2;

/// Codes of the ops: the table of graph/ops.ts.
library Op {
    uint8 internal constant INPUT = 0;
    uint8 internal constant CONST = 1;
    uint8 internal constant IOTA = 2;
    uint8 internal constant NEG = 8;
    uint8 internal constant ABS = 9;
    uint8 internal constant SQRT = 10;
    uint8 internal constant FLOOR = 11;
    uint8 internal constant NOT = 12;
    uint8 internal constant CAST = 13;
    uint8 internal constant BITCAST = 14;
    uint8 internal constant ADD = 16;
    uint8 internal constant SUB = 17;
    uint8 internal constant MUL = 18;
    uint8 internal constant DIV = 19;
    uint8 internal constant MIN = 20;
    uint8 internal constant MAX = 21;
    uint8 internal constant LT = 22;
    uint8 internal constant LE = 23;
    uint8 internal constant EQ = 24;
    uint8 internal constant DIVU = 25;
    uint8 internal constant REMU = 26;
    uint8 internal constant AND = 27;
    uint8 internal constant OR = 28;
    uint8 internal constant XOR = 29;
    uint8 internal constant SHL = 30;
    uint8 internal constant SHR = 31;
    uint8 internal constant SAR = 32;
    uint8 internal constant LTU = 33;
    uint8 internal constant WHERE = 40;
    uint8 internal constant RESHAPE = 48;
    uint8 internal constant PERMUTE = 49;
    uint8 internal constant EXPAND = 50;
    uint8 internal constant SLICE = 51;
    uint8 internal constant PAD = 52;
    uint8 internal constant CONCAT = 53;
    uint8 internal constant WINDOW = 54;
    uint8 internal constant GATHER = 56;
    uint8 internal constant SCATTER_ADD = 57;
    uint8 internal constant SUM = 64;
    uint8 internal constant MAX_OVER = 65;
    uint8 internal constant DOT = 66;
    uint8 internal constant ARGMAX = 67;
}

/// Reads a leaf. Whether the types fit the op is not asked: nobody stakes on a graph that graph/verify refuses.
library ExprLib {
    uint256 private constant TAG = 1;
    uint256 private constant MAX_RANK = 6;
    uint256 private constant MAX_CONCAT = 16;
    uint256 private constant MAX_AXIS = 2 ** 31 - 1;
    uint256 private constant MAX_ELEMENTS = 2 ** 32;

    /// The leaf stops making sense at this byte.
    error MalformedLeaf(uint256 offset);
    /// No op has this code.
    error UnknownOp(uint256 code);

    /// The expr that a leaf encodes. Reverts with UnknownOp, or MalformedLeaf: tag, counts that are not the op's, dtype, rank, sizes, bytes
    /// missing or too many.
    function decodeLeaf(bytes calldata leaf) internal pure returns (Expr memory e) {
        if (leaf.length < 6) revert MalformedLeaf(leaf.length);
        if (uint8(leaf[0]) != TAG) revert MalformedLeaf(0);
        e.op = uint8(leaf[1]);
        uint256 operands = uint8(leaf[2]);
        uint256 attrs = uint8(leaf[3]);
        uint256 arity = operandsOf(e.op);
        if (e.op == Op.CONCAT ? operands == 0 || operands > MAX_CONCAT : operands != arity) revert MalformedLeaf(2);
        uint256 offset;
        (e.result, offset) = typeAt(leaf, 4);
        (e.attrs, offset) = wordsAt(leaf, offset, attrs);
        e.positions = new uint32[](operands);
        e.operands = new Type[](operands);
        for (uint256 k = 0; k < operands; ++k) {
            if (leaf.length < offset + 4) revert MalformedLeaf(leaf.length);
            e.positions[k] = uint32(bytes4(leaf[offset:offset + 4]));
            (e.operands[k], offset) = typeAt(leaf, offset + 4);
        }
        if (offset != leaf.length) revert MalformedLeaf(offset);
        if (attrs != attrsOf(e)) revert MalformedLeaf(3);
    }

    /// Number of operands of an op; concat's 1 to 16 count as 1.
    function operandsOf(uint256 op) internal pure returns (uint256) {
        if (op <= Op.IOTA) return 0;
        if (op >= Op.NEG && op <= Op.BITCAST) return 1;
        if (op >= Op.ADD && op <= Op.LTU) return 2;
        if (op == Op.WHERE) return 3;
        if (op >= Op.RESHAPE && op <= Op.WINDOW) return 1;
        if (op == Op.GATHER || op == Op.SCATTER_ADD || op == Op.DOT) return 2;
        if (op == Op.SUM || op == Op.MAX_OVER || op == Op.ARGMAX) return 1;
        revert UnknownOp(op);
    }

    /// Number of attributes that the op has at its operand's rank.
    function attrsOf(Expr memory e) internal pure returns (uint256) {
        uint256 op = e.op;
        if (op <= Op.IOTA || op == Op.CONCAT || op == Op.SUM || op == Op.MAX_OVER || op == Op.ARGMAX) return 1;
        if (op == Op.WINDOW) return 4;
        if (op < Op.PERMUTE || op > Op.PAD || op == Op.EXPAND) return 0;
        uint256 rank = e.operands[0].shape.length;
        if (op == Op.PERMUTE) return rank;
        return op == Op.SLICE ? 2 * rank : 3 * rank + 1;
    }

    /// Number of elements; 1 for rank 0.
    function sizeOf(Type memory t) internal pure returns (uint256 n) {
        n = 1;
        for (uint256 axis = 0; axis < t.shape.length; ++axis) {
            n *= t.shape[axis];
        }
    }

    /// Bytes of one element.
    function bytesOf(Type memory t) internal pure returns (uint256) {
        return t.dtype == U8_CODE ? 1 : 4;
    }

    /// Bytes of the whole tensor.
    function byteLength(Type memory t) internal pure returns (uint256) {
        return sizeOf(t) * bytesOf(t);
    }

    function typeAt(bytes calldata leaf, uint256 offset) private pure returns (Type memory t, uint256 end) {
        if (leaf.length < offset + 2) revert MalformedLeaf(leaf.length);
        t.dtype = uint8(leaf[offset]);
        uint256 rank = uint8(leaf[offset + 1]);
        if (t.dtype > U8_CODE) revert MalformedLeaf(offset);
        if (rank > MAX_RANK) revert MalformedLeaf(offset + 1);
        (t.shape, end) = wordsAt(leaf, offset + 2, rank);
        uint256 size = 1;
        for (uint256 axis = 0; axis < rank; ++axis) {
            if (t.shape[axis] == 0 || t.shape[axis] > MAX_AXIS) revert MalformedLeaf(offset);
            size *= t.shape[axis];
        }
        if (size > MAX_ELEMENTS) revert MalformedLeaf(offset);
    }

    function wordsAt(bytes calldata leaf, uint256 offset, uint256 n) private pure returns (uint32[] memory words, uint256 end) {
        end = offset + 4 * n;
        if (leaf.length < end) revert MalformedLeaf(leaf.length);
        words = new uint32[](n);
        for (uint256 i = 0; i < n; ++i) {
            words[i] = uint32(bytes4(leaf[offset + 4 * i:offset + 4 * i + 4]));
        }
    }
}
