// Recovery: what is said is what the tables hold, and nothing more.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, artifact, call, createDatabase, createOrg, issue, Node, passed, sleep, sql, unchecked } from './lib.mjs'

let token, node
before(() => {
  createOrg('recovery')
  token = issue('recovery', allScopes)
  node = new Node('recovery')
})

const get = async (path) => {
  const answer = await call('GET', path, { token })
  assert.equal(answer.status, 200, answer.text)
  return answer.json
}
const backup = async (database, evidence) => {
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token })).json
  const job = await node.completeBackup(evidence)
  assert.equal(job.job_id, backupJobId)
  return job
}
const day = (n) => `2026-11-${String(n).padStart(2, '0')}T00:00:00Z`
const iso = (n) => `2026-11-${String(n).padStart(2, '0')}T00:00:00.000000Z`

test('nothing is 200 and honest', async () => {
  const database = await createDatabase(token)
  assert.deepEqual(await get(`/databases/${database.id}/recovery/summary`), {
    databaseId: database.id, verdict: 'unproven', windows: [], lastVerifiedAt: null,
    backups: { completed: 0, verified: 0, failedVerification: 0, withoutEvidence: 0 }
  })
  assert.deepEqual(await get(`/databases/${database.id}/recovery/candidate`), { databaseId: database.id, candidate: null })
  assert.deepEqual(database.readiness, { verdict: 'unproven', recoverableTo: null, rpoMet: null })
  assert.equal(database.state, 'unprotected')
  assert.equal(database.lastBackup, null)
  assert.deepEqual(await get('/evidence'), { evidence: [], pageInfo: { nextCursor: null, hasMore: false } })
  assert.deepEqual(await get('/audit/verification'), { lastRun: null, ageSeconds: null, checkpoint: null })
})

test('a completed backup that nobody has checked proves nothing', async () => {
  const database = await createDatabase(token)
  await backup(database)
  const summary = await get(`/databases/${database.id}/recovery/summary`)
  assert.equal(summary.verdict, 'unproven')
  assert.deepEqual(summary.windows, [])
  assert.deepEqual(summary.backups, { completed: 1, verified: 0, failedVerification: 0, withoutEvidence: 0 })
  assert.equal((await get(`/databases/${database.id}/recovery/candidate`)).candidate, null)
  const shown = await get(`/databases/${database.id}`)
  assert.equal(shown.state, 'protected')
  assert.equal(shown.readiness.verdict, 'unproven')
})

test('windows join where spans meet, and keep their ids', async () => {
  const database = await createDatabase(token, undefined, { objectives: { rpoSeconds: 86400 * 3650 } })
  const first = await backup(database, passed(day(1), day(3)))
  const summary = () => get(`/databases/${database.id}/recovery/summary`)
  const one = (await summary()).windows
  assert.deepEqual(one.map(({ from, to }) => [from, to]), [[iso(1), iso(3)]])

  await backup(database, passed(day(3), day(5)))          // meets
  await backup(database, passed(day(2), day(4)))          // within
  const last = await backup(database, passed(day(7), day(9)))          // apart
  const two = await summary()
  assert.equal(two.verdict, 'proven')
  assert.deepEqual(two.windows.map(({ from, to }) => [from, to]), [[iso(7), iso(9)], [iso(1), iso(5)]])
  assert.equal(two.windows[1].windowId, one[0].windowId)
  assert.equal(two.lastVerifiedAt, '2026-11-20T12:00:00.000000Z')
  const { candidate } = await get(`/databases/${database.id}/recovery/candidate`)
  assert.equal(candidate.backupJobId, last.job_id)
  assert.equal(candidate.recoverableTo, iso(9))
  assert.equal((await get(`/databases/${database.id}`)).readiness.rpoMet, true)

  const proof = await get(`/recovery/windows/${one[0].windowId}/proof`)
  assert.equal(proof.verdict, 'proven')
  assert.deepEqual([proof.from, proof.to], [iso(1), iso(5)])
  assert.equal(proof.basis.length, 3)
  assert.ok(proof.notClaimed.some((claim) => claim.includes('restore has been tried')))

  // an earlier backup is recorded later: the old id still finds its window
  await backup(database, passed('2026-10-30T00:00:00Z', day(2)))
  const moved = (await summary()).windows[1]
  assert.equal(moved.to, iso(5))
  assert.notEqual(moved.windowId, one[0].windowId)
  assert.equal((await get(`/recovery/windows/${one[0].windowId}/proof`)).windowId, moved.windowId)

  // the gap is closed by one that spans both
  await backup(database, passed(day(4), day(8)))
  assert.equal((await summary()).windows.length, 1)
  assert.equal(first.kind, 'backup')
})

