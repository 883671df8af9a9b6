// What a chaos run will do, drawn from its seed before anything starts: who plays what, which tasks come, what goes wrong when. Pure.

import type { Windows } from '@bitloom/sdk'
import type { Dice } from './dice.ts'

/** How a node behaves: as it should; as its owner likes; or well, until it dies and never comes back. */
export type Character = 'honest' | 'cheat' | 'crasher'

export type NodePart = {
  readonly name: string
  readonly character: Character
  readonly roles: readonly ('solver' | 'verifier')[]
  /** Whole tokens for 10^12 operations. */
  readonly price: number
  /** Own slice of each task in which a cheat lies. */
  readonly cheatSlice?: number
  /** A crasher dies so long after it has confirmed its first task. */
  readonly diesAfterMs?: number
}

export type TaskPart = {
  readonly seed: number
  readonly hidden: number
  readonly steps: number
  readonly segments: number
  readonly slices: number
  readonly submitter: number
  /** Solvers in the order in which they are asked; the honest ones again at the end. */
  readonly solvers: readonly string[]
}

export type FaultKind = 'latency' | 'loss' | 'isolate' | 'split' | 'kill' | 'slow' | 'chain'

export type FaultPart = {
  /** From the start of the first task. */
  readonly atMs: number
  readonly kind: FaultKind
  readonly forMs: number
  /** Those whom it befalls; of a split: one of the two sides. Empty: the chain. */
  readonly nodes: readonly string[]
  /** Added milliseconds one way, share of packets lost, share of time stopped. */
  readonly amount: number
}

export type Shape = {
  readonly nodes: number
  readonly tasks: number
  /** Tasks under way at a time. */
  readonly lanes: number
  readonly submitters: number
  /** Mean time between two faults. */
  readonly everyMs: number
  /** Longest fault: well below every window, so that whoever is honest can still keep its word. */
  readonly longestMs: number
  /** 1 on a computer that has little else to do. */
  readonly patience: number
  /** Faults that need a network of our own are left out where there is none. */
  readonly wired: boolean
}

export type ChaosPlan = {
  readonly nodes: readonly NodePart[]
  readonly tasks: readonly TaskPart[]
  readonly faults: readonly FaultPart[]
  readonly windows: Windows
}

const CHEATS = 0.2
const CRASHERS = 0.1
/** Fewer honest nodes than this all take every role. */
const SPECIALISED = 8
/** Faults are drawn for so long a run; it ends when its tasks do. */
const HORIZON_MS = 60 * 60_000

/** Long against the faults, short enough to wait for those who died; `patience` stretches what a slow computer needs more of. */
const windowsFor = (longestMs: number, patience: number): Windows => {
  const seconds = (own: number, faults: number): number => Math.ceil(own * patience + (faults * longestMs) / 1000)
  return {
    confirmSeconds: seconds(20, 2),
    sliceSeconds: seconds(30, 4),
    sealSeconds: seconds(60, 4),
    discloseSeconds: seconds(40, 4),
    revealSeconds: seconds(40, 4),
    challengeSeconds: 1,
    clockSeconds: seconds(240, 8),
  }
}

/** How often each kind comes. */
const WEIGHTS: Readonly<Record<FaultKind, number>> = { kill: 4, latency: 2, loss: 2, isolate: 3, split: 1, slow: 2, chain: 1 }
const UNWIRED: readonly FaultKind[] = ['kill', 'slow', 'chain']

/** The plan of a seed. */
export function drawPlan(dice: Dice, shape: Shape): ChaosPlan {
  const nodes = drawNodes(dice.named('nodes'), shape.nodes)
  return {
    nodes,
    tasks: drawTasks(dice.named('tasks'), shape, nodes),
    faults: drawFaults(dice.named('faults'), shape, nodes),
    windows: windowsFor(shape.longestMs, shape.patience),
  }
}

function drawNodes(dice: Dice, count: number): NodePart[] {
  const cheats = Math.max(1, Math.round(CHEATS * count))
  const crashers = Math.max(1, Math.round(CRASHERS * count))
  const honest = count - cheats - crashers
  const rolesOf = (i: number): NodePart['roles'] => {
    if (honest < SPECIALISED || i % 7 === 6) return ['solver', 'verifier']
    return i % 2 === 0 ? ['solver'] : ['verifier']
  }
  const numbered = (word: string, i: number): string => `${word}-${String(i + 1).padStart(2, '0')}`
  return [
    ...Array.from({ length: honest }, (_, i): NodePart => {
      const roles = rolesOf(i)
      return { name: numbered(roles.join('+'), i), character: 'honest', roles, price: dice.whole(80, 120) }
    }),
    ...Array.from({ length: cheats }, (_, i): NodePart => {
      return { name: numbered('cheat', i), character: 'cheat', roles: ['solver'], price: dice.whole(60, 90), cheatSlice: i % 2 }
    }),
    ...Array.from({ length: crashers }, (_, i): NodePart => {
      return {
        name: numbered('crasher', i),
        character: 'crasher',
        roles: ['solver'],
        price: dice.whole(60, 90),
        diesAfterMs: dice.whole(200, 6000),
      }
    }),
  ]
}

