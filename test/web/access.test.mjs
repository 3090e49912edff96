// For everybody: by keyboard alone, on a narrow screen, in light and dark, and for programs
// that read a page out. With PICTURES=DIRECTORY each view is also left there as a picture.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { accessibility, allScopes, call, context, createDatabase, link, Node, overflow, passed, signedIn, site, sql, visit } from './browser.mjs'

const org = '/o/acme'
before(async () => {
  sql("SELECT walwarden.create_org('acme', 'Acme Ltd')")
  for (const [subject, role] of [['ann@acme.example', 'owner'], ['bob@acme.example', 'admin'], ['carol@acme.example', 'analyst'], ['dan@acme.example', 'api_developer']]) sql(`SELECT walwarden.add_member('acme', '${subject}', '${role}')`)
  sql(`SELECT walwarden.disable_member('acme', 'dan@acme.example');
    SELECT walwarden.create_org('empty'), walwarden.add_member('empty', 'nil@acme.example', 'owner'), walwarden.add_member('empty', 'ann@acme.example', 'analyst');
    SELECT walwarden.set_plan('empty', 'free');
    SELECT walwarden.issue_token('acme', 'nightly backups', '{databases:read,backups:trigger}'::text[], now() + interval '90 days');
    SELECT walwarden.issue_token('acme', 'dashboard', '{databases:read,readiness:read,evidence:read}'::text[], labels => '{"team": "ops", "env": "prod"}', networks => '{192.0.2.0/24}');
    SELECT walwarden.disable_token(token_id, 'on leave') FROM walwarden.issue_token('acme', 'terraform', '{databases:read,databases:write,destinations:write}'::text[], now() + interval '1 year');
    SELECT walwarden.revoke_token(token_id, 'laptop lost') FROM walwarden.issue_token('acme', 'old laptop', '{databases:read}'::text[], now() + interval '30 days')`)
  const named = (name, more) => sql(`SELECT token FROM walwarden.issue_token('acme', '${name}', ${more})`)
  const token = named('provisioning', `'{${allScopes}}'::text[]`)
  const node = new Node('acme', named('node-1', "kind => 'node'"))
  for (const name of ['orders', 'billing']) {
    const { id } = await createDatabase(token, name, { schedule: '0 3 * * *' })
    await call('POST', `/databases/${id}/backups`, { token })
    await node.completeBackup(passed(new Date(Date.now() - 3600e3).toISOString(), new Date().toISOString()))
  }
  await createDatabase(token, 'analytics')
})

const press = (page, name) => page.getByRole('button', { name, exact: true }).click()

// name -> how to get there; a view is looked at in all ways
const views = {
  'sign-in': (page) => page.goto(`${site}/signin`),
  'sign-in-link': (page) => page.goto(link('bob@acme.example')).then(() => page.getByRole('button', { name: 'Sign in' }).waitFor()),
  organisations: (page) => visit(page, '/'),
  tokens: async (page) => {
    await visit(page, `${org}/settings/api-tokens`)
    await page.getByRole('rowheader', { name: /old laptop/ }).waitFor()
  },
  manage: (page) => press(page, 'Manage nightly backups'),
  renew: (page) => press(page, 'Renew'),
  revoke: async (page) => {
    await press(page, 'Cancel')
    await press(page, 'Manage nightly backups')
    await press(page, 'Revoke')
    await page.getByRole('dialog').waitFor()
  },
  issue: async (page) => {
    await visit(page, `${org}/settings/api-tokens/new`)
    await page.getByLabel('Read databases').check()
  },
  'issue-error': async (page) => {
    await page.getByLabel('Name', { exact: true }).fill('ci')
    await page.getByLabel('Networks').fill('nowhere')
    await press(page, 'Issue token')
    await page.getByRole('alert').waitFor()
  },
  reveal: async (page) => {
    await page.getByLabel('Networks').fill('')
    await press(page, 'Issue token')
    await page.getByRole('region', { name: 'Store the token now' }).waitFor()
    await page.getByRole('rowheader', { name: /old laptop/ }).waitFor()
  },
  members: async (page) => {
    await visit(page, `${org}/members`)
    await page.getByRole('rowheader', { name: /dan@/ }).waitFor()
  },
  'member-role': async (page) => {
    await press(page, 'Manage bob@acme.example')
    await press(page, 'Change role')
    await page.getByRole('dialog').waitFor()
  },
  audit: async (page) => {
    await visit(page, `${org}/audit`)
    await page.getByRole('rowheader', { name: '1', exact: true }).waitFor()
    await page.getByText('Show', { exact: true }).first().click()
  },
  databases: async (page) => {
    await visit(page, `${org}/databases`)
    await page.getByRole('rowheader', { name: /analytics/ }).waitFor()
  },
  'no-plan': (page) => visit(page, '/o/empty/settings/api-tokens'),
  'not-permitted': (page) => visit(page, '/o/empty/members'),
  missing: (page) => visit(page, '/o/no-such/members')
}

// colours, width
const ways = [['light', 1280], ['dark', 375]]

