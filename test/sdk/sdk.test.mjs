// The document as others read it: linters take it, and generators make clients of it that
// compile and work. Every client runs the same two flows, which call each operation.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { allScopes, createOrg, issue, Node, passed, sql } from '../e2e/database.mjs'

const url = process.env.REST_URL
const document = await (await fetch(`${url}/openapi.json`)).json()
const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods)).map((operation) => operation.operationId)
mkdirSync('generated', { recursive: true })
writeFileSync('generated/openapi.json', JSON.stringify(document, null, 2))

function run (program, args) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, REDOCLY_TELEMETRY: 'off' } })
  assert.equal(status, 0, stdout + stderr)
  return stdout + stderr
}

// No warning is left: what a linter does not like is mended, or explained in its configuration.
test('redocly', () => assert.match(run('node_modules/.bin/redocly', ['lint', '--config', 'redocly.yaml', 'generated/openapi.json']), /is valid/))
test('spectral', () => assert.match(run('node_modules/.bin/spectral', ['lint', '--ruleset', 'spectral.yaml', '--fail-severity', 'hint', 'generated/openapi.json']), /No results/))

test('no schema has a name that the language owns', () => {
  assert.deepEqual(Object.keys(document.components.schemas).filter((name) => name in globalThis), [])
})

test('the clients are made, and compile', () => {
  run(process.execPath, ['generate.mjs', url])
  run('node_modules/.bin/tsc', [])
})
createOrg('sdk')
sql("SELECT walwarden.add_member('sdk', 'sdk-ann', 'owner')")

for (const generator of ['openapi-typescript', 'hey-api', 'oazapfts', 'orval', 'openapi-zod-client']) {
  test(generator, async () => {
    const { connect } = await import(`./built/generated/adapters/${generator}.js`)
    const { integration, management } = await import('./built/flow.js')
    const node = new Node('sdk')
    const called = new Set()
    const watched = (headers) => Object.fromEntries(Object.entries(connect(url, headers)).map(([name, request]) => [name, (input) => { called.add(name); return request(input) }]))
    const signInCode = () => sql("SELECT walwarden.sign_in_link('sdk-ann')")
    const signedIn = await fetch(`${url}/session`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ code: signInCode() }) })
    const world = {
      org: 'sdk',
      signInCode,
      completeBackup: () => node.completeBackup(passed('2026-11-19T00:00:00Z', '2026-11-20T00:00:00Z')),
      failBackup: () => node.failBackup(),
      spareToken: () => issue('sdk')
    }
    await integration(watched({ Authorization: `Bearer ${issue('sdk', allScopes)}` }), world)
    await management(watched({}), watched({ Cookie: signedIn.headers.get('set-cookie').split(';')[0] }), world)
    assert.deepEqual(operations.filter((name) => !called.has(name)), [], 'not called')
  })
}
