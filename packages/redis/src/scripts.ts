import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { ScriptCommand } from './commands.js'
import { isReply } from './errors.js'

/*
 * What has to be done in one step, as scripts of the server. KEYS: the entry's name, its line and the log; each script takes those that it needs, in this
 * order. Nothing is changed before everything that can be refused has been read; the log comes last, so that what could not be told is tried again.
 *
 * A token in a line may have a suffix, which counts how often it was renewed.
 */

/** So many messages are kept at most; they go by their age before (see {@link APPEND}). */
const MOST_MESSAGES = 1_000_000
/** What others have put into the log is passed over, up to so many in a row; beyond, the log begins anew. */
export const MOST_FOREIGN = 16

const COMMON = `
if redis.replicate_commands then redis.replicate_commands() end
local function tokensOf(line) return redis.call('LRANGE', line, 0, -1) end
local function placeOf(tokens, token)
  for at = 1, #tokens do
    if tokens[at] == token or string.sub(tokens[at], 1, #token + 1) == token .. '.' then return at end
  end
end
local function append(log, id, text)
  local previous, first = '', id
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  if last[1] and last[1][2][1] ~= 'i' then last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', ${MOST_FOREIGN}) end
  for _, message in ipairs(last) do
    local said = message[2]
    if said[1] == 'i' and said[5] == 'g' then
      previous, first = said[2], said[6]
      break
    end
  end
  return redis.call('XADD', log, 'MAXLEN', '~', ${MOST_MESSAGES}, '*', 'i', id, 'p', previous, 'g', first, 'm', text)
end
local function leave(line, tokens, at, log, id, text)
  redis.call('LREM', line, 1, tokens[at])
  if at == 1 and #tokens > 1 then append(log, id, text) end
end
`

export class Script {
  readonly source: string
  readonly sha: string

  constructor(source: string) {
    this.source = COMMON + source
    this.sha = createHash('sha1').update(this.source).digest('hex')
  }

  /** Sends it by its hash; a server that does not know it yet is sent the whole. */
  async run(client: Redis, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown> {
    try {
      return await client.sendCommand(new ScriptCommand('evalsha', this.sha, keys, args))
    } catch (error) {
      if (!isReply(error, 'NOSCRIPT')) throw error
      return client.sendCommand(new ScriptCommand('eval', this.source, keys, args))
    }
  }
}

/** entry, line; token, life in ms -> first token, is it ours, is ours in the line, is there an entry */
export const ENTER = new Script(`
local tokens = tokensOf(KEYS[2])
local at = placeOf(tokens, ARGV[1])
if not at then at = redis.call('RPUSH', KEYS[2], ARGV[1]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {tokens[1] or ARGV[1], at == 1 and 1 or 0, 1, redis.call('EXISTS', KEYS[1])}
`)

/** entry, line; token -> as ENTER */
export const LOOK = new Script(`
local tokens = tokensOf(KEYS[2])
local at = placeOf(tokens, ARGV[1])
return {tokens[1] or '', at == 1 and 1 or 0, at and 1 or 0, redis.call('EXISTS', KEYS[1])}
`)

/** line; token, times, life in ms -> 1, or 0: it is not in the line */
export const RENEW = new Script(`
local at = placeOf(tokensOf(KEYS[1]), ARGV[1])
if not at then return 0 end
redis.call('LSET', KEYS[1], at - 1, ARGV[1] .. '.' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
`)

/** line; token, who was first, life in ms -> 1, or 0: another one is */
export const TAKE_OVER = new Script(`
local tokens = tokensOf(KEYS[1])
if tokens[1] ~= ARGV[2] then return 0 end
redis.call('LPOP', KEYS[1])
local at = placeOf(tokens, ARGV[1])
if at then redis.call('LREM', KEYS[1], 1, tokens[at]) end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
`)

/** line, log; token, wake's id, wake's text */
export const LEAVE = new Script(`
local tokens = tokensOf(KEYS[1])
local at = placeOf(tokens, ARGV[1])
if at then leave(KEYS[1], tokens, at, KEYS[2], ARGV[2], ARGV[3]) end
return 1
`)

/** line, log; token, wake's id, wake's text -> 1, or 0: the token is not in the line */
export const COMMIT = new Script(`
local tokens = tokensOf(KEYS[1])
if not placeOf(tokens, ARGV[1]) then return 0 end
redis.call('UNLINK', KEYS[1])
if #tokens > 1 then append(KEYS[2], ARGV[2], ARGV[3]) end
return 1
`)

const SET = `
local function store(name, frame, life, onlyIfAbsent)
  local args = {'SET', name, frame}
  if life ~= '' then args[4] = 'PX' args[5] = life end
  if onlyIfAbsent == '1' then args[#args + 1] = 'NX' end
  return redis.call(unpack(args))
end
`

/** entry, line, log; token, wake's id, wake's text, life in ms or '', '1' for only if absent, frame -> 1; 0: the token is not in the line; 2: an entry is there */
export const PUT_LEASED = new Script(`${SET}
local tokens = tokensOf(KEYS[2])
local at = placeOf(tokens, ARGV[1])
if not at then return 0 end
if not store(KEYS[1], ARGV[6], ARGV[4], ARGV[5]) then
  leave(KEYS[2], tokens, at, KEYS[3], ARGV[2], ARGV[3])
  return 2
end
redis.call('UNLINK', KEYS[2])
if #tokens > 1 then append(KEYS[3], ARGV[2], ARGV[3]) end
return 1
`)

/** entry, line, log; message's id and text, life in ms or '', frame -> 1 */
export const PUT_ANNOUNCED = new Script(`${SET}
store(KEYS[1], ARGV[4], ARGV[3], '0')
redis.call('UNLINK', KEYS[2])
append(KEYS[3], ARGV[1], ARGV[2])
return 1
`)

/** entry, line, log; message's id and text -> how many entries there were */
export const DELETE_ANNOUNCED = new Script(`
local removed = redis.call('UNLINK', KEYS[1])
redis.call('UNLINK', KEYS[2])
append(KEYS[3], ARGV[1], ARGV[2])
return removed
`)

/** line, log; message's id and text */
export const ANNOUNCE = new Script(`
redis.call('UNLINK', KEYS[1])
append(KEYS[2], ARGV[1], ARGV[2])
return 1
`)

/** log; message's id and text, for how long messages are kept in ms -> position */
export const APPEND = new Script(`
redis.call('UNLINK', KEYS[1] .. '!') -- nothing is there; what has begun to write is not refused for want of memory
local position = append(KEYS[1], ARGV[1], ARGV[2])
local oldest = tonumber(string.match(position, '^%d+')) - tonumber(ARGV[3])
redis.pcall('XTRIM', KEYS[1], 'MINID', '~', string.format('%d', oldest))
return position
`)
