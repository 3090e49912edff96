// The audit chain as people and programs read it: filters, both orders, pages of a search that
// reads only so much, and verification by a person.
import assert from 'node:assert/strict'
import { test, before, after } from 'node:test'
import { allScopes, call, createOrg, hold, issue, lockOrganisation, send, signIn, sql, sqlJson } from './lib.mjs'
import { postgrest, stopPrograms } from './programs.mjs'

let token, ann, eve, annId, tokenId, sessionId
const chain = () => sqlJson("SELECT e.seq, e.kind, e.at, e.body::json -> 'payload' AS payload FROM walwarden.list_audit('audit') AS e ORDER BY e.seq")

before(async () => {
  createOrg('audit')
  createOrg('audit-b')
  token = issue('audit', allScopes)
  tokenId = sql("SELECT token_id FROM walwarden.list_tokens('audit')")
  annId = sql("SELECT walwarden.add_member('audit', 'au-ann', 'owner')")
  sql("SELECT walwarden.add_member('audit', 'au-eve', 'analyst'); SELECT walwarden.add_member('audit-b', 'au-ann', 'owner')")
  ann = await signIn('au-ann')
  eve = await signIn('au-eve')
  for (let i = 0; i < 6; i++) {
    const by = i % 2 === 0 ? { session: ann } : { token }
    const made = await call('POST', by.token ? '/destinations' : '/orgs/audit/destinations', { ...by, body: { name: `d${i}`, provider: 's3', uri: 's3://bucket' } })
    assert.equal(made.status, 201, made.text)
  }
  sql("SELECT walwarden.append_audit('app.invoice.sent', '{}', org => 'audit'); SELECT walwarden.append_audit('app.login', '{}', org => 'audit')")
  sessionId = chain().find((entry) => entry.payload.actor.sessionId).payload.actor.sessionId
})

after(stopPrograms)

// The seqs of a list, with filters, page by page.
async function seqs (filters, { limit = 100, ...by } = { session: ann }) {
  const seen = []
  for (let cursor; ;) {
    const query = new URLSearchParams({ ...filters, limit, ...(cursor ? { cursor } : {}) })
    const answer = await call('GET', `${by.session ? '/orgs/audit' : ''}/audit/entries?${query}`, by)
    assert.equal(answer.status, 200, answer.text)
    seen.push(...answer.json.entries.map((entry) => entry.seq))
    cursor = answer.json.pageInfo.nextCursor
    if (!cursor) return seen
  }
}

test('filters and orders', async () => {
  const entries = chain()
  const where = (wanted) => entries.filter(wanted).map((entry) => entry.seq)
  const of = (object) => `${object.type}:${object.id}`
  const middle = entries[5]
  const destination = entries.find((entry) => entry.kind === 'destination.created').payload.object
  const cases = [
    [{}, () => true],
    [{ kind: 'destination.created' }, (e) => e.kind === 'destination.created'],
    [{ kind: 'member.' }, (e) => e.kind.startsWith('member.')],
    [{ kind: 'app.' }, (e) => e.kind.startsWith('app.')],
    [{ kind: 'app.login' }, (e) => e.kind === 'app.login'],
    [{ kind: 'token.revoked' }, () => false],
    [{ object: of(destination) }, (e) => e.payload.object && of(e.payload.object) === of(destination)],
    [{ object: of(destination), kind: 'destination.' }, (e) => e.payload.object && of(e.payload.object) === of(destination)],
    [{ object: of(destination), kind: 'token.' }, () => false],
    [{ object: `thing:${crypto.randomUUID()}` }, () => false],
    [{ since: middle.at.replace('+00:00', 'Z') }, (e) => e.at >= middle.at],
    [{ until: middle.at.replace('+00:00', 'Z') }, (e) => e.at < middle.at],
    [{ since: '2020-01-01T00:00:00Z', until: '2099-01-01T00:00:00Z' }, () => true],
    [{ since: '2099-01-01T00:00:00Z' }, () => false],
    [{ until: '2020-01-01T00:00:00Z' }, () => false],
    [{ actor: annId }, (e) => e.payload.actor.memberId === annId],
    [{ actor: annId.toUpperCase(), kind: 'destination.created' }, (e) => e.payload.actor.memberId === annId],
    [{ actor: tokenId }, (e) => e.payload.actor.tokenId === tokenId],
    [{ actor: sessionId }, (e) => e.payload.actor.sessionId === sessionId],
    [{ actor: tokenId, object: of(destination) }, () => false],
    [{ actor: 'postgres', kind: 'app.' }, (e) => e.kind.startsWith('app.')]
  ]
  for (const [filters, wanted] of cases) {
    const what = JSON.stringify(filters)
    const expected = where(wanted)
    assert.equal(expected.length > 0, String(wanted) !== '() => false', what)
    for (const by of [{ session: ann }, { session: eve }, { token }]) {
      for (const limit of [100, 4]) {
        assert.deepEqual(await seqs(filters, { limit, ...by }), expected, what)
        assert.deepEqual(await seqs({ ...filters, order: 'oldest' }, { limit, ...by }), expected, what)
        assert.deepEqual(await seqs({ ...filters, order: 'newest' }, { limit, ...by }), expected.toReversed(), `${what} newest first`)
      }
    }
  }
})

