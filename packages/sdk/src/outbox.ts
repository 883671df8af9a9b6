// Sending, so that no action is ever paid for twice: one transaction at a time, written down with its signature before it leaves, looked for by its hash afterwards, whatever was lost in between.

import { concatHex, type Hex, keccak256, type LocalAccount, type TransactionReceipt } from 'viem'
import { rpcErrorIn } from './endpoints.ts'

/** A transaction that was decided on and is in no block that we know of. */
export type Intent = {
  /** Hash of contract and call data: the same action again is the same intent. */
  readonly key: Hex
  readonly what: string
  readonly nonce: number
  readonly to: Hex
  readonly data: Hex
  readonly gas: bigint
  readonly fees: Fees
  /** Every signed form of it, oldest first: one nonce, so at most one of them can ever be in a block. */
  readonly raws: readonly Hex[]
  /** The last form was turned down by a server: it is signed anew where the action is asked for again. */
  readonly rejected?: boolean
}

/** Wei of the chain's own coin for a unit of gas; without `tip` the chain knows no other fee than a price. */
export type Fees = { readonly most: bigint; readonly tip?: bigint }

/** Where the one intent under way is kept: on disk for whoever may be killed. */
export type Journal = { readonly load: () => Intent | undefined; readonly save: (intent: Intent | undefined) => void }

/** What the outbox needs of the chain. */
export type Post = {
  readonly account: LocalAccount
  readonly chainId: number
  /** @throws the endpoint's error · {RpcDownError} */
  readonly broadcast: (raw: Hex) => Promise<void>
  /** The receipt of whichever of these is in a block, asked of the endpoint in use, or of all. */
  readonly receiptOf: (hashes: readonly Hex[], everywhere: boolean) => Promise<TransactionReceipt | undefined>
  readonly nonces: () => Promise<{ readonly mined: number; readonly next: number }>
  readonly fees: () => Promise<Fees>
  /** Gas that the call takes now. @throws where it would be refused */
  readonly estimate: (to: Hex, data: Hex) => Promise<bigint>
}

export type OutboxOptions = {
  /** A transaction in no block for this long is offered again with a higher fee, ms. */
  readonly stuckMs?: number
  /** After this long its sender is told that it is pending; asking for the same action again goes on with it, ms. */
  readonly giveUpMs?: number
}

export type Outbox = {
  readonly send: (to: Hex, data: Hex, what: string) => Promise<TransactionReceipt>
  /** Finds out what became of an intent of a former life: forgets it where it is done, offers it again where nobody has it. */
  readonly resume: () => Promise<'none' | 'done' | 'pending'>
}

const STUCK_MS = 36_000 // three blocks of Ethereum
const GIVE_UP_MS = 60_000
/** A higher fee is at least this much higher, in eighths: what nodes ask of a replacement. */
const BUMP_EIGHTHS = 9n
/** Forms of one transaction at most: fees have doubled by then, and have doubled again. */
const MAX_FORMS = 12
const [FIRST_LOOK_MS, LONGEST_LOOK_MS] = [25, 500]
/** Every so many looks all endpoints are asked. */
const ALL_EVERY = 4
/** Nonces that somebody else took while we signed. */
const MAX_RACES = 5
/** How long a nonce that counts as used may be without a receipt of ours: an endpoint's index lags its state. */
const INDEX_LAG_MS = 3_000

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const hashesOf = (intent: Intent): Hex[] => intent.raws.map((raw) => keccak256(raw)).reverse()
/** The key of an action: what it does, and not when or at which price. */
export const keyOf = (to: Hex, data: Hex): Hex => keccak256(concatHex([to, data]))

/** A journal in memory, for whoever has nothing to lose by a kill. */
export function memoryJournal(): Journal {
  let kept: Intent | undefined
  return {
    load: () => kept,
    save: (intent) => {
      kept = intent
    },
  }
}

