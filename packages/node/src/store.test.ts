// Tests of the store: what was committed survives kill -9, damage and full disks are named, documents keep their types.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { DocumentError, decodeDocument, encodeDocument } from './document.ts'
import {
  copyStore,
  openStore,
  STORE_SCHEMA,
  StoreBusyError,
  StoreCorruptError,
  StoreFullError,
  StoreSchemaError,
  writeFileAtomic,
} from './store.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-store-'))
after(() => rmSync(dir, { recursive: true, force: true }))

test('documents come back with bigint, bytes and look-alike tags intact', () => {
  const value = {
    money: -(2n ** 200n),
    bytes: new Uint8Array([0, 255, 7]),
    trick: { $bigint: '5' },
    deep: { $object: { $bytes: 'AA==' } },
    list: [1n, null, 'x', 0.1, { $a: 1, b: 2 }],
  }
  assert.deepEqual(decodeDocument(encodeDocument(value)), value)
  const polluting = decodeDocument('{"__proto__":{"admin":true},"a":1}') as { admin?: boolean }
  assert.equal(polluting.admin, undefined)
})

test('values that JSON would silently change are refused', () => {
  let deep: unknown = 1
  for (let i = 0; i < 100; i++) deep = [deep]
  for (const bad of [{ x: Number.NaN }, { x: () => 1 }, { x: new Map() }, { x: new Date(0) }, undefined, deep])
    assert.throws(() => encodeDocument(bad), DocumentError)
  assert.throws(() => decodeDocument('{"$what":1}'), DocumentError)
  assert.throws(() => decodeDocument('{"a"'), DocumentError)
})

test('put, get, list, delete and journal work and survive a reopening', () => {
  const path = join(dir, 'basic.sqlite')
  let store = openStore(path)
  store.put('task', 'b', { n: 2n })
  store.put('task', 'a', { n: 1n })
  store.put('task', 'a', { n: 3n })
  store.put('task', 'a/1', 'x')
  store.put('other', 'a', 'y')
  assert.equal(store.append('log', 'first'), 1)
  assert.equal(store.append('log', 'second'), 2)
  assert.equal(store.append('log2', 'x'), 1)
  store.close()
  store = openStore(path)
  assert.deepEqual(store.get('task', 'a'), { n: 3n })
  assert.equal(store.get('task', 'zzz'), undefined)
  assert.deepEqual(
    store.list('task').map((d) => d.key),
    ['a', 'a/1', 'b'],
  )
  assert.deepEqual(
    store.list('task', { prefix: 'a' }).map((d) => d.key),
    ['a', 'a/1'],
  )
  assert.deepEqual(
    store.list('task', { after: 'a', limit: 1 }).map((d) => d.key),
    ['a/1'],
  )
  assert.deepEqual(store.read('log', { after: 1 }), [{ seq: 2, value: 'second' }])
  assert.equal(store.delete('task', 'b'), true)
  assert.equal(store.delete('task', 'b'), false)
  assert.equal(store.count('task'), 2)
  assert.throws(() => store.put('', 'k', 1), RangeError)
  store.close()
})

test('a failed transaction leaves nothing, a failed inner one only itself', () => {
  const store = openStore(join(dir, 'tx.sqlite'))
  assert.throws(() =>
    store.transaction(() => {
      store.put('n', 'a', 1)
      throw new Error('no')
    }),
  )
  assert.equal(store.has('n', 'a'), false)
  store.transaction(() => {
    store.put('n', 'outer', 1)
    assert.throws(() =>
      store.transaction(() => {
        store.put('n', 'inner', 1)
        throw new Error('no')
      }),
    )
  })
  assert.deepEqual(
    store.list('n').map((d) => d.key),
    ['outer'],
  )
  assert.throws(() => store.transaction(() => Promise.resolve()), /async/)
  store.put('n', 'after', 1)
  store.close()
})

test('a second process is refused with a clear error', () => {
  const path = join(dir, 'busy.sqlite')
  const store = openStore(path)
  assert.throws(() => openStore(path), StoreBusyError)
  store.close()
  openStore(path).close()
})

