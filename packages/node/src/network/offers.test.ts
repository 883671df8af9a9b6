// Offers taken back: the key that signed them ends them everywhere, also for whoever joins later, and nobody else can; the table stays bounded.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type MarketId,
  type Offer,
  offerHash,
  offerToJson,
  revocationToJson,
  type SignedRevocation,
  signOffer,
  signRevocation,
  verifyOffer,
  verifyRevocation,
} from '@bitloom/sdk'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { encodeDocument } from '../document.ts'
import { OFFERS_TOPIC, type Offers, startOffers } from './offers.ts'
import { type HeldOffer, MAX_REVOCATIONS_PER_SIGNER, openOfferTable } from './offertable.ts'
import { type Peers, type PeersOptions, startPeers } from './peers.ts'

const closing: (() => unknown)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
})

async function peer(options: PeersOptions = {}): Promise<Peers> {
  const peers = await startPeers({ tendEveryMs: 200, ...options })
  closing.push(() => peers.stop())
  return peers
}

async function until(what: string, seconds: number, probe: () => boolean): Promise<void> {
  for (const end = performance.now() + seconds * 1000; !probe(); await sleep(20))
    if (performance.now() > end) throw new Error(`waited ${seconds} s for ${what}`)
}

const market: MarketId = { chainId: 31337, market: '0x00000000000000000000000000000000000000aa' }
const account = privateKeyToAccount(generatePrivateKey())
const seconds = (): number => Math.floor(Date.now() / 1000)
let salt = 0
const offerOf = (life: number, solver = account.address): Offer => ({
  solver,
  weiPerTeraop: 10n ** 20n,
  memoryBytes: 2n ** 31n,
  operationsPerSecond: 1000n,
  capacity: 1,
  validUntil: BigInt(seconds() + life),
  minAssurance: 0,
  salt: `0x${(++salt).toString(16).padStart(64, '0')}`,
  contact: 'x',
})

function offersOf(peers: Peers, options: Partial<Parameters<typeof startOffers>[0]> = {}): Offers {
  const offers = startOffers({
    peers,
    async verify(message) {
      const verdict = await verifyOffer(message, market, seconds())
      if (!verdict.ok) return verdict
      const { offer } = verdict.signed
      const terms = { signer: offer.solver.toLowerCase(), validUntilMs: Number(offer.validUntil) * 1000, key: offerHash(market, offer) }
      return { ok: true, value: terms }
    },
    async verifyRevocation(message) {
      const verdict = await verifyRevocation(message, market, seconds())
      if (!verdict.ok) return verdict
      const { solver, offer, validUntil } = verdict.signed.revocation
      return { ok: true, value: { signer: solver.toLowerCase(), key: offer, validUntilMs: Number(validUntil) * 1000 } }
    },
    ...options,
  })
  closing.push(() => offers.stop())
  return offers
}
const wire = (revocation: SignedRevocation) => revocationToJson(revocation)

test('an offer taken back leaves every table, does not come back, and is refused by whoever joins later', async () => {
  const hub = await peer()
  const others = await Promise.all(Array.from({ length: 3 }, () => peer({ bootstrap: hub.addresses() })))
  const revoked: string[] = []
  const tables = [hub, ...others].map((one) => offersOf(one, { onRevoked: ({ key }) => revoked.push(key) }))
  await until('connections', 10, () => others.every((one) => one.connected().length >= 2))
  await sleep(1500) // a mesh is grafted at the heartbeat, once a second
  const offer = offerOf(600)
  const kept = offerOf(600)
  const signed = offerToJson(await signOffer(account, market, offer))
  assert.equal((await tables[1]!.publish(signed)).ok, true)
  assert.equal((await tables[1]!.publish(offerToJson(await signOffer(account, market, kept)))).ok, true)
  await until('both offers everywhere', 10, () => tables.every((table) => table.list().length === 2))

  // Nobody else takes it back: a stranger's revocation is about the stranger's offers only.
  const stranger = privateKeyToAccount(generatePrivateKey())
  const theirs = wire(await signRevocation(stranger, market, { ...offer, solver: stranger.address }))
  assert.equal((await tables[2]!.revoke(theirs)).ok, true)
  assert.equal((await tables[2]!.revoke(wire(await signRevocation(stranger, market, offer)))).ok, false)
  await until('the harmless revocation', 10, () => revoked.length >= 3)
  assert.ok(tables.every((table) => table.list().length === 2))

  assert.equal((await tables[1]!.revoke(wire(await signRevocation(account, market, offer)))).ok, true)
  await until('it gone everywhere', 10, () => tables.every((table) => table.list().length === 1))
  const again = await tables[1]!.publish(signed)
  assert.match(again.ok ? '' : again.reason, /taken back/)

  // A late joiner hears of the revocation by asking, so that an old copy of the offer finds no place there.
  const late = await peer()
  const table = offersOf(late)
  await late.connect(hub.addresses()[0]!)
  await until('the late joiner', 10, () => table.list().length === 1)
  await sleep(1500)
  await others[2]!.publish(OFFERS_TOPIC, Buffer.from(encodeDocument(signed)))
  await sleep(500)
  assert.equal(table.list().length, 1)
  assert.equal(
    tables.every((one) => one.list().length === 1),
    true,
  )
})

