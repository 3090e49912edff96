// Generated requests against the whole HTTP surface: no 5xx, and every answer of
// 400 or more in the API's form. FUZZ_SECONDS (default 120), FUZZ_SEED.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allScopes, base, call, checkAnswer, createDatabase, createOrg, document, issue, Node, passed, send, sendRaw, signIn, sql } from './lib.mjs'

const seconds = Number(process.env.FUZZ_SECONDS ?? 120)
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 1e9)

// mulberry32: the same requests for the same seed
let state = seed
function random () {
  state = (state + 0x6D2B79F5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
const below = (n) => Math.floor(random() * n)
const pick = (list) => list[below(list.length)]
const chance = (p) => random() < p

const strings = ['', ' ', 'x', '0', '-1', 'null', 'true', '..', '/', '//', '%00', '%2e%2e', '%', '%zz', "'", "' OR 1=1 --", '"', '\\', '\u0000', '\n', '\u202e', '\ud83d\ude00', 'é', '{}', '[]', '${x}', '{{1}}', '../../etc/passwd', 'wal_' + 'a'.repeat(64), 'a'.repeat(101), 'a'.repeat(5000), '9'.repeat(40), '1e999', '2026-11-21T00:00:00Z', '00000000-0000-0000-0000-000000000000', '* * * * *', 's3://b/x', 'postgres://u:p@h/d']
const numbers = [0, -1, 1, 1.5, 1e21, 9007199254740991, 9007199254740993, -9007199254740991]

function value (depth = 0) {
  const kind = below(depth > 3 ? 4 : 7)
  if (kind === 0) return pick(strings)
  if (kind === 1) return pick(numbers)
  if (kind === 2) return pick([true, false, null])
  if (kind === 3) return crypto.randomUUID()
  if (kind === 4) return Array.from({ length: below(5) }, () => value(depth + 1))
  return Object.fromEntries(Array.from({ length: below(5) }, () => [pick(['name', 'type', 'id', 'objectives', ...strings]), value(depth + 1)]))
}

function mutate (example) {
  const copy = structuredClone(example ?? {})
  for (let i = below(4); i > 0; i--) {
    const keys = Object.keys(copy)
    if (chance(0.2) || keys.length === 0) copy[pick(['extra', 'name', '__proto__x', ...strings])] = value()
    else if (chance(0.2)) delete copy[pick(keys)]
    else copy[pick(keys)] = value()
  }
  return copy
}

function bytes (text) {
  const buffer = Buffer.from(text)
  for (let i = below(4); i > 0 && buffer.length > 0; i--) buffer[below(buffer.length)] = below(256)
  return chance(0.2) ? buffer.subarray(0, below(buffer.length + 1)) : buffer
}

test(`fuzz for ${seconds} s`, async () => {
  createOrg('fuzz')
  const all = issue('fuzz', allScopes)
  const node = new Node('fuzz')
  const database = await createDatabase(all)
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token: all })).json
  await node.completeBackup(passed('2026-11-19T00:00:00Z', '2026-11-20T00:00:00Z'))
  const { windowId } = (await call('GET', `/databases/${database.id}/recovery/summary`, { token: all })).json.windows[0]
  const ids = [database.id, database.destinationId, backupJobId, windowId]
  // people, who may end each other's sessions and memberships
  const roles = ['owner', 'owner', 'admin', 'member', 'read_only']
  const join = (i) => sql(`SELECT walwarden.add_member('fuzz', 'fuzz-${i}-' || gen_random_uuid(), '${roles[i]}')`)
  const subject = (member) => sql(`SELECT subject FROM walwarden_internal.member WHERE id = '${member}' AND disabled_at IS NULL AND removed_at IS NULL`)
  const members = roles.map((_, i) => join(i))
  const sessions = []
  for (const member of members) sessions.push(await signIn(subject(member)))
  let comebacks = 0
  async function comeBack (i) {
    if (++comebacks > seconds) return      // each takes some SQL
    if (subject(members[i]) === '') members[i] = join(i)
    // unless the others are at it again
    sessions[i] = await signIn(subject(members[i]).replaceAll("'", "''")).catch(() => sessions[i])
  }
  createOrg('fuzz-foreign')
  const slugs = ['fuzz', 'fuzz', 'fuzz', 'fuzz-foreign', 'nosuch', 'FUZZ', '%66uzz', 'fuzz%2f', '..', '_system']
  ids.push(...members, ...Array.from({ length: 3 }, (_, i) => sql(`SELECT token_id FROM walwarden.issue_token('fuzz', 'managed ${i}')`)))
  const sites = ['same-origin', 'none', 'same-site', 'cross-site', '', 'x']
  const tokens = [all, all, all, issue('fuzz'), issue('fuzz', ['databases:read']), node.token, undefined, 'wal_' + 'b'.repeat(64), 'x']
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })))
  // what a path that leaves the API comes to, such as /../..: the page for people, which is no JSON
  const page = (await send('GET', '/', { prefix: '' })).text
  assert.ok(page.startsWith('<!doctype html>'))
  const counts = {}
  let requests = 0
  let busy = 0

  async function one () {
    const { path: template, method: proper, operation } = pick(operations)
    const method = chance(0.1) ? pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'PROPFIND', 'X']) : proper
    const who = chance(0.5) ? below(sessions.length) : undefined
    const session = chance(0.05) ? pick(['0'.repeat(64), 'x', '', `${sessions[0]}; __Host-walwarden=${sessions[1]}`]) : sessions[who]
    const place = template.startsWith('/orgs/') || who === undefined || template === '/orgs' || template === '/session' ? template : `/orgs/{org}${template}`
    let path = place.replace('{org}', pick(slugs)).replace(/\{\w+\}/, chance(0.8) ? pick(ids) : encodeURIComponent(pick(strings)).replaceAll('%2F', '/'))
    if (chance(0.15)) path += '?' + pick(['limit=', 'cursor=', 'limit=5&', 'x=', '']) + encodeURIComponent(pick(strings))
    if (chance(0.05)) path = path.slice(0, below(path.length)) + pick(['/', '//', '%00', '..', ';', '%2f', 'X']) + path.slice(below(path.length))
    const headers = {}
    if (chance(0.1)) headers[pick(['X-WallarmApi-Token', 'X-WallarmAPI-UUID', 'X-WallarmAPI-Secret', 'X-Walwarden-Path', 'Prefer', 'Range', 'Accept', 'Accept-Profile', 'Content-Profile', 'X-Request-Id', 'X-HTTP-Method-Override', 'Cookie', 'Expect'])] = pick(strings).replace(/[^ -~]/g, '?')
    if (chance(0.1)) headers['Content-Type'] = pick(['text/plain', 'application/json', 'application/octet-stream', 'text/csv', 'x'])
    const example = operation.requestBody?.content['application/json'].example
    let body
    if (!['GET', 'HEAD'].includes(method) && chance(0.9)) {
      const text = JSON.stringify(mutate(example))
      body = chance(0.2) ? bytes(text) : chance(0.02) ? Buffer.alloc(pick([65535, 65536, 65537, 200000]), 0x20) : text
    }
    if (chance(0.1)) headers['Sec-Fetch-Site'] = pick(sites)
    if (chance(0.05)) headers.Origin = pick(['null', 'https://evil.example', `http://${base.host}`, 'x'])
    const token = session === undefined || chance(0.05) ? pick(tokens) : undefined
    if (headers.Expect) headers.Expect = '100-continue'
    const options = { token, session, headers, body, key: chance(0.1) ? pick([null, '', 'k', 'a b', 'x'.repeat(300)]) : undefined }
    let answer
    try {
      answer = await send(method, path, options)
    } catch (error) {
      // what Node refuses to send, and what nginx cuts off for good reason: a body
      // that is still being sent when it has been refused
      if (/ERR_INVALID|ERR_UNESCAPED|ECONNRESET|EPIPE|hang up/.test(`${error.code} ${error.message}`)) return
      throw error
    }
    const what = `seed ${seed}: ${method} ${path} ${JSON.stringify({ ...options, token: tokens.indexOf(token), session: who ?? session, body: body?.toString('latin1') })}: ${answer.status} ${answer.text}`
    // on a machine that stands still a lock is not had in time, which says so
    if (answer.status === 503 && answer.text.includes('the database is busy') && ++busy < 10) return
    assert.ok(answer.status < 500, what)
    counts[answer.status] = (counts[answer.status] ?? 0) + 1
    try {
      if (answer.status >= 400) checkAnswer(method === 'HEAD' ? 'HEAD' : 'GET', '/no/such/path', answer)
      else if (method !== 'HEAD' && answer.text !== page) checkAnswer(method, path, answer)
    } catch (error) {
      throw new Error(`${what}\n${error.message}`)
    }
    requests++
    if (answer.status === 401 && who !== undefined && token === undefined && session === sessions[who]) await comeBack(who)
  }

  async function raw () {
    const lines = [
      `${pick(['GET', 'POST', 'get', 'DELETE', '\0', ''])} ${pick(['/api/v1/profile', '/api/v1/databases', '*', '/x', 'http://x/api/v1/profile', '/api/v1/' + 'x'.repeat(below(9000))])} ${pick(['HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9', ''])}`,
      'Host: x', 'Connection: close',
      ...Array.from({ length: below(4) }, () => pick([`Authorization: Bearer ${all}`, 'Authorization: Basic eA==', 'Content-Length: 2', 'Content-Length: 99999999', 'Content-Length: x', 'Transfer-Encoding: chunked', 'Transfer-Encoding: x', 'X: ' + pick(strings), ': x', 'no colon', 'Idempotency-Key: k', 'Content-Type: application/json', 'X-Large: ' + 'x'.repeat(below(20000))]))
    ]
    const request = bytes(lines.join('\r\n') + '\r\n\r\n' + pick(['', '{}', '0\r\n\r\n', '2\r\n{}\r\n0\r\n\r\n', 'zz\r\n']))
    const answer = await Promise.race([sendRaw(request), new Promise((resolve) => setTimeout(() => resolve({ text: '' }), 300))])
    if (answer.text === '') return      // cut off, or still waiting for the rest
    const what = `seed ${seed}: ${JSON.stringify(request.toString('latin1'))}: ${answer.text}`
    if (Number.isNaN(answer.status) && answer.text === page) return
    if (Number.isNaN(answer.status)) return assert.ok(JSON.parse(answer.text).error || answer.text.includes('apiVersion') || answer.text.includes('pageInfo'), what)
    assert.ok(answer.status < 500, what)
    // broken chunks behind a request that was refused before its body was read: nginx's own page
    if (answer.status === 400 && request.includes('chunked') && answer.text.includes('<center>nginx</center>')) return
    if (answer.status >= 400) assert.ok(answer.json?.error?.requestId || answer.text.endsWith('\r\n\r\n'), what)
    requests++
    counts[answer.status] = (counts[answer.status] ?? 0) + 1
  }

  const end = Date.now() + seconds * 1000
  await Promise.all([
    ...Array.from({ length: 8 }, async () => { while (Date.now() < end) await one() }),
    ...Array.from({ length: 2 }, async () => { while (Date.now() < end) await raw() })
  ])
  console.log(`# seed ${seed}: ${requests} requests, ${JSON.stringify(counts)}`)
  assert.ok(requests > 10 * seconds)
  assert.equal((await call('GET', `/databases/${database.id}`, { token: all })).status, (sql(`SELECT count(*) FROM walwarden_internal.database WHERE id = '${database.id}' AND deleted_at IS NULL`) === '1') ? 200 : 404)
  assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain('fuzz')"), 't')
})
