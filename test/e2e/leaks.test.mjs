// Reports of leaked tokens over HTTP, and whose request it was in nginx's access log.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test, after } from 'node:test'
import { call, createOrg, document, freePort, holdOrganisation, issue, loggedToken, send, sql, startProgram } from './lib.mjs'

const work = process.env.WORK
const children = []
after(() => children.forEach((child) => child.kill()))

createOrg('leaks')
const report = (body, options) => call('POST', '/leaks', { body, key: null, ...options })
const entries = () => sql("SELECT count(*) FROM walwarden.list_audit('leaks', 0, 1000)")
const lastEntry = () => JSON.parse(sql("SELECT body FROM walwarden.list_audit('leaks', 0, 1000) ORDER BY seq DESC LIMIT 1")).payload

test('a reported token is revoked, and the answer is the same for every other', async () => {
  const token = issue('leaks', ['databases:read'])
  assert.equal((await call('GET', '/databases', { token })).status, 200)
  const first = await report({ token, source: 'github.com/acme/app, config.yaml' })
  assert.equal(first.status, 204)
  assert.equal(first.text, '')
  assert.equal((await call('GET', '/databases', { token })).status, 401)
  const entry = lastEntry()
  assert.equal(entry.after.revokedReason, 'leaked: github.com/acme/app, config.yaml')
  assert.deepEqual(Object.keys(entry.actor).sort(), ['kind', 'login', 'role', 'tokenId'])
  assert.equal(entry.actor.kind, 'token')
  assert.equal(entry.actor.tokenId, entry.object.id)

  const before = entries()
  const same = (answer) => JSON.stringify({ ...answer.headers, date: '', 'x-request-id': '' }) + answer.status + answer.text
  for (const other of [token, 'wal_' + '0'.repeat(64), '', 'x', 'wal_', 'x'.repeat(1024), 'a\nb', '\u0001', 'größe', 'password=x', `${crypto.randomUUID()}:${'s'.repeat(40)}`]) {
    assert.equal(same(await report({ token: other })), same(first), other)
  }
  assert.equal(entries(), before, 'nothing is recorded')
})

test('a pair, a token in its overlap, and whatever credential comes along', async () => {
  const uuid = crypto.randomUUID()
  const secret = 'e2e-' + crypto.randomUUID()
  sql("SELECT walwarden.add_member('leaks', 'old')")
  sql(`SELECT walwarden.import_legacy_credential('leaks', 'old', '${uuid}', '${secret}')`)
  assert.equal((await report({ token: `${uuid}:${secret}` })).status, 204)
  assert.equal(sql("SELECT state FROM walwarden.list_tokens('leaks') WHERE kind = 'legacy'"), 'revoked')
  for (const credential of [{ token: 'wal_x' }, { token: issue('leaks') }, { headers: { 'X-WallarmApi-Token': 'wal_' + '1'.repeat(64) } }, { key: 'a key', token: issue('leaks', [], ", kind => 'node'") }]) {
    const token = issue('leaks')
    const before = entries()
    assert.equal((await report({ token }, credential)).status, 204)
    assert.equal(Number(entries()), Number(before) + 1)
    assert.equal((await call('GET', '/profile', { token })).status, 401)
  }
})

test('what is wrong with a request is said without the token', async () => {
  const token = issue('leaks')
  for (const [body, field, reason] of [
    [{}, 'token', 'missing'], [{ token: 1 }, 'token', 'wrong_type'], [{ token: null }, 'token', 'wrong_type'], [{ token: 'x'.repeat(1025) }, 'token', 'out_of_range'],
    [{ token, more: token }, 'more', 'unknown_field'], [{ token, [token]: 1 }, 'wal_...', 'unknown_field'],
    [{ token, source: token }, 'source', 'secret'], [{ token, source: `see ${token}` }, 'source', 'secret'], [{ token, source: '' }, 'source', 'out_of_range'],
    [{ token, source: 'a\nb' }, 'source', 'malformed'], [{ token, source: 'x'.repeat(401) }, 'source', 'out_of_range'], [{ token, source: null }, 'source', 'wrong_type'],
    [`{"token": "${token}", "token": "${token}"}`, 'token', 'duplicate_key'], [`{"token": "${token}"`, 'body', 'malformed_json'], [[token], 'body', 'wrong_type'], [JSON.stringify(token), 'body', 'wrong_type']
  ]) {
    const answer = await send('POST', '/leaks', { body, key: null, headers: { 'Content-Type': 'application/json' } })
    assert.equal(answer.status, 400, JSON.stringify(body))
    assert.equal(answer.json.error.field, field)
    assert.equal(answer.json.error.reason, reason)
    assert.ok(!answer.text.includes(token))
  }
  const secret = crypto.randomUUID() + crypto.randomUUID()
  const pair = await report({ token: `${crypto.randomUUID()}:${secret}`, source: `seen ${secret}` })
  assert.equal(pair.status, 400)
  assert.equal(pair.json.error.field, 'source')
  assert.ok(!pair.text.includes(secret))
  assert.equal((await send('POST', '/leaks', { body: token, key: null, headers: { 'Content-Type': 'text/plain' } })).status, 415)
  assert.equal((await send('POST', '/leaks?x=1', { body: { token }, key: null })).status, 400)
  assert.equal((await send('GET', '/leaks', { token })).status, 405, 'a method that needs a token')
  assert.equal((await send('GET', '/leaks', {})).status, 401)
  assert.equal((await call('GET', '/profile', { token })).status, 200, 'the token is as it was')

  // a report that has to wait is told to come again
  const holder = await holdOrganisation('leaks', 4)
  const waiting = await report({ token })
  assert.equal(waiting.status, 503)
  assert.equal(waiting.headers['retry-after'], '1')
  await holder
})

