// People over HTTP as an attacker sees it: bad bodies of every operation, cookies, paths,
// header fields that are nginx's to set, what belongs to others, and rights that are lost
// meanwhile. What there is to try comes from the document and the table of operations.
import assert from 'node:assert/strict'
import { test, before, after } from 'node:test'
import { allScopes, call, checkAnswer, createDatabase, createOrg, document, issue, lockOrganisation, send, sendRaw, signIn, sleep, sql, sqlJson } from './lib.mjs'

const session = {}
const id = {}
let token
before(async () => {
  createOrg('pin')
  createOrg('pin-b')
  for (const [org, subject, role] of [['pin', 'pin-ann', 'owner'], ['pin', 'pin-joe', 'admin'], ['pin', 'pin-bob', 'member'], ['pin-b', 'pin-joe', 'owner'], ['pin-b', 'pin-zoe', 'owner']]) {
    id[`${org} ${subject}`] = sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}')`)
  }
  for (const who of ['ann', 'joe', 'bob', 'zoe']) session[who] = await signIn(`pin-${who}`)
  id.token = sql("SELECT token_id FROM walwarden.issue_token('pin', 'managed')")
  id.foreign = sql("SELECT token_id FROM walwarden.issue_token('pin-b', 'managed')")
  token = issue('pin', allScopes)
})
const entries = () => sql('SELECT count(*) FROM walwarden_internal.audit_entry')
const plain = ({ status, text, headers }) => JSON.stringify({ status, text: text.replaceAll(headers['x-request-id'], ''), headers: { ...headers, date: '', 'x-request-id': '' } })
const error = (answer) => [answer.status, answer.json?.error.reason]

// Every change that a person can ask for, where they find it.
const changes = Object.entries(document.paths).flatMap(([template, methods]) => Object.entries(methods)
  .filter(([method, operation]) => method !== 'get' && (template === '/session' || operation.security.some((way) => 'session' in way)))
  .map(([method, operation]) => ({
    name: operation.operationId,
    method: method.toUpperCase(),
    template,
    example: operation.requestBody?.content['application/json'].example ?? {},
    schema: operation.requestBody?.content['application/json'].schema
  })))
const resolved = (schema) => schema?.$ref ? resolved(document.components.schemas[schema.$ref.split('/').at(-1)]) : schema ?? {}
const pathOf = ({ template }) => (template.startsWith('/orgs/') || template === '/session' ? template : `/orgs/{org}${template}`).replace('{org}', 'pin').replace('{tokenId}', id.token).replace(/\{\w+\}/, crypto.randomUUID())
const ask = (change, body, more) => call(change.method, pathOf(change), { session: change.name === 'createSession' ? undefined : session.ann, key: change.template === '/session' ? null : undefined, body, ...more })

