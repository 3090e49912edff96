// The plaintext of a token that was issued and renewed on the page is in the page, until it is
// left, and nowhere else.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { test, before } from 'node:test'
import { browser, createOrg, close, link, signedIn, site, sql, sqlJson } from './browser.mjs'

const work = process.env.WORK
before(() => {
  createOrg('secrets')
  sql("SELECT walwarden.add_member('secrets', 'se-owner', 'owner')")
})

const files = (directory) => readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`)
// as it is, as browsers keep texts, and as bytes of the secret
const forms = (text) => [Buffer.from(text), Buffer.from(text, 'utf16le'), Buffer.from(text.replace(/^wal_/, ''), 'hex'), Buffer.from(Buffer.from(text).toString('base64').slice(0, 40))]
// a server that runs removes files at any time
const read = (file) => { try { return readFileSync(file) } catch (error) { if (error.code === 'ENOENT') return Buffer.alloc(0); throw error } }
const filesWith = (text, among) => among.filter((file) => { const bytes = read(file); return forms(text).some((form) => form.length > 0 && bytes.includes(form)) })

test('no storage, no profile, no log, no table and no WAL has a plaintext', async () => {
  const context = await browser()
  const page = await signedIn('se-owner', '/o/secrets/settings/api-tokens', { in: context })
  const value = page.getByRole('region', { name: 'Store the token now' }).getByText(/^wal_/)
  const texts = []
  const there = async () => {
    texts.push((await value.textContent()).trim())
    const found = await page.evaluate(async () => JSON.stringify([
      { ...localStorage }, { ...sessionStorage }, history.state, location.href, document.title, document.cookie, document.referrer, window.name,
      await indexedDB.databases(), await caches.keys(), performance.getEntries().map((entry) => entry.name),
      [...document.querySelectorAll('input, textarea, select')].map((element) => element.value),
      [...document.querySelectorAll('*')].flatMap((element) => [...element.attributes].map((attribute) => attribute.value))
    ]))
    assert.ok(!found.includes('wal_') && !found.includes(texts.at(-1).slice(4)), found)
    assert.deepEqual(JSON.parse(found).slice(0, 3), [{}, {}, null])
  }
  await page.getByRole('link', { name: /Issue/ }).first().click()
  await page.getByLabel('Name', { exact: true }).fill('kept secret')
  await page.getByRole('button', { name: 'Issue token' }).click()
  await there()
  await page.getByRole('button', { name: 'I have stored it' }).click()
  await page.getByRole('button', { name: 'Manage kept secret' }).click()
  await page.getByRole('button', { name: 'Renew', exact: true }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Renew', exact: true }).click()
  await there()
  const session = (await context.cookies())[0]
  assert.deepEqual([session.name, session.httpOnly, session.secure, session.sameSite, session.expires], ['__Host-walwarden', true, true, 'Strict', -1])
  await page.getByRole('link', { name: 'Members' }).click()
  await page.getByRole('heading', { name: 'Members' }).waitFor()
  // the browser writes what it keeps when it ends
  await close()
  const kept = files(context.profile)
  assert.ok(filesWith(`${site}/o/secrets/members`, kept).length > 0, 'the search finds what is there')
  sql('CHECKPOINT')
  const logs = ['rest/nginx.log', 'rest/error.log', 'rest/postgrest.log', 'server.log'].map((name) => `${work}/${name}`)
  assert.ok(filesWith('/api/v1/orgs/secrets/tokens', logs).length > 0)
  assert.notEqual(texts[0], texts[1])
  for (const text of texts) {
    assert.match(text, /^wal_[0-9a-f]{64}$/)
    assert.deepEqual(filesWith(text, kept), [])
    assert.deepEqual(filesWith(text, [...logs, ...files(`${work}/data`)]), [])
    for (const { name } of sqlJson("SELECT oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'walwarden_internal'::regnamespace AND relkind = 'r'")) {
      assert.ok(!sql(`SELECT t::text FROM ${name} AS t`).includes(text.slice(4)), name)
    }
  }
  assert.equal(sql("SELECT count(*) FROM walwarden_internal.idempotency_key AS k WHERE k::text LIKE '%wal%'"), '0')
})

test('nobody signs in by what a browser keeps of a link', async () => {
  const context = await browser()
  const address = link('se-owner')
  const page = await context.newPage()
  await page.goto(address)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('button', { name: 'Sign out' }).waitFor()
  const cookie = (await context.cookies())[0].value
  await close()
  assert.deepEqual(filesWith(cookie, files(context.profile)), [])
  assert.equal(sql("SELECT count(*) FROM walwarden_internal.sign_in_code WHERE used_at IS NULL AND subject = 'se-owner'"), '0')
})
