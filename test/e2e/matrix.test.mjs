// Every operation against every kind of token and of person, made from the rows of
// walwarden_internal.rest_operation. What is written here is only what each operation
// needs to succeed.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, createDatabase, createOrg, issue, Node, passed, signIn, sleep, sql, sqlJson } from './lib.mjs'

const operations = sqlJson('SELECT * FROM walwarden_internal.rest_operation ORDER BY stage, path, method')
const kinds = ['none', 'malformed', 'unknown', 'revoked', 'expired', 'inactive', 'disabled', 'owner disabled', 'renewed away', 'node', 'deploy',
  'no scope', 'wrong scope', 'right scope', 'owner reduced', 'legacy pair', 'other org']
// people who signed in: with each role; of another organisation; disabled since; too long ago; with a token beside
const roles = Object.fromEntries(sqlJson('SELECT name, walwarden_internal.role_scopes(name) AS scopes FROM walwarden_internal.role').map((role) => [role.name, role.scopes]))
const people = [...Object.keys(roles), 'elsewhere', 'away', 'late', 'both']
// what else a role may do, by the table of rights
const capabilities = Object.fromEntries(sqlJson('SELECT name, capabilities FROM walwarden_internal.role').map((role) => [role.name, role.capabilities]))
const permissions = sqlJson('SELECT * FROM walwarden_internal.permission')
const may = (role, action, target) => permissions.some((row) => row.action === action && (target === undefined || row.target === target) && row.any_of.some((needed) => capabilities[role].includes(needed)))
const person = (kind) => kind.startsWith('person ') && kind.slice(7)
kinds.push(...people.map((name) => `person ${name}`))
const sessions = {}
// whose admin was put into it: it reads, and changes nothing
const reducedTo = 'read_only'
const left = sqlJson(`SELECT scopes FROM walwarden_internal.role WHERE name = '${reducedTo}'`)[0].scopes
const tokens = {}
const results = {}
let all, node, ids

