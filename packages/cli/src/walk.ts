// A dispute as a walk from a whole segment down to one scalar: every exchange a sentence, every agreement a branch that was left behind. Made of events alone.

import { GROUNDS, type Ground, LEVELS, type Level, SIDES } from '@bitloom/dispute'
import { chunksOf, type Graph, sizeOf, unravel } from '@bitloom/graph'
import type { ChainEvent } from '@bitloom/sdk'
import { describeExpr } from './narrate.ts'

/** What the events do not say: where the segment lies in the run, what is known of the game and of the graph. */
export type Background = {
  /** The run's step (from 0) with which the segment begins. */
  readonly firstStep: number
  readonly steps: number
  readonly exprs: number
  readonly stateSlots: number
  /** Elements of the disputed expr, the terms behind each, and the element; as the game ended or stands. */
  readonly size: number
  readonly terms: number
  readonly element: number
  readonly graph?: Graph | undefined
}

export type Mover = 'solver' | 'challenger'

export type Exchange = {
  readonly who: Mover
  readonly level: Level | 'challenge'
  readonly text: string
  readonly block: number
  readonly transaction: string
}

/** A place the dispute was narrowed to, and what both agree on beside it. */
export type Branch = { readonly label: string; readonly agreed?: string }

export type Decision = {
  readonly convicted: boolean
  readonly ground: Ground
  readonly expr: number
  readonly element: number
  readonly term: number
  readonly claimed: number
  readonly computed: number
}

export type Walk = {
  readonly exchanges: readonly Exchange[]
  readonly branches: readonly Branch[]
  readonly decision?: Decision
  readonly withdrawn: boolean
}

type Place = {
  readonly level: Level
  readonly toMove: Mover
  readonly from: number
  readonly to: number
  readonly depth: number
  readonly index: number
}

const placeOf = ({ args }: ChainEvent): Place => ({
  level: LEVELS[Number(args.level)]!,
  toMove: SIDES[Number(args.toMove)]!,
  from: Number(args.from),
  to: Number(args.to),
  depth: Number(args.depth),
  index: Number(args.index),
})

const span = (first: number, last: number): string => (first === last ? `${first}` : `${first}–${last}`)

/** The items below a node of a tree, cut at the last one there is. */
function below({ depth, index }: Pick<Place, 'depth' | 'index'>, count: number): readonly [number, number] {
  const width = 2 ** depth
  const first = index * width
  return [first, Math.max(first, Math.min(count, first + width) - 1)]
}

