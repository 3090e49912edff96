// Tokens, managed by people over HTTP: the life of one, who may do what, what is repeated, and
// that a value is returned once and is nowhere else.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test, before } from 'node:test'
import { call, createOrg, document, send, signIn, sql, sqlJson } from './lib.mjs'

const work = process.env.WORK
const session = {}
before(async () => {
  createOrg('tok')
  createOrg('tok-b')
  for (const [org, subject, role] of [['tok', 'ann', 'owner'], ['tok', 'bob', 'member'], ['tok', 'eve', 'admin'], ['tok', 'dev', 'api_developer'], ['tok-b', 'ann', 'owner'], ['tok-b', 'bob', 'member']]) {
    sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}')`)
  }
  for (const who of ['ann', 'bob', 'eve', 'dev']) session[who] = await signIn(who)
})

const tokens = (who, method = 'GET', path = '', options = {}) => call(method, `/orgs/tok/tokens${path}`, { session: session[who], ...options })
const issue = (who, body, options) => tokens(who, 'POST', '', { body: { name: 'ci', visibility: 'private', ...body }, ...options })
const act = (who, id, action, body, options) => tokens(who, 'POST', `/${id}/${action}`, { body, ...options })
const entries = () => Number(sql("SELECT count(*) FROM walwarden.list_audit('tok')"))
const newest = () => sqlJson("SELECT e.kind, e.body::json -> 'payload' AS payload FROM walwarden.list_audit('tok') AS e ORDER BY e.seq DESC LIMIT 1")[0]
const works = async (token) => (await send('GET', '/profile', { token })).status === 200
const error = (answer) => [answer.status, answer.json.error.reason]

test('a token from its issue to its end', async () => {
  const issued = await issue('bob', { name: 'laptop', scopes: ['databases:read'], labels: { team: 'ops' }, networks: ['127.0.0.0/8'], expiresAt: '2099-01-01T00:00:00Z' })
  assert.equal(issued.status, 201)
  assert.match(issued.json.token, /^wal_[0-9a-f]{64}$/)
  const { tokenId, token } = issued.json
  assert.equal(issued.headers.location, `/api/v1/orgs/tok/tokens/${tokenId}`)
  assert.equal(issued.headers['cache-control'], 'no-store')
  assert.ok(await works(token))
  const shown = (await tokens('bob', 'GET', `/${tokenId}`)).json
  assert.deepEqual([shown.name, shown.visibility, shown.owner, shown.createdBy, shown.state, shown.expiresAt], ['laptop', 'private', 'bob', 'bob', 'active', '2099-01-01T00:00:00.000000Z'])
  assert.deepEqual([shown.scopes, shown.labels, shown.networks], [['databases:read'], { team: 'ops' }, ['127.0.0.0/8']])
  assert.equal(newest().kind, 'token.issued')
  const member = sql("SELECT member_id FROM walwarden.list_members('tok') WHERE subject = 'bob'")
  assert.deepEqual({ ...newest().payload.actor, sessionId: '' }, { kind: 'session', memberId: member, sessionId: '' })

  // all of a resource is what SQL shows
  const row = sqlJson(`SELECT * FROM walwarden.get_token('${tokenId}')`)[0]
  delete row.org
  assert.deepEqual(Object.keys(shown), Object.keys(row).map((name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())))

  const changed = await tokens('bob', 'PATCH', `/${tokenId}`, { body: { name: 'desktop', labels: {}, networks: [], expiresAt: null, scopes: [] } })
  assert.deepEqual([changed.json.name, changed.json.labels, changed.json.networks, changed.json.expiresAt, changed.json.scopes], ['desktop', {}, [], null, []])
  assert.equal((await act('bob', tokenId, 'disable', { reason: 'on leave' })).json.disabledReason, 'on leave')
  assert.ok(!await works(token))
  assert.equal((await act('bob', tokenId, 'enable', { expiresAt: '2099-01-01T00:00:00Z' })).json.state, 'active')
  assert.ok(await works(token))
  const renewed = await act('bob', tokenId, 'renew', { overlapSeconds: 3600 })
  assert.equal(renewed.status, 200)
  assert.equal(renewed.json.tokenId, tokenId)
  assert.notEqual(renewed.json.token, token)
  assert.ok(await works(token) && await works(renewed.json.token))
  assert.ok((await tokens('bob', 'GET', `/${tokenId}`)).json.overlapUntil)
  assert.equal((await act('bob', tokenId, 'end-overlap')).json.overlapUntil, null)
  assert.ok(!await works(token) && await works(renewed.json.token))
  const revoked = (await act('bob', tokenId, 'revoke', { reason: 'lost' })).json
  assert.deepEqual([revoked.state, revoked.revokedBy, revoked.revokedReason], ['revoked', 'bob', 'lost'])
  assert.ok(!await works(renewed.json.token))
  assert.equal((await send('DELETE', `/orgs/tok/tokens/${tokenId}`, { session: session.bob })).status, 405)
})

