import fs from 'node:fs'
import path from 'node:path'

/** What `statfs` says of file systems over a network, or of another machine's disk: https://man7.org/linux/man-pages/man2/statfs.2.html */
const NETWORK: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x517b, 'SMB'],
  [0x01021997, '9p'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
])

/** The network file system on which a directory is, or will be; `undefined`: it is none of those that are known. */
export function networkFileSystem(directory: string): string | undefined {
  for (let above = path.resolve(directory); ; above = path.dirname(above)) {
    try {
      return NETWORK.get(fs.statfsSync(above).type >>> 0)
    } catch {
      if (path.dirname(above) === above) return undefined
    }
  }
}
