// People over HTTP: signing in and out, what a session is good for and what ends it, and
// requests that another site makes a browser send.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test, before } from 'node:test'
import { allScopes, base, call, createOrg, document, issue, send, sendRaw, signIn, sql, sqlJson } from './lib.mjs'

const work = process.env.WORK
let token
before(() => {
  createOrg('people')
  createOrg('people-b')
  createOrg('people-c')
  token = issue('people', allScopes)
  for (const [org, subject, role] of [
    ['people', 'pe-ann', 'owner'], ['people', 'pe-bob', 'member'], ['people', 'pe-eve', 'read_only'], ['people', 'pe-joe', 'admin'], ['people', 'pe-dev', 'api_developer'],
    ['people-b', 'pe-ann', 'analyst'], ['people-b', 'pe-boss', 'owner'], ['people-c', 'pe-boss', 'owner']
  ]) sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}')`)
})

const systemEntries = (kind) => sqlJson(`SELECT e.body::json -> 'payload' AS payload FROM walwarden_internal.audit_entry AS e WHERE e.org_id = walwarden_internal.system_org() AND e.kind = '${kind}' ORDER BY e.seq`).map((row) => row.payload)
const newest = (org) => sqlJson(`SELECT e.kind, e.body::json -> 'payload' AS payload FROM walwarden.list_audit('${org}') AS e ORDER BY e.seq DESC LIMIT 1`)[0]
const code = (subject) => sql(`SELECT walwarden.sign_in_link('${subject}')`)
const post = (body, options) => call('POST', '/session', { body, key: null, ...options })
const orgs = (session) => call('GET', '/orgs', { session })

test('a person signs in, sees who they are, and signs out', async () => {
  const session = await signIn('pe-ann')
  const { status, json, headers } = await orgs(session)
  assert.equal(status, 200)
  assert.deepEqual({ ...json, expiresAt: '' }, { subject: 'pe-ann', method: 'link', expiresAt: '', orgs: [
    { slug: 'people', name: 'people', plan: 'team', role: 'owner' }, { slug: 'people-b', name: 'people-b', plan: 'team', role: 'analyst' }] })
  assert.equal(headers['set-cookie'], undefined)
  assert.equal(headers['cache-control'], 'no-store')
  assert.equal(systemEntries('session.started').at(-1).linkBy.kind, 'operator')

  const out = await call('DELETE', '/session', { session, key: null })
  assert.equal(out.status, 204)
  assert.equal(out.headers['clear-site-data'], '"cache", "storage"')
  assert.deepEqual(out.headers['set-cookie'], ['__Host-walwarden=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0'])
  assert.equal((await orgs(session)).status, 401)
  assert.equal((await call('DELETE', '/session', { session, key: null })).status, 401)
  const ended = systemEntries('session.ended').at(-1)
  assert.equal(ended.reason, 'signed out')
  assert.deepEqual(ended.actor, { kind: 'session', sessionId: ended.session.id })
})

test('whoever signs in again has one session', async () => {
  const first = await signIn('pe-ann')
  const answer = await post({ code: code('pe-bob') }, { session: first })
  assert.equal(answer.status, 204)
  assert.equal((await orgs(first)).status, 401)
  assert.equal(systemEntries('session.ended').at(-1).reason, 'signed in again')
  // a browser still has the cookie of a session that ended
  assert.equal((await post({ code: code('pe-bob') }, { session: first })).status, 204)
})

test('a code is used once, in time, by one, for an active member', async () => {
  const twice = code('pe-bob')
  assert.equal((await post({ code: twice })).status, 204)
  const again = await post({ code: twice })
  assert.equal(again.status, 401)
  assert.equal(again.headers['set-cookie'], undefined)
  for (const wrong of ['', 'x', 'f'.repeat(64), 'ß', twice.toUpperCase()]) assert.equal((await post({ code: wrong })).status, 401, wrong)
  assert.equal((await post({ code: 'f'.repeat(65) })).status, 400)
  assert.equal((await post({})).status, 400)

  const race = code('pe-bob')
  const statuses = (await Promise.all(Array.from({ length: 6 }, () => post({ code: race })))).map((answer) => answer.status)
  assert.deepEqual(statuses.sort(), [204, 401, 401, 401, 401, 401])

  const late = code('pe-bob')
  sql('UPDATE walwarden_internal.sign_in_code SET expires_at = clock_timestamp() WHERE used_at IS NULL')
  assert.equal((await post({ code: late })).status, 401)

  const disabled = code('pe-bob')
  sql("SELECT walwarden.disable_member('people', 'pe-bob')")
  assert.equal((await post({ code: disabled })).status, 401)
  sql("SELECT walwarden.enable_member('people', 'pe-bob')")
  assert.equal((await post({ code: disabled })).status, 204, 'it was not used up')
})

