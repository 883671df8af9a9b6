// SPDX-License-Identifier: Apache-2.0
// Holds F32.sol to vectors/f32.json, word for word, and to the hardware by the hashes of vectors/twins.json; keeps its gas in snapshots/F32.json.
pragma solidity ^0.8.28;

import {Test} from "./Test.sol";
import {TwinsTest} from "./Twins.sol";
import {Words} from "./Words.sol";
import {F32, F32Lib} from "../src/arbiter/F32.sol";
import {I32} from "../src/arbiter/I32.sol";

contract F32Test is TwinsTest {
    string private json = vm.readFile("../../vectors/f32.json");

    function test_every_op_gives_the_golden_words() public view {
        string memory file = json;
        string[16] memory names = Words.f32Names();
        for (uint256 op = 0; op < names.length; ++op) {
            string memory group = op < Words.F32_BINARY ? ".binary." : ".unary.";
            bytes memory a = vm.parseJsonBytes(file, string.concat(group, "a"));
            bytes memory b = op < Words.F32_BINARY ? vm.parseJsonBytes(file, ".binary.b") : a;
            bytes memory want = vm.parseJsonBytes(file, string.concat(group, names[op]));
            assertEq(want.length, a.length, names[op]);
            assertTrue(a.length >= 4 * 500, names[op]);
            for (uint256 i = 0; i < a.length / 4; ++i) {
                F32 got = Words.f32(op, F32.wrap(Words.wordAt(a, i)), F32.wrap(Words.wordAt(b, i)));
                if (F32.unwrap(got) != Words.wordAt(want, i)) {
                    assertEq(F32.unwrap(got), Words.wordAt(want, i), string.concat(names[op], " case ", vm.toString(i)));
                }
            }
        }
    }

    /// All pairs of edges and as many random inputs; tools/fuzz-twins.ts puts tens of millions.
    function test_twins_give_the_hardwares_words() public view {
        checkTwins(".f32", 15);
    }

    function testFuzz_add_commutes_and_sub_is_add_of_neg(uint32 a_, uint32 b_) public pure {
        (F32 a, F32 b) = (F32.wrap(a_), F32.wrap(b_));
        assertEq(F32.unwrap(a.add(b)), F32.unwrap(b.add(a)), "a + b, b + a");
        assertEq(F32.unwrap(a.sub(b)), F32.unwrap(a.add(b.neg())), "a - b, a + -b");
        assertEq(F32.unwrap(a.mul(b)), F32.unwrap(b.mul(a)), "a * b, b * a");
    }

    function testFuzz_results_are_words_with_one_nan(uint8 op, uint32 a, uint32 b) public pure {
        F32 r = Words.f32(op % 15, F32.wrap(a), F32.wrap(b));
        assertTrue(!r.isNaN() || F32.unwrap(r) == 0x7fc00000, "a NaN other than 0x7fc00000");
    }

    function testFuzz_exactly_one_order_holds_without_nan(uint32 a_, uint32 b_) public pure {
        (F32 a, F32 b) = (F32.wrap(a_), F32.wrap(b_));
        uint256 held = uint256(I32.unwrap(a.lt(b))) + I32.unwrap(b.lt(a)) + I32.unwrap(a.eq(b));
        assertEq(held, a.isNaN() || b.isNaN() ? 0 : 1, "lt, gt, eq");
        assertEq(I32.unwrap(a.le(b)), I32.unwrap(a.lt(b)) | I32.unwrap(a.eq(b)), "le");
    }

    function testFuzz_square_root_of_a_square_is_back(uint32 seed) public pure {
        // The square of a 12-bit significand is exact, so its root must be too.
        F32 x = F32.wrap(uint32(64 + (seed >> 8) % 126) << 23 | (seed & 0x7ff) << 12);
        assertEq(F32.unwrap(x.mul(x).sqrt()), F32.unwrap(x), "sqrt(x * x)");
    }
}

/// Gas an op, call included: the average of ordinary operands, and the worst of all vectors.
contract F32GasTest is Test {
    function test_gas() public {
        string memory json = vm.readFile("../../vectors/f32.json");
        bytes memory a = vm.parseJsonBytes(json, ".binary.a");
        bytes memory b = vm.parseJsonBytes(json, ".binary.b");
        record("add", F32Lib.add, a, b);
        record("sub", F32Lib.sub, a, b);
        record("mul", F32Lib.mul, a, b);
        record("div", F32Lib.div, a, b);
        record("lt", lt, a, b);
        record("le", le, a, b);
        record("eq", eq, a, b);
        record("min", F32Lib.min, a, b);
        record("max", F32Lib.max, a, b);
        a = vm.parseJsonBytes(json, ".unary.a");
        record("neg", neg, a, a);
        record("abs", abs_, a, a);
        record("sqrt", sqrt, a, a);
        record("floor", floor, a, a);
        record("fromI32", fromI32, a, a);
        record("toI32", toI32, a, a);
    }

    function record(string memory name, function(F32, F32) internal pure returns (F32) op, bytes memory a, bytes memory b) private {
        // What measuring costs, with an op that does nothing, is taken off.
        uint256 frame = gasOf(first, F32.wrap(0), F32.wrap(0));
        uint256 total;
        uint256 ordinary;
        uint256 worst;
        for (uint256 i = 0; i < a.length / 4; ++i) {
            (F32 x, F32 y) = (F32.wrap(Words.wordAt(a, i)), F32.wrap(Words.wordAt(b, i)));
            uint256 spent = gasOf(op, x, y) - frame;
            if (spent > worst) worst = spent;
            if (isOrdinary(x) && isOrdinary(y)) (total, ordinary) = (total + spent, ordinary + 1);
        }
        assertTrue(ordinary > 50, "too few ordinary operands");
        vm.snapshotValue("F32", string.concat(name, " ordinary"), total / ordinary);
        vm.snapshotValue("F32", string.concat(name, " worst"), worst);
    }

    function gasOf(function(F32, F32) internal pure returns (F32) op, F32 a, F32 b) private view returns (uint256) {
        uint256 before = gasleft();
        op(a, b);
        return before - gasleft();
    }

    /// Neither zero, subnormal, infinite nor NaN, and of a size that training sees: 2^-32 to 2^32.
    function isOrdinary(F32 a) private pure returns (bool) {
        uint256 e = (F32.unwrap(a) >> 23) & 0xff;
        return e > 95 && e < 159;
    }

    function first(F32 a, F32) private pure returns (F32) {
        return a;
    }

    function lt(F32 a, F32 b) private pure returns (F32) {
        return F32.wrap(I32.unwrap(a.lt(b)));
    }

    function le(F32 a, F32 b) private pure returns (F32) {
        return F32.wrap(I32.unwrap(a.le(b)));
    }

    function eq(F32 a, F32 b) private pure returns (F32) {
        return F32.wrap(I32.unwrap(a.eq(b)));
    }

    function neg(F32 a, F32) private pure returns (F32) {
        return a.neg();
    }

    function abs_(F32 a, F32) private pure returns (F32) {
        return a.abs();
    }

    function sqrt(F32 a, F32) private pure returns (F32) {
        return a.sqrt();
    }

    function floor(F32 a, F32) private pure returns (F32) {
        return a.floor();
    }

    function fromI32(F32 a, F32) private pure returns (F32) {
        return F32Lib.fromI32(I32.wrap(F32.unwrap(a)));
    }

    function toI32(F32 a, F32) private pure returns (F32) {
        return F32.wrap(I32.unwrap(a.toI32()));
    }
}