test('names of people are for those who may see the members', async () => {
  const handle = sql(`SELECT fingerprint_handle FROM walwarden.list_tokens('audit') WHERE token_id = '${tokenId}'`)
  const done = (id) => chain().filter((entry) => [entry.payload.actor.memberId, entry.payload.actor.tokenId].includes(id)).map((entry) => entry.seq)
  assert.deepEqual(await seqs({ actor: 'au-ann' }), done(annId))
  assert.deepEqual(await seqs({ actor: handle }), done(tokenId))
  for (const by of [{ session: eve }, { token }]) {
    assert.deepEqual(await seqs({ actor: 'au-ann' }, by), [])
    assert.deepEqual(await seqs({ actor: handle }, by), [])
  }
  // an owner elsewhere is none here
  assert.equal((await call('GET', '/orgs/audit-b/audit/entries?actor=au-ann', { session: ann })).json.entries.length, 0)
})

test('what is no filter is refused', async () => {
  for (const [query, reason, field] of [
    ['kind=nosuch', 'invalid_value'], ['kind=', 'out_of_range', 'kind'], ['kind=token', 'invalid_value'], [`kind=${'a'.repeat(101)}`, 'out_of_range', 'kind'], ['kind=token.&kind=member.', 'duplicate', 'kind'],
    ['object=x', 'invalid_value'], [`object=token:${'a'.repeat(200)}`, 'out_of_range', 'object'], ['actor=', 'out_of_range', 'actor'], [`actor=${'a'.repeat(256)}`, 'out_of_range', 'actor'],
    ['since=yesterday', 'malformed', 'since'], ['since=2026-01-01', 'malformed', 'since'], ['until=infinity', 'malformed', 'until'], ['since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z', 'invalid_value'],
    ['order=desc', 'unknown_value', 'order'], ['jobId=x', 'unknown_parameter', 'jobId'], ['cursor=x', 'bad_cursor', 'cursor']
  ]) {
    for (const [path, by] of [['/audit/entries', { token }], ['/orgs/audit/audit/entries', { session: ann }]]) {
      const answer = await call('GET', `${path}?${query}`, by)
      assert.deepEqual([answer.status, answer.json.error.reason, answer.json.error.field], [400, reason, field], query)
    }
  }
  assert.equal((await call('GET', '/audit/entries?kind=token.', { token: issue('audit', ['databases:read']) })).status, 403)
})

test('a page with an actor reads so many entries, and the next goes on from there', async () => {
  createOrg('audit-long')
  sql(`INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
    SELECT o.id, CASE WHEN i % 3 = 0 THEN 'app.a' ELSE 'app.b.k' || i % 150 END, jsonb_build_object('actor', jsonb_build_object('kind', 'operator', 'role', CASE WHEN i IN (5, 44000, 49990) THEN 'rare' ELSE 'common' END))::text
      FROM walwarden_internal.org AS o, generate_series(1, 50000) AS i WHERE o.slug = 'audit-long'`)
  const own = issue('audit-long', allScopes)
  const expected = sqlJson("SELECT seq FROM walwarden.list_audit('audit-long') AS e WHERE body::json #>> '{payload,actor,role}' = 'rare' ORDER BY seq").map((row) => row.seq)
  assert.equal(expected.length, 3)
  for (const [filters, pages] of [[{ actor: 'rare' }, 3], [{ actor: 'rare', kind: 'app.' }, 3], [{ actor: 'rare', kind: 'app.b.' }, 2], [{ kind: 'app.a', actor: 'none' }, 1], [{ actor: 'none', object: 'org:x' }, 1]]) {
    for (const order of ['oldest', 'newest']) {
      const found = []
      let n = 0
      for (let cursor = ''; cursor !== null; n++) {
        const answer = await call('GET', `/audit/entries?${new URLSearchParams({ ...filters, order, ...(cursor && { cursor }) })}`, { token: own })
        assert.equal(answer.status, 200, answer.text)
        found.push(...answer.json.entries.map((entry) => entry.seq))
        cursor = answer.json.pageInfo.nextCursor
        assert.equal(answer.json.pageInfo.hasMore, cursor !== null)
      }
      const wanted = filters.actor === 'none' ? [] : filters.kind === 'app.b.' ? expected.filter((seq) => sql(`SELECT kind FROM walwarden.list_audit('audit-long', ${seq - 1}, 1)`) !== 'app.a') : expected
      assert.deepEqual(found, order === 'newest' ? wanted.toReversed() : wanted, JSON.stringify(filters))
      assert.equal(n, pages, JSON.stringify(filters))
    }
  }
})

