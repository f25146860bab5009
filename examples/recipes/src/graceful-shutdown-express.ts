import type { Server } from 'node:http'
import type { TieredCacheManager } from '@thermocline/core'
import express from 'express'
import { shutDownOnSignal } from './graceful-shutdown.js'

export function start(cache: TieredCacheManager, port: number): Server {
  const app = express()
  app.get('/answers/:question', async (request, response) => {
    const { question } = request.params
    response.json(await cache.tenant('acme').getOrCompute(`answers/${question}`, () => ({ question })))
  })
  const server = app.listen(port, '127.0.0.1')
  shutDownOnSignal(server, cache)
  return server
}
