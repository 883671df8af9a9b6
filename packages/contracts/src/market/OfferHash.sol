// SPDX-License-Identifier: Apache-2.0
// What a provider signs: an offer as EIP-712 typed data, bound to one market on one chain. Twin: sdk/offer.
pragma solidity ^0.8.28;

import {Offer} from "./Types.sol";

library OfferHash {
    bytes32 private constant DOMAIN_TYPEHASH = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant OFFER_TYPEHASH = keccak256(
        "Offer(address solver,uint256 weiPerTeraop,uint64 memoryBytes,uint64 operationsPerSecond,uint32 capacity,uint64 validUntil,uint8 minAssurance,bytes32 salt,string contact)"
    );

    /// The domain of `market`; computed anew, so that a fork of the chain has its own.
    function domain(address market) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Bitloom"), keccak256("1"), block.chainid, market));
    }

    /// The digest that is signed, and by which the market counts capacity.
    function digest(Offer calldata offer, address market) internal view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                OFFER_TYPEHASH,
                offer.solver,
                offer.weiPerTeraop,
                offer.memoryBytes,
                offer.operationsPerSecond,
                offer.capacity,
                offer.validUntil,
                offer.minAssurance,
                offer.salt,
                keccak256(bytes(offer.contact))
            )
        );
        return keccak256(abi.encodePacked("\x19\x01", domain(market), structHash));
    }
}
