// SPDX-License-Identifier: Apache-2.0
// The i32 arithmetic of docs/numerics.md where it binds: the twin of graph/i32.ts, same functions, same order, same words.
//
// Twin order: isTrue · not neg abs · add sub mul divu remu · and or xor · shl shr sar · lt ltu eq · min max
pragma solidity ^0.8.28;

/// A 32-bit word that holds a two's complement integer.
type I32 is uint32;

using I32Lib for I32 global;

/// Wrapping 32-bit integer arithmetic; nothing here reverts.
library I32Lib {
    /// Whether a word counts as true in `where`: any bit set.
    function isTrue(I32 a) internal pure returns (bool) {
        return I32.unwrap(a) != 0;
    }

    /// Every bit inverted.
    function not(I32 a) internal pure returns (I32) {
        return I32.wrap(~I32.unwrap(a));
    }

    /// Two's complement negation; the smallest integer is its own negative.
    function neg(I32 a) internal pure returns (I32) {
        // Unchecked, here and below: wrapping mod 2^32 is the definition.
        unchecked {
            return I32.wrap(0 - I32.unwrap(a));
        }
    }

    /// Magnitude; the smallest integer, which has none in 32 bits, stays itself.
    function abs(I32 a) internal pure returns (I32) {
        return I32.unwrap(a) >> 31 == 0 ? a : neg(a);
    }

    /// Sum, wrapping.
    function add(I32 a, I32 b) internal pure returns (I32) {
        unchecked {
            return I32.wrap(I32.unwrap(a) + I32.unwrap(b));
        }
    }

    /// Difference, wrapping.
    function sub(I32 a, I32 b) internal pure returns (I32) {
        unchecked {
            return I32.wrap(I32.unwrap(a) - I32.unwrap(b));
        }
    }

    /// Product, wrapping.
    function mul(I32 a, I32 b) internal pure returns (I32) {
        unchecked {
            return I32.wrap(I32.unwrap(a) * I32.unwrap(b));
        }
    }

    /// Unsigned quotient, rounded down; division by zero gives 0.
    function divu(I32 a, I32 b) internal pure returns (I32) {
        return I32.unwrap(b) == 0 ? b : I32.wrap(I32.unwrap(a) / I32.unwrap(b));
    }

    /// Unsigned remainder; by zero gives a.
    function remu(I32 a, I32 b) internal pure returns (I32) {
        return I32.unwrap(b) == 0 ? a : I32.wrap(I32.unwrap(a) % I32.unwrap(b));
    }

    /// Bitwise and.
    function and(I32 a, I32 b) internal pure returns (I32) {
        return I32.wrap(I32.unwrap(a) & I32.unwrap(b));
    }

    /// Bitwise or.
    function or(I32 a, I32 b) internal pure returns (I32) {
        return I32.wrap(I32.unwrap(a) | I32.unwrap(b));
    }

    /// Bitwise exclusive or.
    function xor(I32 a, I32 b) internal pure returns (I32) {
        return I32.wrap(I32.unwrap(a) ^ I32.unwrap(b));
    }

    /// a shifted left by b mod 32.
    function shl(I32 a, I32 b) internal pure returns (I32) {
        return I32.wrap(I32.unwrap(a) << (I32.unwrap(b) & 31));
    }

    /// a shifted right by b mod 32, zeros in from the left.
    function shr(I32 a, I32 b) internal pure returns (I32) {
        return I32.wrap(I32.unwrap(a) >> (I32.unwrap(b) & 31));
    }

    /// a shifted right by b mod 32, copies of the sign bit in from the left.
    function sar(I32 a, I32 b) internal pure returns (I32) {
        return I32.wrap(uint32(signed(a) >> (I32.unwrap(b) & 31)));
    }

    /// 1 where a is less than b, both signed; else 0.
    function lt(I32 a, I32 b) internal pure returns (I32) {
        return fromBool(signed(a) < signed(b));
    }

    /// 1 where a is less than b, both unsigned; else 0.
    function ltu(I32 a, I32 b) internal pure returns (I32) {
        return fromBool(I32.unwrap(a) < I32.unwrap(b));
    }

    /// 1 where a and b have the same bits; else 0.
    function eq(I32 a, I32 b) internal pure returns (I32) {
        return fromBool(I32.unwrap(a) == I32.unwrap(b));
    }

    /// The smaller of two signed words.
    function min(I32 a, I32 b) internal pure returns (I32) {
        return signed(b) < signed(a) ? b : a;
    }

    /// The larger of two signed words.
    function max(I32 a, I32 b) internal pure returns (I32) {
        return signed(a) < signed(b) ? b : a;
    }

    // ---- without a twin: conversions between Solidity's own types ----

    /// 1 for true, 0 for false.
    function fromBool(bool truth) internal pure returns (I32) {
        return I32.wrap(truth ? 1 : 0);
    }

    /// The integer that a word stands for.
    function signed(I32 a) internal pure returns (int32) {
        return int32(I32.unwrap(a));
    }
}
