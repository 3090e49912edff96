// What the end-to-end tests share: SQL through psql, HTTP through nginx, and the
// check of every answer against the document that the API gives of itself.
import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { promisify } from 'node:util'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

export const base = new URL(process.env.REST_URL)

// Statements of the tests hold tokens as literals; a client of the API never does.
const quiet = { ...process.env, PGOPTIONS: '-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c client_min_messages=error' }
const psql = ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-f', '-']     // verbose: with the SQLSTATE

export function sql (text, env = {}) {
  return execFileSync('psql', psql, { input: text, env: { ...quiet, ...env }, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['pipe', 'pipe', 'pipe'] }).trim()
}

export function sqlAsync (text, env = {}) {
  return new Promise((resolve, reject) => {
    const child = execFile('psql', psql, { env: { ...quiet, ...env }, maxBuffer: 1 << 28 }, (error, out, err) =>
      error ? reject(new Error(err)) : resolve(out.trim()))
    child.stdin.end(text)
  })
}

export const sqlJson = (query) => JSON.parse(sql(`SELECT coalesce(json_agg(q), '[]') FROM (${query}) AS q`))

const agent = new http.Agent({ keepAlive: true, maxSockets: 60 })

// options: token, headers, body (a value is sent as JSON, a string or Buffer as it
// is), key (idempotency key; made up for changes, null for none), url
export function send (method, path, options = {}) {
  const url = options.url ?? base
  const headers = { ...options.headers }
  let body = options.body
  if (options.token !== undefined) headers.Authorization = `Bearer ${options.token}`
  if (!['GET', 'HEAD'].includes(method)) {
    if (options.key !== null) headers['Idempotency-Key'] = options.key ?? randomUUID()
    if (body !== undefined && !('Content-Type' in headers)) headers['Content-Type'] = 'application/json'
  }
  if (headers['Content-Type'] === null) delete headers['Content-Type']
  if (body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body)) body = JSON.stringify(body)
  if (body !== undefined) headers['Content-Length'] = Buffer.byteLength(body)
  return new Promise((resolve, reject) => {
    const request = http.request({ agent, method, host: url.hostname, port: url.port, path: (options.prefix ?? url.pathname) + path, headers }, (response) => {
      const parts = []
      response.on('data', (part) => parts.push(part))
      response.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8')
        let json
        try { json = JSON.parse(text) } catch { }
        resolve({ status: response.statusCode, headers: response.headers, text, json })
      })
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body)
  })
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
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, ['examples', 'example', 'if', 'then'].includes(key) ? value : closed(value)]))
  return copy.properties && !('additionalProperties' in copy) ? { ...copy, additionalProperties: false } : copy
}
ajv.addSchema(closed(document), 'api')
const compiled = new Map()
const schemaAt = (pointer) => {
  if (!compiled.has(pointer)) compiled.set(pointer, ajv.compile({ $ref: `api#${pointer}` }))
  return compiled.get(pointer)
}
const escape = (part) => part.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D')

export function operationOf (method, path) {
  const bare = path.split('?')[0].split('/')
  const found = Object.keys(document.paths).filter((template) => {
    const parts = template.split('/')
    return parts.length === bare.length && parts.every((part, i) => part === bare[i] || (part.startsWith('{') && bare[i] !== ''))
  }).sort((a, b) => a.includes('{') - b.includes('{'))
  const wanted = (method === 'HEAD' ? 'GET' : method).toLowerCase()
  return found.length > 0 && document.paths[found[0]][wanted] ? { path: found[0], method: wanted } : null
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
    const valid = schemaAt('/components/schemas/Error')
    assert.ok(answer.json !== undefined, `not JSON: ${where}`)
    assert.ok(valid(answer.json), `${where}: ${JSON.stringify(valid.errors)}`)
    assert.equal(answer.json.error.requestId, answer.headers['x-request-id'], where)
    assert.match(answer.headers['content-type'], /^application\/json/, where)
    const response = document.components.responses[answer.json.error.code]
    assert.ok(response, where)
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
  if (documented.content) {
    const valid = schemaAt(`/paths/${escape(operation.path)}/${operation.method}/responses/${answer.status}/content/application~1json/schema`)
    assert.ok(valid(answer.json), `${where}: ${JSON.stringify(valid.errors)}`)
  } else {
    assert.equal(answer.text, '', where)
  }
  return answer
}

