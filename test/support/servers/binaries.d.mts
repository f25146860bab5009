export type FoundRedis = { readonly file: string; readonly version: string; readonly missing?: undefined } | { readonly missing: string; readonly file?: undefined; readonly version?: undefined }
export function findRedis(): FoundRedis
export function findOpenssl(): string | undefined
