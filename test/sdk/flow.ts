// What every generated client does: a day of an integration, and one of a person who manages an
// organisation, in which each operation is called. Only the types of the document are used here.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { type Api, type ApiError, Refused } from './api.js'

// What happens outside of the API: a node works on the jobs, an operator issues a token and makes
// a link to sign in by.
export interface World {
  org: string
  signInCode: () => string
  completeBackup: () => Promise<unknown>
  failBackup: () => Promise<unknown>
  spareToken: () => string
}

const key = () => ({ 'Idempotency-Key': randomUUID() })

async function refused (request: Promise<unknown>, status: number): Promise<ApiError['error']> {
  const error = await request.then(() => null, (reason: unknown) => reason)
  assert.ok(error instanceof Refused, String(error))
  assert.equal(error.status, status)
  return error.body.error
}

export async function integration (api: Api, world: World): Promise<void> {
  const profile = await api.getProfile({})
  assert.ok(profile.token.effectiveScopes?.includes('databases:write'))
  const document = await api.getOpenApi({})
  assert.equal((document as { openapi?: unknown }).openapi, '3.1.0')

  // a destination and a database
  const destination = await api.createDestination({ header: key(), body: { name: randomUUID(), provider: 's3', uri: 's3://bucket/sdk' } })
  assert.equal(destination.retentionFloorDays, 0)
  const destinationId = destination.id
  const changed = await api.updateDestination({ path: { destinationId }, header: key(), body: { region: 'eu-central-1' } })
  assert.equal(changed.region, 'eu-central-1')
  assert.equal((await api.getDestination({ path: { destinationId } })).region, 'eu-central-1')
  const database = await api.createDatabase({ header: key(), body: { name: randomUUID(), connectionRef: 'primary', destinationId, objectives: { rpoSeconds: 3600 } } })
  assert.equal(database.engine, 'postgresql')
  assert.equal(database.objectives.rpoSeconds, 3600)
  assert.equal(database.objectives.rtoSeconds, null)
  const databaseId = database.id
  assert.equal((await api.updateDatabase({ path: { databaseId }, header: key(), body: { schedule: '0 3 * * *' } })).schedule, '0 3 * * *')
  assert.equal((await api.getDatabase({ path: { databaseId } })).lastBackup, null)
  assert.equal((await api.getRecoveryCandidate({ path: { databaseId } })).candidate, null)

  // lists, page by page
  assert.ok((await api.listDestinations({})).destinations.some((item) => item.id === destinationId))
  const first = await api.listDatabases({ query: { limit: 1 } })
  assert.deepEqual(first.databases.map((item) => item.id), [databaseId])
  if (first.pageInfo.nextCursor !== null) {
    const second = await api.listDatabases({ query: { limit: 1, cursor: first.pageInfo.nextCursor } })
    assert.notEqual(second.databases[0]?.id, databaseId)
  }

  // backups: one that is cancelled, one that fails, one that completes
  const cancelled = await api.triggerBackup({ path: { databaseId }, header: key() })
  assert.equal(cancelled.job.state, 'queued')
  assert.equal((await api.cancelBackup({ path: { backupJobId: cancelled.backupJobId }, header: key() })).job.state, 'cancelled')
  const failed = await api.triggerBackup({ path: { databaseId }, header: key(), body: {} })
  await world.failBackup()
  assert.equal((await api.getBackup({ path: { backupJobId: failed.backupJobId } })).error?.class, 'io')
  assert.equal((await api.dismissBackup({ path: { backupJobId: failed.backupJobId }, header: key() })).job.state, 'dismissed')
  const { backupJobId } = await api.triggerBackup({ path: { databaseId }, header: key(), body: { reason: 'before the upgrade' } })
  await world.completeBackup()
  const backup = await api.getBackup({ path: { backupJobId } })
  assert.equal(backup.state, 'completed')
  assert.equal(backup.artifact?.sizeBytes, 1)
  assert.deepEqual((await api.listDatabaseBackups({ path: { databaseId }, query: { limit: 100 } })).backups.map((item) => item.state), ['completed', 'dismissed', 'cancelled'])

  // evidence, and what can be restored
  const evidence = await api.getEvidence({ path: { backupJobId } })
  assert.equal(evidence.integrityVerification.result, 'passed')
  assert.ok((await api.listEvidence({ query: { limit: 100 } })).evidence.some((item) => item.backupJobId === backupJobId))
  const summary = await api.getRecoverySummary({ path: { databaseId } })
  const window = summary.windows[0]
  assert.ok(window)
  assert.equal((await api.getRecoveryWindowProof({ path: { windowId: window.windowId } })).verdict, 'proven')
  assert.equal((await api.getRecoveryCandidate({ path: { databaseId } })).candidate?.backupJobId, backupJobId)
  const bundle = await api.exportEvidence({ header: key(), body: { backupJobIds: [backupJobId] } })
  assert.ok(bundle.files.some((file) => file.path === 'chain.tsv'))

  // a restore in place has to be confirmed; a drill has not
  const restore = { databaseId, backupJobId, kind: 'restore', mode: 'in_place', target: 'orders' } as const
  const unconfirmed = await refused(api.createRestore({ header: key(), body: restore }), 400)
  assert.deepEqual([unconfirmed.field, unconfirmed.reason], ['confirmDestructive', 'missing'])
  assert.ok(unconfirmed.nextAction)
  const drill = await api.createRestore({ header: key(), body: { ...restore, kind: 'drill', mode: 'new_database' } })
  assert.equal((await api.getRestore({ path: { restoreJobId: drill.restoreJobId } })).done, false)
  assert.ok((await api.listRestores({ query: { limit: 100 } })).restores.some((item) => item.id === drill.restoreJobId))
  assert.equal((await api.cancelRestore({ path: { restoreJobId: drill.restoreJobId }, header: key() })).job.state, 'cancelled')

  // what auditors and monitors ask
  assert.equal((await api.listAuditEntries({ query: { limit: 1 } })).entries[0]?.seq, 1)
  const newest = await api.listAuditEntries({ query: { kind: 'backup.', object: `job:${backupJobId}`, since: '2020-01-01T00:00:00Z', order: 'newest', limit: 1 } })
  assert.equal(newest.entries[0]?.kind, 'backup.completed')
  assert.equal((await api.getAuditVerification({})).checkpoint, null)
  assert.equal((await api.listRecoverability({ query: { limit: 100 } })).databases.find((item) => item.databaseId === databaseId)?.verdict, 'proven')
  assert.ok((await api.getReadiness({})).checks.some((check) => check.name === 'database_writable' && check.status === 'pass'))

  // what is refused, and the same key once more
  assert.equal((await refused(api.deleteDestination({ path: { destinationId }, header: key() }), 409)).reason, 'destination_in_use')
  assert.equal((await refused(api.getDatabase({ path: { databaseId: randomUUID() } }), 404)).code, 'not_found')
  const again = { path: { databaseId }, header: key() }
  await api.deleteDatabase(again)
  await api.deleteDatabase(again)
  await api.deleteDestination({ path: { destinationId }, header: key() })
  await api.reportLeakedToken({ body: { token: world.spareToken(), source: 'test/sdk' } })
}

