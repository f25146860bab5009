import { loadCache } from '@thermocline/config'
import * as local from '@thermocline/fs'
import * as memory from '@thermocline/memory'

const cache = await loadCache({ tiers: { hot: { backend: 'memory' }, warm: { backend: 'local', config: { base_path: '${CACHE_DIR:-.thermocline}' } } } }, { adapters: { memory, local } })
console.log(await cache.tenant('acme').getOrCompute('answers/all', () => 42))
await cache.close()
