import { types } from 'node:util'
import { keepsPrivateState } from './private-state.js'

/*
 * Values that would lose themselves.
 *
 * V8's serialisation refuses some values (functions, promises) and silently flattens others: a `Response` becomes `{}`, an error loses its
 * `code`, a subclass of Map its fields. What was flattened is a hit that is worth nothing, so it is refused before it is stored.
 *
 * The criterion can be measured: an object is kept if all of its state is in what the form carries. Plain objects and arrays: their own
 * enumerable properties with string names. Map, Set, Date, RegExp, boxed primitives, buffers and views: their content, and no properties beside
 * it. Errors: message, stack and cause. Instances of a class: their own enumerable properties, as long as there are any and the class is not
 * one of the platform's and has no private fields. Accessors count as what they return.
 */

/** Where a value loses something, what that is, and what to do about it. */
export interface Loss {
  /** `value.user.photo`, `value[3]`. */
  readonly path: string
  readonly what: string
  readonly remedy: string
}

/** The first thing in a value that the structured form would drop or refuse; `undefined`: all of it comes back. Takes no stack, however deep the value is. */
export function lossIn(value: unknown): Loss | undefined {
  const ordinary = new Set<object | null>([null, Object.prototype])
  const finding = findingIn(value, ordinary)
  if (finding !== undefined) return lossAt(finding, undefined)
  if (typeof value !== 'object' || value === null) return undefined
  const seen = new Set<object>([value])
  const pending: Place[] = [{ object: value, from: undefined, step: '' }]
  for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
    const from = place
    let lost: Loss | undefined
    const look = (part: unknown, step: string | number): boolean => {
      const found = findingIn(part, ordinary)
      if (found !== undefined) lost = lossAt(found, { object: from.object, from, step })
      else if (typeof part === 'object' && part !== null && !seen.has(part)) {
        seen.add(part)
        pending.push({ object: part, from, step })
      }
      return lost === undefined
    }
    eachPart(from.object, look, ordinary)
    if (lost !== undefined) return lost
  }
  return undefined
}

/** The loss as the reason of a refusal. */
export function describeLoss({ path, what, remedy }: Loss): string {
  return `${path} is ${what}; ${remedy}`
}

interface Place {
  readonly object: object
  readonly from: Place | undefined
  /** From there to here: a property's name, an index, or `map key`. */
  readonly step: string | number
}

interface Finding {
  readonly what: string
  readonly remedy: string
}

type Look = (part: unknown, step: string | number) => boolean

const REMEDY = 'store a plain object of what you need of it, or give the policy a codec of yours'

/**
 * What is lost of the value itself, whatever its parts are.
 *
 * @param ordinary prototypes of objects that have nothing but properties, as far as they were met: to find that out takes a dozen questions
 */
function findingIn(value: unknown, ordinary: Set<object | null>): Finding | undefined {
  switch (typeof value) {
    case 'function':
      return { what: 'a function', remedy: 'leave functions out' }
    case 'symbol':
      return { what: 'a symbol', remedy: 'store a string instead' }
    case 'object':
      return value === null ? undefined : findingInObject(value, ordinary)
    default:
      return undefined
  }
}

function findingInObject(object: object, ordinary: Set<object | null>): Finding | undefined {
  if (types.isProxy(object)) return { what: 'a Proxy', remedy: 'store a plain copy of what it stands for' }
  if (Array.isArray(object)) return symbolIn(object)
  const prototype = Object.getPrototypeOf(object) as object | null
  if (ordinary.has(prototype)) return findingInOrdinary(object, prototype)
  if (ArrayBuffer.isView(object) || types.isArrayBuffer(object)) return undefined
  if (types.isNativeError(object)) return findingInError(object)
  if (types.isMap(object) || types.isSet(object) || types.isDate(object) || types.isRegExp(object)) return findingBeside(object, Object.keys(object))
  if (types.isBoxedPrimitive(object)) return types.isSymbolObject(object) ? { what: 'a boxed symbol', remedy: 'store a string instead' } : findingBeside(object, types.isStringObject(object) ? [] : Object.keys(object))
  if (isOfTheEngine(object)) return { what: article(tagOf(object)), remedy: remedyFor(tagOf(object)) }
  ordinary.add(prototype)
  return findingInOrdinary(object, prototype)
}

