import { S3Backend } from '@thermocline/s3'
import { describeModel } from '../../../test/support/object-store-model.js'
import { freshPrefix, onBucket, optionsFor } from './support/shelf.js'

onBucket('random programs keep the promises', (stage) => {
  describeModel('S3', () => new S3Backend({ ...optionsFor(stage.server, stage.bucket), prefix: freshPrefix() }))
})
