// The market as a seeded simulation: one slice after the other is claimed, audited, disputed and paid by the contracts' rules. SIMULATED: no chain, no training.

import type { Node, Strategy } from './agents.ts'
import type { Parameters } from './parameters.ts'

/** What a run shows. Money in slice prices. */
export type Outcome = {
  readonly slices: number
  readonly strategies: readonly {
    readonly name: string
    readonly nodes: number
    readonly slices: number
    readonly checks: number
    readonly convictions: number
    /** Gain a node, over the whole run. */
    readonly profit: number
    /** Gain for each slice trained or checked slice's worth: what one compares strategies by. */
    readonly profitASlice: number
  }[]
  /** Claims with at least one forged segment, and how many of them were convicted. */
  readonly forged: number
  readonly caught: number
  /** Work of everybody ÷ work of the accepted slices. */
  readonly overhead: number
  readonly pool: number
  readonly burnt: number
  /** Sum of all gains and losses, the work done, the pool and the burnt: 0 but for rounding. */
  readonly difference: number
}

/** 32-bit words from a seed (splitmix32): the simulation only needs to be repeatable. */
export function words(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }
}

/** Runs `slices` slices among `count` nodes. */
export function simulate(parameters: Parameters, population: readonly Strategy[], count: number, slices: number, seed: number): Outcome {
  const random = words(seed)
  const pick = (n: number): number => Math.floor(random() * n)
  const nodes: Node[] = []
  const seats: number[] = []
  population.forEach((strategy, s) => {
    for (let i = 0; i < Math.round(strategy.share * count); i++) {
      for (let seat = 0; seat < (strategy.seats ?? 1); seat++) seats.push(nodes.length)
      nodes.push({ strategy: s, streak: 0, worth: 0, slices: 0, checks: 0, convictions: 0 })
    }
  })
  const ledger = { pool: 0, burnt: 0, submitters: 0, work: 0, useful: 0 }
  const tally = { forged: 0, caught: 0 }
  const watchRate = nodes.reduce((sum, n) => sum + (population[n.strategy].watching ?? 0), 0)
  const griefRate = nodes.reduce((sum, n) => sum + (population[n.strategy].griefing ?? 0), 0)
  const watchers = nodes.filter((n) => population[n.strategy].watching)
  const griefers = nodes.filter((n) => population[n.strategy].griefing)
  const p = parameters
  const work = (node: Node, amount: number): void => {
    node.worth -= amount
    ledger.work += amount
  }
  const fromPool = (atMost: number): number => {
    const paid = Math.min(atMost, ledger.pool)
    ledger.pool -= paid
    return paid
  }

  for (let slice = 0; slice < slices; slice++) {
    const solver = nodes[pick(nodes.length)]
    const { solving } = population[solver.strategy]
    solver.slices++
    const forgedCount =
      solving.kind === 'skip' && !(solving.patient && solver.streak < p.probation) ? Math.min(solving.segments, p.segments) : 0
    const forged = new Set<number>()
    while (forged.size < forgedCount) forged.add(pick(p.segments))
    if (forgedCount > 0) tally.forged++
    work(solver, (p.slicesCost * (p.segments - forgedCount)) / p.segments)
    if (solving.kind === 'withhold' && random() < solving.chance) {
      // Audit.lapse: no price, a quarter of the bond
      const lost = p.bond * p.withheldPart
      solver.worth -= lost
      solver.streak = 0
      ledger.submitters += lost / 2
      ledger.pool += lost / 2
      continue
    }

    // the draw: segments, dealt in turn to verifiers by seats
    const wanted = solver.streak < p.probation ? p.segments : p.audited
    const places = Math.min(p.verifiers, wanted)
    const segments = sample(p.segments, wanted, pick)
    const drawn: Node[] = []
    while (drawn.length < places) {
      const verifier = nodes[seats[pick(seats.length)]]
      if (verifier === solver || drawn.includes(verifier)) continue
      const { checking } = population[verifier.strategy]
      if (checking.kind === 'silent' && random() < checking.chance) {
        // Audit.redraw: another takes the place
        verifier.worth -= p.seat * p.silencePart
        ledger.pool += p.seat * p.silencePart
        continue
      }
      drawn.push(verifier)
    }

    let challenger: Node | undefined
    const paid: [Node, number][] = []
    const attesters: Node[] = []
    drawn.forEach((verifier, place) => {
      const own = segments.filter((_, i) => i % places === place)
      const { checking } = population[verifier.strategy]
      verifier.checks += own.length
      if (checking.kind === 'stamp' && random() < checking.chance) {
        // a digest that nobody could know: the whole seat, half burnt, half to the pool
        verifier.worth -= p.seat
        ledger.burnt += p.seat / 2
        ledger.pool += p.seat / 2
        return
      }
      const friend = checking.kind === 'collude' && verifier.strategy === solver.strategy
      if (friend) {
        paid.push([verifier, own.length])
        if (own.some((s) => forged.has(s))) attesters.push(verifier)
        return
      }
      work(verifier, (own.length * p.slicesCost * (1 + p.fetchShare)) / p.segments)
      if (own.some((s) => forged.has(s))) {
        challenger ??= verifier
        return
      }
      if (checking.kind === 'cry' && random() < checking.chance) {
        // *different* without a dispute: the whole seat, half burnt, half to the solver
        verifier.worth -= p.seat
        ledger.burnt += p.seat / 2
        solver.worth += p.seat / 2
        return
      }
      paid.push([verifier, own.length])
    })
    if (watchers.length > 0 && random() < watchRate) {
      const watcher = watchers[pick(watchers.length)]
      if (watcher !== solver) {
        work(watcher, p.slicesCost * (1 + p.fetchShare))
        if (forgedCount > 0) challenger ??= watcher
      }
    }
    if (forgedCount === 0 && griefers.length > 0 && random() < griefRate) {
      // an honest solver answers, and the griefer's clock runs out
      const griefer = griefers[pick(griefers.length)]
      griefer.worth -= p.challengeBond
      solver.worth += p.challengeBond / 2
      ledger.burnt += p.challengeBond / 2
    }

    if (challenger === undefined) {
      solver.worth += 1
      ledger.submitters -= 1
      solver.streak++
      if (forgedCount === 0) ledger.useful += p.slicesCost
      for (const [verifier, count] of paid) {
        verifier.worth += count * p.auditFee
        ledger.submitters -= count * p.auditFee
      }
      continue
    }
    tally.caught++
    solver.convictions++
    solver.streak = 0
    solver.worth -= p.bond
    challenger.worth += p.bond * p.challengerPart + fromPool(p.bond * p.poolPart)
    ledger.submitters += p.bond * p.submitterPart
    ledger.burnt += p.bond * (1 - p.challengerPart - p.submitterPart)
    for (const attester of attesters) {
      attester.worth -= p.seat
      challenger.worth += p.seat * p.attesterPart
      ledger.burnt += p.seat * (1 - p.attesterPart)
    }
  }

  const worth = nodes.reduce((sum, n) => sum + n.worth, 0)
  return {
    slices,
    strategies: population.map((strategy, s) => {
      const own = nodes.filter((n) => n.strategy === s)
      const sum = (value: (n: Node) => number): number => own.reduce((total, n) => total + value(n), 0)
      const done = sum((n) => n.slices) + sum((n) => n.checks) / p.segments
      return {
        name: strategy.name,
        nodes: own.length,
        slices: sum((n) => n.slices),
        checks: sum((n) => n.checks),
        convictions: sum((n) => n.convictions),
        profit: sum((n) => n.worth) / Math.max(1, own.length),
        profitASlice: sum((n) => n.worth) / Math.max(1, done),
      }
    }),
    forged: tally.forged,
    caught: tally.caught,
    overhead: ledger.work / Math.max(ledger.useful, Number.MIN_VALUE),
    pool: ledger.pool,
    burnt: ledger.burnt,
    difference: worth + ledger.submitters + ledger.pool + ledger.burnt + ledger.work,
  }
}

/** `count` different numbers below `n`, ascending. */
function sample(n: number, count: number, pick: (n: number) => number): number[] {
  if (count >= n) return Array.from({ length: n }, (_, i) => i)
  const chosen = new Set<number>()
  while (chosen.size < count) chosen.add(pick(n))
  return [...chosen].sort((a, b) => a - b)
}
