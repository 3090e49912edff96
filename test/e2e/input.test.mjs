// Bad input: a clear answer in the API's form, never a 500, nothing left behind.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, base, call, checkAnswer, createDatabase, createOrg, document, issue, send, sendRaw, signIn, sql, sqlJson } from './lib.mjs'

let token, database
before(async () => {
  createOrg('input')
  token = issue('input', allScopes)
  database = await createDatabase(token, 'taken')
})

const entries = () => sql("SELECT count(*) FROM walwarden_internal.audit_entry WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'input')")

// [what, body or bytes, status, reason]
const good = { name: 'x', connectionRef: 'primary' }
const bodies = [
  ['malformed JSON', '{"name":', 400, 'malformed_json'],
  ['no JSON', 'hello', 400, 'malformed_json'],
  ['two values', '{} {}', 400, 'malformed_json'],
  ['duplicate key', '{"name":"x","name":"y","connectionRef":"primary"}', 400, 'duplicate_key', 'name'],
  ['duplicate key, nested', '{"name":"x","connectionRef":"primary","objectives":{"rpoSeconds":1,"rpoSeconds":2}}', 400, 'duplicate_key', 'rpoSeconds'],
  ['an empty key, twice', '{"":1,"":2}', 400, 'duplicate_key', '""'],
  ['an empty key', '{"":1}', 400, 'unknown_field', '""'],
  ['duplicate key, escaped', '{"name":"x","n\\u0061me":"y","connectionRef":"primary"}', 400, 'duplicate_key', 'name'],
  ['deep nesting', '['.repeat(3000) + ']'.repeat(3000), 400, 'wrong_type'],
  ['deep nesting in a field', '{"name":' + '['.repeat(3000) + ']'.repeat(3000) + '}', 400],
  ['deeper than any stack', '['.repeat(60000), 400, 'malformed_json'],
  ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400, 'malformed_json'],
  ['overlong UTF-8', Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]), 400, 'malformed_json'],
  ['NUL byte', Buffer.from('{"name":"a\0b"}'), 400, 'malformed_json'],
  ['escaped NUL', '{"name":"a\\u0000b","connectionRef":"primary"}', 400, 'malformed_json'],
  ['lone surrogate', '{"name":"\\ud800","connectionRef":"primary"}', 400, 'malformed_json'],
  ['a fraction', '{"name":"x","connectionRef":"primary","objectives":{"rpoSeconds":1.5}}', 400, 'wrong_type', 'objectives.rpoSeconds'],
  ['a fraction in another spelling', '{"name":"x","connectionRef":"primary","retentionDays":30.0,"objectives":{"rpoSeconds":15e-1}}', 400, 'wrong_type', 'objectives.rpoSeconds'],
  ['too large a number', '{"name":"x","connectionRef":"primary","objectives":{"rpoSeconds":1e400}}', 400, 'out_of_range', 'objectives.rpoSeconds'],
  ['an array', '[]', 400, 'wrong_type'],
  ['null', 'null', 400, 'wrong_type'],
  ['a string', '"x"', 400, 'wrong_type'],
  ['empty body', '', 400, 'missing'],
  ['missing field', { name: 'x' }, 400, 'missing', 'connectionRef'],
  ['unknown field', { ...good, password: 'x' }, 400, 'unknown_field'],
  ['a field beyond ASCII', { ...good, größe: 1 }, 400, 'unknown_field', 'größe'],
  ['a field beyond U+FFFF', { ...good, '\u{1f4be}': 1 }, 400, 'unknown_field', '\u{1f4be}'],
  ['a field beyond ASCII, twice', '{"name":"x","größe":1,"größe":2}', 400, 'duplicate_key', 'größe'],
  ['unknown nested field', { ...good, objectives: { rpo: 1 } }, 400, 'unknown_field'],
  ['wrong type', { ...good, name: 7 }, 400, 'wrong_type', 'name'],
  ['wrong nested type', { ...good, objectives: { rpoSeconds: '60' } }, 400, 'wrong_type', 'objectives.rpoSeconds'],
  ['null where none may be', { ...good, name: null }, 400, 'wrong_type', 'name'],
  ['empty name', { ...good, name: '' }, 400, 'out_of_range', 'name'],
  ['blank name', { ...good, name: '   ' }, 400, 'out_of_range', 'name'],
  ['long name', { ...good, name: 'x'.repeat(101) }, 400, 'out_of_range', 'name'],
  ['control character', { ...good, name: 'a\nb' }, 400, 'malformed', 'name'],
  ['zero width space', { ...good, name: 'a\u200bb' }, 400, 'malformed', 'name'],
  ['right-to-left override', { ...good, name: 'orders \u202egpj.exe' }, 400, 'malformed', 'name'],
  ['no-break space alone', { ...good, name: '\u00a0' }, 400, 'out_of_range', 'name'],
  ['a DSN with a password', { ...good, connectionRef: 'postgres://u:hunter2@h/db' }, 400, 'secret', 'connectionRef'],
  ['a keyword DSN', { ...good, connectionRef: 'host=h password=hunter2' }, 400, 'secret', 'connectionRef'],
  ['a DSN without a password', { ...good, connectionRef: 'postgres://u@h/db' }, 400, 'malformed', 'connectionRef'],
  ['a DSN as a name', { ...good, name: 'postgres://u:hunter2@h/db' }, 400, 'secret', 'name'],
  ['a keyword DSN as a name', { ...good, name: 'host=h PASSWORD = hunter2' }, 400, 'secret', 'name'],
  ['a token in a field', { ...good, name: 'wal_' + 'a'.repeat(64) }, 400, 'secret', 'name'],
  ['unknown engine', { ...good, engine: 'mysql' }, 400, 'unknown_value', 'engine'],
  ['no uuid', { ...good, destinationId: 'x' }, 404, undefined, 'destinationId'],
  ['a uuid of nobody', { ...good, destinationId: '00000000-0000-4000-8000-000000000000' }, 404, undefined, 'destinationId'],
  ['negative objective', { ...good, objectives: { rpoSeconds: -1 } }, 400, 'out_of_range', 'objectives.rpoSeconds'],
  ['huge objective', '{"name":"x","connectionRef":"primary","objectives":{"rpoSeconds":9007199254740991}}', 400, 'out_of_range', 'objectives.rpoSeconds'],
  ['cron of four fields', { ...good, schedule: '* * * *' }, 400, 'malformed', 'schedule'],
  ['cron out of range', { ...good, schedule: '60 * * * *' }, 400, 'malformed', 'schedule'],
  ['cron backwards', { ...good, schedule: '5-1 * * * *' }, 400, 'malformed', 'schedule'],
  ['cron month 0', { ...good, schedule: '0 0 1 0 *' }, 400, 'malformed', 'schedule'],
  ['cron with a step beyond numbers', { ...good, schedule: '*/9999999999 * * * *' }, 400, 'malformed', 'schedule'],
  ['cron of no date', { ...good, schedule: '0 0 30 2 *' }, 400, 'malformed', 'schedule'],
  ['cron with a step of nothing', { ...good, schedule: '5/10 * * * *' }, 400, 'malformed', 'schedule'],
  ['cron with a name', { ...good, schedule: '0 3 * * MON' }, 400, 'malformed', 'schedule'],
  ['cron in Arabic digits', { ...good, schedule: '\u0660 3 * * *' }, 400, 'malformed', 'schedule'],
  ['cron of 101 characters', { ...good, schedule: '1,'.repeat(46) + '1 * * * *' }, 400, 'out_of_range', 'schedule'],
  ['a number as a schedule', { ...good, schedule: 5 }, 400, 'wrong_type', 'schedule'],
  ['drills of no date', { ...good, drillSchedule: '0 0 31 4,6 *' }, 400, 'malformed', 'drillSchedule'],
  ['drills with a step of nothing', { ...good, drillSchedule: '*/0 * * * *' }, 400, 'malformed', 'drillSchedule'],
  ['unknown method', { ...good, method: 'cp' }, 400, 'unknown_value', 'method'],
  ['no method', { ...good, method: null }, 400, 'wrong_type', 'method'],
  ['no day of retention', { ...good, retentionDays: 0 }, 400, 'out_of_range', 'retentionDays'],
  ['too many days of retention', { ...good, retentionDays: 36501 }, 400, 'out_of_range', 'retentionDays'],
  ['a fraction of a day', { ...good, retentionDays: 1.5 }, 400, 'wrong_type', 'retentionDays'],
  ['a time that is not for clients to say', { ...good, nextBackupAt: '2026-11-29T00:00:00Z' }, 400, 'unknown_field', 'nextBackupAt'],
  ...["a'b", 'a b', '-a', '.a', 'a/.b', 'a/..', 'a/../b', '../a', 'a//b', 'a/', '/a', 'a/-b', '$(id)', 'a;b', 'a\\b', 'a"b', 'a`b', '~a', 'a*', 'A'.repeat(129)].map((ref) =>
    [`connectionRef ${ref}`, { ...good, connectionRef: ref }, 400, ref.length > 128 ? 'out_of_range' : 'malformed', 'connectionRef']),
  ['taken name', { ...good, name: 'taken' }, 409, 'name_taken', 'name'],
  ['65537 bytes', JSON.stringify({ ...good, name: 'x'.repeat(65537) }), 413],
  ['10 MiB', Buffer.alloc(10 << 20, 0x20), 413]
]
for (const [what, body, status, reason, field] of bodies) {
  test(`body: ${what}`, async () => {
    const before = entries()
    const answer = await call('POST', '/databases', { token, body })
    assert.equal(answer.status, status, answer.text)
    if (reason) assert.equal(answer.json.error.reason, reason, answer.text)
    if (field) assert.equal(answer.json.error.field, field, answer.text)
    if (reason === 'unknown_field') assert.match(answer.json.error.message, / is not a known field$/)
    assert.equal(entries(), before)
    assert.ok(!answer.text.includes('hunter2'))
  })
}

