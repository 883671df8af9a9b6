// Where a node answers: a libp2p address for messages and an HTTP address for blobs (or the libp2p one again, where nobody can connect to it), in one line of
// text that travels in its offer.

export type Contact = { readonly peer: string; readonly http: string }

export const formatContact = ({ peer, http }: Contact): string => `${peer} ${http}`

/** Reads a stranger's contact; undefined where it is none. */
export function parseContact(text: string): Contact | undefined {
  const parts = text.split(' ')
  const [peer, http] = parts
  if (parts.length !== 2 || !peer?.startsWith('/') || !/^(https?:\/\/|\/)[^\s]+$/.test(http ?? '')) return undefined
  return { peer, http: http! }
}
