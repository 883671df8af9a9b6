// A blob on its way in: a file of the final size, the nodes that its groups must hash to, and a mark for each group that is there, so that
// a transfer cut off by a crash goes on where it was.

import { existsSync, rmSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { sameBytes } from '@bitloom/graph/sha256'
import { explainStoreError } from '../store.ts'
import { type GroupBuffer, groupBuffer, groupHasher } from './grouphash.ts'
import { groupRange } from './groups.ts'

export interface Receiver {
  /** Groups that are still missing, ascending. */
  missing(): number[]
  /** Bytes that were already here. */
  readonly resumedBytes: number
  /** Stores a group if its bytes hash to its node; false when they do not. `data` is left alone until then. */
  accept(group: number, data: GroupBuffer): Promise<boolean>
  /** All groups are here: the file becomes the blob. */
  finish(): Promise<void>
  /** Stops for now; what has arrived stays for the next time. */
  pause(): Promise<void>
}

export interface ReceiverOptions {
  readonly folder: string
  readonly root: `0x${string}`
  readonly bytes: number
  /** The groups' nodes, already checked to hash to the root. */
  readonly nodes: readonly Uint8Array[]
  readonly reserve: (bytes: number) => void
  readonly release: (bytes: number) => void
  readonly adopt: (file: string, root: `0x${string}`, bytes: number, nodes: readonly Uint8Array[]) => Promise<void>
}

/** Bytes after which the disk is told to begin. */
const SYNC_BYTES = 64 << 20

/** Opens the partial file of a blob, new or from before; every group found is hashed again, since a crash may have lost its bytes. */
export async function openReceiver({ folder, root, bytes, nodes, reserve, release, adopt }: ReceiverOptions): Promise<Receiver> {
  const path = join(folder, `${root.slice(2)}-${bytes}`)
  const marksPath = `${path}.marks`
  const hashGroup = groupHasher(nodes.length)
  const resuming = existsSync(path) && existsSync(marksPath) && statSync(path).size === bytes && statSync(marksPath).size === nodes.length
  let reserved = 0
  if (!resuming) {
    for (const old of [path, marksPath]) {
      if (!existsSync(old)) continue
      release(statSync(old).size)
      rmSync(old)
    }
    reserved = bytes + nodes.length
    reserve(reserved)
  }
  const opened: FileHandle[] = []
  const close = async (): Promise<void> => {
    for (const handle of opened.splice(0)) await handle.close()
  }
  try {
    const flags = resuming ? 'r+' : 'wx+'
    const file = await open(path, flags)
    opened.push(file)
    const marksFile = await open(marksPath, flags)
    opened.push(marksFile)
    await file.truncate(bytes)
    await marksFile.truncate(nodes.length)
    const marks = new Uint8Array(nodes.length)
    await marksFile.read(marks, 0, marks.length, 0)
    let resumedBytes = 0
    for (const [group, node] of nodes.entries()) {
      if (marks[group] === 0) continue
      const { start, end } = groupRange(bytes, group)
      const data = groupBuffer(bytes, nodes.length)
      await file.read(data, 0, end - start, start)
      if (sameBytes(await hashGroup(data), node)) resumedBytes += end - start
      else marks[group] = 0
    }
    const one = new Uint8Array([1])
    let unsynced = 0
    let syncing = false
    let syncFault: unknown
    return {
      resumedBytes,
      missing: () => Array.from(marks.keys()).filter((group) => marks[group] === 0),
      async accept(group, data) {
        const { start, end } = groupRange(bytes, group)
        if (!sameBytes(await hashGroup(data), nodes[group]!)) return false
        // Two peers may have sent it: written once, for a file that is whole is no longer ours to write.
        if (marks[group] === 1) return true
        marks[group] = 1
        try {
          await writeAll(file, data.subarray(0, end - start), start)
          await marksFile.write(one, 0, 1, group)
        } catch (error) {
          marks[group] = 0
          throw explainStoreError(path, error)
        }
        unsynced += end - start
        if (unsynced >= SYNC_BYTES && !syncing) {
          unsynced = 0
          syncing = true
          // What is on its way to the disk now need not be waited for at the end. A failure is told only once, so it is kept until then.
          void file
            .datasync()
            .catch((error: unknown) => (syncFault = error))
            .finally(() => (syncing = false))
        }
        return true
      },
      async finish() {
        if (marks.includes(0)) throw new RangeError(`finish: ${root} is not whole`)
        try {
          await file.sync()
          if (syncFault !== undefined) throw syncFault
        } catch (error) {
          throw explainStoreError(path, error)
        }
        await close()
        rmSync(marksPath)
        release(nodes.length)
        await adopt(path, root, bytes, nodes)
      },
      pause: close,
    }
  } catch (error) {
    await close()
    if (!resuming) {
      for (const made of [path, marksPath]) rmSync(made, { force: true })
      release(reserved)
    }
    throw explainStoreError(path, error)
  }
}

/** Writes all of `data` at `position` (or the end). */
export async function writeAll(file: FileHandle, data: Uint8Array, position?: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position === undefined ? null : position + done)
    done += bytesWritten
  }
}
