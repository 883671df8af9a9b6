// SPDX-License-Identifier: Apache-2.0
// A token without value for the embedded chain: ERC-20 with EIP-2612 permits that anybody may mint. On a public chain a stablecoin takes its place.
pragma solidity ^0.8.28;

import {Signature} from "./Signature.sol";

/// ERC-20 (EIP-20) with permit (EIP-2612), 18 decimals, minted by whoever asks.
contract TestToken {
    string public constant name = "Bitloom test token";
    string public constant symbol = "tLOOM";
    string public constant version = "1";
    uint8 public constant decimals = 18;
    /// Most that one call mints: enough for any test, too little to overflow a ledger by mistake.
    uint256 public constant MINT_CAP_WEI = 1_000_000 ether;

    bytes32 private constant DOMAIN_TYPEHASH = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant PERMIT_TYPEHASH = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    uint256 public totalSupply;
    mapping(address owner => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;
    mapping(address owner => uint256) public nonces;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    error MintTooLarge(uint256 amountWei, uint256 capWei);
    error BalanceTooLow(address owner, uint256 haveWei, uint256 wantWei);
    error AllowanceTooLow(address owner, address spender, uint256 haveWei, uint256 wantWei);
    error ToNobody();
    error PermitExpired(uint256 deadline, uint256 time);
    error WrongSigner(address signer, address owner);

    /// Gives `to` new tokens; open to anybody.
    function mint(address to, uint256 amountWei) external {
        if (amountWei > MINT_CAP_WEI) revert MintTooLarge(amountWei, MINT_CAP_WEI);
        if (to == address(0)) revert ToNobody();
        totalSupply += amountWei;
        balanceOf[to] += amountWei;
        emit Transfer(address(0), to, amountWei);
    }

    /// EIP-20.
    function transfer(address to, uint256 amountWei) external returns (bool) {
        _move(msg.sender, to, amountWei);
        return true;
    }

    /// EIP-20. An allowance of the whole range is never used up.
    function transferFrom(address from, address to, uint256 amountWei) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed < amountWei) revert AllowanceTooLow(from, msg.sender, allowed, amountWei);
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - amountWei;
        _move(from, to, amountWei);
        return true;
    }

    /// EIP-20.
    function approve(address spender, uint256 amountWei) external returns (bool) {
        allowance[msg.sender][spender] = amountWei;
        emit Approval(msg.sender, spender, amountWei);
        return true;
    }

    /// EIP-2612: an approval that anybody may bring, signed by its owner.
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        if (block.timestamp > deadline) revert PermitExpired(deadline, block.timestamp);
        bytes32 structHash = keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonces[owner]++, deadline));
        address signer = Signature.recover(keccak256(abi.encodePacked("\x19\x01", DOMAIN_SEPARATOR(), structHash)), v, r, s);
        if (signer != owner) revert WrongSigner(signer, owner);
        allowance[owner][spender] = value;
        emit Approval(owner, spender, value);
    }

    /// EIP-712 domain; computed anew, so that a fork of the chain has its own.
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256(bytes(name)), keccak256(bytes(version)), block.chainid, address(this)));
    }

    function _move(address from, address to, uint256 amountWei) private {
        if (to == address(0)) revert ToNobody();
        uint256 have = balanceOf[from];
        if (have < amountWei) revert BalanceTooLow(from, have, amountWei);
        balanceOf[from] = have - amountWei;
        balanceOf[to] += amountWei;
        emit Transfer(from, to, amountWei);
    }
}
