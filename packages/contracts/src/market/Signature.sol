// SPDX-License-Identifier: Apache-2.0
// Who signed a digest: secp256k1 recovery that accepts one signature for each message and signer, and never the zero address.
pragma solidity ^0.8.28;

library Signature {
    /// Half the order of secp256k1: above it lies the mirror image of a valid signature (EIP-2, Appendix F of the yellow paper).
    uint256 internal constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    /// r, s and v.
    uint256 internal constant LENGTH = 65;

    error BadSignatureLength(uint256 length);
    error BadSignatureV(uint8 v);
    error HighSignatureS(bytes32 s);
    error NoSigner(bytes32 digest);

    /// The address whose key signed `digest`.
    function recover(bytes32 digest, uint8 v, bytes32 r, bytes32 s) internal pure returns (address signer) {
        if (v != 27 && v != 28) revert BadSignatureV(v);
        if (uint256(s) > HALF_ORDER) revert HighSignatureS(s);
        signer = ecrecover(digest, v, r, s);
        if (signer == address(0)) revert NoSigner(digest);
    }

    /// The same from r ‖ s ‖ v in 65 bytes.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        if (signature.length != LENGTH) revert BadSignatureLength(signature.length);
        return recover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
    }
}
