// What the end-to-end tests share: HTTP through nginx, the check of every answer against the
// document that the API gives of itself, and what database.mjs has.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { promisify } from 'node:util'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { sql, sqlAsync } from './database.mjs'

export * from './database.mjs'

export const base = new URL(process.env.REST_URL)

const agent = new http.Agent({ keepAlive: true, maxSockets: 60 })

// options: token, session (a cookie), headers, body (a value is sent as JSON, a string or Buffer as it
// is), key (idempotency key; made up for changes, null for none), url, socket (a path in
// place of the address)
export function send (method, path, options = {}) {
  const url = options.url ?? base
  const headers = { ...options.headers }
  let body = options.body
  if (options.token !== undefined) headers.Authorization = `Bearer ${options.token}`
  if (options.session !== undefined) headers.Cookie = `other=1; __Host-walwarden=${options.session}`
  if (!['GET', 'HEAD'].includes(method)) {
    if (options.key !== null) headers['Idempotency-Key'] = options.key ?? randomUUID()
    if (body !== undefined && !('Content-Type' in headers)) headers['Content-Type'] = 'application/json'
  }
  if (headers['Content-Type'] === null) delete headers['Content-Type']
  if (body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body)) body = JSON.stringify(body)
  if (body !== undefined) headers['Content-Length'] = Buffer.byteLength(body)
  // nginx closes a connection that was idle for a minute, while psql makes a test wait for longer
  const attempt = (kept) => new Promise((resolve, reject) => {
    const request = http.request({ agent: kept && agent, method, host: url.hostname, port: url.port, socketPath: options.socket, path: (options.prefix ?? url.pathname) + path, headers }, (response) => {
      const parts = []
      response.on('data', (part) => parts.push(part))
      response.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8')
        let json
        try { json = JSON.parse(text) } catch { }
        resolve({ status: response.statusCode, headers: response.headers, rawHeaders: response.rawHeaders, text, json })
      })
      response.on('error', reject)
    })
    request.on('error', (error) => kept && request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code) ? resolve(attempt(false)) : reject(error))
    request.end(body)
  })
  return attempt(true)
}

// Bytes as they are, to whatever comes back until the server closes.
export function sendRaw (bytes, port = base.port) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    const parts = []
    socket.setTimeout(20000, () => socket.destroy())
    socket.on('data', (part) => parts.push(part))
    socket.on('close', () => {
      const text = Buffer.concat(parts).toString('utf8')
      const status = Number(/^HTTP\/1\.[01] (\d+)/.exec(text)?.[1])
      const begin = text.indexOf('\r\n\r\n') + 4
      const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, begin))?.[1]
      const content = length === undefined ? text.slice(begin) : text.slice(begin, begin + Number(length))
      let json
      try { json = JSON.parse(content) } catch { }
      resolve({ status, text, json })
    })
    socket.on('error', () => {})
    socket.write(bytes)
  })
}

// The document, and a check of each answer against it.
export const document = (await send('GET', '/openapi.json')).json
const ajv = new Ajv2020({ strict: false, allErrors: true })
addFormats(ajv)
ajv.addFormat('cron', true)
// answers may grow for clients, not unnoticed for us: here their objects are closed
const closed = (schema) => {
  if (Array.isArray(schema)) return schema.map(closed)
  if (schema === null || typeof schema !== 'object') return schema
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, ['examples', 'example', 'x-rules'].includes(key) ? value : closed(value)]))
  return copy.properties && !('additionalProperties' in copy) ? { ...copy, additionalProperties: false } : copy
}
ajv.addSchema(closed(document), 'api')
const compiled = new Map()
const schemaAt = (pointer) => {
  if (!compiled.has(pointer)) compiled.set(pointer, ajv.compile({ $ref: `api#${pointer}` }))
  return compiled.get(pointer)
}
const escape = (part) => part.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D')

// A person finds the operations of an organisation below it.
export function operationOf (method, path) {
  const below = /^\/orgs\/[^/]+(\/.*)$/.exec(path)
  return operationAt(method, path) ?? (below && operationAt(method, below[1]))
}

function operationAt (method, path) {
  const bare = path.split('?')[0].split('/')
  const found = Object.keys(document.paths).filter((template) => {
    const parts = template.split('/')
    return parts.length === bare.length && parts.every((part, i) => part === bare[i] || (part.startsWith('{') && bare[i] !== ''))
  }).sort((a, b) => a.includes('{') - b.includes('{'))
  const wanted = (method === 'HEAD' ? 'GET' : method).toLowerCase()
  return found.length > 0 && document.paths[found[0]][wanted] ? { path: found[0], method: wanted } : null
}

// header fields that an answer has if it has a reason to, and the document says so
const occasional = ['access-control-allow-origin', 'access-control-expose-headers', 'allow', 'cache-control', 'clear-site-data', 'etag', 'idempotency-replayed', 'location',
  'ratelimit', 'ratelimit-policy', 'retry-after', 'set-cookie', 'vary', 'www-authenticate']
function checkFields (documented, answer, where) {
  const known = Object.keys(documented.headers ?? {}).map((name) => name.toLowerCase())
  assert.deepEqual(occasional.filter((name) => name in answer.headers && !known.includes(name)), [], `undocumented header fields: ${where}`)
}