/** What V8 does not serialise, or not so that it can be read again. */
function isOfTheEngine(object: object): boolean {
  return (
    types.isPromise(object) || types.isSharedArrayBuffer(object) || types.isWeakMap(object) || types.isWeakSet(object) || types.isGeneratorObject(object) ||
    types.isMapIterator(object) || types.isSetIterator(object) || types.isArgumentsObject(object) || types.isModuleNamespaceObject(object) || types.isExternal(object)
  )
}

/** What is kept as its content: properties beside that are dropped. */
function findingBeside(object: object, names: readonly string[]): Finding | undefined {
  const [name] = names
  if (name === undefined) return symbolIn(object)
  return { what: `${article(className(object) ?? tagOf(object))} with the property ${quoted(name)}, which would be dropped`, remedy: REMEDY }
}

/** Carried by the form: `message`, `stack`, `cause`, and `name` as far as it is that of a class of the language. */
const OF_ERRORS: readonly string[] = ['name', 'message', 'stack', 'cause']

function findingInError(error: Error): Finding | undefined {
  // a native error since Node 22, which comes back as an Error without its code
  if (tagOf(error) === 'DOMException') return { what: article('DOMException'), remedy: remedyFor('DOMException') }
  const dropped = Object.hasOwn(error, 'errors') ? 'errors' : Object.keys(error).find((name) => !OF_ERRORS.includes(name))
  if (dropped === undefined) return symbolIn(error)
  return { what: `${article(className(error) ?? 'Error')} with the property ${quoted(dropped)}, which would be dropped`, remedy: 'store a plain object with its message and what else you need of it' }
}

function findingInOrdinary(object: object, prototype: object | null): Finding | undefined {
  const symbol = symbolIn(object)
  const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null
  // Math, JSON and their like: there is nothing in them that a form could carry
  if (isPlain) return symbol ?? (isEmpty(object) && tagOf(object) !== 'Object' ? { what: tagOf(object), remedy: REMEDY } : undefined)
  const tag = tagOf(object)
  if (tag !== 'Object' && isOfThePlatform(tag)) return { what: `${article(className(object) ?? tag)}, whose content would be lost`, remedy: remedyFor(tag) }
  if (symbol !== undefined) return symbol
  if (isEmpty(object)) {
    const name = className(object)
    return { what: `${name === undefined ? 'an object with a prototype' : article(name)} without fields of its own, which would come back empty`, remedy: remedyFor(tag) }
  }
  if (keepsPrivateState(prototype)) return { what: `${article(className(object) ?? tag)} with private fields, which would be lost`, remedy: REMEDY }
  return undefined
}

function isEmpty(object: object): boolean {
  for (const name in object) if (Object.hasOwn(object, name)) return false
  return true
}

/** A property that is named by a symbol is dropped. One that is not enumerable is a mark of somebody's and no data. */
function symbolIn(object: object): Finding | undefined {
  for (const symbol of Object.getOwnPropertySymbols(object)) {
    if (Object.prototype.propertyIsEnumerable.call(object, symbol)) {
      return { what: `${article(className(object) ?? tagOf(object))} with a property named by ${quoted(String(symbol))}, which would be dropped`, remedy: 'name properties by strings' }
    }
  }
  return undefined
}

/** A class that every program finds in its globals: `URL`, `Response`, `Intl.Segmenter`. */
function isOfThePlatform(tag: string): boolean {
  return Object.hasOwn(globalThis, tag.split('.', 1)[0] as string)
}

