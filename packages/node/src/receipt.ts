// The receipt: a portable file that says what was run, accepted, disputed and paid, and that anybody can check offline (`bitloom verify`).

import { createHash } from 'node:crypto'
import { type ArbiterErrorName, checkpointMoment, decidingCall, decodeLeaf, judge, type Operand, terms, unpackGame } from '@bitloom/dispute'
import {
  depthOf,
  encodeGraph,
  fromHex,
  type Graph,
  graphTree,
  itemsRoot,
  leafHash,
  proofOf,
  proves,
  rootOf,
  tensorRoot,
  toBytes,
  toHex,
  verifyGraph,
} from '@bitloom/graph'
import { type Bitloom, type ChainEvent, fullAbi, type Network, type Spec, specId, specLie, stepsOf } from '@bitloom/sdk'
import { type Address, decodeFunctionData, type Hash, type Hex } from 'viem'
import { readQuarrel } from './court.ts'

export const RECEIPT_FORMAT = 'bitloom-receipt-2'

export type AcceptedSlice = {
  readonly slice: number
  readonly claimId: string
  readonly solver: Address
  readonly claimRoot: Hex
  readonly startState: Hex
  readonly endState: Hex
  /** With `endState` the claim's last leaf, and its proof under `claimRoot`. */
  readonly probeCommit: Hex
  readonly endProof: readonly Hex[]
  /** Verifiers that re-ran segments of it and said *same*. */
  readonly attestedBy: readonly Address[]
  readonly segmentsAudited: number
  readonly solverWei: string
  readonly verifiersWei: string
  /** Its claim was wrong on purpose: the root that it was about in the end, and who had found it, paid out of the pool. */
  readonly decoy?: { readonly trueRoot: Hex; readonly foundBy: readonly { readonly who: Address; readonly wei: string }[] }
  readonly transaction: Hash
  readonly blockNumber: string
}

/** A decided dispute; `scalar` is its last exchange, complete: anybody can compute it again. */
export type DecidedDispute = {
  readonly gameId: string
  readonly claimId: string
  readonly solver: Address
  readonly challenger: Address
  readonly convicted: boolean
  readonly ground: number
  readonly segment: number
  readonly step: number
  readonly expr: number
  readonly element: number
  readonly term: number
  readonly claimed: number
  readonly computed: number
  readonly transaction: Hash
  readonly scalar?: {
    readonly leaf: Hex
    readonly leafProof: readonly Hex[]
    readonly acc: number
    readonly trace: Hex
    readonly operands: readonly {
      readonly root: Hex
      readonly traceProof: readonly Hex[]
      readonly chunk: Hex
      readonly chunkProof: readonly Hex[]
    }[]
  }
}

export type Receipt = {
  readonly format: typeof RECEIPT_FORMAT
  readonly network: { readonly chainId: number; readonly contracts: Network['contracts'] }
  readonly taskId: string
  readonly submitter: Address
  readonly spec: Readonly<Record<string, string | number>>
  readonly specId: Hex
  /** The graph's file, base64. */
  readonly graph: string
  /** The final state: every slot's name and tensor root, slot order. */
  readonly final: { readonly stateRoot: Hex; readonly slots: readonly { readonly name: string; readonly root: Hex }[] }
  readonly slices: readonly AcceptedSlice[]
  readonly disputes: readonly DecidedDispute[]
  readonly money: {
    readonly escrowedWei: string
    readonly solversWei: string
    readonly verifiersWei: string
    /** A fiftieth of each slice: what forced errors are paid with. */
    readonly poolWei: string
    readonly refundedWei: string
  }
  /** SHA-256 of the files that came with it. */
  readonly files: Readonly<Record<string, Hex>>
}

export type ReceiptParts = {
  readonly taskId: bigint
  readonly spec: Spec
  readonly graph: Graph
  readonly events: readonly ChainEvent[]
  readonly stateRoots: readonly Hex[]
  readonly submitter: Address
  readonly files: Readonly<Record<string, Hex>>
}

const wei = (x: unknown): bigint => x as bigint

