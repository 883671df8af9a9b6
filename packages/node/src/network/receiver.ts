// A blob on its way in: a file of the final size, the nodes that its groups must hash to, and a mark for each group that is there, so that
// a transfer cut off by a crash goes on where it was.

import { existsSync, rmSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { sameBytes } from '@bitloom/graph/sha256'
import { explainStoreError } from '../store.ts'
import { groupHeight, groupNode, groupRange } from './groups.ts'

export interface Receiver {
  /** Groups that are still missing, ascending. */
  missing(): number[]
  /** Bytes that were already here. */
  readonly resumedBytes: number
  /** Stores a group if its bytes hash to its node; false when they do not. */
  accept(group: number, data: Uint8Array): Promise<boolean>
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

/** Opens the partial file of a blob, new or from before; every group found is hashed again, since a crash may have lost its bytes. */
export async function openReceiver({ folder, root, bytes, nodes, reserve, release, adopt }: ReceiverOptions): Promise<Receiver> {
  const path = join(folder, `${root.slice(2)}-${bytes}`)
  const marksPath = `${path}.marks`
  const height = groupHeight(bytes)
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
      const data = new Uint8Array(end - start)
      await file.read(data, 0, data.length, start)
      if (sameBytes(groupNode(data, height), node)) resumedBytes += data.length
      else marks[group] = 0
    }
    const one = new Uint8Array([1])
    return {
      resumedBytes,
      missing: () => Array.from(marks.keys()).filter((group) => marks[group] === 0),
      async accept(group, data) {
        const { start, end } = groupRange(bytes, group)
        if (data.length !== end - start || !sameBytes(groupNode(data, height), nodes[group])) return false
        try {
          for (let done = 0; done < data.length; ) done += (await file.write(data, done, data.length - done, start + done)).bytesWritten
          await marksFile.write(one, 0, 1, group)
        } catch (error) {
          throw explainStoreError(path, error)
        }
        marks[group] = 1
        return true
      },
      async finish() {
        if (marks.includes(0)) throw new RangeError(`finish: ${root} is not whole`)
        await file.sync()
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