test('what is no session is 401', async () => {
  const session = await signIn('pe-bob')
  const raw = (cookies) => call('GET', '/orgs', { headers: { Cookie: cookies } })
  assert.equal((await raw(`__Host-walwarden=${session}`)).status, 200)
  assert.equal((await raw(`a=b; __Host-walwarden=${session}; c=d`)).status, 200)
  for (const cookies of [
    `__Host-walwarden=${session}0`, `__Host-walwarden=${session.slice(1)}`, '__Host-walwarden=', '__Host-walwarden=x', `__Host-walwarden=${'0'.repeat(64)}`,
    `__Host-walwarden=${session.toUpperCase()}`, `__Host-walwarden="${session}"`, `__Host-walwarden=${session}; __Host-walwarden=${session}`, `__Host-walwarden=${session}; __Host-walwarden=x`,
    `__host-walwarden=${session}`, `walwarden=${session}`, `x__Host-walwarden=${session}`, `__Secure-walwarden=${session}`
  ]) assert.equal((await raw(cookies)).status, 401, cookies)
  const two = await sendRaw(`GET /api/v1/orgs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: __Host-walwarden=${session}\r\nCookie: __Host-walwarden=${session}\r\n\r\n`)
  assert.equal(two.status, 401)
  // what nginx makes of it, nobody else can
  for (const name of ['X-Walwarden-Session', 'Authorization']) {
    assert.equal((await call('GET', '/orgs', { headers: { [name]: name === 'Authorization' ? `Bearer ${session}` : session } })).status, 401, name)
  }
  sql(`UPDATE walwarden_internal.session SET expires_at = clock_timestamp() WHERE cookie_hash = sha256('${session}')`)
  assert.equal((await orgs(session)).status, 401, 'expired')
  assert.equal((await orgs(undefined)).status, 401, 'none')
})

test('an idle session is over, and stays over', async () => {
  const session = await signIn('pe-bob')
  const other = await signIn('pe-bob')
  sql(`ALTER DATABASE ${process.env.PGDATABASE} SET walwarden.session_idle_timeout = '1s'`)
  sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'authenticator'")
  const until = async (check) => { while (!await check()) await new Promise((resolve) => setTimeout(resolve, 300)) }
  await until(async () => (await send('GET', '/orgs', { session: other })).status !== 503)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  assert.equal((await orgs(session)).status, 401)
  sql(`ALTER DATABASE ${process.env.PGDATABASE} RESET walwarden.session_idle_timeout`)
  sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'authenticator'")
  await until(async () => (await send('GET', '/openapi.json', {})).status === 200 && (await send('GET', '/profile', { token })).status === 200)
  assert.equal((await orgs(session)).status, 200, 'by a longer time it is not idle: nothing was recorded of the attempt')
})

test('a token and a session are one too many, and each has its own paths', async () => {
  const session = await signIn('pe-ann')
  for (const path of ['/orgs', '/orgs/people', '/orgs/people/databases', '/databases', '/profile']) {
    assert.equal((await call('GET', path, { session, token })).status, 401, path)
    assert.equal((await call('GET', path, { session: '0'.repeat(64), token })).status, 401, path)
  }
  assert.equal((await call('GET', '/orgs', { session, headers: { 'X-WallarmApi-Token': token } })).status, 401)
  for (const path of ['/databases', '/profile', '/readiness']) {
    const answer = await call('GET', path, { session })
    assert.equal(answer.status, 403, path)
    assert.equal(answer.json.error.requiredScope, null)
  }
  for (const path of ['/orgs', '/orgs/people', '/orgs/people/databases', '/orgs/nosuch', '/orgs/nosuch/databases']) {
    const answer = await call('GET', path, { token })
    assert.equal(answer.status, 403, path)
    assert.equal(answer.json.error.requiredScope, null)
  }
  assert.equal((await call('DELETE', '/session', { token, key: null })).status, 403)
  for (const path of ['/orgs/people/profile', '/orgs/people/openapi.json', '/orgs/people/orgs', '/orgs/people/nosuch', '/orgs/people/']) {
    assert.equal((await send('GET', path, { session })).status, 404, path)
  }
  assert.equal((await send('POST', '/orgs/people/session', { session, body: { code: 'x' } })).status, 404)
  assert.equal((await send('PUT', '/orgs/people', { session, body: {} })).status, 405)
})

