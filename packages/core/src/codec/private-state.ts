/*
 * Whether a class declares private fields. No API tells: private names cannot be seen from outside, and what an engine's inspector knows would
 * cost a session of it. The source text of the class does tell, once per class. It is read without strings, comments and regular expressions;
 * a class whose text is not at hand (bound, native, compiled to WeakMaps) counts as one without.
 */

/** What could hold a `#` that is no private name. */
const NO_CODE = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|(?<=[(,=:[!&|?{};\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/g
/** A declaration: not `this.#name`, not a method, not static. Private methods hold nothing. */
const FIELD = /(?<![.\w$#])(?<!\bstatic\s+)#[\p{ID_Start}$_][\p{ID_Continue}$]*\s*(?:=(?!=)|;|\}|(?=\n))/u

const known = new WeakMap<object, boolean>()

/** Whether instances with this prototype may have private fields. */
export function keepsPrivateState(prototype: object): boolean {
  let answer = known.get(prototype)
  if (answer === undefined) {
    const above = Object.getPrototypeOf(prototype) as object | null
    answer = declaresField(prototype) || (above !== null && Object.getPrototypeOf(above) !== null && keepsPrivateState(above))
    known.set(prototype, answer)
  }
  return answer
}

function declaresField(prototype: object): boolean {
  const constructor: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
  if (typeof constructor !== 'function') return false
  const source = Function.prototype.toString.call(constructor)
  return source.startsWith('class') && source.includes('#') && FIELD.test(source.replace(NO_CODE, ' '))
}
