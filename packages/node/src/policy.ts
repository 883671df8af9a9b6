// When a provider takes new tasks, and from whom: its own rules against how its machine stands at this moment. Pure; what it has taken it finishes.

/** Minutes of the day; a span may go past midnight. */
export type Span = { readonly from: number; readonly to: number }

/** What a provider has said it wants. */
export type Rules = {
  /** New tasks only within one of these spans of local time; always, where there is none. */
  readonly schedule?: readonly Span[]
  /** New tasks only while everything else on this machine uses at most this share of its processor, 0 to 1. */
  readonly idleShare?: number
  /** false: none while the machine runs on its battery. */
  readonly onBattery?: boolean
  /** Submitters' addresses in lower case: only these, and never those. */
  readonly allow?: ReadonlySet<string>
  readonly deny?: ReadonlySet<string>
}

/** With what an offer says besides; the memory that an offer names is checked with the task's contents (bundle.ts). */
export type Policy = Rules & { readonly capacity: number; readonly minAssurance: number }

/** How the machine stands. */
export type Situation = {
  /** Minutes since local midnight. */
  readonly minuteOfDay: number
  /** Share of the processor that others used over the last minute; undefined: not known yet. */
  readonly othersShare?: number
  readonly power: 'mains' | 'battery' | 'unknown'
  /** Tasks in hand. */
  readonly tasks: number
}

/** A task that asks to be taken. */
export type Request = { readonly submitter: string; readonly assurance: number }

/** `whose`: whether the reason lies with this machine, which its offer did not tell, or with the one who asks. */
export type Verdict = { readonly ok: true } | { readonly ok: false; readonly reason: string; readonly whose: 'ours' | 'theirs' }

const ours = (reason: string): Verdict => ({ ok: false, reason, whose: 'ours' })
const theirs = (reason: string): Verdict => ({ ok: false, reason, whose: 'theirs' })

/**
 * Whether a new task may be taken now; without a request, whether one may be offered.
 * @returns the first rule against it, in words
 */
export function mayTake(policy: Policy, situation: Situation, request?: Request): Verdict {
  const { schedule, idleShare, onBattery = true, allow, deny, capacity, minAssurance } = policy
  const { minuteOfDay, othersShare, power, tasks } = situation
  if (request) {
    const who = request.submitter.toLowerCase()
    if (deny?.has(who)) return theirs(`${request.submitter} is on the list of those we do not work for`)
    if (allow && !allow.has(who)) return theirs(`${request.submitter} is not on the list of those we work for`)
    if (request.assurance < minAssurance) return theirs(`its assurance is ${request.assurance}, we want ${minAssurance} at least`)
  }
  if (tasks >= capacity) return ours(`${tasks} of ${capacity} tasks in hand`)
  if (schedule && !schedule.some((span) => isWithin(span, minuteOfDay)))
    return ours(`it is ${clockOf(minuteOfDay)}, outside ${schedule.map(spanText).join(', ')}`)
  if (!onBattery && power === 'battery') return ours('the machine runs on its battery')
  if (!onBattery && power === 'unknown') return ours('this system does not tell whether it runs on a battery')
  if (idleShare !== undefined && othersShare === undefined) return ours('how busy the machine is will be known in a moment')
  if (idleShare !== undefined && othersShare! > idleShare)
    return ours(`others use ${Math.round(100 * othersShare!)} % of the processor, more than ${Math.round(100 * idleShare)} %`)
  return { ok: true }
}

/** Whether a minute of the day is in a span; its first minute is, its last is not, and equal ends are the whole day. */
export const isWithin = ({ from, to }: Span, minute: number): boolean =>
  from < to ? minute >= from && minute < to : minute >= from || minute < to

/**
 * Reads `22:00-07:00` or several such spans with commas.
 * @returns undefined where it is none
 */
export function parseSchedule(text: string): Span[] | undefined {
  const spans = text.split(',').map((part) => /^\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*$/.exec(part))
  const minutes = (hour: string, minute: string): number => (Number(minute) < 60 ? 60 * Number(hour) + Number(minute) : Number.NaN)
  const read = spans.map((m) => (m ? { from: minutes(m[1]!, m[2]!), to: minutes(m[3]!, m[4]!) } : { from: Number.NaN, to: Number.NaN }))
  return read.every(({ from, to }) => from < 1440 && to <= 1440) ? read.map(({ from, to }) => ({ from, to: to % 1440 })) : undefined
}

const clockOf = (minute: number): string => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`
const spanText = ({ from, to }: Span): string => `${clockOf(from)}-${clockOf(to)}`

/**
 * The price at which an hour of this machine brings in what it costs and a margin.
 * @param operationsPerSecond what it trains at
 * @returns wei for 10^12 operations, rounded up
 */
export function autoPrice(costPerHourWei: bigint, marginPercent: number, operationsPerSecond: bigint): bigint {
  const wanted = (costPerHourWei * BigInt(Math.round(100 + marginPercent)) * 10n ** 12n) / 100n
  const hour = 3600n * (operationsPerSecond > 0n ? operationsPerSecond : 1n)
  return (wanted + hour - 1n) / hour
}
