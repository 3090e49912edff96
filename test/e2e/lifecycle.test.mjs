// The life of a token as its users see it over HTTP: what stops it, what brings it
// back, and what becomes of its values, its scopes, and a pair of a UUID and a secret.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, call, createDatabase, createOrg, issue, Node, sleep, sql, sqlJson } from './lib.mjs'

// Only the owner of a private token renews it: ann, by her role in the server. The
// boss is there because an organisation keeps an owner or admin.
before(() => {
  sql('CREATE ROLE e2e_ann')
  createOrgOfAnn('life-nodes')
  createOrgOfAnn('life-nodes-other')
})
function createOrgOfAnn (slug) {
  createOrg(slug)
  sql(`SELECT walwarden.add_member('${slug}', 'boss', 'owner'); SELECT walwarden.add_member('${slug}', 'ann', 'analyst', 'e2e_ann')`)
}
const ann = (statements) => sql(`SET ROLE e2e_ann; ${statements}`)

// A token with its id; by: sql, or ann for a private one of hers.
function make (org, scopes = [], more = '', by = sql) {
  const out = by(`SELECT to_json(q) FROM (SELECT token_id AS id, token FROM walwarden.issue_token('${org}', 'e2e', '{${scopes.join(',')}}'::text[]${more})) AS q`)
  return JSON.parse(out)
}
const makeOfAnn = (org, scopes) => make(org, scopes, ", owner => 'ann'", ann)
const renew = (id, overlap = '0', by = sql) => by(`SELECT token FROM walwarden.renew_token('${id}', '${overlap}')`)
const listed = (org, id) => sqlJson(`SELECT * FROM walwarden.list_tokens('${org}', NULL, 1000) WHERE token_id = '${id}'`)[0]
const verified = (org) => sql(`SELECT bool_and(ok) FROM walwarden.verify_audit_chain('${org}')`)

// Credentials are options of call(): { token } or { headers }.
const destination = () => ({ name: crypto.randomUUID(), provider: 's3', uri: 's3://bucket' })

async function opens (credential, what) {
  const answer = await call('GET', '/profile', credential)
  assert.equal(answer.status, 200, `${what}: ${answer.text}`)
  return answer.json
}

// A read, its HEAD and a change; returns the answer to the read.
async function isShut (credential, what) {
  const answers = [await call('GET', '/profile', credential), await call('HEAD', '/profile', credential),
    await call('POST', '/destinations', { ...credential, body: destination() })]
  for (const answer of answers) {
    assert.equal(answer.status, 401, `${what}: ${answer.text}`)
    assert.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"', what)
  }
  return answers[0]
}

async function lacks (credential, path, scope) {
  const answer = await call('GET', path, credential)
  assert.equal(answer.status, 403, answer.text)
  assert.equal(answer.json.error.requiredScope, scope)
  assert.equal(answer.headers['www-authenticate'], `Bearer error="insufficient_scope", scope="${scope}"`)
}

async function reads (credential, path) {
  const answer = await call('GET', path, credential)
  assert.equal(answer.status, 200, answer.text)
}

const refused = (state, act) => assert.rejects(async () => act(), new RegExp(`ERROR: +${state}:`))

// a bound for what never comes, far from what is expected
async function until (condition) {
  for (let i = 0; i < 600; i++) {
    if (await condition()) return
    await sleep(50)
  }
  assert.fail('what was waited for did not come')
}

// ---- states

test('each state that stops a token is one and the same 401, and ends', async (t) => {
  createOrgOfAnn('life-states')
  const { id, token } = makeOfAnn('life-states', ['databases:read'])
  const states = [
    ['disabled by its owner', 'disabled',
      () => ann(`SELECT walwarden.disable_token('${id}')`),
      () => ann(`SELECT walwarden.enable_token('${id}')`)],
    ['disabled by an operator', 'disabled',
      () => sql(`SELECT walwarden.disable_token('${id}', 'on leave')`),
      () => sql(`SELECT walwarden.enable_token('${id}')`)],
    ['owner disabled', 'inactive',
      () => sql("SELECT walwarden.disable_member('life-states', 'ann')"),
      () => sql("SELECT walwarden.enable_member('life-states', 'ann')")],
    ['plan without tokens', 'inactive',
      () => sql("SELECT walwarden.set_plan('life-states', 'free')"),
      () => sql("SELECT walwarden.set_plan('life-states', 'team')")],
    ['expired', 'expired',
      async () => {
        ann(`SELECT walwarden.update_token('${id}', expires_at => now() + interval '5 seconds')`)
        await until(async () => (await call('GET', '/profile', { token })).status === 401)
      },
      () => ann(`SELECT walwarden.enable_token('${id}', 'infinity')`)]
  ]
  let wording
  for (const [name, state, stop, start] of states) {
    await t.test(name, async () => {
      await opens({ token }, 'before')
      await stop()
      const answer = await isShut({ token }, name)
      assert.equal(listed('life-states', id).state, state)
      // whoever presents it does not learn which state it is
      const { requestId, ...rest } = answer.json.error
      wording ??= rest
      assert.deepEqual(rest, wording)
      await start()
      await opens({ token }, 'after')
      assert.equal(listed('life-states', id).state, 'active')
    })
  }
})