test('an integer is one in any spelling', async () => {
  const key = crypto.randomUUID()
  const name = crypto.randomUUID()
  const body = (retention, rpo) => `{"name":"${name}","connectionRef":"primary","retentionDays":${retention},"objectives":{"rpoSeconds":${rpo}}}`
  const made = await call('POST', '/databases', { token, key, body: body('30.0', '1e2') })
  assert.equal(made.status, 201, made.text)
  assert.deepEqual([made.json.retentionDays, made.json.objectives.rpoSeconds], [30, 100])
  assert.ok(!/30\.0|1e2/.test(made.text))
  const again = await call('POST', '/databases', { token, key, body: body('30', '10.0E+1') })
  assert.equal(again.headers['idempotency-replayed'], 'true', 'the same request')
})

// what each provider takes, and what none does
const destinations = [
  ['local', 'file:///srv', 201], ['local', 'file:///srv/backups/2026_a-b.c~d', 201], ['s3', 's3://bucket', 201], ['s3', 's3://bucket/a/b/', 201],
  ['gcs', 'gs://bucket/a', 201], ['minio', 's3://bucket', 201], ['minio', 'minio://bucket/a', 201], ['wasabi', 'wasabi://bucket', 201], ['b2', 'b2://bucket', 201],
  ['s3', 'file:///etc/passwd', 400], ['local', 's3://bucket', 400], ['gcs', 's3://bucket', 400], ['s3', 'gs://bucket', 400], ['b2', 'wasabi://bucket', 400],
  ...['file:///a/../../etc', 'file:///a/./b', 'file:///..', 'file:///.ssh', 'file://host/srv', 'file:///', 'file://', 'file:/srv', 'file:srv', '/srv', 'srv', '', 'file:///a//b',
    'file:///a b', 'file:///$(id)', 'file:///a?b', 'file:///a#b', 'file:///a%2e%2e/b', 'file:///-a', "file:///a'b", 'FILE:///srv', 'file:///srv\\n'].map((uri) => ['local', uri, 400]),
  ...['s3://', 's3:///a', 's3://bucket/../other', 's3://bucket/a/..', 's3://..', 's3://.a/b', 's3://user@bucket', 's3://bucket:9000/a', 's3://bucket//a', 's3://-a/b', 's3://bucket/a b', 's3://b\u00fcro'].map((uri) => ['s3', uri, 400])
]
test('uri fits its provider, and stays below it', async () => {
  for (const [provider, uri, status] of destinations) {
    const answer = await call('POST', '/destinations', { token, body: { name: crypto.randomUUID(), provider, uri } })
    assert.equal(answer.status, status, `${provider} ${uri}: ${answer.text}`)
    if (status === 400) assert.deepEqual([answer.json.error.field, answer.json.error.reason], ['uri', 'malformed'], answer.text)
  }
})

