// The audit chain on the page: read, searched, and verified by the server and by the browser.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { createOrg, signedIn, sql, sqlJson } from './browser.mjs'

before(() => {
  for (const org of ['chain', 'chain-b']) {
    createOrg(org)
    for (const [subject, role] of [['ch-ann', 'owner'], ['ch-eve', 'member'], ['ch-ro', 'read_only']]) sql(`SELECT walwarden.add_member('${org}', '${subject}', '${role}')`)
    sql(`SELECT walwarden.issue_token('${org}', 'Zoë "' || i || E'" \\u20ac \\U0001F4A9', '{databases:read}'::text[], labels => '{"a": "é", "b": "1e21"}') FROM generate_series(1, 120) AS i;
      SELECT walwarden.append_audit('app.number', '{"n": [9007199254740991, -9007199254740991, 0, -7], "t": "\\u007f \\u20ac \\u2028 \\u0001 \\"\\\\/", "\\ud83d\\ude00": 1, "\\ufb33": 2, "B": {}, "a": []}', NULL, '${org}')`)
  }
})

let page
const press = (name) => page.getByRole('button', { name, exact: true }).click()
const status = () => page.getByRole('status')
const head = (org) => sqlJson(`SELECT seq, encode(hash, 'hex') AS hash FROM walwarden.list_audit('${org}') ORDER BY seq DESC LIMIT 1`)[0]
const rows = (n) => page.waitForFunction((n) => document.querySelectorAll('tbody tr').length === n, n)

test('entries, newest first, and what is searched', async () => {
  page = await signedIn('ch-ann', '/o/chain/audit')
  await rows(100)
  const { seq } = head('chain')
  assert.equal(await page.getByRole('rowheader').first().textContent(), String(seq))
  await press('More')
  await rows(seq)
  await page.getByLabel('Kind').fill('member.')
  await rows(3)
  await page.getByLabel('Object').fill('token:00000000-0000-4000-8000-000000000000')
  await page.getByText('No entry fits').waitFor()
  await page.getByLabel('Kind').fill('')
  await page.getByLabel('Object').fill('')
  await page.getByLabel('Actor').fill('ch-ann')
  await page.getByText('No entry fits').waitFor()
  await page.getByLabel('Actor').fill('')
  await page.getByLabel('Since').fill('2099-01-01T00:00')
  await page.getByText('No entry fits').waitFor()
  await page.getByLabel('Since').fill('')
  await rows(100)
})

test('the server and the browser verify the same chain', async () => {
  page = await signedIn('ch-ann', '/o/chain/audit', { permissions: ['clipboard-read', 'clipboard-write'] })
  for (const [name, who] of [['Verify in this browser', 'this browser'], ['Verify on the server', 'the server']]) {
    const { seq, hash } = head('chain')
    await press(name)
    await status().getByText(`${seq} entries verified.`).waitFor()
    assert.ok((await status().textContent()).includes(who))
    await press('Copy head hash')
    await status().getByText(/copied/i).waitFor()
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), hash)
  }
})

test('a browser finds what was changed, and the server too', async () => {
  page = await signedIn('ch-ann', '/o/chain-b/audit')
  // in a response, one thing each
  for (const [what, change] of [
    ['the text', (entries) => { entries[40].body = entries[40].body.replace('databases:read', 'databases:writ') }],
    ['the hash', (entries) => { entries[40].hash = entries[40].hash.replace(/^./, (digit) => digit === '0' ? '1' : '0') }],
    ['what it continues', (entries) => { entries[40].prevHash = '0'.repeat(64) }],
    ['one left out', (entries) => { entries.splice(40, 1) }],
    ['a time beside the text', (entries) => { entries[40].at = '2020-01-01T00:00:00.000000Z' }]
  ]) {
    await page.route('**/audit/entries?*', async (route) => {
      const response = await route.fetch()
      const json = await response.json()
      if (json.entries[40]?.seq === 41) change(json.entries)
      await route.fulfill({ response, json })
    })
    await press('Verify in this browser')
    await status().getByText(/entry 41: /).waitFor()
    assert.match(await status().textContent(), /Everything before it is intact/, what)
    // the browser may have asked for more that it does not wait for
    await page.unroute('**/audit/entries?*', { behavior: 'ignoreErrors' })
  }
  // in the table
  sql(`ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER refuse_change, DROP CONSTRAINT audit_entry_is_valid;
    UPDATE walwarden_internal.audit_entry AS e SET body = replace(body, 'databases:read', 'databases:writ') FROM walwarden_internal.org AS o WHERE o.id = e.org_id AND o.slug = 'chain-b' AND e.seq = 41;
    ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER refuse_change`)
  await press('Verify in this browser')
  await status().getByText(/entry 41: /).waitFor()
  await press('Verify on the server')
  await status().getByText(/\(entry 41\)/).waitFor()
})

test('who may not read it does not, and who only reads it does not make the server verify', async () => {
  page = await signedIn('ch-eve', '/o/chain/audit')
  await page.getByText(/does not read the audit chain/).waitFor()
  assert.equal(await page.getByRole('table').count(), 0)
  page = await signedIn('ch-ro', '/o/chain/audit')
  await rows(100)
  assert.equal(await page.getByRole('button', { name: 'Verify on the server' }).count(), 0)
  await press('Verify in this browser')
  await status().getByText(/entries verified\./).waitFor()
})
