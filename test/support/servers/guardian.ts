import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/**
 * Learns process ids, and names of containers, from its input. At the end of it (the test process ended, however it did) kills
 * those still there.
 */
const SCRIPT = `
trap '' HUP INT TERM
pids=' '
containers=''
while read -r verb what with; do
  case $verb in
    watch) pids="$pids$what " ;;
    forget) case $pids in *" $what "*) pids="\${pids%% $what *} \${pids#* $what }" ;; esac ;;
    container) containers="$containers $what"; docker=$with ;;
  esac
done
[ "$pids" = ' ' ] || kill -9 $pids
[ -z "$containers" ] || "$docker" rm --force $containers
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; } # what was killed may have written in the meantime
`

/**
 * Ends servers that outlive the process that started them. jest gives tests a copy of `process` whose 'exit' never comes,
 * and nothing runs in a process that is killed; a pipe, though, is closed by the kernel in every case.
 */
export class Guardian {
  readonly #process: ChildProcess

  /** The directory is removed at the end, with everything in it. */
  constructor(directory: string) {
    this.#process = spawn('sh', ['-c', SCRIPT, 'guardian', directory], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
    this.#process.unref()
    this.#process.stdin?.on('error', () => undefined) // it is gone, and there is nobody left to tell
  }

  watch(pid: number): void {
    this.#process.stdin?.write(`watch ${pid}\n`)
  }

  /** The process has ended: its id may soon be another's. */
  forget(pid: number): void {
    this.#process.stdin?.write(`forget ${pid}\n`)
  }

  /** For containers, whose processes are not ours to kill, with the docker command. One that has gone by the end does no harm. */
  watchContainer(name: string, docker: string): void {
    this.#process.stdin?.write(`container ${name} ${docker}\n`)
  }

  /** Does now what it would do when this process ends. */
  async end(): Promise<void> {
    const { exitCode, signalCode, stdin } = this.#process
    if (exitCode !== null || signalCode !== null) return
    stdin?.end()
    await once(this.#process, 'exit')
  }
}