test('references are names', async () => {
  for (const ref of ['a/../../b', 'a/..', '.a', '-a', 'a b', 'a\nb', '$(id)', '']) {
    const bad = async (method, path, field, body) => {
      const answer = await call(method, path, { token, body })
      assert.equal(answer.status, 400, `${field} ${ref}: ${answer.text}`)
      assert.equal(answer.json.error.field, field)
    }
    await bad('POST', '/destinations', 'credentialRef', { name: crypto.randomUUID(), provider: 's3', uri: 's3://bucket', credentialRef: ref })
    await bad('PATCH', `/destinations/${database.destinationId}`, 'credentialRef', { credentialRef: ref })
    await bad('PATCH', `/databases/${database.id}`, 'connectionRef', { connectionRef: ref })
    await bad('POST', '/restores', 'target', { databaseId: database.id, backupJobId: database.id, kind: 'drill', mode: 'new_database', target: ref })
  }
  for (const type of ['differential', 'incremental', 'FULL', '']) {
    const answer = await call('POST', `/databases/${database.id}/backups`, { token, body: { type } })
    assert.deepEqual([answer.status, answer.json.error.field, answer.json.error.reason], [400, 'type', 'unknown_value'], answer.text)
  }
})

test('cron expressions that are taken', async () => {
  for (const schedule of ['* * * * *', '*/5 0-23/2 1,15 1-12 0-7', '0 3 * * 7', '59 23 31 12 0', null]) {
    const answer = await call('PATCH', `/databases/${database.id}`, { token, body: { schedule } })
    assert.equal(answer.status, 200, `${schedule}: ${answer.text}`)
    assert.equal(answer.json.schedule, schedule)
  }
})

