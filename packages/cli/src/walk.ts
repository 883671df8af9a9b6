// A dispute as a walk from a whole segment down to one scalar: every exchange a sentence, every agreement a branch that was left behind. Made of events alone.

import { GROUNDS, type Ground, type Level } from '@bitloom/dispute'
import { bytesOf, CHUNK, chunksOf, depthOf, type Graph, sizeOf, unravel } from '@bitloom/graph'
import type { ChainEvent } from '@bitloom/sdk'
import { describeExpr } from './narrate.ts'
import { type Place, placeOf } from './place.ts'

/** What the events do not say: where the segment lies in the run, what is known of the game and of the graph. */
export type Background = {
  /** The run's step (from 0) with which the segment begins. */
  readonly firstStep: number
  readonly steps: number
  readonly exprs: number
  readonly stateSlots: number
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
  let revealed: ChainEvent | undefined
  const decision = decisionOf(events)
  const stepName = (s: number): string => `${g.firstStep + s + 1}`
  const steps = (from: number, to: number): string => `step${to - from === 1 ? '' : 's'} ${span(g.firstStep + from + 1, g.firstStep + to)}`
  const widthOf = (expr: number | undefined): number => (expr === undefined ? 4 : bytesOf(g.graph?.exprs[expr]?.dtype ?? 'f32'))
  const countOf = (p: Place): number => {
    if (p.level === 'trace') return g.exprs
    return p.level === 'state' ? g.stateSlots : Math.max(1, chunksOf(p.size * widthOf(p.expr)))
  }
  const noun = (level: Level): string => ({ trace: 'expr', state: 'state slot', tensor: 'chunk' })[level as string] ?? level
  const items = (p: Place): string => {
    const [first, last] = below(p, countOf(p))
    return `${noun(p.level)}${first === last ? '' : 's'} ${span(first, last)}`
  }
  const exprName = (i: number): string => (g.graph ? `expr ${i}, ${describeExpr(g.graph, i)}` : `expr ${i}`)
  const slotName = (i: number): string => (g.graph?.slots[i] ? `state slot ${i}, ${g.graph.slots[i]!.name}` : `state slot ${i}`)
  const elementName = (expr: number | undefined, element: number): string => {
    const e = expr === undefined ? undefined : g.graph?.exprs[expr]
    return e && element < sizeOf(e.shape) && e.shape.length > 1
      ? `element ${element} = [${unravel(element, e.shape).join(', ')}]`
      : `element ${element}`
  }
  const bytesName = ({ index, size, expr }: Place): string => {
    const each = CHUNK / widthOf(expr)
    return `chunk ${index} (elements ${span(index * each, Math.max(index * each, Math.min(size || Number.POSITIVE_INFINITY, (index + 1) * each) - 1))})`
  }

  /** The solver has shown something at `was`. */
  const shows = (was: Place, now: Place, event: ChainEvent | undefined): string => {
    const n = (event?.args.values as unknown[] | undefined)?.length ?? 0
    if (was.level === 'steps') return `shows where it stood at ${n} moments within ${steps(was.from, was.to)}`
    if (was.level === 'open')
      return `opens step ${stepName(was.from)}: its state before and after, and the first hashes of everything computed in it`
    if (was.level === 'fold') return `shows ${now.words - 2} partial results within terms ${was.from}–${was.to - 1}`
    if (was.level === 'chunk') return `shows the 1,024 bytes of ${bytesName(was)}`
    return `shows ${n} hashes that make up ${items(was)}`
  }
  const branch = (label: string, agreed?: string): void => void branches.push(agreed === undefined ? { label } : { label, agreed })
  const left = (from: number, to: number, name: (a: number, b: number) => string): string | undefined =>
    to > from ? name(from, to) : undefined
  const against = (rest: string | undefined, what: string): string =>
    rest === undefined ? `disagrees ${what}` : `agrees with ${rest}, and disagrees ${what}`
  /** Beside item or node `now` of the tree at `was`, what both agree on; with the branch that is left behind. */
  const narrowsTree = (was: Place, first: number, label: string): string => {
    if (was.level === 'trace' && was.depth === depthOf(g.exprs)) branch(`what it computed: ${items({ ...was, depth: 32, index: 0 })}`)
    const rest = left(below(was, countOf(was))[0], first, (a, b) => `${noun(was.level)}${b - a === 1 ? '' : 's'} ${span(a, b - 1)}`)
    branch(label, rest)
    return against(rest, `with ${label}`)
  }
  const narrowsFold = (was: Place, from: number, to: number): string => {
    const rest = left(was.from, from, (a, b) => `term${b - a === 1 ? '' : 's'} ${span(a, b - 1)}`)
    branch(`term${to - from === 1 ? '' : 's'} ${span(from, to - 1)}`, rest)
    return against(rest, `from term ${from} on`)
  }
  /** The challenger has narrowed the game from `was` to `now`. */
  const narrows = (was: Place, now: Place): string => {
    if (was.level === 'steps') {
      const rest = left(was.from, now.from, steps)
      branch(now.to - now.from === 1 ? `step ${stepName(now.from)}` : steps(now.from, now.to), rest)
      return against(rest, `from ${steps(now.from, now.to)} on`)
    }
    if (was.level === 'trace' && now.level === 'state') {
      branch(`the state after it: ${items({ ...now, depth: 32, index: 0 })}`, 'what it computed')
      return 'agrees with what was computed, and disagrees with the state that was made of it'
    }
    if (was.level === 'trace' && now.expr !== undefined) return `${narrowsTree(was, now.expr, exprName(now.expr))}, which the graph has`
    if (was.level === 'chunk') {
      branch(elementName(now.expr, now.element))
      return `disagrees with ${elementName(now.expr, now.element)}, folded from ${now.terms.toLocaleString('en')} terms`
    }
    if (was.level === 'fold') return narrowsFold(was, now.from, now.to)
    const label = now.level === 'chunk' ? bytesName(now) : items(now)
    return narrowsTree(was, below(now, countOf(was))[0], label)
  }
  /** The last move, by what it decided. */
  const closes = (was: Place): string => {
    const { ground, expr, element, term } = decision ?? NOTHING
    if (ground === 'clock') return 'lets its time run out'
    if (ground === 'probe') return 'proves what the probe was'
    if (ground === 'input') return `${narrowsTree(was, expr, exprName(expr))}, and proves what was in the slot that it read`
    if (ground === 'state') return `${narrowsTree(was, element, slotName(element))}, and proves what the slot should have become`
    if (ground === 'padding') {
      narrowsTree(was, below(was, countOf(was))[1] + 1, 'what lies behind the end')
      return 'points behind the last item, where there must be nothing but padding'
    }
    if (ground === 'tail') return 'points behind the last element, where there must be nothing but zeros'
    if (was.level === 'fold') return `${narrowsFold(was, term, term + 1)}; proves the operands, and the contract computes the step`
    branch(elementName(expr, element))
    return `disagrees with ${elementName(expr, element)}; proves the operands, and the contract computes the step`
  }

  for (const event of events) {
    const { name, args } = event
    const say = (who: Mover, level: Exchange['level'], text: string): void =>
      void exchanges.push({ who, level, text, block: Number(event.blockNumber), transaction: event.transactionHash })
    if (name === 'Challenged') {
      say('challenger', 'challenge', `says that segment ${Number(args.segment) + 1} is wrong: ${steps(0, g.steps)}`)
      branches.push({ label: steps(0, g.steps) })
    } else if (name === 'Revealed') {
      revealed = event
    } else if (name === 'Moved') {
      const now = placeOf(event, place)
      if (place && now.level === 'over') {
        if (!events.some((e) => e.name === 'Withdrawn')) say(place.toMove, place.level, closes(place))
      } else if (place) say(place.toMove, place.level, place.toMove === 'solver' ? shows(place, now, revealed) : narrows(place, now))
      revealed = undefined
      place = now
    }
  }
  const withdrawn = events.some((e) => e.name === 'Withdrawn')
  return { exchanges, branches, withdrawn, ...(decision ? { decision } : {}) }
}

const NOTHING = { ground: 'none', expr: 0, element: 0, term: 0 } as const

function decisionOf(events: readonly ChainEvent[]): Decision | undefined {
  const args = events.find((e) => e.name === 'Decided')?.args
  if (!args) return undefined
  const number = (key: string): number => Number(args[key])
  return {
    convicted: args.convicted === true,
    ground: GROUNDS[number('ground')]!,
    ...{ expr: number('expr'), element: number('element'), term: number('term'), claimed: number('claimed'), computed: number('computed') },
  }
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
