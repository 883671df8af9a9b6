// Tests of key files: round trip, the published EIP-2335 vector, wrong passwords, damage, and that nothing prints a key.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { format, inspect } from 'node:util'
import { recoverMessageAddress } from 'viem'
import { privateKeyToAddress } from 'viem/accounts'
import { createKey, KeystoreError, keyAddress, loadKey, resolvePassword, toKey, WrongPasswordError } from './keystore.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-key-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const cost = 1024

test('a created key loads with its password, signs, and its file is for its owner only', async () => {
  const path = join(dir, 'keys', 'a.json')
  const made = createKey(path, 'pässword', { cost })
  const key = loadKey(path, 'pässword')
  assert.equal(key.address, made.address)
  assert.equal(key.exportPrivateKey(), made.exportPrivateKey())
  assert.equal(keyAddress(path), key.address)
  const signature = await key.account.signMessage({ message: 'hi' })
  assert.equal(await recoverMessageAddress({ message: 'hi', signature }), key.address)
  if (process.platform !== 'win32') assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.ok(!readFileSync(path, 'utf8').includes(made.exportPrivateKey().slice(2)))
  assert.throws(() => createKey(path, 'x', { cost }), /never overwritten/)
  assert.throws(() => loadKey(path, 'password'), WrongPasswordError)
})

test('the published EIP-2335 scrypt vector decrypts to its secret', () => {
  const path = join(dir, 'vector.json')
  const file = {
    crypto: {
      kdf: {
        function: 'scrypt',
        params: { dklen: 32, n: 262144, p: 1, r: 8, salt: 'd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3' },
        message: '',
      },
      checksum: { function: 'sha256', params: {}, message: 'd2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484' },
      cipher: {
        function: 'aes-128-ctr',
        params: { iv: '264daa3f303d7259501c93d997d84fe6' },
        message: '06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f',
      },
    },
    version: 4,
  }
  writeFileSync(path, JSON.stringify(file))
  const secret = '0x000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f'
  const key = loadKey(path, '𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑')
  assert.equal(key.exportPrivateKey(), secret)
  assert.equal(key.address, privateKeyToAddress(secret))
})

test('no way of printing a key shows it', () => {
  const privateKey = `0x${'a1'.repeat(32)}` as const
  const key = toKey(privateKey)
  for (const text of [
    inspect(key, { depth: 9, showHidden: true }),
    format('%o %O %s', key, { key }, key),
    JSON.stringify({ key }),
    `${key}`,
    inspect(key.account, { depth: 9, showHidden: true }),
  ])
    assert.ok(!text.toLowerCase().includes('a1a1a1a1'), text)
  for (const bad of ['0x12', `0x${'00'.repeat(32)}`, `0x${'ff'.repeat(32)}`] as const)
    assert.throws(
      () => toKey(bad),
      (error: Error) => error instanceof KeystoreError && !inspect(error).includes(bad),
    )
})

test('damaged, hostile and missing files are named errors', () => {
  const path = join(dir, 'b.json')
  createKey(path, 'p', { cost })
  const good = readFileSync(path, 'utf8')
  const bad = (
    change: (file: {
      version: number
      address: string
      crypto: { kdf: { params: Record<string, unknown> }; cipher: { message: string } }
    }) => void,
  ): void => {
    const file = JSON.parse(good)
    change(file)
    writeFileSync(path, JSON.stringify(file))
    assert.throws(() => loadKey(path, 'p'), KeystoreError)
  }
  bad((f) => (f.version = 3))
  bad((f) => (f.crypto.kdf.params.n = 2 ** 22))
  bad((f) => (f.crypto.kdf.params.n = 1000))
  bad((f) => (f.crypto.kdf.params.r = -8))
  bad((f) => (f.crypto.kdf.params.salt = 'zz'))
  bad((f) => (f.crypto.cipher.message = 'aa'))
  bad((f) => (f.address = `0x${'11'.repeat(20)}`))
  for (const text of ['', 'null', '[]', '{"crypto":null}', good.slice(0, 100), ' '.repeat(100_000)]) {
    writeFileSync(path, text)
    assert.throws(() => loadKey(path, 'p'), KeystoreError)
  }
  assert.throws(() => loadKey(join(dir, 'none.json'), 'p'), KeystoreError)
})

test('the password comes from argument, file or environment, in this order', () => {
  const file = join(dir, 'password')
  writeFileSync(file, 'from file\r\nsecond line')
  const env = { BITLOOM_PASSWORD: 'from env' }
  assert.equal(resolvePassword({ password: 'given', file, env }), 'given')
  assert.equal(resolvePassword({ file, env }), 'from file')
  assert.equal(resolvePassword({ env }), 'from env')
  assert.throws(() => resolvePassword({ env: {} }), /BITLOOM_PASSWORD/)
  assert.throws(() => resolvePassword({ file: join(dir, 'none') }), KeystoreError)
})
