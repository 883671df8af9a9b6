// SPDX-License-Identifier: Apache-2.0
// What the market looks at before it takes a task in: a spec within bounds, an offer that its solver signed and still stands by, terms that keep to
// it. Apart from Market.sol because the two together are larger than a chain allows; Market creates its own and trusts no other.
pragma solidity ^0.8.28;

import {ITasks, Offer, Spec, Terms} from "./Types.sol";
import {OfferHash} from "./OfferHash.sol";
import {Signature} from "./Signature.sol";
import {SpecLimits} from "./SpecLimits.sol";

contract Intake {
    /// Scalar operations that an offer's price is for.
    uint256 public constant TERA = 1e12;
    /// Amounts and prices are below this, so that no product of them with a spec's bounded counts overflows.
    uint256 public constant MAX_AMOUNT = type(uint128).max;
    /// A contact is an address on the network, not a document.
    uint256 public constant MAX_CONTACT_BYTES = 512;

    error OfferExpired(uint256 validUntil, uint256 time);
    error OfferSignedBy(address signer, address solver);
    error OfferWantsAssurance(uint256 minAssurance, uint256 assurance);
    error ContactTooLong(uint256 length, uint256 most);
    /// `field` is the name in ASCII.
    error AmountTooLarge(bytes32 field, uint256 value, uint256 most);
    error PriceTooLow(uint256 slicePriceWei, uint256 leastWei);
    error AuditFeeTooLow(uint256 auditFeeWei, uint256 leastWei);
    error BondTooLow(uint256 bondWei, uint256 leastWei);

    /// Reverts at the first thing wrong with a task of the calling market; else the digest that the provider signed.
    function check(uint256 taskId, Terms calldata terms, Offer calldata offer, bytes calldata signature) external view returns (bytes32 hash) {
        Spec memory spec = ITasks(msg.sender).specOf(taskId);
        SpecLimits.check(spec);
        _checkTerms(spec, terms, offer);
        hash = OfferHash.digest(offer, msg.sender);
        address signer = Signature.recover(hash, signature);
        if (signer != offer.solver) revert OfferSignedBy(signer, offer.solver);
    }

    /// The digest that a provider signs for `market`.
    function offerHash(Offer calldata offer, address market) external view returns (bytes32) {
        return OfferHash.digest(offer, market);
    }

    function _checkTerms(Spec memory spec, Terms calldata terms, Offer calldata offer) private view {
        if (block.timestamp > offer.validUntil) revert OfferExpired(offer.validUntil, block.timestamp);
        if (spec.assurance < offer.minAssurance) revert OfferWantsAssurance(offer.minAssurance, spec.assurance);
        if (bytes(offer.contact).length > MAX_CONTACT_BYTES) revert ContactTooLong(bytes(offer.contact).length, MAX_CONTACT_BYTES);
        _atMost("weiPerTeraop", offer.weiPerTeraop);
        _atMost("slicePriceWei", terms.slicePriceWei);
        _atMost("auditFeeWei", terms.auditFeeWei);
        _atMost("bondWei", terms.bondWei);
        uint256 segment = uint256(spec.operationsPerStep) * spec.stepsPerCheckpoint;
        uint256 leastWei = _priceWei(offer.weiPerTeraop, segment * spec.checkpointsPerSlice);
        if (terms.slicePriceWei < leastWei) revert PriceTooLow(terms.slicePriceWei, leastWei);
        // A verifier does a segment's work again, so it gets a segment's price at least: whoever is drawn has no choice.
        leastWei = _priceWei(offer.weiPerTeraop, segment);
        if (spec.assurance != SpecLimits.NONE && terms.auditFeeWei < leastWei) revert AuditFeeTooLow(terms.auditFeeWei, leastWei);
        // A bond of a slice's price: a caught lie costs at least twice what it was to bring, even when only one slice was ever at stake.
        if (terms.bondWei < terms.slicePriceWei) revert BondTooLow(terms.bondWei, terms.slicePriceWei);
    }

    function _atMost(bytes32 field, uint256 value) private pure {
        if (value > MAX_AMOUNT) revert AmountTooLarge(field, value, MAX_AMOUNT);
    }

    /// The price of scalar operations, rounded up.
    function _priceWei(uint256 weiPerTeraop, uint256 operations) private pure returns (uint256) {
        return (weiPerTeraop * operations + TERA - 1) / TERA;
    }
}