test('drills strengthen a proof, failed ones refute it', async () => {
  const database = await createDatabase(token)
  const job = await backup(database, passed(day(1), day(2)))
  const { windowId } = (await get(`/databases/${database.id}/recovery/summary`)).windows[0]
  const proof = () => get(`/recovery/windows/${windowId}/proof`)
  const drill = async (...states) => {
    const started = await call('POST', '/restores', { token, body: { databaseId: database.id, backupJobId: job.job_id, kind: 'drill', mode: 'new_database', target: 'drill-host' } })
    assert.equal(started.status, 202, started.text)
    const claimed = await node.claim('{drill}')
    assert.equal(claimed.job.backup.id, job.job_id)
    const blames = states.at(-1) === true ? 'node' : 'backup'
    for (const state of states.filter((state) => state !== true)) {
      await node.report(claimed, state, state === 'failed' ? { error: { class: 'checksum', message: 'mismatch', retryable: false, blames } } : state === 'completed' ? { validation: { result: 'passed', checks: [{ name: 'row_counts', result: 'passed' }] } } : {})
    }
    return get(`/restores/${started.json.restoreJobId}`)
  }
  const good = await drill('downloading', 'verifying', 'manifest_verified', 'restoring', 'finalizing', 'completed')
  assert.equal(good.state, 'completed')
  assert.equal(good.validation.result, 'passed')
  assert.ok(good.timings.finishedAt)
  let shown = await proof()
  assert.equal(shown.verdict, 'proven')
  assert.equal(shown.basis[0].lastRestore.restoreJobId, good.id)
  assert.ok(!shown.notClaimed.some((claim) => claim.includes('restore has been tried')))
  const bad = await drill('downloading', 'verifying', 'failed')
  assert.equal(bad.state, 'failed')
  assert.equal(bad.done, true)
  shown = await proof()
  assert.equal(shown.verdict, 'refuted')
  assert.equal(shown.basis[0].lastRestore.state, 'failed')
  // and nothing else claims it any more
  assert.deepEqual((await get(`/databases/${database.id}/recovery/summary`)).windows, [])
  assert.equal((await get(`/databases/${database.id}/recovery/candidate`)).candidate, null)
  assert.equal((await get(`/databases/${database.id}`)).readiness.verdict, 'unproven')

  // a drill that ran into its node's disk, or out of time, says nothing; one that passes does
  await drill('failed', true)
  assert.equal((await proof()).verdict, 'refuted')
  await drill('downloading', 'verifying', 'manifest_verified', 'restoring', 'finalizing', 'completed')
  assert.equal((await proof()).verdict, 'proven')
  await drill('failed', true)
  assert.equal((await proof()).verdict, 'proven')
  assert.equal((await proof()).basis[0].lastRestore.state, 'failed')
})

test('evidence recorded again: a verification that fails closes the window', async () => {
  const database = await createDatabase(token)
  const job = await backup(database, passed(day(1), day(2)))
  const { windowId } = (await get(`/databases/${database.id}/recovery/summary`)).windows[0]
  const evidence = passed(day(1), day(2))
  assert.equal(await node.evidence(job, evidence).then((row) => row.record_evidence), false, 'the same again changes nothing')
  evidence.integrityVerification.result = 'failed'
  assert.equal((await node.evidence(job, evidence)).record_evidence, true)
  const summary = await get(`/databases/${database.id}/recovery/summary`)
  assert.equal(summary.verdict, 'unproven')
  assert.equal(summary.backups.failedVerification, 1)
  assert.equal((await get(`/recovery/windows/${windowId}/proof`)).verdict, 'refuted')
  assert.equal((await get(`/evidence/${job.job_id}`)).state, 'failed')
  assert.equal((await get(`/destinations/${database.destinationId}`)).state, 'failing')
  evidence.integrityVerification = { result: 'not_run', checkedAt: null, tool: null }
  await node.evidence(job, evidence)
  assert.equal((await get(`/recovery/windows/${windowId}/proof`)).verdict, 'unproven')
})

