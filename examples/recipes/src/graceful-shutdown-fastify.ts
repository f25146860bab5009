import type { TieredCacheManager } from '@thermocline/core'
import fastify, { type FastifyInstance } from 'fastify'
import { closeWhenIdle } from './graceful-shutdown.js'

export function server(cache: TieredCacheManager): FastifyInstance {
  const app = fastify()
  app.get<{ Params: { question: string } }>('/answers/:question', ({ params: { question } }) =>
    cache.tenant('acme').getOrCompute(`answers/${question}`, () => ({ question })),
  )
  app.addHook('preClose', async () => closeWhenIdle(app.server))
  app.addHook('onClose', async () => {
    await cache.close({ deadline: '10s' })
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())
  return app
}
