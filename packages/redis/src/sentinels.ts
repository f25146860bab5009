import type net from 'node:net'
import { systemClock } from '@thermocline/backend'
import { AbstractConnector, type Redis, type RedisOptions } from 'ioredis'
import { followReplies, openSocket, type Endpoint, type Wire } from './connector.js'
import type { Address } from './failovers.js'

/** How long a sentinel, or a node that is asked for the slots, may take before another one is asked. */
export const ANSWER_TIMEOUT_MS = 1000
/** More are not remembered, whatever the sentinels say of each other. */
const MOST_SENTINELS = 100

/** The master of a connection to a group. */
export class KnownMaster {
  /** Where the connection was sent last. */
  current: Address | undefined
  #told: Address | undefined

  is({ host, port }: Address): boolean {
    return this.current?.host === host && this.current.port === port
  }

  /** The next attempt to connect goes there, and asks nobody: other sentinels may not have heard of it yet. */
  tell(master: Address): void {
    this.#told = master
  }

  take(): Address | undefined {
    const told = this.#told
    this.#told = undefined
    return told
  }
}

export interface SentinelGroup {
  readonly name: string
  readonly sentinels: readonly Address[]
  /** A client of a sentinel, which connects at once. */
  readonly clientOf: (sentinel: Address) => Redis
}

/**
 * A client's way to the master of a group: asks one sentinel after the other. The client's own connector makes sockets of its own, whose replies nobody
 * checks, and leaves a timer of two seconds behind each time a sentinel does not answer (ioredis 6.0.0), so that the process would never exit.
 */
export function connectorOfSentinels(group: SentinelGroup, known: KnownMaster, to: Pick<Endpoint, 'maxPayloadBytes' | 'tls'>, wire: Wire): NonNullable<RedisOptions['Connector']> {
  const sentinels = [...group.sentinels]
  return class SentinelsConnector extends AbstractConnector {
    #first = 0

    constructor(options: unknown) {
      super((options as RedisOptions).disconnectTimeout ?? 0)
    }

    /** Whether it is the master that was found, as it says itself. */
    override check(info: { readonly role?: string }): boolean {
      const isMaster = info.role === undefined || info.role === 'master'
      if (!isMaster) this.#first++ // this sentinel has not heard yet
      return isMaster
    }

    override async connect(): Promise<net.Socket> {
      this.connecting = true
      await Promise.resolve() // whoever has called may leave in this turn
      const master = known.take() ?? (await this.#find())
      if (!this.connecting) throw new Error('Connection is closed.')
      known.current = master
      const socket = openSocket({ ...to, ...master }, wire)
      this.stream = socket
      socket.once('error', (error) => {
        this.firstError = error
      })
      return socket
    }

    async #find(): Promise<Address> {
      let reason = ''
      for (let n = 0; n < sentinels.length && this.connecting; n++) {
        const at = (this.#first + n) % sentinels.length
        const sentinel = sentinels[at] as Address
        try {
          const master = await askSentinel(sentinel, group, (others) => remember(sentinels, others))
          this.#first = at
          return master
        } catch (error) {
          reason = `: ${(error as Error).message}`
        }
      }
      throw new Error(this.connecting ? `All sentinels are unreachable${reason}` : 'Connection is closed.')
    }
  }
}

async function askSentinel(sentinel: Address, { name, clientOf }: SentinelGroup, found: (others: readonly Address[]) => void): Promise<Address> {
  const { host, port } = sentinel
  const client = clientOf(sentinel)
  const leave = (): void => {
    const { stream } = client as { stream?: net.Socket }
    client.disconnect()
    stream?.destroy()
  }
  const cancel = systemClock.schedule(ANSWER_TIMEOUT_MS, leave, { background: true }) // the client's own timeout would hold the process up
  client.on('error', () => undefined) // told by the answers
  client.on('connect', () => {
    client.stream.unref()
    client.stream.on('error', () => undefined)
    followReplies(client)
  })
  try {
    const [master, others] = await Promise.all([client.call('sentinel', 'get-master-addr-by-name', name), client.call('sentinel', 'sentinels', name).catch(() => [])])
    if (!Array.isArray(master)) throw new Error(`the sentinel at ${host}:${port} knows no group ${name}`)
    found(addressesIn(others))
    const address = addressOf(master[0], master[1])
    if (address === undefined) throw new Error(`the sentinel at ${host}:${port} names no address of ${name}`)
    return address
  } finally {
    cancel()
    leave()
  }
}

function remember(sentinels: Address[], others: readonly Address[]): void {
  for (const other of others) {
    if (sentinels.length < MOST_SENTINELS && !sentinels.some(({ host, port }) => host === other.host && port === other.port)) sentinels.push(other)
  }
}

/** Each sentinel is a list of names and values in turn. */
function addressesIn(others: unknown): Address[] {
  if (!Array.isArray(others)) return []
  return (others as readonly unknown[]).flatMap((other) => {
    if (!Array.isArray(other)) return []
    const valueOf = (name: string): unknown => other[other.findIndex((field, at) => at % 2 === 0 && field === name) + 1]
    const flags = valueOf('flags')
    const address = addressOf(valueOf('ip'), valueOf('port'))
    return address === undefined || (typeof flags === 'string' && flags.split(',').includes('disconnected')) ? [] : [address]
  })
}

function addressOf(host: unknown, port: unknown): Address | undefined {
  const number = Number(port)
  return typeof host === 'string' && host !== '' && Number.isInteger(number) && number > 0 && number < 65_536 ? { host, port: number } : undefined
}
