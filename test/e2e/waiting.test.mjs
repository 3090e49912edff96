// Requests that wait for a locked organisation leave the pool of PostgREST, which has ten
// connections, to others.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, callAgain, createDatabase, createOrg, issue, lockOrganisation, sleep, sql, sqlAsync } from './lib.mjs'

let token
let other
before(() => {
  createOrg('waiting')
  createOrg('waiting-not')
  token = issue('waiting', allScopes)
  other = issue('waiting-not', allScopes)
})

// locks of src/base/lock.c: 0x5742 of an organisation, 0x5746 a waiting place
const locks = (lockClass, granted) => Number(sql(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = ${lockClass} AND granted = ${granted}`))
async function until (condition) {
  for (let i = 0; i < 200 && !condition(); i++) await sleep(20)
  assert.ok(condition())
}

// count changes while the organisation is locked, by a function from a number to its key;
// the answers, and how many of the first ones were not there yet when others' GETs were
async function changesWhileLocked (count, keyOf) {
  const database = await createDatabase(token)
  const lock = await lockOrganisation('waiting')
  let first = 'waiting'
  const post = (i) => call('POST', `/databases/${database.id}/backups`, { token, key: keyOf(i) })
  const answers = [post(0)]
  answers[0].then(() => { first = 'answered' })
  await until(() => locks(0x5742, false) === 1)
  for (let i = 1; i < count; i++) answers.push(post(i))
  const gets = await Promise.all(Array.from({ length: 20 }, () => call('GET', '/databases', { token: other })))
  assert.deepEqual([...new Set(gets.map((answer) => answer.status))], [200])
  const meanwhile = first
  const places = locks(0x5746, true)
  await lock.release()
  const all = await Promise.all(answers)
  assert.equal(locks(0x5746, true), 0, 'no place is kept')
  return { database, meanwhile, places, answers: all }
}
const jobs = (database) => Number(sql(`SELECT count(*) FROM walwarden_internal.job WHERE database_id = '${database.id}'`))

test('20 changes under one key: the GETs of others are answered before the first change gives up', async () => {
  const key = crypto.randomUUID()
  const { database, meanwhile, places, answers } = await changesWhileLocked(20, () => key)
  assert.equal(meanwhile, 'waiting')
  assert.equal(places, 4)
  for (const answer of answers) {
    assert.ok([202, 409, 503].includes(answer.status), answer.text)
    if (answer.status === 409) assert.equal(answer.json.error.reason, 'request_in_progress')
    if (answer.status !== 202) assert.equal(answer.headers['retry-after'], '1')
  }
  assert.ok(answers.some((answer) => answer.status === 409), 'some had no place')
  assert.equal((await callAgain('POST', `/databases/${database.id}/backups`, { token, key })).status, 202)
  assert.equal(jobs(database), 1)
})

test('20 changes with keys of their own', async () => {
  const { database, meanwhile, places, answers } = await changesWhileLocked(20, () => crypto.randomUUID())
  assert.equal(meanwhile, 'waiting')
  assert.equal(places, 4)
  for (const answer of answers) {
    assert.ok([202, 409, 503].includes(answer.status), answer.text)
    if (answer.status === 409) assert.equal(answer.json.error.reason, 'backup_already_active')
    if (answer.status === 503) assert.equal(answer.headers['retry-after'], '1')
  }
  assert.ok(answers.some((answer) => answer.status === 503), 'some had no place')
  assert.equal(jobs(database), answers.filter((answer) => answer.status === 202).length)
})

test('a token that was renewed while its request waits', async () => {
  const [tokenId, old] = sql("SELECT token_id, token FROM walwarden.issue_token('waiting', 'renewed', ARRAY['databases:write'])").split('|')
  const lock = await lockOrganisation('waiting')
  const body = { name: 'renewed', connectionRef: 'primary' }
  const waits = call('POST', '/databases', { token: old, body })
  await until(() => locks(0x5742, false) === 1)
  await lock.commit(`SELECT FROM walwarden.renew_token('${tokenId}')`)
  const answer = await waits
  assert.deepEqual([answer.status, answer.json.error?.reason], [401, 'token_refused'])
  assert.equal(sql("SELECT count(*) FROM walwarden_internal.database WHERE name = 'renewed'"), '0')
})

test('sessions of SQL need no place', async () => {
  const lock = await lockOrganisation('waiting')
  const before = locks(0x5746, true)
  const waits = sqlAsync("SELECT walwarden.set_org_retention('waiting', '9 days')")
  await until(() => locks(0x5742, false) === 1)
  assert.equal(locks(0x5746, true), before)
  await lock.release()
  assert.equal(await waits, 't')
})
