// What another page tries, from another port of the same host: its requests carry whatever a
// browser sends along by itself.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { createOrg, elsewhere, issue, link, send, signedIn, site, sql, sqlJson } from './browser.mjs'

before(() => {
  createOrg('attacks')
  for (const [subject, role] of [['at-ann', 'owner'], ['at-mallory', 'member']]) sql(`SELECT walwarden.add_member('attacks', '${subject}', '${role}')`)
})

const subjects = () => sqlJson('SELECT subject FROM walwarden_internal.session WHERE ended_at IS NULL ORDER BY created_at').map((row) => row.subject)
const left = () => sql("SELECT count(*) FROM walwarden.list_tokens('attacks')") + ' ' + sql("SELECT count(*) FROM walwarden.list_audit('attacks')")

test('neither a form nor fetch of another port changes anything', async () => {
  const page = await signedIn('at-ann')
  const token = sqlJson("SELECT token_id FROM walwarden.issue_token('attacks', 'victim', '{}'::text[])")[0].token_id
  const there = left()
  const api = `${site}/api/v1`
  const target = `${api}/orgs/attacks/tokens/${token}/revoke`
  const { url } = await elsewhere({
    '/form': `<!DOCTYPE html><form method=post enctype=text/plain action="${target}"><input name='{"reason":"' value='x"}'><button>go</button></form>`,
    '/plain': `<!DOCTYPE html><form method=post action="${api}/session"><input name=code value=x><button>go</button></form>`
  })
  for (const path of ['/form', '/plain']) {
    const other = await page.context().newPage()
    await other.goto(url + path)
    const [answer] = await Promise.all([other.waitForResponse((response) => response.url().startsWith(api)), other.getByRole('button').click()])
    assert.equal(answer.status(), 403, path)
    assert.ok((await answer.text()).includes('cross_site'), path)
    await other.close()
  }
  const other = await page.context().newPage()
  await other.goto(url)
  // the preflight is refused, and what needs none is
  const tried = await other.evaluate(async ([api, target]) => {
    const attempt = (address, options) => fetch(address, { credentials: 'include', ...options }).then((answer) => `${answer.type} ${answer.status}`, () => 'refused')
    return [
      await attempt(target, { method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'x' } }),
      await attempt(target, { method: 'POST', body: '{}', mode: 'no-cors' }),
      await attempt(`${api}/session`, { method: 'DELETE' }),
      await attempt(`${api}/orgs`, {}),
      await attempt(`${api}/orgs/attacks/tokens`, {})
    ]
  }, [api, target])
  assert.deepEqual(tried, ['refused', 'opaque 0', 'refused', 'refused', 'refused'])
  assert.equal(left(), there)
  await page.reload()
  await page.getByRole('button', { name: 'Sign out' }).waitFor()
})

test('another page signs nobody in', async () => {
  const page = await signedIn('at-ann')
  const stolen = link('at-mallory').split('#')[1]
  const { url } = await elsewhere({ '/form': `<!DOCTYPE html><form method=post enctype=text/plain action="${site}/api/v1/session"><input name='{"code":"${stolen}","x":"' value='"}'><button>go</button></form>` })
  const other = await page.context().newPage()
  await other.goto(`${url}/form`)
  const [answer] = await Promise.all([other.waitForResponse((response) => response.url().endsWith('/session')), other.getByRole('button').click()])
  assert.equal(answer.status(), 403)
  assert.equal(answer.headers()['set-cookie'], undefined)
  await other.goto(url)
  await other.evaluate(([address, code]) => fetch(address, { method: 'POST', mode: 'no-cors', credentials: 'include', body: JSON.stringify({ code }) }).catch(() => {}), [`${site}/api/v1/session`, stolen])
  assert.ok(!subjects().includes('at-mallory'))
  // nor does a link by being opened: only the button uses it
  await other.goto(`${site}/signin#${stolen}`)
  await other.getByRole('button', { name: 'Sign in' }).waitFor()
  assert.ok(!subjects().includes('at-mallory'))
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.sign_in_code WHERE used_at IS NULL AND subject = 'at-mallory'`), '1')
})

test('no other page shows it in a frame, or reaches its window', async () => {
  const page = await signedIn('at-ann')
  const { url } = await elsewhere({ '/': `<!DOCTYPE html><iframe src="${site}/o/attacks/settings/api-tokens"></iframe>` })
  const other = await page.context().newPage()
  await other.goto(url)
  await other.waitForFunction(() => document.readyState === 'complete')
  for (const frame of other.frames().slice(1)) assert.equal(await frame.locator('#view').count(), 0)
  // a window that it opens is not its own
  const [opened] = await Promise.all([page.context().waitForEvent('page'), other.evaluate((address) => { window.other = window.open(address) }, `${site}/signin`)])
  await opened.getByRole('heading', { level: 1 }).waitFor()
  assert.ok(await other.evaluate(() => window.other === null || window.other.closed))
})

test('a token of a program and a session at once are neither', async () => {
  const page = await signedIn('at-ann')
  const token = issue('attacks', ['databases:read'])
  assert.equal(await page.evaluate(async (token) => (await fetch('/api/v1/orgs', { headers: { Authorization: `Bearer ${token}` } })).status, token), 401)
  assert.equal((await send('GET', '/profile', { token })).status, 200)
})
