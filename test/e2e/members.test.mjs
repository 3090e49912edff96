// Members, nodes and the policy, managed by people over HTTP.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { call, createOrg, Node, signIn, sql, sqlJson } from './lib.mjs'

const session = {}
const id = {}
before(async () => {
  createOrg('mem')
  createOrg('mem-b')
  for (const [subject, role] of [['ann', 'owner'], ['eve', 'admin'], ['bob', 'member'], ['joe', 'member']]) id[subject] = sql(`SELECT walwarden.add_member('mem', 'mem-${subject}', '${role}')`)
  id.other = sql("SELECT walwarden.add_member('mem-b', 'mem-ann', 'owner')")
  for (const who of ['ann', 'eve', 'bob']) session[who] = await signIn(`mem-${who}`)
})
const members = (who, method = 'GET', path = '', options = {}) => call(method, `/orgs/mem/members${path}`, { session: session[who], ...options })
const patch = (who, member, body, options) => members(who, 'PATCH', `/${member}`, { body, ...options })
const error = (answer) => [answer.status, answer.json.error.reason]
const kinds = (n) => sqlJson(`SELECT e.kind, e.body::json #>> '{payload,actor,kind}' AS actor FROM walwarden.list_audit('mem') AS e ORDER BY e.seq DESC LIMIT ${n}`).map((entry) => `${entry.kind} ${entry.actor}`).reverse()

test('a member from the first day to the last', async () => {
  const asAdded = { key: crypto.randomUUID(), body: { subject: 'mem-zoe', role: 'member' } }
  const added = await members('ann', 'POST', '', asAdded)
  assert.equal(added.status, 201)
  const { memberId } = added.json
  assert.equal(added.headers.location, `/api/v1/orgs/mem/members/${memberId}`)
  assert.deepEqual({ ...added.json, createdAt: '' }, { memberId, subject: 'mem-zoe', role: 'member', sso: false, state: 'active', createdAt: '', disabledAt: null })
  assert.deepEqual((await members('ann', 'GET', `/${memberId}`)).json, added.json)

  const zoe = await signIn('mem-zoe')
  const changed = await patch('ann', memberId, { role: 'analyst', sso: true, disabled: true, subject: 'mem-zoe-b' })
  assert.deepEqual([changed.json.role, changed.json.sso, changed.json.state, changed.json.subject], ['analyst', true, 'disabled', 'mem-zoe-b'])
  assert.deepEqual(kinds(4), ['member.sso_changed session', 'member.role_changed session', 'member.disabled session', 'member.subject_changed session'])
  assert.equal((await call('GET', '/orgs', { session: zoe })).status, 401)
  assert.equal((await patch('ann', memberId, { disabled: false })).json.state, 'active')
  assert.deepEqual((await members('ann', 'POST', '', asAdded)).json, { ...added.json, subject: 'mem-zoe-b' }, 'a kept response says how they are called now')
  // a subject that is also the name of a role, and a value of another field
  const named = { key: crypto.randomUUID(), body: { subject: 'member', role: 'member' } }
  const like = (await members('ann', 'POST', '', named)).json
  await patch('ann', like.memberId, { subject: 'mem-like' })
  assert.deepEqual((await members('ann', 'POST', '', named)).json, { ...like, subject: 'mem-like' })
  const count = kinds(1000).length
  assert.equal((await patch('ann', memberId, { disabled: false, role: 'analyst', sso: true, subject: 'mem-zoe-b' })).status, 200)
  assert.equal(kinds(1000).length, count, 'nothing changed')

  assert.deepEqual(error(await members('ann', 'POST', `/${memberId}/erase`)), [409, 'member_not_removed'])
  const key = crypto.randomUUID()
  assert.equal((await members('ann', 'DELETE', `/${memberId}`, { key })).status, 204)
  assert.equal((await members('ann', 'DELETE', `/${memberId}`, { key })).headers['idempotency-replayed'], 'true')
  assert.equal((await members('ann', 'GET', `/${memberId}`)).status, 404)
  assert.equal((await patch('ann', memberId, { disabled: false })).status, 404)
  assert.equal((await members('ann', 'POST', `/${memberId}/erase`)).status, 204)
  assert.equal((await members('ann', 'POST', `/${memberId}/erase`)).status, 404)
  assert.deepEqual(kinds(1), ['member.erased session'])
  assert.deepEqual((await members('ann', 'POST', '', asAdded)).json, { ...added.json, subject: 'erased' }, 'no kept response has the subject')
  assert.equal(sql("SELECT count(*) FROM walwarden_internal.idempotency_key WHERE body::text LIKE '%mem-zoe%'"), '0')
})

test('who may change whom', async () => {
  for (const answer of [await members('bob'), await members('bob', 'GET', `/${id.bob}`), await members('bob', 'POST', '', { body: { subject: 'x', role: 'member' } }), await patch('bob', id.bob, { role: 'owner' }),
    await members('bob', 'DELETE', `/${id.joe}`), await members('bob', 'POST', `/${id.joe}/erase`), await members('bob', 'GET', `/${id.other}`)]) assert.deepEqual(error(answer), [403, 'not_permitted'])
  for (const body of [{ role: 'admin' }, { disabled: true }, { subject: 'x' }, { sso: true }]) assert.deepEqual(error(await patch('eve', id.ann, body)), [403, 'not_permitted'], JSON.stringify(body))
  assert.deepEqual(error(await patch('eve', id.bob, { role: 'owner' })), [403, 'not_permitted'])
  assert.deepEqual(error(await members('eve', 'POST', '', { body: { subject: 'x', role: 'owner' } })), [403, 'not_permitted'])
  assert.equal((await members('ann', 'GET', `/${id.other}`)).status, 404, 'of another organisation')
  assert.equal((await patch('ann', id.other, { role: 'member' })).status, 404)
  assert.equal((await members('ann', 'GET', '/x')).status, 404)
})