const bytes = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)))
const bodies = [
  '{"x":', 'hello', '{} {}', '[]', 'null', '"x"', '1', 'true', '{"":1,"":2}', '{"":1}', '{"x":1,"x":2}', '{"\\u0078":1,"x":2}', '{"__proto__":{}}', '{"constructor":1}',
  '['.repeat(3000) + ']'.repeat(3000), '['.repeat(60000), '{"a":'.repeat(5000) + '1' + '}'.repeat(5000), '{"x":1e400}', '{"x":' + '9'.repeat(5000) + '}', '{"x":-0}', '{"x":NaN}', '{"x":01}',
  '{"x":"a\\u0000b"}', '{"x":"\\ud800"}', '{"x":"\\udc00\\ud800"}', "{'x':1}", '{"x":1,}', '\ufeff{}', '{}\0', '{"x":"a\nb"}', '\u00a0{}',
  bytes([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), bytes('{"x":"', [0xc0, 0xaf], '"}'), bytes('{"x":"', [0xed, 0xa0, 0x80], '"}'), bytes('{"x":"', [0xf4, 0x90, 0x80, 0x80], '"}'), bytes('{"x":"a\0b"}'),
  Buffer.from('{"x":1}', 'utf16le')
]
// of a field: whatever its type is, these are none of its values
const values = (schema) => {
  const types = [schema.type].flat()
  const wrong = { string: 'x', integer: 1, boolean: true, array: [], object: {}, null: null }
  const list = Object.entries(wrong).filter(([type]) => !types.includes(type)).map(([, value]) => JSON.stringify(value))
  list.push('1.5', '"a\\u0000b"', '"\\ud800"', '[[[]]]', '{"x":{"x":1}}')
  if (types.includes('integer')) list.push('1e400', '-1', '9007199254740993', '99999999999999999999999', '"1"', '1e30')
  if (types.includes('string')) list.push(...['a\nb', 'a\u200bb', 'a\u202eb', '\u2066a', '\ufeffa', 'wal_' + 'a'.repeat(64), 'postgres://u:hunter2@h/d', 'x'.repeat(5000)].map((value) => JSON.stringify(value)))
  if (types.includes('array')) list.push('[1]', '[null]', '[""]', '["a\\u0000b"]', JSON.stringify(Array.from({ length: 300 }, (_, i) => `a${i}`)), '["x","x"]', `["${'x'.repeat(500)}"]`)
  if (types.includes('object')) list.push('{"a":1}', '{"a":null}', '{"a":1,"a":2}', '{"A B":"x"}', '{"":"x"}', `{"a":"${'x'.repeat(5000)}"}`, '{"a":"wal_' + 'a'.repeat(64) + '"}', JSON.stringify(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`a${i}`, 'x']))))
  if (schema.format === 'date-time') list.push(...['now', 'infinity', '-infinity', 'epoch', 'tomorrow', '2026-02-30T00:00:00Z', '2099-01-01', '2099-01-01T00:00:00+01:00', '2099-01-01T24:00:01Z', '2099-13-01T00:00:00Z', '2099-01-01T00:00:60Z', '99999-01-01T00:00:00Z', '0000-01-01T00:00:00Z', '2020-01-01T00:00:00Z'].map((value) => JSON.stringify(value)))
  if (schema.enum) list.push('"nosuch"', '""')
  return list
}

