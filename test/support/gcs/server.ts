/** For `new Storage(...)` of @google-cloud/storage. */
export interface GcsStorageOptions {
  readonly apiEndpoint: string
  readonly projectId: string
}

/** A Cloud Storage for one test file: the emulator, or the strict server. */
export interface GcsServer {
  readonly kind: 'emulator' | 'strict'
  /** Without a path: `http://127.0.0.1:12345`. */
  readonly endpoint: string
  readonly port: number
  /** With the port of a proxy on 127.0.0.1 if there is one. */
  storageOptions(port?: number): GcsStorageOptions
  /** Gives the bucket's name, which is nobody else's by default. */
  createBucket(name?: string): Promise<string>
  stop(): Promise<void>
}
