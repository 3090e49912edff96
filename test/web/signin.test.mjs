// Signing in by a link, and what ends a session while the page is open.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { context, createOrg, link, signedIn, site, sql, visit } from './browser.mjs'

before(() => {
  for (const org of ['signin', 'signin-b', 'signin-c']) createOrg(org)
  for (const [org, subject, role] of [['signin', 'si-ann', 'owner'], ['signin', 'si-bob', 'admin'], ['signin', 'si-eve', 'member'], ['signin-b', 'si-ann', 'member'], ['signin-c', 'si-zoe', 'owner']]) {
    sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}')`)
  }
})
let page

const problem = () => page.getByRole('alert')
const press = (name) => page.getByRole('button', { name, exact: true }).click()

test('a link signs in, and is in no history', async () => {
  page = await (await context()).newPage()
  const address = link('si-eve')
  await page.goto(address)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  assert.equal(page.url(), `${site}/signin`)
  await press('Sign in')
  await page.waitForURL('**/o/signin/**')
  assert.ok(await page.getByText('si-eve').isVisible())
  // there is nothing behind it
  await page.goBack()
  assert.ok(!page.url().includes('#'))
  await page.goto(address)
  await press('Sign in')
  await problem().waitFor()
  assert.match(await problem().textContent(), /code/)
  await visit(page, '/o/signin/settings/api-tokens')
  await press('Sign out')
  await page.waitForURL('**/signin')
  assert.deepEqual(await page.context().cookies(), [])
  await visit(page, '/o/signin/settings/api-tokens')
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
})

test('single sign-on in vain says why, and nothing of others', async () => {
  page = await (await context()).newPage()
  for (const [reason, says] of [['not_a_member', /not enabled for you/], ['service_down', /at the moment/]]) {
    await page.goto(`${site}/signin?reason=${encodeURIComponent(reason)}`)
    await problem().waitFor()
    assert.match(await problem().textContent(), says)
  }
  for (const reason of ['Call 555-0100 and tell them your code', '<img src=x onerror=alert(1)>']) {
    await page.goto(`${site}/signin?reason=${encodeURIComponent(reason)}`)
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    assert.equal(await problem().count(), 0)
    assert.ok(!(await page.getByRole('main').textContent()).includes(reason))
  }
})

test('a link of before, or for somebody who is out, does not', async () => {
  page = await (await context()).newPage()
  for (const [subject, change, undo] of [
    ['si-eve', 'UPDATE walwarden_internal.sign_in_code SET expires_at = clock_timestamp() WHERE used_at IS NULL'],
    ['si-eve', "SELECT walwarden.disable_member('signin', 'si-eve')", "SELECT walwarden.enable_member('signin', 'si-eve')"]
  ]) {
    const address = link(subject)
    sql(change)
    await page.goto(address)
    await press('Sign in')
    await problem().waitFor()
    assert.equal(page.url(), `${site}/signin`)
    if (undo) sql(undo)
  }
  await page.goto('about:blank')
  await page.goto(`${site}/signin`)
  await page.getByText('ask for one').waitFor()
  assert.equal(await page.getByRole('button').count(), 0)
})

test('a person chooses among their organisations', async () => {
  page = await signedIn('si-ann')
  await page.getByRole('link', { name: 'signin-b' }).click()
  await page.waitForURL('**/o/signin-b/**')
  assert.equal(await page.getByRole('link', { name: 'Members' }).count(), 0)
  await page.getByRole('link', { name: 'Change the organisation, now signin-b' }).click()
  await page.getByRole('link', { name: 'signin', exact: true }).click()
  await page.waitForURL('**/o/signin/**')
  await page.getByRole('link', { name: 'Members' }).click()
  await page.getByRole('heading', { name: 'Members' }).waitFor()
  await page.goBack()
  await page.waitForURL((url) => !url.pathname.endsWith('members'))
})

test("somebody else's organisation is one that does not exist", async () => {
  page = await signedIn('si-eve')
  const shown = async (org) => {
    await visit(page, `/o/${org}/settings/api-tokens`)
    await problem().waitFor()
    return (await page.locator('main').textContent()).replace(/[0-9a-f]{32}/, '').replaceAll(org, '')
  }
  assert.equal(await shown('signin-c'), await shown('no-such'))
  for (const path of ['/o', '/o/signin/nothing', '/o/signin/members/x']) {
    await page.goto(site + path)
    await page.locator('h1, pre, body').first().waitFor()
    assert.equal(await page.getByRole('table').count(), 0)
  }
})

test('a member who is disabled meanwhile is out with the next click', async () => {
  page = await signedIn('si-eve', '/o/signin/settings/api-tokens')
  sql("SELECT walwarden.disable_member('signin', 'si-eve')")
  await page.getByRole('link', { name: 'API tokens' }).click()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  sql("SELECT walwarden.enable_member('signin', 'si-eve')")
})

test('a role that is reduced, and a plan that is changed, apply to the next click', async () => {
  page = await signedIn('si-bob', '/o/signin/members')
  const actions = page.getByRole('button', { name: 'Add a member' })
  await actions.waitFor()
  sql("SELECT walwarden.set_member_role('signin', 'si-bob', 'member')")
  await actions.click()
  await page.getByLabel('Subject').fill('si-new')
  await press('Add')
  await problem().waitFor()
  assert.equal(sql("SELECT count(*) FROM walwarden.list_members('signin') WHERE subject = 'si-new'"), '0')
  await press('Cancel')
  await page.reload()
  await page.getByText('Owners and admins see and manage the members.').waitFor()
  assert.equal(await actions.count(), 0)

  await page.getByRole('link', { name: 'API tokens' }).click()
  await page.getByRole('link', { name: 'Issue a token' }).click()
  sql("SELECT walwarden.set_plan('signin', 'pro')")
  await page.getByLabel('Name', { exact: true }).fill('too late')
  await press('Issue token')
  await problem().waitFor()
  await page.getByRole('link', { name: 'API tokens' }).click()
  await page.getByText(/plan of this organisation is pro/).waitFor()
  assert.equal(await page.getByRole('link', { name: 'Issue a token' }).count(), 0)
  sql("SELECT walwarden.set_plan('signin', 'team')")
})

test('a session that ends while a form is open keeps the form', async () => {
  page = await signedIn('si-eve', '/o/signin/settings/api-tokens/new')
  await page.getByLabel('Name', { exact: true }).fill('typed before')
  await page.getByLabel('Networks').fill('192.0.2.0/24')
  await page.getByLabel('Read databases').check()
  sql("UPDATE walwarden_internal.session SET ended_at = clock_timestamp() WHERE subject = 'si-eve' AND ended_at IS NULL")
  await press('Issue token')
  await problem().waitFor()
  assert.equal(await page.getByLabel('Name', { exact: true }).inputValue(), 'typed before')
  assert.equal(await page.getByLabel('Networks').inputValue(), '192.0.2.0/24')
  const other = await page.context().newPage()
  await other.goto(link('si-eve'))
  await other.getByRole('button', { name: 'Sign in' }).click()
  await other.getByRole('button', { name: 'Sign out' }).waitFor()
  await press('Issue token')
  await page.getByRole('heading', { name: 'Store the token now' }).waitFor()
  assert.equal(sql("SELECT count(*) FROM walwarden.list_tokens('signin') WHERE name = 'typed before'"), '1')
})
