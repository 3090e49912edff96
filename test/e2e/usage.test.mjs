// With preload a GET, which runs in a read-only transaction, counts as a use.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { call, createOrg, issue, sleep, sql } from './lib.mjs'

createOrg('usage')
const token = issue('usage', ['databases:read'])
const lastUsed = () => sql("SELECT last_used_at FROM walwarden.list_tokens('usage')")
const stored = () => sql("SELECT u.last_used_at FROM walwarden_internal.token_usage AS u JOIN walwarden_internal.token AS t ON t.id = u.token_id JOIN walwarden_internal.org AS o ON o.id = t.org_id WHERE o.slug = 'usage'")

async function until (holds, what) {
  for (let i = 0; !await holds(); i++) {
    assert.ok(i < 600, what)
    await sleep(50)
  }
}

test('a GET moves last_used_at, at once in the listing and soon in the table', async () => {
  assert.equal(lastUsed(), '')
  assert.equal((await call('GET', '/databases', { token })).status, 200)
  const first = lastUsed()
  assert.notEqual(first, '')
  await until(() => stored() === first, 'the worker did not write it')
  // uses of one backend within a second count as one
  await until(async () => {
    assert.equal((await call('GET', '/databases', { token })).status, 200)
    return lastUsed() > first
  }, 'a later GET did not move it')
})

test('a refused GET moves nothing, and is counted', async () => {
  const before = lastUsed()
  const refused = () => Number(sql("SELECT count FROM walwarden.stat_auth WHERE reason = 'unknown'"))
  const count = refused()
  assert.equal((await call('GET', '/databases', { token: token.slice(0, -4) + (token.endsWith('0000') ? '1111' : '0000') })).status, 401)
  assert.equal(refused(), count + 1)
  assert.equal(lastUsed(), before)
})
