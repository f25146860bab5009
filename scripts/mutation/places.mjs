// The places that hold the promises, and the suites that guard each. A file that moves is renamed here.
// A suite that runs processes of its own guards nothing: those run the built packages, which have no mutants.

const promises = (...names) => names.map((name) => `test/promises/${name}.test.ts`)
const backend = (...names) => names.map((name) => `packages/backend/test/${name}.test.ts`)
const core = (...names) => names.map((name) => `packages/core/test/${name}.test.ts`)

export const PLACES = {
  fences: {
    files: ['packages/core/src/flights/fence.ts', 'packages/core/src/state/tenant-state.ts'],
    guards: [...core('fence-table'), ...promises('fences', 'copies', '4-one-compute', 'demotion')],
  },
  invalidations: {
    files: ['packages/backend/src/contract/invalidation.ts', 'packages/core/src/invalidation/invalidate.ts'],
    guards: [...core('invalidation'), ...promises('fences', 'owed-work', '6-nothing-lost', 'confirmed', 'write-back-hazards', 'listing', 'journal-hazards')],
  },
  flights: {
    files: ['packages/core/src/flights/flight.ts', 'packages/core/src/flights/compute-point.ts', 'packages/core/src/computing/compute-run.ts'],
    guards: [...promises('flights', '4-one-compute', 'fences'), ...core('abort', 'compute-point')],
  },
  'write queues': {
    files: ['packages/core/src/tiers/write-queues.ts', 'packages/core/src/tiers/write-queue.ts', 'packages/core/src/tiers/asked-time.ts', 'packages/core/src/layers/gate.ts'],
    guards: [...promises('owed-work', '5-latency-budget', '6-nothing-lost', 'fallback', 'interleavings', 'log', 'confirmed'), ...core('write-queues', 'budgets', 'gate', 'late-landing', 'one-tier', 'prefixes', 'run')],
  },
  'owed work': {
    files: ['packages/core/src/tiers/owed-invalidations.ts', 'packages/core/src/tiers/owed-schedule.ts', 'packages/core/src/layers/backoff.ts', 'packages/core/src/tiers/prefixes.ts'],
    guards: [...promises('owed-work', '6-nothing-lost', 'log', 'confirmed'), ...core('write-queues', 'owed-clears', 'owed-invalidations', 'inherited-invalidations', 'prefixes', 'backoff')],
  },
  promotion: {
    files: ['reading/walk', 'reading/read-many', 'reading/tier-access', 'promotion/promote'].map((name) => `packages/core/src/${name}.ts`),
    guards: [...promises('copies', '2-lifetimes', 'fences', 'fallback', 'listing', 'demotion', 'streams'), ...core('get-many', 'one-tier'), 'test/telemetry/spans.test.ts'],
  },
  terms: {
    files: ['packages/core/src/operation/terms.ts', 'packages/core/src/writing/write.ts'],
    guards: [...core('one-tier'), ...promises('copies', 'owed-work', '2-lifetimes', '6-nothing-lost', 'compression', 'too-large', 'write-back-hazards')],
  },
  breakers: {
    files: ['packages/core/src/layers/circuit-breaker.ts', 'packages/core/src/layers/run.ts', 'packages/core/src/layers/deadlines.ts'],
    guards: [...core('circuit-breaker', 'deadlines', 'gate', 'timeout', 'retry', 'run', 'budgets'), ...backend('paged'), ...promises('budgets', '5-latency-budget')],
  },
  frames: {
    files: ['checked-chunks', 'crc32', 'frame', 'read-frame'].map((name) => `packages/backend/src/frame/${name}.ts`),
    guards: [...backend('frame', 'read-frame', 'checked-chunks'), ...core('golden'), 'packages/fs/test/corruption.test.ts'],
  },
  journal: {
    files: ['copy-name', 'journal', 'options', 'own-directories', 'owner', 'pending-copy', 'read-head-now', 'set-aside', 'superseded', 'take-up'].map((name) => `packages/fs/src/journal/${name}.ts`),
    guards: ['packages/fs/test/journal.test.ts', 'packages/fs/test/journal-owners.test.ts', ...promises('journal-hazards', 'write-back-hazards', 'write-back-crash', 'journal-outage')],
  },
}
