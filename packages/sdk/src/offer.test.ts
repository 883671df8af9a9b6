// Offers as they travel: what a provider signed is read back, and nothing else is.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import {
  MAX_CONTACT,
  type MarketId,
  type Offer,
  offerHash,
  offerToJson,
  rankOffers,
  revocationToJson,
  type SignedOffer,
  signOffer,
  signRevocation,
  verifyOffer,
  verifyRevocation,
} from './offer.ts'

const account = privateKeyToAccount(generatePrivateKey())
const market: MarketId = { chainId: 31337, market: '0x00000000000000000000000000000000000000aa' }
const NOW = 1_800_000_000
const offer: Offer = {
  solver: account.address,
  weiPerTeraop: 10n ** 20n,
  memoryBytes: 2n ** 31n,
  operationsPerSecond: 12_345n,
  capacity: 3,
  validUntil: BigInt(NOW + 60),
  minAssurance: 1,
  salt: `0x${'5a'.repeat(32)}`,
  contact: '/ip4/127.0.0.1/tcp/4001/p2p/x http://127.0.0.1:8080',
}
const signed = await signOffer(account, market, offer)
type Json = { offer: Record<string, unknown>; signature: unknown }
const json = (): Json => JSON.parse(JSON.stringify(offerToJson(signed))) as Json

test('what was signed is read back, field by field', async () => {
  assert.deepEqual(await verifyOffer(json(), market, NOW), { ok: true, signed })
})

test('any field changed, another market, another chain: another signer', async () => {
  const changes: Partial<Record<keyof Offer, string>> = {
    solver: '0x00000000000000000000000000000000000000bb',
    weiPerTeraop: '1',
    memoryBytes: '1',
    operationsPerSecond: '1',
    capacity: '1000',
    validUntil: String(NOW + 61),
    minAssurance: '0',
    salt: `0x${'5b'.repeat(32)}`,
    contact: 'elsewhere',
  }
  assert.deepEqual(Object.keys(changes).sort(), Object.keys(offer).sort())
  for (const [field, value] of Object.entries(changes)) {
    const message = json()
    message.offer[field] = value
    const verdict = await verifyOffer(message, market, NOW)
    assert.ok(!verdict.ok && /^signed by 0x/.test(verdict.reason), `${field}: ${JSON.stringify(verdict, (_, v) => String(v))}`)
  }
  for (const other of [
    { ...market, chainId: 1 },
    { ...market, market: account.address },
  ])
    assert.equal((await verifyOffer(json(), other, NOW)).ok, false)
})

test('an offer ends at its second', async () => {
  assert.equal((await verifyOffer(json(), market, NOW + 59)).ok, true)
  assert.deepEqual(await verifyOffer(json(), market, NOW + 60), { ok: false, reason: 'the offer has expired' })
})

test('what is no offer is refused with a reason, and nothing throws', async () => {
  const broken: [string, (m: Json) => unknown][] = [
    ['null', () => null],
    ['a number', () => 7],
    ['an empty object', () => ({})],
    ['a list', () => []],
    ['no signature', (m) => ({ offer: m.offer })],
    ['a short signature', (m) => ({ ...m, signature: '0x00' })],
    ['a signature of zeros', (m) => ({ ...m, signature: `0x${'00'.repeat(65)}` })],
    ['a signature that is no text', (m) => ({ ...m, signature: 5 })],
    ...(Object.keys(offer).map((f) => [`no ${f}`, (m: Json) => ({ ...m, offer: { ...m.offer, [f]: undefined } })]) as [
      string,
      (m: Json) => unknown,
    ][]),
    ...(['-1', '1.5', '0x10', '', ' 1', '1e3', '9'.repeat(79), 5, null, {}, ['1']].map((value) => [
      `weiPerTeraop ${String(value)}`,
      (m: Json) => ({ ...m, offer: { ...m.offer, weiPerTeraop: value } }),
    ]) as [string, (m: Json) => unknown][]),
    ['a price beyond 128 bits', (m) => ({ ...m, offer: { ...m.offer, weiPerTeraop: String(2n ** 128n) } })],
    ['a capacity beyond 32 bits', (m) => ({ ...m, offer: { ...m.offer, capacity: String(2 ** 32) } })],
    ['an assurance beyond a byte', (m) => ({ ...m, offer: { ...m.offer, minAssurance: '256' } })],
    ['a contact too long', (m) => ({ ...m, offer: { ...m.offer, contact: 'x'.repeat(MAX_CONTACT + 1) } })],
    ['a contact with a line break', (m) => ({ ...m, offer: { ...m.offer, contact: 'a\nb' } })],
    ['a contact with other letters', (m) => ({ ...m, offer: { ...m.offer, contact: 'ü' } })],
    ['an offer that is a trap', () => ({ offer: new Proxy({}, { get: () => assert.fail.bind(null, 'called') }), signature: '0x' })],
  ]
  for (const [what, make] of broken) {
    const verdict = await verifyOffer(make(json()), market, NOW)
    assert.ok(!verdict.ok && verdict.reason.length > 0 && verdict.reason.length <= 300, what)
  }
})

test('the cheapest that can do it comes first, and the faster of two at one price', () => {
  const make = (name: string, over: Partial<Offer>): SignedOffer => ({ offer: { ...offer, contact: name, ...over }, signature: '0x' })
  const all = [
    make('dear', { weiPerTeraop: 30n }),
    make('slow', { weiPerTeraop: 20n, operationsPerSecond: 1n }),
    make('fast', { weiPerTeraop: 20n, operationsPerSecond: 9n }),
    make('small', { weiPerTeraop: 1n, memoryBytes: 99n }),
    make('proud', { weiPerTeraop: 1n, minAssurance: 2 }),
    make('full', { weiPerTeraop: 1n, capacity: 0 }),
    make('mine', { weiPerTeraop: 1n, solver: '0x00000000000000000000000000000000000000CC' }),
  ]
  const ranked = rankOffers(all, { memoryBytes: 100, assurance: 1, exclude: ['0x00000000000000000000000000000000000000cc'] })
  assert.deepEqual(
    ranked.map((o) => o.offer.contact),
    ['fast', 'slow', 'dear'],
  )
})

test('an offer is taken back by its own key only, on its own market, until its own end', async () => {
  const taken = await signRevocation(account, market, offer)
  const wire = () => JSON.parse(JSON.stringify(revocationToJson(taken))) as { revocation: Record<string, unknown>; signature: unknown }
  assert.deepEqual(await verifyRevocation(wire(), market, NOW), { ok: true, signed: taken })
  assert.equal(taken.revocation.offer, offerHash(market, offer))
  const stranger = privateKeyToAccount(generatePrivateKey())
  const forged = revocationToJson(await signRevocation(stranger, market, offer)) // says our address, signed by another key
  for (const [bad, id] of [
    [forged, market],
    [wire(), { ...market, chainId: 1 }],
    [{ ...wire(), revocation: { ...wire().revocation, offer: `0x${'1'.repeat(64)}` } }, market],
    [{ ...wire(), revocation: { ...wire().revocation, validUntil: String(NOW + 61) } }, market],
    [{ ...wire(), revocation: { ...wire().revocation, validUntil: '9'.repeat(30) } }, market],
    [{ ...wire(), revocation: null }, market],
    [{ ...wire(), signature: '0x12' }, market],
    [null, market],
  ] as const)
    assert.equal((await verifyRevocation(bad, id, NOW)).ok, false)
  assert.equal((await verifyRevocation(wire(), market, NOW + 60)).ok, false)
})
