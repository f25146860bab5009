import { describeModel } from '../../../test/support/object-store-model.js'
import { onStrictServer } from './support/shelf.js'

onStrictServer('random programs keep the promises', (stage) => {
  describeModel('Cloud Storage', () => stage.backend())
})