test('a newer schema, a foreign database and damage are told apart and not written to', () => {
  const path = join(dir, 'newer.sqlite')
  openStore(path).close()
  const db = new DatabaseSync(path)
  db.exec('PRAGMA user_version = 99')
  db.close()
  assert.throws(() => openStore(path), StoreSchemaError)

  const foreign = join(dir, 'foreign.sqlite')
  const other = new DatabaseSync(foreign)
  other.exec('CREATE TABLE t (a)')
  other.close()
  assert.throws(() => openStore(foreign), StoreCorruptError)

  const text = join(dir, 'text.sqlite')
  writeFileSync(text, 'this is not a database, but long enough to be taken for one'.repeat(100))
  assert.throws(() => openStore(text), StoreCorruptError)
  assert.match(readFileSync(text, 'utf8'), /^this is not/)

  const damaged = join(dir, 'damaged.sqlite')
  const store = openStore(damaged)
  for (let i = 0; i < 500; i++) store.put('n', `key ${i}`, 'x'.repeat(100))
  store.close()
  const bytes = readFileSync(damaged)
  bytes.fill(0x5a, 8192, bytes.length - 100)
  writeFileSync(damaged, bytes)
  assert.throws(() => openStore(damaged), StoreCorruptError)
})

test('a full store says so, keeps what was committed and works on', () => {
  const store = openStore(join(dir, 'full.sqlite'), { maxBytes: 200_000 })
  let written = 0
  assert.throws(() => {
    for (; written < 10_000; written++) store.put('n', String(written), 'x'.repeat(1000))
  }, StoreFullError)
  assert.ok(written > 50, `only ${written} documents fit`)
  assert.throws(() => store.transaction(() => store.put('n', 'big', 'x'.repeat(300_000))), StoreFullError)
  assert.equal(store.count('n'), written)
  assert.equal(store.delete('n', '0'), true)
  store.put('n', '0', 'small')
  store.close()
})

test('kill -9 in the middle of writing loses nothing that was committed', async () => {
  const path = join(dir, 'kill.sqlite')
  const program = `
    import { openStore } from ${JSON.stringify(join(import.meta.dirname, 'store.ts'))}
    const store = openStore(${JSON.stringify(path)})
    for (let i = store.count('pair') / 2; ; i++) {
      store.transaction(() => { store.put('pair', 'a' + i, 'x'.repeat(2000)); store.put('pair', 'b' + i, i); store.append('log', i) })
      process.stdout.write(i + '\\n')
    }`
  let committed = -1
  for (let round = 0; round < 4; round++) {
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.on('data', (chunk) => {
      text += chunk
      if (text.split('\n').length > 60 + 17 * round) child.kill('SIGKILL')
    })
    await once(child, 'close')
    committed = Number(text.trimEnd().split('\n').slice(0, -1).at(-1))
    const store = openStore(path)
    for (let i = 0; i <= committed; i++) {
      assert.equal(store.get('pair', `b${i}`), i)
      assert.equal(store.has('pair', `a${i}`), true)
    }
    const pairs = store.list('pair')
    assert.equal(pairs.length % 2, 0, 'half a transaction was kept')
    assert.deepEqual(
      store.read('log').map((e) => e.value),
      Array.from({ length: pairs.length / 2 }, (_, i) => i),
    )
    store.close()
  }
  assert.ok(committed > 100)
})

test('writeFileAtomic replaces whole files, with the mode asked for, and leaves no scraps', () => {
  const folder = mkdtempSync(join(dir, 'atomic-'))
  const path = join(folder, 'x.json')
  writeFileAtomic(path, 'one')
  writeFileAtomic(path, new Uint8Array([1, 2, 3]))
  assert.deepEqual([...readFileSync(path)], [1, 2, 3])
  if (process.platform !== 'win32') assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(readdirSync(folder), ['x.json'])
  assert.throws(() => writeFileAtomic(join(folder, 'none', 'y'), 'z'), { code: 'ENOENT' })
})

