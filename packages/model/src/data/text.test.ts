// Text becomes numbers and comes back, by characters and by GPT-2's byte pairs.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytePairs, characters, charactersFrom, compact, tokenData } from './text.ts'
import { readSonnets, readVerses } from './texts.ts'

test('characters are numbered in order of code points, beyond the basic plane too', () => {
  const v = characters('hello, 🌍!')
  assert.deepEqual(v.tokens, [' ', '!', ',', 'e', 'h', 'l', 'o', '🌍'])
  const tokens = v.encode('hell🌍')
  assert.deepEqual([...tokens], [4, 3, 5, 5, 7])
  assert.equal(charactersFrom(v.tokens).decode(tokens), 'hell🌍')
  assert.throws(() => v.encode('hex'), /character 2 is "x", which is not among the 8/)
  assert.throws(() => characters(''), /0 different characters/)
})

test("byte pairs are GPT-2's", () => {
  const v = bytePairs()
  assert.deepEqual([...v.encode('Hello world')], [15496, 995])
  assert.deepEqual([...v.encode("I'm  12 déjà\n\nvu")].length > 5, true)
  for (const text of ["I'm  12 déjà\n\nvu", '日本語 🌍', `${'='.repeat(300)} end`]) assert.equal(v.decode(v.encode(text)), text)
  const small = compact(v, v.encode('to be or not to be'))
  assert.equal(small.size, 5)
  assert.equal(small.decode(small.encode('to be or not')), 'to be or not')
  assert.throws(() => small.encode('that'), /does not occur in the training text/)
})

test('a long text without spaces takes no quadratic time', () => {
  const v = bytePairs()
  const started = process.threadCpuUsage()
  const text = 'ab'.repeat(100_000)
  assert.equal(v.decode(v.encode(text)), text)
  assert.ok(process.threadCpuUsage(started).user < 20e6)
})

test('tokens are kept as bytes where they fit', () => {
  assert.equal(tokenData(Int32Array.of(1, 2), 256).dtype, 'u8')
  assert.equal(tokenData(Int32Array.of(1, 300), 301).dtype, 'i32')
})

test('the texts that install with us are whole', () => {
  const sonnets = readSonnets()
  assert.ok(sonnets.startsWith('From fairest creatures we desire increase,\n'))
  assert.equal(sonnets.split('\n\n').length, 154)
  const verses = readVerses()
  assert.ok(verses.startsWith('In the beginning God created the heaven and the earth.'))
  assert.ok(verses.length > 4_000_000)
})
