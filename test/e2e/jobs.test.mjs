// Jobs: eight nodes at once, leases that run out, jobs that are tried again, given back and cancelled,
// what excludes what, and what the chain says of it.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, artifact, call, callAgain, createDatabase, createOrg, issue, Node, sleep, sql, unchecked } from './lib.mjs'

let token
before(() => {
  createOrg('jobs')
  token = issue('jobs', allScopes)
})

test('200 jobs, 8 nodes: none is claimed twice', async () => {
  const ids = []
  for (let i = 0; i < 200; i += 20) {
    ids.push(...await Promise.all(Array.from({ length: 20 }, async () =>
      (await callAgain('POST', `/databases/${(await createDatabase(token)).id}/backups`, { token })).json.backupJobId)))
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
      await node.evidence(job, unchecked)
      await node.report(job, 'completed', { artifact })
    }
  }))
  assert.equal(claims.length, 200)
  assert.deepEqual([...new Set(claims)].sort(), ids.sort())
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.job WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'jobs') AND state = 'completed' AND attempt = 1`), '200')
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
  assert.ok(second.fence > first.fence)
  for (const act of [() => early.report(first, 'finalizing'), () => early.run(`SELECT walwarden.heartbeat_job('${first.job_id}', ${first.fence}, NULL)`), () => early.run(`SELECT walwarden.heartbeat_job('${second.job_id}', ${second.fence}, NULL)`)]) {
    await assert.rejects(act, /held by another claim/)
  }
  const shown = (await call('GET', `/backups/${backupJobId}`, { token })).json
  assert.equal(shown.attempt, 2)
  assert.equal(shown.state, 'claimed')
  await late.run(`SELECT walwarden.heartbeat_job('${second.job_id}', ${second.fence}, '{"percent":40,"phase":"copying"}')`)
  assert.deepEqual((await call('GET', `/backups/${backupJobId}`, { token })).json.progress, { percent: 40, phase: 'copying' })
  await late.report(second, 'failed', { error: { class: 'io', message: 'disk full', retryable: true } })
  const again = (await call('GET', `/backups/${backupJobId}`, { token })).json
  assert.deepEqual([again.state, again.done, again.attempt], ['queued', false, 2])
  assert.deepEqual(again.error, { class: 'io', message: 'disk full', retryable: true, blames: 'node' })
  const pause = (new Date(again.notBefore) - new Date(again.queuedAt)) / 60000
  assert.ok(pause > 4 && pause < 6, 'the second attempt is followed by 5 minutes')
  assert.equal(await late.claim('{backup}'), null)
  assert.equal((await call('POST', `/backups/${backupJobId}/cancel`, { token })).json.job.state, 'cancelled')
})

test('attempts are used up', async () => {
  const database = await createDatabase(token)
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token })).json
  const node = new Node('jobs')
  for (let attempt = 1; attempt <= 4; attempt++) {
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

test('a node claims what its connections allow, and goes on with another token', async () => {
  const token1 = issue('jobs', [], ", kind => 'node'")
  const [node, renewed, other] = [new Node('jobs', token1, 'rotating'), new Node('jobs', undefined, 'rotating'), new Node('jobs')]
  const database = await createDatabase(token, undefined, { connectionRef: 'jobs-primary' })
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token })).json
  await other.register()
  const claim = (node, connections) => node.run(`SELECT * FROM walwarden.claim_job('{backup}', '60 s', '${connections}')`)
  assert.equal(await claim(other, '{primary,jobs}'), null)
  await node.register()
  const job = await claim(node, '{jobs-primary}')
  assert.equal(job.job_id, backupJobId)
  await renewed.register()
  sql(`SELECT walwarden.revoke_token((walwarden.introspect_token('${token1}') ->> 'tokenId')::uuid)`)
  const held = await renewed.run('SELECT * FROM walwarden.held_jobs()')
  assert.deepEqual(held, job, 'with the columns of claim_job')
  await renewed.report(job, 'running')
  await assert.rejects(() => other.report(job, 'finalizing'), /held by another claim/)
  await renewed.run(`SELECT walwarden.release_job('${job.job_id}', ${job.fence})`)
  await assert.rejects(() => renewed.report(job, 'finalizing'), /held by another claim/)
  assert.equal((await call('GET', `/backups/${backupJobId}`, { token })).json.attempt, 0)
  assert.equal((await claim(other, '{jobs-primary}')).job_id, backupJobId)
  assert.equal((await call('POST', `/backups/${backupJobId}/cancel`, { token })).status, 202)
})

test('in place: one at a time, and no backup meanwhile', async () => {
  const node = new Node('jobs')
  const database = await createDatabase(token)
  const start = () => callAgain('POST', `/databases/${database.id}/backups`, { token })
  const { backupJobId } = (await start()).json
  await node.completeBackup()
  const restore = (change) => callAgain('POST', '/restores', { token, body: { databaseId: database.id, backupJobId, kind: 'restore', mode: 'in_place', target: `target-${database.id}`, confirmDestructive: true, ...change } })
  const cancel = (id) => call('POST', `/restores/${id}/cancel`, { token })

  // all at once: one of them, whichever it is
  const answers = await Promise.all(Array.from({ length: 4 }, (_, i) => i % 2 ? restore() : start()))
  const [taken, ...others] = answers.filter((answer) => answer.status === 202)
  assert.equal(others.length, 0, 'one')
  const wanted = taken.json.restoreJobId ? ['restore_active', 'restoreJobId'] : ['backup_already_active', 'backupJobId']
  for (const answer of answers.filter((answer) => answer !== taken)) {
    assert.equal(answer.status, 409, answer.text)
    assert.equal(answer.json.error.reason, wanted[0])
    assert.equal(answer.json.error[wanted[1]], taken.json[wanted[1]])
  }
  if (taken.json.restoreJobId) await cancel(taken.json.restoreJobId)
  else await call('POST', `/backups/${taken.json.backupJobId}/cancel`, { token })

  const first = await restore()
  assert.equal(first.status, 202, first.text)
  assert.equal((await restore()).json.error.reason, 'restore_active')
  assert.equal((await start()).json.error.reason, 'restore_active')
  assert.equal((await restore({ kind: 'drill', mode: 'new_database', confirmDestructive: false })).status, 202, 'a drill beside it')
  const drill = (await call('GET', '/restores?limit=1', { token })).json.restores[0].id
  const cancelled = await cancel(first.json.restoreJobId)
  assert.equal(cancelled.status, 202)
  assert.equal(cancelled.headers.location, `/api/v1/restores/${first.json.restoreJobId}`)
  assert.equal(cancelled.json.job.state, 'cancelled')
  assert.equal((await cancel(first.json.restoreJobId)).json.error.state, 'cancelled')
  assert.equal((await cancel(backupJobId)).status, 404)
  assert.equal((await cancel(drill)).status, 202)

  // until the target was touched
  const second = (await restore()).json.restoreJobId
  const job = await node.claim('{restore}')
  assert.equal(job.job_id, second)
  for (const state of ['downloading', 'verifying', 'manifest_verified', 'restoring']) await node.report(job, state)
  const late = await cancel(second)
  assert.equal(late.status, 409)
  assert.deepEqual([late.json.error.reason, late.json.error.state], ['invalid_state', 'restoring'])
  await node.report(job, 'failed', { error: { class: 'io', message: 'disk full', retryable: true, blames: 'target' } })
  const failed = (await call('GET', `/restores/${second}`, { token })).json
  assert.equal(failed.state, 'failed', 'what was touched is not begun again')
  assert.equal(failed.error.blames, 'target')
  const after = (await start()).json.backupJobId
  assert.equal((await call('POST', `/backups/${after}/cancel`, { token })).status, 202)
})

test('readiness tells of nodes that do not call', async () => {
  const check = async (name) => (await call('GET', '/readiness', { token })).json.checks.find((check) => check.name === name).status
  const database = await createDatabase(token)
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token })).json
  const node = new Node('jobs')
  await node.register()
  assert.equal(await check('nodes_seen'), 'pass')
  sql("UPDATE walwarden_internal.node SET last_seen_at = clock_timestamp() - interval '301 s'")
  assert.equal(await check('nodes_seen'), 'fail')
  const job = await node.claim('{backup}', '1 s')
  assert.equal(job.job_id, backupJobId)
  assert.equal(await check('nodes_seen'), 'pass')
  assert.equal(await check('leases_renewed'), 'pass')
  sql(`UPDATE walwarden_internal.job SET lease_until = clock_timestamp() - interval '1 s' WHERE id = '${backupJobId}'`)
  assert.equal(await check('leases_renewed'), 'fail')
  sql('SELECT walwarden.run_maintenance()')
  assert.equal(await check('leases_renewed'), 'pass')
  assert.equal((await call('POST', `/backups/${backupJobId}/cancel`, { token })).status, 202)
})

test('the chain tells each transition with the job', async () => {
  const kinds = JSON.parse(sql(`SELECT json_agg(DISTINCT kind) FROM walwarden_internal.audit_entry WHERE job_id IS NOT NULL AND org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'jobs')`))
  assert.deepEqual(kinds.sort(), [
    ...['cancelled', 'claimed', 'completed', 'dismissed', 'failed', 'finalizing', 'lease_ended', 'queued', 'released', 'retried', 'running'].map((event) => `backup.${event}`), 'evidence.recorded',
    ...['cancelled', 'claimed', 'downloading', 'failed', 'manifest_verified', 'restoring', 'triggered', 'verifying'].map((event) => `restore.${event}`)])
  assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain('jobs')"), 't')
  assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain_sql('jobs')"), 't')
})

test('no destination, another destination', async () => {
  const bare = (await call('POST', '/databases', { token, body: { name: crypto.randomUUID(), connectionRef: 'primary' } })).json
  assert.equal((await call('POST', `/databases/${bare.id}/backups`, { token })).json.error.reason, 'no_destination')
  const other = await createDatabase(token)
  const started = await call('POST', `/databases/${bare.id}/backups`, { token, body: { destinationId: other.destinationId, type: 'full', reason: 'ad hoc' } })
  assert.equal(started.json.job.destinationId, other.destinationId)
  assert.equal(started.json.job.type, 'full')
  assert.equal(started.json.job.state, 'queued')
})
