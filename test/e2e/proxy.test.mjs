// What nginx adds to REST v1 at its edges: connections, lengths, its own refusals, limits,
// CORS, TLS, health and the log.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { test, before, after } from 'node:test'
import { gzipSync } from 'node:zlib'
import { allScopes, base, call, checkAnswer, createDatabase, createOrg, document, freePort, issue, logLine, send, sendRaw, sql } from './lib.mjs'
import { nginx, stopPrograms } from './programs.mjs'

const work = process.env.WORK
const shipped = readFileSync(`${work}/src/postgrest/nginx.conf`, 'utf8')
const root = { prefix: '' }
let token, database
before(async () => {
  createOrg('proxy')
  token = issue('proxy', allScopes)
  database = await createDatabase(token)
})
after(stopPrograms)

test('a refused request keeps its connection', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const send = (method, path, headers, body) => new Promise((resolve, reject) => {
    const request = http.request({ agent, method, host: base.hostname, port: base.port, path, headers: { Authorization: `Bearer ${token}`, ...headers } }, (response) => {
      response.resume().on('end', () => resolve({ status: response.statusCode, connection: response.headers.connection, port: request.socket.localPort }))
    })
    request.on('error', reject).end(body)
  })
  const json = { 'Content-Type': 'application/json', 'Idempotency-Key': 'k' }
  const refused = [
    [400, 'GET', '/api/v1/databases?x=1'],
    [400, 'GET', `/api/v1/databases?token=${token}`],
    [400, 'POST', '/api/v1/databases', json, '{'],
    [400, 'POST', '/api/v1/databases', { ...json, 'Transfer-Encoding': 'chunked' }, '{'],
    [400, 'POST', '/api/v1/databases', { 'Content-Type': 'application/json' }, '{}'],
    [400, 'GET', '/api/v1/profile', { 'Idempotency-Key': Buffer.from('é').toString('latin1') }],
    [400, 'GET', `/rest/x?token=${token}`],
    [401, 'GET', '/api/v1/profile', { Authorization: 'Bearer x' }],
    [403, 'GET', '/api/v1/databases', { Authorization: `Bearer ${issue('proxy')}` }],
    [404, 'GET', '/api/v1/no/such'],
    [404, 'GET', '/no/such'],
    [405, 'PUT', '/api/v1/databases'],
    [405, 'PUT', '/healthz'],
    [409, 'POST', `/api/v1/databases`, json, JSON.stringify({ name: database.name, connectionRef: 'primary' })],
    [415, 'POST', '/api/v1/databases', { 'Idempotency-Key': 'k' }, '{}']
  ]
  const { port } = await send('GET', '/api/v1/profile')
  for (const [status, ...request] of refused) {
    const answer = await send(...request)
    const what = `${status} ${request.join(' ')}`
    assert.equal(answer.status, status, what)
    assert.equal(answer.connection, 'keep-alive', what)
    assert.equal(answer.port, port, what)
  }
  agent.destroy()
})

