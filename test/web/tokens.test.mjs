// Tokens on the page: the list, issuing one, its value, and its life.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test, before } from 'node:test'
import { browser, createOrg, elsewhere, overflow, send, signedIn, site, sql, sqlJson, visit } from './browser.mjs'

before(() => {
  for (const org of ['tokens', 'many', 'none']) createOrg(org)
  for (const [org, subject, role] of [['tokens', 'to-ann', 'owner'], ['tokens', 'to-bob', 'member'], ['tokens', 'to-dev', 'api_developer'], ['many', 'to-max', 'owner'], ['none', 'to-nil', 'owner'], ['none', 'to-ro', 'read_only']]) {
    sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}')`)
  }
})
let page

const list = '/o/tokens/settings/api-tokens'
const press = (name) => page.getByRole('button', { name, exact: true }).click()
const row = (name) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: new RegExp(`^${name} ?[0-9a-f]{12}$`) }) })
const value = () => page.getByRole('region', { name: 'Store the token now' }).getByText(/^wal_/)
const tokensOf = (name) => Number(sql(`SELECT count(*) FROM walwarden.list_tokens('tokens') WHERE name = '${name}'`))
const works = async (token) => (await send('GET', '/profile', { token })).status === 200
async function choose (name, action) {
  await press(`Manage ${name}`)
  await press(action)
  return page.getByRole('dialog')
}
async function confirm (action) {
  await page.getByRole('dialog').getByRole('button', { name: action, exact: true }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
}
async function state (name, expected) {
  await row(name).getByRole('cell').getByText(expected, { exact: true }).waitFor()
}
async function issue (name, more = async () => {}) {
  await page.getByRole('link', { name: 'Issue a token' }).click()
  await page.getByLabel('Name', { exact: true }).fill(name)
  await more()
  await press('Issue token')
  return (await value().textContent()).trim()
}

test('a private token, from its issue to its end', async () => {
  page = await signedIn('to-bob', list, { permissions: ['clipboard-read', 'clipboard-write'], timezoneId: 'America/New_York' })
  await page.getByRole('link', { name: 'Issue a token' }).click()
  assert.equal(await page.getByRole('checkbox', { checked: true }).count(), 0, 'nothing is preselected')
  assert.equal(await page.getByLabel('Manage databases').count(), 0, 'what the role does not carry')
  assert.equal(await page.getByLabel('Shared').count(), 0)
  await page.getByLabel('Name', { exact: true }).fill('laptop')
  await page.getByLabel('Read databases').check()
  await page.getByLabel('Networks').fill('127.0.0.0/8\n192.0.2.1')
  await page.getByLabel('Expires').selectOption({ label: 'In 30 days' })
  await page.getByText(/A private token laptop with 1 scope/).waitFor()
  await press('Issue token')
  const token = (await value().textContent()).trim()
  assert.match(token, /^wal_[0-9a-f]{64}$/)
  assert.ok(await works(token))
  const stored = sqlJson("SELECT scopes, networks, ceil(extract(epoch FROM expires_at - now()) / 3600) AS hours FROM walwarden.list_tokens('tokens') WHERE name = 'laptop'")[0]
  assert.deepEqual(stored, { scopes: ['databases:read'], networks: ['127.0.0.0/8', '192.0.2.1/32'], hours: 720 })
  assert.equal(page.url(), site + list)

  await press('Copy')
  await page.getByRole('status').getByText(/copied/i).waitFor()
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), token)
  const [download] = await Promise.all([page.waitForEvent('download'), press('Download walwarden.env')])
  assert.equal(download.suggestedFilename(), 'walwarden.env')
  assert.equal(readFileSync(await download.path(), 'utf8'), `WALWARDEN_API_KEY=${token}\nWALWARDEN_BASE_URL=${site}/api/v1\n`)
  await press('I have stored it')
  assert.ok(!(await page.content()).includes(token))
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1')

  await row('laptop').getByText('in 30 days').waitFor()
  assert.equal(await row('laptop').getByText('never').count() + await row('laptop').getByText(/ago|now/).count(), 1)
  const expires = sql("SELECT to_char(expires_at, 'YYYY-MM-DD HH24:MI:SS') || ' UTC' FROM walwarden.list_tokens('tokens') WHERE name = 'laptop'")
  assert.equal(await row('laptop').getByTitle(expires).count(), 1)

  const dialog = await choose('laptop', 'Renew')
  await dialog.getByText(/stops working/).waitFor()
  await dialog.getByRole('combobox').selectOption({ label: '1 hour' })
  await confirm('Renew')
  const renewed = (await value().textContent()).trim()
  assert.notEqual(renewed, token)
  assert.ok(await works(token) && await works(renewed))
  await press('I have stored it')
  await choose('laptop', 'End overlap')
  await confirm('End overlap')
  assert.ok(!await works(token) && await works(renewed))

  await choose('laptop', 'Disable')
  await page.getByLabel('Reason').fill('on leave')
  await confirm('Disable')
  await state('laptop', 'disabled')
  await row('laptop').getByText('on leave').waitFor()
  assert.ok(!await works(renewed))
  await choose('laptop', 'Enable')
  await page.getByRole('dialog').getByLabel('Expires').selectOption({ label: 'In 7 days' })
  await confirm('Enable')
  await row('laptop').getByText('in 7 days').waitFor()
  assert.ok(await works(renewed))
  await choose('laptop', 'Revoke')
  await confirm('Revoke')
  await state('laptop', 'revoked')
  assert.ok(!await works(renewed))
  assert.equal(await page.getByRole('button', { name: 'Manage laptop' }).count(), 0)
})