test('what an attempt that was given up left behind proves nothing', async () => {
  const database = await createDatabase(token)
  const { backupJobId } = (await call('POST', `/databases/${database.id}/backups`, { token })).json
  const first = await node.claim('{backup}', '1 s')
  await node.report(first, 'running', { artifact: { name: 'attempt-1', sizeBytes: 1, checksumSha256: 'b'.repeat(64) } })
  await node.evidence(first, passed(day(1), day(2)))
  assert.equal((await get(`/databases/${database.id}`)).readiness.verdict, 'unproven', 'it is not completed')
  await sleep(1200)
  const second = await node.claim('{backup}')
  assert.equal(second.job_id, backupJobId)
  await node.report(second, 'running')
  await node.report(second, 'finalizing')
  await assert.rejects(() => node.report(second, 'completed'), /needs detail.artifact/)
  await assert.rejects(() => node.report(second, 'completed', { artifact }), new RegExp(`has no evidence of claim ${second.fence}`))
  assert.equal((await call('GET', `/evidence/${backupJobId}`, { token })).status, 404, 'nor is it shown')
  assert.equal((await call('POST', '/evidence/exports', { token, body: { backupJobIds: [backupJobId] } })).status, 404)
  await node.evidence(second, unchecked)
  await assert.rejects(() => node.report(second, 'completed', { artifact: { ...artifact, checksumSha256: 'b'.repeat(64) } }), /the evidence is about another artifact/)
  await node.report(second, 'completed', { artifact })
  const summary = await get(`/databases/${database.id}/recovery/summary`)
  assert.equal(summary.verdict, 'unproven')
  assert.deepEqual(summary.backups, { completed: 1, verified: 0, failedVerification: 0, withoutEvidence: 0 })
  assert.equal(summary.lastVerifiedAt, null)
  // another node verifies it again
  await new Node('recovery').evidence(second, passed(day(1), day(2)))
  assert.equal((await get(`/databases/${database.id}/recovery/summary`)).verdict, 'proven')
  // a destination that is deleted takes its claims along
  assert.equal((await call('PATCH', `/databases/${database.id}`, { token, body: { destinationId: null } })).status, 200)
  assert.equal((await call('DELETE', `/destinations/${database.destinationId}`, { token })).status, 204)
  assert.equal((await get(`/databases/${database.id}/recovery/summary`)).verdict, 'unproven')
  const restore = await call('POST', '/restores', { token, body: { databaseId: database.id, backupJobId, kind: 'drill', mode: 'new_database', target: 'x' } })
  assert.equal(restore.json.error.reason, 'destination_deleted')
})

test('evidence names its place in the chain', async () => {
  const database = await createDatabase(token)
  const job = await backup(database, passed(day(1), day(2)))
  const evidence = await get(`/evidence/${job.job_id}`)
  const [seqs, head] = sql(`SELECT json_build_array(min(seq), max(seq)), (array_agg(encode(hash, 'hex') ORDER BY seq DESC))[1] FROM walwarden_internal.audit_entry WHERE job_id = '${job.job_id}'`).split('|')
  assert.deepEqual([evidence.audit.firstSeq, evidence.audit.lastSeq], JSON.parse(seqs))
  assert.equal(evidence.audit.headHash, head)
  assert.equal((await get(`/destinations/${database.destinationId}`)).state, 'verified')
})

