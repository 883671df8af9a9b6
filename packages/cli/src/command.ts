// What a command is: one record with its summary, options and body; help is made of it.

import { parseArgs } from 'node:util'

export type Option = {
  readonly type: 'string' | 'boolean'
  readonly default?: string | boolean
  readonly value?: string
  readonly help: string
}

/** What a command's body is given: positionals, options by name, and the two streams. */
export type Call = {
  readonly args: readonly string[]
  readonly text: (name: string) => string | undefined
  readonly flag: (name: string) => boolean
  /** @throws {UsageError} not a number within the bounds */
  readonly number: (name: string, bounds?: { readonly min?: number; readonly max?: number; readonly whole?: boolean }) => number | undefined
}

export type Command = {
  readonly name: string
  readonly summary: string
  readonly usage?: string
  readonly options?: Readonly<Record<string, Option>>
  /** Options that depend on what the words of the command line name (a recipe's own). */
  readonly more?: (argv: readonly string[]) => Promise<Readonly<Record<string, Option>>>
  /** Exit status; 0 unless told. */
  readonly run: (call: Call) => Promise<number | undefined>
}

/** Exit codes, the same for every command (docs/operations.md). */
export const EXIT = { ok: 0, failed: 1, usage: 2, refused: 3, unreachable: 4 } as const

/**
 * Parses a command line against a command's options.
 * @throws {UsageError} unknown option or a missing value
 */
export function parseCall(command: Command, argv: readonly string[]): Call {
  const options = { ...command.options, help: { type: 'boolean', help: 'show this' } as Option }
  let parsed: { values: Record<string, unknown>; positionals: string[] }
  try {
    parsed = parseArgs({
      args: [...argv],
      allowPositionals: true,
      allowNegative: true,
      options: Object.fromEntries(
        Object.entries(options).map(([name, o]) => [
          name,
          o.default === undefined ? { type: o.type } : { type: o.type, default: o.default },
        ]),
      ),
    }) as never
  } catch (error) {
    const named = command.more && argv[0] !== undefined && !argv[0].startsWith('-') ? `${command.name} ${argv[0]}` : command.name
    throw new UsageError(`${(error as Error).message.split('\n')[0]!.split('. To specify')[0]}\nSee: bitloom ${named} --help`)
  }
  const text = (name: string): string | undefined => parsed.values[name] as string | undefined
  return {
    args: parsed.positionals,
    text,
    flag: (name) => parsed.values[name] === true,
    number: (name, bounds = {}) => {
      const given = text(name)
      if (given === undefined) return undefined
      const x = Number(given)
      const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, whole = false } = bounds
      if (given.trim() === '' || !Number.isFinite(x) || x < min || x > max || (whole && !Number.isInteger(x)))
        throw new UsageError(
          `--${name} ${given}: give ${whole ? 'a whole number' : 'a number'}${min > Number.NEGATIVE_INFINITY ? ` from ${min}` : ''}${max < Number.POSITIVE_INFINITY ? ` to ${max}` : ''}`,
        )
      return x
    },
  }
}

/** A command's help. */
export function helpOf(command: Command): string {
  const lines = [`bitloom ${command.name}${command.usage ? ` ${command.usage}` : ''}`, `  ${command.summary}`]
  const options = Object.entries(command.options ?? {})
  if (options.length > 0) lines.push('')
  for (const [name, o] of options)
    lines.push(
      `  ${`--${name}${o.type === 'string' ? ` ${o.value ?? 'VALUE'}` : ''}`.padEnd(26)} ${o.help}${o.default !== undefined && o.default !== false ? ` (${o.default})` : ''}`,
    )
  return `${lines.join('\n')}\n`
}

/** The caller's mistake on the command line: exit 2. */
export class UsageError extends Error {
  override name = 'cli.UsageError'
}

/** The request was understood and turned down (a check that failed, a budget too small): exit 3. */
export class RefusedError extends Error {
  override name = 'cli.RefusedError'
}
