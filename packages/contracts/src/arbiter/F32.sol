// SPDX-License-Identifier: Apache-2.0
// The f32 arithmetic of docs/numerics.md where it binds: the twin of graph/f32.ts, same functions, same order, same words.
// Correctly rounded binary32 in software, ties to even, subnormals kept, one NaN. Its shape is that of Berkeley SoftFloat (unpack, specials,
// compute, round and pack), but a 256-bit word holds every intermediate exactly, so there is next to no sticky-bit bookkeeping.
//
// Twin order: canonical isNaN · neg abs sqrt floor · add sub mul div · lt le eq · min max · fromI32 toI32
pragma solidity ^0.8.28;

import {I32} from "./I32.sol";

/// A 32-bit word that holds an IEEE-754 binary32: sign in bit 31, exponent (biased by 127) in bits 23 to 30, fraction below.
type F32 is uint32;

using F32Lib for F32 global;

/// Binary32 arithmetic; nothing here reverts. Gas: snapshots/F32.json.
library F32Lib {
    // Words are computed on as uint256, because narrower types cost a mask at every operation.
    uint256 private constant NAN = 0x7fc00000;
    uint256 private constant INFINITY = 0x7f800000;
    uint256 private constant SIGN = 0x80000000;
    uint256 private constant MAGNITUDE = 0x7fffffff;
    uint256 private constant FRACTION = 0x7fffff;
    uint256 private constant HIDDEN = 0x800000;

    // INVARIANT: every `unchecked` block here works on exponents below 2^10 and significands below 2^60, with shifts below 256 and each
    // subtraction either guarded on the line or two lines before or done on int256, so nothing can wrap; the fuzzer and the vectors watch it.

    /// The same word, or 0x7fc00000 where it is any NaN.
    function canonical(F32 a) internal pure returns (F32) {
        return isNaN(a) ? F32.wrap(uint32(NAN)) : a;
    }

    /// Whether a word is a NaN: quiet or signalling, of either sign.
    function isNaN(F32 a) internal pure returns (bool) {
        return uint256(F32.unwrap(a)) & MAGNITUDE > INFINITY;
    }

    /// Sign inverted, zeros and infinities included.
    function neg(F32 a) internal pure returns (F32) {
        return canonical(F32.wrap(F32.unwrap(a) ^ uint32(SIGN)));
    }

    /// Sign cleared.
    function abs(F32 a) internal pure returns (F32) {
        return canonical(F32.wrap(F32.unwrap(a) & uint32(MAGNITUDE)));
    }

    /// Square root, correctly rounded; -0 stays -0, anything below is NaN (IEEE-754 §5.4.1).
    function sqrt(F32 a_) internal pure returns (F32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            if (a & MAGNITUDE == 0 || a == INFINITY) return a_;
            if (a > INFINITY) return F32.wrap(uint32(NAN));
            (int256 e, uint256 m) = unpack(a);
            // a = m · 2^(e-150). Widen m so that the remaining exponent is even: x in [2^48, 2^50), its root in [2^24, 2^25).
            uint256 x = m << (e & 1 == 1 ? 25 : 26);
            // Newton from the line through the ends of √ on that range, lifted by half its error (4 %): 8e-4, 4e-7, 1e-13 after each step.
            uint256 r = x / (3 << 24) + 0xb55555;
            r = (r + x / r) >> 1;
            r = (r + x / r) >> 1;
            r = (r + x / r) >> 1;
            if (r * r > x) --r;
            // r has one bit more than fits. A tie cannot be: x has 25 zeros below, so an odd r is not exact and the root lies above it.
            return F32.wrap(uint32((uint256((e + 125) >> 1) << 23) + ((r + 1) >> 1)));
        }
    }

    /// The largest integer not above a; zeros, infinities and integers stay themselves, so -0 keeps its sign.
    function floor(F32 a_) internal pure returns (F32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            uint256 e = (a >> 23) & 0xff;
            if (e >= 150) return canonical(a_);
            if (e < 127) {
                if (a & MAGNITUDE == 0) return a_;
                return F32.wrap(a < SIGN ? 0 : 0xbf800000);
            }
            uint256 below = (1 << (150 - e)) - 1;
            // Away from zero for a negative: a carry out of the fraction raises the exponent, as it should.
            if (a >= SIGN) a += below;
            return F32.wrap(uint32(a & ~below));
        }
    }

    /// Sum, correctly rounded; an exact cancellation gives +0, and only -0 + -0 gives -0.
    function add(F32 a, F32 b) internal pure returns (F32) {
        return F32.wrap(uint32(sum(F32.unwrap(a), F32.unwrap(b))));
    }

    /// Difference, correctly rounded.
    function sub(F32 a, F32 b) internal pure returns (F32) {
        return F32.wrap(uint32(sum(F32.unwrap(a), F32.unwrap(b) ^ SIGN)));
    }

    /// Product, correctly rounded.
    function mul(F32 a_, F32 b_) internal pure returns (F32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            uint256 b = F32.unwrap(b_);
            uint256 sign = (a ^ b) & SIGN;
            a &= MAGNITUDE;
            b &= MAGNITUDE;
            if (a >= INFINITY || b >= INFINITY) {
                if (a > INFINITY || b > INFINITY || a == 0 || b == 0) return F32.wrap(uint32(NAN));
                return F32.wrap(uint32(sign | INFINITY));
            }
            if (a == 0 || b == 0) return F32.wrap(uint32(sign));
            (int256 e, uint256 m) = unpack(a);
            (int256 eb, uint256 mb) = unpack(b);
            // The product of two significands in [2^23, 2^24) is exact and in [2^46, 2^48).
            m *= mb;
            return F32.wrap(uint32(m < 1 << 47 ? roundPack(sign, e + eb - 127, m << 9) : roundPack(sign, e + eb - 126, m << 8)));
        }
    }

    /// Quotient, correctly rounded; x / ±0 is an infinity, 0 / 0 a NaN.
    function div(F32 a_, F32 b_) internal pure returns (F32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            uint256 b = F32.unwrap(b_);
            uint256 sign = (a ^ b) & SIGN;
            a &= MAGNITUDE;
            b &= MAGNITUDE;
            if (a >= INFINITY || b >= INFINITY) {
                if (a > INFINITY || b > INFINITY || a == b) return F32.wrap(uint32(NAN));
                return F32.wrap(uint32(a == INFINITY ? sign | INFINITY : sign));
            }
            if (a == 0 || b == 0) {
                if (a == b) return F32.wrap(uint32(NAN));
                return F32.wrap(uint32(a == 0 ? sign : sign | INFINITY));
            }
            (int256 e, uint256 m) = unpack(a);
            (int256 eb, uint256 mb) = unpack(b);
            // 56 bits of quotient. An inexact one shows it among them: past the 25 that rounding looks at, what remains is at least 1/mb
            // > 2^-24 of the last, so one of the next 24 is set, and truncating the rest cannot make a tie or an exact result of it.
            return
                F32.wrap(
                    uint32(m < mb ? roundPack(sign, e - eb + 126, (m << 56) / mb) : roundPack(sign, e - eb + 127, (m << 55) / mb))
                );
        }
    }

    /// 1 where a is less than b; else, and with a NaN, 0.
    function lt(F32 a, F32 b) internal pure returns (I32) {
        return I32.wrap(less(a, b) ? 1 : 0);
    }

    /// 1 where a is less than or equal to b; else, and with a NaN, 0.
    function le(F32 a, F32 b) internal pure returns (I32) {
        if (isNaN(a) || isNaN(b)) return I32.wrap(0);
        return I32.wrap(rank(b) < rank(a) ? 0 : 1);
    }

    /// 1 where a equals b, the two zeros being equal; else, and with a NaN, 0.
    function eq(F32 a, F32 b) internal pure returns (I32) {
        if (isNaN(a) || isNaN(b)) return I32.wrap(0);
        return I32.wrap(rank(a) == rank(b) ? 1 : 0);
    }

    /// b where b < a, else a: a select, so a NaN in a comes through, and one in b gives a.
    function min(F32 a, F32 b) internal pure returns (F32) {
        return canonical(less(b, a) ? b : a);
    }

    /// b where a < b, else a: a select, so a NaN in a comes through, and one in b gives a.
    function max(F32 a, F32 b) internal pure returns (F32) {
        return canonical(less(a, b) ? b : a);
    }

    /// The f32 nearest to a signed integer word, ties to even.
    function fromI32(I32 a) internal pure returns (F32) {
        unchecked {
            uint256 m = I32.unwrap(a);
            if (m == 0) return F32.wrap(0);
            uint256 sign = m & SIGN;
            if (sign != 0) m = (1 << 32) - m;
            uint256 n;
            (m, n) = normalize(m);
            return F32.wrap(uint32(roundPack(sign, int256(158 - n), m << 24)));
        }
    }

    /// The signed integer word of a, truncated toward zero, saturated at -2^31 and 2^31-1; NaN gives 0.
    function toI32(F32 a_) internal pure returns (I32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            uint256 e = (a >> 23) & 0xff;
            if (e < 127) return I32.wrap(0);
            if (e >= 158) {
                if (isNaN(a_)) return I32.wrap(0);
                return I32.wrap(a < SIGN ? 0x7fffffff : 0x80000000);
            }
            uint256 m = (a & FRACTION) | HIDDEN;
            m = e < 150 ? m >> (150 - e) : m << (e - 150);
            // Negated in two's complement: wrapping below zero is meant.
            return I32.wrap(uint32(a < SIGN ? m : 0 - m));
        }
    }

    // ---- without a twin: the parts that the hardware does on the other side ----

    /// a + b on words.
    function sum(uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            uint256 m = a & MAGNITUDE;
            uint256 mb = b & MAGNITUDE;
            if (m < mb) (a, b, m, mb) = (b, a, mb, m);
            // From here |a| >= |b|.
            if (m >= INFINITY) return m > INFINITY || (mb == INFINITY && a != b) ? NAN : a;
            uint256 e = m >> 23;
            uint256 d = mb >> 23;
            // A subnormal has the exponent 1 without the hidden bit. Significands get 32 bits of room below.
            if (e == 0) e = 1;
            else m = (m & FRACTION) | HIDDEN;
            if (d == 0) d = 1;
            else mb = (mb & FRACTION) | HIDDEN;
            m <<= 32;
            mb <<= 32;
            d = e - d;
            // Exact up to 32 places. Beyond, b is less than a quarter of a's last place, and any small sum rounds like it: 1 stands for it.
            if (d <= 32) mb >>= d;
            else if (mb != 0) mb = 1;
            if ((a ^ b) & SIGN == 0) {
                m += mb;
                a &= SIGN;
                if (m < 1 << 56) return a | saturate(((e - 1) << 23) + ((m + 0x7fffffff + ((m >> 32) & 1)) >> 32));
                return a | saturate((e << 23) + ((m + 0xffffffff + ((m >> 33) & 1)) >> 33));
            }
            m -= mb;
            if (m == 0) return 0;
            a &= SIGN;
            // A difference cannot overflow. Without loss of leading bits, or where the exponent cannot sink, it is rounded as it stands.
            if (m >= 1 << 55 || e == 1) return a | (((e - 1) << 23) + ((m + 0x7fffffff + ((m >> 32) & 1)) >> 32));
            if (m >= 1 << 54) return a | (((e - 2) << 23) + ((m + 0x3fffffff + ((m >> 31) & 1)) >> 31));
            // Two or more leading bits gone: the exponents differed by at most 1, so the difference is exact and has 31 zeros below.
            (m, d) = normalize(m >> 31);
            d -= 7;
            // d is how far the leading bit lies below its place; the exponent can sink by e - 1 at most, then the result is subnormal.
            if (d < e) return a | (((e - d - 1) << 23) + (m >> 8));
            return a | (m >> (9 + d - e));
        }
    }

    /// Whether a < b; false with a NaN.
    function less(F32 a, F32 b) private pure returns (bool) {
        if (isNaN(a) || isNaN(b)) return false;
        return rank(a) < rank(b);
    }

    /// An integer that orders words as their numbers are ordered, both zeros alike; not for NaN.
    function rank(F32 a) private pure returns (int256) {
        unchecked {
            int256 w = int256(uint256(F32.unwrap(a)));
            return w < int256(SIGN) ? w : int256(SIGN) - w;
        }
    }

    /// Exponent e and significand m in [2^23, 2^24) of a finite word that is not zero, |a| = m · 2^(e-150); e < 1 where a is subnormal.
    function unpack(uint256 a) private pure returns (int256 e, uint256 m) {
        unchecked {
            e = int256((a >> 23) & 0xff);
            m = a & FRACTION;
            if (e != 0) return (e, m | HIDDEN);
            uint256 n;
            (m, n) = normalize(m);
            return (9 - int256(n), m >> 8);
        }
    }

    /// The word nearest to m · 2^(e-182), with m in [2^55, 2^56) and so of exponent e: ties to even, overflow to infinity.
    function roundPack(uint256 sign, int256 e, uint256 m) private pure returns (uint256) {
        unchecked {
            // A carry out of the significand raises the exponent: the encoding is consecutive.
            if (e > 0) return sign | saturate((uint256(e - 1) << 23) + ((m + 0x7fffffff + ((m >> 32) & 1)) >> 32));
            uint256 k = uint256(33 - e);
            return sign | ((m + (1 << (k - 1)) - 1 + ((m >> k) & 1)) >> k);
        }
    }

    /// A magnitude, or infinity where it went past the largest finite one.
    function saturate(uint256 magnitude) private pure returns (uint256) {
        return magnitude < INFINITY ? magnitude : INFINITY;
    }

    /// m · 2^n in [2^31, 2^32), and n, for m in [1, 2^32).
    function normalize(uint256 m) private pure returns (uint256, uint256 n) {
        unchecked {
            if (m < 1 << 16) (m, n) = (m << 16, 16);
            if (m < 1 << 24) (m, n) = (m << 8, n + 8);
            if (m < 1 << 28) (m, n) = (m << 4, n + 4);
            if (m < 1 << 30) (m, n) = (m << 2, n + 2);
            if (m < 1 << 31) (m, n) = (m << 1, n + 1);
            return (m, n);
        }
    }
}
