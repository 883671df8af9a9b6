// The numbers that decide who gains what: read from the contracts' own source, so that a simulation of other rules than the chain's cannot happen.

import { readFileSync } from 'node:fs'
import { AUDIT_MARKUP, BOND_SLICES, PROBATION } from '@bitloom/sdk'

/** Money in units of one slice's price; times in slices. */
export type Parameters = {
  /** Segments of a slice, and how many of them are audited once a solver is past probation; places they are dealt to. */
  readonly segments: number
  readonly audited: number
  readonly verifiers: number
  /** A new solver's slices that are audited whole; from `proven` accepted ones on half as much is sampled. */
  readonly probation: number
  readonly proven: number
  /** Every place re-runs every segment. */
  readonly quorum: boolean
  /** Of a settled slice's price, to the pool. */
  readonly poolFee: number
  /** One claim in so many shows a decoy; 0: none. What catching one pays: all drawn places together, and the first whistleblower. */
  readonly decoyOneIn: number
  readonly verifierJackpot: number
  readonly whistleJackpot: number
  /** No jackpot is more than this part of the pool. */
  readonly jackpotCap: number
  /** The solver's bond, and the fee for one audited segment. */
  readonly bond: number
  readonly auditFee: number
  /** One verifier's seat, and what a challenger puts down. */
  readonly seat: number
  readonly challengeBond: number
  /** Of a convicted bond: parts to the challenger, to the submitter; the rest burns. At most `poolPart` of it again from the pool. */
  readonly challengerPart: number
  readonly submitterPart: number
  readonly poolPart: number
  /** Of the bond's worth, burnt out of the seats of all that attested a convicted segment together. */
  readonly attestersBurnPart: number
  readonly silencePart: number
  /** Of the bond, for not disclosing: half to the submitter, half to the pool. */
  readonly withheldPart: number
  /** What the work of a slice costs whoever does it. The rest of the price is margin. */
  readonly slicesCost: number
  /** What it costs a verifier beside the work itself to fetch and hash, as a share of the audited work. */
  readonly fetchShare: number
}

const source = (file: string): string => readFileSync(new URL(`../../packages/contracts/src/${file}`, import.meta.url), 'utf8')

/** A `uint256 public constant` of a contract: a plain number, or ether as tokens. */
function constantOf(file: string, name: string): number {
  const found = new RegExp(`constant ${name} = (\\d+)( ether)?;`).exec(source(file))
  if (!found) throw new Error(`${file} has no constant ${name}; the simulation has to be brought up to date`)
  return Number(found[1])
}

/**
 * The defaults of the contracts and of our client.
 * @param tokensASlice price of a slice in tokens: seats and challenge bonds are fixed in tokens, everything else follows the price
 */
export function defaults(tokensASlice = 1): Parameters {
  const segments = 10
  const decoyOneIn = 64
  return {
    segments,
    audited: 2,
    verifiers: 2,
    probation: PROBATION,
    proven: constantOf('market/Audit.sol', 'PROVEN'),
    quorum: false,
    poolFee: 1 / constantOf('market/Market.sol', 'POOL_FEE_SHARE'),
    decoyOneIn,
    verifierJackpot: decoyOneIn / constantOf('market/Decoys.sol', 'VERIFIERS_JACKPOT_SHARE'),
    whistleJackpot: decoyOneIn / constantOf('market/Decoys.sol', 'WHISTLE_JACKPOT_SHARE'),
    jackpotCap: 1 / 4,
    bond: Number(BOND_SLICES),
    auditFee: Number(AUDIT_MARKUP) / segments,
    seat: constantOf('market/Stake.sol', 'SEAT_WEI') / tokensASlice,
    challengeBond: constantOf('dispute/Dispute.sol', 'CHALLENGE_BOND') / tokensASlice,
    challengerPart: 1 / constantOf('market/Market.sol', 'CHALLENGER_SHARE'),
    submitterPart: 1 / constantOf('market/Market.sol', 'SUBMITTER_SHARE'),
    poolPart: 1 / constantOf('market/Market.sol', 'POOL_SHARE'),
    attestersBurnPart: 1 / constantOf('market/Market.sol', 'ATTESTERS_BURN_SHARE'),
    silencePart: 1 / constantOf('market/Audit.sol', 'SILENCE_SHARE'),
    withheldPart: 1 / constantOf('market/Market.sol', 'WITHHELD_SHARE'),
    slicesCost: 0.8,
    fetchShare: 0.1,
  }
}
