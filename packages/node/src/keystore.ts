// Keys at rest: one private key in a password-protected file (the layout of EIP-2335, with a secp256k1 key inside), never printed.

import { createCipheriv, createDecipheriv, createHash, randomBytes, randomUUID, scryptSync, timingSafeEqual } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { inspect } from 'node:util'
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts'
import { writeFileAtomic } from './store.ts'

/** scrypt's cost (N) of EIP-2335's test vectors: about half a second and 256 MB a guess. */
export const SCRYPT_COST = 2 ** 18
export const PASSWORD_VARIABLE = 'BITLOOM_PASSWORD'
const SCRYPT_BLOCK = 8
/** The most that a key file may ask for, so that a hostile one cannot take the machine: 1 GB. */
const MAX_SCRYPT_MEMORY = 2 ** 30
const MAX_FILE_BYTES = 64 * 1024

/** An unlocked key. Printing, logging or serialising it shows the address only. */
export interface LocalKey {
  readonly address: `0x${string}`
  /** Signs for viem; does not expose the key. */
  readonly account: PrivateKeyAccount
  /** The private key itself, for a person who exports it or to derive others from. */
  exportPrivateKey(): `0x${string}`
}

/**
 * Creates a key file (mode 0600, whole or not at all) and returns its key; a fresh random one unless `privateKey` is given.
 * Throws KeystoreError when the file exists: a key is never overwritten. `cost` is scrypt's N, a power of two.
 */
export function createKey(
  path: string,
  password: string,
  options: { readonly privateKey?: `0x${string}`; readonly cost?: number } = {},
): LocalKey {
  if (existsSync(path))
    throw new KeystoreError(path, 'it exists already; a key is never overwritten. Choose another name or move the file away.')
  const key = toKey(options.privateKey ?? generatePrivateKey())
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFileAtomic(path, `${JSON.stringify(sealKey(key, password, options.cost), null, 2)}\n`, 0o600)
  return key
}

/** Unlocks a key file. Throws WrongPasswordError, or KeystoreError when it is missing, damaged or asks for too much memory. */
export function loadKey(path: string, password: string): LocalKey {
  let file: unknown
  try {
    const { size } = statSync(path)
    if (size > MAX_FILE_BYTES) throw new RangeError(`${size} bytes; a key file has under ${MAX_FILE_BYTES}`)
    file = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new KeystoreError(path, `it cannot be read (${(cause as Error).message})`, { cause })
  }
  const { crypto, address } = readKeyFile(path, file)
  const derived = deriveKey(password, crypto.salt, crypto.cost, crypto.block, crypto.parallel)
  if (!timingSafeEqual(checksumOf(derived, crypto.cipherText), crypto.checksum)) throw new WrongPasswordError(path)
  const decipher = createDecipheriv('aes-128-ctr', derived.subarray(0, 16), crypto.iv)
  const key = toKey(`0x${Buffer.concat([decipher.update(crypto.cipherText), decipher.final()]).toString('hex')}`)
  if (address !== undefined && address.toLowerCase() !== key.address.toLowerCase())
    throw new KeystoreError(path, `it says ${address} but holds the key of ${key.address}`)
  return key
}

/** The address that a key file claims, without unlocking it. */
export function keyAddress(path: string): `0x${string}` | undefined {
  try {
    const { address } = JSON.parse(readFileSync(path, 'utf8')) as { address?: unknown }
    return typeof address === 'string' && /^0x[0-9a-fA-F]{40}$/.test(address) ? (address as `0x${string}`) : undefined
  } catch (cause) {
    throw new KeystoreError(path, `it cannot be read (${(cause as Error).message})`, { cause })
  }
}

/** A key held in memory only, such as one of the embedded chain's. Throws KeystoreError for a malformed one, without repeating it. */
export function toKey(privateKey: `0x${string}`): LocalKey {
  let account: PrivateKeyAccount
  try {
    account = privateKeyToAccount(privateKey)
  } catch {
    // The cause is left out: its message repeats the key.
    throw new KeystoreError('the private key', 'it is not 32 bytes of hex between 1 and the order of secp256k1')
  }
  const shown = `Key(${account.address})`
  const key = { address: account.address, account, exportPrivateKey: () => privateKey }
  for (const [name, value] of [
    ['toJSON', () => ({ address: account.address })],
    ['toString', () => shown],
    [inspect.custom, () => shown],
  ] as const)
    Object.defineProperty(key, name, { value })
  return Object.freeze(key)
}

/**
 * The password from the first place that has one: the argument, a file (its first line), the variable BITLOOM_PASSWORD.
 * Throws KeystoreError that names all three when none has.
 */
export function resolvePassword(
  options: { readonly password?: string; readonly file?: string; readonly env?: NodeJS.ProcessEnv } = {},
): string {
  if (options.password !== undefined) return options.password
  if (options.file !== undefined) {
    try {
      return readFileSync(options.file, 'utf8').split(/\r?\n/, 1)[0]
    } catch (cause) {
      throw new KeystoreError(options.file, `the password file cannot be read (${(cause as Error).message})`, { cause })
    }
  }
  const found = (options.env ?? process.env)[PASSWORD_VARIABLE]
  if (found === undefined) throw new KeystoreError('the key', `no password given; set ${PASSWORD_VARIABLE} or use --password-file`)
  return found
}

