// Last of all: a backend is killed under load, and nothing acknowledged is lost;
// then no log has seen a token.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { allScopes, call, createOrg, issue, send, sleep, sql } from './lib.mjs'

// A backend that works on a change, as soon as the server is up and there is one.
async function busyBackend () {
  for (let i = 0; i < 600; i++) {
    try {
      const pid = sql("SELECT pid FROM pg_stat_activity WHERE usename = 'authenticator' AND state <> 'idle' AND query LIKE '%v1_post%' ORDER BY random() LIMIT 1")
      if (pid !== '') return Number(pid)
    } catch { }     // in recovery
    await sleep(100)
  }
  throw new Error('the server did not come back')
}

test('kill -9 of a backend under load', async () => {
  createOrg('crash')
  const token = issue('crash', allScopes)
  const requests = []     // { key, name, answers }
  let stop = false
  const clients = Array.from({ length: 16 }, async () => {
    while (!stop) {
      const request = { key: crypto.randomUUID(), name: crypto.randomUUID(), answers: [] }
      requests.push(request)
      try {
        request.answers.push(await send('POST', '/databases', { token, key: request.key, body: { name: request.name, connectionRef: 'primary' } }))
      } catch { }
      // without a pause, sixteen that are refused at once leave the server no time to start
      if (request.answers[0]?.status !== 201) await sleep(200)
    }
  })
  const acknowledged = () => requests.filter((request) => request.answers[0]?.status === 201)
  try {
    for (let i = 1; i <= 3; i++) {
      for (let j = 0; acknowledged().length < 10 * i; j++) {
        assert.ok(j < 1200, 'nothing is acknowledged')
        await sleep(100)
      }
      process.kill(await busyBackend(), 'SIGKILL')
      await sleep(1500)
    }
  } finally {
    stop = true
    await Promise.all(clients)
  }
  for (let i = 0; (await send('GET', '/profile', { token })).status !== 200; i++) {
    assert.ok(i < 600, 'the service did not come back')
    await sleep(100)
  }

  const failed = requests.filter((request) => request.answers[0]?.status !== 201)
  assert.ok(acknowledged().length > 20, `${acknowledged().length}`)
  assert.ok(failed.length > 0, 'the crash was felt by nobody')
  for (const { answers } of failed) {
    if (answers.length) assert.equal(answers[0].status, 503, answers[0].text)
  }
  // PostgREST may find a connection dead that it still has in its pool
  const repeat = async ({ key, name }) => {
    for (let i = 0; ; i++) {
      const answer = await call('POST', '/databases', { token, key, body: { name, connectionRef: 'primary' } })
      if (answer.status !== 503 || i === 100) return answer
      await sleep(100)
    }
  }
  // every acknowledged one is there, and is answered again word by word
  for (const request of acknowledged()) {
    const { answers } = request
    const again = await repeat(request)
    assert.equal(again.status, 201)
    assert.equal(again.text, answers[0].text)
    assert.equal(again.headers['idempotency-replayed'], 'true')
  }
  // of the others each happened once or not at all; repeating it makes it once
  let done = 0
  for (const request of failed) {
    const again = await repeat(request)
    assert.equal(again.status, 201, again.text)
    if (again.headers['idempotency-replayed']) done++
  }
  assert.equal(Number(sql("SELECT count(*) FROM walwarden_internal.database WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'crash')")), requests.length)
  assert.equal(sql(`SELECT count(*) FROM walwarden_internal.audit_entry WHERE kind = 'database.created' AND org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'crash')`), String(requests.length))
  assert.equal(sql("SELECT bool_and(ok) FROM walwarden.verify_audit_chain('crash')"), 't')
  console.log(`# ${acknowledged().length} acknowledged, ${failed.length} not, of which ${done} had been committed; ${requests.length} databases after all were repeated`)
})

// The text of a file in parts, each with the end of the one before it: the log of every statement
// can be longer than a string may be.
function * parts (file) {
  const bytes = readFileSync(file)
  for (let begin = 0; begin < bytes.length; begin += 1 << 26) yield bytes.toString('latin1', Math.max(0, begin - 1000), begin + (1 << 26))
}

test('no log has seen a token', () => {
  const work = process.env.WORK
  const logs = [`${work}/server.log`, ...readdirSync(`${work}/rest`).filter((name) => /\.(log|out)$/.test(name)).map((name) => `${work}/rest/${name}`)]
  assert.ok(logs.length >= 4)
  let statements = 0
  for (const log of logs) {
    for (const text of parts(log)) {
      const found = /wal(_|%5F)[0-9a-f]{16,}/i.exec(text)
      assert.equal(found, null, found && `${log}: ${text.slice(Math.max(0, found.index - 300), found.index + 20)}`)
      statements += /duration: .* execute .*v1_post/.test(text)
    }
  }
  // the server did log every statement, so that there was something to find
  assert.ok(statements > 0)
})