test('SQL in every string comes back as it was, or is refused', async () => {
  for (const evil of ["'; DROP TABLE walwarden_internal.token; --", "x' OR '1'='1", '$$ SELECT 1 $$', '%s%n', '\\x00', '{{7*7}}', '"><script>', '\u05e9']) {
    const answer = await call('POST', '/databases', { token, body: { name: evil, connectionRef: 'primary' } })
    assert.equal(answer.status, 201, answer.text)
    assert.equal(answer.json.name, evil)
    for (const field of ['connectionRef', 'engine', 'schedule', 'postgresVersion', 'destinationId']) {
      assert.equal((await call('POST', '/databases', { token, body: { name: 'y', connectionRef: 'primary', [field]: evil } })).status, field === 'destinationId' ? 404 : 400)
    }
    for (const path of [`/databases/${encodeURIComponent(evil)}`, `/databases?limit=${encodeURIComponent(evil)}`, `/databases?cursor=${encodeURIComponent(evil)}`, `/databases?${encodeURIComponent(evil)}=1`]) {
      const refused = await send('GET', path, { token })
      assert.ok([400, 404].includes(refused.status), `${path}: ${refused.text}`)
      checkAnswer('GET', '/databases/x', refused)
    }
    const keyed = await send('POST', '/databases', { token, key: Buffer.from(evil, 'latin1').toString('ascii').replace(/[^ -~]/g, '?'), body: { name: 'taken', connectionRef: 'primary' } })
    assert.ok([400, 409].includes(keyed.status), keyed.text)
  }
})

test('content types', async () => {
  for (const [type, status] of [['application/json', 201], ['application/json; charset=utf-8', 201], ['Application/JSON;charset=UTF-8', 201], ['application/json;charset=latin1', 415], ['text/plain', 415], ['application/x-www-form-urlencoded', 415], ['application/jsonx', 415], [null, 415], ['multipart/form-data; boundary=x', 415]]) {
    const answer = await call('POST', '/databases', { token, headers: { 'Content-Type': type }, body: JSON.stringify({ name: crypto.randomUUID(), connectionRef: 'primary' }) })
    assert.equal(answer.status, status, `${type}: ${answer.text}`)
  }
})

