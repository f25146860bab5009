import { describe, expect, test } from '@jest/globals'
import { checkKnown } from '@thermocline/backend'

const KNOWN = ['url', 'host', 'port', 'keyPrefix', 'maxPayloadBytes', 'sentinel']

function messageFor(given: object, what = 'new Store(options)'): string {
  try {
    checkKnown(given, KNOWN, what)
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError)
    return (error as TypeError).message
  }
  return 'nothing'
}

describe('an option that nobody knows', () => {
  test.each([
    ['ulr', 'url'],
    ['hots', 'host'],
    ['prot', 'port'],
    ['URL', 'url'],
    ['urls', 'url'],
    ['key_prefix', 'keyPrefix'],
    ['keyprefix', 'keyPrefix'],
    ['maxPayloadByte', 'maxPayloadBytes'],
    ['maxPaylaodBytse', 'maxPayloadBytes'],
    ['sentinels', 'sentinel'],
  ])('%s is named, and so is %s, which is near it', (given, meant) => {
    expect(messageFor({ [given]: 1 })).toBe(`new Store(options) does not know the option ${given}; did you mean ${meant}?`)
  })

  test('is told apart from nothing near it: then all are named', () => {
    expect(messageFor({ colour: 'red' })).toBe('new Store(options) does not know the option colour; it knows url, host, port, keyPrefix, maxPayloadBytes, sentinel')
  })

  test('is one whatever its value is', () => {
    expect(messageFor({ ulr: undefined })).toContain('did you mean url?')
  })

  test('is not repeated where it may be anything', () => {
    expect(messageFor({ 'redis://user:secret@host': true })).not.toContain('secret')
    expect(messageFor({ ['x'.repeat(100_000)]: true })).toContain('an option of 100000 characters')
  })

  test('stands where the object stands', () => {
    expect(messageFor({ prto: 1 }, 'cluster[0]')).toBe('cluster[0] does not know the option prto; did you mean port?')
  })

  test('may be called like a property of every object', () => {
    expect(messageFor(JSON.parse('{"__proto__": 1}') as object)).toContain('the option __proto__')
    expect(messageFor({ constructor: 1 })).toContain('the option constructor')
  })
})

test('known options, inherited ones and symbols pass', () => {
  expect(messageFor({ url: 'x', port: 1 })).toBe('nothing')
  expect(messageFor(Object.create({ ulr: 1 }) as object)).toBe('nothing')
  expect(messageFor({ [Symbol('ulr')]: 1 })).toBe('nothing')
})
