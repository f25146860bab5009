import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import type { ConnectionOptions } from 'node:tls'
import type { Path } from '../problems/path.js'
import { filePath, flag, map, text } from '../schema/fields.js'
import type { JsonSchema } from '../schema/json-schema.js'
import type { SettingFiles, WrongSetting } from './built-in-adapter.js'

/** `tls` as a map. */
export interface TlsConfig {
  readonly ca_file?: string
  readonly cert_file?: string
  readonly key_file?: string
  readonly passphrase?: string
  readonly server_name?: string
  readonly reject_unauthorized?: boolean
}

export const TLS_SCHEMA: JsonSchema = {
  ...map('Whether connections are encrypted, or how. Default: as url says. Files are read when the cache is made, from the directory of this file or the working directory.', {
    ca_file: filePath("The certificate of the authority that signed the server's, in PEM. Default: those that Node trusts."),
    cert_file: filePath('The certificate that is shown to a server which asks for one, in PEM.'),
    key_file: filePath('Its private key, in PEM.'),
    passphrase: text('What opens the private key. Take it from the environment: ${REDIS_KEY_PASSPHRASE}.'),
    server_name: text("The name in the server's certificate, where it is not the host that is connected to."),
    reject_unauthorized: flag('false: the certificate of the server is not checked, so that anybody could pose as it.', true),
  }),
  type: ['boolean', 'object'],
  expected: 'true, false or a map of ca_file, cert_file, key_file, passphrase, server_name and reject_unauthorized',
}

export const TLS_FILES: readonly Path[] = [
  ['tls', 'ca_file'],
  ['tls', 'cert_file'],
  ['tls', 'key_file'],
]

export function wrongTls(tls: boolean | TlsConfig | undefined): readonly WrongSetting[] {
  if (typeof tls !== 'object') return []
  const { cert_file, key_file, passphrase } = tls
  return [
    ...(cert_file !== undefined && key_file === undefined ? [{ path: ['tls', 'key_file'], message: 'is missing: a certificate of ours is of no use without its private key' }] : []),
    ...(cert_file === undefined && key_file !== undefined ? [{ path: ['tls', 'cert_file'], message: 'is missing: a private key is of no use without its certificate' }] : []),
    ...(passphrase !== undefined && key_file === undefined ? [{ path: ['tls', 'passphrase'], message: 'opens nothing: there is no `key_file`' }] : []),
  ]
}

/** What would otherwise be told only when the first connection fails. */
export function wrongTlsFiles(tls: boolean | TlsConfig | undefined, files: SettingFiles): readonly WrongSetting[] {
  if (typeof tls !== 'object') return []
  const { ca, cert, key } = contents(files)
  const wrong: WrongSetting[] = []
  if (ca !== undefined && !isCertificate(ca)) wrong.push({ path: ['tls', 'ca_file'], message: 'holds no certificate in PEM' })
  if (cert !== undefined && !isCertificate(cert)) wrong.push({ path: ['tls', 'cert_file'], message: 'holds no certificate in PEM' })
  const keyProblem = key === undefined ? undefined : problemOfKey(key, tls.passphrase)
  if (keyProblem !== undefined) wrong.push({ path: ['tls', 'key_file'], message: keyProblem })
  if (wrong.length === 0 && cert !== undefined && key !== undefined && !isKeyOf(cert, key, tls.passphrase)) wrong.push({ path: ['tls', 'key_file'], message: 'is not the private key of the certificate in `cert_file`' })
  return wrong
}

export function tlsOptions(tls: boolean | TlsConfig | undefined, files: SettingFiles): boolean | ConnectionOptions | undefined {
  if (typeof tls !== 'object') return tls
  const { passphrase, server_name: servername, reject_unauthorized: rejectUnauthorized } = tls
  const options = { ...contents(files), passphrase, servername, rejectUnauthorized }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function contents(files: SettingFiles): { readonly ca: Buffer | undefined; readonly cert: Buffer | undefined; readonly key: Buffer | undefined } {
  return { ca: files.get('tls.ca_file'), cert: files.get('tls.cert_file'), key: files.get('tls.key_file') }
}

function isCertificate(content: Buffer): boolean {
  return quietly(() => new X509Certificate(content)) !== undefined
}

function privateKey(content: Buffer, passphrase: string | undefined): KeyObject | undefined {
  return quietly(() => createPrivateKey({ key: content, ...(passphrase === undefined ? {} : { passphrase }) }))
}

function problemOfKey(content: Buffer, passphrase: string | undefined): string | undefined {
  if (privateKey(content, passphrase) !== undefined) return undefined
  if (!content.includes('ENCRYPTED')) return 'holds no private key in PEM'
  return passphrase === undefined ? 'holds an encrypted private key: give its `passphrase`' : 'holds an encrypted private key that `passphrase` does not open'
}

/** Node itself would notice a foreign key of the same kind only. */
function isKeyOf(cert: Buffer, key: Buffer, passphrase: string | undefined): boolean {
  const opened = privateKey(key, passphrase)
  return opened !== undefined && new X509Certificate(cert).checkPrivateKey(opened)
}

/** What the crypto library says of a bad file helps nobody. */
function quietly<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch {
    return undefined
  }
}
