// Results on stdout, talk on stderr: the one place that knows how a command says something to a person or to a program.

/** JSON text of a value; bigints become decimal strings. */
export const jsonOf = (value: unknown): string => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? v.toString() : v))

/** One result as a JSON line on stdout. */
export const printJson = (value: unknown): void => void process.stdout.write(`${jsonOf(value)}\n`)

/** A result for a person, on stdout. */
export const print = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)

/** Talk beside the result, on stderr. */
export const say = (text: string): void => void process.stderr.write(text.endsWith('\n') ? text : `${text}\n`)

/** `1 slice`, `3 slices`. */
export const count = (n: number | bigint, noun: string, plural = `${noun}s`): string => `${n} ${Number(n) === 1 ? noun : plural}`

/** A stretch of seconds: `45 s`, `12 min`, `3.5 h`, `2.1 d`. */
export function stretch(seconds: number): string {
  const s = Math.max(0, seconds)
  if (s < 120) return `${s < 10 && !Number.isInteger(s) ? s.toFixed(1) : Math.round(s)} s`
  if (s < 7200) return `${Math.round(s / 60)} min`
  return s < 172_800 ? `${(s / 3600).toFixed(1)} h` : `${(s / 86_400).toFixed(1)} d`
}
