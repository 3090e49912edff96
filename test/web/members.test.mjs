// Members on the page.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { createOrg, signedIn, sql, sqlJson } from './browser.mjs'

before(() => {
  createOrg('members')
  for (const [subject, role] of [['me-ann', 'owner'], ['me-joe', 'admin'], ['me-eve', 'member']]) sql(`SELECT walwarden.add_member('members', '${subject}', '${role}')`)
})

let page
const press = (name) => page.getByRole('button', { name, exact: true }).click()
const dialog = () => page.getByRole('dialog')
const row = (subject) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: subject }) })
const member = (subject) => sqlJson(`SELECT role, state, sso FROM walwarden.list_members('members') WHERE subject = '${subject}'`)[0]
async function choose (subject, action) {
  await press(`Manage ${subject}`)
  await press(action)
  await dialog().waitFor()
}
async function confirm (action) {
  await dialog().getByRole('button', { name: action, exact: true }).click()
  await dialog().waitFor({ state: 'detached' })
}

test('a member is added, changed, disabled, enabled and removed', async () => {
  page = await signedIn('me-ann', '/o/members/members')
  await press('Add a member')
  await dialog().getByLabel('Subject').fill('me-new')
  await dialog().getByLabel('Role').selectOption('analyst')
  await confirm('Add')
  await row('me-new').getByText('analyst').waitFor()
  await choose('me-new', 'Change role')
  assert.equal(await dialog().getByLabel('Role').inputValue(), 'analyst')
  await dialog().getByLabel('Role').selectOption('member')
  await confirm('Change role')
  await row('me-new').getByText('member', { exact: true }).waitFor()
  await choose('me-new', 'Single sign-on')
  await confirm('Single sign-on')
  await row('me-new').getByText('yes').waitFor()
  await choose('me-new', 'Disable')
  await confirm('Disable')
  await row('me-new').getByText('disabled').waitFor()
  assert.deepEqual(member('me-new'), { role: 'member', state: 'disabled', sso: true })
  await choose('me-new', 'Enable')
  await confirm('Enable')
  await row('me-new').getByText('active').waitFor()
  await choose('me-new', 'Remove')
  await dialog().getByLabel(/Type the name/).fill('me-ne')
  await dialog().getByRole('button', { name: 'Remove' }).click()
  assert.ok(await dialog().isVisible())
  await dialog().getByLabel(/Type the name/).fill('me-new')
  await confirm('Remove')
  await row('me-new').waitFor({ state: 'detached' })
  assert.equal(member('me-new')?.state ?? 'removed', 'removed')
})

test('the last owner stays one', async () => {
  page = await signedIn('me-ann', '/o/members/members')
  sql("SELECT walwarden.disable_member('members', 'me-joe')")
  const refused = async (action) => {
    await dialog().getByRole('button', { name: action, exact: true }).click()
    await dialog().getByRole('alert').waitFor()
    await dialog().getByRole('button', { name: 'Cancel' }).click()
  }
  await choose('me-ann', 'Disable')
  await refused('Disable')
  await choose('me-ann', 'Change role')
  await dialog().getByLabel('Role').selectOption('read_only')
  await refused('Change role')
  await choose('me-ann', 'Remove')
  await dialog().getByLabel(/Type the name/).fill('me-ann')
  await refused('Remove')
  assert.deepEqual([member('me-ann').role, member('me-ann').state], ['owner', 'active'])
  sql("SELECT walwarden.enable_member('members', 'me-joe')")
})

test('who changes their own role sees what is left of it', async () => {
  page = await signedIn('me-joe', '/o/members/members')
  await row('me-ann').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Manage me-ann' }).count(), 0, 'an admin does not manage owners')
  await choose('me-joe', 'Change role')
  assert.ok(!(await dialog().getByLabel('Role').locator('option').evaluateAll((options) => options.map((option) => option.value))).includes('owner'))
  await dialog().getByLabel('Role').selectOption('member')
  await confirm('Change role')
  await page.getByText('Owners and admins see and manage the members.').waitFor()
  assert.equal(await page.getByRole('link', { name: 'Members' }).count(), 0)
})

test('others do not see them', async () => {
  page = await signedIn('me-eve', '/o/members/members')
  await page.getByText('Owners and admins see and manage the members.').waitFor()
  assert.equal(await page.getByText('me-ann').count(), 0)
})
