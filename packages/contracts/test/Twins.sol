// SPDX-License-Identifier: Apache-2.0
// Millions of seeded inputs for every scalar op, drawn here as tools/twin-inputs.ts draws them and folded into one hash, so that the contracts' arithmetic can be
// held to the hardware's without carrying a word across: equal hashes are equal words, and two that differ are halved down to the first that does.
pragma solidity ^0.8.28;

import {Test} from "./Test.sol";
import {Words} from "./Words.sol";
import {Expr, ExprLib, Op} from "../src/arbiter/Expr.sol";
import {Scalar} from "../src/arbiter/Scalar.sol";
import {Operand, Witness} from "../src/arbiter/Witness.sol";
import {Merkle} from "../src/dispute/Merkle.sol";

/// Where inputs come from.
struct Source {
    bool floats;
    uint256 seed;
    /// Big-endian words.
    bytes edges;
}

/// Inputs by number: any of them without those before it. Twin: tools/twin-inputs.ts.
library TwinInputs {
    uint256 private constant MASK = 0xffffffff;
    uint256 private constant SIGN = 0x80000000;
    uint256 private constant FRACTION = 0x7fffff;
    uint256 private constant NO_EXPONENT = 0x807fffff;

    /// Input `i`: first every pair of edges, then words of a stream made likely to hurt. Two inputs share keccak256(seed ‖ i / 2): a, b and how.
    function pair(Source memory source, uint256 i) internal pure returns (uint256 a, uint256 b) {
        unchecked {
            (uint256 seed, bytes memory edges) = (source.seed, source.edges);
            uint256 n = edges.length / 4;
            if (i < n * n) return (edge(edges, i / n), edge(edges, i % n));
            uint256 r;
            assembly ("memory-safe") {
                mstore(0, seed)
                mstore(32, shr(1, i))
                r := shr(and(shl(7, not(i)), 128), keccak256(0, 64))
                a := and(shr(96, r), 0xffffffff)
                b := and(shr(64, r), 0xffffffff)
                r := and(shr(32, r), 0xffffffff)
            }
            return source.floats ? floatPair(edges, a, b, r & 15, r >> 4) : integerPair(edges, a, b, r & 3);
        }
    }

    /// Edge `i` of the list.
    function edge(bytes memory edges, uint256 i) internal pure returns (uint256 w) {
        assembly ("memory-safe") {
            w := shr(224, mload(add(add(edges, 32), shl(2, i))))
        }
    }

    function floatPair(bytes memory edges, uint256 a, uint256 b, uint256 kind, uint256 s) private pure returns (uint256, uint256) {
        unchecked {
            // 0 to 3: any two words
            if (kind < 4) return (a, b);
            int256 e = int256((a >> 23) & 0xff);
            int256 t = int256(s % 55);
            if (kind < 8) {
                // the opposite, within a few last places
                if (kind == 5) return (a, ((a ^ SIGN) + s % 9 + MASK - 3) & MASK);
                // exponents near one another: sums that cancel, align, or drop one of the two
                if (kind == 4) return (a, near(b, e + t - 27));
                // products, then quotients, around the smallest and the largest magnitudes
                return (a, near(b, kind == 6 ? 100 - e + t : e + 99 + t));
            }
            if (kind < 12) {
                if (kind == 8) return (edge(edges, a % (edges.length / 4)), b);
                if (kind == 9) return (a, edge(edges, b % (edges.length / 4)));
                // 12 and 13 significant bits: half of the products are ties
                if (kind == 10) return (a & 0xfffff000, b & 0xfffff800);
                // half of a's last place, a last place of its own more or less: ties of sums and their neighbours
                return (a, (near(b & SIGN, e - 24 - int256(s & 1)) + (s >> 1) % 3 + MASK) & MASK);
            }
            if (kind == 12) {
                // a quotient, or a product, by a power of two that is subnormal with one bit to drop: ties below the normal range
                t = 1 + int256(s % 23);
                a = (a & ~((uint256(1) << uint256(t)) - 1)) | (1 << uint256(t - 1));
                return (a, near(b & SIGN, (s >> 8) & 1 == 0 ? e + 126 + t : 128 - t - e));
            }
            // numbers with and without a fraction: floor, casts, roots
            if (kind == 13) return (near(a, 124 + int256(s % 38)), near(b, 124 + int256((s >> 8) % 38)));
            if (kind == 14) {
                // squares of 12 bits, a last place more or less
                uint256 m = (a & 0x7ff) | 0x800;
                m *= m;
                if (m < 1 << 23) m <<= 1;
                return ((((a >> 12) & 0xff) % 254 + 1) << 23 | (m & FRACTION) + s % 3, b);
            }
            // subnormals
            return ((a & SIGN) | (a & FRACTION) >> (s % 23), s & 0x100 == 0 ? (b & SIGN) | (b & FRACTION) >> ((s >> 9) % 23) : b);
        }
    }

    function integerPair(bytes memory edges, uint256 a, uint256 b, uint256 kind) private pure returns (uint256, uint256) {
        if (kind == 0) return (a, b);
        if (kind == 1) return (a, b % 67);
        if (kind == 2) return (a >> (b & 31), b >> (a & 31));
        uint256 n = edges.length / 4;
        return (edge(edges, a % n), a & 0x10000 == 0 ? b : edge(edges, b % n));
    }

    /// The word with another exponent, held within 1 and 254.
    function near(uint256 x, int256 exponent) private pure returns (uint256) {
        if (exponent < 1) exponent = 1;
        if (exponent > 254) exponent = 254;
        return (x & NO_EXPONENT) | uint256(exponent) << 23;
    }
}

