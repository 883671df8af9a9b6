// TensorBoard's event files: scalars by tag and step, so that a run can be looked at beside any other.
//
// A file is a chain of records (TFRecord): u64 length, masked CRC-32C of the length, the bytes, masked CRC-32C of the bytes; each record an `Event` message
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto, tensorflow/core/lib/io/record_writer.h).

import protobuf from 'protobufjs'

export type Scalar = { readonly tag: string; readonly step: number; readonly value: number }

/** Of all fields of an event the five that scalars need. */
const Event = protobuf.Root.fromJSON({
  nested: {
    Event: {
      fields: {
        wallTime: { id: 1, type: 'double' },
        step: { id: 2, type: 'int64' },
        fileVersion: { id: 3, type: 'string' },
        summary: { id: 5, type: 'Summary' },
      },
    },
    Summary: { fields: { value: { id: 1, type: 'SummaryValue', rule: 'repeated' } } },
    SummaryValue: { fields: { tag: { id: 1, type: 'string' }, simpleValue: { id: 2, type: 'float' } } },
  },
}).lookupType('Event')

/** CRC-32C's polynomial (Castagnoli), reflected. */
const POLYNOMIAL = 0x82f63b78
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  return crc
})

/** CRC-32C of some bytes (RFC 3720, appendix B.4). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const b of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ b) & 0xff]
  return ~crc >>> 0
}

/** A checksum of data that holds checksums itself is rotated and shifted. */
const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0

function record(message: object): Uint8Array {
  const body = Event.encode(Event.fromObject(message)).finish()
  const out = new Uint8Array(body.length + 16)
  const view = new DataView(out.buffer)
  view.setBigUint64(0, BigInt(body.length), true)
  view.setUint32(8, masked(crc32c(out.subarray(0, 8))), true)
  out.set(body, 12)
  view.setUint32(12 + body.length, masked(crc32c(body)), true)
  return out
}

/**
 * An event file of these scalars, in their order. Its times are step numbers counted as seconds: a file says what was computed, not when, and equal runs give
 * equal files. Name it so that it contains `tfevents`.
 */
export function writeEvents(scalars: readonly Scalar[]): Uint8Array {
  const records = [
    record({ wallTime: 0, fileVersion: 'brain.Event:2' }),
    ...scalars.map(({ tag, step, value }) => record({ wallTime: step, step, summary: { value: [{ tag, simpleValue: value }] } })),
  ]
  const out = new Uint8Array(records.reduce((n, r) => n + r.length, 0))
  let at = 0
  for (const r of records) {
    out.set(r, at)
    at += r.length
  }
  return out
}

/**
 * The scalars of an event file.
 * @throws {EventsError} it is cut short or a checksum differs
 */
export function readEvents(bytes: Uint8Array): Scalar[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const out: Scalar[] = []
  for (let at = 0; at < bytes.length; ) {
    if (at + 16 > bytes.length) throw new EventsError(`a record at ${at} is cut short`)
    const length = Number(view.getBigUint64(at, true))
    if (!(at + 16 + length <= bytes.length)) throw new EventsError(`a record of ${length} bytes at ${at} is cut short`)
    const body = bytes.subarray(at + 12, at + 12 + length)
    if (
      view.getUint32(at + 8, true) !== masked(crc32c(bytes.subarray(at, at + 8))) ||
      view.getUint32(at + 12 + length, true) !== masked(crc32c(body))
    )
      throw new EventsError(`the record at ${at} is damaged: its checksum differs`)
    const event = Event.toObject(Event.decode(body), { longs: Number, defaults: true, arrays: true }) as {
      step: number
      summary?: { value: { tag: string; simpleValue: number }[] } | null
    }
    for (const { tag, simpleValue } of event.summary?.value ?? []) out.push({ tag, step: event.step, value: simpleValue })
    at += 16 + length
  }
  return out
}

/** An event file is damaged. */
export class EventsError extends Error {
  override name = 'model.EventsError'
}
