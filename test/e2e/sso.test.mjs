// Single sign-on, and JWTs of people's programs: an identity provider that signs, a proxy that
// hands its JWTs to nginx, PostgREST that verifies them, and what nobody may get past.
import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { checkAnswer, createOrg, document, issue, send, sleep, sql, sqlJson } from './lib.mjs'
import { nginx, postgrest, stopPrograms } from './programs.mjs'

const work = process.env.WORK
const jwks = `${work}/rest/jwks.json`
const on = ['map $host $walwarden_sso { default 0; }', 'map $host $walwarden_sso { default 1; }']
const issuer = 'https://idp.example'
const audience = 'walwarden'

// ---- the identity provider

const key = (kid, type, options) => ({ kid, alg: type === 'rsa' ? 'RS256' : 'ES256', ...generateKeyPairSync(type, options) })
const rsa = key('a', 'rsa', { modulusLength: 2048 })
const ec = key('b', 'ec', { namedCurve: 'P-256' })
const foreign = key('a', 'rsa', { modulusLength: 2048 })
const publish = (...keys) => writeFileSync(jwks, JSON.stringify({ keys: keys.map(({ kid, alg, publicKey }) => ({ kid, alg, use: 'sig', ...publicKey.export({ format: 'jwk' }) })) }))

const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const now = () => Math.floor(Date.now() / 1000)
let last = 0
const claims = (more = {}) => ({ iss: issuer, aud: audience, sub: 'sso-ann', iat: now(), exp: now() + 300, nonce: `n${++last}`, ...more })
function jwt (more, { by = rsa, header = {}, signature } = {}) {
  const text = `${part({ alg: by.alg, kid: by.kid, typ: 'JWT', ...header })}.${part(claims(more))}`
  const bytes = signature ? signature(text) : sign('sha256', Buffer.from(text), { key: by.privateKey, dsaEncoding: 'ieee-p1363' })
  return `${text}.${bytes.toString('base64url')}`
}

// ---- the proxy: whose cookie has the number of a JWT is signed in with that

const handedOut = []
const asked = []
let down = false
const proxy = http.createServer((request, response) => {
  asked.push({ method: request.method, url: request.url, headers: request.headers })
  if (down) return request.socket.destroy()
  if (request.url.startsWith('/oauth2/start')) return response.writeHead(302, { Location: `https://idp.example/authorize?state=x`, 'Set-Cookie': '__Host-oidc_csrf=x; Path=/; Secure; HttpOnly' }).end()
  const [, number] = /__Host-oidc=(\d+)/.exec(request.headers.cookie ?? '') ?? []
  if (request.url !== '/oauth2/auth') response.writeHead(403, { 'Content-Type': 'text/html', Authorization: 'Bearer of-the-proxy' }).end('<h1>its own page</h1>')
  else if (number === undefined) response.writeHead(401).end('Unauthorized')
  else response.writeHead(202, handedOut[number] === '' ? {} : { Authorization: `Bearer ${handedOut[number]}` }).end()
})

let url, apart, token

// Settings are read by new connections of PostgREST, which serve from then on.
async function set (settings) {
  for (const [name, value] of Object.entries(settings)) sql(`ALTER DATABASE ${process.env.PGDATABASE} ${value === null ? `RESET walwarden.${name}` : `SET walwarden.${name} = '${value}'`}`)
  sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'authenticator'")
  // as many at once as PostgREST keeps connections: it finds out by a request that one is gone
  const answers = (at) => Promise.all(Array.from({ length: 12 }, () => send('GET', '/openapi.json', { url: at })))
  for (const at of [undefined, url]) while ((await answers(at)).some((answer) => answer.status !== 200)) await sleep(200)
}

