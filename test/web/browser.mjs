// A browser before the page. A test fails if the browser complains of something there, such as a
// violation of the Content-Security-Policy. What a test opens is closed after it.
import assert from 'node:assert/strict'
import { readFileSync, mkdtempSync } from 'node:fs'
import http from 'node:http'
import { createRequire } from 'node:module'
import { after, afterEach } from 'node:test'
import { chromium } from 'playwright-core'
import { sql } from '../e2e/lib.mjs'

export * from '../e2e/lib.mjs'

// Everything is below it: the page, and the API under /api/v1.
export const site = new URL(process.env.REST_URL).origin
export const link = (subject) => sql(`SELECT walwarden.sign_in_link('${subject}')`)

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const opened = []
let shared
const program = { executablePath: process.env.CHROMIUM_BIN || '/usr/bin/chromium', args: ['--no-sandbox'] }

afterEach(async () => {
  const complaints = opened.flatMap((thing) => thing.complaints ?? [])
  await close()
  assert.deepEqual(complaints, [])
})
after(() => shared?.close())

// Closes what was opened, but for the browser that tests share.
export async function close () {
  await Promise.all(opened.splice(0).map((thing) => thing.close()))
}

async function remember (context) {
  opened.push(context)
  context.complaints = []
  const listen = (page) => {
    page.on('pageerror', (error) => context.complaints.push(String(error)))
    // a response of 400 or more is for the page to show
    page.on('console', (message) => {
      if (message.type() === 'error' && page.url().startsWith(site) && !message.text().startsWith('Failed to load resource')) context.complaints.push(message.text())
    })
  }
  context.pages().forEach(listen)
  context.on('page', listen)
  await context.addInitScript(() => document.addEventListener('securitypolicyviolation', (event) => console.error(`refused: ${event.violatedDirective} ${event.blockedURI}`)))
  context.setDefaultTimeout(120000)
  return context
}

// A browser with a profile of its own, which is in context.profile. options: those of Playwright
// for contexts, and for starting the browser.
export async function browser (options = {}) {
  const profile = mkdtempSync(`${process.env.WORK}/profile.`)
  const context = await chromium.launchPersistentContext(profile, { ...program, ...options, args: [...program.args, ...options.args ?? []] })
  return Object.assign(await remember(context), { profile })
}

// A context in a browser that all tests of a file share.
export async function context (options = {}) {
  shared ??= await chromium.launch(program)
  return remember(await shared.newContext({ viewport: { width: 1280, height: 900 }, ...options }))
}

// A page of somebody who has signed in. where: the path. in: a context to use.
export async function signedIn (subject, where = '/', { in: given, ...options } = {}) {
  const page = await (given ?? await context(options)).newPage()
  await page.goto(`${site}/page.css`)     // any document of the site, to send a request from
  assert.equal(await page.evaluate(async (code) => (await fetch('/api/v1/session', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ code })
  })).status, link(subject).split('#')[1]), 204)
  await visit(page, where)
  return page
}

export async function visit (page, path) {
  await page.goto(site + path)
  await page.getByRole('heading', { level: 1 }).waitFor()
}

// What axe finds, as a text for each kind; none, if the page is as it should be.
export async function accessibility (page) {
  const session = await page.context().newCDPSession(page)
  const run = async (expression) => {
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description)
    return result.value
  }
  await run(`${axe}; undefined`)
  const found = await run("axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((result) => result.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(' ')}`))")
  await session.detach()
  return found
}

// By how much the page is wider than the window.
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)

// Another origin of the same host, with one page for each path.
export function elsewhere (pages) {
  return new Promise((resolve) => {
    const server = http.createServer((request, response) => {
      server.requests.push(request.url)
      response.setHeader('Content-Type', 'text/html; charset=utf-8')
      response.end(pages[request.url] ?? '<!DOCTYPE html><title>elsewhere</title>')
    })
    server.requests = []
    server.closeAllConnections ??= () => {}
    opened.push({ close: () => new Promise((done) => { server.closeAllConnections(); server.close(done) }) })
    server.listen(0, '127.0.0.1', () => resolve({ url: `http://127.0.0.1:${server.address().port}`, requests: server.requests }))
  })
}
