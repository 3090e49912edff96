// Networks and rate limits of tokens, as clients of REST v1 see them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, createOrg, issue, send, sql } from './lib.mjs'

createOrg('bounds')
const listed = (name, columns) => sql(`SELECT ${columns} FROM walwarden.list_tokens('bounds') WHERE name = '${name}'`)
const named = (name, more) => sql(`SELECT token FROM walwarden.issue_token('bounds', '${name}', '{databases:read}', ${more})`)

test('a token is accepted from its networks alone', async () => {
  const near = named('near', "networks => '{127.0.0.1/32}'")
  const far = named('far', "networks => '{192.0.2.0/24,::/0}'")
  assert.equal((await call('GET', '/databases', { token: near })).status, 200)
  assert.equal(listed('near', 'last_used_from'), '127.0.0.1')
  const refused = await call('GET', '/databases', { token: far })
  const unknown = await call('GET', '/databases', { token: 'wal_' + 'c'.repeat(64) })
  assert.equal(refused.status, 401)
  const same = (answer) => JSON.stringify({ ...answer.json.error, requestId: '' })
  assert.equal(same(refused), same(unknown), 'no other answer than to a token that does not exist')
  assert.equal(listed('far', 'last_refused_reason'), 'network')
  assert.equal((await call('GET', '/openapi.json', { token: far })).status, 200, 'a public operation needs no token')
})

test('a client cannot say where it is', async () => {
  const far = named('elsewhere', "networks => '{192.0.2.0/24}'")
  for (const name of ['X-Walwarden-Client', 'x-walwarden-client', 'X-Forwarded-For', 'X-Real-IP', 'Forwarded', 'X_Walwarden_Client']) {
    assert.equal((await send('GET', '/databases', { token: far, headers: { [name]: name === 'Forwarded' ? 'for=192.0.2.1' : '192.0.2.1' } })).status, 401, name)
  }
})

test('above its rate limit a token is told when to come again', async () => {
  const token = named('limited', 'rate_limit => 3')
  const remaining = []
  for (let i = 0; i < 3; i++) {
    const answer = await call('GET', '/databases', { token })
    assert.equal(answer.status, 200)
    remaining.push(Number(/^"token";r=(\d+);t=([1-9]|[1-5][0-9]|60)$/.exec(answer.headers.ratelimit)?.[1]))
  }
  assert.deepEqual(remaining, [2, 1, 0])
  // before the path, the method and the scope are looked at
  for (const [method, path] of [['GET', '/databases'], ['GET', '/no/such'], ['DELETE', '/profile'], ['GET', '/evidence'], ['POST', '/databases']]) {
    const answer = await send(method, path, { token, body: method === 'POST' ? {} : undefined })
    assert.equal(answer.status, 429, `${method} ${path} ${answer.text}`)
    assert.deepEqual([answer.json.error.code, answer.json.error.reason], ['rate_limited', 'rate_limited'])
    assert.ok(answer.json.error.nextAction)
    assert.match(answer.headers['retry-after'], /^([1-9]|[1-5][0-9]|60)$/)
    assert.match(answer.headers.ratelimit, /^"token";r=0;t=/)
  }
  const answer = await call('GET', '/databases', { token })
  assert.equal(answer.status, 429)
  assert.equal((await send('HEAD', '/databases', { token })).status, 429)
  assert.equal((await call('GET', '/openapi.json', { token })).status, 200)
  assert.equal(listed('limited', 'uses, refusals, last_refused_reason'), '3|8|rate_limited')
  // a bad token is 401 as ever, and one without a limit has no such field
  assert.equal((await call('GET', '/databases', { token: token.slice(0, -1) })).status, 401)
  assert.equal((await call('GET', '/databases', { token: issue('bounds', ['databases:read']) })).headers.ratelimit, undefined)
})

test('many requests at once stay within the limit', async () => {
  const token = named('at once', 'rate_limit => 20')
  const answers = await Promise.all(Array.from({ length: 60 }, () => send('GET', '/databases', { token })))
  assert.equal(answers.filter((answer) => answer.status === 200).length, 20)
  assert.equal(answers.filter((answer) => answer.status === 429).length, 40)
})