test('the document says that it needs neither token nor key', () => {
  const operation = document.paths['/leaks'].post
  assert.deepEqual(operation.security, [])
  assert.equal(operation.parameters, undefined)
  assert.deepEqual(Object.keys(operation.responses).sort(), ['204', '400', '403', '405', '413', '414', '415', '429', '431', '500', '503'])
  assert.equal(document.components.schemas.LeakReport.properties.token.writeOnly, true)
  assert.deepEqual(document.paths['/openapi.json'].get.security, [])
})

test('nginx limits reports by the address of the client, and nothing else with them', async () => {
  const port = await freePort()
  const config = readFileSync(`${work}/rest/nginx.conf`, 'utf8').replace(/listen .*;/, `listen 127.0.0.1:${port};`)
    .replaceAll(`${work}/rest/nginx.pid`, `${work}/rest/leaks.pid`)
    .replace(/(zone=walwarden_leaks:10m rate=)\S+;/, '$11r/m;').replace(/(limit_req zone=walwarden_leaks burst=)\d+/, '$13')
  writeFileSync(`${work}/rest/leaks.conf`, config)
  const url = new URL(`http://127.0.0.1:${port}/api/v1`)
  children.push(await startProgram(process.env.NGINX_BIN, ['-e', `${work}/rest/leaks-error.log`, '-c', `${work}/rest/leaks.conf`],
    () => send('GET', '/no/such', { url, prefix: '' }).then(() => true, () => false)))
  const statuses = []
  for (let i = 0; i < 8; i++) statuses.push((await send('POST', '/leaks', { url, body: { token: 'x' }, key: null })).status)
  assert.deepEqual(statuses, [204, 204, 204, 204, 429, 429, 429, 429])
  const token = issue('leaks')
  for (let i = 0; i < 8; i++) assert.equal((await send('GET', '/profile', { url, token })).status, 200)
})

test("nginx's access log has the id of the token, the client does not, and no log has a token", async () => {
  const token = issue('leaks', ['databases:read'])
  const id = sql("SELECT token_id FROM walwarden.list_tokens('leaks') LIMIT 1")
  const logged = async (request) => {
    const answer = await request
    assert.ok(!JSON.stringify(answer.headers).includes(id), 'not for the client')
    return await loggedToken(answer)
  }
  assert.equal(await logged(send('GET', '/databases', { token })), id)
  assert.equal(await logged(send('GET', '/evidence', { token })), id, '403')
  assert.equal(await logged(send('GET', '/no/such', { token })), id, '404')
  assert.equal(await logged(send('POST', '/databases', { token, body: {} })), id, 'a change')
  assert.equal(await logged(send('GET', '/profile', {})), '-')
  assert.equal(await logged(send('GET', '/profile', { token: 'wal_' + '2'.repeat(64) })), '-')
  assert.equal(await logged(send('GET', '/profile', { token, headers: { 'X-Walwarden-Token-Id': crypto.randomUUID() } })), id, 'whatever the client sends')
  assert.equal(await logged(report({ token })), '-')
  for (const file of ['rest/nginx.log', 'rest/nginx-error.log', 'rest/error.log', 'rest/postgrest.log', 'server.log']) {
    assert.ok(!readFileSync(`${work}/${file}`).includes(token), file)
  }
})
