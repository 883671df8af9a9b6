// SPDX-License-Identifier: Apache-2.0
// Puts the scalar steps of vectors/scalar.json, right and wrong ones, to the real Arbiter, and those of vectors/twins.json to Scalar; keeps their gas in snapshots/Scalar.json.
pragma solidity ^0.8.28;

import {Test} from "./Test.sol";
import {Source, TwinsHarness} from "./Twins.sol";
import {Arbiter} from "../src/arbiter/Arbiter.sol";
import {Expr, ExprLib, Op} from "../src/arbiter/Expr.sol";

contract ScalarTest is Test {
    string private json = vm.readFile("../../vectors/scalar.json");
    Arbiter private arbiter = new Arbiter();

    function test_right_steps_give_the_interpreters_words() public view {
        string[] memory names = vm.parseJsonStringArray(json, ".steps.names");
        bytes[] memory calls = vm.parseJsonBytesArray(json, ".steps.calls");
        bytes32[] memory want = vm.parseJsonBytes32Array(json, ".steps.results");
        assertTrue(names.length >= 150 && calls.length == names.length && want.length == names.length, "columns");
        for (uint256 i = 0; i < names.length; ++i) {
            (bool ok, bytes memory result) = address(arbiter).staticcall(calls[i]);
            assertTrue(ok, names[i]);
            assertEq(abi.decode(result, (bytes32)), want[i], names[i]);
        }
    }

    /// Whole steps, witnesses and all, on edges and random words; tools/fuzz-twins.ts puts millions.
    function test_twins_give_the_interpreters_words() public {
        string memory twins = vm.readFile("../../vectors/twins.json");
        string[] memory names = vm.parseJsonStringArray(twins, ".steps.names");
        bytes[] memory leaves = vm.parseJsonBytesArray(twins, ".steps.leaves");
        uint256[] memory seeds = vm.parseJsonUintArray(twins, ".steps.seeds");
        uint256[] memory floats = vm.parseJsonUintArray(twins, ".steps.floats");
        bytes32[] memory want = vm.parseJsonBytes32Array(twins, ".steps.hashes");
        bytes[2] memory edges = [vm.parseJsonBytes(twins, ".i32.edges"), vm.parseJsonBytes(twins, ".f32.edges")];
        uint256 traces = vm.parseJsonUint(twins, ".steps.traces");
        assertTrue(names.length >= 40 && traces >= 4 && want.length == names.length, "columns");
        TwinsHarness harness = new TwinsHarness();
        for (uint256 i = 0; i < names.length; ++i) {
            Source memory source = Source(floats[i] == 1, seeds[i], edges[floats[i]]);
            assertEq(harness.scalars(leaves[i], source, 0, traces, 0), want[i], names[i]);
        }
    }

    function test_every_op_is_among_them() public view {
        bytes[] memory calls = vm.parseJsonBytesArray(json, ".steps.calls");
        uint256 seen;
        for (uint256 i = 0; i < calls.length; ++i) {
            (uint8 op,,,,,) = arbiter.describe(leafOf(calls[i]));
            seen |= 1 << op;
        }
        // Bits of all 43 codes but input's.
        uint256 all = 6 | 0x7f << 8 | 0x3ffff << 16 | 1 << 40 | 0x7f << 48 | 3 << 56 | 0xf << 64;
        assertEq(seen, all, "ops");
    }

    function test_wrong_steps_are_refused_by_name() public view {
        string[] memory names = vm.parseJsonStringArray(json, ".refused.names");
        bytes[] memory calls = vm.parseJsonBytesArray(json, ".refused.calls");
        bytes[] memory want = vm.parseJsonBytesArray(json, ".refused.selectors");
        assertTrue(names.length >= 50 && calls.length == names.length && want.length == names.length, "columns");
        for (uint256 i = 0; i < names.length; ++i) {
            (bool ok, bytes memory data) = address(arbiter).staticcall(calls[i]);
            assertFalse(ok, names[i]);
            assertTrue(data.length >= 4, names[i]);
            assertEq(uint256(uint32(bytes4(data))), uint256(uint32(bytes4(want[i]))), names[i]);
        }
    }

    function test_describes_a_dot() public view {
        // dot: f32[2,3,4] x f32[2,4,5] at positions 7 and 300.
        bytes memory leaf =
            hex"0142020000030000000200000003000000050000000700030000000200000003000000040000012c0003000000020000000400000005";
        (uint8 op, uint8 dtype, uint256 size, uint256 bytes_, uint256 terms, uint32 attr) = arbiter.describe(leaf);
        assertEq(op, Op.DOT, "op");
        assertEq(dtype, 0, "dtype");
        assertEq(size, 30, "size");
        assertEq(bytes_, 120, "bytes");
        assertEq(terms, 4, "terms");
        assertEq(attr, 0, "attr");
        assertEq(arbiter.termsOf(leaf), 4, "termsOf");
    }

    function test_describes_an_input() public view {
        // input(slot 9): u8[1000].
        (uint8 op, uint8 dtype, uint256 size, uint256 bytes_, uint256 terms, uint32 slot) =
            arbiter.describe(hex"010000010201000003e800000009");
        assertEq(op, Op.INPUT, "op");
        assertEq(dtype, 2, "dtype");
        assertEq(size, 1000, "size");
        assertEq(bytes_, 1000, "bytes");
        assertEq(terms, 1, "terms");
        assertEq(slot, 9, "slot");
    }

    function testFuzz_a_leaf_of_noise_is_refused_or_described(bytes memory leaf) public view {
        (bool ok, bytes memory data) = address(arbiter).staticcall(abi.encodeCall(Arbiter.describe, (leaf)));
        if (ok) return;
        bytes4 name = bytes4(data);
        assertTrue(name == ExprLib.MalformedLeaf.selector || name == ExprLib.UnknownOp.selector, "another error");
    }

    function test_gas() public {
        string[] memory names = vm.parseJsonStringArray(json, ".gas.names");
        bytes[] memory calls = vm.parseJsonBytesArray(json, ".gas.calls");
        for (uint256 i = 0; i < names.length; ++i) {
            bytes memory call = calls[i];
            uint256 before = gasleft();
            (bool ok,) = address(arbiter).staticcall(call);
            uint256 spent = before - gasleft();
            assertTrue(ok, names[i]);
            // Calldata is most of what a proof costs: 4 gas a zero byte, 16 another (EIP-2028).
            uint256 data;
            for (uint256 k = 0; k < call.length; ++k) {
                data += call[k] == 0 ? 4 : 16;
            }
            vm.snapshotValue("Scalar", string.concat(names[i], " step"), spent);
            vm.snapshotValue("Scalar", string.concat(names[i], " calldata"), data);
        }
        vm.snapshotValue("Scalar", "Arbiter bytes", address(arbiter).code.length);
        assertLe(address(arbiter).code.length, 24_575, "EIP-170");
    }

    /// The leaf inside a call of `step`: its first argument.
    function leafOf(bytes memory call) private pure returns (bytes memory leaf) {
        bytes memory args = new bytes(call.length - 4);
        for (uint256 i = 0; i < args.length; ++i) {
            args[i] = call[i + 4];
        }
        leaf = abi.decode(args, (bytes));
    }
}
