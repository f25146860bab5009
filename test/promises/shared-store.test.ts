import { describe } from '@jest/globals'
import { describeCoordination, SharedStore } from '@thermocline/testkit'
import { describeProcesses } from '../support/processes.js'

describeCoordination({
  name: 'a store in memory',
  create: () => {
    const store = new SharedStore()
    return {
      one: store.backend(),
      other: store.backend(),
      forget: () => {
        store.flush()
        return Promise.resolve()
      },
      trim: (left) => Promise.resolve(store.trim(left)),
    }
  },
})

describe('processes over a store in memory', () => {
  describeProcesses(() => {
    const store = new SharedStore()
    return () => store.backend()
  })
})
