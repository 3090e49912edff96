// Jobs: eight nodes at once, leases that run out, and what the chain says of it.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, createDatabase, createOrg, issue, Node, sleep, sql } from './lib.mjs'

let token
before(() => {
  createOrg('jobs')
  token = issue('jobs', allScopes)
})

test('200 jobs, 8 nodes: none is claimed twice', async () => {
  const ids = []
  for (let i = 0; i < 200; i += 20) {
    ids.push(...await Promise.all(Array.from({ length: 20 }, async () =>
      (await call('POST', `/databases/${(await createDatabase(token)).id}/backups`, { token })).json.backupJobId)))
  }
  const claims = []
  const nodes = Array.from({ length: 8 }, () => new Node('jobs'))
  await Promise.all(nodes.map(async (node) => {
    for (let job, idle = 0; idle < 3;) {
      job = await node.claim('{backup}')
      // a row that another node is looking at is skipped: look again before giving up
      if (!job) { idle++; await sleep(50); continue }
      idle = 0
      claims.push(job.job_id)
      assert.equal(job.fence, 1)
      await node.report(job, 'running')
      await node.report(job, 'finalizing')
      await node.report(job, 'completed', { artifact: { name: 'base.tar', sizeBytes: 1, checksumSha256: 'a'.repeat(64) } })
    }
  }))
  assert.equal(claims.length, 200)
  assert.deepEqual([...new Set(claims)].sort(), ids.sort())
  assert.equal(sql(`SELECT count(*) FROM walwarden.job WHERE org_id = (SELECT id FROM walwarden.org WHERE slug = 'jobs') AND state = 'completed' AND attempt = 1`), '200')
  assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain('jobs')"), 't')
})

test('an expired lease is claimed again; the late node is refused', async () => {
  const database = await createDatabase(token)
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token })).json
  const early = new Node('jobs')
  const late = new Node('jobs')
  const first = await early.claim('{backup}', '5 s')
  assert.equal(first.job_id, backupJobId)
  await early.report(first, 'running')
  assert.equal(await late.claim('{backup}'), null, 'the lease holds')
  await sleep(5200)
  const second = await late.claim('{backup}')
  assert.equal(second.job_id, backupJobId)
  assert.equal(second.fence, first.fence + 1)
  for (const act of [() => early.report(first, 'finalizing'), () => early.run(`SELECT walwarden.heartbeat_job('${first.job_id}', ${first.fence}, NULL)`), () => early.run(`SELECT walwarden.heartbeat_job('${second.job_id}', ${second.fence}, NULL)`)]) {
    await assert.rejects(act, /held by another claim/)
  }
  const shown = (await call('GET', `/backups/${backupJobId}`, { token })).json
  assert.equal(shown.attempt, 2)
  assert.equal(shown.state, 'claimed')
  await late.run(`SELECT walwarden.heartbeat_job('${second.job_id}', ${second.fence}, '{"percent":40,"phase":"copying"}')`)
  assert.deepEqual((await call('GET', `/backups/${backupJobId}`, { token })).json.progress, { percent: 40, phase: 'copying' })
  await late.report(second, 'failed', { error: { class: 'io', message: 'disk full', retryable: true } })
  const failed = (await call('GET', `/backups/${backupJobId}`, { token })).json
  assert.equal(failed.done, true)
  assert.deepEqual(failed.error, { class: 'io', message: 'disk full', retryable: true })
})

test('attempts are used up', async () => {
  const database = await createDatabase(token)
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token })).json
  const node = new Node('jobs')
  for (let attempt = 1; attempt <= 3; attempt++) {
    assert.equal((await node.claim('{backup}', '1 s')).job.attempt, attempt)
    await sleep(1100)
  }
  assert.equal(await node.claim('{backup}', '1 s'), null)
  const shown = (await call('GET', `/backups/${backupJobId}`, { token })).json
  assert.equal(shown.state, 'failed')
  assert.equal(shown.error.class, 'lease_expired')
})

test('cancelled and dismissed', async () => {
  const node = new Node('jobs')
  const database = await createDatabase(token)
  const start = async () => (await call('POST', `/databases/${database.id}/backups`, { token })).json.backupJobId
  const end = (id, how) => call('POST', `/backups/${id}/${how}`, { token })

  const queued = await start()
  assert.equal((await end(queued, 'dismiss')).json.error.reason, 'invalid_state')
  const cancelled = await end(queued, 'cancel')
  assert.equal(cancelled.status, 202)
  assert.equal(cancelled.json.job.state, 'cancelled')
  assert.equal(cancelled.headers.location, `/api/v1/backups/${queued}`)
  for (const how of ['cancel', 'dismiss']) {
    const again = await end(queued, how)
    assert.equal(again.status, 409)
    assert.equal(again.json.error.state, 'cancelled')
  }

  const running = await start()
  const job = await node.claim('{backup}')
  await node.report(job, 'running')
  assert.equal((await call('DELETE', `/databases/${database.id}`, { token })).json.error.reason, 'job_active')
  assert.equal((await call('DELETE', `/destinations/${database.destinationId}`, { token })).json.error.reason, 'destination_in_use')
  assert.equal((await end(running, 'cancel')).status, 202)
  await assert.rejects(() => node.report(job, 'finalizing'), /is cancelled/)
  await assert.rejects(() => node.run(`SELECT walwarden.heartbeat_job('${job.job_id}', ${job.fence}, NULL)`), /is cancelled/)

  const failing = await start()
  await node.failBackup()
  assert.equal((await end(failing, 'cancel')).status, 409)
  assert.equal((await end(failing, 'dismiss')).json.job.state, 'dismissed')
  assert.equal((await call('GET', `/databases/${database.id}`, { token })).json.state, 'unprotected')

  const finalizing = await start()
  const last = await node.claim('{backup}')
  await node.report(last, 'running')
  await node.report(last, 'finalizing')
  assert.equal((await end(finalizing, 'cancel')).status, 409, 'too late')
  await node.report(last, 'failed', { error: { class: 'io', message: 'x', retryable: false } })
})

test('the chain tells each transition with the job', async () => {
  const kinds = JSON.parse(sql(`SELECT json_agg(DISTINCT kind) FROM walwarden.audit_entry WHERE job_id IS NOT NULL AND org_id = (SELECT id FROM walwarden.org WHERE slug = 'jobs')`))
  assert.deepEqual(kinds.sort(), ['backup.cancelled', 'backup.claimed', 'backup.completed', 'backup.dismissed', 'backup.failed', 'backup.finalizing', 'backup.queued', 'backup.running'])
  assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain('jobs')"), 't')
  assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql('jobs')"), 't')
})

test('no destination, another destination', async () => {
  const bare = (await call('POST', '/databases', { token, body: { name: crypto.randomUUID(), connectionRef: 'primary' } })).json
  assert.equal((await call('POST', `/databases/${bare.id}/backups`, { token })).json.error.reason, 'no_destination')
  const other = await createDatabase(token)
  const started = await call('POST', `/databases/${bare.id}/backups`, { token, body: { destinationId: other.destinationId, type: 'incremental', reason: 'ad hoc' } })
  assert.equal(started.json.job.destinationId, other.destinationId)
  assert.equal(started.json.job.type, 'incremental')
  assert.equal(started.json.job.state, 'queued')
})