test('idempotency keys', async () => {
  for (const [key, reason] of [[null, 'missing'], ['', 'missing'], ['x'.repeat(256), 'malformed'], ['a b', 'malformed'], ['""', 'malformed'], ['"a b"', 'malformed'], ['a\tb', undefined]]) {
    const answer = await call('POST', '/databases', { token, key, body: { name: crypto.randomUUID(), connectionRef: 'primary' } })
    assert.equal(answer.status, 400, `${key}: ${answer.text}`)
    if (reason) assert.equal(answer.json.error.reason, reason)
  }
  const body = { name: crypto.randomUUID(), connectionRef: 'primary' }
  for (const [key, status] of [['x'.repeat(255), 201], ['!~#', 201], ['"quoted"', 201]]) {
    assert.equal((await call('POST', '/databases', { token, key, body: { ...body, name: crypto.randomUUID() } })).status, status)
  }
})

test('queries', async () => {
  for (const query of ['limit=0', 'limit=101', 'limit=-1', 'limit=x', 'limit=1e1', 'limit=', 'limit', 'limit=5&limit=5', 'cursor=', 'cursor=%00', 'cursor=AAAA', 'cursor=e30', 'offset=1', 'Limit=5', '=', '&', 'a[]=1', 'limit=5&', 'id=eq.7', 'select=*']) {
    const answer = await call('GET', `/databases?${query}`, { token })
    assert.equal(answer.status, 400, `${query}: ${answer.text}`)
  }
  assert.equal((await call('GET', '/databases?', { token })).status, 200)
  assert.equal((await call('GET', '/profile?x=1', { token })).status, 400)
  assert.equal((await call('POST', '/databases?id=7', { token, body: good })).status, 400)
  // the cursor of one list is none of another
  await call('POST', '/databases', { token, body: { name: crypto.randomUUID(), connectionRef: 'primary' } })
  const { nextCursor } = (await call('GET', '/databases?limit=1', { token })).json.pageInfo
  assert.ok(nextCursor)
  assert.equal((await call('GET', `/destinations?cursor=${nextCursor}`, { token })).status, 400)
  assert.equal((await call('GET', `/databases?cursor=${nextCursor.slice(0, -3)}`, { token })).status, 400)
  // made up: the right shape, the wrong kind of key
  const forge = (...key) => Buffer.from(`[${key.map(part => JSON.stringify(part)).join(', ')}]`).toString('base64url')
  for (const [path, operation, id] of [['/databases', 'listDatabases', '5'], ['/destinations', 'listDestinations', '5'], ['/evidence', 'listEvidence', '5'], ['/restores', 'listRestores', '5'], ['/audit/recoverability', 'listRecoverability', '5'], ['/audit/entries', 'listAuditEntries', crypto.randomUUID()]]) {
    for (const at of ['2026-01-01T00:00:00.000000Z', '2026-02-30T00:00:00.000000Z', '9999-99-99T99:99:99.999999Z']) {
      assert.equal((await call('GET', `${path}?cursor=${forge(operation, null, at, id)}`, { token })).status, 400, path)
    }
    assert.equal((await call('GET', `${path}?cursor=${forge(operation, null, '2026-01-01T00:00:00.000000Z', id === '5' ? crypto.randomUUID() : '5')}`, { token })).status, 200, path)
  }
})

test('paths that are none', async () => {
  for (const path of ['', '/', '/databases/', '//databases', '/databases//', '/Databases', '/DATABASES', '/databases/x/y', '/databases/../profile', '/./profile', '/%70rofile', '/databases%2fx', '/profile;x', '/databases/%2e%2e/profile', '/../../etc/passwd', '/rpc/v1_get', '/profile%20', '/%', '/%zz', '/*', '/databases/{databaseId}/backups/x']) {
    const answer = await send('GET', path, { token })
    assert.ok([400, 404].includes(answer.status), `${path}: ${answer.status} ${answer.text}`)
    checkAnswer('GET', '/no/such/path', answer)
  }
  for (const [path, prefix] of [['/api/v1/%00', ''], ['/api/v1/databases/%00', ''], ['/api/v1/../../x', ''], ['/../x', ''], ['/api', ''], ['/rpc/v1_get', ''], ['/rest/rpc/v1_get', ''], ['/rest//rpc/v1_post', ''], ['/rest/rpc/v1%5Fget', ''], ['/api/v2/profile', ''], ['/apiv1', ''], ['/api/v10/profile', '']]) {
    const answer = await send('GET', path, { token, prefix })
    assert.ok([400, 404].includes(answer.status), `${path}: ${answer.status} ${answer.text}`)
    checkAnswer('GET', '/no/such/path', answer)
  }
})

