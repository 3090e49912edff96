// A change happens exactly once, however often and however concurrently it is sent.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, callAgain, createDatabase, createOrg, hold, holdOrganisation, issue, sleep, sql } from './lib.mjs'

let token
before(() => {
  createOrg('once')
  token = issue('once', allScopes)
})

const jobs = (database) => Number(sql(`SELECT count(*) FROM walwarden_internal.job WHERE database_id = '${database.id}'`))

test('50 parallel equal requests make one job and fifty equal answers', async () => {
  const database = await createDatabase(token)
  const key = crypto.randomUUID()
  const answers = await Promise.all(Array.from({ length: 50 }, () => callAgain('POST', `/databases/${database.id}/backups`, { token, key, body: { reason: 'once' } })))
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [202])
  assert.equal(new Set(answers.map((answer) => answer.text)).size, 1)
  assert.equal(new Set(answers.map((answer) => answer.headers.location)).size, 1)
  assert.equal(answers.filter((answer) => answer.headers['idempotency-replayed'] === 'true').length, 49)
  assert.equal(jobs(database), 1)
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.audit_entry WHERE kind = 'backup.queued' AND job_id = '${answers[0].json.backupJobId}'`), '1')
})

test('50 parallel requests with keys of their own make one job and 49 conflicts', async () => {
  const database = await createDatabase(token)
  const answers = await Promise.all(Array.from({ length: 50 }, () => callAgain('POST', `/databases/${database.id}/backups`, { token })))
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
})

// A token of an organisation of the test, as issued.
const mint = (name, options = {}) => {
  const { org = 'once', owner } = options
  const [id, value] = sql(`SELECT token_id, token FROM walwarden.issue_token('${org}', '${name}', ARRAY['${allScopes.join("','")}'], owner => ${owner ? `'${owner}'` : 'NULL'})`).split('|')
  return { id, value }
}

test('a key belongs to organisation, owner, kind and name at issue of the token', async () => {
  createOrg('once-more')
  for (const who of ['ann', 'ben']) sql(`SELECT walwarden.add_member('once', '${who}', 'admin')`)
  const name = 'ci ' + crypto.randomUUID()
  const first = mint(name)
  const key = crypto.randomUUID()
  const body = { name: crypto.randomUUID(), connectionRef: 'primary' }
  const create = (token) => call('POST', '/databases', { token, key, body })
  const answer = await create(first.value)
  assert.equal(answer.status, 201)
  const replays = async (token, what) => {
    const again = await create(token)
    assert.equal(again.text, answer.text, what)
    assert.equal(again.headers['idempotency-replayed'], 'true', what)
    const other = await call('POST', '/databases', { token, key, body: { ...body, name: body.name + 'x' } })
    assert.equal(other.json.error.reason, 'idempotency_key_reused', what)
  }
  const runs = async (token, status, what) => {
    const other = await create(token)
    assert.equal(other.status, status, `${what}: ${other.text}`)
    assert.equal(other.headers['idempotency-replayed'], undefined, what)
  }

  const second = mint(name)
  await replays(second.value, 'a second token of the name')
  await replays(sql(`SELECT token FROM walwarden.renew_token('${second.id}')`), 'a renewed token')
  sql(`SELECT walwarden.update_token('${first.id}', 'another name')`)
  await replays(first.value, 'a renamed token')
  sql(`SELECT walwarden.revoke_token('${first.id}')`)
  await replays(mint(name).value, 'a token issued after the first was revoked')

  // the name of the database is taken in the same organisation: the request was carried out again
  await runs(mint('another name').value, 409, 'another name, which the first had later')
  const renamed = mint('x')
  sql(`SELECT walwarden.update_token('${renamed.id}', '${name}')`)
  await runs(renamed.value, 409, 'a token that got the name later')
  await runs(mint(name, { owner: 'ann' }).value, 409, 'a private token')
  await runs(mint(name, { org: 'once-more' }).value, 201, 'another organisation')
  const legacy = sql(`SELECT token FROM walwarden.import_legacy_credential('once', 'ann', gen_random_uuid(), repeat('s', 32), '${name}')`)
  await runs(legacy, 409, 'another kind')
  const database = await createDatabase(mint('x').value)
  const own = crypto.randomUUID()
  for (const [owner, status, replayed] of [['ann', 202, undefined], ['ann', 202, 'true'], ['ben', 409, undefined]]) {
    const backup = await call('POST', `/databases/${database.id}/backups`, { token: mint(name, { owner }).value, key: own })
    assert.equal(backup.status, status, owner)
    assert.equal(backup.headers['idempotency-replayed'], replayed, owner)
  }
})

test('two tokens of one name send one request at once', async () => {
  const tokens = [mint('twins').value, mint('twins').value]
  const database = await createDatabase(token)
  const key = crypto.randomUUID()
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => callAgain('POST', `/databases/${database.id}/backups`, { token: tokens[i % 2], key })))
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [202])
  assert.equal(answers.filter((answer) => answer.headers['idempotency-replayed'] === 'true').length, 19)
  assert.equal(jobs(database), 1)
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
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.idempotency_key AS k WHERE k::text LIKE '%remarkable%'`), '0')
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.idempotency_key WHERE key_hash = sha256('${key}')`), '1')
  sql(`UPDATE walwarden_internal.idempotency_key SET created_at = created_at - interval '24 hours' WHERE key_hash = sha256('${key}')`)
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

test('the key alone held for longer than a request waits is 409', async () => {
  const database = await createDatabase(token)
  const key = crypto.randomUUID()
  const headers = { 'x-walwarden-token': token, 'x-walwarden-method': 'POST', 'x-walwarden-path': `/api/v1/databases/${database.id}/backups`, 'idempotency-key': key }
  const holder = await hold(0x5743, `SELECT set_config('request.headers', '${JSON.stringify(headers)}', true); SET LOCAL ROLE web_anon;
    SELECT walwarden_rest.v1_post(''); SELECT pg_sleep(5)`)
  const answer = await call('POST', `/databases/${database.id}/backups`, { token, key })
  assert.equal(answer.status, 409, answer.text)
  assert.equal(answer.json.error.reason, 'request_in_progress')
  assert.equal(answer.headers['retry-after'], '1')
  await holder.done
  assert.equal((await call('POST', `/databases/${database.id}/backups`, { token, key })).status, 202)
})