export function checkAnswer (method, path, answer) {
  const where = `${method} ${path} -> ${answer.status} ${answer.text.slice(0, 400)}`
  assert.match(answer.headers['x-request-id'] ?? '', /^[0-9a-f]{32}$/, where)
  if (method === 'HEAD') {
    assert.equal(answer.text, '', where)
    return answer
  }
  const operation = operationOf(method, path)
  if (answer.status >= 400) {
    const valid = schemaAt('/components/schemas/ApiError')
    assert.ok(answer.json !== undefined, `not JSON: ${where}`)
    assert.ok(valid(answer.json), `${where}: ${JSON.stringify(valid.errors)}`)
    assert.equal(answer.json.error.requestId, answer.headers['x-request-id'], where)
    assert.match(answer.headers['content-type'], /^application\/json/, where)
    const response = document.components.responses[answer.json.error.code]
    assert.ok(response, where)
    assert.ok(answer.json.error.reason in response['x-reasons'], `reason is not declared: ${where}`)
    checkFields(response, answer, where)
    if (operation) {
      const documented = document.paths[operation.path][operation.method].responses[answer.status]
      assert.equal(documented?.$ref, `#/components/responses/${answer.json.error.code}`, `undocumented: ${where}`)
    }
    if (answer.status === 401) assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer/, where)
    if (answer.status === 405) assert.ok(answer.headers.allow, where)
    return answer
  }
  assert.ok(operation, `undocumented: ${where}`)
  const documented = document.paths[operation.path][operation.method].responses[answer.status]
  assert.ok(documented, `undocumented: ${where}`)
  checkFields(documented, answer, where)
  assert.equal('etag' in answer.headers, 'ETag' in (documented.headers ?? {}), where)
  assert.equal(answer.headers['cache-control'] === 'no-store', !('etag' in answer.headers), where)
  if (documented.content) {
    const valid = schemaAt(`/paths/${escape(operation.path)}/${operation.method}/responses/${answer.status}/content/application~1json/schema`)
    assert.ok(valid(answer.json), `${where}: ${JSON.stringify(valid.errors)}`)
  } else {
    assert.equal(answer.text, '', where)
  }
  return answer
}

export const call = async (method, path, options) => checkAnswer(method, path, await send(method, path, options))

export async function createDatabase (token, name = randomUUID(), more = {}) {
  const destination = await callAgain('POST', '/destinations', { token, body: { name, provider: 's3', uri: 's3://bucket/e2e' } })
  assert.equal(destination.status, 201, destination.text)
  const database = await callAgain('POST', '/databases', { token, body: { name, connectionRef: 'primary', destinationId: destination.json.id, ...more } })
  assert.equal(database.status, 201, database.text)
  return database.json
}

// Another nginx, or PostgREST, with the configuration of the running one changed.
export async function startProgram (program, args, ready) {
  const child = spawn(program, args, { stdio: 'ignore', env: { ...process.env, NGINX: undefined } })
  for (let i = 0; i < 100; i++) {
    if (await ready()) return child
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  child.kill()
  throw new Error(`${program} ${args.join(' ')} did not start`)
}

export function freePort () {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)) })
  })
}

export const sleep = promisify(setTimeout)

// Runs statements that take a lock of a class of src/base/lock.c and then sleep; done
// settles when they end. Returns once the lock is held.
export async function hold (lockClass, statements) {
  const done = sqlAsync(`BEGIN; ${statements}; ROLLBACK;`)
  while (sql(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = ${lockClass} AND granted`) === '0') await sleep(50)
  return { done }
}
export const holdOrganisation = (slug, seconds) => hold(0x5742, `SELECT walwarden.set_org_retention('${slug}', '8 days'); SELECT pg_sleep(${seconds})`)

// nginx's line about an answer, which it writes after the answer.
export async function logLine (answer) {
  for (;;) {
    const line = readFileSync(`${process.env.WORK}/rest/nginx.log`, 'utf8').split('\n').slice(0, -1).find((text) => text.includes(answer.headers['x-request-id']))
    if (line) return line
    await sleep(20)
  }
}

// The token in it.
export const loggedToken = async (answer) => (await logLine(answer)).split(' ').at(-1)

// Signs a person in; returns the cookie.
export async function signIn (subject) {
  const code = sql(`SELECT right(walwarden.sign_in_link('${subject}'), 64)`)
  const answer = await callAgain('POST', '/session', { body: { code }, key: null })
  assert.equal(answer.status, 204, answer.text)
  return /^__Host-walwarden=([0-9a-f]{64}); Path=\/; Secure; HttpOnly; SameSite=Strict$/.exec(answer.headers['set-cookie'])[1]
}

// As call(), but as a client does that is told to come back.
export async function callAgain (method, path, options) {
  for (;;) {
    const answer = await call(method, path, options)
    if (answer.status !== 503 && answer.json?.error?.reason !== 'request_in_progress') return answer
    assert.equal(answer.headers['retry-after'], '1', answer.text)
    await sleep(1000)
  }
}