test('ids that are no uuid are missing resources', async () => {
  sql("SELECT walwarden.add_member('input', 'input-owner', 'owner')")
  const session = await signIn('input-owner')
  for (const [whole, methods] of Object.entries(document.paths)) {
    const template = whole.replace('{org}', 'input')
    if (!template.includes('{')) continue
    const caller = template === whole ? { token } : { session }
    for (const method of Object.keys(methods)) {
      for (const id of ['x', '1', 'null', '00000000-0000-0000-0000-00000000000', '{00000000-0000-0000-0000-000000000000}', '00000000000000000000000000000000']) {
        const path = template.replace(/\{\w+\}/, encodeURIComponent(id))
        const body = method === 'patch' ? (template.includes('/members/') ? { role: 'member' } : { name: 'x' }) : undefined
        const answer = await call(method.toUpperCase(), path, { ...caller, body })
        assert.equal(answer.status, 404, `${method} ${path}: ${answer.text}`)
        assert.equal(answer.json.error.message, 'no such resource')
      }
    }
  }
})

test('methods that a path has not', async () => {
  for (const [template, methods] of Object.entries(document.paths)) {
    if (template === '/openapi.json') continue
    const path = template.replace(/\{\w+\}/, crypto.randomUUID())
    const allow = Object.keys(methods).map((method) => method.toUpperCase()).flatMap((method) => method === 'GET' ? ['GET', 'HEAD'] : [method]).sort()
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'OPTIONS', 'PROPFIND']) {
      if (allow.includes(method)) continue
      const answer = await call(method, path, { token })
      assert.equal(answer.status, 405, `${method} ${path}: ${answer.text}`)
      assert.deepEqual(answer.headers.allow.split(', ').sort(), allow)
      assert.equal((await call(method, path, {})).status, 401, 'the token is asked for first')
    }
  }
})

test('the order of checks', async () => {
  const none = issue('input')
  assert.equal((await call('POST', '/no/such', {})).status, 401)
  assert.equal((await call('PUT', '/no/such', { token: none })).status, 404)
  assert.equal((await call('PUT', '/databases', { token: none })).status, 405)
  assert.equal((await call('POST', '/databases', { token: none, key: null, headers: { 'Content-Type': 'text/plain' }, body: 'x' })).status, 403)
  const untyped = await call('POST', '/databases', { token, key: null, headers: { 'Content-Type': 'text/plain' }, body: 'x' })
  assert.equal(untyped.status, 415)
  assert.equal((await call('POST', '/databases', { token, key: null, body: 'x' })).json.error.field, 'Idempotency-Key')
  const key = crypto.randomUUID()
  assert.equal((await call('POST', '/databases', { token, key, body: { name: crypto.randomUUID(), connectionRef: 'primary' } })).status, 201)
  assert.equal((await call('POST', '/databases', { token, key, body: 'x' })).status, 400, 'the body is read before the key')
  const missing = await call('DELETE', `/databases/${crypto.randomUUID()}`, { token, key })
  assert.equal(missing.status, 409, 'the key comes before the resource')
  assert.equal(missing.json.error.reason, 'idempotency_key_reused')
})

test('a destination in the body needs its scope as well', async () => {
  const narrow = issue('input', ['databases:write', 'databases:read', 'backups:trigger'])
  for (const [method, path, body] of [['POST', `/databases/${database.id}/backups`, { destinationId: database.destinationId }],
    ['POST', '/databases', { name: crypto.randomUUID(), connectionRef: 'primary', destinationId: database.destinationId }],
    ['PATCH', `/databases/${database.id}`, { destinationId: null }]]) {
    const answer = await call(method, path, { token: narrow, body })
    assert.equal(answer.status, 403, answer.text)
    assert.equal(answer.json.error.requiredScope, 'destinations:write')
  }
  assert.equal((await call('PATCH', `/databases/${database.id}`, { token: narrow, body: { postgresVersion: '16.3' } })).status, 200)
  assert.equal((await call('POST', '/databases', { token: narrow, body: { name: crypto.randomUUID(), connectionRef: 'primary', destinationId: null } })).status, 201)
  assert.equal((await call('POST', '/databases', { token: narrow, body: { destinationId: database.destinationId, x: 1 } })).status, 403, '403 before 400')
})

