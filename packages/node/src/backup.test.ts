// Backups: everything of a home comes back, made while its stores are in use; what is damaged, hostile or in the way is refused and leaves nothing.

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { BackupError, makeBackup, restoreBackup } from './backup.ts'
import { createKey, loadKey } from './keystore.ts'
import { openBlobStore } from './network/blobs.ts'
import { openStore } from './store.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-backup-'))
after(() => rmSync(dir, { recursive: true, force: true }))

async function home(): Promise<{ readonly at: string; readonly address: string; readonly root: `0x${string}` }> {
  const at = mkdtempSync(join(dir, 'home-'))
  const { address } = createKey(join(at, 'key.json'), 'a password', { cost: 1024 })
  writeFileSync(join(at, 'network.json'), '{"chainId":31337}')
  const { root } = await openBlobStore({ dir: join(at, 'node', 'blobs') }).put(new Uint8Array(5 << 20).map((_, i) => i * 7))
  mkdirSync(join(at, 'dev', 'alpha'), { recursive: true })
  writeFileSync(join(at, 'dev', 'alpha', 'key.json'), 'not ours to keep')
  return { at, address, root }
}

test('a home comes back whole, as it was at one moment, while its node goes on writing', async () => {
  const { at, address, root } = await home()
  const store = openStore(join(at, 'node', 'node.sqlite'))
  store.put('findings', '1', { salt: '0x01', big: 2n ** 100n })
  const out = join(dir, 'one.backup')
  const made = makeBackup(at, out)
  store.put('findings', '2', { salt: '0x02' })
  store.close()
  assert.ok(made.files >= 4 && made.blobs >= 1, JSON.stringify(made))
  if (process.platform !== 'win32') assert.equal(statSync(out).mode & 0o777, 0o600)
  assert.deepEqual(
    readdirSync(dir).filter((name) => name.includes('.tmp')),
    [],
  )

  const other = mkdtempSync(join(dir, 'other-'))
  assert.deepEqual(restoreBackup(out, other), made)
  assert.equal(loadKey(join(other, 'key.json'), 'a password').address, address)
  assert.equal(statSync(join(other, 'key.json')).mode & 0o777, 0o600)
  const again = openStore(join(other, 'node', 'node.sqlite'))
  assert.deepEqual(again.get('findings', '1'), { salt: '0x01', big: 2n ** 100n })
  assert.equal(again.has('findings', '2'), false)
  again.close()
  assert.equal((await openBlobStore({ dir: join(other, 'node', 'blobs') }).get(root))!.length, 5 << 20)
  assert.equal(existsSync(join(other, 'dev')), false)
  assert.throws(() => restoreBackup(out, other), /already, and nothing is ever written over/)
  assert.throws(() => makeBackup(at, out), BackupError)

  const slim = makeBackup(at, join(dir, 'slim.backup'), { blobs: false })
  assert.equal(slim.blobs, 0)
  assert.ok(slim.bytes < 1 << 20)
})

test('what is damaged, foreign, newer or hostile is refused, and leaves nothing', async () => {
  const { at } = await home()
  const out = join(dir, 'two.backup')
  makeBackup(at, out)
  const target = mkdtempSync(join(dir, 'target-'))
  const refused = (change: (db: DatabaseSync) => void, why: RegExp): void => {
    const copy = join(dir, `changed-${Math.floor(performance.now() * 1000)}`)
    writeFileSync(copy, readFileSync(out))
    const db = new DatabaseSync(copy)
    change(db)
    db.close()
    assert.throws(
      () => restoreBackup(copy, target),
      (error) => error instanceof BackupError && why.test(error.message),
    )
    assert.deepEqual(readdirSync(target), [])
  }
  refused((db) => db.exec("UPDATE pieces SET bytes = x'00' WHERE path = 'network.json'"), /network.json is not what was backed up/)
  refused((db) => db.exec("UPDATE files SET path = '../escaped' WHERE path = 'network.json'"), /a path that leaves the home/)
  refused((db) => db.exec('PRAGMA user_version = 9'), /newer Bitloom/)
  refused((db) => db.exec('PRAGMA application_id = 1'), /another file/)
  const text = join(dir, 'text.backup')
  writeFileSync(text, 'no backup at all')
  assert.throws(() => restoreBackup(text, target), BackupError)
  assert.throws(() => restoreBackup(join(dir, 'none'), target), /it is not there/)
  assert.throws(() => makeBackup(mkdtempSync(join(dir, 'empty-')), join(dir, 'three.backup')), /neither a key nor a node/)
  assert.equal(existsSync(join(dir, 'three.backup')), false)
})