// stranger: without a token and a session. api: of somebody who signed in, and is an owner of the organisation
export async function management (stranger: Api, api: Api, world: World): Promise<void> {
  const org = world.org
  await stranger.createSession({ body: { code: world.signInCode() } })
  const me = await api.listOrgs({})
  assert.deepEqual(me.orgs.map((item) => [item.slug, item.role]), [[org, 'owner']])
  const here = await api.getOrg({ path: { org } })
  assert.ok(here.scopes.some((scope) => scope.name === 'databases:read' && scope.carried))

  // a token, from its issue to its end
  const again = { path: { org }, header: key(), body: { name: 'ci', visibility: 'shared', scopes: ['databases:read'], expiresAt: null, labels: { team: 'ops' } } } as const
  const issued = await api.issueToken({ ...again, body: { ...again.body, scopes: [...again.body.scopes] } })
  assert.match(issued.token, /^wal_/)
  const path = { org, tokenId: issued.tokenId }
  assert.equal((await refused(api.issueToken({ ...again, body: { ...again.body, scopes: [...again.body.scopes] } }), 409)).tokenId, issued.tokenId)
  assert.ok((await api.listTokens({ path: { org }, query: { state: 'active', name: 'C', limit: 100 } })).tokens.some((item) => item.tokenId === issued.tokenId))
  assert.deepEqual((await api.getToken({ path })).labels, { team: 'ops' })
  assert.equal((await api.updateToken({ path, header: key(), body: { name: 'ci-2', rateLimit: null } })).name, 'ci-2')
  assert.equal((await api.disableToken({ path, header: key(), body: { reason: 'sdk' } })).state, 'disabled')
  assert.equal((await api.enableToken({ path, header: key() })).state, 'active')
  assert.notEqual((await api.renewToken({ path, header: key(), body: { overlapSeconds: 60 } })).token, issued.token)
  assert.equal((await api.endOverlap({ path, header: key() })).overlapUntil, null)
  assert.equal((await api.revokeToken({ path, header: key() })).state, 'revoked')

  // a member, likewise
  const subject = randomUUID()
  const { memberId } = await api.addMember({ path: { org }, header: key(), body: { subject, role: 'member' } })
  const member = { org, memberId }
  assert.ok((await api.listMembers({ path: { org }, query: { limit: 100 } })).members.some((item) => item.subject === subject))
  assert.equal((await api.getMember({ path: member })).state, 'active')
  assert.equal((await api.updateMember({ path: member, header: key(), body: { role: 'analyst', disabled: true } })).state, 'disabled')
  assert.equal((await refused(api.eraseMember({ path: member, header: key() }), 409)).reason, 'member_not_removed')
  await api.removeMember({ path: member, header: key() })
  await api.eraseMember({ path: member, header: key() })

  assert.ok((await api.listNodes({ path: { org } })).nodes.length > 0)
  const policy = await api.getPolicy({ path: { org } })
  assert.equal((await api.updatePolicy({ path: { org }, header: key(), body: { noticeSeconds: policy.noticeSeconds, maxLifetimeSeconds: null } })).maxLifetimeSeconds, null)
  const verdict = await api.verifyAudit({ path: { org }, header: key() })
  assert.deepEqual([verdict.ok, verdict.firstBadSeq, verdict.headSeq], [true, null, verdict.entries])

  await api.deleteSession({})
  assert.equal((await refused(api.listOrgs({}), 401)).reason, 'session_refused')
}
