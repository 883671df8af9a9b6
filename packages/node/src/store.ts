// The store: a node's state on disk, one SQLite file of named documents and append-only journals, durable at every commit.

import { randomBytes } from 'node:crypto'
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { decodeDocument, encodeDocument } from './document.ts'

/** Version of the tables below. A file with a higher one was written by a newer Bitloom and is left alone; one with a lower one is brought up to it. */
export const STORE_SCHEMA = 2
/** Marks the file as ours ("BLTM"), so that another program's database is never written to. */
const APPLICATION_ID = 0x424c544d
const MAX_NAME_LENGTH = 512

export interface StoreOptions {
  /** Largest size of the database file in bytes; a write beyond it throws StoreFullError. Default: the disk's. */
  readonly maxBytes?: number
  /** Called when a write finds no space; where it has made some (true) the write, or its whole transaction, is done again. */
  readonly onFull?: () => boolean
}

type Row = { readonly value: string; readonly crc: number }

export interface StoredDocument<T = unknown> {
  readonly key: string
  readonly value: T
}

export interface JournalEntry<T = unknown> {
  /** Position in its journal: 1, 2, 3 … without gaps. */
  readonly seq: number
  readonly value: T
}

export interface ListOptions {
  readonly prefix?: string
  /** Only keys after this one, in byte order: the way to page. */
  readonly after?: string
  readonly limit?: number
}

/** An open store. Every call is synchronous, and has reached the disk when it returns (or when its transaction does). */
export interface Store {
  put(namespace: string, key: string, value: unknown): void
  get<T = unknown>(namespace: string, key: string): T | undefined
  has(namespace: string, key: string): boolean
  /** True when there was something to delete. */
  delete(namespace: string, key: string): boolean
  /** Documents of a namespace in byte order of their keys. */
  list<T = unknown>(namespace: string, options?: ListOptions): StoredDocument<T>[]
  count(namespace: string): number
  /** Adds an entry at a journal's end and returns its position. */
  append(journal: string, value: unknown): number
  read<T = unknown>(journal: string, options?: { readonly after?: number; readonly limit?: number }): JournalEntry<T>[]
  /** All writes inside happen or none; may be nested (an inner failure that is caught undoes only the inner writes). */
  transaction<T>(body: () => T): T
  close(): void
}

/**
 * Opens (or creates) the store in file `path`. One process at a time.
 * Throws StoreBusyError, StoreCorruptError, StoreSchemaError or StoreFullError; each says what to do.
 */
