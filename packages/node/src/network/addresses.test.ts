// Which of the addresses that strangers tell a node goes to: never its owner's own doors, whatever they are written like.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressGroup, mayReach, type Reach, reachOf, readAddress, scopeOf } from './addresses.ts'

const ID = '12D3KooWPMesAMGnhprveMQFc4bs7bexcAJBRAnthZmDMUAd5rXb'

test('addresses reach as far as the registries say', () => {
  const reaches: Record<Reach, readonly string[]> = {
    loopback: ['127.0.0.1', '127.255.0.9', '::1', '::ffff:7f00:1', '::ffff:127.0.0.1', '::FFFF:127.0.0.1'],
    private: ['10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1', 'fd00::2', '192.0.2.2', '::ffff:10.0.0.1'],
    public: ['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8'],
    nowhere: [
      '0.0.0.0',
      '169.254.169.254',
      '224.0.0.1',
      '255.255.255.255',
      '::',
      'fe80::1',
      'fe80::1%eth0',
      'ff02::1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
      '::7f00:1',
      '127.1',
      '0x7f.0.0.1',
      '2130706433',
      'localhost',
      '',
    ],
  }
  for (const [reach, ips] of Object.entries(reaches)) for (const ip of ips) assert.equal(reachOf(ip), reach, ip)
})

test('a public node goes to public addresses only, one at home nowhere on its own computer, and nobody to other people’s services', () => {
  const table = [
    ['127.0.0.1', 4001, [true, false, false]],
    ['192.168.1.5', 4001, [true, true, false]],
    ['8.8.8.8', 4001, [true, true, true]],
    ['169.254.169.254', 80, [false, false, false]],
    ['8.8.8.8', 443, [true, true, true]],
    ['8.8.8.8', 25, [false, false, false]],
    ['127.0.0.1', 22, [false, false, false]],
    ['8.8.8.8', 0, [false, false, false]],
    ['8.8.8.8', 65536, [false, false, false]],
  ] as const
  for (const [ip, port, expected] of table)
    assert.deepEqual(
      (['loopback', 'private', 'public'] as const).map((scope) => mayReach(ip, port, scope)),
      expected,
      `${ip}:${port}`,
    )
})

test('the scope is that of the network one begins with, else one’s own', () => {
  const at = (ip: string): string => `/ip4/${ip}/tcp/4001/p2p/${ID}`
  assert.equal(scopeOf(['/ip4/127.0.0.1/tcp/0'], []), 'loopback')
  assert.equal(scopeOf(['/ip4/127.0.0.1/tcp/0'], [at('127.0.0.1')]), 'loopback')
  assert.equal(scopeOf(['/ip4/127.0.0.1/tcp/0'], [at('8.8.8.8')]), 'public')
  assert.equal(scopeOf(['/ip4/192.168.0.2/tcp/0'], []), 'private')
  assert.equal(scopeOf(['/ip4/0.0.0.0/tcp/0'], []), 'public')
  assert.equal(scopeOf(['/ip4/0.0.0.0/tcp/0'], [at('10.0.0.1'), at('8.8.8.8')]), 'private')
  assert.equal(scopeOf(['/ip4/192.168.0.2/tcp/0'], [`/dns4/first.example/tcp/4001/p2p/${ID}`]), 'public')
  assert.equal(scopeOf([], []), 'public')
})

test('multiaddrs of our transports are read, and nothing else is', () => {
  assert.deepEqual(readAddress(`/ip4/1.2.3.4/tcp/5/p2p/${ID}`), { host: '1.2.3.4', name: false, port: 5, peer: ID, relay: undefined })
  assert.deepEqual(readAddress(`/ip6/fd00::2/tcp/5/ws/p2p/${ID}`), { host: 'fd00::2', name: false, port: 5, peer: ID, relay: undefined })
  assert.deepEqual(readAddress('/dns4/a.example/tcp/443/tls/ws'), {
    host: 'a.example',
    name: true,
    port: 443,
    peer: undefined,
    relay: undefined,
  })
  assert.equal(readAddress(`/ip4/1.2.3.4/tcp/5/p2p/${ID}/p2p-circuit/p2p/${ID}`)?.relay, ID)
  for (const bad of [
    '',
    '/ip4/1.2.3/tcp/5',
    '/ip6/1.2.3.4/tcp/5',
    '/ip4/1.2.3.4/udp/5',
    '/ip4/1.2.3.4/tcp/123456',
    '/unix/tmp%2fx',
    '/dns4/a b/tcp/1',
    `/ip4/1.2.3.4/tcp/5/p2p-circuit/p2p/${ID}`,
    `/ip4/1.2.3.4/tcp/5/p2p/${ID}/http`,
    `/ip4/1.2.3.4/tcp/5/p2p/${'x'.repeat(300)}`,
  ])
    assert.equal(readAddress(bad), undefined, bad)
})

test('one customer’s IPv6 addresses count as one', () => {
  assert.equal(addressGroup('2001:db8:1:2:3::9'), addressGroup('2001:db8:1:2:ffff:1:2:3'))
  assert.notEqual(addressGroup('2001:db8:1:2::1'), addressGroup('2001:db8:1:3::1'))
  assert.equal(addressGroup('::ffff:1.2.3.4'), '1.2.3.4')
})