test('a shared token, with the permissions of a role, is revoked by its name', async () => {
  page = await signedIn('to-ann', list)
  const token = await issue('deployer', async () => {
    await page.getByLabel('Shared').check()
    await page.getByLabel('From a role').check()
    await page.getByLabel('Role', { exact: true }).selectOption('analyst')
  })
  await press('I have stored it')
  assert.deepEqual(sqlJson("SELECT visibility, role FROM walwarden.list_tokens('tokens') WHERE name = 'deployer'"), [{ visibility: 'shared', role: 'analyst' }])
  await row('deployer').getByText('shared').waitFor()
  const dialog = await choose('deployer', 'Revoke')
  const typed = dialog.getByLabel(/Type the name/)
  for (const wrong of ['', 'Deployer', 'deployer ']) {
    await typed.fill(wrong)
    await dialog.getByRole('button', { name: 'Revoke', exact: true }).click()
    assert.ok(await dialog.isVisible())
    assert.ok(await works(token), wrong)
  }
  await page.keyboard.press('Escape')
  assert.ok(await dialog.isVisible(), 'what was typed is not lost')
  await typed.fill('deployer')
  await confirm('Revoke')
  await state('deployer', 'revoked')
  assert.ok(!await works(token))
})

test('two clicks issue one token, and an error keeps the form', async () => {
  page = await signedIn('to-ann', `${list}/new`)
  await page.getByLabel('Name', { exact: true }).fill('twice')
  await page.getByLabel('Networks').fill('not a network')
  await press('Issue token')
  await page.getByRole('alert').waitFor()
  assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'twice')
  await page.getByLabel('Networks').fill('')
  await page.getByRole('button', { name: 'Issue token' }).dblclick()
  await value().waitFor()
  assert.equal(tokensOf('twice'), 1)
})

// name -> how the browser is started
const modes = { 'without a cache of pages': {}, 'with the cache of pages': { ignoreDefaultArgs: ['--disable-back-forward-cache'] }, 'with nothing kept': { args: ['--disk-cache-size=1', '--disable-back-forward-cache'] } }
for (const [mode, options] of Object.entries(modes)) {
  test(`back and forward show no value again, ${mode}`, async () => {
    const name = `back ${Object.keys(modes).indexOf(mode)}`
    const { url } = await elsewhere({ '/': '<!DOCTYPE html><title>elsewhere</title><p>elsewhere</p><script>onpageshow = (event) => { document.title = event.persisted ? "kept" : "new" }</script>' })
    page = await signedIn('to-ann', list, { in: await browser(options) })
    const token = await issue(name)
    const gone = async (what) => {
      await page.locator('h1').waitFor()
      assert.ok(!(await page.content()).includes(token), what)
      assert.equal(await page.getByText(/wal_[0-9a-f]/).count(), 0, what)
      assert.equal(tokensOf(name), 1, what)
    }
    // to another site and back, as a person goes
    await page.evaluate((address) => { location.href = address }, url)
    await page.getByText('elsewhere').waitFor()
    await page.evaluate(() => history.back())
    await page.getByRole('heading', { name: 'API tokens' }).waitFor()
    await gone('back')
    await page.evaluate(() => history.forward())
    await page.getByText('elsewhere').waitFor()
    // the mode is what it is meant to be
    assert.equal(await page.title(), options.ignoreDefaultArgs ? 'kept' : 'new')
    await page.evaluate(() => history.back())
    await gone('back once more')
    // within the page
    for (const step of [-1, 1]) {
      await page.evaluate((step) => history.go(step), step)
      await gone(`history.go(${step})`)
    }
  })
}

test('reload and leaving the view show no value, and issue nothing', async () => {
  page = await signedIn('to-ann', list)
  const token = await issue('reloaded')
  await page.reload()
  await page.getByRole('heading', { name: 'API tokens' }).waitFor()
  await row('reloaded').waitFor()
  assert.ok(!(await page.content()).includes(token))
  assert.equal(tokensOf('reloaded'), 1)
  const other = await issue('left')
  await page.getByRole('link', { name: 'Members' }).click()
  await page.getByRole('heading', { name: 'Members' }).waitFor()
  await page.goBack()
  await row('left').waitFor()
  assert.ok(!(await page.content()).includes(other))
})