test('an organisation without the person is one that does not exist', async () => {
  const session = await signIn('pe-bob')
  const closed = await signIn('pe-boss')
  const plain = (answer) => answer.text.replaceAll(answer.headers['x-request-id'], '')
  for (const path of ['', '/databases', `/databases/${crypto.randomUUID()}`, '/readiness']) {
    const unknown = await call('GET', `/orgs/nosuch${path}`, { session })
    assert.equal(unknown.status, 404)
    for (const slug of ['people-b', 'PEOPLE', '%70eople', 'people%2f', '..', '', `${'x'.repeat(200)}`]) {
      const foreign = await send('GET', `/orgs/${slug}${path}`, { session })
      assert.equal(foreign.status, 404, slug)
      if (!path.includes('-') && slug === 'people-b') assert.equal(plain(foreign), plain(unknown), slug)
    }
  }
  assert.equal((await call('POST', '/orgs/people-b/databases', { session, body: { name: 'x', connectionRef: 'x' } })).status, 404)
  assert.equal((await call('GET', '/orgs/people-c', { session: closed })).status, 200)
  sql("SELECT walwarden.close_org('people-c')")
  assert.equal((await call('GET', '/orgs/people-c', { session: closed })).status, 404)
  assert.deepEqual((await orgs(closed)).json.orgs.map((org) => org.slug), ['people-b'])
})

test('the role decides, and a change of it binds on the next request', async () => {
  const session = await signIn('pe-joe')
  const database = { name: crypto.randomUUID(), connectionRef: 'primary' }
  const made = await call('POST', '/orgs/people/databases', { session, body: database })
  assert.equal(made.status, 201)
  assert.equal(made.headers.location, `/api/v1/orgs/people/databases/${made.json.id}`)
  assert.equal((await call('GET', made.headers.location.replace('/api/v1', ''), { session })).status, 200)
  const { payload } = newest('people')
  const member = sql("SELECT member_id FROM walwarden.list_members('people') WHERE subject = 'pe-joe'")
  assert.equal(payload.actor.kind, 'session')
  assert.deepEqual(Object.keys(payload.actor).sort(), ['kind', 'memberId', 'sessionId'])
  assert.equal(payload.actor.memberId, member)
  assert.equal(sql(`SELECT actor FROM walwarden.search_audit('people', actor => '${payload.actor.sessionId}') LIMIT 1`), 'pe-joe')
  assert.deepEqual((await call('GET', '/orgs/people/databases', { session })).json.databases.map((item) => item.id), (await call('GET', '/databases', { token })).json.databases.map((item) => item.id))

  sql("SELECT walwarden.set_member_role('people', 'pe-joe', 'api_developer')")
  assert.equal((await call('GET', '/orgs/people/databases', { session })).status, 200)
  const refused = await call('POST', '/orgs/people/databases', { session, body: database })
  assert.equal(refused.status, 403)
  assert.equal(refused.json.error.requiredScope, 'databases:write')
  assert.equal((await call('GET', '/orgs/people/audit/entries', { session })).status, 403)
  assert.equal((await call('GET', '/orgs/people', { session })).json.role, 'api_developer')
  sql("SELECT walwarden.add_role_scopes('api_developer', '{audit:read}')")
  assert.equal((await call('GET', '/orgs/people/audit/entries', { session })).status, 200, 'an override')
  sql("SELECT walwarden.remove_role_scopes('api_developer', '{audit:read}')")

  sql("SELECT walwarden.disable_member('people', 'pe-joe')")
  assert.equal((await orgs(session)).status, 401)
  sql("SELECT walwarden.enable_member('people', 'pe-joe')")
  assert.equal((await orgs(session)).status, 401, 'it does not come back')
  sql("SELECT walwarden.set_member_role('people', 'pe-joe', 'admin')")

  const elsewhere = await signIn('pe-ann')
  sql("SELECT walwarden.disable_member('people-b', 'pe-ann')")
  assert.equal((await call('GET', '/orgs/people-b', { session: elsewhere })).status, 404)
  assert.equal((await call('GET', '/orgs/people', { session: elsewhere })).status, 200)
  sql("SELECT walwarden.enable_member('people-b', 'pe-ann')")
})

