// A change happens exactly once, however often and however concurrently it is sent.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, createDatabase, createOrg, hold, holdOrganisation, issue, sleep, sql } from './lib.mjs'

let token
before(() => {
  createOrg('once')
  token = issue('once', allScopes)
})

const jobs = (database) => Number(sql(`SELECT count(*) FROM walwarden.job WHERE database_id = '${database.id}'`))

test('50 parallel equal requests make one job and fifty equal answers', async () => {
  const database = await createDatabase(token)
  const key = crypto.randomUUID()
  const answers = await Promise.all(Array.from({ length: 50 }, () => call('POST', `/databases/${database.id}/backups`, { token, key, body: { reason: 'once' } })))
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [202])
  assert.equal(new Set(answers.map((answer) => answer.text)).size, 1)
  assert.equal(new Set(answers.map((answer) => answer.headers.location)).size, 1)
  assert.equal(answers.filter((answer) => answer.headers['idempotency-replayed'] === 'true').length, 49)
  assert.equal(jobs(database), 1)
  assert.equal(sql(`SELECT count(*) FROM walwarden.audit_entry WHERE kind = 'backup.queued' AND job_id = '${answers[0].json.backupJobId}'`), '1')
})

test('50 parallel requests with keys of their own make one job and 49 conflicts', async () => {
  const database = await createDatabase(token)
  const answers = await Promise.all(Array.from({ length: 50 }, () => call('POST', `/databases/${database.id}/backups`, { token })))
  assert.equal(answers.filter((answer) => answer.status === 202).length, 1)
  for (const answer of answers.filter((answer) => answer.status !== 202)) {
    assert.equal(answer.status, 409)
    assert.equal(answer.json.error.reason, 'backup_already_active')
  }
  assert.equal(jobs(database), 1)
})

test('what counts as the same request', async () => {
  const key = crypto.randomUUID()
  const name = crypto.randomUUID()
  const first = await call('POST', '/databases', { token, key, body: `{"name":"${name}","connectionRef":"primary"}` })
  assert.equal(first.status, 201)
  for (const body of [`{ "connectionRef" : "primary",\n "name":"${name}" }`, `{"name":"${name}","connectionRef":"prim\\u0061ry"}`]) {
    const again = await call('POST', '/databases', { token, key, body })
    assert.equal(again.text, first.text)
    assert.equal(again.status, 201)
    assert.equal(again.headers.location, first.headers.location)
    assert.equal(again.headers['idempotency-replayed'], 'true')
  }
  assert.equal((await call('POST', '/databases', { token, key: `"${key}"`, body: { name, connectionRef: 'primary' } })).text, first.text, 'a quoted key is the same key')
  for (const [method, path, body] of [
    ['POST', '/databases', { name: name + 'x', connectionRef: 'primary' }],
    ['POST', '/databases', { name, connectionRef: 'primary', schedule: null }],
    ['POST', '/destinations', { name, provider: 's3', uri: 's3://x' }],
    ['PATCH', `/databases/${first.json.id}`, { name }],
    ['DELETE', `/databases/${first.json.id}`, undefined]
  ]) {
    const answer = await call(method, path, { token, key, body })
    assert.equal(answer.status, 409, answer.text)
    assert.equal(answer.json.error.reason, 'idempotency_key_reused')
  }
  // the key is the token's own
  const other = issue('once', allScopes)
  assert.equal((await call('POST', '/databases', { token: other, key, body: { name: name + 'y', connectionRef: 'primary' } })).status, 201)
})

test('an answer without a body is given again too', async () => {
  const database = await createDatabase(token)
  const key = crypto.randomUUID()
  for (const replayed of [undefined, 'true']) {
    const answer = await call('DELETE', `/databases/${database.id}`, { token, key })
    assert.equal(answer.status, 204)
    assert.equal(answer.headers['idempotency-replayed'], replayed)
  }
  assert.equal((await call('DELETE', `/databases/${database.id}`, { token })).status, 404)
})

