// A home in one file: keys, network and state as of one moment, made while its node runs, checked when it is read, restored into an empty home only.

import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { copyStore, explainStoreError, openStore, syncFolder } from './store.ts'

/** Marks the file as ours ("BLTB"). */
const APPLICATION_ID = 0x424c5442
const BACKUP_SCHEMA = 1
/** A file is kept in pieces of this many bytes. */
const PIECE_BYTES = 4 << 20
/** Most files, and most bytes of one path, that a backup may have: it may come from anywhere. */
const [MAX_FILES, MAX_PATH] = [1_000_000, 1024]

/** Left out: what is made anew, what belongs to one running process, and networks of `bitloom dev`, which have keys of their own. */
const LEFT_OUT = [
  /(^|\/)dev(\/|$)/,
  /\.(lock|tmp)$/,
  /-(wal|shm|journal)$/,
  /(^|\/)ballast$/,
  /(^|\/)blobs\/(incoming|partial)(\/|$)/,
  /\.sqlite\.schema\d+$/,
]
const BLOBS = /(^|\/)blobs\//

export type BackupReport = { readonly files: number; readonly bytes: number; readonly blobs: number }

/**
 * Writes the home in folder `home` to the new file `out` (mode 0600): whole or not at all. Stores are copied as of one moment each, also while a node has them open.
 * Without `blobs` what others can serve is left out: tensors are fetched or trained again.
 * Throws BackupError or StoreFullError.
 */
export function makeBackup(home: string, out: string, { blobs = true }: { readonly blobs?: boolean } = {}): BackupReport {
  if (existsSync(out)) throw new BackupError(out, 'it exists already; a backup is never written over', 'Choose another name.')
  if (!existsSync(join(home, 'key.json')) && !existsSync(join(home, 'node')))
    throw new BackupError(home, 'there is neither a key nor a node here', 'Give the folder with --home.')
  const temporary = `${out}.${process.pid}.tmp`
  const copy = `${temporary}.store`
  let files = 0
  let bytes = 0
  let kept = 0
  try {
    closeSync(openSync(temporary, 'wx', 0o600))
    const db = new DatabaseSync(temporary)
    try {
      db.exec(`PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;
        CREATE TABLE files (path TEXT PRIMARY KEY, mode INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL) STRICT;
        CREATE TABLE pieces (path TEXT NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (path, part)) STRICT;
        PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${BACKUP_SCHEMA}`)
      const addFile = db.prepare('INSERT INTO files VALUES (?, ?, ?, ?)')
      const addPiece = db.prepare('INSERT INTO pieces VALUES (?, ?, ?)')
      const add = (path: string, source: string, mode: number): void => {
        const hash = createHash('sha256')
        let size = 0
        const fd = openSync(source, 'r')
        try {
          const buffer = Buffer.alloc(PIECE_BYTES)
          for (let part = 0; ; part++) {
            const read = readSync(fd, buffer, 0, PIECE_BYTES, null)
            if (read === 0) break
            addPiece.run(path, part, buffer.subarray(0, read))
            hash.update(buffer.subarray(0, read))
            size += read
          }
        } finally {
          closeSync(fd)
        }
        addFile.run(path, mode & 0o777, size, hash.digest('hex'))
        files++
        bytes += size
      }
      // stores first: a blob that comes later is no loss, a store that names one which is not here would be
      const paths = list(home).filter((path) => !LEFT_OUT.some((pattern) => pattern.test(path)) && (blobs || !BLOBS.test(path)))
      for (const path of [...paths].sort((a, b) => Number(b.endsWith('.sqlite')) - Number(a.endsWith('.sqlite')))) {
        const source = join(home, path)
        if (path.endsWith('.sqlite')) {
          rmSync(copy, { force: true })
          copyStore(source, copy)
          add(path, copy, 0o600)
        } else if (existsSync(source)) {
          // a running node may tidy a blob away between the listing and here
          if (BLOBS.test(path)) kept++
          add(path, source, lstatSync(source).mode)
        }
      }
      db.exec('COMMIT')
    } finally {
      db.close()
    }
    const fd = openSync(temporary, 'r+')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, out)
    syncFolder(dirname(out))
    return { files, bytes, blobs: kept }
  } catch (error) {
    rmSync(temporary, { force: true })
    throw explainStoreError(out, error)
  } finally {
    rmSync(copy, { force: true })
  }
}

