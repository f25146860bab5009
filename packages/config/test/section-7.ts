/** The example of the architecture, as it stands. */
export const SECTION_7 = `caching:
  enabled: true
  tiers:
    hot:  { backend: redis, config: { url: "redis://localhost:6379", default_ttl: 3600, max_memory: "2gb", eviction_policy: "allkeys-lru" } }
    warm: { backend: local, config: { base_path: "/var/cache/app", max_size_gb: 100, cleanup_interval: 3600 } }
    cold: { backend: s3, config: { bucket: "artifacts", region: "us-east-1", storage_class: "INTELLIGENT_TIERING",
            lifecycle_rules: [ { transition_days: 30, storage_class: "GLACIER" }, { expiration_days: 365 } ] } }
  policies:
    embeddings:     { hot: false, warm: true,  cold: true,  ttl: null }
    search_results: { hot: true,  warm: false, cold: false, ttl: 3600 }
    frames:         { hot: false, warm: true,  cold: true,  ttl: 86400 }
`
