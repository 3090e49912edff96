// Conditional requests: If-None-Match spares the body, If-Match keeps one change from
// overwriting another. Which changes make a new tag is in test/pgtap/tag.sql.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test, before } from 'node:test'
import { allScopes, base, call, callAgain, createDatabase, createOrg, document, issue, Node, passed, sleep, sql, sqlJson } from './lib.mjs'

const tagged = sqlJson("SELECT operation, path, tag FROM walwarden_internal.rest_operation WHERE tag IS NOT NULL AND method = 'GET' ORDER BY path")
let token, node, database, ids

before(async () => {
  createOrg('conditional')
  createOrg('conditional-other')
  token = issue('conditional', allScopes)
  node = new Node('conditional')
  database = await createDatabase(token)
  const started = await call('POST', `/databases/${database.id}/backups`, { token })
  await node.completeBackup(passed('2026-11-19T00:00:00Z', '2026-11-20T00:00:00Z'))
  const restore = await call('POST', '/restores', { token, body: { databaseId: database.id, backupJobId: started.json.backupJobId, kind: 'drill', mode: 'new_database', target: 'drill-host' } })
  ids = { databaseId: database.id, destinationId: database.destinationId, backupJobId: started.json.backupJobId, restoreJobId: restore.json.restoreJobId }
})

const ifNoneMatch = (path, tag, options = {}) => call(options.method ?? 'GET', path, { token, ...options, headers: { 'If-None-Match': tag } })
const ifMatch = (method, path, tag, options = {}) => call(method, path, { token, ...options, headers: { 'If-Match': tag } })

for (const { operation, path: template } of tagged) {
  test(`304 of ${operation}`, async () => {
    const path = template.replace(/\{(\w+)\}/, (_, name) => ids[name])
    const read = await call('GET', path, { token })
    assert.equal(read.status, 200, read.text)
    assert.match(read.headers.etag, /^"[0-9a-f]{32}"$/)
    assert.equal(read.headers['cache-control'], operation === 'getOpenApi' ? 'public, max-age=3600' : 'private, no-cache')
    // several times, because other processes serve them
    for (const tag of [read.headers.etag, `"x", ${read.headers.etag}`, `W/${read.headers.etag}`, '*', read.headers.etag, read.headers.etag]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await ifNoneMatch(path, tag, { method })
        assert.deepEqual([answer.status, answer.text], [304, ''], tag)
        assert.equal(answer.headers.etag, read.headers.etag)
        assert.equal(answer.headers['cache-control'], read.headers['cache-control'])
        assert.ok(!('content-length' in answer.headers) || answer.headers['content-length'] === '0', answer.headers['content-length'])
      }
    }
    const other = await ifNoneMatch(path, '"x", W/"y"')
    assert.deepEqual([other.status, other.text, other.headers.etag], [200, read.text, read.headers.etag])
    const head = await call('HEAD', path, { token })
    assert.deepEqual([head.status, head.headers.etag], [200, read.headers.etag])
    for (const malformed of ['x', '"x', '"a" "b"', '*, "a"', 'W/', 'w/"x"', ',']) {
      const answer = await ifNoneMatch(path, malformed)
      assert.deepEqual([answer.status, answer.json.error.reason, answer.json.error.field], [400, 'malformed', 'If-None-Match'], malformed)
    }
    assert.equal((await ifMatch('GET', path, read.headers.etag)).json.error.reason, 'unsupported_condition')
    // the token is looked at first
    if (operation !== 'getOpenApi') assert.equal((await ifNoneMatch(path, read.headers.etag, { token: undefined })).status, 401)
    if (operation !== 'getOpenApi') assert.equal((await ifNoneMatch(path, read.headers.etag, { token: issue('conditional') })).status, 403)
    // those of others are not there
    if (template.includes('{')) assert.equal((await ifNoneMatch(path, '*', { token: issue('conditional-other', allScopes) })).status, 404)
  })
}

test('the document is compressed, and nothing else is', async () => {
  const fetched = async (path, headers = {}, method = 'GET') => {
    const answer = await fetch(`${base}${path}`, { method, headers: { 'Accept-Encoding': 'gzip', ...headers } })
    return { status: answer.status, text: await answer.text(), encoding: answer.headers.get('content-encoding'), etag: answer.headers.get('etag'), vary: answer.headers.get('vary'), length: answer.headers.get('content-length') }
  }
  const plain = await call('GET', '/openapi.json')
  assert.deepEqual([plain.headers['content-encoding'], plain.headers.vary, plain.headers['content-length']], [undefined, 'Origin, Accept-Encoding', String(Buffer.byteLength(plain.text))])
  const packed = await fetched('/openapi.json')
  assert.deepEqual(packed, { status: 200, text: plain.text, encoding: 'gzip', etag: `W/${plain.headers.etag}`, vary: 'Origin, Accept-Encoding', length: null })
  for (const headers of [{ 'Accept-Encoding': 'identity' }, { 'Accept-Encoding': 'gzip;q=0' }, { 'Accept-Encoding': 'br' }]) {
    const answer = await fetched('/openapi.json', headers)
    assert.deepEqual([answer.encoding, answer.etag, answer.vary], [null, plain.headers.etag, 'Origin, Accept-Encoding'], headers['Accept-Encoding'])
  }
  // either tag is known again
  for (const tag of [packed.etag, plain.headers.etag]) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await fetched('/openapi.json', { 'If-None-Match': tag }, method)
      assert.deepEqual([answer.status, answer.text, answer.encoding, answer.vary], [304, '', null, 'Origin, Accept-Encoding'], `${method} ${tag}`)
    }
  }
  assert.equal((await fetched('/openapi.json', {}, 'HEAD')).vary, 'Origin, Accept-Encoding')

  const Authorization = `Bearer ${token}`
  for (const path of ['/databases', '/audit/entries?limit=100', '/profile', '/no/such', '/openapi.json?x=1', '/openapi.json/', '/orgs/conditional/openapi.json']) {
    assert.equal((await fetched(path, { Authorization })).encoding, null, path)
  }
})

