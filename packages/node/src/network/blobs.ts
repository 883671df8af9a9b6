// Blobs on disk, by content: a file's name is the Merkle root of its bytes, so a tensor is found by its tensor root and anyone may serve it.

import { createReadStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chunksOf, depthOf } from '@bitloom/graph/merkle'
import { toHex } from '@bitloom/graph/sha256'
import { explainStoreError, writeFileAtomic } from '../store.ts'
import { nodesOf } from './grouphash.ts'
import { GROUP_BYTES, groupHeight, groupNode, groupsOf, rootOfGroups, splitNodes, zeroNode } from './groups.ts'
import { openReceiver, type Receiver, writeAll } from './receiver.ts'

export type Root = `0x${string}`

/** Default limit of all blobs together: 20 GB. */
export const DEFAULT_QUOTA_BYTES = 20e9
/** Largest single blob: 64 GiB, so that positions stay exact integers and a list of groups stays under 2 MiB. */
export const MAX_BLOB_BYTES = 2 ** 36

/** An unfinished fetch that nobody continued for a week is dropped at the next start. */
const PARTIAL_LIFE_MS = 7 * 86_400_000

/**
 * Blobs of one folder. A root fixes the bytes up to zeros at the end (the tree is padded with them), so one file per root is kept, the longest seen,
 * and a reader says how many bytes it wants: two all-zero tensors of different lengths may share a root.
 */
export interface BlobStore {
  readonly dir: string
  readonly quotaBytes: number
  usedBytes(): number
  /** Stores bytes or a stream of them; resolves when they are safe on disk. Throws BlobQuotaError or StoreFullError; leaves nothing behind then. */
  put(source: Uint8Array | AsyncIterable<Uint8Array>): Promise<{ readonly root: Root; readonly bytes: number }>
  /** Stores bytes whose root the caller has computed itself just now: a blob of one group, or one given with its groups' nodes, is not hashed a second time. */
  putKnown(root: Root, bytes: Uint8Array, nodes?: readonly Uint8Array[]): Promise<void>
  /** The whole blob, checked against its root; undefined when absent. Throws BlobDamagedError (and drops the file) when the disk changed it. */
  get(root: Root, bytes?: number): Promise<Uint8Array | undefined>
  /** Whether the blob is here, at a length that can be read as `bytes`. */
  has(root: Root, bytes?: number): boolean
  /** Stored length, or undefined when absent. */
  size(root: Root): number | undefined
  /** Bytes [start, end) of the blob seen as `bytes` long; unchecked, for serving. */
  read(root: Root, bytes: number, start: number, end: number): AsyncIterable<Uint8Array>
  /** The nodes of the 1-MiB groups of the blob seen as `bytes` long; undefined when absent. */
  groups(root: Root, bytes: number): Promise<Uint8Array[] | undefined>
  /** True when there was something to delete. */
  delete(root: Root): boolean
  list(): { readonly root: Root; readonly bytes: number }[]
  /** A file that fills up group by group and becomes the blob when whole; continues a former one. Throws BlobQuotaError. */
  receive(root: Root, bytes: number, nodes: readonly Uint8Array[]): Promise<Receiver>
}

