import { expect, test } from '@jest/globals'
import { runBundled } from '../../../test/support/bundled.js'

test('whatever is stored, reading it and using what was read ends soon, in little memory, as an entry of the right shape or as a miss', () => {
  expect(runBundled('packages/core/test/outside-jest/hostile-data.ts', ['150'], ['--max-old-space-size=700'])).toMatchObject({ status: 0, stdout: 'ok\n', stderr: '' })
}, 300_000)
