// SPDX-License-Identifier: Apache-2.0
// Holds I32.sol to vectors/i32.json, word for word, and to the hardware by the hashes of vectors/twins.json.
pragma solidity ^0.8.28;

import {TwinsTest} from "./Twins.sol";
import {Words} from "./Words.sol";
import {I32} from "../src/arbiter/I32.sol";

contract I32Test is TwinsTest {
    function test_every_op_gives_the_golden_words() public view {
        string memory file = vm.readFile("../../vectors/i32.json");
        string[19] memory names = Words.i32Names();
        for (uint256 op = 0; op < names.length; ++op) {
            string memory group = op < Words.I32_BINARY ? ".binary." : ".unary.";
            bytes memory a = vm.parseJsonBytes(file, string.concat(group, "a"));
            bytes memory b = op < Words.I32_BINARY ? vm.parseJsonBytes(file, ".binary.b") : a;
            bytes memory want = vm.parseJsonBytes(file, string.concat(group, names[op]));
            assertEq(want.length, a.length, names[op]);
            assertTrue(a.length >= 4 * 200, names[op]);
            for (uint256 i = 0; i < a.length / 4; ++i) {
                I32 got = Words.i32(op, I32.wrap(Words.wordAt(a, i)), I32.wrap(Words.wordAt(b, i)));
                if (I32.unwrap(got) != Words.wordAt(want, i)) {
                    assertEq(I32.unwrap(got), Words.wordAt(want, i), string.concat(names[op], " case ", vm.toString(i)));
                }
            }
        }
    }

    /// All pairs of edges and as many random inputs; tools/fuzz-twins.ts puts tens of millions.
    function test_twins_give_the_hardwares_words() public view {
        checkTwins(".i32", 20);
    }

    function testFuzz_division_recomposes(uint32 a_, uint32 b_) public pure {
        (I32 a, I32 b) = (I32.wrap(a_), I32.wrap(b_));
        assertEq(I32.unwrap(a.divu(b).mul(b).add(a.remu(b))), a_, "q * b + r");
    }

    function testFuzz_truth_is_any_bit(uint32 a) public pure {
        assertEq(I32.wrap(a).isTrue(), a != 0, "isTrue");
    }
}
