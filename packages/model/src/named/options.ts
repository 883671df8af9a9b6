// Reads plain JSON options (a case file, a recipe's flags) one by one and refuses what nobody asked for: a misspelt option must not be ignored.

/** A person's choice of one thing: its name and its options. */
export type Named = { readonly type: string } & Readonly<Record<string, unknown>>

/** Takes options by name; each getter takes the first of several spellings that is there. `null` counts as absent. */
export type Options = {
  readonly number: (names: string | readonly string[], fallback: number, range?: Range) => number
  readonly maybe: (names: string | readonly string[], range?: Range) => number | undefined
  readonly flag: (names: string | readonly string[], fallback: boolean) => boolean
  readonly text: (names: string | readonly string[]) => string | undefined
  readonly numbers: (names: string | readonly string[]) => number[] | undefined
  /** Whatever stands there. */
  readonly any: (names: string | readonly string[]) => unknown
  readonly fail: (message: string) => never
  /** @throws {OptionError} something is left that nothing took */
  readonly done: () => void
}

/** What a number must be: at least, below (or at most), whole. */
export type Range = {
  readonly min?: number
  readonly max?: number
  readonly below?: number
  readonly above?: number
  readonly whole?: boolean
}

/** Readers of `given`; `what` begins every message. Fields in `described` are prose for people and are never complained about. */
export function readOptions(what: string, given: Readonly<Record<string, unknown>>, described: readonly string[] = []): Options {
  const taken = new Set(described)
  const known: string[] = []
  const fail = (message: string): never => {
    throw new OptionError(`${what}: ${message}`)
  }
  const find = (names: string | readonly string[]): { name: string; value: unknown } | undefined => {
    const all = typeof names === 'string' ? [names] : names
    known.push(all[0])
    let found: { name: string; value: unknown } | undefined
    for (const name of all) {
      taken.add(name)
      if (!Object.hasOwn(given, name) || given[name] === null || given[name] === undefined) continue
      if (found && JSON.stringify(found.value) !== JSON.stringify(given[name])) fail(`"${found.name}" and "${name}" say different things`)
      found = { name, value: given[name] }
    }
    return found
  }
  const isNumber = (x: unknown): x is number => typeof x === 'number' && Number.isFinite(x)
  const maybe: Options['maybe'] = (names, range = {}) => {
    const found = find(names)
    if (!found) return undefined
    const { name, value } = found
    const { min, max, below, above, whole } = range
    if (!isNumber(value)) return fail(`"${name}" is ${show(value)}, not a number`)
    if (whole && !Number.isInteger(value)) fail(`"${name}" is ${value}, not a whole number`)
    if (min !== undefined && value < min) fail(`"${name}" is ${value}, below ${min}`)
    if (max !== undefined && value > max) fail(`"${name}" is ${value}, above ${max}`)
    if (above !== undefined && value <= above) fail(`"${name}" is ${value}; it must be above ${above}`)
    if (below !== undefined && value >= below) fail(`"${name}" is ${value}; it must be below ${below}`)
    return value
  }
  return {
    maybe,
    number: (names, fallback, range) => maybe(names, range) ?? fallback,
    flag: (names, fallback) => {
      const found = find(names)
      if (!found) return fallback
      return typeof found.value === 'boolean' ? found.value : fail(`"${found.name}" is ${show(found.value)}, not true or false`)
    },
    text: (names) => {
      const found = find(names)
      if (!found) return undefined
      return typeof found.value === 'string' ? found.value : fail(`"${found.name}" is ${show(found.value)}, not a text`)
    },
    numbers: (names) => {
      const found = find(names)
      if (!found) return undefined
      const list = Array.isArray(found.value) ? found.value : [found.value]
      return list.length > 0 && list.every(isNumber) ? list : fail(`"${found.name}" is ${show(found.value)}, not a list of numbers`)
    },
    any: (names) => find(names)?.value,
    fail,
    done: () => {
      for (const name of Object.keys(given))
        if (!taken.has(name)) fail(`"${name}" (${show(given[name])}) is not understood\nThe options are ${known.join(', ') || 'none'}.`)
    },
  }
}

/** A short form of any JSON value for a message. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}

/** The entry of a table by name, spelt with any of `-`, `_`, blank or nothing between words. */
export function byName<T>(what: string, table: Readonly<Record<string, T>>, name: string): T {
  const plain = (s: string): string => s.toLowerCase().replace(/[\s_-]+/g, '')
  const key = Object.keys(table).find((k) => plain(k) === plain(name))
  if (key === undefined) throw new OptionError(`there is no ${what} "${name}"\nThere are ${Object.keys(table).join(', ')}.`)
  return table[key]
}

/** Whether `name` matches a pattern in which `*` stands for anything. */
export const matches = (pattern: string, name: string): boolean => {
  const parts = pattern.split('*')
  if (parts.length === 1) return pattern === name
  const last = parts[parts.length - 1]
  if (!name.startsWith(parts[0]) || !name.endsWith(last) || name.length < parts[0].length + last.length) return false
  let at = parts[0].length
  const end = name.length - last.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}

/** An option that is missing, misspelt or out of range. */
export class OptionError extends Error {
  override name = 'model.OptionError'
}