test('a proof says how long a restore took, and whether that is soon enough', async () => {
  const states = ['downloading', 'verifying', 'manifest_verified', 'restoring', 'finalizing']
  const measured = { fetchSeconds: 40, restoreSeconds: 310, checkSeconds: 25 }
  const seen = async (rtoSeconds, validation) => {
    const database = await createDatabase(token, undefined, { objectives: { rtoSeconds } })
    const { job_id: backupJobId } = await backup(database, passed(day(1), day(1)))
    const { restoreJobId } = (await call('POST', '/restores', { token, body: { databaseId: database.id, backupJobId, kind: 'drill', mode: 'new_database', target: 'drill-host/orders' } })).json
    const claimed = await node.claim('{drill}')
    assert.equal(claimed.job_id, restoreJobId)
    for (const state of states) await node.report(claimed, state)
    await node.report(claimed, 'completed', { validation })
    const { windowId } = (await get(`/databases/${database.id}/recovery/summary`)).windows[0]
    const { basis, notClaimed } = await get(`/recovery/windows/${windowId}/proof`)
    assert.deepEqual((await get(`/restores/${restoreJobId}`)).validation, validation)
    assert.equal(notClaimed.filter((claim) => claim.includes('recovery time objective')).length, 1)
    return [basis[0].lastRestore.measured, basis[0].lastRestore.withinRto, notClaimed.find((claim) => claim.includes('recovery time objective')).replace(/.*: /, '')]
  }
  assert.deepEqual(await seen(375, { result: 'passed', measured }), [measured, true, 'the last ones of these backups that were measured did.'])
  assert.deepEqual(await seen(374, { result: 'passed', measured }), [measured, false, 'the last one of a backup took longer.'])
  assert.deepEqual(await seen(null, { result: 'passed', measured }), [measured, null, 'the database has none.'])
  assert.deepEqual((await seen(375, { result: 'passed' })).slice(0, 2), [null, null])
  assert.deepEqual((await seen(375, { result: 'not_run', measured })).slice(0, 2), [measured, null])
})

test('restores: what is refused', async () => {
  const database = await createDatabase(token)
  const other = await createDatabase(token)
  const job = await backup(database, passed(day(1), day(2)))
  const body = { databaseId: database.id, backupJobId: job.job_id, kind: 'restore', mode: 'in_place', target: 'orders' }
  const refused = async (change, status, reason) => {
    const answer = await call('POST', '/restores', { token, body: { ...body, ...change } })
    assert.equal(answer.status, status, answer.text)
    if (reason) assert.equal(answer.json.error.reason, reason)
    return answer.json.error
  }
  assert.match((await refused({}, 400, 'missing')).nextAction, /confirmDestructive: true/)
  await refused({ confirmDestructive: false }, 400, 'unknown_value')
  await refused({ kind: 'drill', confirmDestructive: true }, 400, 'unknown_value')
  await refused({ target: 'postgres://u:p@h/db', mode: 'new_database' }, 400, 'secret')
  await refused({ target: 'postgres://h/db', mode: 'new_database' }, 400, 'malformed')
  const fresh = { mode: 'new_database', target: 'scratch/orders' }
  await refused({ ...fresh, target: 'orders' }, 400, 'malformed')
  await refused({ target: 'scratch/orders', confirmDestructive: true }, 400, 'malformed')
  await refused({ ...fresh, databaseId: 'x' }, 404)
  await refused({ ...fresh, target: undefined }, 400, 'missing')
  await refused({ ...fresh, databaseId: other.id }, 404)
  await refused({ ...fresh, backupJobId: crypto.randomUUID() }, 404)
  const { backupJobId } = (await call('POST', `/databases/${other.id}/backups`, { token })).json
  await refused({ ...fresh, databaseId: other.id, backupJobId }, 409, 'backup_not_completed')
  const taken = await call('POST', '/restores', { token, body: { ...body, confirmDestructive: true } })
  assert.equal(taken.status, 202)
  assert.equal(taken.json.job.state, 'queued')
})

test('recoverability, for auditors', async () => {
  const { databases } = await get('/audit/recoverability?limit=100')
  assert.ok(databases.some((row) => row.verdict === 'proven' && row.recoverableTo !== null))
  assert.ok(databases.some((row) => row.verdict === 'unproven' && row.recoverableTo === null))
})

test('a stored verification is shown with its age', async () => {
  sql(`INSERT INTO walwarden_internal.verification SELECT o.id, clock_timestamp() - interval '90 s', v.entries, v.head_hash, v.ok, v.first_bad_seq, v.reason
         FROM walwarden_internal.org AS o, walwarden.verify_audit_chain('recovery') AS v WHERE o.slug = 'recovery'`)
  const shown = await get('/audit/verification')
  assert.equal(shown.lastRun.ok, true)
  assert.ok(shown.ageSeconds >= 90)
  assert.equal((await get('/readiness')).checks.find((check) => check.name === 'audit_verified').status, 'pass')
  sql("UPDATE walwarden_internal.verification SET ok = false, reason = 'tampered' WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'recovery')")
  assert.equal((await get('/readiness')).status, 'degraded')
  sql("DELETE FROM walwarden_internal.verification WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'recovery')")
})
