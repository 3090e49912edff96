// Lists: every row that was there at the start is seen exactly once, whatever is
// inserted meanwhile.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, callAgain, createOrg, issue, sql, sqlAsync } from './lib.mjs'

let token
before(() => {
  createOrg('pages')
  token = issue('pages', allScopes)
})

// 40 clients at once make rows through the API
async function create (n, prefix) {
  const names = Array.from({ length: n }, (_, i) => `${prefix}-${i}`)
  await Promise.all(Array.from({ length: 40 }, async () => {
    for (let name; (name = names.pop());) {
      assert.equal((await callAgain('POST', '/databases', { token, body: { name, connectionRef: 'primary' } })).status, 201)
    }
  }))
}

async function walk (path, field, limit) {
  const seen = []
  let pages = 0
  for (let cursor; ;) {
    const answer = await call('GET', `${path}?limit=${limit}${cursor ? `&cursor=${cursor}` : ''}`, { token })
    assert.equal(answer.status, 200, answer.text)
    seen.push(...answer.json[field])
    pages++
    cursor = answer.json.pageInfo.nextCursor
    assert.equal(answer.json.pageInfo.hasMore, cursor !== null)
    if (!cursor) return { seen, pages }
    assert.equal(answer.json[field].length, limit)
  }
}

test('stable while 1,000 rows are inserted', async () => {
  await create(300, 'before')
  const inserting = create(1000, 'during')
  let done = false
  inserting.then(() => { done = true })
  let walks = 0
  do {
    const { seen } = await walk('/databases', 'databases', 7)
    const before = seen.filter((row) => row.name.startsWith('before')).map((row) => row.id)
    assert.equal(before.length, 300)
    assert.equal(new Set(seen.map((row) => row.id)).size, seen.length)
    walks++
  } while (!done)
  await inserting
  assert.equal((await walk('/databases', 'databases', 100)).seen.length, 1300)
  const { seen, pages } = await walk('/audit/entries', 'entries', 100)
  assert.deepEqual(seen.map((entry) => entry.seq), seen.map((_, i) => i + 1))
  console.log(`# ${walks} walks of 300 rows while 1,000 were inserted; ${seen.length} entries in ${pages} pages`)
})

test('rows of one moment are told apart', async () => {
  sql("UPDATE walwarden_internal.database SET created_at = '2026-01-01' WHERE name LIKE 'during-%'")
  const { seen } = await walk('/databases', 'databases', 3)
  assert.equal(new Set(seen.map((row) => row.id)).size, 1300)
})

test('newest first, 25 a page', async () => {
  createOrg('pages-2')
  const own = issue('pages-2', allScopes)
  await sqlAsync('SELECT 1')
  for (let i = 0; i < 26; i++) await call('POST', '/destinations', { token: own, body: { name: `d${i}`, provider: 'local', uri: 'file:///srv' } })
  const first = (await call('GET', '/destinations', { token: own })).json
  assert.deepEqual(first.destinations.map((d) => d.name), Array.from({ length: 25 }, (_, i) => `d${25 - i}`))
  const last = (await call('GET', `/destinations?cursor=${first.pageInfo.nextCursor}`, { token: own })).json
  assert.deepEqual(last.destinations.map((d) => d.name), ['d0'])
  assert.deepEqual(last.pageInfo, { nextCursor: null, hasMore: false })
})