test('a value is returned once', async () => {
  const key = crypto.randomUUID()
  const first = await issue('ann', { name: 'once' }, { key })
  const before = entries()
  const again = await issue('ann', { name: 'once' }, { key })
  assert.deepEqual(error(again), [409, 'token_already_issued'])
  assert.equal(again.json.error.tokenId, first.json.tokenId)
  assert.ok(again.json.error.nextAction)
  assert.ok(!again.text.includes('wal_'))
  assert.deepEqual(error(await issue('ann', { name: 'other' }, { key })), [409, 'idempotency_key_reused'])
  assert.equal(entries(), before)

  const renewal = crypto.randomUUID()
  const { tokenId } = first.json
  const renewed = await act('ann', tokenId, 'renew', {}, { key: renewal })
  assert.equal(renewed.status, 200)
  const repeated = await act('ann', tokenId, 'renew', {}, { key: renewal })
  assert.deepEqual(error(repeated), [409, 'value_already_shown'])
  assert.equal(repeated.json.error.tokenId, tokenId)
  assert.ok(await works(renewed.json.token))

  // of many at once, one gets it
  const race = crypto.randomUUID()
  const answers = await Promise.all(Array.from({ length: 8 }, () => issue('ann', { name: 'race' }, { key: race })))
  assert.equal(answers.filter((answer) => answer.status === 201).length, 1)
  for (const answer of answers.filter((answer) => answer.status !== 201)) assert.ok(['token_already_issued', 'request_in_progress'].includes(answer.json.error.reason), answer.text)
  assert.equal(sql("SELECT count(*) FROM walwarden.list_tokens('tok') WHERE name = 'race'"), '1')
})

test('what changes nothing leaves no entry, and a repeated request gets its answer', async () => {
  const { tokenId } = (await issue('ann', { name: 'still', visibility: 'shared' })).json
  for (const [action, body] of [['disable', { reason: 'x' }], ['enable', {}], ['end-overlap'], ['revoke', {}]]) {
    const key = crypto.randomUUID()
    const first = await act('ann', tokenId, action, body, { key })
    assert.equal(first.status, 200, action)
    const before = entries()
    const replayed = await act('ann', tokenId, action, body, { key })
    assert.equal(replayed.headers['idempotency-replayed'], 'true')
    assert.equal(replayed.text, first.text)
    assert.equal((await act('ann', tokenId, action, body)).status, 200, `${action} again`)
    assert.equal(entries(), before, action)
  }
  const before = entries()
  const { tokenId: other } = (await issue('ann', { name: 'named', visibility: 'shared' })).json
  assert.equal((await tokens('ann', 'PATCH', `/${other}`, { body: { name: 'named' } })).status, 200)
  assert.equal(entries(), before + 1)
})