test('lists, from nothing to more than a page', async () => {
  page = await signedIn('to-nil', '/o/none/settings/api-tokens')
  await page.getByRole('link', { name: 'Issue the first one' }).waitFor()
  page = await signedIn('to-ro', '/o/none/settings/api-tokens')
  await page.getByText('There are no tokens.').waitFor()
  assert.equal(await page.getByRole('link', { name: /Issue/ }).count(), 0)
  await visit(page, '/o/none/settings/api-tokens/new')
  await page.getByText(/Ask an owner or admin/).waitFor()

  for (const count of [25, 26, 205]) {
    const there = Number(sql("SELECT count(*) FROM walwarden.list_tokens('many')"))
    sql(`SELECT walwarden.issue_token('many', 'token ' || i, '{databases:read}'::text[]) FROM generate_series(${there + 1}, ${count}) AS i`)
    page = await signedIn('to-max', '/o/many/settings/api-tokens')
    const rows = page.getByRole('rowheader')
    await rows.first().waitFor()
    for (let shown = Math.min(count, 100); ; shown = Math.min(count, shown + 100)) {
      await page.waitForFunction((n) => document.querySelectorAll('tbody tr').length === n, shown)
      if (shown === count) break
      await press('More')
    }
    assert.equal(await page.getByRole('button', { name: 'More' }).count(), 0)
    assert.equal(new Set(await rows.allTextContents()).size, count)
    if (count === 205) {
      // filters
      await page.getByLabel('Name contains').fill('TOKEN 20')
      await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 7)
      await page.getByLabel('State').selectOption('revoked')
      await page.getByText('No token fits').waitFor()
    }
    }
})

test('names are texts, whatever is in them', async () => {
  page = await signedIn('to-ann', list)
  const markup = '<img src=x onerror=alert(1)><script>alert(2)</script>&amp;'
  const long = 'x'.repeat(100)
  await issue(markup)
  await issue(long)
  // and those that the server would not take
  const names = [markup, long, '\u202egnp.exe', '\u202d\u2066abc', '\u05d0\u05d1\u05d2 123', '"; DROP--', '{{7*7}}${7*7}', 'a\u0000b\nc']
  await page.route('**/api/v1/orgs/tokens/tokens?*', async (route) => {
    const response = await route.fetch()
    const json = await response.json()
    const [token] = json.tokens
    await route.fulfill({ response, json: { ...json, tokens: names.map((name) => ({ ...token, name, createdBy: name, owner: name, labels: { [name]: name }, networks: [name], disabledReason: name })) } })
  })
  await visit(page, list)
  for (const [i, name] of names.entries()) {
    const header = page.locator('tbody th bdi').nth(i)
    await header.waitFor()
    assert.equal(await header.textContent(), name)
    assert.deepEqual(await header.evaluate((element) => [element.children.length, getComputedStyle(element).unicodeBidi]), [0, 'isolate'])
  }
  assert.equal(await page.locator('main').locator('img, script, iframe').count(), 0)
  for (const width of [1280, 375]) {
    await page.setViewportSize({ width, height: 800 })
    assert.equal(await overflow(page), 0, `${width}`)
  }
  await page.unroute('**/api/v1/orgs/tokens/tokens?*', { behavior: 'ignoreErrors' })
  await visit(page, list)
  await choose(long, 'Revoke')
  assert.equal(await overflow(page), 0)
  assert.ok(await page.getByRole('dialog').evaluate((dialog) => dialog.scrollWidth <= dialog.clientWidth))
})

test('who may do less sees less', async () => {
  const shared = sqlJson("SELECT token_id FROM walwarden.issue_token('tokens', 'of all', '{}'::text[])")[0].token_id
  page = await signedIn('to-bob', list)
  await page.getByRole('heading', { name: 'API tokens' }).waitFor()
  assert.equal(await row('of all').count(), 0)
  page = await signedIn('to-dev', list)
  assert.equal(await page.getByRole('link', { name: 'Issue a token' }).count(), 0)
  // an owner disables the private token of another, and does not renew it
  page = await signedIn('to-bob', list)
  await issue('of bob')
  page = await signedIn('to-ann', list)
  await press('Manage of bob')
  assert.deepEqual(await page.locator('.menu:popover-open').getByRole('button').allTextContents(), ['Disable', 'Revoke'])
  await press('Manage of all')
  assert.deepEqual(await page.locator('.menu:popover-open').getByRole('button').allTextContents(), ['Renew', 'Disable', 'Revoke'])
  assert.ok(shared)
})