/** Opens an outbox; the caller sends one at a time. */
export function openOutbox(post: Post, journal: Journal, options: OutboxOptions = {}): Outbox {
  const { stuckMs = STUCK_MS, giveUpMs = GIVE_UP_MS } = options

  const sign = async (draft: Omit<Intent, 'raws'>, former: readonly Hex[]): Promise<Intent> => {
    const { account, chainId } = post
    const { nonce, to, data, gas, fees } = draft
    const raw = await account.signTransaction(
      fees.tip === undefined
        ? { type: 'legacy', chainId, nonce, to, data, gas, gasPrice: fees.most }
        : { type: 'eip1559', chainId, nonce, to, data, gas, maxFeePerGas: fees.most, maxPriorityFeePerGas: fees.tip },
    )
    const intent: Intent = { ...draft, raws: [...former, raw] }
    journal.save(intent)
    return intent
  }
  /** Fees of today, and above those of the form before. */
  const above = async (former?: Fees): Promise<Fees> => {
    const now = await post.fees()
    const more = (wei: bigint): bigint => (wei * BUMP_EIGHTHS) / 8n + 1n
    const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b)
    if (!former) return now
    return {
      most: larger(now.most, more(former.most)),
      ...(now.tip === undefined ? {} : { tip: larger(now.tip, more(former.tip ?? 0n)) }),
    }
  }
  const done = (receipt: TransactionReceipt): TransactionReceipt => {
    journal.save(undefined)
    return receipt
  }

  /** What became of an intent. `void`: somebody else's transaction has used up its nonce, or a chain that went back has not come to it. */
  const fateOf = async (intent: Intent): Promise<TransactionReceipt | 'pending' | 'void'> => {
    for (const end = performance.now() + INDEX_LAG_MS; ; await pause(LONGEST_LOOK_MS)) {
      const receipt = await post.receiptOf(hashesOf(intent), true)
      if (receipt) return receipt
      const { mined, next } = await post.nonces()
      if (mined <= intent.nonce && next >= intent.nonce) return 'pending'
      if (performance.now() > end) return 'void'
    }
  }

  /** Sends a form that is written down already, until one of its forms is in a block. @returns undefined where the nonce went to somebody else */
  const push = async (first: Intent): Promise<TransactionReceipt | undefined> => {
    let intent = first
    const began = performance.now()
    let castAt = Number.NEGATIVE_INFINITY
    let castEvery = 3_000
    let raised = began
    for (let look = 0; ; look++) {
      if (performance.now() - castAt > castEvery) {
        castEvery = castAt === Number.NEGATIVE_INFINITY ? castEvery : castEvery * 2
        castAt = performance.now()
        const answer = await cast(intent)
        if (answer === 'used') {
          const fate = await fateOf(intent)
          if (fate === 'void') return undefined
          if (fate !== 'pending') return done(fate)
        }
        if (answer === 'underpriced') raised = Number.NEGATIVE_INFINITY
      }
      const receipt = await post.receiptOf(hashesOf(intent), look % ALL_EVERY === ALL_EVERY - 1)
      if (receipt) return done(receipt)
      const now = performance.now()
      if (now - began > giveUpMs) throw new PendingError(intent, giveUpMs)
      if (now - raised > stuckMs && intent.raws.length < MAX_FORMS) {
        const { raws, rejected: _, ...draft } = intent
        intent = await sign({ ...draft, fees: await above(intent.fees) }, raws)
        raised = now
        castAt = Number.NEGATIVE_INFINITY
      }
      await pause(Math.min(LONGEST_LOOK_MS, FIRST_LOOK_MS * 2 ** Math.min(look, 6)))
    }
  }

  /** One broadcast, and what the endpoints made of it. @throws what neither we nor time can mend */
  const cast = async (intent: Intent): Promise<'taken' | 'unsure' | 'used' | 'underpriced'> => {
    try {
      await post.broadcast(intent.raws[intent.raws.length - 1]!)
      return 'taken'
    } catch (error) {
      const said = rpcErrorIn(error)?.message
      // an answer that was lost says nothing of the transaction: it is looked for, and offered again
      if (said === undefined) return 'unsure'
      if (/already (known|imported)|known transaction|already exists/i.test(said)) return 'taken'
      if (/nonce.*(too low|already used)|old nonce|nonce has already/i.test(said)) return 'used'
      if (/underpriced|fee too low|less than block base fee/i.test(said)) return 'underpriced'
      journal.save({ ...intent, rejected: true })
      if (/insufficient funds|insufficient balance/i.test(said)) throw new NoGasError(post.account.address, intent)
      throw error
    }
  }

  return {
    send: async (to, data, what) => {
      const key = keyOf(to, data)
      for (let race = 0; race < MAX_RACES; race++) {
        const former = journal.load()
        const fate = former ? await fateOf(former) : undefined
        if (former && typeof fate === 'object') {
          done(fate)
          // the same action was asked for again because nobody could say what had become of it: this is what
          if (former.key === key) return fate
        } else if (fate === 'void') journal.save(undefined)
        const open = fate === 'pending' ? former : undefined
        let gas: bigint
        try {
          gas = await post.estimate(to, data)
        } catch (error) {
          // refused because it has just been done, by the transaction that nobody could find a moment ago?
          const late = open?.key === key ? await post.receiptOf(hashesOf(open), true) : undefined
          if (late) return done(late)
          throw error
        }
        // a third more than estimated: the state may move between the estimate and the block
        const limit = (gas * 4n) / 3n
        let intent: Intent
        if (open?.key === key && !open.rejected) intent = open
        else {
          // another action is under way and in no block: this one takes its nonce over, so that only one of the two is ever paid for
          const { next } = await post.nonces()
          const nonce = open === undefined ? next : open.nonce
          const former = open?.key === key ? open.raws : []
          intent = await sign({ key, what, nonce, to, data, gas: limit, fees: await above(open?.fees) }, former)
        }
        const receipt = await push(intent)
        if (receipt) return receipt
        journal.save(undefined)
      }
      throw new NonceRaceError(what, post.account.address)
    },
    resume: async () => {
      const former = journal.load()
      if (!former) return 'none'
      const fate = await fateOf(former)
      if (fate !== 'pending') {
        journal.save(undefined)
        return 'done'
      }
      return 'pending'
    },
  }
}

/** Sent, and in no block yet; nothing is lost. */
export class PendingError extends Error {
  override name = 'sdk.PendingError'
  constructor({ what, nonce, raws }: Intent, ms: number) {
    super(
      `${what}: transaction ${nonce} of this key is in no block after ${Math.round(ms / 1000)} s (${raws.length} forms, the last ${keccak256(raws.at(-1)!)}).\nNothing is lost: the same again goes on with it, and it is paid for once.`,
    )
  }
}

/** The key's address has too little of the chain's own coin to pay for a transaction. */
export class NoGasError extends Error {
  override name = 'sdk.NoGasError'
  constructor(address: string, { what, gas, fees }: Intent) {
    super(
      `${what}: ${address} has too little ether for gas (${gas} units at up to ${fees.most} wei).\nSend ether to it; on a development chain: bitloom wallet fund`,
    )
  }
}

/** Another program sends with the same key at the same time. */
export class NonceRaceError extends Error {
  override name = 'sdk.NonceRaceError'
  constructor(what: string, address: string) {
    super(`${what}: another program sends transactions of ${address} at the same time.\nGive each program a key of its own.`)
  }
}
