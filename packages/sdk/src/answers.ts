// What an RPC endpoint may answer: each method's result is looked at before anybody builds on it, so that garbage is a failed endpoint and not a crash.

const HEX = /^0x[0-9a-fA-F]*$/
const QUANTITY = /^0x[0-9a-fA-F]{1,64}$/
const HASH = /^0x[0-9a-fA-F]{64}$/

type Fields = Readonly<Record<string, unknown>>
const isObject = (x: unknown): x is Fields => typeof x === 'object' && x !== null && !Array.isArray(x)
const isHex = (x: unknown): boolean => typeof x === 'string' && HEX.test(x)
const isQuantity = (x: unknown): x is string => typeof x === 'string' && QUANTITY.test(x)
const isHash = (x: unknown): boolean => typeof x === 'string' && HASH.test(x)
const lower = (x: unknown): string => String(x).toLowerCase()

/** What is wrong with a block; `asked` is a number in hex or a tag. */
function blockFault(block: unknown, asked: unknown): string | undefined {
  if (block === null) return undefined
  if (!isObject(block) || !isHash(block.hash) || !isQuantity(block.number) || !isQuantity(block.timestamp))
    return 'a block without its fields'
  if (isQuantity(asked) && BigInt(asked) !== BigInt(block.number)) return `block ${BigInt(block.number)} instead of ${BigInt(asked)}`
  return undefined
}

function receiptFault(receipt: unknown, hash: unknown): string | undefined {
  if (receipt === null) return undefined
  if (!isObject(receipt) || !isQuantity(receipt.blockNumber) || !isQuantity(receipt.status) || !Array.isArray(receipt.logs))
    return 'a receipt without its fields'
  return lower(receipt.transactionHash) === lower(hash) ? undefined : 'the receipt of another transaction'
}

function logsFault(logs: unknown, filter: unknown): string | undefined {
  if (!Array.isArray(logs)) return 'no list of logs'
  const { fromBlock, toBlock, address } = (isObject(filter) ? filter : {}) as Fields
  const from = isQuantity(fromBlock) ? BigInt(fromBlock) : 0n
  const to = isQuantity(toBlock) ? BigInt(toBlock) : undefined
  const asked = new Set((Array.isArray(address) ? address : address === undefined ? [] : [address]).map(lower))
  for (const log of logs) {
    if (!isObject(log) || !isHash(log.transactionHash) || !isQuantity(log.blockNumber) || !isQuantity(log.logIndex) || !isHex(log.data))
      return 'a log without its fields'
    if (!Array.isArray(log.topics) || log.topics.length > 4 || !log.topics.every(isHash)) return 'a log with other topics than hashes'
    const block = BigInt(log.blockNumber)
    if (block < from || (to !== undefined && block > to)) return `a log of block ${block}, which was not asked for`
    if (asked.size > 0 && !asked.has(lower(log.address))) return `a log of ${lower(log.address).slice(0, 42)}, which was not asked for`
  }
  return undefined
}

/**
 * What is wrong with an endpoint's result, as far as it can be seen without another's word.
 * @param params those of the request · @returns a few words; undefined where it may be true
 */
export function answerFault(method: string, params: unknown, result: unknown): string | undefined {
  const [first] = Array.isArray(params) ? params : []
  switch (method) {
    case 'eth_chainId':
    case 'eth_blockNumber':
    case 'eth_gasPrice':
    case 'eth_maxPriorityFeePerGas':
    case 'eth_getTransactionCount':
    case 'eth_getBalance':
    case 'eth_estimateGas':
      return isQuantity(result) ? undefined : 'no number'
    case 'eth_call':
    case 'eth_getCode':
      return isHex(result) ? undefined : 'no bytes'
    case 'eth_sendRawTransaction':
      return isHash(result) ? undefined : 'no transaction hash'
    case 'eth_getBlockByNumber':
      return blockFault(result, first)
    case 'eth_getBlockByHash':
      return blockFault(result, undefined)
    case 'eth_getTransactionReceipt':
      return receiptFault(result, first)
    case 'eth_getLogs':
      return logsFault(result, first)
    default:
      return result === undefined ? 'no result' : undefined
  }
}