/// Runs of inputs folded into hashes.
library Twins {
    /// Results that one keccak folds.
    uint256 internal constant BLOCK = 1024;
    /// Elements of the tensors that whole scalar steps read: one chunk.
    uint256 internal constant WIDTH = 256;

    /// Inputs from … from + count - 1 of every op in `codes` (Words' numbers): for each a hash, h = keccak256(h ‖ the block's results) for every
    /// block of BLOCK. Inputs are drawn once for all ops.
    function words(uint256[] memory codes, Source memory source, uint256 from, uint256 count, bytes32[] memory h) internal pure {
        bytes memory results = new bytes(32 + 4 * BLOCK + 28);
        uint256[] memory pairs = new uint256[](BLOCK);
        while (count > 0) {
            uint256 n = count < BLOCK ? count : BLOCK;
            for (uint256 i = 0; i < n; i = next(i)) {
                (uint256 a, uint256 b) = TwinInputs.pair(source, from + i);
                pairs[i] = a << 32 | b;
            }
            for (uint256 k = 0; k < codes.length; ++k) {
                one(codes[k], pairs, n, results);
                h[k] = fold(results, n, h[k]);
            }
            (from, count) = (from + n, count - n);
        }
    }

    function one(uint256 op, uint256[] memory pairs, uint256 n, bytes memory results) private pure {
        for (uint256 i = 0; i < n; i = next(i)) {
            uint256 both;
            assembly ("memory-safe") {
                both := mload(add(add(pairs, 32), shl(5, i)))
            }
            put(results, i, Words.apply_(op, uint32(both >> 32), uint32(both)));
        }
    }

    function next(uint256 i) private pure returns (uint256) {
        unchecked {
            return i + 1; // below BLOCK
        }
    }

    /// Word `i` of the results; the 28 bytes behind it are written over by those after it.
    function put(bytes memory results, uint256 i, uint32 word) private pure {
        assembly ("memory-safe") {
            mstore(add(add(results, 64), shl(2, i)), shl(224, word))
        }
    }

    function fold(bytes memory results, uint256 n, bytes32 h) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(add(results, 32), h)
            hash := keccak256(add(results, 32), add(32, shl(2, n)))
        }
    }

    /// Whole scalar steps, witnesses and all, of the expr that `leaf` encodes, whose operands are tensors of WIDTH words: `blocks` traces from
    /// `first` on, each with operands of its own, one step an element (of a fold: a term, with an accumulator of its own).
    function scalars(bytes calldata leaf, Source memory source, uint256 first, uint256 blocks, bytes32 h) internal view returns (bytes32) {
        Expr memory e = ExprLib.decodeLeaf(leaf);
        bytes memory results = new bytes(32 + 4 * BLOCK + 28);
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
        }
        for (uint256 k = first; k < first + blocks; ++k) {
            oneTrace(e, source, k, results);
            h = fold(results, WIDTH, h);
            // INVARIANT: nothing made since `free` is used again, so its memory may be.
            assembly ("memory-safe") {
                mstore(0x40, free)
            }
        }
        return h;
    }

    /// The results of trace `k`, big-endian words.
    function traceWords(bytes calldata leaf, Source memory source, uint256 k) internal view returns (bytes memory words_) {
        bytes memory results = new bytes(32 + 4 * BLOCK + 28);
        oneTrace(ExprLib.decodeLeaf(leaf), source, k, results);
        words_ = new bytes(4 * WIDTH);
        for (uint256 i = 0; i < words_.length; ++i) {
            words_[i] = results[32 + i];
        }
    }

    /// The steps of trace `k`: tensor t of it holds one side of inputs k·WIDTH …, the third of them another seed's.
    function oneTrace(Expr memory e, Source memory source, uint256 k, bytes memory results) private view {
        uint256 count = e.operands.length;
        bytes32[] memory roots = new bytes32[](count < 2 ? 2 : count);
        Operand[] memory tensors = new Operand[](count);
        for (uint256 t = 0; t < count; ++t) {
            tensors[t].chunk = chunk(Source(e.operands[t].dtype == 0, source.seed + (t == 2 ? 1 : 0), source.edges), k, t);
            roots[t] = Merkle.leafHash(tensors[t].chunk);
            tensors[t].root = roots[t];
        }
        Witness memory w;
        w.exprs = roots.length;
        w.trace = Merkle.itemsRoot(roots);
        for (uint256 t = 0; t < count; ++t) {
            tensors[t].traceProof = proof(roots, t);
        }
        Source memory accs = Source(e.result.dtype == 0, source.seed + 2, source.edges);
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
        }
        for (uint256 i = 0; i < WIDTH; ++i) {
            (uint256 acc,) = TwinInputs.pair(accs, k * WIDTH + i);
            put(results, i, step(e, i, acc, tensors, w));
            // INVARIANT: the step's own memory is not used again.
            assembly ("memory-safe") {
                mstore(0x40, free)
            }
        }
    }

    function step(Expr memory e, uint256 i, uint256 acc, Operand[] memory tensors, Witness memory w) private view returns (uint32) {
        uint256 op = e.op;
        bool folds = op >= Op.SUM;
        if (op == Op.ARGMAX) acc %= WIDTH;
        uint256 term = folds || op == Op.SCATTER_ADD ? i : 0;
        uint256 element = folds ? 0 : op == Op.SCATTER_ADD ? i & 1 : i;
        w.operands = reads(op, i, element, tensors);
        w.used = 0;
        return Scalar.scalarStep(e, element, term, uint32(acc), w);
    }

    /// The operands that step `i` reads, in the order of its reads.
    function reads(uint256 op, uint256 i, uint256 element, Operand[] memory tensors) private pure returns (Operand[] memory operands) {
        if (op == Op.WHERE) return two(tensors[0], tensors[wordOf(tensors[0].chunk, i) != 0 ? 1 : 2]);
        if (op == Op.GATHER) return two(tensors[1], tensors[0]);
        if (op == Op.SCATTER_ADD) {
            // Row 0 takes what is 0 or less, row 1 (of two) all else.
            uint256 row = int32(wordOf(tensors[1].chunk, i)) <= 0 ? 0 : 1;
            if (row == element) return two(tensors[1], tensors[0]);
            operands = new Operand[](1);
            operands[0] = tensors[1];
            return operands;
        }
        return op == Op.ARGMAX ? two(tensors[0], tensors[0]) : tensors;
    }

    function two(Operand memory a, Operand memory b) private pure returns (Operand[] memory operands) {
        operands = new Operand[](2);
        (operands[0], operands[1]) = (a, b);
    }

    /// WIDTH little-endian words of tensor `t` of trace `k`; no NaN but the one, as in any tensor of an honest trace.
    function chunk(Source memory source, uint256 k, uint256 t) private pure returns (bytes memory data) {
        data = new bytes(4 * WIDTH);
        for (uint256 i = 0; i < WIDTH; ++i) {
            (uint256 a, uint256 b) = TwinInputs.pair(source, k * WIDTH + i);
            if (t == 1) a = b;
            if (source.floats && a & 0x7fffffff > 0x7f800000) a = 0x7fc00000;
            a = (a & 0xff) << 24 | (a & 0xff00) << 8 | (a >> 8) & 0xff00 | a >> 24;
            for (uint256 n = 0; n < 4; ++n) {
                data[4 * i + n] = bytes1(uint8(a >> (24 - 8 * n)));
            }
        }
    }

    function wordOf(bytes memory data, uint256 i) private pure returns (uint32 w) {
        for (uint256 n = 4; n > 0; --n) {
            w = w << 8 | uint8(data[4 * i + n - 1]);
        }
    }

    /// The siblings of item `t` among two or three.
    function proof(bytes32[] memory roots, uint256 t) private view returns (bytes32[] memory siblings) {
        siblings = new bytes32[](roots.length == 2 ? 1 : 2);
        siblings[0] = t == 2 ? bytes32(0) : roots[t ^ 1];
        if (roots.length == 3) siblings[1] = t == 2 ? Merkle.innerHash(roots[0], roots[1]) : Merkle.innerHash(roots[2], bytes32(0));
    }
}