test('while an owner is disabled, and after, what was disabled itself stays so', async () => {
  createOrgOfAnn('life-both')
  const { id, token } = makeOfAnn('life-both', ['databases:read'])
  ann(`SELECT walwarden.disable_token('${id}')`)
  sql("SELECT walwarden.disable_member('life-both', 'ann')")
  sql("SELECT walwarden.enable_member('life-both', 'ann')")
  await isShut({ token }, 'disabled')
  await refused('42501', () => sql(`SELECT walwarden.enable_token('${id}')`))
  ann(`SELECT walwarden.enable_token('${id}')`)
  await opens({ token }, 'enabled')
})

test('plan free: tokens are refused and none is issued; team: both again', async () => {
  createOrgOfAnn('life-plan')
  const shared = make('life-plan', ['databases:read'])
  const own = makeOfAnn('life-plan', ['databases:read'])
  for (const { token } of [shared, own]) await reads({ token }, '/databases')
  sql("SELECT walwarden.set_plan('life-plan', 'free')")
  for (const { token } of [shared, own]) await isShut({ token }, 'free')
  await refused('55000', () => make('life-plan', ['databases:read']))
  await refused('55000', () => makeOfAnn('life-plan', ['databases:read']))
  await refused('55000', () => make('life-plan', [], ", kind => 'node'"))
  await refused('55000', () => renew(shared.id))
  sql("SELECT walwarden.set_plan('life-plan', 'team')")
  for (const { token } of [shared, own, make('life-plan', ['databases:read'])]) await reads({ token }, '/databases')
})

// ---- values

test('renewed without overlap: only the new value', async () => {
  createOrgOfAnn('life-renew')
  const first = makeOfAnn('life-renew', ['databases:read'])
  const before = await opens({ token: first.token }, 'first')
  await refused('42501', () => renew(first.id))
  const second = renew(first.id, '0', ann)
  await isShut({ token: first.token }, 'first')
  assert.deepEqual(await opens({ token: second }, 'second'), before, 'the same token with the same scopes')
  assert.equal(listed('life-renew', first.id).overlap_until, null)
})

test('renewed with overlap: two values at most, and the older one ends', async () => {
  createOrgOfAnn('life-overlap')
  const { id, token: first } = make('life-overlap', ['databases:read'])
  const before = await opens({ token: first }, 'first')
  const handle = listed('life-overlap', id).fingerprint_handle
  assert.equal(listed('life-overlap', id).overlap_until, null)

  const second = renew(id, '1 hour')
  for (const token of [first, second]) assert.deepEqual(await opens({ token }, 'overlap'), before)
  const { overlap_until: shown } = listed('life-overlap', id)
  assert.equal(sql(`SELECT '${shown}'::timestamptz BETWEEN now() AND now() + interval '1 hour'`), 't')
  assert.notEqual(listed('life-overlap', id).fingerprint_handle, handle, "the handle is the new value's")

  const third = renew(id, '7 days')
  await isShut({ token: first }, 'the oldest')
  for (const token of [second, third]) assert.deepEqual(await opens({ token }, 'overlap'), before)

  const fourth = renew(id, '1 second')
  await isShut({ token: second }, 'the oldest')
  await opens({ token: fourth }, 'the newest')
  await until(async () => (await call('GET', '/profile', { token: third })).status === 401)
  await isShut({ token: third }, 'overlap over')
  await opens({ token: fourth }, 'the newest')
  assert.equal(listed('life-overlap', id).overlap_until, null)
})