let total = 0
test('there are operations to try', () => assert.ok(changes.length >= 25, String(changes.length)))
for (const change of changes) {
  test(`${change.name}: no bad body gets further than 400`, async () => {
    const schema = resolved(change.schema)
    const secret = (name) => schema.properties?.[name]?.writeOnly
    const before = entries()
    let tried = 0
    const refused = async (body, what, statuses = [400]) => {
      const answer = await ask(change, body)
      assert.ok(statuses.includes(answer.status), `${what}: ${answer.status} ${answer.text}`)
      assert.ok(!answer.text.includes('hunter2') && !answer.text.includes('a'.repeat(64)), answer.text)
      tried++
    }
    for (const body of bodies) await refused(body, String(body).slice(0, 60))
    await refused(JSON.stringify({ ...change.example, unknown: 1 }), 'an unknown field')
    await refused(JSON.stringify({ x: 'x'.repeat(65537) }), '65537 bytes', [413])
    for (const name of schema.required ?? []) {
      const { [name]: gone, ...rest } = change.example
      await refused(JSON.stringify(rest), `without ${name}`)
    }
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      const others = Object.entries(change.example).filter(([key]) => key !== name).map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)},`).join('')
      for (const value of values(resolved(field))) {
        // a value may be right by its schema, and be nothing that there is; a code is wrong whatever it is
        await refused(`{${others}${JSON.stringify(name)}:${value}}`, `${name}: ${value.slice(0, 80)}`, secret(name) ? [400, 401] : [400, 404, 409])
      }
      await refused(`{${others}${JSON.stringify(name)}:1,${JSON.stringify(name)}:2}`, `${name} twice`)
    }
    assert.equal(entries(), before, 'an entry')
    total += tried
  })
}

test('they were many', () => console.log(`# ${total} bad bodies of ${changes.length} operations`))

test('names are data: markup comes back as it was, what deceives the eye is refused', async () => {
  const issued = (name, more) => call('POST', '/orgs/pin/tokens', { session: session.ann, body: { name, visibility: 'shared', ...more } })
  for (const name of ['<img src=x onerror=alert(1)>', '"><script>alert(1)</script>', "'; DROP TABLE x; --", '</script>', '{{7*7}}', '${7*7}', '%3Cb%3E', 'a'.repeat(100), '\u05e9\u05dc\u05d5\u05dd', '\u{1f4be}'.repeat(100), 'é', 'e\u0301', '&lt;', 'javascript:alert(1)', '=1+1', '__proto__']) {
    const answer = await issued(name, { labels: { team: name } })
    assert.equal(answer.status, 201, `${name}: ${answer.text}`)
    assert.equal(answer.json.name, name)
    assert.match(answer.headers['content-type'], /^application\/json/)
    assert.equal(answer.headers['x-content-type-options'], 'nosniff')
    const shown = (await call('GET', `/orgs/pin/tokens/${answer.json.tokenId}`, { session: session.ann })).json
    assert.deepEqual([shown.name, shown.labels], [name, { team: name }])
    const ended = await call('POST', `/orgs/pin/tokens/${answer.json.tokenId}/revoke`, { session: session.ann, body: { reason: name } })
    assert.equal(ended.json.revokedReason, name)
    const subject = `pin ${name}`
    const member = await call('POST', '/orgs/pin/members', { session: session.ann, body: { subject, role: 'member' } })
    assert.deepEqual([member.status, member.json.subject], [201, subject], member.text)
    assert.equal((await call('DELETE', `/orgs/pin/members/${member.json.memberId}`, { session: session.ann })).status, 204)
  }
  for (const name of ['a\u202eb', '\u2066a\u2069', 'a\u200bb', 'a\u00adb', '\ufeffa', 'a\u2028b', 'a\tb', '\u00a0', ' ', 'a'.repeat(101), '\u{e0041}']) {
    assert.equal((await issued(name)).status, 400, JSON.stringify(name))
    assert.equal((await call('POST', '/orgs/pin/members', { session: session.ann, body: { subject: name.length > 100 ? 'x'.repeat(256) : name, role: 'member' } })).status, 400, JSON.stringify(name))
    assert.equal((await issued('x', { labels: { team: name.length > 100 ? 'x'.repeat(300) : name } })).status, 400, JSON.stringify(name))
  }
})

test('one cookie is the session, and it begins where a cookie begins', async () => {
  const good = session.bob
  const other = session.zoe
  const name = '__Host-walwarden'
  for (const [cookie, status] of [
    [`${name}=${good}`, 200], [`a=b; ${name}=${good}`, 200], [`a=b;${name}=${good};c=d`, 200], [`${name}=${good};`, 200],
    // another cookie's value, which a page of a domain above this host can choose
    [`a=b ${name}=${other}`, 401], [`a="b ${name}=${other}"`, 401], [`a= ${name}=${other}`, 401], [`a=b,${name}=${other}`, 401], [`a=b\t${name}=${other}`, 401], [`a=${name}=${other}`, 401],
    [`a=b ${name}=${other}; ${name}=${good}`, 200], [`${name}=${good}; a=b ${name}=${other}`, 200],
    [`${name}=${good}; ${name}=${good}`, 401], [`${name}=${good}; ${name}=${other}`, 401], [`${name}=${good}; ${name}`, 200], [`${name}=; ${name}=${good}`, 401], [`${name}=${good};${name}=`, 401],
    [`${name}="${good}"`, 401], [`${name}= ${good}`, 401], [`${name}=${good} `, 200], [`${name}=${good} x`, 401], [`${name} =${good}`, 401], [`${name}=${good},x`, 401], [`${name}=${good}.x`, 401], [`${name}=%${good.slice(1)}`, 401],
    [`${name.toUpperCase()}=${good}`, 401], [`x${name}=${good}`, 401], [`${name}x=${good}`, 401], [`__Host-walwarde=${good}`, 401], [`__Secure-walwarden=${good}`, 401], [`walwarden=${good}`, 401], [`$Version=1; ${name}=${good}; $Path=/`, 200],
    [`${name}=${good.slice(1)}`, 401], [`${name}=${good}0`, 401], [`${name}=${good.repeat(2)}`, 401], [`${name}=${'0'.repeat(4000)}`, 401], [`${name}=${good.toUpperCase()}`, 401], [`${name}=${'0'.repeat(64)}`, 401], [`${name}=${"' OR 1=1 --".padEnd(64, 'a')}`, 401], [name, 401]
  ]) {
    const answer = await call('GET', '/orgs', { headers: { Cookie: cookie } })
    assert.equal(answer.status, status, cookie)
    if (status === 200) assert.equal(answer.json.subject, 'pin-bob', cookie)
  }
  const raw = (...cookies) => sendRaw(Buffer.from(`GET /api/v1/orgs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${cookies.map((cookie) => `Cookie: ${cookie}\r\n`).join('')}\r\n`, 'latin1'))
  assert.equal((await raw(`${name}=${good}`, `${name}=${good}`)).status, 401)
  assert.equal((await raw('a=b', `${name}=${good}`)).status, 200)
  // browsers take these for names that do not begin with __Host-
  for (const blank of ['\xe2\x80\x80', '\xc2\xa0', '\xef\xbb\xbf', '\xe3\x80\x80']) assert.equal((await raw(`${blank}${name}=${other}`)).status, 401, escape(blank))
})

test('a cookie of another database is one that nobody has', async () => {
  const cookie = 'ab'.repeat(32)
  const elsewhere = { PGDATABASE: 'pin_other' }
  sql('CREATE DATABASE pin_other')
  try {
    sql(`CREATE EXTENSION walwarden CASCADE; SELECT walwarden.create_org('pin'), walwarden.add_member('pin', 'pin-ann', 'owner');
      SELECT walwarden_internal.start_session(sha256('${cookie}'), 'pin-ann', NULL, NULL)`, elsewhere)
    assert.equal(sql('SELECT count(*) FROM walwarden_internal.session WHERE ended_at IS NULL', elsewhere), '1')
    assert.equal(plain(await call('GET', '/orgs', { session: cookie })), plain(await call('GET', '/orgs', { session: 'cd'.repeat(32) })))
    assert.equal((await call('GET', '/orgs', { session: cookie })).status, 401)
    const code = sql("SELECT walwarden.sign_in_link('pin-ann')", elsewhere)
    assert.equal((await call('POST', '/session', { body: { code }, key: null })).status, 401)
  } finally {
    sql('DROP DATABASE pin_other')
  }
})

test('no path leads around the check of an organisation', async () => {
  for (const path of ['/orgs/', '/orgs//', '//orgs', '/orgs/pin/', '/orgs/pin//', '/orgs//pin', '/orgs//pin/tokens', '/orgs/pin//tokens', '/orgs/pin/tokens/', '/Orgs/pin', '/orgs/PIN', '/orgs/Pin/tokens', '/orgs/pin%2ftokens', '/orgs/pin%2Ftokens',
    '/orgs/pin/%74okens', '/orgs/%70in', '/orgs/pin/.', '/orgs/pin/./tokens', '/orgs/./pin', '/orgs/pin/../pin-b', '/orgs/pin/../pin-b/tokens', '/orgs/pin/%2e%2e/pin-b/tokens', '/orgs/pin%2f..%2fpin-b/tokens', '/orgs/pin/tokens/../../pin-b/tokens', '/orgs/pin;x/tokens', '/orgs/pin;/tokens', '/orgs/pin%20/tokens',
    '/orgs/pin%00/tokens', '/orgs/pin%0a/tokens', '/orgs/pin\\tokens', '/orgs/*/tokens', '/orgs/%/tokens', '/orgs/_/tokens', '/orgs/pin,pin-b/tokens', '/orgs/pin/orgs/pin-b/tokens', '/orgs/pin-b', '/orgs/pin-b/tokens', `/orgs/${'x'.repeat(5000)}`, '/orgs/pin/tokens%3Flimit=1', '/orgs/_system', '/orgs/_system/audit/entries', `/orgs/${'pin'.padEnd(63, 'n')}/tokens`,
    '/session/', '/Session', '/sessio%6e', '//session']) {
    for (const method of ['GET', 'POST', 'DELETE']) {
      const answer = await send(method, path, { session: session.ann, body: method === 'GET' ? undefined : {} })
      assert.ok([400, 404, 405].includes(answer.status), `${method} ${path}: ${answer.status} ${answer.text}`)
      checkAnswer('GET', '/no/such/path', answer)
    }
  }
  // each of the two ways to nginx's regular expressions, and the path that they must not miss
  for (const path of ['/session', '/session?x=1', '/session?']) assert.equal((await send('POST', path, { body: { code: 'x' }, key: null, headers: { 'Sec-Fetch-Site': 'cross-site' } })).status, 403, path)
})

test('the method is the one of the request line', async () => {
  const path = `/orgs/pin/tokens/${id.token}`
  for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'X-Walwarden-Method', 'Prefer']) {
    for (const wanted of ['DELETE', 'PATCH', 'POST']) {
      assert.equal((await call('GET', path, { session: session.ann, headers: { [name]: wanted } })).status, 200)
      assert.equal((await call('HEAD', path, { session: session.ann, headers: { [name]: wanted } })).status, 200)
      assert.equal((await send('POST', path, { session: session.ann, body: {}, headers: { [name]: wanted } })).status, 405)
    }
  }
  for (const query of ['_method=DELETE', 'method=DELETE', 'X-HTTP-Method-Override=DELETE']) assert.equal((await call('GET', `${path}?${query}`, { session: session.ann })).status, 400)
  for (const method of ['OPTIONS', 'PUT', 'PROPFIND', 'DELETE', 'LINK']) {
    const answer = await send(method, path, { session: session.ann })
    assert.deepEqual([answer.status, answer.headers.allow], [405, 'GET, HEAD, PATCH'], method)
  }
  const head = await call('HEAD', '/orgs', { session: session.ann })
  const get = await call('GET', '/orgs', { session: session.ann })
  assert.deepEqual([head.status, head.headers['content-length'], head.headers['cache-control']], [200, get.headers['content-length'], 'no-store'])
  // a preflight of a browser gets no permission, from any origin
  const preflight = await send('OPTIONS', '/orgs/pin/tokens', { headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type, idempotency-key' } })
  assert.deepEqual([preflight.status, Object.keys(preflight.headers).filter((name) => name.startsWith('access-control'))], [401, []])
})

test('what nginx tells the router is not for clients to say', async () => {
  const change = (headers, more) => send('POST', '/orgs/pin/tokens', { session: session.ann, body: { name: 'x' }, headers, ...more })
  for (const prefix of ['X-Walwarden-', 'x-walwarden-', 'X_Walwarden_']) {
    for (const [name, value] of [['Session', session.ann], ['Token', token]]) assert.equal((await send('GET', '/orgs', { headers: { [prefix + name]: value } })).status, 401, prefix + name)
    assert.equal((await send('GET', '/orgs', { session: session.bob, headers: { [`${prefix}Session`]: session.ann } })).json.subject, 'pin-bob')
    for (const lies of [{ 'Fetch-Site': 'same-origin' }, { Origin: 'https://evil.example', 'Own-Origin': 'https://evil.example' }, { Method: 'GET' }, { Path: '/api/v1/leaks' }]) {
      const headers = Object.fromEntries(Object.entries(lies).map(([name, value]) => [prefix + name, value]))
      for (const foreign of [{ 'Sec-Fetch-Site': 'cross-site' }, { Origin: 'https://evil.example' }]) {
        assert.deepEqual(error(await change({ ...headers, ...foreign })), [403, 'cross_site'], JSON.stringify(headers))
        assert.deepEqual(error(await send('POST', '/session', { key: null, body: { code: 'x' }, headers: { ...headers, ...foreign } })), [403, 'cross_site'], JSON.stringify(headers))
      }
      assert.deepEqual(error(await change(headers)), [400, 'missing'])
    }
  }
  assert.equal((await send('GET', '/orgs', { session: session.ann, headers: { Connection: 'close, X-Walwarden-Session, Cookie' } })).status, 200)
  assert.equal((await send('GET', '/orgs', { headers: { 'X-Forwarded-User': 'pin-ann', 'X-Remote-User': 'pin-ann', 'X-Auth-Request-User': 'pin-ann', 'X-Auth-Request-Email': 'pin-ann' } })).status, 401)
  for (const [headers, status] of [[{ 'Sec-Fetch-Site': 'Same-Origin' }, 403], [{ 'Sec-Fetch-Site': 'same-origin ' }, 400], [{ 'Sec-Fetch-Site': '' }, 400], [{ 'Sec-Fetch-Site': 'none' }, 400], [{ Origin: '' }, 400], [{ Origin: 'null' }, 403], [{ 'Idempotency-Key': ' ' }, 403],
    [{ 'Content-Type': 'application/json;charset=latin1' }, 403], [{ 'Content-Type': 'application/json, text/plain' }, 403], [{ 'Content-Type': 'text/plain; application/json' }, 403], [{ 'Content-Type': 'application/json+x' }, 403], [{ 'Content-Type': null }, 415]]) {
    assert.equal((await change(headers, 'Idempotency-Key' in headers ? { key: ' ' } : {})).status, status, JSON.stringify(headers))
  }
  for (const key of ['a b', '""', 'x'.repeat(256), 'a\tb']) {
    const answer = await change({}, { key })
    assert.ok(answer.status === 400 && (answer.json.error.field === 'Idempotency-Key' || answer.json.error.reason !== 'missing'), `${key} ${answer.text}`)
  }
})

test('what belongs to another organisation does not exist', async () => {
  // joe manages both: an id of one is none of the other
  for (const [path, mine] of [['tokens', id.foreign], ['members', id['pin-b pin-zoe']]]) {
    assert.equal((await call('GET', `/orgs/pin-b/${path}/${mine}`, { session: session.joe })).status, 200)
    for (const { method, template, example, schema } of changes.filter((change) => change.template.startsWith(`/orgs/{org}/${path}/{`))) {
      const at = (org, uuid) => template.replace('{org}', org).replace(/\{\w+\}/, uuid)
      const body = schema ? (path === 'tokens' && method === 'PATCH' ? { name: 'x' } : path === 'members' && method === 'PATCH' ? { role: 'member' } : example) : undefined
      const before = entries()
      const answers = [await call(method, at('pin', mine), { session: session.joe, body }), await call(method, at('pin', crypto.randomUUID()), { session: session.joe, body }), await call(method, at('pin', 'x'), { session: session.joe, body })]
      for (const answer of answers) assert.equal(plain(answer), plain(answers[1]), `${method} ${template}`)
      assert.equal(answers[0].status, 404)
      // and an organisation of others is one that does not exist, whatever is asked of it
      const foreign = [await call(method, at('pin-b', mine), { session: session.ann, body }), await call(method, at('nosuch', mine), { session: session.ann, body })]
      assert.deepEqual([foreign[0].status, plain(foreign[0])], [404, plain(foreign[1])])
      const wrong = [await call(method, at('pin-b', mine), { session: session.ann, body: '{' }), await call(method, at('nosuch', mine), { session: session.ann, body: '{' })]
      assert.deepEqual([wrong[0].status, plain(wrong[0])], [404, plain(wrong[1])], 'before the body is read')
      assert.equal(entries(), before)
    }
  }
  for (const { method, template } of changes.filter((change) => change.template !== '/session')) {
    const path = (template.startsWith('/orgs/') ? template : `/orgs/{org}${template}`).replace(/\{(?!org)\w+\}/, crypto.randomUUID())
    const answers = await Promise.all(['pin-b', 'nosuch'].map((slug) => call(method, path.replace('{org}', slug), { session: session.ann, body: {} })))
    assert.deepEqual([answers[0].status, plain(answers[0])], [404, plain(answers[1])], `${method} ${path}`)
  }
})

test('a right comes before the body, and before an earlier answer', async () => {
  const ann = (method, path, options) => call(method, `/orgs/pin${path}`, { session: session.ann, ...options })
  const as = (who, method, path, options) => call(method, `/orgs/pin${path}`, { session: session[who], ...options })
  for (const [method, path, body] of [['POST', '/members', '{'], ['PATCH', `/members/${crypto.randomUUID()}`, '{'], ['PATCH', '/policy', { x: 1 }], ['DELETE', `/members/${crypto.randomUUID()}`, { x: 1 }]]) {
    assert.deepEqual(error(await as('bob', method, path, { body })), [403, 'not_permitted'], `${method} ${path}`)
  }
  const made = { key: crypto.randomUUID(), body: { subject: 'pin-new', role: 'member' } }
  const added = await as('joe', 'POST', '/members', made)
  assert.equal(added.status, 201)
  const minted = { key: crypto.randomUUID(), body: { name: 'of joe', visibility: 'shared' } }
  const { tokenId } = (await as('joe', 'POST', '/tokens', minted)).json
  const renamed = { key: crypto.randomUUID(), body: { name: 'of joe too' } }
  assert.equal((await as('joe', 'PATCH', `/tokens/${tokenId}`, renamed)).status, 200)

  // another person's key is another key; another session of the same person has the same
  assert.equal((await ann('POST', '/members', made)).json.error.reason, 'already_there')
  const again = await call('POST', '/orgs/pin/tokens', { session: await signIn('pin-joe'), ...minted })
  assert.deepEqual([...error(again), again.json.error.tokenId], [409, 'token_already_issued', tokenId])
  assert.ok(!again.text.includes('wal_'))
  assert.equal((await as('joe', 'POST', '/members', made)).headers['idempotency-replayed'], 'true')

  sql("SELECT walwarden.set_member_role('pin', 'pin-joe', 'member')")
  assert.deepEqual(error(await as('joe', 'POST', '/members', made)), [403, 'not_permitted'])
  assert.equal((await as('joe', 'PATCH', `/tokens/${tokenId}`, renamed)).status, 404, 'they do not see it any more')
  assert.equal((await as('joe', 'POST', '/tokens', minted)).status, 404)
  sql("SELECT walwarden.disable_member('pin', 'pin-joe')")
  assert.deepEqual(error(await as('joe', 'POST', '/members', made)), [404, 'no_such_organisation'])
  sql("SELECT walwarden.enable_member('pin', 'pin-joe'), walwarden.set_member_role('pin', 'pin-joe', 'admin')")
  assert.equal((await as('joe', 'POST', '/members', made)).text, added.text)
})

// What happens while a request waits for the organisation -> how it ends.
const losses = [
  ['the role is reduced', (who) => `SELECT walwarden.set_member_role('pin-w', '${who}', 'read_only')`, 403, 403],
  ['the member is disabled, and is one elsewhere', (who) => `SELECT walwarden.disable_member('pin-w', '${who}')`, 404, 404],
  ['the member is removed', (who) => `SELECT walwarden.remove_member('pin-w', '${who}')`, 404, 404],
  ['every session ends', (who) => `UPDATE walwarden_internal.session SET ended_at = now() WHERE subject = '${who}'`, 401, 401],
  ['nothing', () => 'SELECT 1', 201, 201]
]
test('a right that is lost while a request waits is lost', async () => {
  createOrg('pin-w')
  createOrg('pin-v')
  sql("SELECT walwarden.add_member('pin-w', 'pin-boss', 'owner')")
  const waiting = async () => { for (let i = 0; i < 100 && sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 22338 AND NOT granted") === '0'; i++) await sleep(20) }
  const during = async (statements, request) => {
    const lock = await lockOrganisation('pin-w')
    const answer = request()
    await waiting()
    await lock.commit(statements)
    return await answer
  }
  const chain = () => sqlJson("SELECT e.kind FROM walwarden.list_audit('pin-w', 0, 1000) AS e ORDER BY e.seq DESC LIMIT 1")[0].kind
  for (const [i, [what, statements, ofScope, ofRight]] of losses.entries()) {
    const who = `pin-w-${i}`
    sql(`SELECT walwarden.add_member('pin-w', '${who}', 'admin'), walwarden.add_member('pin-v', '${who}', 'owner')`)
    for (const [path, body, status] of [['/destinations', { name: crypto.randomUUID(), provider: 's3', uri: 's3://b' }, ofScope], ['/tokens', { name: 'x', visibility: 'shared' }, ofRight]]) {
      const cookie = await signIn(who)
      const answer = await during(statements(who), () => call('POST', `/orgs/pin-w${path}`, { session: cookie, body }))
      assert.equal(answer.status, status, `${what}, ${path}: ${answer.text}`)
      if (status !== 201) assert.ok(!['destination.created', 'token.issued'].includes(chain()), what)
      sql(`UPDATE walwarden_internal.session SET ended_at = NULL WHERE subject = '${who}'`)
      if (what.includes('reduced')) sql(`SELECT walwarden.set_member_role('pin-w', '${who}', 'admin')`)
      if (what.includes('disabled')) sql(`SELECT walwarden.enable_member('pin-w', '${who}')`)
      if (what.includes('removed')) sql(`SELECT walwarden.add_member('pin-w', '${who}', 'admin')`)
    }
  }
  // the same of tokens
  const database = { name: crypto.randomUUID(), connectionRef: 'primary', destinationId: (await createDatabase(issue('pin-w', allScopes))).destinationId }
  for (const [change, status] of [
    [(tokenId) => `SELECT walwarden.revoke_token('${tokenId}')`, 401], [(tokenId) => `SELECT walwarden.disable_token('${tokenId}')`, 401],
    [(tokenId) => `SELECT walwarden.update_token('${tokenId}', scopes => '{databases:read}')`, 403], [(tokenId) => `SELECT walwarden.update_token('${tokenId}', scopes => '{databases:write}')`, 403], [() => 'SELECT 1', 201]
  ]) {
    const [tokenId, value] = sql("SELECT token_id || ' ' || token FROM walwarden.issue_token('pin-w', 'waits', '{databases:read,databases:write,destinations:write}')").split(' ')
    const answer = await during(change(tokenId), () => call('POST', '/databases', { token: value, body: database }))
    assert.equal(answer.status, status, `${change('')}: ${answer.text}`)
  }
})

test('two tabs, and people who come and go at once: nobody waits in a circle', async () => {
  createOrg('pin-t')
  sql("SELECT walwarden.add_member('pin-t', 'pin-boss', 'owner'), walwarden.add_member('pin-t', 'pin-tab')")
  const statuses = {}
  const note = (what) => (answer) => { (statuses[what] ??= []).push(answer.status) }
  for (let round = 0; round < 8; round++) {
    const tabs = [await signIn('pin-tab'), await signIn('pin-tab')]
    const codes = Array.from({ length: 3 }, () => sql("SELECT walwarden.sign_in_link('pin-tab')"))
    const member = sqlJson("SELECT member_id FROM walwarden.list_members('pin-t') WHERE subject = 'pin-tab'")[0].member_id
    const boss = await signIn('pin-boss')
    await Promise.all([
      ...codes.map((code, i) => call('POST', '/session', { session: tabs[i % 2], body: { code }, key: null }).then(note('in'))),
      ...tabs.map((cookie) => call('DELETE', '/session', { session: cookie, key: null }).then(note('out'))),
      ...(round % 2 ? [call('DELETE', `/orgs/pin-t/members/${member}`, { session: boss }).then(note('remove')), call('POST', `/orgs/pin-t/members/${member}/erase`, { session: boss }).then(note('erase'))] : [])
    ])
    if (round % 2) {
      const erased = await call('POST', `/orgs/pin-t/members/${member}/erase`, { session: boss })
      assert.ok([204, 404].includes(erased.status), erased.text)
      assert.equal(sql("SELECT (SELECT count(*) FROM walwarden_internal.session WHERE subject = 'pin-tab') + (SELECT count(*) FROM walwarden_internal.sign_in_code WHERE subject = 'pin-tab')"), '0', 'nothing is left of who was erased')
      sql("SELECT walwarden.add_member('pin-t', 'pin-tab')")
    }
  }
  assert.ok(statuses.in.every((status) => [204, 401].includes(status)), JSON.stringify(statuses))
  assert.ok(statuses.out.every((status) => [204, 401].includes(status)), JSON.stringify(statuses))
  assert.ok(statuses.remove.every((status) => status === 204), JSON.stringify(statuses))
  assert.ok(statuses.erase.every((status) => [204, 404, 409].includes(status)), JSON.stringify(statuses))
})

test('a session is nobody else\'s to choose', async () => {
  // whoever signs in gets a new one, whatever the browser brings
  for (const brought of ['ab'.repeat(32), session.bob, 'x']) {
    const code = sql("SELECT walwarden.sign_in_link('pin-zoe')")
    const answer = await call('POST', '/session', { session: brought, body: { code }, key: null })
    assert.equal(answer.status, 204)
    assert.ok(!answer.headers['set-cookie'][0].includes(brought))
    assert.equal(answer.headers['set-cookie'].length, 1)
  }
  assert.equal((await call('GET', '/orgs', { session: 'ab'.repeat(32) })).status, 401)
  assert.equal((await call('GET', '/orgs', { session: session.bob })).status, 401, 'the one before is over')
  // out here is out, and elsewhere it is not
  const [here, there] = [await signIn('pin-zoe'), await signIn('pin-zoe')]
  assert.equal((await call('DELETE', '/session', { session: here, key: null })).status, 204)
  assert.deepEqual([(await call('GET', '/orgs', { session: here })).status, (await call('GET', '/orgs', { session: there })).status], [401, 200])
  assert.equal((await call('DELETE', '/session', { key: null })).status, 401)
})
after(() => assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain('pin')"), 't'))
