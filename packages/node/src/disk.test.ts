// Full disks: a real small file system where we may mount one, else a bound on free bytes that says so; nothing is torn, and what a dispute needs is still written.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openDisk } from './disk.ts'
import { openBlobStore } from './network/blobs.ts'
import { openStore, StoreFullError } from './store.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-disk-'))
const mounts: string[] = []
after(() => {
  for (const at of mounts) spawnSync('umount', [at])
  rmSync(dir, { recursive: true, force: true })
})

/** A file system of some megabytes; undefined where this user may not mount one. */
function smallDisk(name: string, megabytes: number): string | undefined {
  const at = join(dir, name)
  mkdirSync(at)
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', at])
  if (status !== 0) return undefined
  mounts.push(at)
  return at
}
const freeOf = (at: string): number => {
  const { bavail, bsize } = statfsSync(at)
  return bavail * bsize
}
/** Leaves `left` bytes free. */
function fill(at: string, left: number): void {
  writeFileSync(join(at, 'other-program'), '')
  for (let part = 0; freeOf(at) > left + 65536; part++)
    writeFileSync(join(at, `other-program-${part}`), Buffer.alloc(Math.min(1 << 20, freeOf(at) - left)))
}
function drain(at: string): void {
  for (const name of readdirSync(at)) if (name.startsWith('other-program')) rmSync(join(at, name))
}

test('on a disk that another program fills, blobs stop, the store goes on, and all is as before once there is space', async (t) => {
  const at = smallDisk('small', 24)
  if (at === undefined) return t.skip('no right to mount a tmpfs here; the next test bounds free bytes instead')
  const events: string[] = []
  const disk = openDisk(join(at, 'node'), (event) => void events.push(event), { ballastBytes: 6 << 20, marginBytes: 4 << 20 })
  assert.equal(statSync(join(at, 'node', 'ballast')).size, 6 << 20)
  const path = join(at, 'node', 'node.sqlite')
  const store = openStore(path, { onFull: disk.release })
  const blobs = disk.sparing(openBlobStore({ dir: join(at, 'node', 'blobs') }))
  const small = await blobs.put(new Uint8Array(1000).fill(3))
  store.put('n', 'before', 1)

  fill(at, 0)
  await assert.rejects(blobs.put(new Uint8Array(2 << 20).fill(1)), StoreFullError)
  assert.deepEqual(events, ['disk-full'])
  assert.equal(disk.full(), true)
  // far more than one page: each of these must reach the disk, out of the ballast
  for (let i = 0; i < 100; i++) store.transaction(() => store.put('seals', String(i), { salt: 'x'.repeat(1000) }))
  assert.equal(disk.release(), false, 'the ballast was used')
  assert.deepEqual((await blobs.get(small.root))!.length, 1000)

  // and where even that is used up, the write that does not fit leaves nothing, and the rest stays
  let written = 100
  assert.throws(() => {
    for (; written < 100_000; written++) store.transaction(() => store.put('seals', String(written), { salt: 'x'.repeat(1000) }))
  }, StoreFullError)
  assert.equal(store.count('seals'), written)
  store.close()
  const again = openStore(path, { onFull: disk.release })
  assert.equal(again.count('seals'), written)
  assert.equal(again.get('n', 'before'), 1)

  drain(at)
  const later = openDisk(join(at, 'node'), (event) => void events.push(event), { ballastBytes: 6 << 20, marginBytes: 4 << 20 })
  assert.equal(later.full(), false)
  assert.equal(statSync(join(at, 'node', 'ballast')).size, 6 << 20, 'the ballast lies there again')
  again.put('n', 'after', 2)
  await blobs.put(new Uint8Array(2 << 20).fill(1))
  again.close()
})

test('free bytes decide (bounded by hand here): told once when they end, and once when they are back', async () => {
  let free = 100 << 20
  const events: string[] = []
  const disk = openDisk(join(dir, 'bounded'), (event) => void events.push(event), {
    ballastBytes: 1 << 16,
    marginBytes: 1 << 20,
    free: () => free,
  })
  const blobs = disk.sparing(openBlobStore({ dir: join(dir, 'bounded', 'blobs') }))
  free = 1 << 20
  for (let i = 0; i < 3; i++) await assert.rejects(blobs.put(new Uint8Array(100).fill(i)), StoreFullError)
  await assert.rejects(blobs.receive(`0x${'ab'.repeat(32)}`, 100, []), StoreFullError)
  assert.equal(disk.full(), true)
  free = 100 << 20
  disk.tend()
  assert.equal(disk.full(), false)
  assert.deepEqual(events, ['disk-full', 'disk-freed'])
  assert.equal(blobs.usedBytes(), 0)
})
