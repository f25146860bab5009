export interface Missing {
  readonly missing: string
  readonly file?: undefined
  readonly files?: undefined
  readonly version?: undefined
}

export interface Program {
  readonly file: string
  readonly version: string
  readonly missing?: undefined
}

export type CephProgram = 'ceph-mon' | 'ceph-osd' | 'radosgw' | 'radosgw-admin' | 'monmaptool' | 'osdmaptool'

export interface Ceph {
  readonly files: Readonly<Record<CephProgram, string>>
  readonly version: string
  readonly missing?: undefined
}

export function findRedis(): Program | Missing
export function findOpenssl(): string | undefined
export function findCeph(): Ceph | Missing
export function findDocker(): Program | Missing
export const FIREBASE_TOOLS_VERSION: string
export function firebaseToolsFolder(): string
export function findFirebaseTools(folder?: string): Program | Missing
