// C code as functions of this process, through koffi. Everything that can be missing on a machine is met here, and named.
import { readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { dirname } from 'node:path'
import { type Compiled, sharedObjects } from './cache.ts'
import { type Compiler, CompilerError, findCompiler } from './compiler.ts'

/** Runs table entries `from` to `to`; 0 where there was no memory for the workspaces. */
export interface Runtime {
  readonly compiler: Compiler
  readonly run: (table: bigint, from: number, to: number, threads: number) => number
  /** Where an ArrayBuffer's bytes lie. They never move while it is reachable. */
  readonly address: (bytes: Uint8Array) => bigint
  readonly largePages: (at: bigint, bytes: number) => void
  readonly workspaceBytes: (threads: number) => number
  readonly gather: bigint
  readonly scatterAdd: bigint
  /** The addresses of functions, given as C with `@` for the name; those that this process does not have yet are compiled or come from the cache. */
  readonly functions: (texts: readonly string[]) => bigint[]
}

type Koffi = typeof import('koffi')
type Library = ReturnType<Koffi['load']>

/**
 * koffi, if it is installed and has a binary for this machine.
 * @throws {LibraryError} it is not
 */
const loadKoffi = (): Koffi => {
  try {
    return createRequire(import.meta.url)('koffi') as Koffi
  } catch (error) {
    throw new LibraryError(`the package "koffi" cannot be loaded (${(error as Error).message.split('\n')[0]})`)
  }
}

/** Libraries in use: koffi unloads what nobody holds any more, and tables hold only addresses. */
const opened: Library[] = []

const open = (koffi: Koffi, { path, temporary }: Compiled): Library => {
  try {
    const library = koffi.load(path)
    opened.push(library)
    return library
  } catch (error) {
    throw new LibraryError(`compiled code cannot be loaded: ${(error as Error).message}`)
  } finally {
    if (temporary) rmSync(dirname(path), { recursive: true, force: true })
  }
}

/** A file of ours without its includes: a source is one text, so that its hash is the hash of all that decides what it does. */
const ownText = (name: string): string =>
  readFileSync(new URL(`./c/${name}`, import.meta.url), 'utf8').replace(/^#include "\w+\.h"$|^#pragma once$/gm, '')

const ready = new Map<string, Runtime>()

/**
 * The shared runtime, compiled or taken from the cache, once a process.
 * @throws {CompilerError | LibraryError} no compiler, no koffi, or code that cannot be loaded
 */
export const runtimeFor = (compiler: Compiler = findCompiler()): Runtime => {
  const key = `${compiler.width}${compiler.identity}`
  let runtime = ready.get(key)
  if (runtime === undefined) {
    runtime = loadRuntime(compiler)
    ready.set(key, runtime)
  }
  return runtime
}

/** Why there is no native code on this machine, or undefined where there is. */
export const nativeMissing = (): string | undefined => {
  try {
    runtimeFor()
    return undefined
  } catch (error) {
    if (error instanceof LibraryError || error instanceof CompilerError) return error.message
    throw error
  }
}

const loadRuntime = (compiler: Compiler): Runtime => {
  const koffi = loadKoffi()
  const [vector, ...rest] = ['vector.h', 'pool.h', 'gemm.h', 'runtime.c'].map(ownText)
  const library = open(koffi, sharedObjects(compiler, [`#define _GNU_SOURCE\n${[vector, ...rest].join('\n')}`], '-O3')[0])
  const address = library.func('int64_t bl_address(void *p)')
  const known = new Map<string, bigint>()
  const works = new BigInt64Array(2)
  library.func('void bl_works(int64_t *to)')(works)
  const run = library.func('int32_t bl_run(int64_t table, int64_t from, int64_t to, int32_t threads)')
  const largePages = library.func('void bl_large_pages(int64_t at, int64_t bytes)')
  const workspace = library.func('int64_t bl_workspace(int32_t threads)')
  return {
    compiler,
    run: (table, from, to, threads) => run(table, from, to, threads),
    address: (bytes) => BigInt(address(bytes)),
    largePages: (at, bytes) => largePages(at, bytes),
    workspaceBytes: (threads) => Number(workspace(threads)),
    gather: works[0],
    scatterAdd: works[1],
    functions: (texts) => {
      const missing = [...new Set(texts)].filter((text) => !known.has(text))
      const sources = sourcesOf(missing)
      const objects = sharedObjects(
        compiler,
        sources.map((own) => sourceOf(vector, own)),
        '-O2',
      )
      objects.forEach((object, i) => {
        const found = new BigInt64Array(sources[i].length)
        open(koffi, object).func('void bl_functions(int64_t *to)')(found)
        sources[i].forEach((text, at) => {
          known.set(text, found[at])
        })
      })
      return texts.map((text) => known.get(text)!)
    },
  }
}

/** Functions a source at most, and at least if there are several: few enough to share the compiling among processors, enough that each is worth a compiler's start. */
const [MOST, LEAST] = [24, 6]

/** Functions dealt out to sources, the longest first, so that all take about as long. */
const sourcesOf = (functions: readonly string[]): string[][] => {
  const count = Math.max(Math.ceil(functions.length / MOST), Math.min(cpus().length, Math.floor(functions.length / LEAST)))
  if (functions.length === 0) return []
  const sources = Array.from({ length: Math.max(1, count) }, (): string[] => [])
  const longestFirst = [...functions].sort((a, b) => b.length - a.length || (a < b ? -1 : 1))
  longestFirst.forEach((text, i) => {
    sources[i % sources.length].push(text)
  })
  return sources
}

/** A C file with these functions, and one that tells where they are. */
const sourceOf = (prelude: string, functions: readonly string[]): string =>
  [
    prelude,
    ...functions.map((text, i) => `static ${text.replace('@', `f${i}`)}`),
    '__attribute__((visibility("default"))) void bl_functions(int64_t *to) {',
    ...functions.map((_, i) => `  to[${i}] = (int64_t)(intptr_t)f${i};`),
    '}',
    '',
  ].join('\n')

/** Compiled code that this process cannot take in. */
export class LibraryError extends Error {
  override name = 'engine.LibraryError'
}
