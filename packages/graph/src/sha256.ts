// SHA-256, synchronous: the machine's own where there is one (Node), else the audited pure one (browsers).

import { sha256 as pure } from '@noble/hashes/sha2.js'

type NodeCrypto = { hash?: (algorithm: string, data: Uint8Array, encoding: 'buffer') => Uint8Array }

const native = (globalThis as { process?: { getBuiltinModule?: (name: string) => NodeCrypto } }).process?.getBuiltinModule?.(
  'node:crypto',
).hash

/** The 32-byte SHA-256 of `data` (FIPS 180-4). */
export const sha256: (data: Uint8Array) => Uint8Array = native ? (data) => native('sha256', data, 'buffer') : pure

/** Lower-case hex with 0x in front. */
export function toHex(bytes: Uint8Array): `0x${string}` {
  let hex = '0x'
  for (const b of bytes) hex += (b < 16 ? '0' : '') + b.toString(16)
  return hex as `0x${string}`
}

/**
 * Bytes of a 0x-prefixed hex string.
 * @throws {RangeError} not hex
 */
export function fromHex(hex: string): Uint8Array {
  if (!/^0x([0-9a-f]{2})*$/i.test(hex)) throw new RangeError(`fromHex: "${hex.slice(0, 80)}" is not 0x-prefixed hex`)
  const bytes = new Uint8Array((hex.length - 2) / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(hex.slice(2 + 2 * i, 4 + 2 * i), 16)
  return bytes
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) {
    all.set(p, at)
    at += p.length
  }
  return all
}