before(async () => {
  createOrg('matrix')
  createOrg('matrix-other')
  createOrg('matrix-lapsed')
  all = issue('matrix', allScopes)
  node = new Node('matrix')

  const database = await createDatabase(all)
  const started = await call('POST', `/databases/${database.id}/backups`, { token: all })
  await node.completeBackup(passed('2026-11-19T00:00:00Z', '2026-11-20T00:00:00Z'))
  const summary = await call('GET', `/databases/${database.id}/recovery/summary`, { token: all })
  const restore = await call('POST', '/restores', { token: all, body: { databaseId: database.id, backupJobId: started.json.backupJobId, kind: 'drill', mode: 'new_database', target: 'drill-host' } })
  ids = {
    databaseId: database.id,
    destinationId: database.destinationId,
    backupJobId: started.json.backupJobId,
    restoreJobId: restore.json.restoreJobId,
    windowId: summary.json.windows[0].windowId
  }

  // an organisation keeps an owner or admin: this one, whatever happens to the others
  sql("SELECT walwarden.add_member('matrix', 'boss', 'owner')")
  for (const subject of ['disabled', 'reduced', 'legacy']) sql(`SELECT walwarden.add_member('matrix', '${subject}', 'admin')`)

  for (const role of Object.keys(roles)) sql(`SELECT walwarden.add_member('matrix', '${role}', '${role}')`)
  for (const name of ['away', 'late']) sql(`SELECT walwarden.add_member('matrix', '${name}', 'owner')`)
  sql("SELECT walwarden.add_member('matrix-other', 'elsewhere', 'owner')")
  for (const name of people) sessions[name] = await signIn(name === 'both' ? 'owner' : name)
  sql("SELECT walwarden.disable_member('matrix', 'away')")
  sql("UPDATE walwarden_internal.session SET expires_at = clock_timestamp() WHERE subject = 'late'")

  tokens.none = undefined
  tokens.malformed = 'wal_NOTHEX'
  tokens.unknown = 'wal_' + 'ab'.repeat(32)
  tokens.revoked = issue('matrix', allScopes)
  sql(`SELECT walwarden.revoke_token((walwarden.introspect_token('${tokens.revoked}') ->> 'tokenId')::uuid)`)
  tokens.expired = issue('matrix', allScopes, ", now() + interval '5 seconds'")
  tokens.inactive = issue('matrix-lapsed', allScopes)
  sql("SELECT walwarden.set_plan('matrix-lapsed', 'free')")
  tokens.disabled = issue('matrix', allScopes)
  sql(`SELECT walwarden.disable_token((walwarden.introspect_token('${tokens.disabled}') ->> 'tokenId')::uuid)`)
  tokens['owner disabled'] = issue('matrix', allScopes, ", owner => 'disabled'")
  sql("SELECT walwarden.disable_member('matrix', 'disabled')")
  tokens['renewed away'] = issue('matrix', allScopes)
  sql(`SELECT walwarden.renew_token((walwarden.introspect_token('${tokens['renewed away']}') ->> 'tokenId')::uuid)`)
  tokens.node = node.token
  tokens.deploy = issue('matrix', [], ", role => 'deploy'")
  tokens['no scope'] = issue('matrix')
  tokens['wrong scope'] = Object.fromEntries(allScopes.map((scope) => [scope, issue('matrix', allScopes.filter((s) => s !== scope))]))
  tokens['right scope'] = Object.fromEntries(allScopes.map((scope) => [scope, issue('matrix', [scope])]))
  tokens['owner reduced'] = issue('matrix', allScopes, ", owner => 'reduced'")
  sql(`SELECT walwarden.set_member_role('matrix', 'reduced', '${reducedTo}')`)
  const secret = 'e2e-' + crypto.randomUUID()
  tokens['legacy pair'] = { 'X-WallarmAPI-UUID': crypto.randomUUID(), 'X-WallarmAPI-Secret': secret }
  sql(`SELECT walwarden.import_legacy_credential('matrix', 'legacy', '${tokens['legacy pair']['X-WallarmAPI-UUID']}', '${secret}')`)
  tokens['other org'] = issue('matrix-other', allScopes)
  await sleep(5100)
})

// The path and body that succeed, made anew for each call of a change.
async function prepare (op) {
  const own = { ...ids }
  let body
  switch (op.operation) {
    case 'triggerBackup': case 'updateDatabase': case 'deleteDatabase': case 'updateDestination':
      own.databaseId = (await createDatabase(all)).id
      if (op.operation === 'updateDatabase') body = { schedule: '0 4 * * *' }
      if (op.operation === 'updateDestination') body = { retentionFloorDays: 7 }
      break
    case 'deleteDestination':
      own.destinationId = (await call('POST', '/destinations', { token: all, body: { name: crypto.randomUUID(), provider: 'local', uri: 'file:///srv/backups' } })).json.id
      break
    case 'cancelBackup': case 'dismissBackup':
      own.backupJobId = (await call('POST', `/databases/${(await createDatabase(all)).id}/backups`, { token: all })).json.backupJobId
      if (op.operation === 'dismissBackup') {
        // the oldest job is claimed first: let none be older
        for (let job; (job = await node.claim('{backup}'));) {
          await node.report(job, 'failed', { error: { class: 'io', message: 'disk full', retryable: false } })
          if (job.job_id === own.backupJobId) break
        }
      }
      break
    case 'cancelRestore':
      own.restoreJobId = (await call('POST', '/restores', { token: all, body: { databaseId: ids.databaseId, backupJobId: ids.backupJobId, kind: 'drill', mode: 'new_database', target: 'drill-host' } })).json.restoreJobId
      break
    case 'createDatabase': body = { name: crypto.randomUUID(), connectionRef: 'primary' }; break
    case 'createDestination': body = { name: crypto.randomUUID(), provider: 's3', uri: 's3://bucket' }; break
    case 'createRestore': body = { databaseId: ids.databaseId, backupJobId: ids.backupJobId, kind: 'drill', mode: 'new_database', target: 'drill-host' }; break
    case 'exportEvidence': body = { backupJobIds: [ids.backupJobId] }; break
    case 'addMember': body = { subject: crypto.randomUUID(), role: 'member' }; break
    case 'updateMember': body = { role: 'analyst' }; break
    case 'updatePolicy': body = { noticeSeconds: 604800 }; break
    case 'issueToken': body = { name: 'new', visibility: 'shared' }; break
    case 'updateToken': body = { name: 'renamed' }; break
    case 'createSession': body = { code: sql("SELECT walwarden.sign_in_link('boss')") }; break
    case 'reportLeakedToken': body = { token: issue('matrix') }
  }
  if (op.parameter === 'memberId') {
    const subject = crypto.randomUUID()
    own.memberId = sql(`SELECT walwarden.add_member('matrix', '${subject}')`)
    if (op.operation === 'eraseMember') sql(`SELECT walwarden.remove_member('matrix', '${subject}')`)
  }
  if (op.parameter === 'tokenId') {
    own.tokenId = sql("SELECT token_id FROM walwarden.issue_token('matrix', 'managed')")
    if (op.operation === 'enableToken') sql(`SELECT walwarden.disable_token('${own.tokenId}')`)
    if (op.operation === 'endOverlap') sql(`SELECT walwarden.renew_token('${own.tokenId}', '1 day')`)
  }
  return { path: op.path.replace('{org}', 'matrix').replace(/\{(\w+)\}/, (_, name) => own[name]), body }
}

