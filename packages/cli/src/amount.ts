// Amounts of money and of time as people type them: 12.5, 90m, 2h, a date.

import { parseEther } from 'viem'
import { type Call, UsageError } from './command.ts'

/** An option in whole tokens, as wei. @throws {UsageError} it is no amount */
export function weiOf(call: Call, name: string, example = '12.5'): bigint | undefined {
  const text = call.text(name)
  if (text === undefined) return undefined
  if (!/^\d{1,12}(\.\d{1,18})?$/.test(text)) throw new UsageError(`--${name} ${text}: give an amount such as ${example}`)
  return parseEther(text)
}

const UNITS: Readonly<Record<string, number>> = { s: 1, sec: 1, m: 60, min: 60, h: 3600, d: 86_400 }

/** Seconds in `45s`, `90m`, `2h`, `1h30m`, `3d`; undefined where it is none of these. */
export function secondsIn(text: string): number | undefined {
  if (!/^(\s*\d+(\.\d+)?\s*[a-z]+)+\s*$/i.test(text)) return undefined
  let total = 0
  for (const [, number, unit] of text.toLowerCase().matchAll(/(\d+(?:\.\d+)?)\s*([a-z]+)/g)) {
    const size = UNITS[unit!]
    if (size === undefined) return undefined
    total += Number(number) * size
  }
  return total
}

/** An option that is a stretch of time or a moment to come, as seconds from now. @throws {UsageError} it is neither, or over */
export function secondsUntil(call: Call, name: string, nowMs: number): number | undefined {
  const text = call.text(name)
  if (text === undefined) return undefined
  const stretch = secondsIn(text)
  const seconds = stretch ?? (/^\d{4}-\d{2}-\d{2}/.test(text) ? (Date.parse(text) - nowMs) / 1000 : Number.NaN)
  if (Number.isNaN(seconds)) throw new UsageError(`--${name} ${text}: give a time such as 90m, 2h or 2027-01-31T18:00`)
  if (seconds <= 0) throw new UsageError(`--${name} ${text} is over already`)
  return seconds
}

/** An option that is a stretch of time or a moment past, as unix seconds. @throws {UsageError} it is neither */
export function since(call: Call, name: string, nowMs: number): number | undefined {
  const text = call.text(name)
  if (text === undefined) return undefined
  const stretch = secondsIn(text)
  const at = stretch === undefined ? (/^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) / 1000 : Number.NaN) : nowMs / 1000 - stretch
  if (Number.isNaN(at)) throw new UsageError(`--${name} ${text}: give a time such as 7d, 12h or 2027-01-31`)
  return at
}