test('disabling stops both values, enabling brings both back, revoking ends both', async () => {
  createOrgOfAnn('life-two')
  const { id, token } = makeOfAnn('life-two', ['databases:read'])
  const values = [token, renew(id, '1 hour', ann)]
  ann(`SELECT walwarden.disable_token('${id}')`)
  for (const token of values) await isShut({ token }, 'disabled')
  await refused('55000', () => renew(id, '1 hour', ann))
  ann(`SELECT walwarden.enable_token('${id}')`)
  for (const token of values) await opens({ token }, 'enabled')
  sql(`SELECT walwarden.revoke_token('${id}', 'laptop lost')`)
  for (const token of values) await isShut({ token }, 'revoked')
  await refused('55000', () => ann(`SELECT walwarden.enable_token('${id}')`))
  await refused('55000', () => renew(id, '1 hour', ann))
  for (const token of values) await isShut({ token }, 'revoked for good')
})

test('a key that was used under a value is known under the next', async () => {
  createOrgOfAnn('life-key')
  const { id, token: first } = make('life-key', allScopes)
  const key = crypto.randomUUID()
  const body = destination()
  const made = await call('POST', '/destinations', { token: first, key, body })
  assert.equal(made.status, 201, made.text)
  const second = renew(id, '1 hour')
  for (const token of [second, first]) {
    const again = await call('POST', '/destinations', { token, key, body })
    assert.equal(again.status, 201, again.text)
    assert.equal(again.text, made.text)
    assert.equal(again.headers.location, made.headers.location)
    assert.equal(again.headers['idempotency-replayed'], 'true')
    const other = await call('POST', '/destinations', { token, key, body: destination() })
    assert.equal(other.status, 409, other.text)
    assert.equal(other.json.error.reason, 'idempotency_key_reused')
  }
  const third = renew(id)
  assert.equal((await call('POST', '/destinations', { token: third, key, body })).text, made.text)
  assert.equal((await call('POST', '/destinations', { token: second, key, body })).status, 401, 'the value before has no answers left')
  assert.equal((await call('GET', '/destinations', { token: third })).json.destinations.length, 1)
})

test('last_used_at moves with a use of either value, and not with a refused one', async () => {
  createOrgOfAnn('life-used')
  const { id, token: first } = make('life-used', allScopes)
  const second = renew(id, '1 hour')
  const used = () => listed('life-used', id).last_used_at
  assert.equal(used(), null)
  // uses of one backend within a second count as one
  for (const token of [first, second]) {
    const before = used()
    await until(async () => {
      assert.equal((await call('POST', '/destinations', { token, body: destination() })).status, 201)
      return used() !== before
    })
  }
  const old = used()
  renew(id)
  assert.equal((await call('POST', '/destinations', { token: first, body: destination() })).status, 401)
  assert.equal((await call('GET', '/destinations', { token: first })).status, 401)
  assert.equal(used(), old, 'a value that ended is no use')
})

