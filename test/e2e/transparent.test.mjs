// Under /rest/ clients get what PostgREST answers: each request goes to PostgREST's own
// socket, and through nginx, and the two answers are compared field by field.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'
import { test, before, after } from 'node:test'
import { createOrg, issue, send, sql } from './lib.mjs'
import { postgrest, stopPrograms } from './programs.mjs'

const socket = `${process.env.WORK}/rest/open.sock`
let url, token

before(async () => {
  createOrg('open')
  token = issue('open')
  sql(`CREATE SCHEMA open; CREATE SCHEMA "open too"; GRANT USAGE ON SCHEMA open, "open too" TO web_anon;
    CREATE TABLE open.items (id integer PRIMARY KEY, name text);
    CREATE TABLE open."two words" (a integer, "b c" text, PRIMARY KEY (a, "b c"));
    CREATE TABLE open.keyless (name text);
    CREATE TABLE "open too".items (id integer PRIMARY KEY, size integer);
    GRANT ALL ON ALL TABLES IN SCHEMA open, "open too" TO web_anon;
    CREATE FUNCTION open.raise(status integer) RETURNS void LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'as the application says' USING ERRCODE = 'PT' || status, DETAIL = 'why', HINT = 'what now'; END $$;
    CREATE FUNCTION open.fail(state text) RETURNS void LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION USING ERRCODE = state, MESSAGE = 'as the application says'; END $$;
    CREATE FUNCTION open.answer(status integer, headers json) RETURNS json LANGUAGE sql AS $$
      SELECT set_config('response.status', status::text, true), set_config('response.headers', headers::text, true); SELECT '{"a": 1}'::json $$;
    CREATE FUNCTION open.nothing() RETURNS void LANGUAGE sql AS '';
    CREATE FUNCTION open.request() RETURNS json LANGUAGE sql AS $$
      SELECT json_build_object('headers', current_setting('request.headers')::json, 'cookies', current_setting('request.cookies')::json,
                               'method', current_setting('request.method'), 'path', current_setting('request.path'), 'search_path', current_setting('search_path')) $$;`)
  url = await postgrest('open', { changes: [['db-schemas = "walwarden_rest"', 'db-schemas = "open, open too, walwarden_rest"']] })
  reset()
})
after(stopPrograms)

function reset () {
  sql(`TRUNCATE open.items, open."two words", open.keyless, "open too".items;
    INSERT INTO open.items SELECT i, 'item ' || i FROM generate_series(1, 5) AS i; INSERT INTO "open too".items VALUES (1, 7);
    INSERT INTO open."two words" VALUES (1, 'x y')`)
}

// Of two fields of one name nginx keeps the last one, and from 1.23 on the first.
const [, major, minor] = /nginx\/(\d+)\.(\d+)/.exec(spawnSync(process.env.NGINX_BIN, ['-v']).stderr)
const kept = (raw, name) => raw.filter((_, i) => i % 2 === 1 && raw[i - 1].toLowerCase() === name).at(major > 1 || minor >= 23 ? 0 : -1)