test('an organisation as a person sees it', async () => {
  sql("SELECT walwarden.set_token_policy('people', '90 days', '1 year')")
  const { json } = await call('GET', '/orgs/people', { session: await signIn('pe-dev') })
  assert.equal(json.role, 'api_developer')
  assert.deepEqual(json.capabilities, ['member'])
  assert.equal(json.apiTokens, true)
  assert.deepEqual(json.scopes.filter((scope) => scope.carried).map((scope) => scope.name), ['databases:read', 'readiness:read'])
  assert.deepEqual(json.scopes.map((scope) => scope.name).filter((name) => allScopes.includes(name)), [...allScopes].sort())
  assert.deepEqual(json.roles.find((role) => role.name === 'api_developer').scopes, ['databases:read', 'readiness:read'])
  assert.deepEqual(json.policy, { defaultLifetimeSeconds: 90 * 86400, maxLifetimeSeconds: 365 * 86400, noticeSeconds: 7 * 86400, retentionSeconds: 7 * 86400 })
  sql("SELECT walwarden.set_token_policy('people', '0', '0')")
})

test('a person has the entity tags of what they may read', async () => {
  const made = await call('POST', '/databases', { token, body: { name: 'people-tags', connectionRef: 'primary' } })
  const path = `/databases/${made.json.id}`
  const [ann, eve] = [await signIn('pe-ann'), await signIn('pe-eve')]
  const read = await call('GET', `/orgs/people${path}`, { session: ann })
  assert.equal(read.status, 200, read.text)
  assert.equal(read.headers['cache-control'], 'private, no-cache')
  const ask = (session, from, tag = read.headers.etag) => call('GET', from, { session, headers: { 'If-None-Match': tag } })
  // several times, because other processes serve them, and a tag is remembered from the second on
  for (let i = 0; i < 6; i++) {
    const known = await ask(ann, `/orgs/people${path}`)
    assert.deepEqual([known.status, known.text, known.headers.etag], [304, '', read.headers.etag])
    // whatever another person's response would be, its tag says the same
    const [answer, whole] = [await ask(eve, `/orgs/people${path}`), await call('GET', `/orgs/people${path}`, { session: eve })]
    assert.equal(answer.status, whole.text === read.text ? 304 : whole.status)
    assert.equal((await ask(ann, `/orgs/people-b${path}`, '*')).status, 404)
    assert.equal((await ask(ann, `/orgs/people-c${path}`, '*')).status, 404)
  }
  const change = (tag, description) => call('PATCH', `/orgs/people${path}`, { session: ann, body: { connectionRef: description }, headers: { 'If-Match': tag } })
  assert.equal((await change(read.headers.etag, 'other')).status, 200)
  assert.equal((await change(read.headers.etag, 'third')).json.error.reason, 'tag_differs')
  assert.equal((await ask(ann, `/orgs/people${path}`)).status, 200)

  // what has no tag takes no condition
  assert.equal((await call('DELETE', '/session', { session: eve, key: null, headers: { 'If-Match': '*' } })).json.error.reason, 'unsupported_condition')
  for (const from of ['/orgs', '/orgs/people']) {
    const answer = await ask(ann, from, '*')
    assert.deepEqual([answer.status, answer.headers.etag, answer.headers['cache-control']], [200, undefined, 'no-store'])
  }
})

test('keys of people belong to the member of the organisation', async () => {
  const [joe, ann] = [await signIn('pe-joe'), await signIn('pe-ann')]
  const request = (session, name, key, org = 'people') => call('POST', `/orgs/${org}/destinations`, { session, key, body: { name, provider: 's3', uri: 's3://bucket' } })
  const [name, key] = [crypto.randomUUID(), crypto.randomUUID()]
  const first = await request(joe, name, key)
  assert.equal(first.status, 201)
  const again = await request(await signIn('pe-joe'), name, key)
  assert.equal(again.headers['idempotency-replayed'], 'true')
  assert.equal(again.text, first.text)
  assert.equal(again.headers.location, first.headers.location)
  assert.equal((await request(joe, 'another', key)).json.error.reason, 'idempotency_key_reused')
  assert.equal((await request(ann, crypto.randomUUID(), key)).status, 201, 'another member')
  assert.equal((await call('POST', '/destinations', { token, key, body: { name: crypto.randomUUID(), provider: 's3', uri: 's3://bucket' } })).status, 201, 'a token')
  sql("SELECT walwarden.set_member_role('people', 'pe-joe', 'read_only')")
  assert.equal((await request(joe, name, key)).status, 403, 'the right comes first')
  sql("SELECT walwarden.set_member_role('people', 'pe-joe', 'admin')")
})

