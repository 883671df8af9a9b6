// SPDX-License-Identifier: Apache-2.0
// Scalar ops by name and by number, so that the vector tests, the gas table and the differential fuzzer drive the very same functions.
pragma solidity ^0.8.28;

import {F32, F32Lib} from "../src/arbiter/F32.sol";
import {I32, I32Lib} from "../src/arbiter/I32.sol";

/// Applies the op of a number to words. Numbers are positions in the lists below; one-operand ops ignore b.
library Words {
    error UnknownOp(uint256 op);

    /// Names of the f32 ops, binary ones first; position is the number.
    function f32Names() internal pure returns (string[16] memory) {
        return ["add", "sub", "mul", "div", "lt", "le", "eq", "min", "max", "canonical", "neg", "abs", "sqrt", "floor", "fromI32", "toI32"];
    }

    uint256 internal constant F32_BINARY = 9;

    /// Names of the i32 ops, binary ones first; position is the number less 32.
    function i32Names() internal pure returns (string[19] memory) {
        return [
            "add", "sub", "mul", "divu", "remu", "and", "or", "xor", "shl", "shr", "sar", "lt", "ltu", "eq", "min", "max", "not", "neg", "abs"
        ];
    }

    uint256 internal constant I32_BINARY = 16;
    uint256 internal constant I32_BASE = 32;

    function apply_(uint256 op, uint32 a, uint32 b) internal pure returns (uint32) {
        return op < I32_BASE ? F32.unwrap(f32(op, F32.wrap(a), F32.wrap(b))) : I32.unwrap(i32(op - I32_BASE, I32.wrap(a), I32.wrap(b)));
    }

    function f32(uint256 op, F32 a, F32 b) internal pure returns (F32) {
        // By halves: millions of inputs come this way.
        if (op < 4) {
            if (op < 2) return op == 0 ? a.add(b) : a.sub(b);
            return op == 2 ? a.mul(b) : a.div(b);
        }
        if (op < 8) {
            if (op < 6) return word(op == 4 ? a.lt(b) : a.le(b));
            return op == 6 ? word(a.eq(b)) : a.min(b);
        }
        if (op < 12) {
            if (op < 10) return op == 8 ? a.max(b) : a.canonical();
            return op == 10 ? a.neg() : a.abs();
        }
        if (op < 14) return op == 12 ? a.sqrt() : a.floor();
        if (op == 14) return F32Lib.fromI32(I32.wrap(F32.unwrap(a)));
        if (op == 15) return word(a.toI32());
        revert UnknownOp(op);
    }

    function i32(uint256 op, I32 a, I32 b) internal pure returns (I32) {
        if (op < 4) {
            if (op < 2) return op == 0 ? a.add(b) : a.sub(b);
            return op == 2 ? a.mul(b) : a.divu(b);
        }
        if (op < 8) {
            if (op < 6) return op == 4 ? a.remu(b) : a.and(b);
            return op == 6 ? a.or(b) : a.xor(b);
        }
        if (op < 12) {
            if (op < 10) return op == 8 ? a.shl(b) : a.shr(b);
            return op == 10 ? a.sar(b) : a.lt(b);
        }
        if (op < 16) {
            if (op < 14) return op == 12 ? a.ltu(b) : a.eq(b);
            return op == 14 ? a.min(b) : a.max(b);
        }
        if (op == 16) return a.not();
        if (op == 17) return a.neg();
        if (op == 18) return a.abs();
        revert UnknownOp(op);
    }

    /// Word i of a column of big-endian 32-bit words.
    function wordAt(bytes memory column, uint256 i) internal pure returns (uint32 w) {
        for (uint256 k = 4 * i; k < 4 * i + 4; ++k) {
            w = (w << 8) | uint8(column[k]);
        }
    }

    function word(I32 a) private pure returns (F32) {
        return F32.wrap(I32.unwrap(a));
    }
}

/// What tools/fuzz-f32.ts calls: thousands of ops in one eth_call, raw bytes in and out.
contract WordsHarness {
    /// Records of 9 bytes, op a b, give one 32-byte word each.
    fallback(bytes calldata records) external returns (bytes memory) {
        uint256 n = records.length / 9;
        uint256[] memory results = new uint256[](n);
        for (uint256 i = 0; i < n; ++i) {
            uint72 record = uint72(bytes9(records[9 * i:9 * i + 9]));
            results[i] = Words.apply_(record >> 64, uint32(record >> 32), uint32(record));
        }
        return abi.encodePacked(results);
    }
}