/**
 * Restores a backup into folder `home`, which must not have a key or a node; every file is checked by its hash, every store opened once.
 * Throws BackupError: no backup, damaged, or something is there already; nothing is left behind then.
 */
export function restoreBackup(file: string, home: string): BackupReport {
  if (!existsSync(file)) throw new BackupError(file, 'it is not there', 'Give the file that bitloom backup --out wrote.')
  for (const name of ['key.json', 'node', 'network.json', 'setup.sqlite'])
    if (existsSync(join(home, name)))
      throw new BackupError(home, `${name} is there already, and nothing is ever written over`, 'Restore into an empty folder: --home DIR.')
  const db = openBackup(file)
  const stage = join(home, `.restore-${process.pid}`)
  let bytes = 0
  let blobs = 0
  try {
    const rows = db.prepare('SELECT path, mode, bytes, sha256 FROM files').all() as {
      path: string
      mode: number
      bytes: number
      sha256: string
    }[]
    if (rows.length > MAX_FILES) throw damaged(file, `${rows.length} files`)
    const pieces = db.prepare('SELECT bytes FROM pieces WHERE path = ? ORDER BY part')
    for (const row of rows) {
      if (!isTame(row.path)) throw damaged(file, `a path that leaves the home: ${row.path.slice(0, 100)}`)
      const target = join(stage, ...row.path.split('/'))
      mkdirSync(dirname(target), { recursive: true, mode: 0o700 })
      const hash = createHash('sha256')
      const fd = openSync(target, 'wx', 0o600)
      let size = 0
      try {
        for (const piece of pieces.iterate(row.path)) {
          const data = piece.bytes as Uint8Array
          for (let done = 0; done < data.length; ) done += writeSync(fd, data, done)
          hash.update(data)
          size += data.length
        }
      } finally {
        closeSync(fd)
      }
      if (size !== row.bytes || hash.digest('hex') !== row.sha256) throw damaged(file, `${row.path} is not what was backed up`)
      chmodSync(target, row.mode & 0o777)
      bytes += size
      if (BLOBS.test(row.path)) blobs++
    }
    for (const { path } of rows) if (path.endsWith('.sqlite')) openStore(join(stage, ...path.split('/'))).close()
    for (const name of readdirSync(stage)) renameSync(join(stage, name), join(home, name))
    syncFolder(home)
    return { files: rows.length, bytes, blobs }
  } catch (error) {
    throw explainStoreError(home, error)
  } finally {
    db.close()
    rmSync(stage, { recursive: true, force: true })
  }
}

/** Opens a backup to read from. @throws {BackupError} */
function openBackup(file: string): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(file, { readOnly: true })
    const pragma = (name: string): unknown => Object.values(db!.prepare(`PRAGMA ${name}`).get() as Record<string, unknown>)[0]
    if (pragma('application_id') !== APPLICATION_ID) throw damaged(file, 'it is another file')
    const schema = Number(pragma('user_version'))
    if (schema > BACKUP_SCHEMA)
      throw new BackupError(file, `it was written by a newer Bitloom (${schema}, this one knows ${BACKUP_SCHEMA})`, 'Update Bitloom.')
    const verdict = pragma('quick_check(1)')
    if (verdict !== 'ok') throw damaged(file, String(verdict))
    return db
  } catch (error) {
    db?.close()
    if (error instanceof BackupError) throw error
    throw damaged(file, (error as Error).message, error)
  }
}

/** Files below a folder, with '/' between names; links are not followed. */
function list(home: string): string[] {
  return readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(home.length + 1)
        .split(sep)
        .join('/'),
    )
}

const isTame = (path: string): boolean =>
  path.length <= MAX_PATH && !/[\\\0:]/.test(path) && path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')

const damaged = (file: string, found: string, cause?: unknown): BackupError =>
  new BackupError(file, `it is damaged or no backup (${found})`, 'Take another copy of it.', { cause })

export class BackupError extends Error {
  override name = 'node.BackupError'
  constructor(path: string, reason: string, todo: string, options?: ErrorOptions) {
    super(`${path}: ${reason}.\n${todo}`, options)
  }
}
