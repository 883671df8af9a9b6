// Whoever a blob may come from, however it is reached: by HTTP (httpsource.ts) or on a stream between peers (blobstreams.ts).

import type { Root } from './blobs.ts'

/** How a source failed. 'lied' is proof; 'forbidden': its address is one that strangers may not send us to; the others may be accidents. */
export type TroubleKind = 'lied' | 'oversize' | 'truncated' | 'stalled' | 'missing' | 'refused' | 'unreachable' | 'forbidden'

export interface Trouble {
  readonly kind: TroubleKind
  readonly detail: string
}

export type Answer = { readonly ok: true } | ({ readonly ok: false } & Trouble)

/** What of a blob is asked for: bytes [start, end), or the list of its groups' nodes. */
export interface Part {
  readonly root: Root
  /** The blob's length as the asker knows it. */
  readonly bytes: number
  readonly range: { readonly start: number; readonly end: number } | 'groups'
}

export interface Patience {
  /** A source that sends nothing for this long has stalled. */
  readonly stallMs: number
  /** And so has one that needs longer than this for a part. */
  readonly deadlineMs: number
}

export interface Source {
  /** Its URL, or its peer's id. */
  readonly name: string
  /** Asked only while no better one delivers: its bytes may pass through others. */
  readonly last: boolean
  /** Gives `onBytes` the part's bytes in order, never more than it has; what is passed is valid only during the call. */
  read(part: Part, onBytes: (piece: Uint8Array) => void, patience: Patience, signal: AbortSignal): Promise<Answer>
  close(): void
}

/** Bytes of a part. */
export const partBytes = ({ bytes, range }: Part, groups: number): number =>
  range === 'groups' ? 32 * groups : Math.min(bytes, range.end) - range.start
