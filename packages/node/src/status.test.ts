// A node's board: written at most every few seconds, read back, and never taken for more than it is.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAlive, openBoard, readStatus, STALE_SECONDS, statusPath } from './status.ts'

test('what is written is read back; too often is not written; nonsense is no status', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-status-'))
  t.after(() => rmSync(dir, { recursive: true }))
  assert.equal(readStatus(dir), undefined)
  const board = openBoard(dir)
  const said = { roles: ['solver'], peer: 'p', http: 'h', peers: 3, block: '7', working: true, tickAgeSeconds: 0 }
  board.write(() => ({ ...said, tasks: [{ taskId: '1', segments: 4 }], claims: [] }))
  board.write(() => assert.fail('asked again within a moment'))
  const status = readStatus(dir)!
  assert.deepEqual([status.pid, status.peers, status.tasks], [process.pid, 3, [{ taskId: '1', segments: 4 }]])
  assert.equal(isAlive(status, status.at), 'running')
  assert.equal(isAlive(status, status.at + STALE_SECONDS + 1), 'standing still')
  assert.equal(isAlive({ ...status, pid: 2 ** 22 + 1 }, status.at), 'gone')
  for (const text of ['', '{', '[]', 'null', '{"pid": 1}', 'x'.repeat(2 ** 21)]) {
    writeFileSync(statusPath(dir), text)
    assert.equal(readStatus(dir), undefined, text.slice(0, 20))
  }
  board.clear()
  board.clear()
  assert.equal(readStatus(dir), undefined)
})
