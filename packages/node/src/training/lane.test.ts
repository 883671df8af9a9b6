// A lane runs one piece of work beside its caller and never two; what fails is heard exactly once, by whoever comes next.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openLane } from './lane.ts'

test('work goes on beside the caller, and the next waits until it is done', async () => {
  const lane = openLane()
  const order: string[] = []
  let finish: () => void = () => undefined
  await lane.begin(async () => {
    order.push('first began')
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    order.push('first ended')
  })
  order.push('caller goes on')
  const second = lane.begin(async () => void order.push('second began'))
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(order, ['first began', 'caller goes on'])
  finish()
  await second
  await lane.done()
  assert.deepEqual(order, ['first began', 'caller goes on', 'first ended', 'second began'])
})

test('a failure reaches the next to begin, whose own work does not start, and then is over', async () => {
  const lane = openLane()
  let started = false
  const failing = async (): Promise<void> => {
    throw new Error('no room on the disk')
  }
  await lane.begin(failing)
  await new Promise((resolve) => setImmediate(resolve))
  await assert.rejects(
    lane.begin(async () => void (started = true)),
    /no room/,
  )
  assert.equal(started, false)
  await lane.begin(failing)
  await assert.rejects(lane.done(), /no room/)
  await lane.done()
})