// What nginx makes of the fields of an answer, and why.
const made = {
  date: (at) => at, // of another moment: compared as being there
  server: () => 'nginx', // not what is behind it, and not its version
  connection: () => 'keep-alive', // each of the two connections has its own
  'keep-alive': () => undefined,
  'content-type': (_, raw) => kept(raw, 'content-type'), // PostgREST 12 sends two with an error about a single object
  location: (place) => place?.replace(/^(\/[^/?]+\?[^=]+=eq\.)/, '/rest$1'), // where the row is, for clients
  'content-location': (place) => place?.replace(/^\//, '/rest/'),
  'cache-control': (said) => said ?? 'no-store', // where nothing is said, an answer is not to be kept
  'x-content-type-options': (said) => said ?? 'nosniff',
  'x-walwarden-token-id': () => undefined, // for the access log
  'x-accel-redirect': () => undefined // would be for nginx, which does not follow it
}
const added = 'x-request-id' // by which the log of nginx has the request

async function compare (method, path, options = {}) {
  const both = { url, key: null, ...options }
  const changes = !['GET', 'HEAD', 'OPTIONS'].includes(method) && !path.startsWith('/rpc/')
  const own = await send(method, path, { ...both, prefix: '', socket })
  if (changes) reset()
  const through = await send(method, path, { ...both, prefix: '/rest' })
  if (changes) reset()
  const what = `${method} ${path} ${JSON.stringify(options)}`
  const expected = Object.fromEntries(Object.entries({ ...Object.fromEntries(Object.keys(made).map((name) => [name, undefined])), ...own.headers })
    .map(([name, value]) => [name, name in made ? made[name](value, own.rawHeaders) : value]).filter(([, value]) => value !== undefined))
  const { [added]: id, ...headers } = through.headers
  assert.match(id, /^[0-9a-f]{32}$/, what)
  assert.ok(own.headers.date && headers.date, what)
  expected.date = headers.date
  assert.equal(through.status, own.status, what)
  assert.deepEqual(headers, expected, what)
  assert.equal(through.text, own.text, what)
  return through
}

const json = { 'Content-Type': 'application/json' }
const requests = [
  ['GET', '/items'],
  ['HEAD', '/items'],
  ['GET', '/items?select=id&id=gt.2&order=id.desc'],
  ['GET', '/items?id=eq.9'],
  ['GET', '/two%20words?select=a,%22b%20c%22&%22b%20c%22=eq.x%20y'],
  ['GET', '/items', { headers: { Prefer: 'count=exact' } }],
  ['HEAD', '/items', { headers: { Prefer: 'count=exact' } }],
  ['GET', '/items?limit=2', { headers: { Prefer: 'count=exact' } }],
  ['GET', '/items', { headers: { Range: '1-2', 'Range-Unit': 'items', Prefer: 'count=exact' } }],
  ['GET', '/items', { headers: { Range: '90-91', Prefer: 'count=exact' } }],
  ['GET', '/items', { headers: { Range: 'bytes=0-1' } }],
  ['GET', '/items', { headers: { Accept: 'text/csv' } }],
  ['GET', '/items?id=eq.1', { headers: { Accept: 'application/vnd.pgrst.object+json' } }],
  ['GET', '/items', { headers: { Accept: 'application/vnd.pgrst.object+json' } }],
  ['GET', '/items', { headers: { Accept: 'image/png' } }],
  ['GET', '/items', { headers: { 'Accept-Profile': 'open too' } }],
  ['GET', '/items', { headers: { 'Accept-Profile': 'pg_catalog' } }],
  ['GET', '/items', { headers: { Origin: 'https://app.example' } }],
  ['GET', '/none', { headers: { Origin: 'https://app.example' } }],
  ['GET', '/items?none=eq.1'],
  ['GET', '/items?id=x'],
  ['GET', '/'],
  ['POST', '/items', { headers: json, body: { id: 7, name: 'seven' } }],
  ['POST', '/items', { headers: { ...json, Prefer: 'return=headers-only' }, body: { id: 7 } }],
  ['POST', '/items', { headers: { ...json, Prefer: 'return=representation' }, body: { id: 7 } }],
  ['POST', '/items', { headers: { ...json, Prefer: ['return=representation', 'resolution=merge-duplicates', 'missing=default'] }, body: [{ id: 1, name: 'new' }] }],
  ['POST', '/two%20words', { headers: { ...json, Prefer: 'return=headers-only' }, body: { a: 7, 'b c': 'd=eq.e' } }],
  ['POST', '/keyless', { headers: { ...json, Prefer: 'return=headers-only' }, body: { name: 'x' } }],
  ['POST', '/items', { headers: { ...json, 'Content-Profile': 'open too', Prefer: 'return=representation' }, body: { id: 2, size: 1 } }],
  ['POST', '/items', { headers: { 'Content-Type': 'text/csv', Prefer: 'return=representation' }, body: 'id,name\n8,eight\n' }],
  ['POST', '/items', { headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'id=8' }],
  ['POST', '/items', { headers: json, body: '{"id":' }],
  ['POST', '/items', { headers: json, body: { id: 1 } }],
  ['POST', '/items', { headers: { 'Content-Type': 'image/png' }, body: 'x' }],
  ['PATCH', '/items?id=eq.1', { headers: { ...json, Prefer: 'return=representation, count=exact' }, body: { name: 'x' } }],
  ['PATCH', '/items?id=eq.9', { headers: json, body: { name: 'x' } }],
  ['PUT', '/items?id=eq.9', { headers: json, body: { id: 9, name: 'x' } }],
  ['DELETE', '/items?id=eq.1', { headers: { Prefer: 'return=representation' } }],
  ['DELETE', '/items?id=eq.1'],
  ['OPTIONS', '/items', { headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'PATCH', 'Access-Control-Request-Headers': 'authorization, prefer' } }],
  ['OPTIONS', '/items'],
  ['POST', '/rpc/nothing', { headers: json, body: {} }],
  ['PROPFIND', '/items']
]

