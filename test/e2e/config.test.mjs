// The shipped configuration at its limits: variants of the running nginx and
// PostgREST, and a hot standby.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { test, before, after } from 'node:test'
import { allScopes, base, call, checkAnswer, createDatabase, createOrg, holdOrganisation, issue, send, sendRaw, signIn, sql } from './lib.mjs'
import { nginx, postgrest, stopPrograms } from './programs.mjs'

const work = process.env.WORK
let token, database, session
before(async () => {
  createOrg('config')
  token = issue('config', allScopes)
  database = await createDatabase(token)
  sql("SELECT walwarden.add_member('config', 'config-ann', 'owner')")
  session = await signIn('config-ann')
})
after(stopPrograms)

test('too many requests are told when to come again', async () => {
  const url = await nginx('rate', ['rate=100000r/s', 'rate=1r/s'], ['burst=100', 'burst=5'])
  const answers = await Promise.all(Array.from({ length: 30 }, () => send('GET', '/profile', { url, token })))
  const refused = answers.filter((answer) => answer.status === 429)
  assert.ok(refused.length >= 20, `${refused.length} of 30`)
  assert.ok(answers.some((answer) => answer.status === 200))
  for (const answer of refused) {
    checkAnswer('GET', '/profile', answer)
    assert.equal(answer.json.error.code, 'rate_limited')
    assert.ok(Number(answer.headers['retry-after']) > 0)
  }
})

test('slow clients are cut off, and do not stop others', async () => {
  const url = await nginx('slow', ['client_header_timeout 10s', 'client_header_timeout 1s'], ['client_body_timeout 10s', 'client_body_timeout 1s'])
  const slow = ['GET /api/v1/profile HTTP/1.1\r\nHost: x\r\n', `POST /api/v1/databases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: 100\r\n\r\n{`]
    .flatMap((bytes) => Array.from({ length: 20 }, () => sendRaw(bytes, url.port)))
  assert.equal((await send('GET', '/profile', { url, token })).status, 200)
  for (const answer of await Promise.all(slow)) assert.ok(answer.text === '' || answer.json?.error, answer.text)
})

test('nobody behind nginx is 503 in the right form', async () => {
  const url = await nginx('gone', ['/postgrest.sock', '/gone.sock'])
  for (const method of ['GET', 'POST', 'HEAD']) {
    const answer = await send(method, '/databases', { url, token, body: method === 'POST' ? {} : undefined })
    assert.equal(answer.status, 503)
    assert.equal(answer.headers['retry-after'], '1')
    checkAnswer(method, '/databases', answer)
  }
})

test('a database that takes too long is 503', async () => {
  sql('ALTER ROLE web_anon SET statement_timeout = 1000')
  const url = await postgrest('timeout')
  const long = await holdOrganisation('config', 4)
  const answer = await send('POST', `/databases/${database.id}/backups`, { url, token })
  assert.equal(answer.status, 503, answer.text)
  checkAnswer('POST', `/databases/${database.id}/backups`, answer)
  await long.done
  sql('ALTER ROLE web_anon RESET statement_timeout')
})

