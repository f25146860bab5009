import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { freePort } from '../servers/ports.js'
import { serverDirectory } from '../servers/server-process.js'
import { type Certificates, makeCertificates } from './certificates.js'
import { commonConfig, RedisServer, type ServerPlan } from './server.js'

export interface TlsRedisOptions {
  /** Whether clients must show a certificate of the CA; `required` by default. */
  readonly clientCertificates?: 'required' | 'optional'
  /** Which keys and channels the user `app` may touch; `tc:*` by default. */
  readonly pattern?: string
  /** More lines for redis.conf. */
  readonly config?: readonly string[]
}

export interface User {
  readonly username: string
  readonly password: string
}

/** A Redis server that speaks TLS only and knows two users; the default user is off. */
export class TlsRedisServer extends RedisServer {
  /** Of the authority that signed the server's certificate. */
  readonly ca: Buffer
  /** Of a client that the server accepts. */
  readonly cert: Buffer
  readonly key: Buffer
  /** The same three as paths. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string }
  /** May use all commands but the dangerous ones, on its own keys only. */
  readonly app: User
  readonly admin: User

  constructor(plan: ServerPlan, { ca, caFile, client }: Certificates, users: { readonly app: User; readonly admin: User }) {
    super(plan)
    this.ca = ca
    this.cert = client.cert
    this.key = client.key
    this.files = { ca: caFile, cert: client.certFile, key: client.keyFile }
    this.app = users.app
    this.admin = users.admin
  }
}

/** Starts a server with TLS, client certificates and ACL users. Its `url` is the one of the user `app`, on `localhost`. */
export async function startTlsRedis({ clientCertificates = 'required', pattern = 'tc:*', config = [] }: TlsRedisOptions = {}): Promise<TlsRedisServer> {
  const port = await freePort()
  const directory = serverDirectory(`redis-tls-${port}`)
  const certificates = await makeCertificates(directory)
  const app = { username: 'app', password: 'app-password' }
  const admin = { username: 'admin', password: 'admin-password' }
  const aclFile = path.join(directory, 'users.acl')
  writeFileSync(
    aclFile,
    [
      'user default off',
      `user ${app.username} on >${app.password} ~${pattern} &${pattern} +@all -@dangerous`,
      `user ${admin.username} on >${admin.password} ~* &* +@all`,
      '',
    ].join('\n'),
  )
  const { ca, caFile, server: own, client } = certificates
  const plan: ServerPlan = {
    name: 'redis-tls',
    directory,
    address: { port, ...admin, tls: { ca, cert: client.cert, key: client.key } },
    url: `rediss://${app.username}:${app.password}@localhost:${port}`,
    config: [
      'port 0',
      `tls-port ${port}`,
      `tls-cert-file ${own.certFile}`,
      `tls-key-file ${own.keyFile}`,
      `tls-ca-cert-file ${caFile}`,
      `tls-auth-clients ${clientCertificates === 'required' ? 'yes' : 'optional'}`,
      `aclfile ${aclFile}`,
      ...commonConfig({ config }),
    ],
  }
  const server = new TlsRedisServer(plan, certificates, { app, admin })
  await server.start()
  return server
}
