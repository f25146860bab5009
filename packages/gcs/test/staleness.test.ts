import { describeStaleness } from '../../../test/support/staleness.js'
import { onStrictServer } from './support/shelf.js'

onStrictServer('stale values', (stage) => {
  describeStaleness('Cloud Storage', () => ({ tiers: { cold: { backend: stage.backend() } } }))
})