/** Makes the receipt of a finished task out of the chain's log; the last move of each dispute is read back from its transaction. */
export async function makeReceipt(bitloom: Bitloom, parts: ReceiptParts): Promise<Receipt> {
  const { taskId, spec, graph, events } = parts
  const named = (name: string): ChainEvent[] => events.filter((e) => e.name === name)
  const claimed = new Map(named('Claimed').map((e) => [String(e.args.claimId), e]))
  const slices: AcceptedSlice[] = []
  for (const e of named('Settled')) {
    const id = String(e.args.claimId)
    const claim = claimed.get(id)!
    slices.push({
      slice: Number(e.args.slice),
      claimId: id,
      solver: e.args.solver as Address,
      claimRoot: claim.args.root as Hex,
      startState: claim.args.startState as Hex,
      endState: claim.args.endState as Hex,
      probeCommit: claim.args.probeCommit as Hex,
      endProof: await readEndProof(bitloom, claim.transactionHash),
      attestedBy: named('Revealed')
        .filter((r) => r.contract === 'Audit' && String(r.args.claimId) === id && Number(r.args.verdict) === SAME)
        .map((r) => r.args.verifier as Address),
      segmentsAudited: named('Disclosed')
        .filter((d) => String(d.args.claimId) === id)
        .reduce((n, d) => n + (d.args.segments as number[]).length, 0),
      solverWei: String(e.args.solverWei),
      verifiersWei: String(e.args.verifiersWei),
      ...decoyOf(events, id),
      transaction: e.transactionHash,
      blockNumber: String(e.blockNumber),
    })
  }
  const disputes: DecidedDispute[] = []
  for (const decided of named('Decided')) disputes.push(await readDispute(bitloom, graph, decided))
  const sum = (list: readonly bigint[]): string => String(list.reduce((a, b) => a + b, 0n))
  return {
    format: RECEIPT_FORMAT,
    network: { chainId: bitloom.network.chainId, contracts: bitloom.network.contracts },
    taskId: String(taskId),
    submitter: parts.submitter,
    spec: Object.fromEntries(Object.entries(spec).map(([k, v]) => [k, typeof v === 'bigint' ? String(v) : v])),
    specId: specId(spec),
    graph: Buffer.from(encodeGraph(graph)).toString('base64'),
    final: {
      stateRoot: toHex(itemsRoot(parts.stateRoots.map(fromHex))),
      slots: parts.stateRoots.map((root, s) => ({ name: graph.slots[s]!.name, root })),
    },
    slices,
    disputes,
    money: {
      escrowedWei: sum(named('Offered').map((e) => wei(e.args.escrowWei))),
      solversWei: sum(named('Settled').map((e) => wei(e.args.solverWei))),
      verifiersWei: sum(named('Settled').map((e) => wei(e.args.verifiersWei))),
      poolWei: sum(
        named('Released')
          .filter((e) => String(e.args.to).toLowerCase() === bitloom.network.contracts.Stake.toLowerCase())
          .map((e) => wei(e.args.amountWei)),
      ),
      refundedWei: sum([...named('Halted'), ...named('Finished')].map((e) => wei(e.args.refundWei))),
    },
    files: parts.files,
  }
}

/** What the log says of a claim that was wrong on purpose. */
function decoyOf(events: readonly ChainEvent[], claimId: string): Pick<AcceptedSlice, 'decoy'> {
  const about = events.filter((e) => e.contract === 'Decoys' && String(e.args.claimId) === claimId)
  const opened = about.find((e) => e.name === 'Opened' && e.args.decoy === true)
  if (!opened) return {}
  const foundBy = about.filter((e) => e.name === 'Caught').map((e) => ({ who: e.args.catcher as Address, wei: String(e.args.rewardWei) }))
  return { decoy: { trueRoot: opened.args.root as Hex, foundBy } }
}

const amountsOf = ({ solverWei, verifiersWei, decoy }: AcceptedSlice): string[] => [
  solverWei,
  verifiersWei,
  ...(decoy === undefined ? [] : decoy.foundBy.map((found) => found.wei)),
]

/** The proof that a claim's transaction carried; the log does not repeat it. */
async function readEndProof(bitloom: Bitloom, hash: Hash): Promise<Hex[]> {
  const { input } = await bitloom.chain.getTransaction({ hash })
  const { args } = decodeFunctionData({ abi: fullAbi('Market'), data: input })
  return args?.at(-1) as Hex[]
}

/** `Verdict.Same` of Types.sol. */
const SAME = 3
/** `Ground.Scalar` of Claims.sol. */
const SCALAR = 1
/** The last of them. */
const CLOCK = 7