for (const [method, path, options] of requests) {
  test(`${method} ${path} ${JSON.stringify(options?.headers ?? {})}`, async () => {
    await compare(method, path, options)
    await compare(method, path, { ...options, headers: { ...options?.headers, 'X-WallarmApi-Token': token } })
  })
}

test('the fields that this is about are there', async () => {
  const counted = await compare('GET', '/items?limit=2', { headers: { Prefer: 'count=exact' } })
  assert.equal(counted.status, 206)
  assert.equal(counted.headers['content-range'], '0-1/5')
  assert.equal(counted.headers['preference-applied'], 'count=exact')
  assert.equal(counted.headers['content-location'], '/rest/items?limit=2')
  const created = await compare('POST', '/items', { headers: { ...json, Prefer: 'return=headers-only' }, body: { id: 7, name: 'seven' } })
  assert.equal(created.headers.location, '/rest/items?id=eq.7')
  assert.deepEqual((await send('GET', created.headers.location.replace('7', '5'), { url, prefix: '' })).json, [{ id: 5, name: 'item 5' }])
  assert.equal((await compare('GET', '/items', { headers: { 'Accept-Profile': 'open too' } })).headers['content-profile'], 'open too')
  const preflight = await compare('OPTIONS', '/items', { headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'PATCH' } })
  assert.equal(preflight.status, 200)
  assert.equal(preflight.headers['access-control-allow-origin'], '*')
})

// 1xx is no answer; and nginx closes a connection without an answer for 444
const statuses = [...new Set([...Object.keys(STATUS_CODES).map(Number).filter((status) => status >= 200), 402, 419, 460, 499, 520, 599])]
test('each status that an application raises', async () => {
  for (const status of statuses) {
    for (const headers of [{}, { 'X-WallarmApi-Token': token }]) {
      const answer = await compare('POST', '/rpc/raise', { headers: { ...json, ...headers }, body: { status } })
      assert.equal(answer.status, status)
    }
  }
})

test('each status that an application sets, with its fields', async () => {
  const fields = [{ 'Cache-Control': 'max-age=60' }, { ETag: '"1"' }, { Vary: 'Accept' }, { 'X-Content-Type-Options': 'other' }, { 'Set-Cookie': 'a=1' }, { 'Retry-After': '7' },
    { 'WWW-Authenticate': 'Basic' }, { Allow: 'GET' }, { RateLimit: '"x";r=1;t=1' }, { 'X-Own': 'x' }, { 'X-Accel-Redirect': '/_walwarden/404' }, { Link: '</x>' }, { Expires: '0' }, { 'Access-Control-Allow-Credentials': 'true' }]
  for (const status of statuses) {
    for (const location of ['/elsewhere', 'https://app.example/x?id=eq.1', '/rest/items?id=eq.1', '//app.example/items?id=eq.1', '/a/b?id=eq.1']) {
      if (location !== '/elsewhere' && status !== 303) continue
      const answer = await compare('POST', '/rpc/answer', { headers: json, body: { status, headers: [...fields, { Location: location }] } })
      assert.equal(answer.status, status)
      assert.equal(answer.headers.location, location)
      assert.equal(answer.headers['cache-control'], 'max-age=60')
    }
  }
})

