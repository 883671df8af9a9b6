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
    /** Gain for each look at a claim unasked; 0 where nobody looks. */
    readonly profitALook: number
  }[]
  /** Claims with at least one forged segment, and how many of them were convicted. */
  readonly forged: number
  readonly caught: number
  /** Claims that showed a decoy, and what catching them paid. */
  readonly decoys: number
  readonly jackpots: number
  /** Work of everybody ÷ work of the accepted slices. */
  readonly overhead: number
  readonly pool: number
  /** The pool's lowest balance after its first tenth of the run, and what of all jackpots the cap held back. */
  readonly lowestPool: number
  readonly heldBack: number
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
  const p = parameters
  const random = words(seed)
  const pick = (n: number): number => Math.floor(random() * n)
  const nodes: Node[] = []
  const seats: number[] = []
  population.forEach((strategy, s) => {
    for (let i = 0; i < Math.round(strategy.share * count); i++) {
      for (let seat = 0; seat < (strategy.seats ?? 1); seat++) seats.push(nodes.length)
      nodes.push({ strategy: s, streak: 0, worth: 0, slices: 0, checks: 0, convictions: 0, looks: 0, looksWorth: 0 })
    }
  })
  const ledger = { pool: 0, burnt: 0, submitters: 0, work: 0, useful: 0 }
  const tally = { forged: 0, caught: 0, decoys: 0, jackpots: 0, heldBack: 0, lowestPool: Number.POSITIVE_INFINITY }
  const strategyOf = (node: Node): Strategy => population[node.strategy]!
  const rateOf = (of: 'watching' | 'griefing'): number => nodes.reduce((sum, n) => sum + (strategyOf(n)[of] ?? 0), 0)
  const [watchRate, griefRate] = [rateOf('watching'), rateOf('griefing')]
  const watchers = nodes.filter((n) => strategyOf(n).watching)
  const griefers = nodes.filter((n) => strategyOf(n).griefing)
  const work = (node: Node, amount: number): void => {
    node.worth -= amount
    ledger.work += amount
  }
  const fromPool = (atMost: number): number => {
    const paid = Math.min(atMost, ledger.pool)
    ledger.pool -= paid
    return paid
  }
  /** A jackpot: never more than a part of what the pool holds. */
  const jackpot = (wanted: number): number => {
    const paid = fromPool(Math.min(wanted, ledger.pool * p.jackpotCap))
    tally.jackpots += paid
    tally.heldBack += wanted - paid
    return paid
  }
  /** Takes a whole seat: half burnt, the other half to somebody, or to the pool. */
  const takeSeat = (node: Node, to?: Node): void => {
    node.worth -= p.seat
    ledger.burnt += p.seat / 2
    if (to) to.worth += p.seat / 2
    else ledger.pool += p.seat / 2
  }
  const segmentCost = (p.slicesCost * (1 + p.fetchShare)) / p.segments

  /** Audit.draw: verifiers by seats, each once; the silent pay and are replaced. */
  const draw = (solver: Node, places: number): Node[] => {
    const drawn: Node[] = []
    while (drawn.length < places) {
      const verifier = nodes[seats[pick(seats.length)]!]!
      if (verifier === solver || drawn.includes(verifier)) continue
      const { checking } = strategyOf(verifier)
      if (checking.kind === 'silent' && random() < checking.chance) {
        verifier.worth -= p.seat * p.silencePart
        ledger.pool += p.seat * p.silencePart
        continue
      }
      drawn.push(verifier)
    }
    return drawn
  }

  /** Whistleblowers look at one segment each, unasked. @returns who finds what is truly wrong; all who challenge a decoy share its jackpot */
  const look = (solver: Node, forged: ReadonlySet<number>, decoy: boolean): Node | undefined => {
    const catchers: Node[] = decoy && strategyOf(solver).farming === true ? [solver] : []
    let challenger: Node | undefined
    const looking = Math.floor(watchRate) + (random() < watchRate % 1 ? 1 : 0)
    for (let i = 0; i < looking; i++) {
      const watcher = watchers[pick(watchers.length)]!
      if (watcher === solver) continue
      watcher.looks++
      watcher.looksWorth -= segmentCost
      work(watcher, segmentCost)
      if (decoy) catchers.push(watcher)
      if (forged.has(pick(p.segments))) challenger ??= watcher
    }
    // each of k gets 1 / 2^(k-1): all together never more than one alone
    for (const catcher of catchers) {
      const won = jackpot(p.whistleJackpot / 2 ** (catchers.length - 1))
      catcher.worth += won
      if (catcher !== solver) catcher.looksWorth += won
    }
    return challenger
  }

  for (let slice = 0; slice < slices; slice++) {
    if (slice > slices / 10) tally.lowestPool = Math.min(tally.lowestPool, ledger.pool)
    const solver = nodes[pick(nodes.length)]!
    const { solving } = strategyOf(solver)
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
    const decoy = p.decoyOneIn > 0 && random() * p.decoyOneIn < 1
    if (decoy) tally.decoys++

    // Audit._wanted: everything on probation, half of the sample once proven; in a quorum each place runs everything
    const sampled = solver.streak < p.proven ? p.audited : Math.max(1, Math.ceil(p.audited / 2))
    const wanted = p.quorum || solver.streak < p.probation ? p.segments : sampled
    const places = Math.min(p.verifiers, p.quorum ? p.verifiers : wanted)
    const segments = sample(p.segments, wanted, pick)
    const drawn = draw(solver, places)
    let challenger = look(solver, forged, decoy)

    const paid: [Node, number][] = []
    const attesters: Node[] = []
    const catchers: Node[] = []
    drawn.forEach((verifier, place) => {
      const own = p.quorum ? segments : segments.filter((_, i) => i % places === place)
      const { checking } = strategyOf(verifier)
      verifier.checks += own.length
      // a digest that nobody could know; about a decoy any *same* at all
      if (checking.kind === 'stamp' && random() < checking.chance) return takeSeat(verifier)
      if (checking.kind === 'collude' && verifier.strategy === solver.strategy) {
        paid.push([verifier, own.length])
        if (decoy) catchers.push(verifier)
        if (own.some((s) => forged.has(s))) attesters.push(verifier)
        return
      }
      work(verifier, own.length * segmentCost)
      if (own.some((s) => forged.has(s))) {
        challenger ??= verifier
        return
      }
      if (!decoy && checking.kind === 'cry' && random() < checking.chance) return takeSeat(verifier, solver)
      paid.push([verifier, own.length])
      if (decoy) catchers.push(verifier)
    })
    if (forgedCount === 0 && griefers.length > 0 && random() < griefRate) {
      // an honest solver answers, and the griefer's clock runs out
      const griefer = griefers[pick(griefers.length)]!
      griefer.worth -= p.challengeBond
      solver.worth += p.challengeBond / 2
      ledger.burnt += p.challengeBond / 2
    }

    if (challenger === undefined) {
      solver.worth += 1 - p.poolFee
      ledger.pool += p.poolFee
      ledger.submitters -= 1
      solver.streak++
      if (forgedCount === 0) ledger.useful += p.slicesCost
      for (const [verifier, checked] of paid) {
        verifier.worth += checked * p.auditFee
        ledger.submitters -= checked * p.auditFee
      }
      for (const catcher of catchers) catcher.worth += jackpot(p.verifierJackpot / places)
      continue
    }
    tally.caught++
    solver.convictions++
    solver.streak = 0
    solver.worth -= p.bond
    const reward = p.bond * p.challengerPart + fromPool(p.bond * p.poolPart)
    challenger.worth += reward
    ledger.submitters += p.bond * p.submitterPart
    ledger.burnt += p.bond * (1 - p.challengerPart - p.submitterPart)
    // a conviction proves the solver's answers wrong, not its claim: who attested must be neither worth robbing nor cheap to ruin
    for (const attester of attesters) {
      const lost = (p.bond * p.attestersBurnPart) / attesters.length
      attester.worth -= lost
      ledger.burnt += lost
    }
    if (!drawn.includes(challenger)) challenger.looksWorth += reward
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
        profitALook:
          sum((n) => n.looksWorth) /
          Math.max(
            1,
            sum((n) => n.looks),
          ),
      }
    }),
    ...tally,
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