// Where a person finds an operation that is for tokens too.
const placed = (op, kind, path) => person(kind) && op.caller === 'any' ? `/orgs/matrix${path}` : path

// What a request for op presents of a kind: options of call().
async function presented (op, kind) {
  if (person(kind)) {
    const name = person(kind)
    if (name === 'both') return { session: sessions.both, token: all }
    // signing out ends the session, and so does signing in
    return { session: op.operation.endsWith('Session') && !['away', 'late'].includes(name) ? await signIn(name) : sessions[name] }
  }
  const credential = tokens[kind]
  if (kind === 'legacy pair') return { headers: credential }
  if (typeof credential !== 'object') return { token: credential }
  return { token: op.required_scope ? credential[op.required_scope] : tokens['no scope'] }
}

function expectedOfPerson (op, name) {
  if (['away', 'late', 'both'].includes(name)) return 401
  if (op.caller === 'token') return 403
  if (op.caller === 'person' && !op.in_org) return op.success_status
  if (name === 'elsewhere') return 404
  if (op.action && !may(name, op.action)) return 403
  // it is a shared one
  if (op.operation === 'issueToken' && !may(name, op.action, 'shared')) return 403
  if (op.parameter === 'tokenId' && !may(name, 'token.list', 'all')) return 404
  return op.required_scope && !roles[name].includes(op.required_scope) ? 403 : op.success_status
}

function expected (op, kind) {
  if (op.caller === 'sso') return 404     // off as it is shipped; sso.test.mjs has it on
  if (op.caller === 'anyone') return op.success_status
  if (person(kind)) return expectedOfPerson(op, person(kind))
  if (op.caller === 'person') return expected({ ...op, caller: 'any', required_scope: null, success_status: 403, parameter: null }, kind)
  switch (kind) {
    case 'none': case 'malformed': case 'unknown': case 'revoked': case 'expired': case 'inactive': return 401
    case 'disabled': case 'owner disabled': case 'renewed away': return 401
    case 'node': case 'deploy': return 403
    case 'no scope': case 'wrong scope': return op.required_scope ? 403 : op.success_status
    case 'right scope': case 'legacy pair': return op.success_status
    case 'owner reduced': return op.required_scope && !left.includes(op.required_scope) ? 403 : op.success_status
    case 'other org': return op.parameter || ['createRestore', 'exportEvidence'].includes(op.operation) ? 404 : op.success_status
  }
}

