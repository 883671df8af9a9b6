// Compiled code that is kept between processes, in a folder of this user's alone. What lies there is believed only if the folder and the file are ours and the bytes are those that were written.
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Compiler, compileAll } from './compiler.ts'

/** Shared objects kept; the oldest go first. */
const KEPT = 128
const OTHERS_MAY_WRITE = 0o022

const sha256 = (...parts: readonly (string | Uint8Array)[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** The cache folder, made if it is not there; undefined where it is not ours alone. */
const cacheFolder = (): string | undefined => {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'bitloom', 'kernels')
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const { uid, mode } = lstatSync(folder)
    if (!lstatSync(folder).isDirectory() || uid !== process.getuid?.() || (mode & OTHERS_MAY_WRITE) !== 0) return undefined
    return folder
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error
    return undefined
  }
}

/** Whether the file is a plain one of ours that nobody else writes, whose last 32 bytes are the hash of its name and all before. */
const believable = (path: string, key: string): boolean => {
  let file: number
  try {
    if (!lstatSync(path).isFile()) return false
    file = openSync(path, 'r')
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error
    return false
  }
  try {
    const { uid, mode } = fstatSync(file)
    if (uid !== process.getuid?.() || (mode & OTHERS_MAY_WRITE) !== 0) return false
    const bytes = readFileSync(file)
    return sha256(key, bytes.subarray(0, -32)).equals(bytes.subarray(-32))
  } finally {
    closeSync(file)
  }
}

/** A shared object on disk. `temporary` ones are removed once they are loaded. */
export interface Compiled {
  readonly path: string
  readonly temporary: boolean
}

/**
 * The shared objects of these texts, from the cache or compiled now (several at the same time).
 * @throws {CompilerError} the compiler refused
 */
export const sharedObjects = (compiler: Compiler, texts: readonly string[], optimise: '-O2' | '-O3'): Compiled[] => {
  const folder = cacheFolder()
  const keys = texts.map((text) => sha256(`${compiler.identity}\0${compiler.width}\0${optimise}\0`, text).toString('hex'))
  const kept = keys.map((key) => folder !== undefined && believable(join(folder, `${key}.so`), key))
  const missing = texts.flatMap((_, i) => (kept[i] ? [] : [i]))
  const made = new Map<number, Compiled>()
  if (missing.length > 0) {
    const work = mkdtempSync(join(folder ?? tmpdir(), 'making-'))
    chmodSync(work, 0o700)
    try {
      const paths = compileAll(
        compiler,
        work,
        missing.map((i) => texts[i]),
        optimise,
      )
      missing.forEach((i, at) => {
        made.set(i, keep(paths[at], keys[i], folder))
      })
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
    if (folder !== undefined) prune(folder, new Set(keys))
  }
  return texts.map((_, i) => {
    const path = made.get(i)
    if (path !== undefined) return path
    const cached = join(folder!, `${keys[i]}.so`)
    utimesSync(cached, new Date(), new Date())
    return { path: cached, temporary: false }
  })
}

/** Signs a new object and puts it into the cache under its key, whole or not at all; without a cache, beside it for one loading. */
const keep = (from: string, key: string, folder: string | undefined): Compiled => {
  const bytes = readFileSync(from)
  const signed = Buffer.concat([bytes, sha256(key, bytes)])
  if (folder === undefined) {
    const path = join(mkdtempSync(join(tmpdir(), 'bitloom-kernels-')), `${key}.so`)
    writeFileSync(path, signed, { mode: 0o700 })
    return { path, temporary: true }
  }
  const path = join(folder, `${key}.so`)
  const beside = `${path}.${randomBytes(8).toString('hex')}`
  writeFileSync(beside, signed, { mode: 0o700 })
  renameSync(beside, path)
  return { path, temporary: false }
}

/** Lets the oldest objects go, and whatever a killed process left half made a day ago. */
const prune = (folder: string, wanted: ReadonlySet<string>): void => {
  const day = Date.now() - 86_400_000
  const entries = readdirSync(folder).flatMap((name) => {
    const stat = statSync(join(folder, name), { throwIfNoEntry: false })
    return stat === undefined ? [] : [{ name, at: stat.mtimeMs }]
  })
  const objects = entries.filter(({ name }) => name.endsWith('.so')).sort((a, b) => b.at - a.at)
  const old = objects.slice(KEPT).filter(({ name }) => !wanted.has(name.slice(0, -3)))
  const left = entries.filter(({ name, at }) => !name.endsWith('.so') && at < day)
  for (const { name } of [...old, ...left]) rmSync(join(folder, name), { recursive: true, force: true })
}