test('a refused request stores nothing under its key', async () => {
  const key = crypto.randomUUID()
  const name = crypto.randomUUID()
  assert.equal((await call('POST', '/databases', { token, key, body: { name } })).status, 400)
  assert.equal((await call('POST', '/databases', { token, key, body: { name, connectionRef: 'primary', destinationId: crypto.randomUUID() } })).status, 404)
  assert.equal((await call('POST', '/databases', { token, key, body: { name, connectionRef: 'primary' } })).status, 201)
})

test('authorisation comes before the stored answer', async () => {
  const own = issue('once', allScopes)
  const key = crypto.randomUUID()
  const body = { name: crypto.randomUUID(), connectionRef: 'primary' }
  assert.equal((await call('POST', '/databases', { token: own, key, body })).status, 201)
  sql(`SELECT walwarden.revoke_token((walwarden.introspect_token('${own}') ->> 'tokenId')::uuid)`)
  assert.equal((await call('POST', '/databases', { token: own, key, body })).status, 401)
})

test('only hashes of keys are kept, and old keys are forgotten', async () => {
  const key = 'remarkable-' + crypto.randomUUID()
  const body = { name: crypto.randomUUID(), connectionRef: 'primary' }
  assert.equal((await call('POST', '/databases', { token, key, body })).status, 201)
  assert.equal(sql(`SELECT count(*) FROM walwarden.idempotency_key AS k WHERE k::text LIKE '%remarkable%'`), '0')
  assert.equal(sql(`SELECT count(*) FROM walwarden.idempotency_key WHERE key_hash = sha256('${key}')`), '1')
  sql(`UPDATE walwarden.idempotency_key SET created_at = created_at - interval '24 hours' WHERE key_hash = sha256('${key}')`)
  const again = await call('POST', '/databases', { token, key, body: { ...body, name: body.name + 'x' } })
  assert.equal(again.status, 201, 'a key of yesterday is a new key')
  assert.equal(again.headers['idempotency-replayed'], undefined)
})

test('a request that is still being worked on is waited for, and then refused', async () => {
  const database = await createDatabase(token)
  const key = crypto.randomUUID()
  // somebody holds the organisation: the first request waits inside
  const holder = await holdOrganisation('once', 1)
  const [first, second] = await Promise.all([
    call('POST', `/databases/${database.id}/backups`, { token, key }),
    sleep(300).then(() => call('POST', `/databases/${database.id}/backups`, { token, key }))
  ])
  await holder.done
  assert.equal(first.status, 202)
  assert.equal(second.status, 202)
  assert.equal(second.text, first.text)

  // longer than anyone waits
  const other = await createDatabase(token)
  const long = await holdOrganisation('once', 4)
  const answers = await Promise.all([
    call('POST', `/databases/${other.id}/backups`, { token, key: key + '2' }),
    sleep(300).then(() => call('POST', `/databases/${other.id}/backups`, { token, key: key + '2' }))
  ])
  await long.done
  assert.equal(answers[0].status, 503)
  assert.equal(answers[0].headers['retry-after'], '1')
  // the second had its turn when the first gave up, or was told that it had not
  assert.ok([202, 409, 503].includes(answers[1].status), answers[1].text)
  if (answers[1].status === 409) assert.equal(answers[1].json.error.reason, 'request_in_progress')
  assert.equal(jobs(other), answers[1].status === 202 ? 1 : 0)
})

test('the key alone held for longer is 409', async () => {
  const database = await createDatabase(token)
  const key = crypto.randomUUID()
  const lock = sql(`SELECT encode(substr(sha256(uuid_send((walwarden.introspect_token('${token}') ->> 'tokenId')::uuid) || sha256('${key}')), 1, 16), 'hex')::uuid`)
  const holder = await hold(0x5743, `SELECT walwarden._take_request_lock('${lock}'); SELECT pg_sleep(12)`)
  const answer = await call('POST', `/databases/${database.id}/backups`, { token, key })
  assert.equal(answer.status, 409, answer.text)
  assert.equal(answer.json.error.reason, 'request_in_progress')
  await holder.done
  assert.equal((await call('POST', `/databases/${database.id}/backups`, { token, key })).status, 202)
})
