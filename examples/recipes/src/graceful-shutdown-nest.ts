import 'reflect-metadata'
import type { Server } from 'node:http'
import { Module, type BeforeApplicationShutdown, type DynamicModule, type OnApplicationShutdown } from '@nestjs/common'
import { HttpAdapterHost } from '@nestjs/core'
import type { TieredCacheManager } from '@thermocline/core'
import { closeWhenIdle } from './graceful-shutdown.js'

/** What other providers ask for: `constructor(private readonly caches: CacheService)`. */
export class CacheService implements BeforeApplicationShutdown, OnApplicationShutdown {
  constructor(
    readonly cache: TieredCacheManager,
    private readonly host: HttpAdapterHost,
  ) {}

  beforeApplicationShutdown(): void {
    closeWhenIdle(this.host.httpAdapter.getHttpServer() as Server)
  }

  /** Nest calls this when the requests under way have been answered; `onModuleDestroy` would come before that. */
  async onApplicationShutdown(): Promise<void> {
    await this.cache.close({ deadline: '10s' })
  }
}

@Module({})
export class CacheModule {
  static of(cache: TieredCacheManager): DynamicModule {
    const service = { provide: CacheService, inject: [HttpAdapterHost], useFactory: (host: HttpAdapterHost) => new CacheService(cache, host) }
    return { module: CacheModule, global: true, providers: [service], exports: [CacheService] }
  }
}