/** Tells a game by its events (all of them, in order). */
export function walk(events: readonly ChainEvent[], g: Background): Walk {
  const exchanges: Exchange[] = []
  const branches: Branch[] = []
  let place: Place | undefined
  let expr = -1
  let revealed: ChainEvent | undefined
  let decision: Decision | undefined
  const stepName = (s: number): string => `${g.firstStep + s + 1}`
  const steps = (from: number, to: number): string => `step${to - from === 1 ? '' : 's'} ${span(g.firstStep + from + 1, g.firstStep + to)}`
  const countOf = (level: Level): number => {
    if (level === 'trace') return g.exprs
    return level === 'state' ? g.stateSlots : Math.max(1, chunksOf(g.size * 4))
  }
  const noun = (level: Level): string => ({ trace: 'expr', state: 'state slot', tensor: 'chunk' })[level as string] ?? level
  const items = (level: Level, p: Pick<Place, 'depth' | 'index'>): string => {
    const [first, last] = below(p, countOf(level))
    return `${noun(level)}${first === last ? '' : 's'} ${span(first, last)}`
  }
  const exprName = (i: number): string => (g.graph ? `expr ${i}, ${describeExpr(g.graph, i)}` : `expr ${i}`)
  const slotName = (i: number): string => (g.graph?.slots[i] ? `state slot ${i}, ${g.graph.slots[i]!.name}` : `state slot ${i}`)
  const elementName = (): string => {
    const e = g.graph?.exprs[expr]
    return e && g.element < sizeOf(e.shape) && e.shape.length > 1
      ? `element ${g.element} = [${unravel(g.element, e.shape).join(', ')}]`
      : `element ${g.element}`
  }
  const bytesName = (i: number): string => {
    const perChunk = 256
    return `chunk ${i} (elements ${span(i * perChunk, Math.max(i * perChunk, Math.min(g.size || Number.POSITIVE_INFINITY, (i + 1) * perChunk) - 1))})`
  }

  /** The solver has shown something at `was`. */
  const shows = (was: Place, event: ChainEvent): string => {
    const n = (event.args.values as unknown[] | undefined)?.length ?? 0
    if (was.level === 'steps') return `shows where it stood at ${n} moments within ${steps(was.from, was.to)}`
    if (was.level === 'fold') return `shows ${n} partial results within terms ${was.from}–${was.to - 1}`
    if (event.name === 'Opened')
      return `opens step ${stepName(was.from)}: its state before and after, and the root of everything computed in it`
    if (event.name === 'ChunkShown') return `shows the 1,024 bytes of ${bytesName(was.index)}`
    return `shows ${n} hashes that make up ${items(was.level, was)}`
  }
  /** The challenger has narrowed the game from `was` to `now`. */
  const narrows = (was: Place, now: Place): string => {
    const agreed = (text: string | undefined, label: string): void =>
      void branches.push(text === undefined ? { label } : { label, agreed: text })
    const left = (from: number, to: number, name: (a: number, b: number) => string): string | undefined =>
      to > from ? name(from, to) : undefined
    if (was.level === 'steps') {
      const rest = left(was.from, now.from, steps)
      agreed(rest, now.to - now.from === 1 ? `step ${stepName(now.from)}` : steps(now.from, now.to))
      return `${rest === undefined ? 'disagrees' : `agrees with ${rest}, and disagrees`} from ${steps(now.from, now.to)} on`
    }
    if (was.level === 'enter' && now.level !== 'over') {
      const level = now.level === 'expr' ? 'trace' : now.level === 'slot' ? 'state' : now.level
      const label =
        level === 'trace'
          ? `what it computed: ${items('trace', { depth: 32, index: 0 })}`
          : `the state after it: ${items('state', { depth: 32, index: 0 })}`
      agreed(level === 'state' ? 'what it computed' : undefined, label)
      return level === 'trace'
        ? 'disagrees with what was computed in the step'
        : 'agrees with what was computed, and disagrees with the state that was made of it'
    }
    if (was.level === 'trace' || was.level === 'state' || was.level === 'tensor') {
      const level = was.level
      const [first] = below(now, countOf(level))
      const rest = left(below(was, countOf(level))[0], first, (a, b) => `${noun(level)}${b - a === 1 ? '' : 's'} ${span(a, b - 1)}`)
      if (now.level === 'expr') expr = now.index
      const label =
        now.level === 'expr'
          ? exprName(now.index)
          : now.level === 'slot'
            ? slotName(now.index)
            : now.level === 'chunk'
              ? bytesName(now.index)
              : now.level === 'over'
                ? 'what lies behind the end'
                : items(level, now)
      agreed(rest, label)
      const what =
        now.level === 'over'
          ? 'points behind the last item, where there must be nothing but padding'
          : `${rest === undefined ? 'disagrees' : `agrees with ${rest}, and disagrees`} with ${label}`
      return what
    }
    if (was.level === 'expr' && now.level !== 'over') return `proves that the graph says so: ${exprName(expr)}`
    if (was.level === 'element') {
      agreed(undefined, elementName())
      return `disagrees with ${elementName()}${now.level === 'fold' ? `, folded from ${g.terms.toLocaleString('en')} terms` : ''}`
    }
    if (was.level === 'fold') {
      const rest = left(was.from, now.from, (a, b) => `term${b - a === 1 ? '' : 's'} ${span(a, b - 1)}`)
      agreed(rest, `term${now.to - now.from === 1 ? '' : 's'} ${span(now.from, now.to - 1)}`)
      return `${rest === undefined ? 'disagrees' : `agrees with ${rest}, and disagrees`} from term ${now.from} on`
    }
    return 'proves its point'
  }

  for (const event of events) {
    const { name, args } = event
    const say = (who: Mover, level: Exchange['level'], text: string): void =>
      void exchanges.push({ who, level, text, block: Number(event.blockNumber), transaction: event.transactionHash })
    if (name === 'Challenged') {
      say('challenger', 'challenge', `says that segment ${Number(args.segment) + 1} is wrong: ${steps(0, g.steps)}`)
      branches.push({ label: steps(0, g.steps) })
    } else if (name === 'Revealed' || name === 'Opened' || name === 'ChunkShown') {
      revealed = event
    } else if (name === 'Moved') {
      const now = placeOf(event)
      if (place && revealed) say('solver', place.level, shows(place, revealed))
      else if (place) say(place.toMove, place.level, (now.level === 'over' && closing(events)) || narrows(place, now))
      revealed = undefined
      place = now
    } else if (name === 'Decided') {
      const number = (key: string): number => Number(args[key])
      decision = {
        convicted: args.convicted === true,
        ground: GROUNDS[number('ground')]!,
        expr: number('expr'),
        element: number('element'),
        term: number('term'),
        claimed: number('claimed'),
        computed: number('computed'),
      }
    }
  }
  const withdrawn = events.some((e) => e.name === 'Withdrawn')
  return { exchanges, branches, withdrawn, ...(decision ? { decision } : {}) }
}

/** The challenger's last word, by what it decided. */
function closing(events: readonly ChainEvent[]): string | undefined {
  const decided = events.find((e) => e.name === 'Decided')
  const ground = decided && GROUNDS[Number(decided.args.ground)]
  if (ground === 'scalar') return 'proves the operands, and the contract computes the step'
  if (ground === 'input') return 'proves what was in the slot that the step read'
  if (ground === 'state') return 'proves what the slot should have become'
  if (ground === 'probe') return 'proves what the probe was'
  if (ground === 'clock') return 'lets its time run out'
  return undefined
}

/** Why it ended so, in a sentence. */
export function reasonOf({ ground, convicted, element }: Decision, graph?: Graph): string {
  const slot = graph?.slots[element] ? `slot ${element} (${graph.slots[element]!.name})` : `slot ${element}`
  switch (ground) {
    case 'scalar':
      return 'the contract computed the scalar itself, and got another'
    case 'input':
      return `the solver used another tensor than the one in ${slot}`
    case 'state':
      return `the solver put another tensor into ${slot} than the one it had computed`
    case 'probe':
      return 'the solver hashed another probe into its chain than the one it had computed'
    case 'padding':
      return `the solver hid something behind the end of a list (at ${element})`
    case 'tail':
      return 'the solver hid bytes behind the end of a tensor'
    case 'clock':
      return `the ${convicted ? 'solver' : 'challenger'} let its time run out`
    default:
      return 'it is not over'
  }
}
