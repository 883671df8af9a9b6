// What a node listens on and tells others, wherever it is; and which of its addresses goes into an offer.

import assert from 'node:assert/strict'
import type { NetworkInterfaceInfo } from 'node:os'
import { test } from 'node:test'
import { bestAddress, placeNode } from './reach.ts'

const face = (address: string, family: 'IPv4' | 'IPv6' = 'IPv4') =>
  ({ address, family, netmask: '', mac: '', internal: address === '127.0.0.1', cidr: null, scopeid: 0 }) as NetworkInterfaceInfo
const ports = { peerPort: 4001, wsPort: 4002 }

test('one computer, a home, a server, a router that forwards', () => {
  const here = placeNode({ host: '127.0.0.1', ...ports })
  assert.deepEqual(here, {
    listen: ['/ip4/127.0.0.1/tcp/4001', '/ip4/127.0.0.1/tcp/4002/ws'],
    announce: [],
    host: '127.0.0.1',
    home: false,
  })
  assert.equal(placeNode({ host: '192.168.1.5', ...ports }).home, true)
  const interfaces = { lo: [face('127.0.0.1')], eth0: [face('fe80::1', 'IPv6'), face('10.0.0.7')], eth1: [face('8.8.4.4')] }
  const server = placeNode({ host: '0.0.0.0', ...ports, interfaces })
  assert.deepEqual([server.host, server.home, server.announce], ['8.8.4.4', false, []])
  assert.deepEqual(server.listen, ['/ip4/0.0.0.0/tcp/4001', '/ip4/0.0.0.0/tcp/4002/ws'])
  assert.equal(placeNode({ host: '0.0.0.0', ...ports, interfaces: { eth0: [face('10.0.0.7')] } }).host, '10.0.0.7')
  assert.equal(placeNode({ host: '0.0.0.0', ...ports, interfaces: {} }).host, '127.0.0.1')
  const forwarded = placeNode({ host: '0.0.0.0', announce: '9.9.9.9', ...ports })
  assert.deepEqual([forwarded.host, forwarded.announce], ['9.9.9.9', ['/ip4/9.9.9.9/tcp/4001', '/ip4/9.9.9.9/tcp/4002/ws']])
  assert.equal(placeNode({ host: '0.0.0.0', announce: 'node.example.org', ...ports }).announce[0], '/dns4/node.example.org/tcp/4001')
  assert.equal(placeNode({ host: '::', announce: 'fd00::2', ...ports }).announce[0], '/ip6/fd00::2/tcp/4001')
})

test('an offer tells the address that reaches furthest, direct before relayed, TCP before WebSocket', () => {
  const relayed = '/ip4/8.8.8.8/tcp/1/p2p/R/p2p-circuit/p2p/X'
  const all = [
    relayed,
    '/ip4/127.0.0.1/tcp/1/p2p/X',
    '/ip4/8.8.4.4/tcp/2/ws/p2p/X',
    '/ip4/10.0.0.1/tcp/1/p2p/X',
    '/ip4/8.8.4.4/tcp/1/p2p/X',
  ]
  assert.equal(bestAddress(all), '/ip4/8.8.4.4/tcp/1/p2p/X')
  assert.equal(bestAddress(all.slice(0, 2)), '/ip4/127.0.0.1/tcp/1/p2p/X')
  assert.equal(bestAddress([relayed]), relayed)
  assert.equal(bestAddress([]), undefined)
})
