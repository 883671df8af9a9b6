// The quick HTTP client takes exactly the answer it knows, hands everything else to one that knows more, and never mixes up two answers.

import assert from 'node:assert/strict'
import { lookup } from 'node:dns'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { plainClient } from './plainhttp.ts'

const closing: (() => unknown)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
})

/** A server that answers each question as told, byte by byte if need be. */
async function served(answer: (socket: Socket, question: string, connections: number) => void): Promise<number> {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    const own = connections
    socket.on('error', () => undefined)
    socket.on('data', (question) => answer(socket, String(question), own))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => server.close())
  return (server.address() as { port: number }).port
}

const get = async (port: number, signal = new AbortController().signal) => {
  const client = plainClient('127.0.0.1', port, lookup)
  closing.push(() => client.close())
  const ask = async () => {
    const got: number[] = []
    const answer = await client.get({
      path: '/x',
      range: { start: 10, end: 14 },
      onBytes: (piece) => got.push(...piece),
      patience: { stallMs: 300, deadlineMs: 1000 },
      signal,
    })
    return { answer: answer === 'unusual' ? answer : answer.ok ? 'ok' : answer.kind, got: Buffer.from(got).toString() }
  }
  return ask
}
const head = (extra = '', length = 4): string =>
  `HTTP/1.1 206 Partial Content\r\nContent-Length: ${length}\r\nContent-Range: bytes 10-13/100\r\n${extra}\r\n`

test('one connection serves many answers, in whatever pieces they come', async () => {
  const port = await served(async (socket, question, connections) => {
    assert.match(question, /^GET \/x HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\nrange: bytes=10-13\r\n\r\n$/)
    for (const byte of `${head()}abc${connections}`) {
      socket.write(byte)
      await sleep(1)
    }
  })
  const ask = await get(port)
  for (let n = 0; n < 3; n++) assert.deepEqual(await ask(), { answer: 'ok', got: 'abc1' })
})

test('whatever is not that answer is left to a client that knows more, and nothing of it is handed on', async () => {
  for (const text of [
    head().replace('206', '200'),
    head().replace('206 Partial', '302 Found'),
    head('', 5),
    head('Content-Length: 4\r\n'),
    head('Transfer-Encoding: chunked\r\n'),
    head('Content-Encoding: gzip\r\n'),
    head('Connection: close\r\n'),
    head().replace('10-13', '11-14'),
    head().replace('Content-Length:', 'Content-Length :'),
    head('a line\r\n'),
    'rubbish\r\n\r\n',
    'x'.repeat(20_000),
  ]) {
    const ask = await get(await served((socket) => socket.write(`${text}abcd`)))
    assert.deepEqual(await ask(), { answer: 'unusual', got: '' }, text.slice(0, 60))
  }
  const ask = await get(await served((socket) => socket.destroy()))
  assert.deepEqual(await ask(), { answer: 'unusual', got: '' })
})

test('too much, too little, too late and unasked', async () => {
  assert.deepEqual(await (await get(await served((socket) => socket.write(`${head()}abcde`))))(), { answer: 'oversize', got: '' })
  assert.deepEqual(await (await get(await served((socket) => socket.end(`${head()}ab`))))(), { answer: 'truncated', got: 'ab' })
  assert.deepEqual(await (await get(await served((socket) => socket.write(`${head()}ab`))))(), { answer: 'stalled', got: 'ab' })
  const trickle = await served((socket) => {
    socket.write(head())
    const timer = setInterval(() => socket.write(''), 50)
    socket.on('close', () => clearInterval(timer))
  })
  assert.equal((await (await get(trickle))()).answer, 'stalled')
  // What comes after an answer, as if somebody had asked, ends the connection: the next question gets one of its own.
  const port = await served(async (socket, _, connections) => {
    socket.write(`${head()}abc${connections}`)
    await sleep(50)
    socket.write(`${head()}evil`)
  })
  const ask = await get(port)
  assert.deepEqual(await ask(), { answer: 'ok', got: 'abc1' })
  await sleep(200)
  assert.deepEqual(await ask(), { answer: 'ok', got: 'abc2' })
  const aborted = new AbortController()
  const waiting = (await get(await served(() => undefined), aborted.signal))()
  aborted.abort()
  assert.equal((await waiting).answer, 'unreachable')
})
