// SPDX-License-Identifier: Apache-2.0
// The least that a forge test needs: typed cheatcodes and assertions, our own so that nothing is fetched. Add to Vm what a test uses, no more.
pragma solidity ^0.8.28;

/// Forge's cheatcodes, as declared by its book.
interface Vm {
    enum CallerMode {
        None,
        Broadcast,
        RecurrentBroadcast,
        Prank,
        RecurrentPrank
    }

    // who calls, and when
    function prank(address sender) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function warp(uint256 timestamp) external;
    function roll(uint256 blockNumber) external;
    function setBlockhash(uint256 blockNumber, bytes32 hash) external;
    function prevrandao(bytes32 value) external;
    function fee(uint256 baseFee) external;
    function chainId(uint256 id) external;
    function getBlockNumber() external view returns (uint256);
    function getBlockTimestamp() external view returns (uint256);
    // what accounts hold
    function deal(address account, uint256 wei_) external;
    function etch(address account, bytes calldata code) external;
    function load(address account, bytes32 slot) external view returns (bytes32);
    function store(address account, bytes32 slot, bytes32 value) external;
    function snapshotState() external returns (uint256 id);
    function revertToState(uint256 id) external returns (bool);
    // keys
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function label(address account, string calldata name) external;
    // what a call must do
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectEmit() external;
    function expectEmit(address emitter) external;
    function expectCall(address callee, bytes calldata data) external;
    function recordLogs() external;
    function assume(bool condition) external pure;
    // files and JSON
    function readFile(string calldata path) external view returns (string memory);
    function writeFile(string calldata path, string calldata text) external;
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function parseJsonUintArray(string calldata json, string calldata key) external pure returns (uint256[] memory);
    function parseJsonInt(string calldata json, string calldata key) external pure returns (int256);
    function parseJsonBool(string calldata json, string calldata key) external pure returns (bool);
    function parseJsonAddress(string calldata json, string calldata key) external pure returns (address);
    function parseJsonString(string calldata json, string calldata key) external pure returns (string memory);
    function parseJsonStringArray(string calldata json, string calldata key) external pure returns (string[] memory);
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
    function parseJsonBytesArray(string calldata json, string calldata key) external pure returns (bytes[] memory);
    function parseJsonBytes32(string calldata json, string calldata key) external pure returns (bytes32);
    function parseJsonBytes32Array(string calldata json, string calldata key) external pure returns (bytes32[] memory);
    function parseJsonKeys(string calldata json, string calldata key) external pure returns (string[] memory);
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function envOr(string calldata name, uint256 otherwise) external view returns (uint256);
    function toString(uint256 value) external pure returns (string memory);
    function toString(bytes32 value) external pure returns (string memory);
    function toString(bytes calldata value) external pure returns (string memory);
    function toString(address value) external pure returns (string memory);
    // gas in git: written to snapshots/<group>.json by every test run
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
    function startSnapshotGas(string calldata group, string calldata name) external;
    function stopSnapshotGas() external returns (uint256 gasUsed);
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256 gasUsed);
}

/// Base of every test contract: `vm`, assertions that say what differed, and a bound for fuzzed numbers.
abstract contract Test {
    /// Forge runs a contract's test functions when it declares this.
    bool public constant IS_TEST = true;

    /// Where forge keeps its cheatcodes.
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    error NotEqualUint(string what, uint256 got, uint256 want);
    error NotEqualInt(string what, int256 got, int256 want);
    error NotEqualBytes32(string what, bytes32 got, bytes32 want);
    error NotEqualAddress(string what, address got, address want);
    error NotEqualBytes(string what, bytes got, bytes want);
    error NotEqualString(string what, string got, string want);
    error NotEqualBool(string what, bool got, bool want);
    error NotTrue(string what);
    error NotAtMost(string what, uint256 got, uint256 most);

    function assertTrue(bool condition) internal pure {
        assertTrue(condition, "");
    }

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert NotTrue(what);
    }

    function assertFalse(bool condition) internal pure {
        assertTrue(!condition, "");
    }

    function assertFalse(bool condition, string memory what) internal pure {
        assertTrue(!condition, what);
    }

    function assertEq(uint256 got, uint256 want) internal pure {
        assertEq(got, want, "");
    }

    function assertEq(uint256 got, uint256 want, string memory what) internal pure {
        if (got != want) revert NotEqualUint(what, got, want);
    }

    function assertEq(int256 got, int256 want) internal pure {
        assertEq(got, want, "");
    }

    function assertEq(int256 got, int256 want, string memory what) internal pure {
        if (got != want) revert NotEqualInt(what, got, want);
    }

    function assertEq(bytes32 got, bytes32 want) internal pure {
        assertEq(got, want, "");
    }

    function assertEq(bytes32 got, bytes32 want, string memory what) internal pure {
        if (got != want) revert NotEqualBytes32(what, got, want);
    }

    function assertEq(address got, address want) internal pure {
        assertEq(got, want, "");
    }

    function assertEq(address got, address want, string memory what) internal pure {
        if (got != want) revert NotEqualAddress(what, got, want);
    }

    function assertEq(bool got, bool want) internal pure {
        assertEq(got, want, "");
    }

    function assertEq(bool got, bool want, string memory what) internal pure {
        if (got != want) revert NotEqualBool(what, got, want);
    }

    function assertEq(bytes memory got, bytes memory want) internal pure {
        assertEq(got, want, "");
    }

    function assertEq(bytes memory got, bytes memory want, string memory what) internal pure {
        if (keccak256(got) != keccak256(want)) revert NotEqualBytes(what, got, want);
    }

    function assertEq(string memory got, string memory want) internal pure {
        assertEq(got, want, "");
    }

    function assertEq(string memory got, string memory want, string memory what) internal pure {
        if (keccak256(bytes(got)) != keccak256(bytes(want))) revert NotEqualString(what, got, want);
    }

    function assertLe(uint256 got, uint256 most, string memory what) internal pure {
        if (got > most) revert NotAtMost(what, got, most);
    }

    /// A fuzzed number folded into [low, high].
    function bound(uint256 x, uint256 low, uint256 high) internal pure returns (uint256) {
        if (low > high) revert NotAtMost("bound", low, high);
        if (x >= low && x <= high) return x;
        uint256 size;
        // Unchecked: the full range makes size 0, and then every x was inside already.
        unchecked {
            size = high - low + 1;
            return low + (x % size);
        }
    }
}
