// The document as others read it: linters take it, and generators make clients of it that
// compile and work. Every client runs the same flow, which calls each operation.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { allScopes, createOrg, issue, Node, passed } from '../e2e/database.mjs'

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

for (const generator of ['openapi-typescript', 'hey-api', 'oazapfts', 'orval', 'openapi-zod-client']) {
  test(generator, async () => {
    const { connect } = await import(`./built/generated/adapters/${generator}.js`)
    const { flow } = await import('./built/flow.js')
    const node = new Node('sdk')
    const api = connect(url, issue('sdk', allScopes))
    const called = new Set()
    const watched = Object.fromEntries(Object.entries(api).map(([name, request]) => [name, (input) => { called.add(name); return request(input) }]))
    await flow(watched, {
      completeBackup: () => node.completeBackup(passed('2026-11-19T00:00:00Z', '2026-11-20T00:00:00Z')),
      failBackup: () => node.failBackup(),
      spareToken: () => issue('sdk')
    })
    assert.deepEqual(operations.filter((name) => !called.has(name)), [], 'not called')
  })
}