test('what has no tag is not kept, and has no condition', async () => {
  for (const path of ['/profile', '/readiness', '/audit/verification', '/audit/entries', '/audit/recoverability', `/databases/${ids.databaseId}/recovery/summary`]) {
    const answer = await ifNoneMatch(path, '*')
    assert.deepEqual([answer.status, answer.headers['cache-control'], answer.headers.etag], [200, 'no-store', undefined], path)
  }
  assert.equal((await ifMatch('POST', '/databases', '*', { body: { name: randomUUID(), connectionRef: 'primary' } })).json.error.reason, 'unsupported_condition')
})

test('each list, page and organisation has its own', async () => {
  for (let i = 0; i < 3; i++) await createDatabase(token)
  const page = async (query, more = {}) => call('GET', `/databases?${query}`, { token, ...more })
  const first = await page('limit=1')
  const second = await page(`limit=1&cursor=${first.json.pageInfo.nextCursor}`)
  assert.notEqual(first.headers.etag, second.headers.etag)
  for (let i = 0; i < 3; i++) {
    const headers = { 'If-None-Match': first.headers.etag }
    assert.equal((await page('limit=1', { headers })).status, 304)
    assert.equal((await page(`limit=1&cursor=${first.json.pageInfo.nextCursor}`, { headers })).text, second.text)
    assert.equal((await page('limit=2', { headers })).status, 200)
    assert.equal((await page('', { headers, token: issue('conditional-other', allScopes) })).json.databases.length, 0)
  }
})

test('a role that loses a scope loses it with a known tag too', async () => {
  sql("SELECT walwarden.add_member('conditional', 'boss', 'owner'), walwarden.add_member('conditional', 'reader', 'admin')")
  const own = issue('conditional', ['databases:write', 'databases:read'], ", owner => 'reader'")
  const path = `/databases/${database.id}`
  const { headers: { etag } } = await call('GET', path, { token: own })
  for (let i = 0; i < 5; i++) assert.equal((await ifNoneMatch(path, etag, { token: own })).status, 304)
  sql("SELECT walwarden.remove_member('conditional', 'reader')")
  for (let i = 0; i < 5; i++) assert.equal((await ifNoneMatch(path, etag, { token: own })).status, 401)
  // a role that does not carry the scope
  const [{ name: role }] = sqlJson("SELECT name FROM walwarden_internal.role WHERE NOT 'evidence:read' = ANY (scopes) LIMIT 1")
  sql("SELECT walwarden.add_member('conditional', 'auditing', 'admin')")
  const less = issue('conditional', ['evidence:read'], ", owner => 'auditing'")
  const evidence = await call('GET', '/evidence', { token: less })
  for (let i = 0; i < 5; i++) assert.equal((await ifNoneMatch('/evidence', evidence.headers.etag, { token: less })).status, 304)
  sql(`SELECT walwarden.set_member_role('conditional', 'auditing', '${role}')`)
  for (let i = 0; i < 5; i++) assert.equal((await ifNoneMatch('/evidence', evidence.headers.etag, { token: less })).status, 403)
})

test('an objective that is missed as time passes makes a new tag', async () => {
  const own = await createDatabase(token, undefined, { objectives: { rpoSeconds: 86400 } })
  await call('POST', `/databases/${own.id}/backups`, { token })
  const now = new Date().toISOString()
  await node.completeBackup(passed(now, now))
  const path = `/databases/${own.id}`
  // as many seconds from now on as it takes to read it
  const changed = await call('PATCH', path, { token, body: { objectives: { rpoSeconds: Math.ceil((Date.now() - Date.parse(now)) / 1000) + 3 } } })
  assert.equal(changed.json.readiness.rpoMet, true, changed.text)
  for (const asked of [path, '/databases']) {
    let { headers: { etag }, json } = await call('GET', asked, { token })
    const met = (body) => (body.databases ?? [body]).find(({ id }) => id === own.id).readiness.rpoMet
    while (met(json)) {
      const answer = await ifNoneMatch(asked, etag)
      if (answer.status === 304) continue
      ;({ headers: { etag }, json } = answer)
    }
    assert.equal((await ifNoneMatch(asked, etag)).status, 304)
    assert.notEqual(etag, changed.headers.etag)
  }
})

