export { ObjectNames } from './names.js'
export {
  contentEncodingOf,
  contentTypeOf,
  decodeObjectMetadata,
  encodeObjectMetadata,
  keyInMetadata,
  MAX_USER_METADATA_BYTES,
  type ObjectHeader,
  type ObjectPayload,
  type ObjectReading,
} from './metadata.js'
export { sourceChunks } from './source-chunks.js'