function drawTasks(dice: Dice, shape: Shape, nodes: readonly NodePart[]): TaskPart[] {
  const solvers = nodes.filter((n) => n.roles.includes('solver'))
  const honest = solvers.filter((n) => n.character === 'honest').map((n) => n.name)
  // each solver is asked first in its turn: every cheat gets to lie, every crasher to die
  const turns = dice.shuffled(solvers.map((n) => n.name))
  // crashers first of all: what they leave behind takes longest
  turns.sort((a, b) => Number(b.startsWith('crasher')) - Number(a.startsWith('crasher')))
  return Array.from({ length: shape.tasks }, (_, i) => {
    const first = turns[i % turns.length]!
    const others = dice.shuffled(turns.filter((name) => name !== first))
    return {
      seed: dice.whole(1, 2 ** 30),
      hidden: dice.pick([16, 24, 32]),
      steps: dice.whole(8, 20) * 20,
      segments: dice.whole(2, 4),
      slices: dice.whole(2, 3),
      submitter: i % shape.submitters,
      solvers: [first, ...others, ...dice.shuffled(honest), ...dice.shuffled(honest), ...dice.shuffled(honest)],
    }
  })
}

function drawFaults(dice: Dice, shape: Shape, nodes: readonly NodePart[]): FaultPart[] {
  const kinds = (Object.entries(WEIGHTS) as [FaultKind, number][])
    .filter(([kind]) => shape.wired || UNWIRED.includes(kind))
    .flatMap(([kind, weight]) => Array<FaultKind>(weight).fill(kind))
  // every kind comes at least once before any comes by chance
  const first = dice.shuffled([...new Set(kinds)])
  const names = nodes.filter((n) => n.character !== 'crasher').map((n) => n.name)
  const faults: FaultPart[] = []
  for (let atMs = shape.everyMs; atMs < HORIZON_MS; atMs += Math.round(shape.everyMs * (0.5 + dice.unit()))) {
    const kind = first.shift() ?? dice.pick(kinds)
    const forMs = Math.round(shape.longestMs * (0.25 + 0.75 * dice.unit()))
    faults.push({ atMs, kind, ...befalls(dice, kind, forMs, names) })
  }
  return faults
}

function befalls(dice: Dice, kind: FaultKind, forMs: number, names: readonly string[]): Pick<FaultPart, 'nodes' | 'forMs' | 'amount'> {
  switch (kind) {
    case 'chain':
      return { nodes: [], forMs: Math.round(forMs / 2), amount: 0 }
    case 'split':
      return { nodes: dice.shuffled(names).slice(0, Math.floor(names.length / 2)), forMs, amount: 0 }
    case 'latency':
      return { nodes: [dice.pick(names)], forMs, amount: dice.whole(100, 400) }
    case 'loss':
      return { nodes: [dice.pick(names)], forMs, amount: dice.whole(2, 12) / 100 }
    case 'slow':
      return { nodes: [dice.pick(names)], forMs, amount: dice.whole(70, 95) / 100 }
    case 'kill':
    case 'isolate':
      return { nodes: [dice.pick(names)], forMs, amount: 0 }
  }
}

/** A fault in words. */
export function sayFault({ kind, nodes, amount, forMs }: FaultPart): string {
  const long = `for ${(forMs / 1000).toFixed(1)} s`
  switch (kind) {
    case 'chain':
      return `the chain stops ${long}`
    case 'split':
      return `${nodes.length} nodes and the others do not reach each other ${long}: ${nodes.join(' ')}`
    case 'latency':
      return `${nodes[0]}: ${amount} ms more each way ${long}`
    case 'loss':
      return `${nodes[0]}: ${(100 * amount).toFixed(0)} % of its packets are lost ${long}`
    case 'slow':
      return `${nodes[0]}: stopped ${(100 * amount).toFixed(0)} % of the time ${long}`
    case 'kill':
      return `${nodes[0]}: killed, and started again after ${(forMs / 1000).toFixed(1)} s`
    case 'isolate':
      return `${nodes[0]}: reaches nobody, not the chain either, ${long}`
  }
}