const REMEDIES: Readonly<Record<string, string>> = {
  Response: 'store its status, [...headers] and the bytes of its arrayBuffer()',
  Request: 'store its url, method, [...headers] and the bytes of its arrayBuffer()',
  Headers: 'store [...headers] and make new Headers of it',
  URLSearchParams: 'store its text, String(parameters)',
  FormData: 'store [...form], with the bytes of its files',
  URL: 'store its href',
  Blob: 'store the bytes of its arrayBuffer()',
  File: 'store its name and the bytes of its arrayBuffer()',
  ReadableStream: 'store it with setStream',
  Promise: 'await it first',
  SharedArrayBuffer: 'store a copy of its bytes',
}

function remedyFor(tag: string): string {
  return Object.hasOwn(REMEDIES, tag) ? (REMEDIES[tag] as string) : REMEDY
}

function eachPart(object: object, look: Look, ordinary: ReadonlySet<object | null>): void {
  if (Array.isArray(object)) eachItem(object, look)
  else if (ordinary.has(Object.getPrototypeOf(object) as object | null)) eachProperty(object, look)
  else if (types.isMap(object)) {
    for (const [key, item] of object) if (!look(key, 'map key') || !look(item, typeof key === 'string' || typeof key === 'number' ? key : 'map value')) return
  } else if (types.isSet(object)) {
    for (const item of object) if (!look(item, 'member')) return
  } else if (types.isNativeError(object)) {
    if (Object.hasOwn(object, 'cause')) look(object.cause, 'cause')
  }
}

function eachProperty(object: object, look: Look): void {
  for (const name of Object.keys(object)) if (!look((object as Record<string, unknown>)[name], name)) return
}

/** By index until there is a hole: an array may claim four thousand million items and have three. */
function eachItem(array: readonly unknown[], look: Look): void {
  let at = 0
  for (; at < array.length; at++) {
    const item = array[at]
    if (item === undefined && !Object.hasOwn(array, at)) break
    if (!look(item, at)) return
  }
  const names = Object.keys(array)
  for (; at < names.length; at++) {
    const name = names[at] as string
    if (!look((array as unknown as Record<string, unknown>)[name], /^\d+$/.test(name) ? Number(name) : name)) return
  }
}

/** Steps that a path shows at most, from its end. */
const MOST_STEPS = 12

function lossAt({ what, remedy }: Finding, place: Place | undefined): Loss {
  let path = ''
  let steps = 0
  for (let at = place; at !== undefined && at.step !== ''; at = at.from) {
    if (++steps > MOST_STEPS) return { path: `value...${path}`, what, remedy }
    path = stepText(at.step) + path
  }
  return { path: `value${path}`, what, remedy }
}

function stepText(step: string | number): string {
  if (typeof step === 'number') return `[${step}]`
  return /^[A-Za-z_$][\w$]{0,39}$/.test(step) ? `.${step}` : `[${quoted(step)}]`
}

function quoted(text: string): string {
  return JSON.stringify(text.length <= 40 ? text : `${text.slice(0, 39)}…`)
}

function tagOf(object: object): string {
  return Object.prototype.toString.call(object).slice(8, -1)
}

/** The name of the object's class, found without calling anything of the object's. */
function className(object: object): string | undefined {
  for (let at: object | null = Object.getPrototypeOf(object) as object | null; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const constructor: unknown = Object.getOwnPropertyDescriptor(at, 'constructor')?.value
    if (typeof constructor !== 'function') continue
    const name: unknown = Object.getOwnPropertyDescriptor(constructor, 'name')?.value
    return typeof name === 'string' && name !== '' ? name.slice(0, 60).replace(/^_(?=[A-Z])/, '') : undefined
  }
  return undefined
}

function article(noun: string): string {
  return `${/^[aeiou](?!r)/i.test(noun) && !/^U[RS]/.test(noun) ? 'an' : 'a'} ${noun}`
}