test('every view is accessible and fits, wide and narrow, in light and dark', async () => {
  const page = await signedIn('ann@acme.example')
  const faults = {}
  for (const [name, arrive] of Object.entries(views)) {
    await page.setViewportSize({ width: 1280, height: 900 })
    await arrive(page)
    for (const [colorScheme, width] of ways) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await page.setViewportSize({ width, height: 900 })
      const wider = await overflow(page)
      const found = [...await accessibility(page), ...wider > 0 ? [`${wider} pixels too wide`] : []]
      if (found.length > 0) faults[`${name} ${colorScheme} ${width}`] = found
      if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/${name}-${colorScheme}-${width}.png`, fullPage: width === 375 })
    }
  }
  assert.deepEqual(faults, {})
})

// What has the focus, as a screen reader would name it.
const focused = (page) => page.evaluate(() => {
  const element = document.activeElement
  return `${element.tagName} ${element.labels?.[0]?.textContent ?? element.textContent.slice(0, 80)}`
})
async function tabTo (page, wanted) {
  const passed = []
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press('Tab')
    const here = await focused(page)
    if (wanted.test(here)) return
    passed.push(here)
  }
  assert.fail(`no ${wanted} by Tab, only ${passed.join(' | ')}`)
}
// a view has the focus as soon as it is there
const heading = (page, name) => page.getByRole('heading', { name }).and(page.locator(':focus')).waitFor()

test('a token is issued and revoked by keyboard alone', async () => {
  const page = await (await context()).newPage()
  const { keyboard } = page
  await page.goto(link('ann@acme.example'))
  await page.getByRole('heading', { name: 'Sign in' }).waitFor()
  await tabTo(page, /^BUTTON Sign in/)
  await keyboard.press('Enter')
  await heading(page, 'Organisations')
  await tabTo(page, /^A Acme Ltd/)
  await keyboard.press('Enter')
  await page.getByRole('button', { name: 'Sign out' }).waitFor()
  await page.waitForURL('**/o/acme/**')
  await page.locator('h1:focus').waitFor()
  await page.keyboard.press('Tab')
  await tabTo(page, /^A API tokens/)
  await keyboard.press('Enter')
  await heading(page, 'API tokens')

  await tabTo(page, /^A Issue a token/)
  await keyboard.press('Enter')
  await heading(page, 'Issue a token')
  await tabTo(page, /^INPUT Name/)
  await keyboard.type('by keyboard')
  await tabTo(page, /^INPUT Private/)
  await keyboard.press('ArrowDown')
  await tabTo(page, /^INPUT Read databases/)
  await keyboard.press('Space')
  await tabTo(page, /^BUTTON Issue token/)
  await keyboard.press('Enter')
  await heading(page, 'Store the token now')
  await tabTo(page, /^BUTTON I have stored it/)
  await keyboard.press('Enter')
  await heading(page, 'API tokens')
  assert.equal(sql("SELECT visibility || scopes::text FROM walwarden.list_tokens('acme') WHERE name = 'by keyboard'"), 'shared{databases:read}')

  const manage = page.getByRole('button', { name: 'Manage by keyboard', exact: true })
  const act = async (action) => {
    await keyboard.press('Enter')
    await tabTo(page, new RegExp(`^BUTTON ${action}`))
    await keyboard.press('Enter')
    await page.getByRole('dialog').waitFor()
  }
  await manage.waitFor()
  // the menu closes, and the focus stays where it was
  await tabTo(page, /^BUTTON Manage by keyboard/)
  await keyboard.press('Enter')
  await keyboard.press('Escape')
  await manage.and(page.locator(':focus')).waitFor()
  await act('Disable')
  assert.ok(await page.evaluate(() => document.querySelector('dialog').contains(document.activeElement)))
  await tabTo(page, /^BUTTON Cancel/)
  await keyboard.press('Enter')
  await manage.and(page.locator(':focus')).waitFor()
  // the list is drawn again, and the focus is on the button that took its place
  await act('Disable')
  await tabTo(page, /^BUTTON Disable/)
  await keyboard.press('Enter')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await page.getByRole('row').filter({ has: manage }).getByText('disabled', { exact: true }).waitFor()
  await manage.and(page.locator(':focus')).waitFor()
  await act('Revoke')
  await tabTo(page, /^INPUT Type the name/)
  await keyboard.type('by keyboard')
  await keyboard.press('Enter')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  // the button is gone
  await heading(page, 'API tokens')
  assert.equal(sql("SELECT state FROM walwarden.list_tokens('acme') WHERE name = 'by keyboard'"), 'revoked')
})

test('a slow answer does not take the focus from whoever went on', async () => {
  const page = await signedIn('ann@acme.example')
  const { keyboard } = page
  // answers to the path wait until they are let go
  const hold = async (path) => {
    let go
    const gone = new Promise((resolve) => { go = resolve })
    await page.route(path, async (route) => { await gone; await route.continue() })
    return async () => { go(); await page.unroute(path, { behavior: 'wait' }) }
  }
  await visit(page, `${org}/members`)

  const list = await hold('**/orgs/acme/tokens?*')
  await tabTo(page, /^A API tokens/)
  await keyboard.press('Enter')
  await heading(page, 'API tokens')
  await tabTo(page, /^A Issue a token/)
  await list()
  await page.getByRole('rowheader', { name: /nightly backups/ }).waitFor()
  assert.equal(await focused(page), 'A Issue a token')

  await keyboard.press('Enter')
  await heading(page, 'Issue a token')
  await page.getByLabel('Name', { exact: true }).fill('held')
  await page.getByLabel('Read databases').check()
  const view = await hold('**/orgs/acme')
  await press(page, 'Issue token')
  await heading(page, 'Store the token now')
  await tabTo(page, /^BUTTON I have stored it/)
  await view()
  await page.getByRole('rowheader', { name: /nightly backups/ }).waitFor()
  assert.equal(await focused(page), 'BUTTON I have stored it')
  await keyboard.press('Enter')
  await heading(page, 'API tokens')
})