test('If-Match: only who has seen the last state changes it', async () => {
  for (const [path, body] of [[`/databases/${(await createDatabase(token)).id}`, () => ({ name: randomUUID() })],
    [`/destinations/${(await createDatabase(token)).destinationId}`, () => ({ name: randomUUID() })]]) {
    const { headers: { etag } } = await call('GET', path, { token })
    for (const [tag, status, reason] of [['"x"', 412, 'tag_differs'], [`W/${etag}`, 412, 'tag_differs'], ['"x", "y"', 412, 'tag_differs'], ['x', 400, 'malformed'], ['"', 400, 'malformed']]) {
      for (const method of ['PATCH', 'DELETE']) {
        const answer = await ifMatch(method, path, tag, { body: method === 'PATCH' ? body() : undefined })
        assert.deepEqual([answer.status, answer.json.error.reason], [status, reason], `${method} ${tag}`)
      }
    }
    const key = randomUUID()
    const change = body()
    const done = await ifMatch('PATCH', path, etag, { body: change, key })
    assert.equal(done.status, 200, done.text)
    assert.equal((await call('GET', path, { token })).headers.etag, done.headers.etag)
    // a repeated request is the first one
    const again = await ifMatch('PATCH', path, etag, { body: change, key })
    assert.deepEqual([again.status, again.headers['idempotency-replayed'], again.headers.etag], [200, 'true', done.headers.etag])
    assert.equal((await ifMatch('PATCH', path, etag, { body: change })).status, 412)
    // of many who have seen the same, one changes it
    const many = await Promise.all(Array.from({ length: 12 }, () => callAgain('PATCH', path, { token, body: body(), headers: { 'If-Match': done.headers.etag } })))
    assert.deepEqual(many.map(({ status }) => status).sort(), [200, ...Array(11).fill(412)])
    const last = many.find(({ status }) => status === 200)
    assert.equal((await ifMatch('PATCH', path, '*', { body: body() })).status, 200)
    assert.equal((await ifMatch('DELETE', path, last.headers.etag)).status, 412)
  }
  // 404, 412, then the state
  const used = `/destinations/${database.destinationId}`
  assert.equal((await ifMatch('DELETE', used.replace(/[0-9a-f]{8}-.*/, randomUUID()), '"x"')).status, 404)
  assert.equal((await ifMatch('DELETE', used, '"x"')).status, 412)
  assert.equal((await ifMatch('DELETE', used, (await call('GET', used, { token })).headers.etag)).status, 409)
  const created = await call('POST', '/databases', { token, body: { name: randomUUID(), connectionRef: 'primary' } })
  const gone = `/databases/${created.json.id}`
  assert.equal((await ifMatch('DELETE', gone, created.headers.etag)).status, 204)
  assert.equal((await ifNoneMatch(gone, created.headers.etag)).status, 404)
})

test('304 never hides a change, however many change at once', async () => {
  const own = (await Promise.all([1, 2, 3].map(() => createDatabase(token)))).map(({ id }) => id)
  const paths = ['/databases?limit=100', ...own.map((id) => `/databases/${id}`)]
  let changing = own.length
  const writers = own.map(async (id) => {
    for (let i = 0; i < 15; i++) {
      const changed = await callAgain('PATCH', `/databases/${id}`, { token, body: { name: randomUUID(), schedule: `${i} 3 * * *` } })
      assert.equal(changed.status, 200, changed.text)
      // from now on nobody is told the old one
      const read = await ifNoneMatch(`/databases/${id}`, '"x"')
      assert.equal(read.json.name, changed.json.name)
    }
    changing--
  })
  const readers = [...paths, ...paths].map(async (path) => {
    let known = await call('GET', path, { token })
    while (changing > 0) {
      const answer = await ifNoneMatch(path, known.headers.etag)
      if (answer.status === 200) known = answer
      else await sleep(5)
    }
    const last = await ifNoneMatch(path, known.headers.etag)
    assert.equal(last.status === 304 ? known.text : last.text, (await call('GET', path, { token })).text, path)
  })
  await Promise.all([...writers, ...readers])
})

test('the document declares them', () => {
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const names = (operation.parameters ?? []).map(({ $ref, name }) => name ?? document.components.parameters[$ref.split('/').at(-1)].name)
      const isTagged = tagged.some((row) => row.path === path)
      assert.equal(names.includes('If-None-Match'), method === 'get' && isTagged, `${method} ${path}`)
      assert.equal('304' in operation.responses, method === 'get' && isTagged, `${method} ${path}`)
      assert.equal(names.includes('If-Match'), ['patch', 'delete'].includes(method) && isTagged, `${method} ${path}`)
      assert.equal('412' in operation.responses, ['patch', 'delete'].includes(method) && isTagged, `${method} ${path}`)
    }
  }
})
