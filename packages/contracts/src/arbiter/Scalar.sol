// SPDX-License-Identifier: Apache-2.0
// One scalar step of every op, where it binds: the twin of dispute/scalar.ts, same functions, same order, same reads (docs/numerics.md §2 to §4).
// All values are 32-bit words; an f32 comes out with the one NaN, whatever was read.
//
// Twin order: terms identity scalarStep · unary binary where · movement gather scatterAdd · fold · source
pragma solidity ^0.8.28;

import {Expr, ExprLib, F32_CODE, Op, Type} from "./Expr.sol";
import {F32, F32Lib} from "./F32.sol";
import {I32} from "./I32.sol";
import {Witness, WitnessLib} from "./Witness.sol";

library Scalar {
    using WitnessLib for Witness;

    /// An `input` is read from a slot, not computed.
    error NoScalarRule(uint256 op);
    error ElementOutOfRange(uint256 element, uint256 size);
    error TermOutOfRange(uint256 term, uint256 terms);

    /// Scalar steps behind one element: the terms of a fold, else 1.
    function terms(Expr memory e) internal pure returns (uint256) {
        uint256 op = e.op;
        if (op == Op.SUM || op == Op.MAX_OVER || op == Op.ARGMAX) return e.operands[0].shape[e.attrs[0]];
        if (op == Op.DOT) return last(e.operands[0], 1);
        if (op == Op.SCATTER_ADD) return e.operands[0].shape[0];
        return 1;
    }

    /// The accumulator before term 0: +0, 0, or (argmax) index 0.
    function identity(Expr memory) internal pure returns (uint32) {
        return 0;
    }

    /// The accumulator after term `term` of element `element`, given the one before it; of an op that is no fold, the element.
    function scalarStep(Expr memory e, uint256 element, uint256 term, uint32 acc, Witness memory w) internal view returns (uint32 word) {
        uint256 op = e.op;
        if (op == Op.INPUT) revert NoScalarRule(op);
        uint256 size = ExprLib.sizeOf(e.result);
        if (element >= size) revert ElementOutOfRange(element, size);
        uint256 n = terms(e);
        if (term >= n) revert TermOutOfRange(term, n);
        if (op == Op.CONST) word = e.attrs[0];
        else if (op == Op.IOTA) word = uint32(element / stride(e.result, e.attrs[0]) % e.result.shape[e.attrs[0]]);
        else if (op <= Op.BITCAST) word = unary(e, w.read(e, 0, element));
        else if (op <= Op.LTU) word = binary(e, element, w);
        else if (op == Op.WHERE) word = where(e, element, w);
        else if (op <= Op.WINDOW) word = movement(e, element, w);
        else if (op == Op.GATHER) word = gather(e, element, w);
        else if (op == Op.SCATTER_ADD) word = scatterAdd(e, element, term, acc, w);
        else word = fold(e, element, term, acc, w);
        if (e.result.dtype == F32_CODE) word = F32.unwrap(F32.wrap(word).canonical());
    }

    function unary(Expr memory e, uint32 x) private pure returns (uint32) {
        uint256 op = e.op;
        if (op == Op.NOT) return I32.unwrap(I32.wrap(x).not());
        if (op == Op.BITCAST) return x;
        if (op == Op.CAST) {
            if (e.operands[0].dtype == F32_CODE) return I32.unwrap(F32.wrap(x).toI32());
            return e.result.dtype == F32_CODE ? F32.unwrap(F32Lib.fromI32(I32.wrap(x))) : x;
        }
        F32 a = F32.wrap(x);
        if (op == Op.NEG) return F32.unwrap(a.neg());
        if (op == Op.ABS) return F32.unwrap(a.abs());
        return F32.unwrap(op == Op.SQRT ? a.sqrt() : a.floor());
    }

    function binary(Expr memory e, uint256 element, Witness memory w) private view returns (uint32) {
        uint256 op = e.op;
        uint32 x = w.read(e, 0, element);
        uint32 y = w.read(e, 1, element);
        if (e.operands[0].dtype == F32_CODE) {
            (F32 a, F32 b) = (F32.wrap(x), F32.wrap(y));
            if (op == Op.ADD) return F32.unwrap(a.add(b));
            if (op == Op.SUB) return F32.unwrap(a.sub(b));
            if (op == Op.MUL) return F32.unwrap(a.mul(b));
            if (op == Op.DIV) return F32.unwrap(a.div(b));
            if (op == Op.MIN) return F32.unwrap(a.min(b));
            if (op == Op.MAX) return F32.unwrap(a.max(b));
            if (op == Op.LT) return I32.unwrap(a.lt(b));
            if (op == Op.LE) return I32.unwrap(a.le(b));
            if (op == Op.EQ) return I32.unwrap(a.eq(b));
        } else {
            (I32 a, I32 b) = (I32.wrap(x), I32.wrap(y));
            if (op == Op.ADD) return I32.unwrap(a.add(b));
            if (op == Op.SUB) return I32.unwrap(a.sub(b));
            if (op == Op.MUL) return I32.unwrap(a.mul(b));
            if (op == Op.LT) return I32.unwrap(a.lt(b));
            if (op == Op.EQ) return I32.unwrap(a.eq(b));
            if (op == Op.DIVU) return I32.unwrap(a.divu(b));
            if (op == Op.REMU) return I32.unwrap(a.remu(b));
            if (op == Op.AND) return I32.unwrap(a.and(b));
            if (op == Op.OR) return I32.unwrap(a.or(b));
            if (op == Op.XOR) return I32.unwrap(a.xor(b));
            if (op == Op.SHL) return I32.unwrap(a.shl(b));
            if (op == Op.SHR) return I32.unwrap(a.shr(b));
            if (op == Op.SAR) return I32.unwrap(a.sar(b));
            if (op == Op.LTU) return I32.unwrap(a.ltu(b));
        }
        revert NoScalarRule(op);
    }

    /// Reads the condition, then the chosen operand only.
    function where(Expr memory e, uint256 element, Witness memory w) private view returns (uint32) {
        I32 condition = I32.wrap(w.read(e, 0, element));
        return w.read(e, condition.isTrue() ? 1 : 2, element);
    }

    /// Copies one element; reads nothing where a pad fills.
    function movement(Expr memory e, uint256 element, Witness memory w) private view returns (uint32) {
        (bool fill, uint256 operand, uint256 index) = source(e, element);
        return fill ? e.attrs[e.attrs.length - 1] : w.read(e, operand, index);
    }

    /// Reads the index, then the row's element.
    function gather(Expr memory e, uint256 element, Witness memory w) private view returns (uint32) {
        uint256 row = stride(e.result, 0);
        uint256 from = clampRow(w.read(e, 1, element / row), e.operands[0].shape[0]);
        return w.read(e, 0, from * row + element % row);
    }

    /// Reads the index of source row `term`, then the row's element if it goes to this element's row.
    function scatterAdd(Expr memory e, uint256 element, uint256 term, uint32 acc, Witness memory w) private view returns (uint32) {
        uint256 row = stride(e.result, 0);
        if (clampRow(w.read(e, 1, term), e.result.shape[0]) != element / row) return acc;
        F32 x = F32.wrap(w.read(e, 0, term * row + element % row));
        return F32.unwrap(F32.wrap(acc).add(x));
    }

    /// sum, maxOver, argmax, dot: term by term, left to right.
    function fold(Expr memory e, uint256 element, uint256 term, uint32 acc, Witness memory w) private view returns (uint32) {
        uint256 op = e.op;
        if (op == Op.DOT) {
            (uint256 m, uint256 k, uint256 n) = (last(e.operands[0], 2), last(e.operands[0], 1), last(e.operands[1], 1));
            uint256 row = element / n;
            F32 a = F32.wrap(w.read(e, 0, row * k + term));
            F32 b = F32.wrap(w.read(e, 1, (row / m * k + term) * n + element % n));
            return F32.unwrap(F32.wrap(acc).add(a.mul(b)));
        }
        uint256 inner = stride(e.operands[0], e.attrs[0]);
        uint256 first = element / inner * e.operands[0].shape[e.attrs[0]] * inner + element % inner;
        if (op == Op.ARGMAX) {
            F32 best = F32.wrap(w.read(e, 0, first + acc * inner));
            F32 next = F32.wrap(w.read(e, 0, first + term * inner));
            return I32.unwrap(best.lt(next)) == 1 ? uint32(term) : acc;
        }
        uint32 x = w.read(e, 0, first + term * inner);
        if (op == Op.MAX_OVER) return term == 0 ? x : F32.unwrap(F32.wrap(acc).max(F32.wrap(x)));
        return e.result.dtype == F32_CODE ? F32.unwrap(F32.wrap(acc).add(F32.wrap(x))) : I32.unwrap(I32.wrap(acc).add(I32.wrap(x)));
    }

    /// The element that element `index` of a movement op's result copies, or that a pad fills it: the rule of graph/movement.ts.
    function source(Expr memory e, uint256 index) private pure returns (bool fill, uint256 operand, uint256 from) {
        uint256 op = e.op;
        if (op == Op.RESHAPE) return (false, 0, index);
        uint256[] memory place = unravel(index, e.result.shape);
        uint32[] memory shape = e.operands[0].shape;
        uint32[] memory attrs = e.attrs;
        uint256 rank = shape.length;
        if (op == Op.PERMUTE) {
            uint256[] memory moved = new uint256[](rank);
            for (uint256 axis = 0; axis < rank; ++axis) {
                moved[attrs[axis]] = place[axis];
            }
            place = moved;
        } else if (op == Op.EXPAND) {
            for (uint256 axis = 0; axis < rank; ++axis) {
                if (shape[axis] == 1) place[axis] = 0;
            }
        } else if (op == Op.SLICE) {
            for (uint256 axis = 0; axis < rank; ++axis) {
                int256 start = int256(uint256(attrs[axis]));
                place[axis] = uint256(start + int256(place[axis]) * int32(attrs[rank + axis]));
            }
        } else if (op == Op.PAD) {
            for (uint256 axis = 0; axis < rank; ++axis) {
                (uint256 low, uint256 step) = (attrs[axis], uint256(attrs[2 * rank + axis]) + 1);
                if (place[axis] < low) return (true, 0, 0);
                uint256 i = place[axis] - low;
                if (i % step != 0 || i / step >= shape[axis]) return (true, 0, 0);
                place[axis] = i / step;
            }
        } else if (op == Op.CONCAT) {
            uint256 axis = attrs[0];
            while (place[axis] >= e.operands[operand].shape[axis]) {
                place[axis] -= e.operands[operand].shape[axis];
                ++operand;
            }
            shape = e.operands[operand].shape;
        } else {
            // window(axis, size, stride, dilation): the result's axes `axis` and `axis + 1` are one of the operand's.
            uint256 axis = attrs[0];
            place[axis] = place[axis] * attrs[2] + place[axis + 1] * attrs[3];
            for (uint256 i = axis + 1; i < rank; ++i) {
                place[i] = place[i + 1];
            }
        }
        for (uint256 axis = 0; axis < rank; ++axis) {
            from = from * shape[axis] + place[axis];
        }
    }

    /// The coordinates of element `index`.
    function unravel(uint256 index, uint32[] memory shape) private pure returns (uint256[] memory place) {
        place = new uint256[](shape.length);
        for (uint256 i = shape.length; i > 0; --i) {
            place[i - 1] = index % shape[i - 1];
            index /= shape[i - 1];
        }
    }

    /// Elements between neighbours along an axis.
    function stride(Type memory t, uint256 axis) private pure returns (uint256 n) {
        n = 1;
        for (uint256 i = axis + 1; i < t.shape.length; ++i) {
            n *= t.shape[i];
        }
    }

    /// A signed index into `rows` rows, clamped.
    function clampRow(uint32 index, uint256 rows) private pure returns (uint256) {
        if (I32.wrap(index).signed() < 0) return 0;
        return index < rows ? index : rows - 1;
    }

    /// The size of the n-th axis from the end, counted from 1.
    function last(Type memory t, uint256 n) private pure returns (uint256) {
        return t.shape[t.shape.length - n];
    }
}