for (const op of operations) {
  for (const kind of kinds) {
    test(`${op.operation}, ${kind}`, async () => {
      const prepared = await prepare(op)
      const { body } = prepared
      const path = placed(op, kind, prepared.path)
      const credential = { ...await presented(op, kind), ...(op.caller === 'sso' ? { prefix: '' } : {}) }
      const before = sql("SELECT count(*) FROM walwarden_internal.audit_entry WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'matrix')")
      const answer = await call(op.method, path, { ...credential, body })
      ;(results[op.operation] ??= {})[kind] = answer.status
      assert.equal(answer.status, expected(op, kind), answer.text)
      if (answer.status >= 400) {
        const after = sql("SELECT count(*) FROM walwarden_internal.audit_entry WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'matrix')")
        assert.equal(after, before, 'a refused request left an entry')
      }
      if (answer.status === 401) {
        assert.equal(answer.headers['www-authenticate'], kind === 'none' ? 'Bearer' : 'Bearer error="invalid_token"')
      }
      if (answer.status === 403 && person(kind) && op.action) {
        assert.equal(answer.json.error.reason, 'not_permitted')
        assert.equal(answer.headers['www-authenticate'], undefined)
      } else if (answer.status === 403) {
        // of the caller, or of the scope
        const wanted = ['node', 'deploy'].includes(kind) || (person(kind) ? op.caller === 'token' : op.caller === 'person') ? null : op.required_scope
        assert.equal(answer.json.error.requiredScope, wanted)
        assert.ok(answer.json.error.nextAction)
        assert.equal(answer.headers['www-authenticate'], 'Bearer error="insufficient_scope"' + (wanted ? `, scope="${wanted}"` : ''))
      }
      if (kind === 'other org' && answer.status === 404 && op.caller !== 'sso') {
        const missing = await call(op.method, path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, crypto.randomUUID()), { token: all, body: body && JSON.parse(JSON.stringify(body).replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, () => crypto.randomUUID())) })
        assert.equal(missing.text.replaceAll(missing.json.error.requestId, ''), answer.text.replaceAll(answer.json.error.requestId, ''), 'differs from a missing resource')
      }
      if (kind === 'other org' && op.list_field && answer.status === 200 && op.list_field !== 'entries') {
        for (const item of answer.json[op.list_field]) assert.ok(!JSON.stringify(item).includes(ids.databaseId))
      }
      if (op.method === 'GET') {
        const head = await call('HEAD', path, credential)
        assert.equal(head.status, answer.status)
        assert.equal(head.headers['www-authenticate'], answer.headers['www-authenticate'])
      }
      if (kind === 'right scope' && op.location && answer.status < 400) {
        const read = await call('GET', answer.headers.location.replace('/api/v1', ''), { token: all })
        assert.equal(read.status, 200, answer.headers.location)
      }
    })
  }
}

test('the matrix is the whole document', () => {
  // names in two lines, and columns no wider than a word
  const words = kinds.map((kind) => kind.split(' '))
  const print = (first, cells) => console.log(`# ${first.padEnd(24)}${cells.map((cell, i) => String(cell ?? '').padEnd(Math.max(...words[i].map((word) => word.length)) + 2)).join('')}`.trimEnd())
  print('', words.map((pair) => pair.length > 1 ? pair[0] : ''))
  print('operation', words.map((pair) => pair.at(-1)))
  for (const [operation, row] of Object.entries(results)) print(operation, kinds.map((kind) => row[kind]))
  assert.equal(Object.keys(results).length, operations.length)
  const statuses = Object.values(results).flatMap((row) => Object.values(row))
  console.log(`# ${operations.length} operations x ${kinds.length} callers = ${statuses.length}: ${[...new Set(statuses)].sort().map((status) => `${statuses.filter((one) => one === status).length} of ${status}`).join(', ')}`)
  assert.equal(statuses.length, operations.length * kinds.length)
})
