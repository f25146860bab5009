// Builds every package; turbo skips what has not changed.
import { CommandFailed, isMain, phase, runQuietly } from './run.mjs'

/** Runs every workspace package's own `build`. Silent but for one line; prints the failing package's output. */
export async function build() {
  await phase('building', async () => {
    const done = await runQuietly('turbo', ['run', 'build', '--output-logs=errors-only', '--no-update-notifier'])
    if (done.code !== 0) throw new CommandFailed('turbo run build', done)
    return /(\d+) cached, (\d+) total/.exec(done.output)?.[0]
  })
}

if (isMain(import.meta.url)) await build()