function sealKey(key: LocalKey, password: string, cost = SCRYPT_COST): object {
  const salt = randomBytes(32)
  const iv = randomBytes(16)
  const derived = deriveKey(password, salt, cost, SCRYPT_BLOCK, 1)
  const cipher = createCipheriv('aes-128-ctr', derived.subarray(0, 16), iv)
  const cipherText = Buffer.concat([cipher.update(Buffer.from(key.exportPrivateKey().slice(2), 'hex')), cipher.final()])
  return {
    crypto: {
      kdf: { function: 'scrypt', params: { dklen: 32, n: cost, r: SCRYPT_BLOCK, p: 1, salt: salt.toString('hex') }, message: '' },
      checksum: { function: 'sha256', params: {}, message: checksumOf(derived, cipherText).toString('hex') },
      cipher: { function: 'aes-128-ctr', params: { iv: iv.toString('hex') }, message: cipherText.toString('hex') },
    },
    description: 'Bitloom secp256k1 key',
    address: key.address,
    pubkey: key.account.publicKey.slice(2),
    path: '',
    uuid: randomUUID(),
    version: 4,
  }
}

const checksumOf = (derived: Buffer, cipherText: Buffer): Buffer =>
  createHash('sha256').update(derived.subarray(16, 32)).update(cipherText).digest()

function deriveKey(password: string, salt: Buffer, n: number, r: number, p: number): Buffer {
  // EIP-2335: NFKD, then the control characters C0, C1 and Delete are removed.
  const cleaned = [...password.normalize('NFKD')].filter((c) => !/\p{Cc}/u.test(c)).join('')
  return scryptSync(cleaned, salt, 32, { N: n, r, p, maxmem: 128 * r * (n + p) + 2 ** 20 })
}

interface SealedKey {
  readonly crypto: {
    readonly salt: Buffer
    readonly cost: number
    readonly block: number
    readonly parallel: number
    readonly iv: Buffer
    readonly cipherText: Buffer
    readonly checksum: Buffer
  }
  readonly address: string | undefined
}

function readKeyFile(path: string, file: unknown): SealedKey {
  const at = (...names: string[]): unknown =>
    names.reduce<unknown>((value, name) => (value as Record<string, unknown> | null | undefined)?.[name], file)
  const expect = (value: unknown, ...names: string[]): void => {
    if (at(...names) !== value)
      throw new KeystoreError(path, `${names.join('.')} is ${JSON.stringify(at(...names))}, must be ${JSON.stringify(value)}`)
  }
  const bytes = (length: number, ...names: string[]): Buffer => {
    const text = at(...names)
    if (typeof text !== 'string' || !new RegExp(`^([0-9a-fA-F]{2}){${length}}$`).test(text))
      throw new KeystoreError(path, `${names.join('.')} must be ${length} bytes of hex`)
    return Buffer.from(text, 'hex')
  }
  const whole = (name: string, max: number): number => {
    const value = at('crypto', 'kdf', 'params', name)
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > max)
      throw new KeystoreError(path, `scrypt's ${name} is ${JSON.stringify(value)}, must be 1 to ${max}`)
    return value
  }
  expect(4, 'version')
  expect('scrypt', 'crypto', 'kdf', 'function')
  expect('sha256', 'crypto', 'checksum', 'function')
  expect('aes-128-ctr', 'crypto', 'cipher', 'function')
  expect(32, 'crypto', 'kdf', 'params', 'dklen')
  const cost = whole('n', 2 ** 22)
  const block = whole('r', 64)
  const parallel = whole('p', 16)
  if (cost < 2 || (cost & (cost - 1)) !== 0) throw new KeystoreError(path, `scrypt's n is ${cost}, must be a power of two`)
  if (128 * block * (cost + parallel) > MAX_SCRYPT_MEMORY)
    throw new KeystoreError(path, `it asks for ${(128 * block * cost) / 2 ** 20} MB of memory, more than ${MAX_SCRYPT_MEMORY / 2 ** 20} MB`)
  const address = at('address')
  return {
    crypto: {
      salt: bytes(32, 'crypto', 'kdf', 'params', 'salt'),
      ...{ cost, block, parallel },
      iv: bytes(16, 'crypto', 'cipher', 'params', 'iv'),
      cipherText: bytes(32, 'crypto', 'cipher', 'message'),
      checksum: bytes(32, 'crypto', 'checksum', 'message'),
    },
    address: typeof address === 'string' ? address : undefined,
  }
}

export class KeystoreError extends Error {
  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(`${path}: ${reason}`, options)
    this.name = 'KeystoreError'
  }
}

export class WrongPasswordError extends Error {
  constructor(path: string) {
    super(
      `wrong password for ${path}.\nGive the right one by --password-file or ${PASSWORD_VARIABLE}; there is no way to recover a lost one.`,
    )
    this.name = 'WrongPasswordError'
  }
}