test('who may do what to which token', async () => {
  const mine = (await issue('bob', { name: 'mine' })).json.tokenId
  const shared = (await issue('eve', { name: 'shared', visibility: 'shared', scopes: ['audit:read'] })).json.tokenId
  assert.deepEqual(error(await issue('bob', { visibility: 'shared' })), [403, 'not_permitted'])
  assert.equal((await issue('bob', { visibility: 'shared' })).json.error.message, 'permission denied for this request')
  assert.deepEqual(error(await issue('dev', {})), [403, 'not_permitted'])
  assert.deepEqual(error(await issue('bob', { scopes: ['audit:read'] })), [403, 'not_permitted'], 'beyond the role')
  assert.deepEqual(error(await issue('bob', { role: 'member' })), [403, 'not_permitted'])
  assert.equal((await issue('eve', { visibility: 'shared', role: 'read_only' })).status, 201)
  assert.equal((await issue('eve', { visibility: 'shared', kind: 'node' })).status, 201)
  assert.equal((await issue('eve', { kind: 'node' })).status, 400, 'a node is nobody\'s')

  // who does not see a token is told that there is none
  const plain = (answer) => answer.text.replaceAll(answer.headers['x-request-id'], '')
  const unknown = await tokens('bob', 'GET', `/${crypto.randomUUID()}`)
  for (const [who, id] of [['bob', shared], ['dev', mine], ['bob', 'x'], ['dev', shared]]) {
    const answer = await tokens(who, 'GET', `/${id}`)
    assert.equal(answer.status, 404, `${who} ${id}`)
    assert.equal(plain(answer), plain(unknown))
  }
  for (const action of ['disable', 'enable', 'revoke', 'renew', 'end-overlap']) assert.equal((await act('bob', shared, action)).status, 404, action)
  assert.equal((await tokens('bob', 'PATCH', `/${shared}`, { body: { name: 'x' } })).status, 404)
  // an admin sees, disables and revokes a private token, and no more
  assert.equal((await tokens('eve', 'GET', `/${mine}`)).status, 200)
  assert.deepEqual(error(await tokens('eve', 'PATCH', `/${mine}`, { body: { name: 'x' } })), [403, 'not_permitted'])
  assert.deepEqual(error(await act('eve', mine, 'renew')), [403, 'not_permitted'])
  assert.equal((await act('eve', mine, 'disable')).status, 200)
  assert.deepEqual((await tokens('bob')).json.tokens.filter((token) => token.owner !== 'bob'), [])
  assert.ok((await tokens('eve')).json.tokens.some((token) => token.tokenId === mine))
  // the token of another organisation, where the person manages tokens too
  const elsewhere = sql("SELECT token_id FROM walwarden.issue_token('tok-b', 'x')")
  assert.equal((await tokens('ann', 'GET', `/${elsewhere}`)).status, 404)
  assert.equal((await act('ann', elsewhere, 'revoke')).status, 404)
  assert.equal((await call('GET', `/orgs/tok-b/tokens/${elsewhere}`, { session: session.ann })).status, 200)
})