test('revocations are told again to peers that come later, until the offer would have ended', async () => {
  const a = await peer({ gossipMemoryMs: 300 })
  const b = await peer({ bootstrap: a.addresses(), gossipMemoryMs: 300 })
  const offers = offersOf(a, { republishEveryMs: 600 })
  let told = 0
  closing.push(
    b.join(OFFERS_TOPIC, (_, data) => {
      if (Buffer.from(data).includes('revocation')) told++
      return 'accept'
    }),
  )
  await until('a connection', 10, () => b.connected().length === 1)
  await sleep(1500)
  assert.equal((await offers.revoke(wire(await signRevocation(account, market, offerOf(5))))).ok, true)
  await until('a repetition', 10, () => told >= 2)
  await sleep(5500)
  const before = told
  await sleep(1500)
  assert.equal(told, before)
})

const held = (signer: string, n: number, validUntilMs = 1000, weight = 0): HeldOffer => ({
  id: `${signer}${n}`,
  signer,
  key: `k${n}`,
  validUntilMs,
  weight,
  offer: {},
  signature: '0x00',
})
const revocation = (signer: string, n: number, validUntilMs = 1000) => ({
  id: `r${signer}${n}`,
  signer,
  key: `k${n}`,
  validUntilMs,
  data: new Uint8Array(1),
})

test('revocations are bounded in all and per signer, and those of offers that were here stay', () => {
  const table = openOfferTable({ now: () => 0, maxRevocations: 40 })
  table.insert(held('a', 0))
  assert.equal(table.revoke(revocation('a', 0, 10)), true)
  assert.equal(table.revoke(revocation('a', 0, 10)), false)
  // One signer's, ending later and later: they push out each other, never the one that was of use.
  for (let n = 1; n < 100; n++) table.revoke(revocation('a', n, 1000 + n))
  assert.equal(table.ids().length, MAX_REVOCATIONS_PER_SIGNER)
  assert.equal(table.isRevoked(held('a', 0)), true)
  for (let n = 0; n < 100; n++) table.revoke(revocation(`s${n}`, n, 2000 + n))
  assert.equal(table.ids().length, 40)
  assert.equal(table.isRevoked(held('a', 0)), true)
  assert.equal(table.insert(held('a', 0)), false)
  const late = openOfferTable({ now: () => 1001 })
  late.revoke(revocation('a', 0, 1000))
  late.sweep(() => false)
  assert.deepEqual(late.ids(), [])
})

test('a full table keeps what has a stake behind it, however many keys a stranger makes up', async () => {
  const a = await peer()
  const table = offersOf(a, { maxOffers: 8, weigh: async (signer) => (signer === account.address.toLowerCase() ? 5 : 0) })
  const b = await peer({ bootstrap: a.addresses() })
  closing.push(b.join(OFFERS_TOPIC, () => 'accept'))
  await until('a connection', 10, () => b.connected().length === 1)
  await sleep(1500)
  const send = async (of: typeof account): Promise<unknown> =>
    b.publish(OFFERS_TOPIC, Buffer.from(encodeDocument(offerToJson(await signOffer(of, market, offerOf(600, of.address))))))
  for (let i = 0; i < 30; i++) await send(privateKeyToAccount(generatePrivateKey()))
  await until('a full table', 10, () => table.list().length === 8)
  await send(account)
  await until('the offer with a stake', 10, () => table.list().some(({ signer }) => signer === account.address.toLowerCase()))
  for (let i = 0; i < 30; i++) await send(privateKeyToAccount(generatePrivateKey()))
  await sleep(300)
  assert.equal(table.list().length, 8)
  assert.ok(table.list().some(({ signer }) => signer === account.address.toLowerCase()))
})