test('a person verifies the chain', async () => {
  const verify = (options) => call('POST', '/orgs/audit/audit/verifications', { session: ann, ...options })
  const head = sqlJson("SELECT seq, encode(hash, 'hex') AS hash FROM walwarden.list_audit('audit') ORDER BY seq DESC LIMIT 1")[0]
  const key = crypto.randomUUID()
  const first = await verify({ key })
  assert.equal(first.status, 200, first.text)
  assert.deepEqual(first.json, { ok: true, entries: head.seq, headSeq: head.seq, headHash: head.hash, firstBadSeq: null, reason: null })
  const stored = (await call('GET', '/audit/verification', { token })).json.lastRun
  assert.deepEqual([stored.ok, stored.entries, stored.headHash], [true, head.seq, head.hash])
  assert.equal(chain().at(-1).seq, head.seq, 'no entry is made')

  sql("SELECT walwarden.append_audit('app.login', '{}', org => 'audit')")
  const again = await verify({ key })
  assert.deepEqual([again.headers['idempotency-replayed'], again.text], ['true', first.text])
  assert.equal((await verify()).json.headSeq, head.seq + 1)

  // it does not hold up whoever changes the organisation, nor waits for them
  const { release } = await lockOrganisation('audit')
  assert.equal((await verify()).status, 200)
  await release()

  assert.equal((await verify({ session: eve })).json.error.reason, 'not_permitted')
  assert.equal((await call('POST', '/audit/verifications', { token })).status, 404)
  assert.equal((await call('POST', '/orgs/nosuch/audit/verifications', { session: ann })).status, 404)
  assert.equal((await verify({ key: null })).json.error.reason, 'cross_site')
  assert.equal((await verify({ body: { x: 1 } })).json.error.reason, 'unknown_field')
  assert.equal((await send('GET', '/orgs/audit/audit/verifications', { session: ann })).status, 405)
})

test('a finding is a verdict, and a verification that takes too long is none', async () => {
  createOrg('audit-bad')
  sql("SELECT walwarden.add_member('audit-bad', 'au-ann', 'owner')")
  const path = '/orgs/audit-bad/audit/verifications'
  sql(`BEGIN; SET LOCAL session_replication_role = replica;
    UPDATE walwarden_internal.member SET sso = NOT sso WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'audit-bad'); COMMIT`)
  const bad = await call('POST', path, { session: ann })
  assert.equal(bad.status, 200, bad.text)
  assert.equal(bad.json.ok, false)
  assert.match(bad.json.reason, /^member .* differs from entry/)
  assert.equal(typeof bad.json.firstBadSeq, 'number')
  assert.equal((await call('GET', '/orgs/audit-bad/audit/verification', { session: ann })).json.lastRun.ok, false)

  // here it waits to store its verdict; all that takes long ends the same
  sql('ALTER ROLE web_anon SET statement_timeout = 1000')
  const url = await postgrest('audit')
  const org = "(SELECT id FROM walwarden_internal.org WHERE slug = 'audit-bad')"
  const long = await hold(1, `UPDATE walwarden_internal.verification SET entries = entries WHERE org_id = ${org}; SELECT pg_advisory_xact_lock(5); SELECT pg_sleep(4)`)
  const cut = await call('POST', path, { session: ann, url })
  sql('ALTER ROLE web_anon RESET statement_timeout')
  assert.deepEqual([cut.status, cut.json.error.reason, cut.headers['retry-after']], [503, 'busy', '1'])
  await long.done
})