/** Opens (or creates) the blobs of folder `dir`, dropping unfinished puts. */
export function openBlobStore({
  dir,
  quotaBytes = DEFAULT_QUOTA_BYTES,
}: {
  readonly dir: string
  readonly quotaBytes?: number
}): BlobStore {
  const incoming = join(dir, 'incoming')
  const partial = join(dir, 'partial')
  mkdirSync(incoming, { recursive: true })
  mkdirSync(partial, { recursive: true })
  for (const name of readdirSync(incoming)) rmSync(join(incoming, name))
  for (const name of readdirSync(partial))
    if (Date.now() - statSync(join(partial, name)).mtimeMs > PARTIAL_LIFE_MS) rmSync(join(partial, name))
  const sizes = scan(dir)
  let used = readdirSync(partial).reduce((sum, name) => sum + statSync(join(partial, name)).size, 0)
  for (const bytes of sizes.values()) used += bytes
  let counter = 0

  const folderOf = (root: Root): string => join(dir, root.slice(2, 4))
  const pathOf = (root: Root): string => join(folderOf(root), root.slice(4))
  /** INVARIANT: whoever reserves gives back exactly what it reserved when it fails, so `used` never drifts. */
  const reserve = (bytes: number): void => {
    if (used + bytes > quotaBytes) throw new BlobQuotaError(bytes, used, quotaBytes)
    used += bytes
  }
  const folders = new Set<string>()
  /** Blobs whose names are not on disk for certain yet: a folder's sync takes a millisecond, too long to keep training waiting for each tensor. */
  const settling = new Map<Root, Promise<void>>()
  /** Makes a finished file the blob, at once; the promise is kept when its name is safe on disk too. */
  const adopt = async (file: string, root: Root, bytes: number, nodes: readonly Uint8Array[]): Promise<void> => {
    const former = sizes.get(root)
    if (former !== undefined && former >= bytes) {
      rmSync(file)
      used -= bytes
      return settling.get(root)
    }
    const folder = folderOf(root)
    if (!folders.has(folder)) mkdirSync(folder, { recursive: true })
    folders.add(folder)
    if (nodes.length > 1) writeFileAtomic(`${pathOf(root)}.groups`, Buffer.concat(nodes))
    renameSync(file, pathOf(root))
    sizes.set(root, bytes)
    used -= former ?? 0
    const settled = syncAside(folder)
    settling.set(root, settled)
    try {
      await settled
    } catch (error) {
      sizes.delete(root)
      throw error
    } finally {
      if (settling.get(root) === settled) settling.delete(root)
    }
  }
  const sizeAs = (root: Root, bytes?: number): number | undefined => {
    const stored = sizes.get(checkRoot(root))
    if (stored === undefined || bytes === undefined) return stored
    return sameTree(stored, bytes) ? stored : undefined
  }

  const store: BlobStore = {
    dir,
    quotaBytes,
    usedBytes: () => used,
    async put(source) {
      const path = join(incoming, `${process.pid}-${counter++}`)
      let bytes = 0
      try {
        const file = await open(path, 'wx')
        try {
          const nodes: Uint8Array[] = []
          let last = new Uint8Array(0)
          for await (const group of inGroups(source)) {
            if (bytes + group.length > MAX_BLOB_BYTES) throw new RangeError(`put: a blob of more than ${MAX_BLOB_BYTES} bytes`)
            reserve(group.length)
            bytes += group.length
            await writeAll(file, group)
            last = group.slice(0, group.length === GROUP_BYTES ? 0 : undefined)
            if (group.length === GROUP_BYTES) nodes.push(groupNode(group, 10))
          }
          // A short last group is padded to its place in the tree, which is lower when it is the only one.
          if (last.length > 0 || nodes.length === 0) nodes.push(groupNode(last, groupHeight(bytes)))
          await file.sync()
          const root = toHex(rootOfGroups(nodes))
          await adopt(path, root, bytes, nodes)
          return { root, bytes }
        } finally {
          await file.close()
        }
      } catch (error) {
        used -= bytes
        rmSync(path, { force: true })
        throw explainStoreError(path, error)
      }
    },
    async putKnown(root, bytes, nodes = []) {
      if (sizeAs(root, bytes.length) !== undefined) return settling.get(root)
      if (groupsOf(bytes.length) > 1 && nodes.length !== groupsOf(bytes.length)) {
        await store.put(bytes)
        return
      }
      const path = join(incoming, `${process.pid}-${counter++}`)
      reserve(bytes.length)
      try {
        const file = await open(path, 'wx')
        try {
          await writeAll(file, bytes)
          await file.sync()
        } finally {
          await file.close()
        }
        await adopt(path, checkRoot(root), bytes.length, nodes)
      } catch (error) {
        used -= bytes.length
        rmSync(path, { force: true })
        throw explainStoreError(path, error)
      }
    },
    async get(root, bytes) {
      const stored = sizeAs(root, bytes)
      if (stored === undefined) return undefined
      const data = await readFile(pathOf(root))
      const nodes = await nodesOf(data.subarray(0, stored))
      if (data.length !== stored || toHex(rootOfGroups(nodes)) !== root) {
        store.delete(root)
        throw new BlobDamagedError(root, pathOf(root))
      }
      const wanted = bytes ?? stored
      if (wanted <= stored) return new Uint8Array(data.buffer, data.byteOffset, wanted)
      const longer = new Uint8Array(wanted)
      longer.set(data)
      return longer
    },
    has: (root, bytes) => sizeAs(root, bytes) !== undefined,
    size: (root) => sizeAs(root),
    async *read(root, bytes, start, end) {
      const stored = sizeAs(root, bytes)
      if (stored === undefined || start < 0 || end > bytes || start > end)
        throw new RangeError(`read: ${root} has no bytes ${start} to ${end}`)
      const there = Math.min(end, stored)
      if (start < there)
        yield* createReadStream(pathOf(root), { start, end: there - 1, highWaterMark: 1 << 19 }) as AsyncIterable<Uint8Array>
      for (let at = Math.max(start, stored); at < end; at += GROUP_BYTES) yield new Uint8Array(Math.min(GROUP_BYTES, end - at))
    },
    async groups(root, bytes) {
      const stored = sizeAs(root, bytes)
      if (stored === undefined) return undefined
      if (groupsOf(stored) === 1 && groupsOf(bytes) === 1) return [Buffer.from(root.slice(2), 'hex')]
      const nodes = splitNodes(await readFile(`${pathOf(root)}.groups`))
      const count = groupsOf(bytes)
      while (nodes.length < count) nodes.push(zeroNode(10))
      return nodes.slice(0, count)
    },
    delete(root) {
      const bytes = sizeAs(root)
      if (bytes === undefined) return false
      sizes.delete(root)
      used -= bytes
      rmSync(pathOf(root), { force: true })
      rmSync(`${pathOf(root)}.groups`, { force: true })
      return true
    },
    list: () => [...sizes].map(([root, bytes]) => ({ root, bytes })),
    receive: (root, bytes, nodes) =>
      openReceiver({ folder: partial, root: checkRoot(root), bytes, nodes, reserve, release: (n) => (used -= n), adopt }),
  }
  return store
}