export function openStore(path: string, options: StoreOptions = {}): Store {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const unlock = path === ':memory:' ? () => undefined : explained(path, () => lock(path))
  let db: DatabaseSync
  try {
    db = explained(path, () => openDatabase(path, options))
  } catch (error) {
    unlock()
    throw error
  }
  const cache = new Map<string, StatementSync>()
  const sql = (text: string): StatementSync => {
    const found = cache.get(text)
    if (found !== undefined) return found
    const prepared = db.prepare(text)
    cache.set(text, prepared)
    return prepared
  }
  let depth = 0
  /** Does a write again after `onFull` has made space; inside a transaction that is its outermost call's business. */
  const run = <T>(body: () => T, again = depth === 0): T => {
    try {
      return explained(path, body)
    } catch (error) {
      if (!again || !(error instanceof StoreFullError) || options.onFull?.() !== true) throw error
      return explained(path, body)
    }
  }
  const decoded = (table: string, key: string | number, { value, crc }: Row): unknown => {
    if (crcOf(table, key, value) !== crc) throw new StoreCorruptError(path, `${table} ${key} is not what was written`)
    return decodeDocument(value)
  }

  const store: Store = {
    put(namespace, key, value) {
      checkName('namespace', namespace)
      checkName('key', key)
      const text = encodeDocument(value)
      run(() =>
        sql('INSERT INTO documents VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, crc = excluded.crc').run(
          namespace,
          key,
          text,
          crcOf(namespace, key, text),
        ),
      )
    },
    get<T>(namespace: string, key: string) {
      const row = run(() => sql('SELECT value, crc FROM documents WHERE namespace = ? AND key = ?').get(namespace, key)) as Row | undefined
      return row === undefined ? undefined : (decoded(namespace, key, row) as T)
    },
    has: (namespace, key) => run(() => sql('SELECT 1 FROM documents WHERE namespace = ? AND key = ?').get(namespace, key)) !== undefined,
    delete: (namespace, key) =>
      Number(run(() => sql('DELETE FROM documents WHERE namespace = ? AND key = ?').run(namespace, key)).changes) > 0,
    list<T>(namespace: string, { prefix = '', after, limit = -1 }: ListOptions = {}) {
      const rows = run(() =>
        sql(
          'SELECT key, value, crc FROM documents WHERE namespace = ?1 AND key >= ?2 AND (?3 IS NULL OR key > ?3) AND substr(key, 1, length(?2)) = ?2 ORDER BY key LIMIT ?4',
        ).all(namespace, prefix, after ?? null, limit),
      ) as (Row & { key: string })[]
      return rows.map((row) => ({ key: row.key, value: decoded(namespace, row.key, row) as T }))
    },
    count: (namespace) => (run(() => sql('SELECT count(*) AS n FROM documents WHERE namespace = ?').get(namespace)) as { n: number }).n,
    append(journal, value) {
      checkName('journal', journal)
      const text = encodeDocument(value)
      return store.transaction(() => {
        const { seq } = run(() => sql('SELECT coalesce(max(seq), 0) + 1 AS seq FROM journal WHERE name = ?').get(journal)) as {
          seq: number
        }
        run(() => sql('INSERT INTO journal VALUES (?, ?, ?, ?)').run(journal, seq, text, crcOf(journal, seq, text)))
        return seq
      })
    },
    read<T>(journal: string, { after = 0, limit = -1 }: { readonly after?: number; readonly limit?: number } = {}) {
      const rows = run(() =>
        sql('SELECT seq, value, crc FROM journal WHERE name = ? AND seq > ? ORDER BY seq LIMIT ?').all(journal, after, limit),
      ) as (Row & { seq: number })[]
      return rows.map((row) => ({ seq: row.seq, value: decoded(journal, row.seq, row) as T }))
    },
    transaction<T>(body: () => T) {
      const level = depth
      const whole = (): T => {
        db.exec(level === 0 ? 'BEGIN IMMEDIATE' : `SAVEPOINT level${level}`)
        depth = level + 1
        try {
          const result = body()
          if (result instanceof Promise)
            throw new TypeError(
              'store.transaction: the body is async; writes after its first await would fall outside. Make it synchronous.',
            )
          db.exec(level === 0 ? 'COMMIT' : `RELEASE level${level}`)
          return result
        } catch (error) {
          // SQLite may have rolled back by itself (disk full, I/O error), in which case there is nothing left to undo.
          if (db.isTransaction) db.exec(level === 0 ? 'ROLLBACK' : `ROLLBACK TO level${level}; RELEASE level${level}`)
          throw error
        } finally {
          depth = level
        }
      }
      return run(whole)
    },
    close() {
      if (!db.isOpen) return
      cache.clear()
      db.close()
      unlock()
    },
  }
  return store
}

/**
 * Looks at every row of the store in `path`, whether or not a node has it open; nothing is changed.
 * Throws StoreCorruptError or StoreSchemaError.
 */
