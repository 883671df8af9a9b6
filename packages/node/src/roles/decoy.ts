// Forced errors, the solver's side: the decoy of a slice, the seal over truth and decoy, and which of the two a claim has to show (docs/protocol.md §3).

import { createHmac } from 'node:crypto'
import { probeCommit } from '@bitloom/dispute'
import { fromHex, toHex } from '@bitloom/graph'
import { type DecoySeal, isDecoy, type SealedSlice, sliceCommitment } from '@bitloom/sdk'
import type { Address, Hex } from 'viem'
import { bookRoot, type Leaf } from '../exchange.ts'

/** A slice's leaves as they are, and as a claim shows them that is wrong on purpose: the same states, other probe commitments. */
export type Masked = SealedSlice & { readonly truth: readonly Leaf[]; readonly decoy: readonly Leaf[] }

/** What a claim has to wait for, or to show. */
export type Show = 'truth' | 'decoy' | 'wait'

/** Blocks on top of the anchor before its hash counts: were it replaced after the claim, the claim might show the wrong one of the two. */
export const ANCHOR_DEPTH = 2n
/** Blocks after which the chain forgets an anchor: a claim that comes later is plain (Randomness.sol). */
export const ANCHOR_MEMORY = 256n
/** A decoy is not shown any more so long after its anchor: the claim might be mined when the anchor is forgotten, and a plain claim must show the truth. */
const ANCHOR_FRESH = 128n

const hmac = (key: Hex, about: string): Hex =>
  `0x${createHmac('sha256', Buffer.from(key.slice(2), 'hex'))
    .update(about)
    .digest('hex')}`

/**
 * The two faces of a slice. Everything in it follows from the node's secret and what was trained: the same after a restart, and never on disk.
 * @param of the network's `Decoys`, so that a secret serves one chain only
 */
export function maskSlice(
  nodeSecret: Hex,
  of: { readonly chainId: number; readonly decoys: Address },
  slice: { readonly taskId: bigint; readonly slice: number; readonly solver: Address },
  truth: readonly Leaf[],
): Masked {
  const secret = hmac(
    nodeSecret,
    `decoy ${of.chainId} ${of.decoys.toLowerCase()} ${slice.taskId} ${slice.slice} ${slice.solver.toLowerCase()}`,
  )
  const decoy = truth.map(({ stateRoot }, segment) => ({
    stateRoot,
    probeCommit: toHex(probeCommit(fromHex(falseDigest(secret, segment)))),
  }))
  return { ...slice, truth, decoy, trueRoot: bookRoot({ leaves: truth }), decoyRoot: bookRoot({ leaves: decoy }), secret }
}

/** What a decoy's leaf is the commitment of: no run comes to it. */
export const falseDigest = (secret: Hex, segment: number): Hex => hmac(secret, `digest ${segment}`)

/**
 * What a claim made now has to show.
 * @param head the newest block's number
 * @param anchorHash of the seal's anchor block, where it exists
 */
export function toShow(masked: Masked, seal: DecoySeal, oneIn: number, head: bigint, anchorHash: Hex | undefined): Show {
  const forgotten = head >= seal.anchorBlock + ANCHOR_MEMORY
  if (seal.used || forgotten) return 'truth'
  // what was sealed cannot be opened any more (the secret is gone, or what was trained): only a plain claim can stand
  if (sliceCommitment(masked) !== seal.commitment) return 'wait'
  if (head < seal.anchorBlock + ANCHOR_DEPTH || anchorHash === undefined) return 'wait'
  if (!isDecoy(anchorHash, masked, oneIn)) return 'truth'
  return head > seal.anchorBlock + ANCHOR_FRESH ? 'wait' : 'decoy'
}
