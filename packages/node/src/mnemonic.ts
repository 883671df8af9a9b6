// Twelve words from a secret (BIP-39), so that the embedded chain's accounts can be told to anvil and derived by us alike.

import { createHash, randomBytes } from 'node:crypto'
import { english, mnemonicToAccount } from 'viem/accounts'

/** The English BIP-39 phrase of 16 to 32 bytes of entropy (a multiple of 4); throws RangeError for other lengths. */
export function entropyToMnemonic(entropy: Uint8Array): string {
  const { length } = entropy
  if (length < 16 || length > 32 || length % 4 !== 0)
    throw new RangeError(`entropyToMnemonic: ${length} bytes; must be 16, 20, 24, 28 or 32`)
  const checksum = createHash('sha256').update(entropy).digest()[0]
  const bits = [...entropy, checksum].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const words: string[] = []
  for (let i = 0; i + 11 <= length * 8 + length / 4; i += 11) words.push(english[Number.parseInt(bits.slice(i, i + 11), 2)])
  return words.join(' ')
}

/** Twelve fresh random words. */
export const randomMnemonic = (): string => entropyToMnemonic(randomBytes(16))

/** The same twelve words for the same seed text; for tests and reproducible runs only: the words are as guessable as the seed. */
export const mnemonicFromSeed = (seed: string): string =>
  entropyToMnemonic(createHash('sha256').update(`bitloom/mnemonic/1/${seed}`).digest().subarray(0, 16))

/** The private key of account `index` of a phrase at m/44'/60'/0'/0/index, as anvil and wallets derive it. */
export function mnemonicKey(mnemonic: string, index: number): `0x${string}` {
  const key = mnemonicToAccount(mnemonic, { addressIndex: index }).getHdKey().privateKey
  if (key === null) throw new RangeError(`mnemonicKey: no private key at index ${index}`)
  return `0x${Buffer.from(key).toString('hex')}`
}