before(async () => {
  for (const org of ['sso', 'sso-b']) createOrg(org)
  for (const [org, subject, role, sso] of [['sso', 'sso-ann', 'owner', true], ['sso-b', 'sso-ann', 'owner', false], ['sso', 'sso-bob', 'member', true], ['sso', 'sso-link', 'member', false], ['sso', 'sso-off', 'member', true]]) {
    sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}'), walwarden.set_member_sso('${org}', '${subject}', ${sso})`)
  }
  sql("SELECT walwarden.disable_member('sso', 'sso-off')")
  sql("SELECT walwarden.trust_authenticator('authenticator')")
  token = issue('sso')
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  publish(rsa, ec)
  for (const [name, value] of Object.entries({ jwt_issuer: issuer, jwt_audience: audience })) sql(`ALTER DATABASE ${process.env.PGDATABASE} SET walwarden.${name} = '${value}'`)
  url = await postgrest('sso', {
    more: readFileSync(`${work}/src/postgrest/postgrest.conf`, 'utf8').match(/^#jwt-.*$/gm).map((line) => line.slice(1).replace('/etc/walwarden/jwks.json', jwks)).join('\n') + '\n',
    proxyChanges: [on, ['server 127.0.0.1:4180;', `server 127.0.0.1:${proxy.address().port};`]]
  })
  // the same PostgREST behind the configuration as it is shipped, and as a standby has it
  apart = (name, ...changes) => nginx(name, ['postgrest.sock', 'sso.sock'], ['server 127.0.0.1:4180;', `server 127.0.0.1:${proxy.address().port};`], ...changes)
})

after(async () => {
  sql("SELECT walwarden.untrust_authenticator('authenticator')")
  await set({ jwt_issuer: null, jwt_audience: null })
  stopPrograms()
  proxy.close()
})

const api = async (bearer, { method = 'GET', path = '/orgs', ...options } = {}) => checkAnswer(method, path, await send(method, path, { url, token: bearer, ...options }))
const outcome = (answer) => [answer.status, answer.json?.error?.reason, answer.json?.error?.field].filter((item) => item !== undefined).join(' ')

// ---- the address /signin/sso