test('the last owner or admin stays', async () => {
  assert.equal((await patch('ann', id.eve, { role: 'member' })).status, 200)
  for (const body of [{ disabled: true }, { role: 'member' }]) assert.deepEqual(error(await patch('ann', id.ann, body)), [409, 'wrong_state'], JSON.stringify(body))
  assert.deepEqual(error(await members('ann', 'DELETE', `/${id.ann}`)), [409, 'wrong_state'])
  assert.equal((await call('GET', '/orgs/mem', { session: session.ann })).json.role, 'owner')
  assert.equal((await patch('ann', id.eve, { role: 'admin' })).status, 200)
  // somebody else may go, even by their own hand
  const gone = await patch('eve', id.eve, { disabled: true })
  assert.deepEqual([gone.status, gone.json.state], [200, 'disabled'])
  assert.equal((await call('GET', '/orgs', { session: session.eve })).status, 401)
})

test('what is refused says why', async () => {
  for (const [body, status, reason] of [
    [{ subject: 'mem-bob', role: 'member' }, 409, 'already_there'], [{ subject: 'MEM-BOB', role: 'member' }, 409, 'already_there'], [{ subject: 'x', role: 'boss' }, 404, 'no_such_object'],
    [{ subject: ' x', role: 'member' }, 400, 'invalid_value'], [{ subject: '', role: 'member' }, 400, 'out_of_range'], [{ subject: 'x' }, 400, 'missing'],
    [{ subject: 'x', role: 'member', dbRole: 'postgres' }, 400, 'unknown_field']
  ]) assert.deepEqual(error(await members('ann', 'POST', '', { body })), [status, reason], JSON.stringify(body))
  assert.deepEqual(error(await patch('ann', id.bob, { dbRole: 'postgres' })), [400, 'unknown_field'])
  assert.deepEqual(error(await patch('ann', id.bob, {})), [400, 'empty'])
  assert.deepEqual(error(await patch('ann', id.bob, { subject: 'mem-joe' })), [409, 'already_there'])
  assert.deepEqual(error(await patch('ann', id.bob, { role: 'analyst', subject: 'mem-joe' })), [409, 'already_there'])
  assert.equal((await members('ann', 'GET', `/${id.bob}`)).json.role, 'member', 'all or nothing')
})

test('lists, and the policy', async () => {
  const listed = async (path, field) => {
    const found = []
    for (let cursor = ''; cursor !== null;) {
      const { json } = await call('GET', `/orgs/mem/${path}?limit=1${cursor && '&cursor='}${cursor}`, { session: session.ann })
      found.push(...json[field])
      cursor = json.pageInfo.nextCursor
    }
    return found
  }
  assert.deepEqual((await listed('members', 'members')).map((member) => member.memberId), sqlJson("SELECT member_id FROM walwarden.list_members('mem') ORDER BY created_at DESC, member_id DESC").map((row) => row.member_id))
  for (let i = 0; i < 2; i++) await new Node('mem').register()
  const nodes = await listed('nodes', 'nodes')
  assert.deepEqual(nodes.map((node) => node.name).sort(), sqlJson("SELECT name FROM walwarden.list_nodes('mem')").map((row) => row.name).sort())
  assert.deepEqual([nodes[0].tokenState, nodes[0].publicKey], ['active', null])
  assert.deepEqual(error(await call('GET', '/orgs/mem/nodes', { session: session.bob })), [403, 'not_permitted'])

  const policy = (who, body) => call(body ? 'PATCH' : 'GET', '/orgs/mem/policy', { session: session[who], body })
  const week = 7 * 86400
  assert.deepEqual((await policy('bob')).json, { defaultLifetimeSeconds: null, maxLifetimeSeconds: null, noticeSeconds: week, retentionSeconds: week })
  assert.deepEqual((await policy('ann', { defaultLifetimeSeconds: 3600, maxLifetimeSeconds: week })).json, { defaultLifetimeSeconds: 3600, maxLifetimeSeconds: week, noticeSeconds: week, retentionSeconds: week })
  assert.deepEqual((await policy('ann', { defaultLifetimeSeconds: null, noticeSeconds: 0 })).json, { defaultLifetimeSeconds: null, maxLifetimeSeconds: week, noticeSeconds: 0, retentionSeconds: week })
  assert.deepEqual(error(await policy('ann', { defaultLifetimeSeconds: week + 1 })), [400, 'invalid_value'])
  assert.deepEqual(error(await policy('ann', { retentionSeconds: 1 })), [400, 'unknown_field'])
  assert.deepEqual(error(await policy('ann', { maxLifetimeSeconds: 0 })), [400, 'out_of_range'])
  assert.deepEqual(error(await policy('bob', { noticeSeconds: 1 })), [403, 'not_permitted'])
})
