// Who takes part, and what each does when its turn comes: strategies as data and two short rules, one for training and one for checking.

/** What a node does with the slices it is paid to train. */
export type Solving =
  | { readonly kind: 'honest' }
  /** Forges this many segments of each slice; `patient`: only once its probation is over, and again after every conviction. */
  | { readonly kind: 'skip'; readonly segments: number; readonly patient: boolean }
  /** Trains, claims and never discloses with this chance: withheld data. */
  | { readonly kind: 'withhold'; readonly chance: number }

/** What a node does with the segments it is drawn to check. */
export type Checking =
  | { readonly kind: 'honest' }
  /** Says *same* without running anything, this often: nobody's seal can be copied, so it has to guess the digest. */
  | { readonly kind: 'stamp'; readonly chance: number }
  /** Says *different* about honest work and then does not dispute, this often. */
  | { readonly kind: 'cry'; readonly chance: number }
  | { readonly kind: 'silent'; readonly chance: number }
  /** Attests what its friends forged, with digests that they gave it; checks everybody else honestly. */
  | { readonly kind: 'collude' }

export type Strategy = {
  readonly name: string
  /** Share of all nodes. */
  readonly share: number
  readonly solving: Solving
  readonly checking: Checking
  /** Watches: re-runs one segment of this share of other nodes' claims without being drawn, and challenges what differs. */
  readonly watching?: number
  /** Knows its own decoys, and has a friend challenge each at once for the whistleblower's jackpot. */
  readonly farming?: boolean
  /** Challenges this share of honest claims for nothing, and loses by its clock. */
  readonly griefing?: number
  /** Seats a node holds; 1 where absent. A Sybil's many identities are one node with many seats. */
  readonly seats?: number
}

/** A node: one strategy's money and record. */
export type Node = {
  readonly strategy: number
  streak: number
  worth: number
  slices: number
  checks: number
  convictions: number
  /** Looks at claims unasked, and what they alone brought. */
  looks: number
  looksWorth: number
}

/** The population of the default run: four in five honest, every attack that docs/economics.md names beside them. */
export const POPULATION: readonly Strategy[] = [
  { name: 'honest', share: 0.77, solving: { kind: 'honest' }, checking: { kind: 'honest' } },
  { name: 'skips one segment in ten', share: 0.02, solving: { kind: 'skip', segments: 1, patient: false }, checking: { kind: 'honest' } },
  { name: 'forges everything', share: 0.02, solving: { kind: 'skip', segments: 10, patient: false }, checking: { kind: 'honest' } },
  {
    name: 'patient: honest on probation',
    share: 0.02,
    solving: { kind: 'skip', segments: 1, patient: true },
    checking: { kind: 'honest' },
  },
  { name: 'withholds one claim in ten', share: 0.02, solving: { kind: 'withhold', chance: 0.1 }, checking: { kind: 'honest' } },
  { name: 'lazy: stamps one in twenty', share: 0.02, solving: { kind: 'honest' }, checking: { kind: 'stamp', chance: 0.05 } },
  { name: 'cries wolf one in twenty', share: 0.01, solving: { kind: 'honest' }, checking: { kind: 'cry', chance: 0.05 } },
  { name: 'silent one time in ten', share: 0.02, solving: { kind: 'honest' }, checking: { kind: 'silent', chance: 0.1 } },
  {
    name: 'colluding: forges and attests',
    share: 0.05,
    solving: { kind: 'skip', segments: 10, patient: false },
    checking: { kind: 'collude' },
  },
  { name: 'griefs one honest claim in 1,000', share: 0.005, solving: { kind: 'honest' }, checking: { kind: 'honest' }, griefing: 0.001 },
  { name: 'Sybil: twenty seats', share: 0.005, solving: { kind: 'honest' }, checking: { kind: 'honest' }, seats: 20 },
  { name: 'farms its own decoys', share: 0.02, solving: { kind: 'honest' }, checking: { kind: 'honest' }, farming: true },
  {
    name: 'whistleblower: looks at one claim in 1,000',
    share: 0.02,
    solving: { kind: 'honest' },
    checking: { kind: 'honest' },
    watching: 0.001,
  },
]
