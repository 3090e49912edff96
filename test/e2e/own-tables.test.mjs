// docs/own-tables.md as it stands: its SQL, its settings, and what they do to requests.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test, before, after } from 'node:test'
import { createOrg, issue, loggedToken, send, sql } from './lib.mjs'
import { nginx, postgrest, stopPrograms } from './programs.mjs'

const page = readFileSync(`${process.env.WORK}/src/docs/own-tables.md`, 'utf8')
const secret = 'a secret of thirty-two characters'
let url, reader, writer, other

before(async () => {
  createOrg('teams')
  createOrg('teams-other')
  for (const [, block] of page.matchAll(/```sql\n(.*?)```/gs)) sql(block)
  reader = issue('teams', ['invoices:read'])
  writer = issue('teams', ['invoices:read', 'invoices:write'])
  other = issue('teams-other', ['invoices:read', 'invoices:write'])

  const settings = [...page.matchAll(/^ {4}(db-[a-z-]+) = (".*")$/gm)]
  assert.ok(settings.length >= 2)
  url = await postgrest('teams', {
    changes: settings.map(([line, name]) => [new RegExp(`^${name} = .*$`, 'm'), line.trim()]),
    more: `\njwt-secret = "${secret}"\n`
  })
})
after(stopPrograms)

const rest = (method, path, options) => send(method, '/rest' + path, { url, prefix: '', key: null, ...options })
const jwt = (claims) => {
  const parts = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${parts}.${createHmac('sha256', secret).update(parts).digest('base64url')}`
}

test('policies go by the scopes and the organisation of the token', async () => {
  assert.equal((await rest('POST', '/invoices', { token: writer, body: { title: 'one', cents: 100 } })).status, 201)
  assert.equal((await rest('POST', '/invoices', { token: other, body: { title: 'theirs', cents: 1 } })).status, 201)
  assert.deepEqual((await rest('GET', '/invoices?select=title', { token: reader })).json, [{ title: 'one' }])
  assert.deepEqual((await rest('GET', '/invoices?select=title', { token: other })).json, [{ title: 'theirs' }])
  assert.deepEqual((await rest('GET', '/invoices?select=title', { headers: { 'X-WallarmApi-Token': reader } })).json, [{ title: 'one' }])
  assert.deepEqual((await rest('GET', '/invoices', {})).json, [], 'anonymous')
  // the access log has the id of the token, and the client does not get it
  const id = sql(`SELECT walwarden.introspect_token('${reader}') ->> 'tokenId'`)
  const answer = await rest('GET', '/invoices', { token: reader })
  assert.equal(answer.headers['x-walwarden-token-id'], undefined)
  assert.equal(await loggedToken(answer), id)
  // nobody inserts for another organisation
  const foreign = sql("SELECT id FROM walwarden_internal.org WHERE slug = 'teams-other'")
  assert.equal((await rest('POST', '/invoices', { token: writer, body: { title: 'x', cents: 1, org_id: foreign } })).json.code, '42501')
})

test('require_scope and append_audit in a function', async () => {
  const sent = await rest('POST', '/rpc/send_invoice', { token: writer, body: { id: 1 } })
  assert.equal(sent.status, 200, sent.text)
  const entry = JSON.parse(sql(`SELECT body FROM walwarden_internal.audit_entry WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'teams') AND seq = ${sent.json}`))
  assert.equal(entry.kind, 'app.invoice.sent')
  assert.equal(entry.payload.actor.kind, 'token')
  assert.deepEqual(entry.payload.data, { invoice: 1 })
  assert.equal((await rest('POST', '/rpc/send_invoice', { token: writer, body: { id: 2 } })).status, 404, "another organisation's")
})

test('a scope that is missing is 403, a token that is missing 401', async () => {
  for (const [path, body] of [['/rpc/send_invoice', { id: 1 }], ['/invoices', { title: 'two', cents: 100 }]]) {
    for (const token of [reader, jwt({ role: 'web_anon' }), undefined]) {
      const answer = await rest('POST', path, { token, body })
      const [status, code, challenge] = token === reader
        ? [403, '42501', 'Bearer error="insufficient_scope", scope="invoices:write"']
        : [401, '28000', 'Bearer']
      assert.equal(answer.status, status, answer.text)
      assert.equal(answer.json.code, code)
      assert.equal(answer.json.details, token === reader ? 'requiredScope=invoices:write' : null)
      assert.ok(answer.json.message && answer.json.hint)
      assert.equal(answer.headers['www-authenticate'], challenge)
    }
  }
  // in SQL the errors are what they were
  for (const [before, state] of [['', '28000'], [`SELECT walwarden.authenticate('${reader}');`, '42501']]) {
    assert.throws(() => sql(`BEGIN; ${before} SELECT walwarden.require_scope('invoices:write')`), new RegExp(state))
  }
})

test('who must send a token is told so, whatever else was sent', async () => {
  const strict = await nginx('strict', ['postgrest.sock', 'teams.sock'], ['map $host $walwarden_rest_anonymous { default 1; }', 'map $host $walwarden_rest_anonymous { default 0; }'])
  const basic = `Basic ${Buffer.from(`x:${reader}`).toString('base64')}`
  for (const headers of [{}, { Authorization: basic }, { apikey: reader }, { Authorization: reader }, { Authorization: 'Bearer' }, { 'X-Walwarden-Token': reader }]) {
    assert.equal((await rest('GET', '/invoices', { headers })).status, 200, 'nobody asks for a token')
    const answer = await rest('GET', '/invoices', { url: strict, headers })
    assert.equal(answer.status, 401, JSON.stringify(headers))
    assert.equal(answer.json.error.code, 'unauthorized')
    assert.equal(answer.json.error.reason, 'token_missing')
    assert.ok(answer.json.error.nextAction)
    assert.equal(answer.headers['www-authenticate'], 'Bearer')
  }
  for (const options of [{ token: reader }, { headers: { 'X-WallarmApi-Token': reader } }, { token: jwt({ role: 'web_anon' }) }, { headers: { Authorization: basic, 'X-WallarmApi-Token': reader } }]) {
    assert.equal((await rest('GET', '/invoices', { url: strict, ...options })).status, 200, JSON.stringify(options))
  }
  const preflight = await rest('OPTIONS', '/invoices', { url: strict, headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'GET' } })
  assert.equal(preflight.status, 200, 'a browser sends it without credentials')
  assert.equal((await rest('OPTIONS', '/invoices', { url: strict })).status, 401)
})

test('no function of a request finds its token', async () => {
  const cookie = (name) => `a=1; ${name}=${reader}`
  sql(`CREATE FUNCTION api.settings() RETURNS text LANGUAGE sql STABLE AS $$ SELECT string_agg(s, ' ') FROM unnest(ARRAY[current_setting('request.headers', true), current_setting('request.cookies', true), current_query()]) AS s $$;
    GRANT EXECUTE ON FUNCTION api.settings() TO web_anon; NOTIFY pgrst, 'reload schema'`)
  for (const options of [{ token: reader }, { headers: { 'X-WallarmApi-Token': reader, 'X-Copy': `token ${reader}` } }, { token: reader, headers: { Cookie: cookie('t') } }, { token: reader, headers: { Cookie: cookie('t').replace('wal_', 'wal%5F') } }]) {
    let answer
    do answer = await rest('GET', '/rpc/settings', options); while (answer.status === 404)      // until the schema is loaded
    assert.equal(answer.status, 200, answer.text)
    assert.match(answer.text, /user-agent|accept|host/i, 'the other fields are there')
    assert.doesNotMatch(answer.text, /wal(_|%5F)/, answer.text)
  }
  // nor the session of a person, who keeps the other cookies
  const session = 'f'.repeat(64)
  for (const [cookies, kept] of [
    [`__Host-walwarden=${session}`, []], [`a=1; __Host-walwarden=${session}; b=2`, ['a', 'b']], [`__Host-walwarden=${session}; b=2`, ['b']], [`a=1; __Host-walwarden=${session}`, ['a']],
    [`a=1; __Host-walwarden=${session}; __Host-walwarden=${session}`, []]
  ]) {
    const answer = await rest('GET', '/rpc/settings', { headers: { Cookie: cookies, 'X-Walwarden-Session': session } })
    assert.equal(answer.status, 200, answer.text)
    assert.ok(!answer.text.includes(session), cookies)
    for (const name of ['a', 'b']) assert.equal(new RegExp(`\\\\"${name}\\\\" ?:`).test(answer.text), kept.includes(name), `${cookies}: ${answer.text}`)
  }
  sql('DROP FUNCTION api.settings()')
})

test('bad credentials are 401, whatever was asked', async () => {
  const revoked = issue('teams', ['invoices:read'])
  sql(`SELECT walwarden.revoke_token((walwarden.introspect_token('${revoked}') ->> 'tokenId')::uuid)`)
  for (const options of [{ token: revoked }, { token: 'wal_' + 'c'.repeat(64) }, { token: 'wal_x' }, { token: 'wal_bad more' }, { headers: { 'X-WallarmApi-Token': 'x' } }, { token: reader, headers: { 'X-WallarmApi-Token': writer } }, { headers: { 'X-WallarmAPI-UUID': crypto.randomUUID() } }]) {
    for (const path of ['/invoices', '/nothing']) {
      const answer = await rest('GET', path, options)
      if (path === '/invoices') {
        assert.equal(answer.status, 401, answer.text)
        assert.equal(answer.json.code, 'unauthorized')
        assert.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"')
      } else assert.ok([401, 404].includes(answer.status))
    }
  }
})

test('the bounds of a token hold', async () => {
  const near = issue('teams', ['invoices:read'], ", networks => '{127.0.0.0/8}'")
  const far = issue('teams', ['invoices:read'], ", networks => '{192.0.2.0/24}'")
  assert.equal((await rest('GET', '/invoices', { token: near })).status, 200)
  assert.equal((await rest('GET', '/invoices', { token: far })).status, 401)
  assert.equal((await rest('GET', '/invoices', { token: far, headers: { 'X-Walwarden-Client': '192.0.2.1' } })).status, 401, 'nginx sets it itself')
  const limited = issue('teams', ['invoices:read'], ', rate_limit => 2')
  const statuses = []
  for (let i = 0; i < 3; i++) statuses.push(await rest('GET', '/invoices', { token: limited }))
  assert.deepEqual(statuses.map((answer) => answer.status), [200, 200, 429])
  assert.match(statuses[2].headers['retry-after'], /^([1-9]|[1-5][0-9]|60)$/)
  assert.match(statuses[2].headers.ratelimit, /^"token";r=0;t=/)
  assert.equal(statuses[2].json.code, 'rate_limited')
})

test('users with JWTs go on as before', async () => {
  assert.equal((await rest('GET', '/invoices', { token: jwt({ role: 'web_anon' }) })).status, 200)
  assert.equal((await rest('GET', '/invoices', { token: jwt({ role: 'web_anon' }) + 'x' })).status, 401)
  assert.equal((await rest('GET', '/invoices', { token: 'eyJ.x.y' })).status, 401)
})

test('the entry points and other schemas are out of reach', async () => {
  for (const path of ['/rpc/v1_get', '/rpc/v1_post', '/rpc/v1_page', '/rpc/v1_get/', '/rpc//v1_get', '/rpc/v1%5fget']) {
    assert.equal((await rest('GET', path, { token: writer })).status, 404, path)
  }
  const profile = await rest('GET', '/rpc/v1_get', { token: writer, headers: { 'Accept-Profile': 'walwarden_rest' } })
  assert.equal(profile.status, 404)
  assert.notEqual((await rest('GET', '/token', { token: writer, headers: { 'Accept-Profile': 'walwarden' } })).status, 200)
  const smuggled = await rest('GET', '/invoices', { headers: { 'X-Walwarden-Token': writer } })
  assert.deepEqual(smuggled.json, [], 'nginx sets it itself')
})

test('REST v1 is served beside it', async () => {
  const answer = await send('GET', '/api/v1/profile', { url, prefix: '', token: reader })
  assert.equal(answer.status, 200)
  assert.equal(answer.json.org.slug, 'teams')
})