test('credentials', async () => {
  const other = issue('input', allScopes)
  const cases = [
    [{ Authorization: `Bearer ${token}` }, 200],
    [{ Authorization: `bearer ${token}` }, 200],
    [{ Authorization: `Bearer   ${token}  ` }, 200],
    [{ 'X-WallarmApi-Token': token }, 200],
    [{ Authorization: `Bearer ${token}`, 'X-WallarmApi-Token': token }, 200],
    [{ Authorization: `Bearer ${token}`, 'X-WallarmApi-Token': other }, 401],
    [{ Authorization: `Bearer ${token}`, 'X-WallarmAPI-UUID': crypto.randomUUID() }, 401],
    [{ 'X-WallarmAPI-UUID': crypto.randomUUID() }, 401],
    [{ 'X-WallarmAPI-Secret': 'x'.repeat(32) }, 401],
    [{ 'X-WallarmAPI-UUID': crypto.randomUUID(), 'X-WallarmAPI-Secret': 'x'.repeat(32) }, 401],
    [{ Authorization: token }, 401],
    [{ Authorization: `Basic ${Buffer.from('a:b').toString('base64')}` }, 401],
    [{ Authorization: 'Bearer' }, 401],
    [{ Authorization: 'Bearer ' + token.toUpperCase() }, 401],
    [{ Authorization: `Bearer ${token} x` }, 401],
    [{ Authorization: 'Bearer wal_bad more' }, 401],
    [{ Authorization: 'Bearer eyJhbGciOiJIUzI1NiJ9.e30.x' }, 401],
    [{ Cookie: `token=${token}` }, 401],
    // smuggled past nginx, which sets these itself
    [{ 'X-Walwarden-Token': token }, 401],
    [{ X_Walwarden_Token: token }, 401],
    [{ Authorization: `Bearer ${token}`, 'X-Walwarden-Path': '/api/v1/databases', 'X-Walwarden-Method': 'DELETE', 'X-Walwarden-Query': 'limit=0', 'Accept-Profile': 'walwarden', Prefer: 'tx=rollback', Range: '0-1' }, 200],
    [{ Authorization: `Bearer ${token}`, Connection: 'close, X-Walwarden-Token, Authorization' }, 200],
    [{ Authorization: `Bearer ${token}`, Accept: 'text/html' }, 200]
  ]
  for (const [headers, status] of cases) {
    const answer = await call('GET', '/profile', { headers })
    assert.equal(answer.status, status, `${JSON.stringify(headers)}: ${answer.text}`)
    if (status === 401 && !('Cookie' in headers) && !Object.keys(headers).some((name) => /^x.walwarden/i.test(name))) {
      assert.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"', JSON.stringify(headers))
    }
  }
})

test('a body with GET is left out, at once', async () => {
  for (const method of ['GET', 'HEAD']) {
    for (const body of ['x', '{}'.repeat(1000)]) {
      const started = Date.now()
      assert.equal((await call(method, '/profile', { token, body })).status, 200)
      assert.ok(Date.now() - started < 20000, 'PostgREST waited for a body')
    }
  }
  assert.equal((await sendRaw(`GET /api/v1/profile HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`)).status, 200)
})

test('a body in chunks is a body', async () => {
  const body = JSON.stringify({ name: crypto.randomUUID(), connectionRef: 'primary' })
  const answer = await sendRaw(`POST /api/v1/databases HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nIdempotency-Key: ${crypto.randomUUID()}\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`)
  assert.equal(answer.status, 201, answer.text)
})

test('header fields that PostgREST makes larger than they were', async () => {
  const quotes = (n) => '"'.repeat(n)
  for (const [status, headers] of [
    [401, { 'X-WallarmApi-Token': quotes(15000), 'X-WallarmAPI-UUID': quotes(15000), 'Idempotency-Key': quotes(15000) }],
    [431, { 'X-WallarmApi-Token': quotes(9000), 'X-WallarmAPI-UUID': quotes(9000), 'X-WallarmAPI-Secret': quotes(9000), 'Idempotency-Key': quotes(9000) }]
  ]) {
    const answer = await call('GET', '/profile', { headers })
    assert.equal(answer.status, status, answer.text)
  }
})