async function readDispute(bitloom: Bitloom, graph: Graph, decided: ChainEvent): Promise<DecidedDispute> {
  const { args, transactionHash } = decided
  const quarrel = await readQuarrel(bitloom, args.gameId as bigint)
  const plain = {
    gameId: String(args.gameId),
    claimId: String(quarrel.claimId),
    solver: quarrel.solver,
    challenger: quarrel.challenger,
    convicted: args.convicted as boolean,
    ground: Number(args.ground),
    segment: quarrel.segment,
    step: quarrel.game.step,
    expr: Number(args.expr),
    element: Number(args.element),
    term: Number(args.term),
    claimed: Number(args.claimed),
    computed: Number(args.computed),
    transaction: transactionHash,
  }
  if (plain.ground !== SCALAR) return plain
  const { input } = await bitloom.chain.getTransaction({ hash: transactionHash })
  const call = decodeFunctionData({ abi: fullAbi('Dispute'), data: input })
  const deciding = decidingCall(call.functionName, call.args as readonly unknown[])!
  const { trace, words } = unpackGame(deciding)
  return {
    ...plain,
    scalar: {
      leaf: toHex(deciding.leaf),
      leafProof: proofOf(graphTree(graph), plain.expr).map(toHex),
      // of a fold: the accumulator before the term that was picked
      acc: words[deciding.index] ?? 0,
      trace: toHex(trace),
      operands: deciding.operands as NonNullable<DecidedDispute['scalar']>['operands'],
    },
  }
}

/** One thing that was checked. */
export type Check = { readonly what: string; readonly ok: boolean; readonly detail: string }

/** The weights file's tensors by name, as bytes. */
export type Weights = ReadonlyMap<string, { readonly data: Float32Array | Int32Array | Uint8Array }>

const MAX_SLICES = 2 ** 20
/** Each costs a solver its bond, or a challenger: no task has as many. */
const MAX_DISPUTES = 1024
const isAmount = (x: unknown): boolean => typeof x === 'string' && /^\d{1,78}$/.test(x)

/**
 * Checks a receipt and the weights that came with it, without asking anybody.
 * Never throws for what the receipt says: a wrong receipt is a list of checks that fail.
 */