export const call = async (method, path, options) => checkAnswer(method, path, await send(method, path, options))

// Tokens, by SQL as an operator. They are given names, so that tests of one file
// do not meet those of another.
export function createOrg (slug) {
  sql(`SELECT walwarden.create_org('${slug}')`)
}

export function issue (org, scopes = [], more = '') {
  return sql(`SELECT token FROM walwarden.issue_token('${org}', 'e2e', '{${scopes.join(',')}}'::text[]${more})`)
}

export const allScopes = sqlJson('SELECT name FROM walwarden_internal.scope WHERE builtin').map((row) => row.name)

// A node of an org: claims jobs and moves them, as docs/runner-protocol.md shows it.
export class Node {
  constructor (org, token = issue(org, [], ", kind => 'node'"), name = randomUUID()) {
    this.token = token
    this.name = name
    sql("DO $$ BEGIN CREATE ROLE e2e_runner; PERFORM walwarden.grant_runner('e2e_runner'); EXCEPTION WHEN duplicate_object THEN NULL; END $$")
  }

  // before the first job; once
  async register () {
    this.registered ??= this.run(`SELECT walwarden.register_node('${this.name}', '1.0')`)
    await this.registered
  }

  // statement: SQL whose single row is returned as JSON, or null
  async run (statement) {
    const out = await sqlAsync(`BEGIN; SET LOCAL ROLE e2e_runner;
      SELECT walwarden.authenticate('${this.token}') \\g /dev/null
      SELECT to_json(q) FROM (${statement}) AS q;
      COMMIT;`)
    return out === '' ? null : JSON.parse(out)
  }

  async claim (kinds = '{backup,restore,drill}', lease = '60 s') {
    await this.register()
    return this.run(`SELECT * FROM walwarden.claim_job('${kinds}', '${lease}')`)
  }

  report (job, state, detail = {}) {
    return this.run(`SELECT walwarden.report_job('${job.job_id}', ${job.fence}, '${state}', '${JSON.stringify(detail)}')`)
  }

  evidence (job, evidence) {
    return this.run(`SELECT walwarden.record_evidence('${job.job_id}', ${job.fence}, '${JSON.stringify(evidence)}')`)
  }

  async completeBackup (evidence = unchecked) {
    const job = await this.claim('{backup}')
    await this.report(job, 'running')
    await this.report(job, 'finalizing')
    await this.evidence(job, evidence)
    await this.report(job, 'completed', { artifact })
    return job
  }

  async failBackup () {
    const job = await this.claim('{backup}')
    await this.report(job, 'failed', { error: { class: 'io', message: 'disk full', retryable: false } })
    return job
  }
}

// What a backup of these tests leaves behind, and evidence of it that nobody has checked.
export const artifact = { name: 'base.tar', sizeBytes: 1, checksumSha256: 'a'.repeat(64) }
export const unchecked = { manifest: { artifact }, integrityVerification: { result: 'not_run', checkedAt: null, tool: null }, recoverableTo: '2026-11-20T00:00:00Z' }

export const passed = (from, to) => ({
  manifest: { files: 3, artifact },
  integrityVerification: { result: 'passed', checkedAt: '2026-11-20T12:00:00Z', tool: 'pg_verifybackup' },
  recoverableFrom: from,
  recoverableTo: to
})

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

// The token in nginx's line about an answer, which it writes after the answer.
export async function loggedToken (answer) {
  for (;;) {
    const line = readFileSync(`${process.env.WORK}/rest/nginx.log`, 'utf8').split('\n').slice(0, -1).find((text) => text.includes(answer.headers['x-request-id']))
    if (line) return line.split(' ').at(-1)
    await sleep(20)
  }
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

// Holds the lock of an organisation until release() is called; resolves once it is held.
export function lockOrganisation (slug) {
  const child = spawn('psql', psql, { env: quiet, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.on('close', resolve))
  child.stdin.write(`BEGIN; SELECT walwarden_internal.acquire_org_lock(id) FROM walwarden_internal.org WHERE slug = '${slug}';\n\\echo locked\n`)
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => { if (String(text).includes('locked')) resolve({ release: () => { child.stdin.end('ROLLBACK;'); return ended } }) })
    ended.then(() => reject(new Error('psql ended')))
  })
}