test('what is refused says why', async () => {
  const { tokenId } = (await issue('ann', { name: 'why', visibility: 'shared' })).json
  for (const [body, reason, field] of [
    [{ scopes: ['nosuch:read'] }, 'invalid_value'], [{ scopes: ['*'] }, 'invalid_value'], [{ scopes: ['databases:read', 'databases:read'] }, 'duplicate', 'scopes'], [{ scopes: [1] }, 'wrong_type', 'scopes[0]'],
    [{ expiresAt: '2020-01-01T00:00:00Z' }, 'invalid_value'], [{ expiresAt: 'tomorrow' }, 'malformed', 'expiresAt'], [{ expiresAt: '9999-13-01T00:00:00Z' }, 'malformed', 'expiresAt'],
    [{ networks: ['10.0.0.1/8'] }, 'malformed', 'networks'], [{ networks: ['x'] }, 'malformed', 'networks'], [{ networks: ['10.0.0.0/8', '10.0.0.0/8'] }, 'invalid_value'],
    [{ labels: { A: 'x' } }, 'invalid_value'], [{ labels: { a: 1 } }, 'invalid_value'], [{ labels: [] }, 'wrong_type', 'labels'],
    [{ rateLimit: 0 }, 'out_of_range', 'rateLimit'], [{ name: '' }, 'out_of_range', 'name'], [{ name: 'a‮b' }, 'malformed', 'name'], [{ name: 'x'.repeat(101) }, 'out_of_range', 'name'],
    [{ owner: 'bob' }, 'unknown_field', 'owner'], [{ org: 'tok-b' }, 'unknown_field', 'org']
  ]) {
    for (const answer of [await issue('ann', body), await tokens('ann', 'PATCH', `/${tokenId}`, { body })]) {
      assert.deepEqual(error(answer), [400, reason], JSON.stringify(body))
      assert.equal(answer.json.error.field, field, JSON.stringify(body))
    }
  }
  assert.deepEqual(error(await issue('ann', { visibility: 'public' })), [400, 'unknown_value'])
  assert.deepEqual(error(await issue('ann', { role: 'nosuch', visibility: 'shared' })), [404, 'no_such_object'])
  assert.deepEqual(error(await issue('ann', { role: 'member', scopes: ['databases:read'] })), [400, 'invalid_value'])
  await act('ann', tokenId, 'revoke')
  for (const action of ['disable', 'enable', 'renew']) assert.deepEqual(error(await act('ann', tokenId, action)), [409, 'wrong_state'], action)

  // a maximum lifetime, and a plan without tokens
  sql("SELECT walwarden.set_token_policy('tok', '90 days', '1 year')")
  const issued = (await issue('ann', { name: 'default' })).json
  assert.equal(Math.round((new Date(issued.expiresAt) - new Date(issued.createdAt)) / 86400000), 90)
  assert.deepEqual(error(await issue('ann', { expiresAt: null })), [400, 'invalid_value'], 'never is too long')
  sql("SELECT walwarden.set_token_policy('tok', '0', '0'), walwarden.set_plan('tok', 'free')")
  assert.equal((await call('GET', '/orgs/tok', { session: session.ann })).json.apiTokens, false)
  assert.deepEqual(error(await issue('ann', {})), [409, 'wrong_state'])
  assert.deepEqual(error(await tokens('ann', 'PATCH', `/${issued.tokenId}`, { body: { name: 'x' } })), [409, 'wrong_state'])
  assert.equal((await tokens('ann', 'GET', `/${issued.tokenId}`)).json.state, 'inactive')
  assert.equal((await act('ann', issued.tokenId, 'disable')).status, 200)
  assert.equal((await act('ann', issued.tokenId, 'revoke')).status, 200)
  sql("SELECT walwarden.set_plan('tok', 'team')")
})

