// What serves the page, without a browser: each file as it is in web/, and with each response
// what a browser has to know to keep the page safe.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test, after } from 'node:test'
import { nginx, stopPrograms } from '../e2e/programs.mjs'
import { call, createOrg, send, signIn, sql } from './browser.mjs'

after(stopPrograms)

const file = (name) => readFileSync(new URL(`../../web/${name}`, import.meta.url), 'utf8')
const get = (path, options, method = 'GET') => send(method, path, { prefix: '', ...options })
const views = ['/', '/signin', '/o/acme/settings/api-tokens', '/o/acme/settings/api-tokens/new', '/o/acme/members', '/o/acme/audit', '/o/acme/databases', '/o/no-such/x', '/o/', '/o/a?b=c']
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"

function safe ({ headers, status }, what) {
  assert.equal(headers['content-security-policy'], policy, what)
  assert.equal(headers['x-frame-options'], 'DENY', what)
  assert.equal(headers['x-content-type-options'], 'nosniff', what)
  assert.equal(headers['referrer-policy'], 'no-referrer', what)
  assert.equal(headers['cross-origin-opener-policy'], 'same-origin', what)
  assert.equal(headers['cross-origin-resource-policy'], 'same-origin', what)
  assert.equal(headers['access-control-allow-origin'], undefined, what)
  assert.equal(headers['set-cookie'], undefined, what)
  assert.match(headers['x-request-id'], /^[0-9a-f]{32}$/, what)
  assert.ok(status === 304 || 'content-length' in headers, what)
}

test('every view is the same HTML, which nothing keeps', async () => {
  for (const path of views) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await get(path, {}, method)
      const what = `${method} ${path}`
      assert.equal(answer.status, 200, what)
      assert.equal(answer.headers['content-type'], 'text/html; charset=utf-8', what)
      assert.equal(answer.headers['cache-control'], 'no-store', what)
      assert.equal(answer.headers.etag, undefined, what)
      assert.equal(answer.text, method === 'GET' ? file('index.html') : '', what)
      assert.equal(Number(answer.headers['content-length']), Buffer.byteLength(file('index.html')), what)
      safe(answer, what)
    }
  }
})

test('the other files are those of web/, and a browser asks each time', async () => {
  for (const [path, type] of [['/page.js', 'text/javascript; charset=utf-8'], ['/page.css', 'text/css; charset=utf-8'], ['/page.svg', 'image/svg+xml']]) {
    const answer = await get(path)
    assert.equal(answer.status, 200)
    assert.equal(answer.text, file(path.slice(1)))
    assert.equal(answer.headers['content-type'], type)
    assert.equal(answer.headers['cache-control'], 'no-cache')
    safe(answer, path)
    const { etag } = answer.headers
    assert.match(etag, /^"[^"]+"$/)
    for (const known of [etag, `"x", ${etag}`]) {
      const again = await get(path, { headers: { 'If-None-Match': known } })
      assert.deepEqual([again.status, again.text, again.headers.etag], [304, '', etag])
      safe(again, `304 ${path}`)
    }
    assert.equal((await get(path, { headers: { 'If-None-Match': '"x"' } })).status, 200)
  }
})

test('who asks, and how, makes no difference', async () => {
  createOrg('served')
  sql("SELECT walwarden.add_member('served', 'se-ann', 'owner')")
  const session = await signIn('se-ann')
  const token = sql("SELECT token FROM walwarden.issue_token('served', 'x', '{}'::text[])")
  for (const options of [{ session }, { token }, { session: '0'.repeat(64) }, { headers: { Authorization: 'Basic eDp5' } }, { headers: { Accept: 'application/json' } }, { headers: { Accept: 'image/png', Origin: 'https://evil.example' } },
    { headers: { 'X-Walwarden-Path': '/page.js' } }, { headers: { Prefer: 'tx=rollback', Range: 'bytes=0-1' } }]) {
    const what = JSON.stringify(options)
    const answer = await get('/o/served/members', options)
    assert.deepEqual([answer.status, answer.text], [200, file('index.html')], what)
    safe(answer, what)
  }
  assert.equal((await call('GET', '/orgs', { session })).status, 200)
})

test('an error keeps what the server says with every response', async () => {
  const token = `wal_${'0'.repeat(64)}`
  for (const [method, path, status] of [['POST', '/signin', 405], ['DELETE', '/o/acme/members', 405], ['PUT', '/page.js', 405], ['GET', '/page.html', 404], ['GET', '/index.html', 404], ['GET', '/web/page.js', 404],
    ['GET', '/pageXjs', 404], ['GET', '/signin/x', 404], ['GET', '/x', 404], ['GET', '/rest/rpc/v1_page', 404], ['GET', `/o/acme/${token}`, 400], ['GET', `/signin?code=${token}`, 400], ['GET', '/o/../../etc/passwd', 400], ['GET', '/o/ß', 400]]) {
    const answer = await get(encodeURI(path) === path ? path : Buffer.from(path).toString('latin1'), { key: null }, method)
    const what = `${method} ${path}`
    assert.equal(answer.status, status, what)
    assert.equal(answer.headers['x-content-type-options'], 'nosniff', what)
    assert.equal(answer.headers['cache-control'], 'no-store', what)
    assert.match(answer.headers['content-type'], /^application\/json/, what)
    assert.match(answer.headers['x-request-id'], /^[0-9a-f]{32}$/, what)
    assert.ok(!answer.text.includes('<'), what)
    if (status === 405) assert.equal(answer.headers.allow, 'GET, HEAD', what)
  }
})

test('the HTML starts nothing but the module, and the module makes no HTML of a text', () => {
  const html = file('index.html')
  assert.deepEqual(html.match(/<script[^>]*>[^<]*<\/script>/g), ['<script type="module" src="/page.js"></script>'])
  assert.doesNotMatch(html, /\son\w+=|<style|\sstyle=|<base|http-equiv|javascript:/i)
  const module = file('page.js')
  for (const way of [/innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|setHTML/, /document\.write/, /\beval\b|new Function|setTimeout\(['"`]/, /localStorage|sessionStorage|indexedDB|document\.cookie|caches\b|serviceWorker/, /import\(|importScripts|\bsrcdoc\b|\.src\s*=/]) assert.doesNotMatch(module, way)
  assert.doesNotMatch(file('page.css'), /@import|url\(\s*['"]?(?!data:|#)/)
})

// the block of docs/page.md takes the place of the location that asks the database
test('nginx serves the same files in the same way by itself', async () => {
  const block = /```nginx\n([^`]*)```/.exec(readFileSync(new URL('../../docs/page.md', import.meta.url), 'utf8'))[1]
  const config = readFileSync(`${process.env.WORK}/rest/nginx.conf`, 'utf8')
  const location = /\n {4}location ~ \^\/\(\(o\/[^]*?\n {4}\}\n/.exec(config)[0]
  const root = new URL('../../web', import.meta.url).pathname
  const url = await nginx('page', [location, `\n${block.replaceAll('/srv/walwarden/web', root)}`])
  for (const path of [...views, '/page.js', '/page.css', '/page.svg']) {
    const [there, here] = [await get(path, { url }), await get(path)]
    assert.deepEqual([there.status, there.text], [here.status, here.text], path)
    safe(there, path)
    assert.equal(there.headers['content-type'], here.headers['content-type'], path)
    assert.equal(there.headers['cache-control'], 'no-store', path)
  }
  assert.equal((await get('/o/acme/members', { url, key: null }, 'POST')).status, 405)
})