test('each answer says how long it is', async () => {
  const lengthOf = async (method, path, options) => {
    const answer = await send(method, path, { token, ...options })
    assert.equal(answer.headers['transfer-encoding'], undefined, `${method} ${path}`)
    if (method !== 'HEAD') assert.equal(Number(answer.headers['content-length']), Buffer.byteLength(answer.text), `${method} ${path}`)
    return answer
  }
  for (const [template, methods] of Object.entries(document.paths)) {
    if (!methods.get) continue
    const path = template.replace('{databaseId}', database.id).replace(/\{\w+\}/, crypto.randomUUID())
    const { headers } = await lengthOf('GET', path)
    const head = await lengthOf('HEAD', path)
    if (path !== '/profile' && path !== '/readiness') assert.equal(head.headers['content-length'].length, headers['content-length'].length, path)
  }
  const key = crypto.randomUUID()
  const body = { name: 'Größe 数', connectionRef: 'primary' }
  const created = await lengthOf('POST', '/databases', { body, key })
  assert.equal(created.status, 201)
  assert.equal((await lengthOf('POST', '/databases', { body, key })).headers['idempotency-replayed'], 'true')
  const deleted = await lengthOf('DELETE', `/databases/${created.json.id}`)
  assert.equal(deleted.status, 204)
  assert.equal(deleted.headers['content-length'], '0')
  await lengthOf('POST', '/evidence/exports', { body: { backupJobIds: [] } })
  await lengthOf('GET', '/no/such')
  // to nginx too, which does not count
  const direct = await send('GET', '/rpc/v1_get', { prefix: '', socket: `${work}/rest/postgrest.sock`, headers: { 'X-Walwarden-Method': 'GET', 'X-Walwarden-Path': '/api/v1/profile', 'X-Walwarden-Token': token } })
  assert.equal(direct.status, 200)
  assert.equal(Number(direct.headers['content-length']), Buffer.byteLength(direct.text))
})