test('each status that PostgREST makes of an SQLSTATE', async () => {
  for (const state of ['08006', '0L000', '22023', '23503', '23505', '25006', '28000', '42501', '42883', '42P01', '53300', '54000', '55P03', '57014', 'P0001', 'XX000']) {
    await compare('POST', '/rpc/fail', { headers: json, body: { state } })
  }
})

test('each field of a request arrives', async () => {
  const fields = {
    Accept: 'application/json;q=0.9', 'Accept-Language': 'de', 'Accept-Encoding': 'gzip', 'Accept-Profile': 'open', Host: 'api.example:8443', 'User-Agent': 'tests', Referer: 'https://app.example/x', Origin: 'https://app.example',
    Prefer: 'count=exact', Range: '0-9', 'Range-Unit': 'items', 'X-Client-Info': 'supabase-js/2', apikey: 'x', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, tracestate: 'a=b',
    'If-None-Match': '"1"', 'If-Modified-Since': 'Sun, 29 Nov 2026 00:00:00 GMT', 'If-Match': '"1"', 'X-Forwarded-For': '192.0.2.1', 'X-Own': 'Größe in UTF-8'.replace(/[^ -~]/g, (c) => Buffer.from(c).toString('latin1')), Cookie: 'a=1; b=2', Authorization: 'Basic eDp5'
  }
  for (const method of ['GET', 'POST']) {
    const options = { url, key: null, headers: method === 'POST' ? { ...fields, ...json } : fields, body: method === 'POST' ? {} : undefined }
    const own = await send(method, '/rpc/request', { ...options, prefix: '', socket })
    const through = await send(method, '/rpc/request', { ...options, prefix: '/rest' })
    assert.equal(own.status, 200, own.text)
    const { connection, ...sent } = own.json.headers
    const { 'x-request-id': id, 'x-walwarden-client': client, ...arrived } = through.json.headers
    assert.equal(id, through.headers['x-request-id'])
    assert.equal(client, '127.0.0.1')
    assert.deepEqual({ ...through.json, headers: arrived }, { ...own.json, headers: sent })
    assert.ok(Object.keys(fields).every((name) => ['authorization', 'cookie'].includes(name.toLowerCase()) || name.toLowerCase() in arrived), JSON.stringify(arrived))
    assert.deepEqual(arrived['accept-language'], 'de')
    assert.equal(through.json.search_path, '"open", "walwarden_rest"')
  }
  // what nginx tells the router is not for clients to say
  const names = new Set([...readFileSync(`${process.env.WORK}/src/postgrest/nginx.conf`, 'utf8').matchAll(/proxy_set_header (X-Walwarden-[A-Za-z-]+)/g)].map(([, name]) => name))
  for (const name of ['X-Walwarden-Token', 'X-Walwarden-Session', 'X-Walwarden-Own-Origin']) assert.ok(names.has(name))
  const lies = Object.fromEntries([...names].map((name) => [name, 'x']))
  const told = await send('GET', '/rpc/request', { url, prefix: '/rest', headers: lies })
  assert.deepEqual(Object.keys(told.json.headers).filter((name) => name.startsWith('x-walwarden')), ['x-walwarden-client'])
  assert.equal(told.json.headers['x-walwarden-client'], '127.0.0.1')
})