/** Whether blobs of these two lengths can have one root: their trees have the same depth. */
const sameTree = (a: number, b: number): boolean => depthOf(chunksOf(a)) === depthOf(chunksOf(b))

function checkRoot(root: string): Root {
  if (!/^0x[0-9a-f]{64}$/.test(root)) throw new RangeError(`"${root.slice(0, 80)}" is not a root: 0x and 64 lower-case hex digits`)
  return root as Root
}

function scan(dir: string): Map<Root, number> {
  const found = new Map<Root, number>()
  for (const folder of readdirSync(dir)) {
    if (!/^[0-9a-f]{2}$/.test(folder)) continue
    for (const name of readdirSync(join(dir, folder))) {
      const path = join(dir, folder, name)
      if (!/^[0-9a-f]{62}$/.test(name)) continue
      const { size } = statSync(path)
      // Without its list of groups (a crash between two writes leaves the list first) a large blob could not be served.
      if (groupsOf(size) > 1 && !existsSync(`${path}.groups`)) rmSync(path)
      else found.set(`0x${folder}${name}`, size)
    }
  }
  return found
}

/** Re-cuts a source into pieces of exactly 1 MiB and a shorter last one. A yielded piece is valid until the next is asked for. */
async function* inGroups(source: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (source instanceof Uint8Array) {
    for (let at = 0; at < source.length; at += GROUP_BYTES) yield source.subarray(at, at + GROUP_BYTES)
    return
  }
  const group = new Uint8Array(GROUP_BYTES)
  let filled = 0
  for await (const piece of source) {
    for (let at = 0; at < piece.length; ) {
      const taken = Math.min(GROUP_BYTES - filled, piece.length - at)
      group.set(piece.subarray(at, at + taken), filled)
      filled += taken
      at += taken
      if (filled === GROUP_BYTES) {
        yield group
        filled = 0
      }
    }
  }
  if (filled > 0) yield group.subarray(0, filled)
}

/** Makes renames inside a folder durable without keeping this thread from its work (store.ts's `syncFolder` waits). */
async function syncAside(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

export class BlobQuotaError extends Error {
  constructor(wanted: number, used: number, quota: number) {
    super(`no room for ${wanted} more bytes of blobs: ${used} of ${quota} are used.\nDelete blobs that are not needed, or raise the quota.`)
    this.name = 'BlobQuotaError'
  }
}

export class BlobDamagedError extends Error {
  constructor(root: Root, path: string) {
    super(
      `the file of blob ${root} no longer has its content, so it was dropped (${path}).\nFetch it again; if this recurs, check the disk.`,
    )
    this.name = 'BlobDamagedError'
  }
}