// field -> value; whether a change with a session is served
const own = `http://${base.host}`
const origins = [
  [{}, true], [{ 'Sec-Fetch-Site': 'same-origin' }, true], [{ 'Sec-Fetch-Site': 'none' }, true],
  [{ 'Sec-Fetch-Site': 'same-site' }, false], [{ 'Sec-Fetch-Site': 'cross-site' }, false], [{ 'Sec-Fetch-Site': 'x' }, false], [{ 'Sec-Fetch-Site': 'same-origin,x' }, false],
  [{ Origin: own }, true], [{ Origin: own.replace(/\d+$/, '1') }, false], [{ Origin: 'null' }, false], [{ Origin: 'https://evil.example' }, false], [{ Origin: own.replace('http', 'https') }, false],
  [{ Origin: `${own}.evil.example` }, false], [{ Origin: own + '|x' }, false],
  [{ 'Sec-Fetch-Site': 'same-site', Origin: own }, false], [{ 'Sec-Fetch-Site': 'cross-site', Origin: own }, false], [{ 'Sec-Fetch-Site': 'same-origin', Origin: 'https://evil.example' }, true]
]

test('a change that another site may have sent is refused', async () => {
  const session = await signIn('pe-ann')
  const change = (options) => call('POST', '/orgs/people/destinations', { session, body: { name: crypto.randomUUID(), provider: 's3', uri: 's3://bucket' }, ...options })
  for (const [headers, served] of origins) {
    const what = JSON.stringify(headers)
    const answer = await change({ headers })
    assert.equal(answer.status, served ? 201 : 403, what)
    if (!served) assert.equal(answer.json.error.reason, 'cross_site', what)
    assert.equal((await call('GET', '/orgs', { session, headers })).status, 200, `${what} of a reading request`)
    assert.equal((await call('POST', '/destinations', { token, headers, body: { name: crypto.randomUUID(), provider: 's3', uri: 's3://bucket' } })).status, 201, `${what} with a token`)
    const login = await post({ code: served ? code('pe-bob') : 'x' }, { headers })
    assert.equal(login.status, served ? 204 : 403, `${what} of a sign-in`)
  }
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'application/jsonx']) {
    assert.equal((await change({ headers: { 'Content-Type': type }, body: '{}' })).json.error.reason, 'cross_site', type)
    assert.equal((await post('{}', { headers: { 'Content-Type': type } })).json.error.reason, 'cross_site', type)
  }
  assert.equal((await change({ key: null })).json.error.reason, 'cross_site', 'without a key')
  assert.equal((await call('DELETE', '/session', { session, key: null, headers: { Origin: 'https://evil.example' } })).status, 403)
  assert.equal((await call('POST', '/leaks', { session, key: null, body: { token: 'x' }, headers: { Origin: 'https://evil.example' } })).status, 403)
  assert.equal((await call('POST', '/leaks', { session, key: null, body: { token: 'x' } })).status, 204)
  assert.equal((await orgs(session)).status, 200)
})

test('no log, no table and no WAL has a cookie or a code', async () => {
  const link = code('pe-bob')
  const answer = await post({ code: link })
  const session = answer.headers['set-cookie'][0].slice(17, 81)
  assert.match(session, /^[0-9a-f]{64}$/)
  assert.equal((await orgs(session)).status, 200)
  assert.equal((await call('POST', '/orgs/people/destinations', { session, body: {} })).status, 403)
  sql('CHECKPOINT')
  const found = (bytes) => bytes.includes(session) || bytes.includes(link)
  for (const file of ['rest/nginx.log', 'rest/nginx-error.log', 'rest/error.log', 'rest/postgrest.log', 'server.log']) assert.ok(!found(readFileSync(`${work}/${file}`)), file)
  for (const file of readdirSync(`${work}/data/pg_wal`).filter((name) => /^[0-9A-F]{24}$/.test(name))) assert.ok(!found(readFileSync(`${work}/data/pg_wal/${file}`)), file)
  for (const [table] of sqlJson("SELECT c.oid::regclass::text AS t FROM pg_class AS c WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relkind = 'r'").map((row) => [row.t])) {
    assert.ok(!found(Buffer.from(sql(`SELECT t::text FROM ${table} AS t`))), table)
  }
})

test('the document knows people', () => {
  assert.deepEqual(document.paths['/databases'].get.security, [{ bearer: [] }, { header: [] }, { session: [] }, { jwt: [] }])
  assert.deepEqual(document.paths['/databases'].get.servers.map((server) => server.url), ['/api/v1', '/api/v1/orgs/{org}'])
  assert.deepEqual(document.paths['/orgs/{org}'].get.security, [{ session: [] }, { jwt: [] }])
  assert.deepEqual(document.paths['/session'].post.security, [])
  assert.equal(document.paths['/session'].post.parameters, undefined)
  assert.equal(document.paths['/profile'].get.servers, undefined)
})