const navigation = { 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' }
const state = '__Host-walwarden-state=1'
const visit = (headers, { method = 'GET', path = '/signin/sso', at = url } = {}) => send(method, path, { url: at, prefix: '', headers, key: null })
// back from the provider, signed in at the proxy with a JWT
const comeBack = (bearer, more = {}) => visit({ ...navigation, 'Sec-Fetch-Site': 'cross-site', Cookie: `${state}; __Host-oidc=${handedOut.push(bearer) - 1}`, ...more })
const sessionOf = (answer) => answer.headers['set-cookie']?.map((field) => /^__Host-walwarden=([0-9a-f]{64}); Path=\/; Secure; HttpOnly; SameSite=Strict$/.exec(field)?.[1]).find(Boolean)

test('a person signs in at the provider, and gets a session', async () => {
  const begun = await visit({ ...navigation, 'Sec-Fetch-Site': 'same-origin' })
  assert.deepEqual([begun.status, begun.headers.location], [303, '/oauth2/start?rd=%2Fsignin%2Fsso'])
  assert.deepEqual(begun.headers['set-cookie'], ['__Host-walwarden-state=1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600'])
  assert.equal(begun.headers['cache-control'], 'no-store')
  assert.equal((await visit({ ...navigation, 'Sec-Fetch-Site': 'none' })).status, 303, 'from the address bar')

  const sent = await visit({ ...navigation, Cookie: `a=b; __Host-walwarden=${'0'.repeat(64)}; ${state}` }, { path: begun.headers.location })
  assert.deepEqual([sent.status, sent.headers.location], [302, 'https://idp.example/authorize?state=x'])
  assert.equal(asked.at(-1).headers.cookie, `a=b; ${state}`, 'a session is not for the proxy')
  assert.equal(asked.at(-1).url, '/oauth2/start?rd=%2Fsignin%2Fsso')
  const own = await visit({}, { path: '/oauth2/callback?error=x' })
  assert.deepEqual([own.text, own.headers.authorization], ['<h1>its own page</h1>', undefined])

  assert.equal(outcome(await visit({ Cookie: `__Host-oidc=${handedOut.push(jwt()) - 1}` }, { path: '/oauth2/auth' })), '404 no_such_path', 'the JWT is for nginx alone')

  for (const by of [rsa, ec]) {
    const answer = await comeBack(jwt({}, { by }))
    assert.deepEqual([answer.status, answer.headers.location, answer.text], [303, '/', ''], by.alg)
    assert.ok(answer.headers['set-cookie'].includes('__Host-walwarden-state=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0'), 'the way back is open once')
    assert.equal(answer.headers['cache-control'], 'no-store')
    const { status, json } = await send('GET', '/orgs', { session: sessionOf(answer) })
    assert.equal(status, 200)
    assert.deepEqual({ ...json, expiresAt: '' }, { subject: 'sso-ann', method: 'sso', expiresAt: '', orgs: [{ slug: 'sso', name: 'sso', plan: 'team', role: 'owner' }] })
    assert.equal((await send('GET', '/orgs/sso-b', { session: sessionOf(answer) })).status, 404, 'single sign-on is not enabled there')
  }
  assert.deepEqual([asked.at(-1).method, asked.at(-1).url, asked.at(-1).headers.authorization], ['GET', '/oauth2/auth', undefined])
})

test('a session ends with the last membership that single sign-on opens', async () => {
  for (const org of ['sso', 'sso-b']) sql(`SELECT walwarden.add_member('${org}', 'sso-two')`)
  sql("SELECT walwarden.set_member_sso('sso', 'sso-two', true)")
  const session = sessionOf(await comeBack(jwt({ sub: 'sso-two' })))
  assert.equal((await send('GET', '/orgs', { session })).status, 200)
  sql("SELECT walwarden.disable_member('sso', 'sso-two'), walwarden.enable_member('sso', 'sso-two')")
  assert.equal(outcome(await send('GET', '/orgs', { session })), '401 session_refused')
})

test('only a navigation that our own page began', async () => {
  const good = jwt()
  const cases = [
    [{}, 403], [{ Cookie: state }, 403],
    [{ ...navigation, 'Sec-Fetch-Site': 'cross-site' }, 403], [{ ...navigation, 'Sec-Fetch-Site': 'same-site' }, 403], [navigation, 403],
    [{ ...navigation, 'Sec-Fetch-Mode': 'cors', Cookie: state }, 403], [{ ...navigation, 'Sec-Fetch-Mode': 'no-cors', Cookie: state }, 403],
    [{ ...navigation, 'Sec-Fetch-Dest': 'iframe', Cookie: state }, 403], [{ ...navigation, 'Sec-Fetch-Dest': 'image', Cookie: state }, 403],
    [{ ...navigation, Cookie: 'x__Host-walwarden-state=1' }, 403], [{ ...navigation, Cookie: 'x=y __Host-walwarden-state=1' }, 403], [{ ...navigation, Cookie: '__Host-walwarden-state=2' }, 403], [{ ...navigation, Cookie: '__host-walwarden-state=1' }, 403]
  ]
  for (const [headers, status] of cases) {
    const answer = await visit({ ...headers, Cookie: `${headers.Cookie ?? 'x=y'}; __Host-oidc=${handedOut.push(good) - 1}` })
    assert.deepEqual([answer.status, answer.json.error.reason], [status, 'cross_site'], JSON.stringify(headers))
    assert.equal(sessionOf(answer), undefined)
  }
  for (const method of ['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const answer = await visit({ ...navigation, Cookie: `${state}; __Host-oidc=${handedOut.push(good) - 1}` }, { method })
    assert.deepEqual([answer.status, answer.headers.allow], [405, 'GET'], method)
  }
  // the address takes nothing, and there is no other
  const answer = await visit({ ...navigation, Cookie: `${state}; __Host-oidc=${handedOut.push(jwt()) - 1}` }, { path: '/signin/sso?rd=https://evil.example' })
  assert.deepEqual([answer.status, answer.headers.location], [303, '/'])
  for (const path of ['/signin/sso/', '/api/v1/signin/sso', '/api/v1/../signin/sso/x', '/_walwarden_oidc_proxy', '/_walwarden/303']) {
    assert.ok([401, 404].includes((await visit({ ...navigation, Cookie: state, Authorization: `Bearer ${good}` }, { path })).status), path)
  }
  // the browser's own Authorization is not what the proxy hands over
  assert.equal(outcome(await visit({ ...navigation, Cookie: state, Authorization: `Bearer ${good}` })), '401 jwt_refused')
})

test('a browser that comes back in vain gets a page', async () => {
  const html = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }
  for (const [bearer, more, reason] of [[jwt({ sub: 'nobody' }), {}, 'not_a_member'], ['', {}, 'jwt_refused'], [jwt({ iss: 'https://evil.example' }), {}, 'claim_refused'], [jwt(), { 'Sec-Fetch-Dest': 'iframe' }, 'cross_site']]) {
    const answer = await comeBack(bearer, { ...html, ...more })
    assert.deepEqual([answer.status, answer.headers.location], [303, `/signin?reason=${reason}`])
    assert.equal(sessionOf(answer), undefined)
    assert.ok(answer.headers['set-cookie'].some((field) => field.startsWith('__Host-walwarden-state=;')))
  }
  down = true
  const answer = await comeBack(jwt(), html)
  down = false
  assert.equal(answer.headers.location, '/signin?reason=service_down')
})

test('a JWT is exchanged once', async () => {
  const once = jwt()
  const statuses = (await Promise.all(Array.from({ length: 5 }, () => comeBack(once)))).map(outcome)
  assert.deepEqual(statuses.sort(), ['303', '401 jwt_used', '401 jwt_used', '401 jwt_used', '401 jwt_used'])
  const again = await comeBack(once)
  assert.ok(again.headers['set-cookie'].some((field) => field.startsWith('__Host-walwarden-state=;')), 'the next click begins anew')
  assert.equal(sessionOf(again), undefined)
  // an ES256 signature has a twin that is as good: (r, n - s)
  const curve = jwt({}, { by: ec })
  assert.equal((await comeBack(curve)).status, 303)
  const bytes = Buffer.from(curve.split('.')[2], 'base64url')
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const twin = (order - BigInt(`0x${bytes.subarray(32).toString('hex')}`)).toString(16).padStart(64, '0')
  assert.equal(outcome(await comeBack(`${curve.split('.').slice(0, 2).join('.')}.${Buffer.concat([bytes.subarray(0, 32), Buffer.from(twin, 'hex')]).toString('base64url')}`)), '401 jwt_used')
})

test('a proxy that hands over nothing, or is away', async () => {
  assert.equal(outcome(await visit({ ...navigation, Cookie: state })), '401 jwt_refused', 'not signed in')
  assert.equal(outcome(await comeBack('')), '401 jwt_refused', 'no Authorization')
  down = true
  const answer = await comeBack(jwt())
  down = false
  assert.equal(outcome(answer), '503 service_down')
})

test('off as it is shipped, and on a standby', async () => {
  const shipped = await apart('sso-off')
  for (const path of ['/signin/sso', '/oauth2/start', '/oauth2/']) assert.equal(outcome(await visit(navigation, { path, at: shipped })), '404 no_such_path', path)
  assert.equal(outcome(await send('GET', '/orgs', { url: shipped, token: jwt() })), '401 token_refused')
  const standby = await apart('sso-standby', on, ['map $host $walwarden_standby { default 0; }', 'map $host $walwarden_standby { default 1; }'])
  assert.equal(outcome(await visit({ ...navigation, Cookie: `${state}; __Host-oidc=${handedOut.push(jwt()) - 1}` }, { at: standby })), '503 standby')
  assert.equal(outcome(await send('GET', '/orgs', { url: standby, token: jwt() })), '503 standby')
})

// ---- programs of people

const unsigned = () => Buffer.alloc(0)
const pem = (by) => by.publicKey.export({ type: 'spki', format: 'pem' })
const hmac = (secret) => (text) => createHmac('sha256', secret).update(text).digest()
const flipped = (by) => (text) => { const bytes = sign('sha256', Buffer.from(text), { key: by.privateKey, dsaEncoding: 'ieee-p1363' }); bytes[0] ^= 1; return bytes }
// claims, how it is signed, outcome; the exchange has the same, but for what is accepted
const cases = {
  'RS256': [{}, {}, '200'],
  'ES256': [{}, { by: ec }, '200'],
  'several audiences': [{ aud: ['other', audience] }, {}, '200'],
  'a role claim': [{ role: 'postgres' }, {}, '200'],
  'the claim of the role key': [{ walwarden_none: 'postgres' }, {}, '503 service_down'],   // no role of the authenticator's
  'just within the leeway': [{ exp: now() + 3 }, {}, '200'],
  'algorithm none': [{}, { header: { alg: 'none' }, signature: unsigned }, '401 jwt_refused'],
  'algorithm none, in other letters': [{}, { header: { alg: 'nOnE' }, signature: unsigned }, '401 jwt_refused'],
  'no signature': [{}, { signature: unsigned }, '401 jwt_refused'],
  'HS256 with the public key': [{}, { header: { alg: 'HS256' }, signature: hmac(pem(rsa)) }, '401 jwt_refused'],
  'HS256 with the key set': [{}, { header: { alg: 'HS256' }, signature: (text) => hmac(readFileSync(jwks))(text) }, '401 jwt_refused'],
  'HS256 with nothing': [{}, { header: { alg: 'HS256' }, signature: hmac('') }, '401 jwt_refused'],
  'RS256 said of ES256': [{}, { by: ec, header: { alg: 'RS256' } }, '401 jwt_refused'],
  'another key of the same name': [{}, { by: foreign }, '401 jwt_refused'],
  'a key in the header': [{}, { by: foreign, header: { jwk: foreign.publicKey.export({ format: 'jwk' }) } }, '401 jwt_refused'],
  'a damaged signature': [{}, { signature: flipped(rsa) }, '401 jwt_refused'],
  'a damaged ES256 signature': [{}, { by: ec, signature: flipped(ec) }, '401 jwt_refused'],
  'expired': [{ exp: now() - 60 }, {}, '401 jwt_refused'],
  'not yet': [{ nbf: now() + 120 }, {}, '401 jwt_refused'],
  'no expiry': [{ exp: undefined }, {}, '401 claim_refused exp'],
  'another issuer': [{ iss: 'https://evil.example' }, {}, '401 claim_refused iss'],
  'no issuer': [{ iss: undefined }, {}, '401 claim_refused iss'],
  'another audience': [{ aud: 'other' }, {}, '401 claim_refused aud'],
  'no audience': [{ aud: undefined }, {}, '401 claim_refused aud'],
  'other audiences': [{ aud: ['other', 'walwarden2'] }, {}, '401 claim_refused aud'],
  'no subject': [{ sub: undefined }, {}, '401 claim_refused sub'],
  'an unknown subject': [{ sub: 'sso-nobody' }, {}, '401 not_a_member'],
  'a disabled member': [{ sub: 'sso-off' }, {}, '401 not_a_member'],
  'a member without single sign-on': [{ sub: 'sso-link' }, {}, '401 not_a_member']
}

for (const [name, [more, how, expected]] of Object.entries(cases)) {
  test(`a JWT: ${name}`, async () => {
    const make = () => jwt({ ...more, ...(more.exp > now() - 30 ? { exp: now() + 3 } : {}) }, how)
    const answer = await api(make())
    assert.equal(outcome(answer), expected, answer.text)
    if (answer.status === 401) assert.match(answer.headers['www-authenticate'], /^Bearer error="invalid_token"/)
    const exchanged = await comeBack(make())
    assert.equal(outcome(exchanged), expected === '200' ? '303' : expected, exchanged.text)
    assert.equal(sessionOf(exchanged) !== undefined, expected === '200')
  })
}

test('a person by a JWT is as a person by a session', async () => {
  const answer = await api(jwt())
  assert.deepEqual({ ...answer.json, expiresAt: '' }, { subject: 'sso-ann', method: 'jwt', expiresAt: '', orgs: [{ slug: 'sso', name: 'sso', plan: 'team', role: 'owner' }] })
  assert.ok(Math.abs(Date.parse(answer.json.expiresAt) / 1000 - now() - 300) < 20)
  assert.equal(answer.headers['access-control-allow-origin'], undefined)
  for (const [path, expected] of [['/orgs/sso', '200'], ['/orgs/sso/databases', '200'], ['/orgs/sso-b', '404 no_such_organisation'], ['/orgs/sso/profile', '404 no_such_path']]) assert.equal(outcome(await api(jwt(), { path })), expected, path)
  assert.equal((await send('HEAD', '/orgs', { url, token: jwt() })).status, 200)

  // a change needs no field of a browser, because nothing is added by itself
  for (const headers of [{}, { Origin: 'https://elsewhere.example', 'Sec-Fetch-Site': 'cross-site' }]) {
    const made = await api(jwt(), { method: 'POST', path: '/orgs/sso/tokens', headers, body: { name: 'by-jwt', visibility: 'shared' } })
    assert.equal(made.status, 201, made.text)
    const { payload } = sqlJson("SELECT e.body::json -> 'payload' AS payload FROM walwarden.list_audit('sso') AS e ORDER BY e.seq DESC LIMIT 1")[0]
    assert.deepEqual(payload.actor, { kind: 'member', memberId: sql("SELECT member_id FROM walwarden.list_members('sso') WHERE subject = 'sso-ann'") })
  }
  assert.equal(outcome(await api(jwt({ sub: 'sso-bob' }), { method: 'POST', path: '/orgs/sso/tokens', body: { name: 'x', visibility: 'shared' } })), '403 not_permitted')

  // a change of the member binds on the next request
  const bob = jwt({ sub: 'sso-bob' })
  assert.equal(outcome(await api(bob)), '200')
  sql("SELECT walwarden.disable_member('sso', 'sso-bob')")
  assert.equal(outcome(await api(bob)), '401 not_a_member')
  sql("SELECT walwarden.enable_member('sso', 'sso-bob')")
  assert.equal(outcome(await api(bob)), '200')
})

test('a JWT beside another credential, and on other paths', async () => {
  const session = sessionOf(await comeBack(jwt()))
  assert.equal((await api(jwt(), { session })).status, 401)
  assert.equal((await api(jwt(), { headers: { 'X-WallarmApi-Token': token } })).status, 401)
  assert.equal((await api(jwt(), { headers: { 'X-WallarmAPI-UUID': crypto.randomUUID() } })).status, 401)
  // elsewhere it is what it always was: no token
  for (const path of ['/databases', '/profile', '/orgsx', '/readiness']) assert.equal(outcome(await send('GET', path, { url, token: jwt() })), '401 token_refused', path)
  assert.equal(outcome(await send('DELETE', '/session', { url, token: jwt(), key: null })), '401 token_refused')
  // and here a token is none, and neither is anything else
  assert.equal(outcome(await api(token)), '403 person_path')
  for (const bearer of ['x', 'a.b', 'a.b.c.d', 'a..c', 'wal_a.b.c', `wal_${'0'.repeat(64)}`, token + 'x']) assert.equal(outcome(await api(bearer)), '401 token_refused', bearer)
  for (const bearer of ['a.b.c', 'a.b.', `${part('{"alg":"none"}')}.${part(claims())}.`, `${jwt()}x`]) assert.equal(outcome(await api(bearer)), '401 jwt_refused', bearer)
  for (const value of [`Basic ${part('a:b')}`, `Bearer ${jwt()} ${jwt()}`, `Bearer ${jwt()},`, jwt()]) assert.equal((await api(undefined, { headers: { Authorization: value } })).status, 401, value.slice(0, 20))
})

test('a long JWT fits', async () => {
  const long = (bytes) => jwt({ groups: Array.from({ length: bytes / 20 }, (_, i) => `group-${String(i).padStart(9, '0')}`) })
  for (const bytes of [4000, 9000]) {
    assert.ok(long(bytes).length > bytes)
    assert.equal(outcome(await comeBack(long(bytes))), '303', `${bytes}`)
    assert.equal(outcome(await api(long(bytes))), '200', `${bytes}`)
  }
  assert.equal(outcome(await api(long(20000))), '431 headers_too_large')
  assert.equal(outcome(await comeBack(long(20000))), '503 service_down')
})

test('the keys of the provider are replaced', async () => {
  const accepted = async (by) => outcome(await api(jwt({}, { by }))) === '200'
  const reload = async (keys, by, expected) => {
    publish(...keys)
    sql("NOTIFY pgrst, 'reload config'")
    for (let i = 0; i < 100 && await accepted(by) !== expected; i++) await sleep(100)
  }
  await reload([rsa], ec, false)
  assert.deepEqual([await accepted(rsa), await accepted(ec)], [true, false])
  const kept = jwt()
  assert.equal(outcome(await api(kept)), '200')
  await reload([rsa, ec], ec, true)
  assert.deepEqual([await accepted(rsa), await accepted(ec)], [true, true])
  await reload([ec], rsa, false)
  assert.deepEqual([await accepted(rsa), await accepted(ec)], [false, true])
  assert.equal(outcome(await api(kept)), '401 jwt_refused', 'nothing is remembered of one that was accepted')
  assert.equal(outcome(await comeBack(jwt())), '401 jwt_refused')
  await reload([rsa, ec], rsa, true)
})

test('settings that are missing, and e-mail addresses', async () => {
  sql("SELECT walwarden.add_member('sso', 'sso-ann@acme.example', 'owner'), walwarden.set_member_sso('sso', 'sso-ann@acme.example', true)")
  const session = sessionOf(await comeBack(jwt()))
  await set({ subject_claim: 'email' })
  for (const [more, expected] of [
    [{ email: 'SSO-Ann@Acme.example', email_verified: true }, '200'],
    [{ email: 'sso-ann@acme.example' }, '401 claim_refused email_verified'],
    [{ email: 'sso-ann@acme.example', email_verified: false }, '401 claim_refused email_verified'],
    [{ email: 'sso-ann@acme.example', email_verified: 'true' }, '401 claim_refused email_verified'],
    [{}, '401 claim_refused email']
  ]) {
    assert.equal(outcome(await api(jwt(more))), expected, JSON.stringify(more))
    assert.equal(outcome(await comeBack(jwt(more))), expected === '200' ? '303' : expected, JSON.stringify(more))
  }
  await set({ subject_claim: null, jwt_audience: '' })
  assert.equal(outcome(await api(jwt())), '401 jwt_not_accepted')
  assert.equal(outcome(await comeBack(jwt())), '401 jwt_not_accepted')
  assert.equal((await send('GET', '/orgs', { session })).status, 200, 'a session goes on')
  await set({ jwt_audience: audience })
  assert.equal(outcome(await api(jwt())), '200')
})

test('no log, no table and no WAL has a JWT', async () => {
  const bearer = jwt()
  const [, payload, signature] = bearer.split('.')
  const answer = await comeBack(bearer)
  const session = sessionOf(answer)
  assert.equal((await api(bearer)).status, 200)
  assert.equal((await api(bearer, { method: 'POST', path: '/orgs/sso/tokens', body: {} })).status, 400)
  assert.equal((await api(`${bearer}x`)).status, 401)
  sql('CHECKPOINT')
  const found = (bytes) => [payload, signature, session].some((text) => bytes.includes(text))
  for (const file of ['nginx.log', 'nginx-error.log', 'error.log', 'sso-error.log', 'postgrest.log']) assert.ok(!found(readFileSync(`${work}/rest/${file}`)), file)
  assert.ok(!found(readFileSync(`${work}/server.log`)), 'server.log')
  for (const file of readdirSync(`${work}/data/pg_wal`).filter((name) => /^[0-9A-F]{24}$/.test(name))) assert.ok(!found(readFileSync(`${work}/data/pg_wal/${file}`)), file)
  for (const { t } of sqlJson("SELECT c.oid::regclass::text AS t FROM pg_class AS c WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relkind = 'r'")) assert.ok(!found(Buffer.from(sql(`SELECT t::text FROM ${t} AS t`))), t)
})

test('the document has the two credentials', () => {
  assert.deepEqual(document.paths['/orgs'].get.security, [{ session: [] }, { jwt: [] }])
  assert.deepEqual(document.paths['/session'].delete.security, [{ session: [] }])
})
