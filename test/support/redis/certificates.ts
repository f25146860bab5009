import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { opensslProgram } from './available.js'

const run = promisify(execFile)
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
const VALID = ['-days', '2']

/** PEM files, and what is in them. */
export interface Certificate {
  readonly cert: Buffer
  readonly key: Buffer
  readonly certFile: string
  readonly keyFile: string
}

export interface Certificates {
  readonly ca: Buffer
  readonly caFile: string
  /** For localhost and 127.0.0.1. */
  readonly server: Certificate
  readonly client: Certificate
}

/** Makes a certificate authority, and certificates of a server and a client that it signs, with elliptic-curve keys. */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const caFile = path.join(directory, 'ca.crt')
  const caKeyFile = path.join(directory, 'ca.key')
  await run(opensslProgram(), ['req', '-x509', ...NEW_KEY, ...VALID, '-subj', '/CN=tests of Thermocline', '-keyout', caKeyFile, '-out', caFile])
  const sign = async (name: string, extensions: string): Promise<Certificate> => {
    const [certFile, keyFile, requestFile, extensionsFile] = ['crt', 'key', 'csr', 'ext'].map((ending) => path.join(directory, `${name}.${ending}`)) as [string, string, string, string]
    writeFileSync(extensionsFile, extensions)
    await run(opensslProgram(), ['req', ...NEW_KEY, '-subj', `/CN=${name}`, '-keyout', keyFile, '-out', requestFile])
    const serial = name === 'server' ? '1' : '2'
    await run(opensslProgram(), ['x509', '-req', '-in', requestFile, '-CA', caFile, '-CAkey', caKeyFile, '-set_serial', serial, ...VALID, '-extfile', extensionsFile, '-out', certFile])
    return { cert: readFileSync(certFile), key: readFileSync(keyFile), certFile, keyFile }
  }
  const [server, client] = await Promise.all([sign('server', 'subjectAltName=DNS:localhost,IP:127.0.0.1\n'), sign('client', 'extendedKeyUsage=clientAuth\n')])
  return { ca: readFileSync(caFile), caFile, server, client }
}
