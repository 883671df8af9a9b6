// Every limit on what peers may take of this node, by name and in one place; no imports, so that simulations and docs read the same numbers.

// Connections
/** Connections this node keeps looking for, and those it will hold at most. */
export const WANTED_CONNECTIONS = 12
export const MAX_CONNECTIONS = 128
/** From this share of the most on, old inbound connections make room for newcomers, who else would never get in. */
export const ROOM_SHARE = 1 / 2
export const ROOM_FROM = MAX_CONNECTIONS * ROOM_SHARE
/** A connection younger than this is never let go for room: its peer is still learning whom else to ask. Longer, and of ten thousand that come within
 * twenty minutes half would wait before one first peer (bench/scale). */
export const ROOM_AGE_MS = 5_000
/** Sockets of one peer, of one address (an IPv6 /64 counts as one), and of those that have not shown a key yet. */
export const MAX_CONNECTIONS_PER_PEER = 4
export const MAX_CONNECTIONS_PER_ADDRESS = 16
export const MAX_PENDING_PER_ADDRESS = 8
export const MAX_PENDING_CONNECTIONS = 64
/** The same where a whole network lives on one computer. */
export const MAX_CONNECTIONS_PER_LOCAL_ADDRESS = 120
export const MAX_PENDING_PER_LOCAL_ADDRESS = 48
/** New connections a second of one address. */
export const CONNECTIONS_PER_SECOND = 10
export const LOCAL_CONNECTIONS_PER_SECOND = 1000
/** A socket that has not shown a key by then is closed, and so is a stream that has not said what it is for. */
export const HANDSHAKE_TIMEOUT_MS = 5_000
export const DIAL_TIMEOUT_MS = 5_000

// Streams and the memory behind them
/** Streams that a peer may open on one connection, also before the first is negotiated. */
export const MAX_STREAMS = 48
export const MAX_EARLY_STREAMS = 48
/** Bytes that may be under way to us on one stream: what it may make us hold. */
export const MAX_STREAM_WINDOW_BYTES = 2 << 20

// Messages
export const MAX_MESSAGE_BYTES = 1 << 20
/** Questions a second of one peer, and how many may come at once. */
export const QUESTIONS_PER_SECOND = 50
export const QUESTION_BURST = 200
/** Bytes of questions a second of one peer, and how many may come at once. */
export const BYTES_PER_SECOND = 4 << 20
export const BYTES_BURST = 16 << 20
/** Questions being answered at once, for all peers, for one, and for those of one address; and streams of one connection. */
export const MAX_ANSWERING = 128
export const MAX_ANSWERING_PER_PEER = 32
export const MAX_ANSWERING_PER_ADDRESS = 64
export const MAX_STREAMS_PER_CONNECTION = 32
/** Bytes of large questions that are on their way in, of all peers together and of one. */
export const MAX_INCOMING_BYTES = 32 << 20
export const MAX_INCOMING_BYTES_PER_PEER = 8 << 20

// Gossip
/** Largest gossip frame: several offers. */
export const MAX_GOSSIP_BYTES = 256 * 1024
export const GOSSIP_MEMORY_MS = 120_000

// Knowing one another
export const TEND_EVERY_MS = 5_000
export const MAX_ADDRESSES_TOLD = 64
/** Peers that came by and are told to others, a uniform sample of all. */
export const MAX_HEARD = 256
/** With fewer connections than this the network's first peers are tried again; with more they are left to those who have none. */
export const BOOTSTRAP_BELOW = 4
export const MAX_ADDRESS_LENGTH = 256
/** Addresses kept on disk of peers that answered, and addresses that did not answer, remembered for a minute so that they are not dialled again at once. */
export const MAX_BOOK = 256
export const MAX_FAILED = 1024
export const REDIAL_AFTER_MS = 60_000
/** Dials under way at once. */
export const PARALLEL_DIALS = 4

// Standing
/** Faults at which a peer is banned, what is forgiven a second, for how long, and how many peers are remembered. */
export const BAN_AT = 100
export const FORGIVEN_PER_SECOND = 0.1
export const BAN_MS = 10 * 60_000
export const MAX_STANDINGS = 4096
/** An address may hold several peers: its share of their faults makes it banned at this many times BAN_AT. */
export const ADDRESS_PATIENCE = 4

// Serving as a relay for peers behind routers
export const RELAY_RESERVATIONS = 32
export const RELAY_STREAMS = 64
/** One relayed connection is cut off after this long or this much; whoever needs more dials again, and a transfer goes on where it was. */
export const RELAY_CONNECTION_MS = 10 * 60_000
export const RELAY_CONNECTION_BYTES = 256 << 20