test('a list has every token that fits once, in pages', async () => {
  createOrg('tok-many')
  sql("SELECT walwarden.add_member('tok-many', 'ann', 'owner'), walwarden.add_member('tok-many', 'bob'); SELECT count(walwarden.issue_token('tok-many', CASE WHEN i % 60 = 0 THEN 'Größe 50% + ' ELSE 'token ' END || i, owner => CASE WHEN i % 100 = 0 THEN 'bob' END)) FROM generate_series(1, 450) AS i; SELECT walwarden.revoke_token(token_id) FROM walwarden.list_tokens('tok-many') WHERE name LIKE '%7'")
  const all = async (query, who = 'ann') => {
    const names = []
    for (let cursor = ''; cursor !== null;) {
      const { json } = await call('GET', `/orgs/tok-many/tokens?limit=100${query}${cursor && '&cursor='}${cursor}`, { session: session[who] })
      names.push(...json.tokens.map((token) => token.name))
      assert.equal(json.pageInfo.hasMore, json.pageInfo.nextCursor !== null)
      cursor = json.pageInfo.nextCursor
    }
    return names
  }
  const expected = (condition) => sqlJson(`SELECT name FROM walwarden.list_tokens('tok-many') WHERE ${condition}`).map((row) => row.name)
  for (const [query, condition] of [
    ['', 'true'], ['&state=revoked', "state = 'revoked'"], ['&owner=bob', "owner = 'bob'"], ['&name=GR%C3%B6%C3%9FE+50%25+%2B', "name LIKE 'Größe%'"], ['&name=token+4', "name LIKE 'token 4%'"],
    ['&state=active&owner=bob&name=0', "owner = 'bob'"], ['&name=nosuch', 'false'], ['&state=expired', 'false'], ['&owner=nobody', 'false']
  ]) assert.deepEqual(await all(query), expected(condition), query)
  assert.deepEqual(await all('', 'bob'), expected("owner = 'bob'"))
  assert.deepEqual((await send('GET', '/orgs/tok-many/tokens?limit=1&state=revoked', { session: session.ann })).json.tokens.length, 1)
  for (const [query, field, reason] of [['state=gone', 'state', 'unknown_value'], ['state=', 'state', 'unknown_value'], ['name=', 'name', 'out_of_range'], ['state=active&state=active', 'state', 'duplicate'], ['x=1', 'x', 'unknown_parameter'],
    ['name=%', 'name', 'out_of_range'], ['name=%ff', 'name', 'out_of_range'], ['owner=%00', 'owner', 'out_of_range'], ['name=a%0Ab', 'name', 'malformed'], ['State=active', 'State', 'unknown_parameter'], ['limit=0', 'limit', 'out_of_range'], ['cursor=x', 'cursor', 'bad_cursor']]) {
    const answer = await call('GET', `/orgs/tok-many/tokens?${query}`, { session: session.ann })
    assert.deepEqual([answer.status, answer.json.error.field, answer.json.error.reason], [400, field, reason], query)
  }
  // a cursor of another organisation
  const { pageInfo } = (await call('GET', '/orgs/tok-many/tokens?limit=1', { session: session.ann })).json
  assert.equal((await call('GET', `/orgs/tok/tokens?cursor=${pageInfo.nextCursor}`, { session: session.ann })).status, 400)
})

test('no plaintext is anywhere but in its answer', async () => {
  const issued = (await issue('ann', { name: 'secret' })).json
  const renewed = (await act('ann', issued.tokenId, 'renew', { overlapSeconds: 60 })).json
  sql('CHECKPOINT')
  const found = (bytes) => bytes.includes(issued.token) || bytes.includes(renewed.token) || bytes.includes(issued.token.slice(4)) || bytes.includes(Buffer.from(issued.token.slice(4), 'hex'))
  for (const file of ['rest/nginx.log', 'rest/nginx-error.log', 'rest/error.log', 'rest/postgrest.log', 'server.log']) assert.ok(!found(readFileSync(`${work}/${file}`)), file)
  for (const file of readdirSync(`${work}/data/pg_wal`).filter((name) => /^[0-9A-F]{24}$/.test(name))) assert.ok(!found(readFileSync(`${work}/data/pg_wal/${file}`)), file)
  for (const { t } of sqlJson("SELECT c.oid::regclass::text AS t FROM pg_class AS c WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relkind = 'r'")) {
    assert.ok(!found(Buffer.from(sql(`SELECT t::text FROM ${t} AS t`))), t)
  }
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.idempotency_key WHERE body ->> 'tokenId' = '${issued.tokenId}' AND (SELECT count(*) FROM json_object_keys(body)) = 1`), '2')
})

test('the document has the filters and the reasons', () => {
  const { parameters } = document.paths['/orgs/{org}/tokens'].get
  assert.deepEqual(parameters.map((parameter) => parameter.name ?? parameter.$ref.split('/').at(-1)), ['org', 'limit', 'cursor', 'name', 'owner', 'state'])
  assert.ok(document.paths['/orgs/{org}/tokens'].post.responses[409])
})
