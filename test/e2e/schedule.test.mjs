// Schedules and retention over REST v1, with a node and maintenance as they are run.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, createDatabase, createOrg, issue, Node, passed, sql, sqlJson } from './lib.mjs'

let token, node
before(async () => {
  createOrg('schedules')
  token = issue('schedules', allScopes)
  node = new Node('schedules')
  await node.register()
})
const get = async (path) => (await call('GET', path, { token })).json
const patch = async (id, body) => call('PATCH', `/databases/${id}`, { token, body })
const next = (schedule) => sqlJson(`SELECT walwarden.cron_next('${schedule}', clock_timestamp()) AS t`)[0].t

test('fields of a database', async () => {
  const made = await createDatabase(token, 'fields', { method: 'pg_basebackup', schedule: '0 3 * * *', retentionDays: 7, drillSchedule: '0 0 29 2 *' })
  const shown = await get(`/databases/${made.id}`)
  for (const one of [made, shown]) {
    assert.deepEqual([one.method, one.schedule, one.retentionDays, one.drillSchedule], ['pg_basebackup', '0 3 * * *', 7, '0 0 29 2 *'])
    assert.equal(Date.parse(one.nextBackupAt), Date.parse(next('0 3 * * *')))
    assert.equal(one.nextDrillAt, '2028-02-29T00:00:00.000000Z')
  }
  const plain = await createDatabase(token, 'plain')
  assert.deepEqual([plain.method, plain.schedule, plain.nextBackupAt, plain.retentionDays, plain.drillSchedule, plain.nextDrillAt], ['pg_dump', null, null, null, null, null])
  const changed = await patch(made.id, { method: 'pg_dump', retentionDays: null, drillSchedule: null, schedule: '*/5 * * * *' })
  assert.equal(changed.status, 200, changed.text)
  assert.deepEqual([changed.json.method, changed.json.retentionDays, changed.json.drillSchedule, changed.json.nextDrillAt], ['pg_dump', null, null, null])
  assert.ok(Date.parse(changed.json.nextBackupAt) <= Date.now() + 300000)
})

test('retention is not below the floor of the destination', async () => {
  const database = await createDatabase(token, 'retention', { retentionDays: 7 })
  const answer = await call('PATCH', `/destinations/${database.destinationId}`, { token, body: { retentionFloorDays: 30 } })
  assert.equal(answer.status, 200, answer.text)
  for (const refused of [await patch(database.id, { retentionDays: 29 }), await call('POST', '/databases', { token, body: { name: 'more', connectionRef: 'x', destinationId: database.destinationId, retentionDays: 29 } })]) {
    assert.deepEqual([refused.status, refused.json.error.reason, refused.json.error.field], [409, 'retention_below_floor', 'retentionDays'], refused.text)
  }
  assert.equal((await patch(database.id, { name: 'still', retentionDays: 30 })).status, 200)
})

test('a schedule queues a backup when a node asks, and says so when it may not', async () => {
  const database = await createDatabase(token, 'due', { schedule: '0 3 * * *' })
  const due = () => sql(`UPDATE walwarden_internal.database SET next_run_at = clock_timestamp() - interval '14 hours' WHERE id = '${database.id}'`)
  due()
  // four at once
  const claimed = (await Promise.all([1, 2, 3, 4].map(() => node.claim('{backup}')))).filter((job) => job !== null)
  const job = claimed.length === 1 ? claimed[0] : await node.claim('{backup}')
  assert.ok(claimed.length <= 1)
  const { backups } = await get(`/databases/${database.id}/backups`)
  assert.deepEqual(backups.map((backup) => [backup.id, backup.trigger, backup.type]), [[job.job_id, 'schedule', 'full']])
  due()
  assert.equal(await node.claim('{backup}'), null)
  due()
  assert.equal(await node.claim('{backup}'), null)
  const entries = sqlJson(`SELECT job_id, body::jsonb -> 'payload' AS payload FROM walwarden_internal.audit_entry WHERE kind = 'backup.skipped' AND job_id = '${job.job_id}'`)
  assert.equal(entries.length, 1)
  assert.equal(entries[0].payload.databaseId, database.id)
  assert.equal(Date.parse((await get(`/databases/${database.id}`)).nextBackupAt), Date.parse(next('0 3 * * *')))
  assert.equal((await call('POST', `/backups/${job.job_id}/cancel`, { token })).status, 202)
})

test('readiness says that schedules are not served', async () => {
  const check = async () => (await get('/readiness')).checks.find((one) => one.name === 'schedules_kept').status
  const database = await createDatabase(token, 'overdue', { schedule: '0 3 * * *' })
  assert.equal(await check(), 'pass')
  sql(`UPDATE walwarden_internal.database SET next_run_at = clock_timestamp() - interval '1 hour' WHERE id = '${database.id}'`)
  assert.equal(await check(), 'fail')
  assert.equal((await get('/readiness')).status, 'degraded')
  const job = await node.claim('{backup}')
  assert.equal(await check(), 'pass')
  assert.equal((await call('POST', `/backups/${job.job_id}/cancel`, { token })).status, 202)
})

test('a backup expires', async () => {
  const database = await createDatabase(token, 'old', { retentionDays: 10 })
  const made = []
  for (const days of [20, 5]) {
    await call('POST', `/databases/${database.id}/backups`, { token })
    const job = await node.completeBackup(passed('2026-11-20T12:00:00Z', '2026-11-20T12:00:00Z'))
    sql(`UPDATE walwarden_internal.job SET finished_at = finished_at - interval '${days} days', audit_seq = audit_seq WHERE id = '${job.job_id}'`)
    made.push(job.job_id)
  }
  sql('SELECT walwarden.run_maintenance()')
  const expiry = await node.claim('{expire}')
  assert.equal(expiry.kind, 'expire')
  assert.deepEqual([expiry.job.backupJobId, expiry.job.artifact.name, expiry.job.destination.uri], [made[0], 'base.tar', 's3://bucket/e2e'])
  const drill = { databaseId: database.id, backupJobId: made[0], kind: 'drill', mode: 'new_database', target: 'x/y' }
  const late = await call('POST', '/restores', { token, body: drill })
  assert.deepEqual([late.status, late.json.error.reason], [409, 'backup_expiring'], late.text)
  assert.equal(await node.claim('{expire}'), null)
  await node.report(expiry, 'completed')
  assert.deepEqual((await get(`/databases/${database.id}/backups`)).backups.map((backup) => backup.state), ['completed', 'expired'])
  assert.equal((await get(`/databases/${database.id}/recovery/candidate`)).candidate.backupJobId, made[1])
  assert.deepEqual((await get(`/databases/${database.id}/recovery/summary`)).backups, { completed: 1, verified: 1, failedVerification: 0, withoutEvidence: 0 })
  const gone = await call('POST', '/restores', { token, body: drill })
  assert.deepEqual([gone.status, gone.json.error.reason, gone.json.error.state], [409, 'backup_not_completed', 'expired'], gone.text)
})
