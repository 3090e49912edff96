// The overview of databases: what is backed up, what runs, and the last thirty days.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { allScopes, artifact, call, createDatabase, createOrg, issue, Node, passed, signedIn, sql, unchecked, visit } from './browser.mjs'

let page, node, token
const ids = {}
before(async () => {
  for (const org of ['dbs', 'no-dbs']) {
    createOrg(org)
    for (const [subject, role] of [['db-ann', 'owner'], ['db-dev', 'api_developer'], ['db-deploy', 'deploy']]) sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}')`)
  }
  token = issue('dbs', allScopes)
  node = new Node('dbs')
  for (const name of ['orders', 'billing', 'analytics']) ids[name] = (await createDatabase(token, name, name === 'orders' ? { schedule: '0 3 * * *' } : {})).id
  await backup('orders')
  await node.completeBackup(passed(new Date(Date.now() - 3600e3).toISOString(), new Date().toISOString()))
  await backup('orders')
  await node.completeBackup()
  await backup('billing')
  await node.failBackup()
})
const backup = (name) => call('POST', `/databases/${ids[name]}/backups`, { token })
const row = (name) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: new RegExp(`^${name}`) }) })
const strip = (name) => row(name).getByRole('img').getAttribute('aria-label')

test('what is backed up, and the last thirty days in words and in a picture', async () => {
  page = await signedIn('db-ann', '/o/dbs/databases')
  await row('orders').waitFor()
  assert.equal(await strip('orders'), 'The last 30 days: 1 verified backup, 1 unverified backup')
  assert.equal(await strip('billing'), 'The last 30 days: 1 failed backup')
  assert.equal(await strip('analytics'), 'The last 30 days: nothing')
  await row('orders').getByText('1 verified backup, 1 unverified backup', { exact: true }).click()
  assert.equal(await row('orders').getByRole('listitem').count(), 1)
  assert.equal(await row('orders').locator('svg rect.none').count(), 30)
  assert.equal(await row('billing').locator('svg rect.failed').count(), 1)
  await row('orders').getByText(/^in \d+ (hours?|minutes?)$/).waitFor()
  await row('analytics').getByText('none yet').first().waitFor()
  await row('analytics').getByText('no schedule').first().waitFor()
})

test('a job that runs shows its progress, until it has finished', async () => {
  page = await signedIn('db-ann', '/o/dbs/databases')
  await backup('analytics')
  await page.reload()
  await row('analytics').getByText('queued').waitFor()
  const job = await node.claim('{backup}')
  await node.report(job, 'running')
  await node.run(`SELECT walwarden.heartbeat_job('${job.job_id}', ${job.fence}, '{"phase": "dumping", "percent": 40}')`)
  await row('analytics').getByText('40 %').waitFor()
  assert.equal(await row('analytics').getByRole('progressbar').getAttribute('value'), '40')
  await node.report(job, 'finalizing')
  await node.evidence(job, unchecked)
  await node.report(job, 'completed', { artifact })
  await row('analytics').getByText('completed').waitFor()
})

test('a restore drill is in the strip', async () => {
  page = await signedIn('db-ann')
  const drill = (finishedAt, state) => ({ id: crypto.randomUUID(), databaseId: ids.orders, kind: 'drill', state, done: true, timings: { queuedAt: finishedAt, finishedAt } })
  const daysAgo = (n) => new Date(Date.now() - n * 86400e3).toISOString()
  await page.route('**/restores?*', (route) => route.fulfill({ json: { restores: [drill(daysAgo(2), 'completed'), drill(daysAgo(9), 'failed'), drill(daysAgo(40), 'completed')], pageInfo: { nextCursor: null, hasMore: false } } }))
  await visit(page, '/o/dbs/databases')
  await row('orders').waitFor()
  assert.match(await strip('orders'), /1 drill, 1 failed drill$/)
  assert.equal(await row('orders').locator('svg .drill').count(), 2)
})

test('a role that sees less, and an organisation that has none', async () => {
  page = await signedIn('db-dev', '/o/dbs/databases')
  await row('orders').waitFor()
  await page.getByText('Your role does not see what is verified. Your role does not see drills.').waitFor()
  page = await signedIn('db-deploy', '/o/dbs/databases')
  await page.getByText(/does not see the databases/).waitFor()
  page = await signedIn('db-ann', '/o/no-dbs/databases')
  await page.getByText('No database is protected yet.').waitFor()
})