test('what is disabled for longer than the retention is removed', async () => {
  createOrgOfAnn('life-removed')
  const { id, token: first } = makeOfAnn('life-removed', ['databases:read'])
  const values = [first, renew(id, '1 hour', ann)]
  const other = make('life-removed', ['databases:read'])
  sql("SELECT walwarden.set_org_retention('life-removed', '0')")
  ann(`SELECT walwarden.disable_token('${id}')`)
  // another maintenance, or whoever holds the organisation, would make this one leave it
  await until(() => { sql('SELECT walwarden.run_maintenance()'); return listed('life-removed', id) === undefined })
  for (const token of values) await isShut({ token }, 'removed')
  await refused('42704', () => sql(`SELECT walwarden.enable_token('${id}')`))
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.credential WHERE token_id = '${id}'`), '0')
  await opens({ token: other.token }, 'the other one')
  assert.equal(sql("SELECT count(*) FROM walwarden.list_audit('life-removed', 0, 1000) WHERE kind = 'token.removed'"), '1')
  assert.equal(verified('life-removed'), 't')
})

// ---- scopes

test('a private token follows the role of its owner', async () => {
  createOrgOfAnn('life-role')
  const { id, token } = makeOfAnn('life-role', ['audit:read', 'databases:read'])
  await reads({ token }, '/audit/entries')
  sql("SELECT walwarden.set_member_role('life-role', 'ann', 'member')")
  await lacks({ token }, '/audit/entries', 'audit:read')
  await reads({ token }, '/databases')
  assert.deepEqual((await opens({ token }, 'profile')).token.effectiveScopes, ['databases:read'])
  // a role without private tokens leaves those there are to what it carries
  sql("SELECT walwarden.set_member_role('life-role', 'ann', 'api_developer')")
  await reads({ token }, '/databases')
  await lacks({ token }, '/audit/entries', 'audit:read')
  sql("SELECT walwarden.set_member_role('life-role', 'ann', 'admin')")
  await reads({ token }, '/audit/entries')
  const profile = await opens({ token }, 'profile')
  assert.deepEqual(profile.token.effectiveScopes, ['audit:read', 'databases:read'], 'no more than it was issued with')
  assert.equal(profile.token.id, id)
})

test('a token from a role follows what the role carries', async () => {
  createOrgOfAnn('life-scopes')
  const { token } = make('life-scopes', [], ", role => 'analyst'")
  const own = makeOfAnn('life-scopes', ['audit:read'])
  await reads({ token }, '/audit/entries')
  assert.deepEqual((await opens({ token }, 'profile')).token.scopes, [])
  try {
    sql("SELECT walwarden.set_role_scopes('analyst', '{databases:read,destinations:read,destinations:write}')")
    await lacks({ token }, '/audit/entries', 'audit:read')
    await lacks({ token: own.token }, '/audit/entries', 'audit:read')
    assert.equal((await call('POST', '/destinations', { token, body: destination() })).status, 201)
    sql("SELECT walwarden.set_role_scopes('analyst', '{}')")
    await lacks({ token }, '/databases', 'databases:read')
  } finally {
    sql("SELECT walwarden.set_role_scopes('analyst', NULL)")      // of every organisation
  }
  await reads({ token }, '/audit/entries')
  await reads({ token: own.token }, '/audit/entries')
})

// ---- pairs of a UUID and a secret

const headersOf = (uuid, secret) => ({ headers: { 'X-WallarmAPI-UUID': uuid, 'X-WallarmAPI-Secret': secret } })

function importPair (org) {
  const uuid = crypto.randomUUID()
  const secret = '!~' + crypto.randomUUID() + crypto.randomUUID()
  const { id, token } = JSON.parse(sql(`SELECT to_json(q) FROM (SELECT token_id AS id, token FROM walwarden.import_legacy_credential('${org}', 'ann', '${uuid}', '${secret}')) AS q`))
  return { id, token, uuid, secret, pair: headersOf(uuid, secret) }
}

test('a pair, and the value that came with it', async () => {
  createOrgOfAnn('pair')
  const { id, token, uuid, secret, pair } = importPair('pair')
  for (const credential of [headersOf(uuid.toLowerCase(), secret), headersOf(uuid.toUpperCase(), secret), { token }, { headers: { 'X-WallarmApi-Token': token } }]) {
    const profile = await opens(credential, 'pair or value')
    assert.equal(profile.token.id, id)
    assert.equal(profile.token.kind, 'legacy')
    assert.equal(profile.token.scopes, null)
    assert.equal(profile.token.effectiveScopes, null)
    await reads(credential, '/databases')
  }
  const shown = listed('pair', id)
  assert.deepEqual([shown.kind, shown.scopes, shown.effective_scopes, shown.owner], ['legacy', null, null, 'ann'])
  const post = await call('POST', '/restores', { ...pair, body: {} })
  assert.equal(post.status, 400, 'scopes are met, and the body is looked at')
  await refused('23505', () => sql(`SELECT walwarden.import_legacy_credential('pair', 'ann', '${uuid.toUpperCase()}', '${secret}')`))
})

test('half a pair, a pair beside another credential, and a pair as a value', async () => {
  createOrgOfAnn('pair-half')
  const { token, uuid, secret, pair } = importPair('pair-half')
  const good = issue('pair-half', ['databases:read'])
  const bad = {
    'UUID alone': { headers: { 'X-WallarmAPI-UUID': uuid } },
    'secret alone': { headers: { 'X-WallarmAPI-Secret': secret } },
    'empty secret': { headers: { 'X-WallarmAPI-UUID': uuid, 'X-WallarmAPI-Secret': '' } },
    'pair and another token': { ...pair, token: good },
    'pair and its own value': { ...pair, token },
    'pair and X-WallarmApi-Token': { headers: { ...pair.headers, 'X-WallarmApi-Token': token } },
    'pair and Basic': { headers: { ...pair.headers, Authorization: 'Basic YTpi' } },
    'UUID and a token': { headers: { 'X-WallarmAPI-UUID': uuid }, token: good },
    'secret and a token': { headers: { 'X-WallarmAPI-Secret': secret }, token: good },
    'secret as the token': { token: secret },
    'the value as the secret': headersOf(uuid, token),
    'UUID without hyphens': headersOf(uuid.replaceAll('-', ''), secret),
    'secret in upper case': headersOf(uuid, secret.toUpperCase()),
    'UUID twice, as nginx joins fields': headersOf(`${uuid}, ${uuid}`, secret)
  }
  for (const [what, credential] of Object.entries(bad)) await isShut(credential, what)
  await opens(pair, 'the pair alone')
  await opens({ token: good }, 'the token alone')
})

test('a wrong secret and an unknown UUID are answered alike', async () => {
  createOrgOfAnn('pair-wrong')
  const { id, uuid, secret, pair } = importPair('pair-wrong')
  const other = importPair('pair-wrong')
  const answers = [
    await isShut(headersOf(uuid, secret.slice(0, -1) + (secret.endsWith('0') ? '1' : '0')), 'wrong secret'),
    await isShut(headersOf(crypto.randomUUID(), secret), 'unknown UUID'),
    await isShut(headersOf(uuid, other.secret), 'secret of another pair'),
    await isShut(headersOf(uuid, 'short'), 'secret that cannot be'),
    await isShut(headersOf('no uuid', secret), 'no UUID')
  ]
  sql(`SELECT walwarden.disable_token('${id}')`)
  answers.push(await isShut(pair, 'disabled'))
  sql(`SELECT walwarden.enable_token('${id}')`)
  await opens(pair, 'enabled')
  const [first, ...more] = answers.map(({ text, json, headers }) => {
    const { 'x-request-id': requestId, date, ...same } = headers
    assert.equal(json.error.requestId, requestId)
    return { text: text.replace(requestId, ''), headers: same }
  })
  for (const answer of more) assert.deepEqual(answer, first)
})

test('a pair follows the role of its owner', async () => {
  createOrgOfAnn('pair-role')
  const { token, pair } = importPair('pair-role')
  const body = { name: crypto.randomUUID(), connectionRef: 'primary' }
  for (const credential of [pair, { token }]) {
    await reads(credential, '/audit/entries')
    sql("SELECT walwarden.set_member_role('pair-role', 'ann', 'member')")
    await lacks(credential, '/audit/entries', 'audit:read')
    await reads(credential, '/databases')
    assert.equal((await call('POST', '/databases', { ...credential, body })).status, 403)
    sql("SELECT walwarden.set_member_role('pair-role', 'ann', 'analyst')")
    await reads(credential, '/audit/entries')
  }
  sql("SELECT walwarden.set_member_role('pair-role', 'ann', 'admin')")
  assert.equal((await call('POST', '/databases', { ...pair, body })).status, 201, 'more than it was imported with')
  sql("SELECT walwarden.disable_member('pair-role', 'ann')")
  for (const credential of [pair, { token }]) await isShut(credential, 'owner disabled')
  sql("SELECT walwarden.enable_member('pair-role', 'ann')")
  for (const credential of [pair, { token }]) await opens(credential, 'owner enabled')
})

test('renewing the value ends the pair at once, whatever the overlap', async () => {
  createOrgOfAnn('pair-renewed')
  const { id, token, pair } = importPair('pair-renewed')
  const key = crypto.randomUUID()
  const body = { name: crypto.randomUUID(), connectionRef: 'primary' }
  sql("SELECT walwarden.set_member_role('pair-renewed', 'ann', 'admin')")
  const made = await call('POST', '/databases', { ...pair, key, body })
  assert.equal(made.status, 201, made.text)
  await refused('42501', () => renew(id))
  const renewed = renew(id, '1 hour', ann)
  await isShut(pair, 'pair')
  for (const value of [token, renewed]) {
    const profile = await opens({ token: value }, 'value')
    assert.deepEqual([profile.token.id, profile.token.kind, profile.token.scopes], [id, 'legacy', null])
  }
  const again = await call('POST', '/databases', { token: renewed, key, body })
  assert.equal(again.text, made.text, "what the pair did is the token's")
  assert.equal(again.headers['idempotency-replayed'], 'true')
  ann(`SELECT walwarden.disable_token('${id}'); SELECT walwarden.enable_token('${id}')`)
  await isShut(pair, 'enabling does not bring a pair back')
  assert.equal(verified('pair-renewed'), 't')
})

test('SSO for the owner ends the pair, and leaves the value', async () => {
  createOrgOfAnn('pair-sso')
  const { id, token, pair } = importPair('pair-sso')
  await opens(pair, 'before')
  sql("SELECT walwarden.set_member_sso('pair-sso', 'ann', true)")
  await isShut(pair, 'SSO')
  assert.equal((await opens({ token }, 'value')).token.id, id)
  await refused('55000', () => importPair('pair-sso'))
  sql("SELECT walwarden.set_member_sso('pair-sso', 'ann', false)")
  await isShut(pair, 'it does not come back')
  await opens({ token }, 'value')
  assert.equal(verified('pair-sso'), 't')
})

// ---- nodes

test('a node token, and one with the role deploy, speak the runner protocol', async () => {
  const all = issue('life-nodes', allScopes)
  const kinds = { node: new Node('life-nodes', undefined, 'node'), deploy: new Node('life-nodes', issue('life-nodes', [], ", role => 'deploy'"), 'deploy') }
  for (const [name, node] of Object.entries(kinds)) {
    const { id } = await node.run(`SELECT walwarden.register_node('${name}', '2.4.0') AS id`)
    assert.equal((await node.run(`SELECT walwarden.register_node('${name}', '2.4.0') AS id`)).id, id, 'the same node')
    const { nodes } = await node.run("SELECT json_agg(n) AS nodes FROM walwarden.list_nodes('life-nodes') AS n")
    const shown = nodes.find((n) => n.node_id === id)
    assert.deepEqual([shown.name, shown.version, shown.token_state], [name, '2.4.0', 'active'])
    await refused('42501', () => node.run("SELECT * FROM walwarden.list_nodes('life-nodes-other')"))

    const { id: databaseId } = await createDatabase(all)
    const { backupJobId } = (await call('POST', `/databases/${databaseId}/backups`, { token: all })).json
    assert.equal((await node.claim('{backup}')).job_id, backupJobId)
    assert.equal((await call('GET', `/backups/${backupJobId}`, { token: all })).json.state, 'claimed')
  }
  assert.equal(sql("SELECT string_agg(name, ',') FROM walwarden.list_nodes('life-nodes')"), 'deploy,node')
  const id = sql("SELECT token_id FROM walwarden.list_nodes('life-nodes') WHERE name = 'node'")
  sql(`SELECT walwarden.disable_token('${id}')`)
  await refused('28000', () => kinds.node.run("SELECT walwarden.register_node('node', '2.5.0')"))
  await refused('28000', () => kinds.node.claim())
  await isShut({ token: kinds.node.token }, 'disabled node')
  assert.equal(sql("SELECT token_state FROM walwarden.list_nodes('life-nodes') WHERE name = 'node'"), 'disabled')
  sql(`SELECT walwarden.enable_token('${id}')`)
  assert.equal(await kinds.node.claim(), null, 'no job is left, and that is no refusal')
  assert.equal(verified('life-nodes'), 't')
})

test('they open nothing of REST v1', async () => {
  const tokens = [issue('life-nodes', [], ", kind => 'node'"), issue('life-nodes', [], ", role => 'deploy'")]
  for (const op of sqlJson("SELECT method, path FROM walwarden_internal.rest_operation WHERE caller NOT IN ('anyone', 'sso')")) {
    const path = op.path.replace(/\{\w+\}/, () => crypto.randomUUID())
    for (const token of tokens) {
      const answer = await call(op.method, path, { token })
      assert.equal(answer.status, 403, `${op.method} ${op.path}: ${answer.text}`)
      assert.equal(answer.json.error.requiredScope, null)
      assert.equal(answer.headers['www-authenticate'], 'Bearer error="insufficient_scope"')
    }
  }
})

test('an API token is no node, whatever its scopes', async () => {
  const org = 'life-nodes'
  for (const token of [issue(org, allScopes), issue(org, [], ", role => 'owner'"), makeOfAnn(org, ['databases:read']).token, importPair(org).token]) {
    const node = new Node(org, token)
    await refused('42501', () => node.run("SELECT walwarden.register_node('intruder', '1')"))
    await refused('42501', () => node.claim())
    await refused('42501', () => node.run(`SELECT * FROM walwarden.list_nodes('${org}')`))
  }
  assert.equal(sql(`SELECT count(*) FROM walwarden.list_nodes('${org}') WHERE name = 'intruder'`), '0')
})
