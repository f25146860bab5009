// Writes the published JSON Schema from the compiled package: `pnpm run schema`. A test fails when the file is out of date.
import { writeFileSync } from 'node:fs'
import { publishedSchema } from '../dist/schema/published.js'

writeFileSync(new URL('../schema/thermocline.schema.json', import.meta.url), `${JSON.stringify(publishedSchema(), undefined, 2)}\n`)