export function inspectStore(path: string): { readonly schema: number; readonly rows: number } {
  return explained(path, () => {
    const db = new DatabaseSync(path, { readOnly: true, timeout: 2000 })
    try {
      if (pragmaOf(db, 'application_id') !== APPLICATION_ID) throw new StoreCorruptError(path, 'it is a database of another program')
      const schema = pragmaOf(db, 'user_version')
      if (schema > STORE_SCHEMA) throw new StoreSchemaError(path, schema)
      const verdict = Object.values(db.prepare('PRAGMA quick_check(1)').get() as Record<string, string>)[0]
      if (verdict !== 'ok') throw new StoreCorruptError(path, verdict)
      let rows = 0
      for (const [table, key] of [
        ['documents', 'namespace, key'],
        ['journal', 'name, seq'],
      ] as const)
        for (const row of db.prepare(`SELECT ${key}, value${schema === 1 ? '' : ', crc'} FROM ${table}`).iterate()) {
          const [name, at, value, crc] = Object.values(row)
          if (crc !== undefined && crc !== crcOf(name, at, value))
            throw new StoreCorruptError(path, `${name} ${at} is not what was written`)
          rows++
        }
      return { schema, rows }
    } finally {
      db.close()
    }
  })
}

/** Writes a whole file so that a reader or a crash sees the old bytes or the new ones, never a mixture; throws StoreFullError on a full disk. */
export function writeFileAtomic(path: string, bytes: Uint8Array | string, mode = 0o600): void {
  const data = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`
  explained(path, () => {
    try {
      const fd = openSync(temporary, 'wx', mode)
      try {
        for (let done = 0; done < data.length; ) done += writeSync(fd, data, done)
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(temporary, path)
      syncFolder(dirname(path))
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  })
}

/** Makes renames inside a folder durable; where folders cannot be opened (Windows) the system's own ordering must do. */
export function syncFolder(folder: string): void {
  if (process.platform === 'win32') return
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Turns the causes of a failed write that a person can act upon into errors that say how; anything else passes unchanged. */
export function explainStoreError(path: string, error: unknown): unknown {
  const { code, errcode } = error as { code?: string; errcode?: number }
  const primary = errcode === undefined ? -1 : errcode & 0xff
  if (code === 'ENOSPC' || code === 'EDQUOT' || primary === 13) return new StoreFullError(path, { cause: error })
  if (primary === 11 || primary === 26) return new StoreCorruptError(path, (error as Error).message, { cause: error })
  if (primary === 5) return new StoreBusyError(path, { cause: error })
  return error
}

function explained<T>(path: string, body: () => T): T {
  try {
    return body()
  } catch (error) {
    throw explainStoreError(path, error)
  }
}

/**
 * Holds the store of `path` for this process alone: an exclusive transaction on an empty database beside it, which the system ends with the process (kill -9
 * included). The store itself stays readable, so that a copy can be made of it while its node runs.
 */
function lock(path: string): () => void {
  const held = new DatabaseSync(`${path}.lock`, { timeout: 2000 })
  try {
    held.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    held.close()
    throw error
  }
  return () => held.close()
}

const pragmaOf = (db: DatabaseSync, name: string): number =>
  Number(Object.values(db.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[0])

/** The present tables. `crc`: of what a row says and where, since SQLite notices a damaged page only where its structure is hit. */
const TABLES = `
  CREATE TABLE documents (namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (namespace, key)) STRICT;
  CREATE TABLE journal (name TEXT NOT NULL, seq INTEGER NOT NULL, value TEXT NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (name, seq)) STRICT;`

/** What brings a store of each former schema to the next; inside one transaction, so that a kill or a full disk leaves the former store. */
const MIGRATIONS: Readonly<Record<number, string>> = {
  1: `
    ALTER TABLE documents ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE journal ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
    UPDATE documents SET crc = crc_of(namespace, key, value);
    UPDATE journal SET crc = crc_of(name, seq, value);`,
}

const crcOf = (table: unknown, key: unknown, value: unknown): number => crc32(`${table}\0${key}\0${value}`)

function openDatabase(path: string, { maxBytes }: StoreOptions): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 2000 })
  try {
    // FULL: a commit is on the disk when it returns, not merely in the log's cache.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
    const pragma = (name: string): number => pragmaOf(db, name)
    if (maxBytes !== undefined) db.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(maxBytes / pragma('page_size')))}`)
    const fresh = (db.prepare('SELECT count(*) AS n FROM sqlite_schema').get() as { n: number }).n === 0
    if (!fresh && pragma('application_id') !== APPLICATION_ID) throw new StoreCorruptError(path, 'it is a database of another program')
    const found = pragma('user_version')
    if (!fresh && found > STORE_SCHEMA) throw new StoreSchemaError(path, found)
    const verdict = Object.values(db.prepare('PRAGMA quick_check(1)').get() as Record<string, string>)[0]
    if (verdict !== 'ok') throw new StoreCorruptError(path, verdict)
    if (fresh)
      db.exec(`BEGIN IMMEDIATE; ${TABLES} PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${STORE_SCHEMA}; COMMIT`)
    else if (found < STORE_SCHEMA) migrate(db, path, found)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** Brings a store to the present schema, all or nothing; the former one is kept beside it, for the version that wrote it. */