test('a token in the address is refused', async () => {
  for (const path of [`/profile?token=${token}`, `/databases/${token}`, `/profile?t=${token.replace('_', '%5F')}`]) {
    const answer = await send('GET', path, { token })
    assert.deepEqual([answer.status, answer.json.error.reason], [400, 'token_in_url'], answer.text)
    checkAnswer('GET', '/no/such/path', answer)
  }
})

const head = `Host: x\r\nConnection: close\r\nAuthorization: Bearer TOKEN\r\n`
const raw = [
  ['garbage', 'GARBAGE\r\n\r\n', 400],
  ['no version', 'GET /api/v1/profile\r\n\r\n', null],
  ['lower-case method', `get /api/v1/profile HTTP/1.1\r\n${head}\r\n`, 400],
  ['HTTP/3.0', `GET /api/v1/profile HTTP/3.0\r\n${head}\r\n`, 400],
  ['no Host', 'GET /api/v1/profile HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
  ['repeated Authorization', `GET /api/v1/profile HTTP/1.1\r\n${head}Authorization: Bearer x\r\n\r\n`, 400],
  ['a byte above 127 in Authorization', Buffer.concat([Buffer.from('GET /api/v1/profile HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer '), Buffer.from([0xe9]), Buffer.from('\r\n\r\n')]), 400],
  ['a byte above 127 in the path', Buffer.concat([Buffer.from('GET /api/v1/'), Buffer.from([0xe9]), Buffer.from(` HTTP/1.1\r\n${head}\r\n`)]), 400],
  ['a byte above 127 in a header that is not forwarded', Buffer.concat([Buffer.from(`GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Other: `), Buffer.from([0xe9]), Buffer.from('\r\n\r\n')]), 200],
  ['a long path', `GET /api/v1/${'x'.repeat(17000)} HTTP/1.1\r\n${head}\r\n`, 414],
  ['a large header', `GET /api/v1/profile HTTP/1.1\r\n${head}X-Large: ${'x'.repeat(17000)}\r\n\r\n`, 431],
  ['many headers', `GET /api/v1/profile HTTP/1.1\r\n${head}${'X-Many: xxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n'.repeat(2000)}\r\n`, 431],
  ['chunks', `POST /api/v1/databases HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\nzzz\r\n\r\n`, 400],
  ['chunks and a length', `POST /api/v1/databases HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n`, 400],
  ['an unknown coding', `POST /api/v1/databases HTTP/1.1\r\n${head}Transfer-Encoding: gzip\r\n\r\n`, 400],
  ['two lengths', `POST /api/v1/databases HTTP/1.1\r\n${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} `, 400],
  ['a negative length', `POST /api/v1/databases HTTP/1.1\r\n${head}Content-Length: -1\r\n\r\n`, 400],
  ['TRACE', `TRACE /api/v1/profile HTTP/1.1\r\n${head}\r\n`, 405],
  ['CONNECT', `CONNECT /api/v1/profile HTTP/1.1\r\n${head}\r\n`, null],
  ['a NUL', `GET /api/v1/\0 HTTP/1.1\r\n${head}\r\n`, 400],
  ['an absolute address', `GET http://x/api/v1/profile HTTP/1.1\r\n${head}\r\n`, null],
  ['a folded header', `GET /api/v1/profile HTTP/1.1\r\n${head} folded\r\n\r\n`, null],
  ['a bare CR', `GET /api/v1/profile HTTP/1.1\r\n${head}X: a\rb\r\n\r\n`, null]
]
for (const [what, bytes, status] of raw) {
  test(`bytes: ${what}`, async () => {
    const answer = await sendRaw(Buffer.isBuffer(bytes) ? bytes : bytes.replace('TOKEN', token))
    // HTTP/0.9 has no status line
    if (what === 'no version') return assert.ok(JSON.parse(answer.text).error.code, answer.text)
    assert.ok(answer.status, answer.text)
    if (status) assert.equal(answer.status, status, answer.text)
    if (answer.status >= 400) assert.ok(answer.json?.error?.requestId, answer.text)
    if (answer.status === 400) assert.equal(answer.json.error.reason, what.includes('above 127') ? 'foreign_bytes' : 'malformed_request', answer.text)
    assert.ok(answer.status < 500, answer.text)
  })
}