test('a hot standby reads, and refuses changes', async () => {
  const data = `${work}/standby`
  execFileSync('pg_basebackup', ['-D', data, '-R', '-X', 'stream', '-c', 'fast'], { stdio: 'ignore' })
  mkdirSync(`${work}/standby-socket`)
  execFileSync('pg_ctl', ['-s', '-w', '-D', data, '-l', `${work}/standby.log`, '-o', `-c unix_socket_directories=${work}/standby-socket`, 'start'], { stdio: 'ignore' })
  try {
    const url = await postgrest('standby', { changes: [[/host=[^&]*&/, `host=${work}/standby-socket&`], ['db-channel-enabled = true', 'db-channel-enabled = false']] })
    const read = await send('GET', `/databases/${database.id}`, { url, token })
    assert.equal(read.status, 200, read.text)
    checkAnswer('GET', `/databases/${database.id}`, read)
    const known = await send('GET', `/databases/${database.id}`, { url, token, headers: { 'If-None-Match': read.headers.etag } })
    assert.deepEqual([known.status, known.text], [304, ''])
    assert.equal((await send('GET', '/readiness', { url, token })).json.server.standby, true)
    assert.equal((await send('GET', '/profile', { url })).status, 401)
    const refusing = await nginx('refusing', ['map $host $walwarden_standby { default 0; }', 'map $host $walwarden_standby { default 1; }'], ['postgrest.sock', 'standby.sock'])
    for (const method of ['POST', 'PATCH', 'DELETE', 'PUT']) {
      const answer = await send(method, '/databases', { url: refusing, token, body: {} })
      assert.equal(answer.status, 503, answer.text)
      assert.deepEqual([answer.json.error.code, answer.json.error.reason], ['unavailable', 'standby'])
    }
    assert.equal((await send('GET', '/databases', { url: refusing, token })).status, 200)
    assert.equal((await send('HEAD', '/databases', { url: refusing, token })).status, 200)
    // a standby serves no person, whatever nginx knows of it
    for (const place of [url, refusing]) {
      for (const [method, path] of [['GET', '/orgs'], ['HEAD', '/orgs'], ['GET', '/orgs/config/databases'], ['DELETE', '/session'], ['POST', '/session']]) {
        const answer = await send(method, path, { url: place, session: path === '/session' && method === 'POST' ? undefined : session, body: method === 'POST' ? { code: 'x' } : undefined })
        assert.equal(answer.status, 503, `${method} ${path} ${answer.text}`)
        if (method === 'GET') assert.equal(answer.json.error.reason, 'standby')
      }
    }
    // a token that was revoked on the primary is refused once that is replayed
    const revoked = issue('config', allScopes)
    sql(`SELECT walwarden.revoke_token((walwarden.introspect_token('${revoked}') ->> 'tokenId')::uuid)`)
    execFileSync('psql', ['-XqAt', '-h', `${work}/standby-socket`, '-c', `SELECT pg_sleep(0.1) FROM generate_series(1, 100) WHERE pg_last_wal_replay_lsn() < '${sql('SELECT pg_current_wal_lsn()')}'`])
    assert.equal((await send('GET', '/profile', { url, token: revoked })).status, 401)
  } finally {
    execFileSync('pg_ctl', ['-s', '-D', data, '-m', 'immediate', 'stop'], { stdio: 'ignore' })
  }
})

test('the answers that nginx makes have the codes and reasons of the document', () => {
  const config = readFileSync(`${work}/src/postgrest/nginx.conf`, 'utf8')
  const made = [...config.matchAll(/(\d+|default) +'\{"error":\{"code":"(\w+)"/g)].map(([, status, code]) => `${status === 'default' ? 503 : status} ${code}`)
  const known = sql("SELECT status || ' ' || code FROM walwarden_internal.rest_error").split('\n')
  assert.ok(made.length >= 10)
  for (const one of made) assert.ok(known.includes(one), one)
  const declared = sql('SELECT reason FROM walwarden_internal.rest_reason').split('\n')
  const reasons = [...config.matchAll(/"reason":"(\w+)"/g)].map(([, reason]) => reason)
  assert.ok(reasons.length >= made.length)
  for (const reason of reasons) assert.ok(declared.includes(reason), reason)
})

test('security headers are on each answer', async () => {
  for (const path of ['/openapi.json', '/profile', '/no/such']) {
    const answer = await send('GET', path, { token })
    assert.equal(answer.headers['cache-control'], path === '/openapi.json' ? 'public, max-age=3600' : 'no-store')
    assert.equal(answer.headers['x-content-type-options'], 'nosniff')
    assert.equal(answer.headers.server, 'nginx')
    for (const name of ['content-range', 'content-profile', 'content-location', 'preference-applied']) assert.equal(answer.headers[name], undefined)
  }
  assert.ok(base)
})