/** The tables as schema 1 had them. */
const SCHEMA_1 = `
  CREATE TABLE documents (namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (namespace, key)) STRICT;
  CREATE TABLE journal (name TEXT NOT NULL, seq INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name, seq)) STRICT;
  PRAGMA application_id = ${0x424c544d};
  PRAGMA user_version = 1;`

test('a store of the schema before is brought up to date, all or nothing, and kept beside', () => {
  const path = join(dir, 'former.sqlite')
  const former = new DatabaseSync(path)
  former.exec(`${SCHEMA_1} BEGIN`)
  for (let i = 0; i < 2000; i++)
    former
      .prepare('INSERT INTO documents VALUES (?, ?, ?)')
      .run('task', String(i).padStart(4, '0'), JSON.stringify({ i, text: 'x'.repeat(200) }))
  former.prepare('INSERT INTO journal VALUES (?, ?, ?)').run('log', 1, '"first"')
  former.exec('COMMIT')
  former.close()

  assert.throws(() => openStore(path, { maxBytes: 1 }), StoreFullError, 'a disk that fills up on the way')
  const untouched = new DatabaseSync(path)
  assert.equal(untouched.prepare('PRAGMA user_version').get()?.user_version, 1)
  assert.equal(untouched.prepare('SELECT count(*) AS n FROM documents').get()?.n, 2000)
  untouched.close()

  const store = openStore(path)
  assert.equal(store.count('task'), 2000)
  assert.deepEqual(store.get('task', '1999'), { i: 1999, text: 'x'.repeat(200) })
  assert.equal(store.append('log', 'second'), 2)
  store.close()
  const after = new DatabaseSync(path)
  assert.equal(after.prepare('PRAGMA user_version').get()?.user_version, STORE_SCHEMA)
  after.close()
  assert.equal(new DatabaseSync(`${path}.schema1`).prepare('SELECT count(*) AS n FROM documents').get()?.n, 2000)
  openStore(path).close()
})

test('a copy is of one moment, is made while the store is in use, and is a store', () => {
  const path = join(dir, 'copied.sqlite')
  const store = openStore(path)
  store.transaction(() => {
    for (let i = 0; i < 100; i++) store.put('n', String(i), i)
  })
  const copy = join(dir, 'copy.sqlite')
  copyStore(path, copy)
  store.put('n', 'later', true)
  const other = openStore(copy)
  assert.equal(other.count('n'), 100)
  other.close()
  store.close()
  if (process.platform !== 'win32') assert.equal(statSync(copy).mode & 0o777, 0o600)
  assert.throws(() => copyStore(path, copy), 'a file that is there is never written over')
})

test('a write that finds no space is done again where somebody makes some, a transaction as a whole', () => {
  let spare = 1
  const path = join(dir, 'spare.sqlite')
  // a bound on pages stands in for the disk; lifting it, for the space that is made
  const store = openStore(path, { maxBytes: 100_000, onFull: () => spare-- > 0 && store.delete('ballast', 'b') })
  store.put('ballast', 'b', 'x'.repeat(50_000))
  let written = 0
  assert.throws(() => {
    for (; written < 1000; written++)
      store.transaction(() => {
        store.put('n', `${written}/a`, 'x'.repeat(500))
        store.put('n', `${written}/b`, 'x'.repeat(500))
      })
  }, StoreFullError)
  assert.ok(spare < 0, 'asked once, and once more in vain')
  assert.ok(written > 60, `${written} pairs`)
  assert.equal(store.count('n'), 2 * written)
  store.close()
})

test('a document that the disk has changed is not believed', () => {
  const path = join(dir, 'rot.sqlite')
  const store = openStore(path)
  store.put('findings', '1', { salt: '0x1234567890' })
  store.put('findings', '2', { salt: '0xabc' })
  store.close()
  const db = new DatabaseSync(path)
  db.prepare('UPDATE documents SET value = ? WHERE key = ?').run('{"salt":"0x1234567891"}', '1')
  db.close()
  const again = openStore(path)
  assert.throws(() => again.get('findings', '1'), /findings 1 is not what was written/)
  assert.throws(() => again.list('findings'), StoreCorruptError)
  assert.deepEqual(again.get('findings', '2'), { salt: '0xabc' })
  again.close()
})
