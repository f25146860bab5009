import path from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Where this package is. A module of its own that is loaded when it is needed: where everything was bundled as CommonJS,
 * `import.meta` is nothing, and loading this fails, which is an answer too.
 */
export const OWN_DIRECTORY = path.dirname(fileURLToPath(import.meta.url))
