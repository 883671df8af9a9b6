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
    function neg(F32 a_) internal pure returns (F32) {
        uint256 a = F32.unwrap(a_);
        return F32.wrap(uint32(a & MAGNITUDE > INFINITY ? NAN : a ^ SIGN));
    }

    /// Sign cleared.
    function abs(F32 a_) internal pure returns (F32) {
        uint256 a = F32.unwrap(a_) & MAGNITUDE;
        return F32.wrap(uint32(a > INFINITY ? NAN : a));
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
    function add(F32 a_, F32 b_) internal pure returns (F32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            uint256 b = F32.unwrap(b_);
            if (a & MAGNITUDE < b & MAGNITUDE) (a, b) = (b, a);
            // From here |a| >= |b|.
            uint256 e = (a >> 23) & 0xff;
            if (e == 0xff) {
                bool defined = a & MAGNITUDE == INFINITY && (b & MAGNITUDE != INFINITY || a == b);
                return F32.wrap(uint32(defined ? a : NAN));
            }
            // Significands with 32 bits of room below. A subnormal has the exponent 1 without the hidden bit.
            uint256 m = (a & FRACTION) << 32;
            if (e == 0) e = 1;
            else m |= HIDDEN << 32;
            uint256 mb = (b & FRACTION) << 32;
            uint256 d = (b >> 23) & 0xff;
            if (d == 0) d = 1;
            else mb |= HIDDEN << 32;
            // Exact up to 32 places. Beyond, less than a quarter of a's last place is left of b, and with or without its tail a sum rounds to a.
            mb >>= e - d;
            if ((a ^ b) & SIGN == 0) {
                m += mb;
                if (m < 1 << 56) m = ((e - 1) << 23) + ((m + 0x7fffffff + ((m >> 32) & 1)) >> 32);
                else m = (e << 23) + ((m + 0xffffffff + ((m >> 33) & 1)) >> 33);
                return F32.wrap(uint32((a & SIGN) | (m < INFINITY ? m : INFINITY)));
            }
            m -= mb;
            a &= SIGN;
            // A difference cannot overflow. Without loss of leading bits, or where the exponent cannot sink, it is rounded as it stands.
            if (m >= 1 << 55) return F32.wrap(uint32(a | (((e - 1) << 23) + ((m + 0x7fffffff + ((m >> 32) & 1)) >> 32))));
            if (m == 0) return F32.wrap(0);
            if (e == 1) return F32.wrap(uint32(a | (m >> 32)));
            if (m >= 1 << 54) return F32.wrap(uint32(a | (((e - 2) << 23) + ((m + 0x3fffffff + ((m >> 31) & 1)) >> 31))));
            // Two or more leading bits gone: the exponents differed by at most 1, so the difference is exact and has 31 zeros below.
            (m, d) = normalize(m >> 31);
            d -= 7;
            // d is how far the leading bit lies below its place; the exponent can sink by e - 1 at most, then the result is subnormal.
            if (d < e) return F32.wrap(uint32(a | (((e - d - 1) << 23) + (m >> 8))));
            return F32.wrap(uint32(a | (m >> (9 + d - e))));
        }
    }

    /// Difference, correctly rounded.
    function sub(F32 a, F32 b) internal pure returns (F32) {
        // A NaN in b stays one with its sign turned, and add makes it canonical.
        return add(a, F32.wrap(F32.unwrap(b) ^ uint32(SIGN)));
    }

    /// Product, correctly rounded.
    function mul(F32 a_, F32 b_) internal pure returns (F32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            uint256 b = F32.unwrap(b_);
            uint256 e = (a >> 23) & 0xff;
            uint256 eb = (b >> 23) & 0xff;
            // Both normal (exponents 1 to 254; 0 wraps to far above), and the result too: the way of nearly all products, without calls.
            if (e - 1 < 254 && eb - 1 < 254) {
                e += eb;
                // The product of two significands in [2^23, 2^24) is exact and in [2^46, 2^48).
                uint256 m = ((a & FRACTION) | HIDDEN) * ((b & FRACTION) | HIDDEN);
                if (e > 127) {
                    if (m < 1 << 47) m = ((e - 128) << 23) + ((m + 0x3fffff + ((m >> 23) & 1)) >> 23);
                    else m = ((e - 127) << 23) + ((m + 0x7fffff + ((m >> 24) & 1)) >> 24);
                    return F32.wrap(uint32(((a ^ b) & SIGN) | (m < INFINITY ? m : INFINITY)));
                }
            }
            return mulRare(a, b);
        }
    }

    /// Quotient, correctly rounded; x / ±0 is an infinity, 0 / 0 a NaN.
    function div(F32 a_, F32 b_) internal pure returns (F32) {
        unchecked {
            uint256 a = F32.unwrap(a_);
            uint256 b = F32.unwrap(b_);
            uint256 e = (a >> 23) & 0xff;
            uint256 eb = (b >> 23) & 0xff;
            // As in mul: both normal, and the result too.
            if (e - 1 < 254 && eb - 1 < 254 && e + 125 > eb) {
                e = e + 126 - eb;
                uint256 m = (a & FRACTION) | HIDDEN;
                b = (b & FRACTION) | HIDDEN;
                // 56 bits of quotient. An inexact one shows it among them: past the 25 that rounding looks at, what remains is at least
                // 1/b > 2^-24 of the last, so one of the next 24 is set, and dropping the rest cannot make a tie or an exact result of it.
                if (m < b) {
                    m = (m << 56) / b;
                    --e;
                } else {
                    m = (m << 55) / b;
                }
                m = (e << 23) + ((m + 0x7fffffff + ((m >> 32) & 1)) >> 32);
                return F32.wrap(uint32(((a ^ F32.unwrap(b_)) & SIGN) | (m < INFINITY ? m : INFINITY)));
            }
            return divRare(a, b);
        }
    }

    /// 1 where a is less than b; else, and with a NaN, 0.
    function lt(F32 a, F32 b) internal pure returns (I32) {
        return I32.wrap(less(a, b) ? 1 : 0);
    }

    /// 1 where a is less than or equal to b; else, and with a NaN, 0.
    function le(F32 a_, F32 b_) internal pure returns (I32) {
        uint256 a = F32.unwrap(a_);
        uint256 b = F32.unwrap(b_);
        // As in less; here two zeros of any sign pass.
        if (a | b < SIGN) return I32.wrap(a <= b && b <= INFINITY ? 1 : 0);
        if (a >= b && a <= SIGN | INFINITY && b & MAGNITUDE <= INFINITY) return I32.wrap(1);
        return I32.wrap((a | b) & MAGNITUDE == 0 ? 1 : 0);
    }

    /// 1 where a equals b, the two zeros being equal; else, and with a NaN, 0.
    function eq(F32 a_, F32 b_) internal pure returns (I32) {
        uint256 a = F32.unwrap(a_);
        uint256 b = F32.unwrap(b_);
        if (a == b) return I32.wrap(a & MAGNITUDE <= INFINITY ? 1 : 0);
        return I32.wrap((a | b) & MAGNITUDE == 0 ? 1 : 0);
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
            return roundPack(sign, int256(158 - n), m << 24);
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

    /// a · b where an operand or the result is not a normal number.
    function mulRare(uint256 a, uint256 b) private pure returns (F32) {
        unchecked {
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
            m *= mb;
            return m < 1 << 47 ? roundPack(sign, e + eb - 127, m << 9) : roundPack(sign, e + eb - 126, m << 8);
        }
    }

    /// a / b where an operand or the result is not a normal number.
    function divRare(uint256 a, uint256 b) private pure returns (F32) {
        unchecked {
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
            return m < mb ? roundPack(sign, e - eb + 126, (m << 56) / mb) : roundPack(sign, e - eb + 127, (m << 55) / mb);
        }
    }

    /// Whether a < b; false with a NaN.
    function less(F32 a_, F32 b_) private pure returns (bool) {
        uint256 a = F32.unwrap(a_);
        uint256 b = F32.unwrap(b_);
        // Words of numbers without sign are in the numbers' order, and a NaN is above infinity.
        if (a | b < SIGN) return a < b && b <= INFINITY;
        // With a sign somewhere, a is the less where its word is the greater: so it has one, and if b has too, b is no NaN where a is none.
        return a > b && a <= SIGN | INFINITY && b & MAGNITUDE <= INFINITY && (a | b) & MAGNITUDE != 0;
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

    /// The number nearest to m · 2^(e-182), with m in [2^55, 2^56) and so of exponent e: ties to even, overflow to infinity.
    function roundPack(uint256 sign, int256 e, uint256 m) private pure returns (F32) {
        unchecked {
            if (e > 0) {
                // A carry out of the significand raises the exponent: the encoding is consecutive.
                m = (uint256(e - 1) << 23) + ((m + 0x7fffffff + ((m >> 32) & 1)) >> 32);
                return F32.wrap(uint32(sign | (m < INFINITY ? m : INFINITY)));
            }
            uint256 k = uint256(33 - e);
            return F32.wrap(uint32(sign | ((m + (1 << (k - 1)) - 1 + ((m >> k) & 1)) >> k)));
        }
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
