// Games about lies in real training steps, both roles of each: the honest side has to win, and for the reason that the lie has.

import { begin, cheat, type Lie, type Match, moment, openGame, play, probeCommit, replay, startMoment, termsFor } from '@bitloom/dispute'
import type { Knowledge } from '@bitloom/dispute/knowledge'
import { differs } from '@bitloom/dispute/player'
import { wasm } from '@bitloom/engine'
import { type Data, merkleTree, sha256 } from '@bitloom/graph'
import { dice } from '../e2e/dispute-games.ts'
import type { Model } from './models.ts'
import { type Place, placesOf } from './places.ts'

export type Options = {
  readonly graph: Model['graph']
  readonly slots: readonly Data[]
  readonly steps: number
  readonly evaluate: typeof wasm.evaluate
}
export const optionsOf = ({ graph, slots, steps }: Model): Options => ({ graph, slots, steps, evaluate: wasm.evaluate })

/** What came of the games of one kind. */
export type Tally = { games: number; swallowed: number; exchanges: number[] }
export type Played = ReadonlyMap<string, Tally>

/** Games of a model by kind of place, as played; throws at the first that the honest side does not win as it should. */
export class Games {
  readonly kinds = new Map<string, Tally>()
  readonly right: Knowledge
  readonly model: Model
  private readonly options: Options
  constructor(model: Model) {
    this.model = model
    this.options = optionsOf(model)
    this.right = replay(this.options)
  }

  /** The places of this model; `each`: exprs of every op. */
  places(seed: string, each: number): Place[] {
    return placesOf(this.model, this.right, dice(`${this.model.name} ${seed}`), each)
  }

  /** What a solver that tells the lie knows. */
  liar(lie: Lie): Knowledge {
    return cheat(this.options, lie)
  }

  /** Plays places in turn; once one of a spot has shown itself, the others of that spot are left out. */
  playAll(places: readonly Place[]): void {
    const shown = new Set<string>()
    for (const place of places)
      if (place.spot === undefined || !shown.has(place.spot)) if (this.play(place) && place.spot !== undefined) shown.add(place.spot)
  }

  /** Plays a place in both roles; false where the lie changes nothing that is kept, and so is none. */
  play(place: Place): boolean {
    const { steps, name } = this.model
    const liar = this.liar(place.lie)
    const claimed = openGame(liar, steps)
    if (!differs(this.right, steps, claimed.hi)) {
      this.tally(place.kind).swallowed++
      return false
    }
    const what = `${name}: ${place.kind}: ${place.what}`
    const told = play(claimed, liar, this.right)
    const { verdict } = told
    const expected = Object.entries(place.expect).every(([key, value]) => verdict[key as keyof typeof verdict] === value)
    if (!verdict.convicted || told.stuck || told.game.step !== place.lie.step || !expected)
      throw new GameLostError(
        `${what}: ${JSON.stringify(verdict)} in step ${told.game.step}, stuck: ${told.stuck}; expected ${JSON.stringify(place.expect)}`,
      )
    this.withstands(what, liar)
    this.won(place.kind, told)
    return true
  }

  /** The honest solver against a challenger that believes the liar's run. */
  withstands(what: string, liar: Knowledge): void {
    const { steps } = this.model
    const slander = play(openGame(this.right, steps), this.right, liar)
    if (slander.verdict.convicted || slander.verdict.ground !== 'clock')
      throw new GameLostError(`${what}: an honest solver met ${JSON.stringify(slander.verdict)}`)
  }

  /** Solvers whose moves do not fit one another: none of them may get through. */
  inconsistent(): void {
    const { right, options } = this
    const { steps, name } = this.model
    const last = steps - 1
    const expectStuck = (kind: string, solver: Knowledge, game = openGame(solver, steps), stuck?: string): void => {
      const match = play(game, solver, right)
      if (!match.verdict.convicted || (stuck !== undefined && match.stuck !== stuck))
        throw new GameLostError(`${name}: ${kind}: ${JSON.stringify(match.verdict)}, stuck: ${match.stuck}`)
      this.won(kind, match)
    }
    const wrong: Lie = { kind: 'slot', step: last, slot: 0, element: 0, word: 0x12345678 }
    // a segment whose start is not the state in which the one before it ended
    const elsewhere = replay({
      ...options,
      slots: options.slots.map((t, s) => (s === 0 ? (t.map((x, i) => (i === 0 ? x + 1 : x)) as Data) : t)),
    })
    const [before, end] = [right.parts(0), elsewhere.parts(steps)]
    const handed = begin(termsFor(elsewhere, steps), startMoment(before.stateRoot), moment(end.stateRoot, probeCommit(end.chain)), 0)
    expectStuck('hand-over: another start', elsewhere, handed, 'StartDiffers')
    // a trace root over nothing, over another step's exprs, and over the right exprs but one
    const liar = this.liar(wrong)
    const noise = (n: number): Uint8Array => sha256(new Uint8Array([n]))
    const traced = (tree: (right: Knowledge) => ReturnType<Knowledge['trace']>['tree']): Knowledge => ({
      ...liar,
      trace: (step) => ({ ...liar.trace(step), tree: tree(liar) }),
    })
    const roots = right.trace(last).roots
    expectStuck(
      'trace root: over nothing',
      traced(() => ({ ...merkleTree(roots), levels: [...merkleTree(roots).levels.slice(0, -1), [noise(1)]] })),
    )
    const other = right.trace(0).roots
    expectStuck(
      'trace root: another step’s',
      traced(() => merkleTree(other)),
    )
    const changed = roots.with(roots.length >> 1, noise(2))
    expectStuck(
      'trace root: one expr’s',
      traced(() => merkleTree(changed)),
    )
    // a post state that is not the one that the moment commits to
    const honestAt = right.parts(steps)
    expectStuck(
      'post state: another than claimed',
      { ...liar, parts: (step) => (step === steps ? honestAt : liar.parts(step)) },
      openGame(liar, steps),
      'EndDiffers',
    )
    // a tree of states that does not hash to the root shown
    expectStuck('post state: another tree', { ...liar, stateTree: right.stateTree })
    // a chunk that is not the tensor's
    const bad = this.liar({ kind: 'expr', step: last, expr: this.model.graph.next[0]!, element: 0, word: 0x3f800001 })
    expectStuck('chunk: another than its hash', { ...bad, trace: (step) => ({ ...bad.trace(step), tensor: right.trace(step).tensor }) })
  }

  /** Games and swallowed lies by kind, and in all. */
  summary() {
    const entries = [...this.kinds].sort(([a], [b]) => (a < b ? -1 : 1))
    const exchanges = entries.flatMap(([, t]) => t.exchanges)
    return {
      total: entries.reduce((n, [, t]) => n + t.games, 0),
      swallowed: entries.reduce((n, [, t]) => n + t.swallowed, 0),
      exchanges: { least: Math.min(...exchanges), most: Math.max(...exchanges) },
      kinds: Object.fromEntries(entries.map(([kind, t]) => [kind, t.games])),
    }
  }

  private won(kind: string, { exchanges }: Match): void {
    const tally = this.tally(kind)
    tally.games++
    tally.exchanges.push(exchanges)
  }

  private tally(kind: string): Tally {
    const found = this.kinds.get(kind) ?? { games: 0, swallowed: 0, exchanges: [] }
    this.kinds.set(kind, found)
    return found
  }
}

/** The honest side did not win. */
export class GameLostError extends Error {
  override name = 'depth.GameLostError'
}
