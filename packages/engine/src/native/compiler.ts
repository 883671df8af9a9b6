// The machine's own C compiler: which it is, how wide the vectors are, and shared objects from source text, several at once.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { arch, cpus, platform } from 'node:os'
import { join } from 'node:path'

export interface Compiler {
  readonly command: string
  readonly flags: readonly string[]
  /** 32-bit lanes of the widest vectors it may use: 4, 8 or 16. */
  readonly width: number
  /** Everything but the source that decides what comes out: compiler, target, flags, processor. */
  readonly identity: string
}

/**
 * Why no flag can change a bit: contraction is off, so a product is rounded before it is added; square roots set no errno, so they are the instruction; signed
 * overflow wraps, as docs/numerics.md says it does; memory may be read as another type. Nothing of fast-math: order, NaN, infinities, zeros and subnormals stay.
 */
const FLAGS = [
  '-std=gnu17',
  '-fPIC',
  '-fvisibility=hidden',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-fwrapv',
  '-fno-strict-aliasing',
  '-w',
]
const OPTIONS = { encoding: 'utf8', timeout: 300_000, maxBuffer: 2 ** 24 } as const

let found: Compiler | undefined

/**
 * Finds the C compiler `cc` and what it makes of this processor.
 * @throws {CompilerError} there is none, or it understands too little
 */
export const findCompiler = (): Compiler => {
  found ??= probe(['-march=native'])
  return found
}

/** A compiler for a lesser target than this machine's best: `-march=x86-64` and the like, for tests. */
export const compilerFor = (march: string, width: number): Compiler => ({ ...probe([`-march=${march}`]), width })

const probe = (target: readonly string[]): Compiler => {
  if (platform() !== 'linux' && platform() !== 'darwin')
    throw new CompilerError(`native kernels are made on Linux and macOS only, not on ${platform()}`)
  if (arch() !== 'x64' && arch() !== 'arm64') throw new CompilerError(`native kernels are made for x64 and arm64 only, not for ${arch()}`)
  const command = 'cc'
  const macros = run(command, [...target, '-dM', '-E', '-x', 'c', '/dev/null'])
  const has = (name: string): boolean => macros.includes(`#define ${name} `)
  if (!has('__clang__') && Number(/#define __GNUC__ (\d+)/.exec(macros)?.[1] ?? 0) < 12)
    throw new CompilerError('cc is neither clang nor GCC 12 or newer')
  const width = has('__AVX512F__') && has('__AVX512DQ__') ? 16 : has('__AVX2__') ? 8 : 4
  const flags = [...FLAGS, ...target, ...(has('__clang__') ? [] : ['-Wno-psabi'])]
  const identity = JSON.stringify([run(command, ['--version']), macros, flags, arch(), cpus()[0]?.model])
  return { command, flags, width, identity }
}

const run = (command: string, args: readonly string[], input = ''): string => {
  try {
    return execFileSync(command, [...args], { ...OPTIONS, input })
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: string }
    if (code === 'ENOENT') throw new CompilerError(`no C compiler: there is no "${command}" in PATH`)
    throw new CompilerError(`${command} failed: ${(stderr ?? String(error)).split('\n').slice(0, 5).join('\n')}`)
  }
}

/**
 * Compiles each text into a shared object in `folder` (ours alone), several at the same time, and gives their paths.
 * @throws {CompilerError} with the compiler's first words
 */
export const compileAll = (compiler: Compiler, folder: string, texts: readonly string[], optimise: '-O2' | '-O3'): string[] => {
  const sources = texts.map((text, i) => {
    const source = join(folder, `${i}.c`)
    writeFileSync(source, text, { mode: 0o600 })
    return source
  })
  const objects = texts.map((_, i) => join(folder, `${i}.so`))
  const common = [...compiler.flags, optimise, `-DW=${compiler.width}`, '-shared', '-pthread']
  const own = objects.flatMap((object, i) => ['-o', object, sources[i]])
  if (texts.length === 1) run(compiler.command, [...common, ...own])
  else run('xargs', ['-0', '-n', '3', '-P', `${cpus().length}`, compiler.command, ...common], own.join('\0'))
  return objects
}

/** No compiler, or one that refused. */
export class CompilerError extends Error {
  override name = 'engine.CompilerError'
}