function migrate(db: DatabaseSync, path: string, found: number): void {
  const steps = Array.from({ length: STORE_SCHEMA - found }, (_, i) => MIGRATIONS[found + i])
  if (!steps.every((step) => step !== undefined)) throw new StoreCorruptError(path, `its schema ${found} is none that was ever written`)
  if (path !== ':memory:') {
    rmSync(`${path}.schema${found}`, { force: true })
    snapshot(db, `${path}.schema${found}`)
  }
  db.function('crc_of', { deterministic: true }, crcOf)
  try {
    db.exec(`BEGIN IMMEDIATE; ${steps.join('')} PRAGMA user_version = ${STORE_SCHEMA}; COMMIT`)
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

const snapshot = (db: DatabaseSync, to: string): void => {
  db.prepare('VACUUM INTO ?').run(to)
  chmodSync(to, 0o600)
}

/**
 * Writes a copy of the store in `path` to the new file `to`, as of one moment, whether or not a node has it open.
 * Throws StoreFullError or StoreCorruptError; nothing is left behind then.
 */
export function copyStore(path: string, to: string): void {
  explained(to, () => {
    const db = new DatabaseSync(path, { timeout: 10_000 })
    try {
      if (pragmaOf(db, 'application_id') !== APPLICATION_ID) throw new StoreCorruptError(path, 'it is a database of another program')
      snapshot(db, to)
    } catch (error) {
      rmSync(to, { force: true })
      throw error
    } finally {
      db.close()
    }
  })
}

function checkName(what: string, name: string): void {
  if (name.length === 0 || name.length > MAX_NAME_LENGTH)
    throw new RangeError(`store: ${what} has ${name.length} characters, must have 1 to ${MAX_NAME_LENGTH}`)
}

/** The default place of a node's store inside its data folder. */
export function storePath(dataDir: string): string {
  return join(dataDir, 'node.sqlite')
}

export class StoreFullError extends Error {
  constructor(path: string, options?: ErrorOptions) {
    super(
      `no space left to write ${path}; nothing of this write was kept.\nFree disk space, or delete blobs you no longer serve, then start the node again: it continues where it was.`,
      options,
    )
    this.name = 'StoreFullError'
  }
}

export class StoreCorruptError extends Error {
  constructor(path: string, found: string, options?: ErrorOptions) {
    super(
      `${path} is damaged or is not a Bitloom store (${found}).\nMove the file away and start again: the node rebuilds from the chain what it can, and keys are stored elsewhere.`,
      options,
    )
    this.name = 'StoreCorruptError'
  }
}

export class StoreSchemaError extends Error {
  constructor(path: string, found: number) {
    super(
      `${path} was written by a newer Bitloom (schema ${found}, this one knows ${STORE_SCHEMA}).\nUpdate Bitloom, or use another data folder.`,
    )
    this.name = 'StoreSchemaError'
  }
}

export class StoreBusyError extends Error {
  constructor(path: string, options?: ErrorOptions) {
    super(`${path} is in use by another Bitloom process.\nStop that one, or use another data folder.`, options)
    this.name = 'StoreBusyError'
  }
}