export function checkReceipt(value: unknown, weights: Weights | undefined, files: Readonly<Record<string, Uint8Array>> = {}): Check[] {
  const checks: Check[] = []
  const check = (what: string, ok: boolean, detail: string): boolean => {
    checks.push({ what, ok, detail })
    return ok
  }
  try {
    const r = value as Receipt
    if (!check('format', r?.format === RECEIPT_FORMAT, `${r?.format ?? 'none'}`)) return checks
    if (
      !Array.isArray(r.slices) ||
      r.slices.length > MAX_SLICES ||
      !Array.isArray(r.disputes) ||
      r.disputes.length > MAX_DISPUTES ||
      !Array.isArray(r.final?.slots)
    ) {
      check('form', false, 'slices, disputes or final slots are missing or too many')
      return checks
    }
    const spec = { ...r.spec, operationsPerStep: BigInt(r.spec.operationsPerStep!) } as unknown as Spec
    check('spec', specId(spec) === r.specId, `its id is ${r.specId}`)
    const verdict = verifyGraph(new Uint8Array(Buffer.from(r.graph, 'base64')))
    if (
      !check(
        'graph',
        verdict.ok && specLie(spec, verdict.graph) === undefined,
        verdict.ok ? (specLie(spec, verdict.graph) ?? `${verdict.graph.exprs.length} exprs, id ${spec.graphId}`) : verdict.reason,
      ) ||
      !verdict.ok
    )
      return checks
    const { graph } = verdict
    const linked = r.slices.every((s, i) => s.slice === i && s.startState === (i === 0 ? spec.initialState : r.slices[i - 1]!.endState))
    check(
      'slices',
      linked && r.slices.length === spec.slices,
      `${r.slices.length} of ${spec.slices}, each starting where the one before ended, from the spec's initial state: ${stepsOf(spec)} steps`,
    )
    const depth = depthOf(spec.checkpointsPerSlice)
    const astray = r.slices.filter(
      (s) =>
        !proves(
          fromHex(s.claimRoot),
          depth,
          spec.checkpointsPerSlice - 1,
          checkpointMoment({ stateRoot: fromHex(s.endState), probeCommit: fromHex(s.probeCommit) }),
          s.endProof.map(fromHex),
        ),
    )
    check(
      'claims',
      astray.length === 0,
      astray.length === 0
        ? `each end state is the last of the ${spec.checkpointsPerSlice} under its claim's root`
        : `not under its claim's root: the end state of slice ${astray[0]!.slice}`,
    )
    const audited = r.slices.filter((s) => s.attestedBy.length > 0).length
    check(
      'audits',
      spec.assurance === 0 || audited === r.slices.length,
      `${audited} of ${r.slices.length} slices attested by verifiers, ${r.slices.reduce((n, s) => n + s.segmentsAudited, 0)} segments re-run`,
    )
    const root = toHex(itemsRoot(r.final.slots.map((s) => fromHex(s.root))))
    check(
      'final state',
      root === r.final.stateRoot && root === r.slices[r.slices.length - 1]?.endState,
      `${root}: the slots' roots hash to the last accepted end state`,
    )
    check(
      'slots',
      r.final.slots.length === spec.stateSlots && r.final.slots.every((s, i) => graph.slots[i]!.name === s.name),
      `${r.final.slots.length} names as in the graph`,
    )
    if (weights) {
      const rootByName = new Map(r.final.slots.map((s) => [s.name, s.root]))
      const wrong = [...weights]
        .filter(([name, { data }]) => rootByName.get(name) !== toHex(tensorRoot(toBytes(data))))
        .map(([name]) => name)
      check(
        'weights',
        weights.size > 0 && wrong.length === 0,
        wrong.length === 0
          ? `${weights.size} tensors hash to the final state's slots`
          : `not those of the final state: ${wrong.slice(0, 5).join(', ')}`,
      )
    }
    for (const [name, bytes] of Object.entries(files))
      check(
        `file ${name}`,
        r.files[name] === `0x${createHash('sha256').update(bytes).digest('hex')}`,
        r.files[name] ?? 'not in the receipt',
      )
    for (const d of r.disputes) checkDispute(d, spec, graph, check)
    const m = r.money
    const amounts = [...Object.values(m), ...r.slices.flatMap(amountsOf)]
    if (!check('amounts', amounts.every(isAmount), `${amounts.length} amounts in wei, none below 0`)) return checks
    const out = BigInt(m.solversWei) + BigInt(m.verifiersWei) + BigInt(m.poolWei) + BigInt(m.refundedWei)
    const paid = r.slices.reduce((n, s) => n + BigInt(s.solverWei) + BigInt(s.verifiersWei), 0n)
    check(
      'money',
      BigInt(m.escrowedWei) === out && paid === BigInt(m.solversWei) + BigInt(m.verifiersWei),
      `escrowed ${m.escrowedWei} wei = paid ${paid} + pool ${m.poolWei} + refunded ${m.refundedWei}`,
    )
  } catch (error) {
    check('readable', false, error instanceof Error ? error.message.slice(0, 300) : String(error))
  }
  return checks
}

function checkDispute(d: DecidedDispute, spec: Spec, graph: Graph, check: (what: string, ok: boolean, detail: string) => boolean): void {
  const what = `dispute ${d.gameId}`
  if (d.ground !== SCALAR) {
    check(
      what,
      Number.isInteger(d.ground) && d.ground > SCALAR && d.ground <= CLOCK && typeof d.convicted === 'boolean' && d.scalar === undefined,
      `${d.convicted ? 'the solver was convicted' : 'the challenger lost'}; ground ${d.ground} has no scalar to compute again`,
    )
    return
  }
  if (!d.scalar) {
    check(what, false, 'the scalar step that decided it is missing')
    return
  }
  const { leaf, leafProof, acc, trace, operands } = d.scalar
  const bytes = fromHex(leaf)
  const tree = graphTree(graph)
  const inGraph = proves(rootOf(tree), tree.levels.length - 1, d.expr, leafHash(bytes), leafProof.map(fromHex))
  const witness: Operand[] = operands.map((o) => ({
    root: fromHex(o.root),
    traceProof: o.traceProof.map(fromHex),
    chunk: fromHex(o.chunk),
    chunkProof: o.chunkProof.map(fromHex),
  }))
  const verdict: { ok: true; word: number } | { ok: false; error: ArbiterErrorName } = judge(
    bytes,
    d.element,
    d.term,
    acc,
    fromHex(trace),
    spec.exprs,
    witness,
  )
  const decoded = decodeLeaf(bytes)
  check(
    what,
    inGraph && verdict.ok && verdict.word === d.computed && d.computed !== d.claimed && d.convicted,
    verdict.ok
      ? `${decoded.op} at element ${d.element}, term ${d.term + 1} of ${terms(decoded)}: claimed 0x${hex(d.claimed)}, computed again 0x${hex(verdict.word)}`
      : `the witness does not hold: ${verdict.error}`,
  )
}

const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')