test('what nginx refuses has a reason, and a next action where there is one', async () => {
  const foreign = Buffer.from('é').toString('latin1')
  const cases = [
    ['token_in_url', `/api/v1/profile?access_token=${token}`],
    ['token_in_url', '/api/v1/profile?access_token=x'],
    ['token_in_url', '/api/v1/databases?limit=1&access_token=eyJ.x.y'],
    ['token_in_url', `/api/v1/databases/${token}`],
    ['token_in_url', `/api/v1/profile?t=${token.replace('wal_', '%77%61l%5F')}`],
    ['token_in_url', `/rest/x?t=eq.${token}`],
    ['foreign_bytes', '/api/v1/profile', { Authorization: `Bearer ${foreign}` }],
    ['foreign_bytes', '/api/v1/profile', { 'If-Match': foreign }],
    ['foreign_bytes', '/rest/x', { Prefer: foreign }]
  ]
  for (const [reason, path, headers] of cases) {
    const answer = await send('GET', path, { ...root, headers: { Authorization: `Bearer ${token}`, ...headers } })
    assert.equal(answer.status, 400, path)
    checkAnswer('GET', '/no/such', answer)
    assert.equal(answer.json.error.reason, reason, path)
    assert.ok(answer.json.error.nextAction, path)
    assert.ok(!answer.text.includes(token.slice(4)), path)
    assert.ok(!(await logLine(answer)).includes(token.slice(4)), path)
  }
  // a column of a table may have this name
  assert.notEqual((await send('GET', '/rest/x?access_token=eq.x', root)).status, 400)
  for (const [reason, bytes] of [['malformed_request', 'GARBAGE\r\n\r\n'], ['uri_too_long', `GET /${'x'.repeat(17000)} HTTP/1.1\r\n\r\n`], ['headers_too_large', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(17000)}\r\n\r\n`],
    ['body_too_large', 'POST /api/v1/databases HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n'],
    ['body_too_large', 'POST /rest/none HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n'],
    ['malformed_request', 'POST /api/v1/databases HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
    ['malformed_request', 'POST /rest/none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n']]) {
    assert.equal((await sendRaw(bytes)).json?.error.reason, reason, bytes.slice(0, 40))
  }
})

test('a compressed body is 415, after the checks that come before', async () => {
  const body = gzipSync(JSON.stringify({ name: crypto.randomUUID(), connectionRef: 'primary' }))
  const headers = { 'Content-Encoding': 'gzip' }
  const answer = await call('POST', '/databases', { token, headers, body })
  assert.equal(answer.status, 415)
  assert.equal(answer.json.error.field, 'Content-Encoding')
  assert.equal(answer.json.error.reason, 'encoded_body')
  assert.ok(answer.json.error.nextAction)
  assert.equal((await call('POST', '/databases', { headers, body })).status, 401)
  assert.equal((await call('POST', '/databases', { token: issue('proxy'), headers, body })).status, 403)
  assert.equal((await call('POST', '/leaks', { headers, body, key: null })).status, 415)
  assert.equal((await call('POST', '/databases', { token, headers: { 'Content-Encoding': 'Identity' }, body: { name: crypto.randomUUID(), connectionRef: 'primary' } })).status, 201)
})

test('health needs no token, and says nothing but whether the database answers', async () => {
  const sound = async (method, options) => {
    const answer = await send(method, '/healthz', { ...root, ...options })
    assert.equal(answer.status, 200)
    assert.equal(answer.text, '')
    assert.equal(answer.headers['content-length'], '0')
    for (const name of ['www-authenticate', 'ratelimit']) assert.equal(answer.headers[name], undefined)
    return answer
  }
  await sound('GET')
  await sound('HEAD')
  await sound('GET', { token: 'wal_x', headers: { 'X-Walwarden-Path': '/api/v1/profile', 'Idempotency-Key': 'x' }, body: 'x' })
  assert.equal((await send('GET', '/healthz?x=1', root)).status, 200)
  const refused = await send('POST', '/healthz', root)
  assert.equal(refused.status, 405)
  assert.equal(refused.headers.allow, 'GET, HEAD')
  // a token and its use have nothing to do with it
  const uses = () => sql("SELECT sum(count) FROM walwarden.stat_auth")
  const before = uses()
  await sound('GET')
  assert.equal(uses(), before)

  const away = async (url, path = '/healthz') => {
    const answer = await send('GET', path, { url, ...root })
    assert.equal(answer.status, 503)
    assert.deepEqual({ ...answer.json.error, requestId: '' }, { code: 'unavailable', message: 'the service is not available', reason: 'service_down', requestId: '' })
    assert.equal(answer.headers['retry-after'], '1')
  }
  const unhealthy = await nginx('unhealthy', ['/postgrest.sock', '/gone.sock'])
  await away(unhealthy)
  await away(unhealthy, '/rest/none')
  sql('REVOKE EXECUTE ON FUNCTION walwarden_rest.v1_get() FROM web_anon')
  try {
    await away(base)
  } finally {
    sql('GRANT EXECUTE ON FUNCTION walwarden_rest.v1_get() TO web_anon')
  }
  await sound('GET')
})

test('CORS is off until an origin is named, and then complete', async () => {
  const named = 'https://app.example.com'
  const preflight = { Origin: named, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization, idempotency-key' }
  const allowed = (answer) => Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))
  for (const headers of [{ Origin: named }, preflight]) {
    for (const method of ['GET', 'OPTIONS']) assert.deepEqual(allowed(await send(method, '/profile', { token, headers })), [])
  }
  assert.equal((await send('OPTIONS', '/profile', { headers: preflight })).status, 401)

  const url = await nginx('origins', [`# "${named}" $http_origin;`, `"${named}" $http_origin;`], ['rate=100000r/s', 'rate=1r/s'], ['burst=100 ', 'burst=9 '])
  const answered = await send('OPTIONS', '/databases', { url, headers: preflight })
  assert.equal(answered.status, 204)
  assert.equal(answered.headers['access-control-allow-origin'], named)
  assert.match(answered.headers['access-control-max-age'], /^\d+$/)
  assert.equal(answered.headers.vary, 'Origin')
  const list = (answer, name) => answer.headers[name].toLowerCase().split(', ')
  const methods = new Set(Object.values(document.paths).flatMap((path) => Object.keys(path)))
  for (const method of [...methods, 'head']) assert.ok(list(answered, 'access-control-allow-methods').includes(method), method)
  const parameters = Object.values(document.components.parameters).filter((parameter) => parameter.in === 'header').map((parameter) => parameter.name)
  for (const name of ['Authorization', 'Content-Type', 'X-WallarmApi-Token', ...parameters]) assert.ok(list(answered, 'access-control-allow-headers').includes(name.toLowerCase()), name)

  // the others are the browser's own, and no page can read them
  const exposed = Object.keys(document.components.headers).filter((name) => !/^(Access-Control-.*|Vary|Set-Cookie|Clear-Site-Data)$/.test(name))
  const answers = [
    await send('GET', '/profile', { url, token, headers: { Origin: named } }),
    await send('GET', '/openapi.json', { url, headers: { Origin: named } }),
    await send('GET', '/profile', { url, headers: { Origin: named } }),
    await send('PUT', '/profile', { url, token, headers: { Origin: named } }),
    await send('GET', '/databases?x=1', { url, token, headers: { Origin: named } }),
    await send('GET', `/databases?access_token=${token}`, { url, token, headers: { Origin: named } })
  ]
  answers.push(...await Promise.all(Array.from({ length: 30 }, () => send('GET', '/profile', { url, token, headers: { Origin: named } }))))
  assert.deepEqual([...new Set(answers.map((answer) => answer.status))].sort(), [200, 400, 401, 405, 429])
  for (const answer of answers) {
    assert.equal(answer.headers['access-control-allow-origin'], named, answer.status)
    for (const name of exposed) assert.ok(list(answer, 'access-control-expose-headers').includes(name.toLowerCase()), name)
    assert.equal(answer.headers['access-control-allow-credentials'], undefined)
    assert.match(answer.headers.vary, /Origin/)
  }
  const strange = await nginx('strange', [`# "${named}" $http_origin;`, `"${named}" $http_origin;`])
  for (const Origin of ['https://evil.example', 'null', `${named}.evil.example`, `${named}:444`, 'http://app.example.com']) {
    assert.deepEqual(allowed(await send('GET', '/profile', { url: strange, token, headers: { Origin } })), [], Origin)
    const answer = await send('OPTIONS', '/profile', { url: strange, headers: { ...preflight, Origin } })
    assert.equal(answer.status, 401)
    assert.deepEqual(allowed(answer), [], Origin)
  }
  assert.equal((await send('OPTIONS', '/databases', { url: strange, token, headers: { Origin: named } })).status, 405, 'no preflight')
  // people come from our own pages alone
  for (const path of ['/orgs', '/orgs/x/databases', '/session']) {
    const answer = await send('OPTIONS', path, { url: strange, headers: preflight })
    assert.equal(answer.status, 401, path)
    assert.deepEqual(allowed(answer), [], path)
    assert.deepEqual(allowed(await send('GET', path, { url: strange, headers: { Origin: named } })), [], path)
  }
})

test('TLS and HTTP/2 work once their lines are no comments any more', async () => {
  const port = await freePort()
  const [key, certificate] = [`${work}/rest/tls.key`, `${work}/rest/tls.crt`]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', certificate], { stdio: 'ignore' })
  const lines = shipped.match(/^ +#(listen|ssl_).*;$/gm)
  assert.ok(lines.length >= 6, lines)
  await nginx('tls', [/^( +)#(listen|ssl_)/gm, '$1$2'], ['listen 443', `listen 127.0.0.1:${port}`], [/^ +listen \[::\].*\n/gm, ''],
    ['/etc/walwarden/tls.key', key], ['/etc/walwarden/tls.crt', certificate])
  const curl = (...args) => execFileSync('curl', ['-s', '--cacert', certificate, '-w', '\n%{http_version} %{http_code} %{ssl_verify_result}', ...args], { encoding: 'utf8' })
  const url = `https://localhost:${port}/api/v1`
  const bearer = ['-H', `Authorization: Bearer ${token}`]
  const [body, result] = curl('--http2', ...bearer, `${url}/profile`).split('\n')
  assert.equal(result, '2 200 0')
  assert.equal(JSON.parse(body).org.slug, 'proxy')
  assert.match(curl('--http1.1', ...bearer, `${url}/profile`), /\n1\.1 200 0$/)
  assert.match(curl('--http2', '-I', ...bearer, `${url}/profile`), /^x-request-id: [0-9a-f]{32}\r$/m)
  assert.match(curl('--http2', `${url}/profile`), /"unauthorized".*\n2 401 0$/)
  assert.match(curl('--http2', ...bearer, '-H', 'Content-Type: application/json', '-H', 'Idempotency-Key: tls', '-d', JSON.stringify({ name: 'over TLS', connectionRef: 'primary' }), `${url}/databases`), /"over TLS".*\n2 201 0$/)
  assert.match(curl('--http2', ...bearer, `${url}/databases?x=1`), /"unknown_parameter".*\n2 400 0$/)
  assert.match(curl('--http2', `https://localhost:${port}/healthz`), /\n2 200 0$/)
  assert.match(curl('--http2', `https://localhost:${port}/rest/none`), /"code":"42P01".*\n2 404 0$/)
  assert.throws(() => curl('--tls-max', '1.1', `${url}/profile`))
  // who forgets the s is told so in the right form
  const plain = await send('GET', '/profile', { url: new URL(`http://127.0.0.1:${port}/api/v1`) })
  assert.equal(plain.status, 400)
  checkAnswer('GET', '/no/such', plain)
})

test('the limits are by address and by token', async () => {
  const policy = '"requests";q=50;w=1'
  const refusals = (answers) => answers.filter((answer) => answer.status === 429)
  const ask = (url, headers, n = 20) => Promise.all(Array.from({ length: n }, () => send('GET', '/profile', { url, headers })))
  const check = (answers) => {
    for (const answer of answers) {
      checkAnswer('GET', '/profile', answer)
      assert.equal(answer.json.error.reason, 'rate_limited')
      assert.ok(answer.json.error.nextAction)
      assert.equal(answer.headers['retry-after'], '1')
      assert.equal(answer.headers['ratelimit-policy'], policy)
      assert.equal(answer.headers.ratelimit, undefined)
    }
  }
  // one token is limited, however it is sent, and others are not
  const byToken = await nginx('by-token', ['walwarden_tokens:10m rate=100000r/s', 'walwarden_tokens:10m rate=1r/m'], ['walwarden_tokens burst=100', 'walwarden_tokens burst=5'])
  const answers = await ask(byToken, { Authorization: `Bearer ${token}` })
  assert.equal(refusals(answers).length, 14)
  check(refusals(answers))
  for (const headers of [{ Authorization: `bearer  ${token}` }, { 'X-WallarmApi-Token': token }]) {
    assert.equal(refusals(await ask(byToken, headers, 3)).length, 3, Object.keys(headers)[0])
  }
  assert.equal((await send('POST', '/databases', { url: byToken, token, body: {} })).status, 429)
  assert.equal((await send('GET', '/rest/none', { url: byToken, ...root, token })).status, 429)
  assert.equal((await send('GET', '/profile', { url: byToken, token: issue('proxy') })).status, 200)
  assert.equal(refusals(await ask(byToken, {})).length, 0, 'no token')
  assert.equal(refusals(await ask(byToken, { Authorization: 'Basic eDp5' })).length, 0, 'nothing that is a token')
  const pair = { 'X-WallarmAPI-UUID': crypto.randomUUID(), 'X-WallarmAPI-Secret': 'x'.repeat(32) }
  assert.equal(refusals(await ask(byToken, pair)).length, 14)
  // an address is limited, whatever tokens it has
  const byAddress = await nginx('by-address', ['walwarden_requests:10m rate=100000r/s', 'walwarden_requests:10m rate=1r/m'], ['walwarden_requests burst=100', 'walwarden_requests burst=5'])
  const mixed = await Promise.all(Array.from({ length: 20 }, (_, i) => send('GET', '/profile', { url: byAddress, token: 'wal_' + i.toString(16).padStart(64, '0') })))
  assert.equal(refusals(mixed).length, 14)
  check(refusals(mixed))
  assert.equal((await send('GET', '/healthz', { url: byAddress, ...root })).status, 429)
  const leaks = await send('POST', '/leaks', { url: byAddress, body: {} })
  assert.equal(leaks.headers['ratelimit-policy'], `${policy}, "leaks";q=1;w=1`)
  assert.equal((await send('GET', '/profile', { token })).headers['ratelimit-policy'], undefined)
  // they are those of the zones
  const rates = Object.fromEntries([...shipped.matchAll(/zone=walwarden_(\w+):\S+ rate=(\d+)r\/s/g)].map(([, zone, rate]) => [zone, rate]))
  assert.deepEqual(rates, { requests: '50', tokens: '50', leaks: '1' })
})

test('no limit, log or refusal has a token', async () => {
  for (const name of ['by-token', 'by-address', 'origins', 'tls']) assert.equal(readFileSync(`${work}/rest/${name}-error.log`, 'utf8').match(/wal_[0-9a-f]/), null, name)
  assert.ok(!readFileSync(`${work}/rest/nginx.log`, 'utf8').includes(token.slice(4)))
})

test('a trace is logged', async () => {
  const trace = `00-${'a1'.repeat(16)}-${'b2'.repeat(8)}-01`
  const logged = async (headers) => (await logLine(await send('GET', '/profile', { token, headers }))).split(' ').at(-2)
  assert.equal(await logged({ traceparent: trace }), trace)
  assert.equal(await logged({}), '-')
  for (const other of ['x', `${trace}x`, token, `00-${token.slice(4)}-${'b2'.repeat(8)}-01`, trace.toUpperCase()]) assert.equal(await logged({ traceparent: other }), '-', other)
})

test('nginx hands on what the router says of conditions', async () => {
  // a router that says so, in place of ours
  const seen = []
  const router = http.createServer((request, response) => {
    seen.push(request.headers)
    const said = request.headers['x-walwarden-query']
    if (said === '304') response.writeHead(304, { ETag: '"1"', 'Cache-Control': 'private, no-cache', 'X-Walwarden-Token-Id': crypto.randomUUID() }).end()
    else if (said === '412') response.writeHead(412, { 'X-Walwarden-Error': '{"error":{"code":"precondition_failed"}}' }).end('{}')
    else response.writeHead(200, { ETag: '"1"', 'Cache-Control': 'public, max-age=60', 'Content-Length': 2 }).end('{}')
  })
  const socket = `${work}/rest/router.sock`
  await new Promise((resolve) => router.listen(socket, resolve))
  try {
    const url = await nginx('conditions', ['/postgrest.sock', '/router.sock'])
    const fresh = await send('GET', '/databases?304', { url, token, headers: { 'If-None-Match': '"1"' } })
    assert.equal(fresh.status, 304)
    assert.equal(fresh.text, '')
    assert.equal(fresh.headers.etag, '"1"')
    assert.equal(fresh.headers['cache-control'], 'private, no-cache')
    assert.equal(fresh.headers['x-walwarden-token-id'], undefined)
    assert.equal(seen.at(-1)['if-none-match'], '"1"')
    const failed = await send('PATCH', '/databases?412', { url, token, headers: { 'If-Match': '"2"' }, body: {} })
    assert.equal(failed.status, 412)
    assert.deepEqual(failed.json, { error: { code: 'precondition_failed' } })
    assert.equal(failed.headers['cache-control'], 'no-store')
    assert.equal(seen.at(-1)['if-match'], '"2"')
    // the decision is the router's alone
    const whole = await send('GET', '/databases', { url, token, headers: { 'If-None-Match': '"1"' } })
    assert.equal(whole.status, 200)
    assert.equal(whole.headers['cache-control'], 'public, max-age=60')
  } finally {
    router.close()
    router.closeAllConnections()
  }
})