/// What tools/fuzz-twins.ts calls.
contract TwinsHarness {
    function words(uint256[] memory codes, Source memory source, uint256 from, uint256 count, bytes32[] memory h)
        external
        pure
        returns (bytes32[] memory)
    {
        Twins.words(codes, source, from, count, h);
        return h;
    }

    function wordAt(uint256 op, Source memory source, uint256 i) external pure returns (uint256 a, uint256 b, uint32 result) {
        (a, b) = TwinInputs.pair(source, i);
        result = Words.apply_(op, uint32(a), uint32(b));
    }

    function scalars(bytes calldata leaf, Source memory source, uint256 first, uint256 blocks, bytes32 h) external view returns (bytes32) {
        return Twins.scalars(leaf, source, first, blocks, h);
    }

    function traceWords(bytes calldata leaf, Source memory source, uint256 k) external view returns (bytes memory) {
        return Twins.traceWords(leaf, source, k);
    }
}

/// What F32Test and I32Test have in common.
abstract contract TwinsTest is Test {
    /// Ops of one group of vectors/twins.json (`.f32`, `.i32`), of which there are `least` or more.
    function checkTwins(string memory group, uint256 least) internal view {
        string memory json = vm.readFile("../../vectors/twins.json");
        string[] memory names = vm.parseJsonStringArray(json, string.concat(group, ".names"));
        uint256[] memory codes = vm.parseJsonUintArray(json, string.concat(group, ".codes"));
        bytes32[] memory want = vm.parseJsonBytes32Array(json, string.concat(group, ".hashes"));
        bytes memory edges = vm.parseJsonBytes(json, string.concat(group, ".edges"));
        uint256 inputs = vm.parseJsonUint(json, string.concat(group, ".inputs"));
        assertTrue(names.length >= least && codes.length == names.length && want.length == names.length, "columns");
        assertTrue(inputs >= 20_000 && edges.length >= 4 * 30, "inputs");
        Source memory source = Source(bytes(group)[1] == "f", vm.parseJsonUint(json, string.concat(group, ".seed")), edges);
        bytes32[] memory got = new bytes32[](codes.length);
        Twins.words(codes, source, 0, inputs, got);
        for (uint256 i = 0; i < codes.length; ++i) {
            assertEq(got[i], want[i], names[i]);
        }
    }
}
