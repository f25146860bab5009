import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { beforeEach, describe, expect, test } from '@jest/globals'
import { installFirebaseTools } from '../../scripts/firebase-tools.mjs'
import { FIREBASE_TOOLS_VERSION, findFirebaseTools } from '../support/servers/binaries.mjs'
import { serverDirectory } from '../support/servers/server-process.js'

let home: string
let folder: string

beforeEach(() => {
  home = serverDirectory('install')
  folder = path.join(home, 'cache', 'firebase-tools')
})

describe('the installation of firebase-tools', () => {
  test('fills its folder, and leaves nothing beside it', async () => {
    expect(findFirebaseTools(folder).missing).toContain(`no firebase-tools ${FIREBASE_TOOLS_VERSION}`)
    expect(await install(npm())).toEqual({})
    expect(findFirebaseTools(folder)).toMatchObject({ version: FIREBASE_TOOLS_VERSION })
    expect(beside()).toEqual(['firebase-tools'])
  })

  test('leaves nothing when npm fails, nor when it brings something else, and says what npm said', async () => {
    expect((await install(npm({ exitCode: 3 }))).failure).toMatch(/it said why[^]*exited with 3/)
    expect((await install(npm({ version: '1.0.0' }))).failure).toMatch(/ended well, but/)
    expect(beside()).toEqual([])
  })

  test('replaces one that has been damaged', async () => {
    await install(npm())
    rmSync(path.join(folder, 'node_modules', 'firebase-tools', 'lib'), { recursive: true })
    expect(findFirebaseTools(folder).missing).toBeDefined()
    await install(npm())
    expect(findFirebaseTools(folder).missing).toBeUndefined()
  })

  test('takes away what a killed installation left, and not what a running one has', async () => {
    const [dead, alive] = [`${folder}.partial-4194304999-abcdef`, `${folder}.partial-${process.ppid}-abcdef`] as const
    for (const left of [dead, alive]) mkdirSync(path.join(left, 'node_modules'), { recursive: true })
    await install(npm())
    expect([existsSync(dead), existsSync(alive)]).toEqual([false, true])
  })

  test('may run twice at once', async () => {
    const program = npm()
    expect(await Promise.all([install(program), install(program)])).toEqual([{}, {}])
    expect([findFirebaseTools(folder).missing, beside()]).toEqual([undefined, ['firebase-tools']])
  })
})

function install(program: string): Promise<{ readonly failure?: string }> {
  return installFirebaseTools({ folder, npm: program })
}

/** What lies where the folder lies. */
function beside(): string[] {
  return readdirSync(path.dirname(folder))
}

/** A program in npm's place, which puts the little that is looked for where it is run. */
function npm({ version = FIREBASE_TOOLS_VERSION, exitCode = 0 } = {}): string {
  const file = path.join(home, `npm-${version}-${exitCode}`)
  const script = ['#!/bin/sh', 'mkdir -p node_modules/firebase-tools/lib/emulator/storage', 'touch node_modules/firebase-tools/lib/emulator/storage/server.js', `echo '{ "version": "${version}" }' > node_modules/firebase-tools/package.json`, 'echo it said why', `exit ${exitCode}`]
  writeFileSync(file, `${script.join('\n')}\n`, { mode: 0o755 })
  return file
}
