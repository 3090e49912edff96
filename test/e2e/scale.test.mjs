// More than one machine (docs/scale.md): a primary and two standbys that it waits for, a
// PostgREST next to each, one more that finds the primary for changes, and one nginx with
// the shipped configuration. ROUNDS: how many tokens are revoked.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { send, startProgram } from './lib.mjs'
import { nginx, stopPrograms } from './programs.mjs'

const work = process.env.WORK
const root = `${work}/scale`
const rounds = Number(process.env.ROUNDS ?? 300)
const ports = { primary: 5432, a: 5433, b: 5434 }
const children = []
let url, org, database, readerB

const clusters = { ...process.env, PGHOST: root, PGUSER: 'postgres', PGDATABASE: 'scale' }
delete clusters.PGDATA
// the lines of its output, and what it said beside that
function ask (server, text) {
  return new Promise((resolve, reject) => {
    const child = execFile('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-f', '-'], { env: { ...clusters, PGPORT: ports[server] } },
      (error, out, err) => error ? reject(new Error(err)) : resolve({ out: out.trim(), err }))
    child.stdin.on('error', () => {})     // it could not connect
    child.stdin.end(text)
  })
}
const sql = async (server, text) => (await ask(server, text)).out
const until = async (what, condition, seconds = 60) => {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) if (await condition().catch(() => false)) return
  assert.fail(`${what}: not within ${seconds} s`)
}
const control = (server, ...args) => execFileSync('pg_ctl', ['-s', '-w', '-D', `${root}/${server}`, ...args], { stdio: 'ignore', env: clusters })
const start = (server) => control(server, '-l', `${root}/${server}.log`, '-o', `-c port=${ports[server]}`, 'start')
const configure = (server, lines) => appendFileSync(`${root}/${server}/postgresql.conf`, `${lines.join('\n')}\n`)
const everywhere = Object.values(ports)

// name: of its socket; hosts: the ports that it may connect to; options: of the address
async function postgrest (name, hosts, options = '') {
  const address = `postgres:///scale?host=${hosts.map(() => root).join(',')}&port=${hosts.join(',')}&user=authenticator${options}`
  const config = (await readFile(`${work}/src/postgrest/postgrest.conf`, 'utf8'))
    .replace(/db-uri = .*/, `db-uri = "${address}"`)
    .replace('/run/postgrest/postgrest.sock', `${root}/${name}.sock`)
    .replace('db-channel-enabled = true', 'db-channel-enabled = false')
  await writeFile(`${root}/${name}.conf`, config)
  const child = await startProgram(process.env.POSTGREST_BIN, [`${root}/${name}.conf`],
    () => send('GET', '/', { socket: `${root}/${name}.sock`, url: new URL('http://x/'), prefix: '' }).then((answer) => answer.status !== 503, () => false))
  children.push(child)
  return child
}

// as docs/scale.md has it, but for where the servers are
const balance = (name, ...changes) => nginx(name, ['/postgrest.sock', '/changes.sock'], [`${work}/rest/changes.sock`, `${root}/changes.sock`],
  ['#server 10.0.0.2:3000', `server unix:${root}/a.sock`], ['#server 10.0.0.3:3000', `server unix:${root}/b.sock`],
  [/(upstream walwarden_readers [{]\n) *server [^\n]*\n/g, '$1'], [/#(server unix:[^ ]* backup;)/g, '$1'], ...changes)

const issue = (name = 'e2e') => sql('primary', `SELECT token_id || ' ' || token FROM walwarden.issue_token('scale', '${name}', '{databases:read,databases:write,destinations:write,destinations:read}')`)
  .then((text) => { const [id, token] = text.split(' '); return { id, token } })
const accepted = async (server) => Number(await sql(server, "SELECT sum(count) FROM walwarden.stat_auth WHERE outcome = 'accepted'"))
const allAccepted = () => Promise.all(Object.keys(ports).map(accepted))
const read = (token, path = '/databases') => send('GET', path, { url, token })

before(async () => {
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root)
  execFileSync('initdb', ['-D', `${root}/primary`, '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'], { stdio: 'ignore' })
  configure('primary', ["listen_addresses = ''", `unix_socket_directories = '${root}'`, 'fsync = off', "shared_preload_libraries = 'walwarden'", "timezone = 'UTC'",
    'synchronous_commit = remote_apply', 'wal_keep_size = 1GB', "wal_receiver_timeout = '2s'", "wal_retrieve_retry_interval = '200ms'",
    "walwarden.usage_flush_interval = '1s'", `walwarden.primary_conninfo = 'host=${root},${root},${root} port=${everywhere} user=replicator target_session_attrs=read-write'`])
  start('primary')
  execFileSync('createdb', ['scale'], { env: clusters })
  await sql('primary', `SET client_min_messages = error; SET synchronous_commit = local; CREATE EXTENSION walwarden CASCADE;
    CREATE ROLE web_anon; CREATE ROLE authenticator LOGIN NOINHERIT; GRANT web_anon TO authenticator; CREATE ROLE replicator LOGIN REPLICATION; CREATE ROLE sloppy LOGIN;
    SELECT walwarden.grant_rest('web_anon', 'authenticator'), walwarden.create_org('scale'), walwarden.add_member('scale', 'sue', 'owner', 'sloppy');`)
  for (const name of ['a', 'b']) {
    execFileSync('pg_basebackup', ['-D', `${root}/${name}`, '-R', '-X', 'stream', '-c', 'fast', '-U', 'replicator'], { env: clusters, stdio: 'ignore' })
    // one of the three is the primary, after a promotion too
    appendFileSync(`${root}/${name}/postgresql.auto.conf`, `primary_conninfo = 'host=${root},${root},${root} port=${everywhere} user=replicator application_name=${name} target_session_attrs=read-write'\n`)
    // b is late, so that whoever does not wait for it is found out
    configure(name, name === 'a' ? ["synchronous_standby_names = 'FIRST 1 (b)'"] : ["recovery_min_apply_delay = '10ms'"])
    start(name)
  }
  configure('primary', ["synchronous_standby_names = 'FIRST 2 (a, b)'"])
  control('primary', 'reload')
  await until('both standbys are waited for', async () => await sql('primary', "SELECT string_agg(sync_state, ' ') FROM pg_stat_replication WHERE state = 'streaming'") === 'sync sync')
  readerB = (await Promise.all([postgrest('changes', everywhere, '&target_session_attrs=read-write'), postgrest('a', [ports.a]), postgrest('b', [ports.b])]))[2]
  url = await balance('scale', [`${work}/rest/nginx.log`, `${root}/nginx.log`])
  org = await issue('main')
  const destination = await send('POST', '/destinations', { url, token: org.token, body: { name: 'one', provider: 's3', uri: 's3://bucket/one' } })
  assert.equal(destination.status, 201, destination.text)
  database = destination.json.id
})
after(() => {
  stopPrograms()
  children.forEach((child) => child.kill())
  for (const server of Object.keys(ports)) try { control(server, '-m', 'immediate', 'stop') } catch { }
})

test('reads of tokens go to the standbys, all else to the primary', async () => {
  const before = await allAccepted()
  for (let i = 0; i < 20; i++) {
    const answer = await send(i % 2 ? 'HEAD' : 'GET', `/destinations/${database}`, { url, token: org.token })
    assert.equal(answer.status, 200, answer.text)
  }
  assert.deepEqual((await allAccepted()).map((n, i) => n - before[i]), [0, 10, 10])
  for (const [method, path, body] of [['POST', '/destinations', { name: 'two', provider: 's3', uri: 's3://bucket/two' }], ['PATCH', `/destinations/${database}`, { name: 'uno' }], ['DELETE', `/destinations/${database}`]]) {
    const answer = await send(method, path, { url, token: org.token, body })
    assert.ok(answer.status < 300, `${method} ${answer.text}`)
  }
  assert.deepEqual((await allAccepted()).map((n, i) => n - before[i]), [3, 10, 10])

  // people
  const [code] = (await sql('primary', "SELECT right(walwarden.sign_in_link('sue'), 64)")).split('\n')
  const signedIn = await send('POST', '/session', { url, body: { code }, key: null })
  assert.equal(signedIn.status, 204, signedIn.text)
  const session = /__Host-walwarden=([0-9a-f]{64})/.exec(signedIn.headers['set-cookie'])[1]
  for (const [method, path] of [['GET', '/orgs'], ['GET', '/orgs/scale/databases'], ['HEAD', '/session'], ['GET', '/session']]) {
    const answer = await send(method, path, { url, session })
    assert.ok(answer.status !== 503 && answer.status !== 401, `${method} ${path} ${answer.status}`)
  }
  assert.equal((await send('GET', '/openapi.json', { url })).status, 200)
})

// MEASURE: for how many seconds at a time. What a request costs each program, by /proc.
test('processor time of a request', { skip: process.env.MEASURE === undefined && 'only if MEASURE is set' }, async () => {
  const status = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')
  const pids = () => readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))
  const command = (pid) => { try { return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ') } catch { return '' } }
  const one = (pattern) => { const found = pids().filter((pid) => command(pid).startsWith(pattern)); assert.equal(found.length, 1, pattern); return found[0] }
  // of a process and its children, also those that have ended
  const ticks = (pid) => status(pid).slice(11, 15).reduce((sum, field) => sum + Number(field), 0) +
    pids().filter((other) => { try { return status(other)[1] === pid } catch { return false } }).reduce((sum, child) => sum + ticks(child), 0)
  const single = await nginx('single', ['/postgrest.sock', '/changes.sock'], [`${work}/rest/changes.sock`, `${root}/changes.sock`], [`${work}/rest/nginx.log`, `${root}/single.log`])
  const programs = { nginx: [], PostgREST: ['changes', 'a', 'b'].map((name) => one(`${process.env.POSTGREST_BIN} ${root}/${name}.conf`)), PostgreSQL: Object.keys(ports).map((server) => readFileSync(`${root}/${server}/postmaster.pid`, 'utf8').split('\n')[0]) }
  programs.nginx = pids().filter((pid) => [`${work}/rest/scale.conf`, `${work}/rest/single.conf`].some((file) => command(pid).includes(`-c ${file}`)))
  const wrk = (at, path, seconds) => new Promise((resolve, reject) => execFile('wrk', ['-t1', '-c16', `-d${seconds}`, '-H', `Authorization: Bearer ${org.token}`, `${at}${path}`],
    (error, out) => error || /Non-2xx/.test(out) ? reject(error ?? new Error(out)) : resolve(Number(/([0-9]+) requests in/.exec(out)[1]))))
  const seconds = Number(process.env.MEASURE)
  for (const path of ['/profile', '/destinations']) {
    const spent = { 'one server': {}, 'two standbys': {} }
    const done = { 'one server': 0, 'two standbys': 0 }
    for (const [name, at] of [['one server', single], ['two standbys', url]]) await wrk(at, path, 2)
    for (let round = 0; round < 3; round++) {
      for (const [name, at] of [['one server', single], ['two standbys', url]]) {
        const before = Object.fromEntries(Object.entries(programs).map(([program, list]) => [program, list.reduce((sum, pid) => sum + ticks(pid), 0)]))
        done[name] += await wrk(at, path, seconds)
        for (const [program, list] of Object.entries(programs)) spent[name][program] = (spent[name][program] ?? 0) + list.reduce((sum, pid) => sum + ticks(pid), 0) - before[program]
      }
    }
    for (const name of Object.keys(spent)) console.log(`# ${path}, ${name}: ${(done[name] / seconds / 3).toFixed(0)} a second; microseconds of a request: ${Object.entries(spent[name]).map(([program, n]) => `${program} ${(n * 10000 / done[name]).toFixed(0)}`).join(', ')}`)
  }
})

test('a revoke over HTTP is in force on every standby when it is answered', async () => {
  const session = await sql('primary', "SELECT right(walwarden.sign_in_link('sue'), 64)")
    .then((code) => send('POST', '/session', { url, body: { code }, key: null }))
    .then((answer) => /__Host-walwarden=([0-9a-f]{64})/.exec(answer.headers['set-cookie'])[1])
  let late = 0
  let used = 0
  const worker = async (mine) => {
    for (let i = 0; i < mine; i++) {
      const { id, token } = await issue()
      // others read with it until they are refused
      let revoked = false
      const reader = async () => {
        for (;;) {
          const after = revoked
          const answer = await read(token)
          if (answer.status === 200) used++
          if (answer.status === 200 && after) late++
          if (answer.status !== 200) return assert.equal(answer.status, 401, answer.text)
        }
      }
      // each standby has the token in its cache
      for (let j = 0; j < 2; j++) assert.equal((await read(token)).status, 200)
      const readers = [reader(), reader()]
      const answer = await send('POST', `/orgs/scale/tokens/${id}/revoke`, { url, session, body: {} })
      assert.ok(answer.status < 300, answer.text)
      revoked = true
      await Promise.all(readers)
      for (let j = 0; j < 4; j++) if ((await read(token)).status === 200) late++
    }
  }
  await Promise.all(Array.from({ length: 4 }, () => worker(Math.ceil(rounds / 4))))
  console.log(`# ${rounds} rounds, ${used} accepted while being revoked, ${late} late`)
  assert.equal(late, 0)
  assert.ok(used > 0)
})

test('what takes rights away warns if the session does not wait for the standbys', async () => {
  const token = async () => (await issue()).id
  const says = async (text, role = 'postgres') => (await ask('primary', `SET ROLE ${role}; ${text}`)).err
  const warning = /WARNING: {2}01000: standbys may still accept what this transaction takes away\nDETAIL: .*this session has local[.]\nHINT: /
  const low = 'SET synchronous_commit = local;'
  for (const [takes, role] of [
    [`SELECT walwarden.revoke_token('${await token()}')`],
    [`SELECT walwarden.revoke_token('${await token()}')`, 'sloppy'],
    [`SELECT walwarden.disable_token('${await token()}')`],
    [`SELECT walwarden.renew_token('${await token()}')`],
    [`SELECT walwarden.report_leaked_token('${(await issue()).token}')`],
    ["SELECT walwarden.add_member('scale', 'x', 'analyst'), walwarden.disable_member('scale', 'x')"],
    ["SELECT walwarden.remove_member('scale', 'x')"],
    ["SELECT walwarden.grant_operator('sloppy'), walwarden.revoke_operator('sloppy')"],
    ["SELECT walwarden.create_org('gone'), walwarden.close_org('gone')"],
    [`BEGIN; SELECT walwarden.revoke_token('${await token()}'); SAVEPOINT s; SELECT walwarden.set_org_retention('scale', '9 days'); ROLLBACK TO s; COMMIT`]
  ]) {
    const err = await says(`${low} ${takes}`, role)
    assert.match(err, warning, takes)
    assert.equal(err.match(/WARNING/g).length, 1, takes)
  }
  const gone = await token()
  for (const takes of [
    `SET synchronous_commit = remote_apply; SELECT walwarden.revoke_token('${await token()}')`,
    `SELECT walwarden.disable_token('${gone}')`,
    `${low} SELECT walwarden.enable_token('${gone}')`,
    `${low} SELECT walwarden.issue_token('scale', 'x')`,
    `${low} SELECT walwarden.renew_token('${gone}', '1 hour')`,
    `${low} SELECT walwarden.append_audit('app.x', '{}', NULL, 'scale')`,
    `${low} BEGIN; SELECT walwarden.revoke_token('${gone}'); SET LOCAL synchronous_commit = remote_apply; COMMIT`,
    `${low} BEGIN; SAVEPOINT s; SELECT walwarden.revoke_token('${await token()}'); ROLLBACK TO s; SELECT walwarden.set_org_retention('scale', '8 days'); COMMIT`,
    `${low} BEGIN; SELECT walwarden.revoke_token('${await token()}'); ROLLBACK`
  ]) assert.doesNotMatch(await says(takes), /WARNING/, takes)

  // whatever the role or the database has; and not where the server is configured with less
  await sql('primary', 'ALTER ROLE sloppy SET synchronous_commit = local')
  const login = async (text) => new Promise((resolve, reject) => execFile('psql', ['-XqAt', '-v', 'VERBOSITY=verbose', '-c', text], { env: { ...clusters, PGPORT: ports.primary, PGUSER: 'sloppy' } },
    (error, out, err) => error ? reject(new Error(err)) : resolve(err)))
  assert.match(await login(`SELECT walwarden.revoke_token('${await token()}')`), warning)
  await sql('primary', "ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()")
  await until('the setting is gone', async () => !/WARNING/.test(await login(`SELECT walwarden.revoke_token('${await token()}')`)))
  await sql('primary', "ALTER SYSTEM RESET synchronous_commit; SELECT pg_reload_conf()")
  await until('the setting is back', async () => /WARNING/.test(await login(`SELECT walwarden.revoke_token('${await token()}')`)))
})

test('uses and refusals on standbys reach the primary', async () => {
  const { id, token } = await issue('used')
  for (let i = 0; i < 6; i++) assert.equal((await read(token)).status, 200)
  const onRecord = (columns) => sql('primary', `SELECT ${columns} FROM walwarden_internal.token_usage WHERE token_id = '${id}'`)
  await until('the uses are on record', async () => await onRecord("last_used_at > now() - interval '1 min', uses, last_used_from") === 't|6|127.0.0.1')
  await sql('primary', `SELECT walwarden.disable_token('${id}')`)
  for (let i = 0; i < 4; i++) assert.equal((await read(token)).status, 401)
  await until('the refusals are on record', async () => await onRecord("uses, refusals, last_refused_reason") === '6|4|disabled')
  // from there back to the standbys
  await until('the standbys list it', async () => await sql('b', `SELECT uses || ' ' || refusals FROM walwarden.list_tokens('scale') WHERE token_id = '${id}'`) === '6 4')
})

test('uses of more tokens than one report holds reach the primary', async () => {
  const tokens = (await sql('primary', "SELECT t.token_id || ' ' || t.token FROM generate_series(1, 2500) AS i, LATERAL walwarden.issue_token('scale', 'many-' || i, '{databases:read}') AS t")).split('\n').map((line) => line.split(' '))
  assert.equal(tokens.length, 2500)
  const log = (await readFile(`${root}/a.log`, 'utf8')).length
  const dirty = () => sql('a', 'SELECT dirty FROM walwarden_internal.usage_table()')
  await until('nothing is left to report', async () => await dirty() === '0')
  configure('a', ["walwarden.usage_flush_interval = '1h'"])
  control('a', 'reload')
  await until('it reports no more', async () => await sql('a', 'SHOW walwarden.usage_flush_interval') === '1h')
  await sql('a', tokens.map(([, token]) => `SELECT walwarden.authenticate('${token}');`).join('\n'))
  assert.equal(await dirty(), '2500')
  configure('a', ["walwarden.usage_flush_interval = '1s'"])
  control('a', 'reload')
  await until('all are on record', async () => await sql('primary', `SELECT count(*) || ' ' || sum(uses) FROM walwarden_internal.token_usage WHERE token_id IN (SELECT token_id FROM walwarden.list_tokens('scale') WHERE name LIKE 'many-%')`) === '2500 2500')
  assert.doesNotMatch((await readFile(`${root}/a.log`, 'utf8')).slice(log), /ERROR|PANIC|terminated by signal/)
})

test('a report of a standby is added as a whole, or refused', async () => {
  const { id } = await issue('reported')
  const report = (ids, { uses = "'{1}'", refusals = "'{0}'", at = "'{NULL}'", reason = "'{NULL}'", role = 'replicator' } = {}) =>
    sql('primary', `SET ROLE ${role}; SELECT walwarden.receive_usage(${ids}, ${at}, ${at}, ${at}, '{127.0.0.1}', ${uses}, ${refusals}, ${at}, ${reason})`)
  const many = (n, value) => `array_fill(${value}, ARRAY[${n}])`
  const twice = (value) => many(2, value)
  await assert.rejects(report(`'{${id}}'`, { role: 'sloppy' }), /42501/)
  await assert.rejects(report(`'{${id}}'`, { uses: "'{2147483648}'" }), /22023/)
  await assert.rejects(report(`'{${id}}'`, { uses: "'{-1}'" }), /22023/)
  await assert.rejects(report(`'{${id},${id}}'`), /22023.*differ in length/s)
  await assert.rejects(sql('primary', `SET ROLE replicator; SELECT walwarden.receive_usage('{${id},${id}}', ${['at', 0, 1].map(() => twice('NULL::timestamptz'))}, ${twice('NULL::inet')}, ${twice('1::bigint')}, ${twice('0::bigint')}, ${twice('NULL::timestamptz')}, ${twice('NULL::text')})`), /22023.*twice/s)
  await assert.rejects(report(many(1001, `'${id}'::uuid`)), /22023.*too long/s)
  assert.equal(await report(`'{${id}}'`, { uses: "'{3}'", refusals: "'{2}'", at: "ARRAY[now() + interval '1 day']", reason: "'{of a later version}'" }), '1')
  await until('it is on record', async () => await sql('primary', `SELECT uses, refusals, last_refused_reason, last_used_at <= now(), last_refused_at <= now() FROM walwarden_internal.token_usage WHERE token_id = '${id}'`) === '3|2|unknown|t|t')
})

test('a setting that has a secret, or cannot have dbname appended, is refused, and not quoted', async () => {
  for (const value of ['postgres://u:hidden@h/d', 'host=h dbname=hidden', 'host=h password=', 'host=h password=hidden', 'sslpassword = hidden host=h', 'password=hidden\\', "password='hidden", 'hidden']) {
    await assert.rejects(sql('primary', `ALTER SYSTEM SET walwarden.primary_conninfo = '${value.replaceAll("'", "''")}'`), (error) => {
      assert.match(error.message, /22023: invalid value for parameter "walwarden[.]primary_conninfo"/, value)
      assert.doesNotMatch(error.message, /hidden/)
      return true
    })
  }
})

test('a request that is busy is not repeated at another server', async () => {
  const log = (await readFile(`${root}/nginx.log`, 'utf8')).length
  const before = await allAccepted()
  const holder = ask('primary', 'BEGIN; LOCK TABLE walwarden_internal.destination IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)').catch(() => {})
  const held = (server) => sql(server, "SELECT count(*) FROM pg_locks WHERE relation = 'walwarden_internal.destination'::regclass AND mode = 'AccessExclusiveLock' AND granted")
  try {
    for (const server of ['a', 'b']) await until('it is locked', async () => await held(server) === '1')
    for (let i = 0; i < 4; i++) {
      const answer = await read(org.token, '/destinations')
      assert.equal(answer.status, 503, answer.text)
      assert.match(answer.text, /"reason" *: *"busy"/)
    }
  } finally {
    await sql('primary', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()")
    await holder
  }
  const lines = (await readFile(`${root}/nginx.log`, 'utf8')).slice(log).split('\n').filter((line) => / GET .* 503 /.test(line))
  assert.equal(lines.length, 4)
  for (const line of lines) assert.match(line, /"unix:[^", ]*" "463"/)
  for (const server of ['a', 'b']) await until('it is free', async () => await held(server) === '0')
  // and both standbys are still asked
  for (let i = 0; i < 4; i++) assert.equal((await read(org.token)).status, 200)
  assert.deepEqual((await allAccepted()).map((n, i) => n > before[i]), [false, true, true])
})

test('a standby that hangs is passed over', async () => {
  const impatient = await balance('impatient', [`${work}/rest/nginx.log`, `${root}/impatient.log`],
    [/(location = \/_walwarden_(?:read|document) [{]\n)/g, '$1proxy_read_timeout 3s;\n'])
  readerB.kill('SIGSTOP')
  try {
    const answers = await Promise.all(Array.from({ length: 6 }, () => send('GET', '/databases', { url: impatient, token: org.token })))
    assert.deepEqual(answers.map((answer) => answer.status), Array(6).fill(200))
    assert.match(await readFile(`${root}/impatient.log`, 'utf8'), new RegExp(`"unix:${root}/b.sock, unix:`))
  } finally {
    readerB.kill('SIGCONT')
  }
})

test('a standby that is down or behind is left out, and no change is tried elsewhere', async () => {
  for (const server of ['a', 'b']) {
    configure(server, ["walwarden.max_standby_lag = '4s'"])
    control(server, 'reload')
  }
  await sleep(500)
  const all = async (n) => { for (let i = 0; i < n; i++) { const answer = await read(org.token); assert.equal(answer.status, 200, answer.text) } }
  await all(20)

  // it applies nothing any more; the primary would wait for it
  await sql('primary', "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (a)'; SELECT pg_reload_conf()")
  await sql('b', 'SELECT pg_wal_replay_pause()')
  await until('it is paused', async () => await sql('b', 'SELECT pg_get_wal_replay_pause_state()') === 'paused')
  await sql('primary', "SELECT walwarden.set_org_retention('scale', '10 days')")
  const direct = (name) => send('GET', '/rpc/v1_get', { socket: `${root}/${name}.sock`, url: new URL('http://x/'), prefix: '', headers: { 'Accept-Profile': 'walwarden_rest', 'X-Walwarden-Method': 'GET', 'X-Walwarden-Path': '/api/v1/databases', 'X-Walwarden-Token': org.token } })
  await until('it says so', async () => (await direct('b')).status === 503)
  assert.match((await direct('b')).text, /"reason" *: *"standby"/)
  assert.equal((await direct('a')).status, 200)
  const before = await accepted('b')
  await all(20)
  assert.equal(await accepted('b'), before)
  await sql('b', 'SELECT pg_wal_replay_resume()')
  await until('it is back', async () => { await all(1); return await accepted('b') > before })

  // down
  control('b', '-m', 'fast', 'stop')
  await all(20)
  // with no standby at all, the primary answers
  control('a', '-m', 'fast', 'stop')
  await sql('primary', "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()")
  const primary = await accepted('primary')
  await all(10)
  assert.ok(await accepted('primary') >= primary + 10)
  start('a')
  start('b')
  await sql('primary', "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()")
  await until('both standbys are back', async () => await sql('primary', "SELECT string_agg(sync_state, ' ') FROM pg_stat_replication WHERE state = 'streaming'") === 'sync sync')

  // a change is answered by the primary or by nobody
  const lines = (await readFile(`${root}/nginx.log`, 'utf8')).split('\n').filter((line) => / (POST|PATCH|DELETE) /.test(line))
  assert.ok(lines.length > 10)
  for (const line of lines) assert.match(line, new RegExp(`"unix:${root}/changes.sock"`))
})

test('a promotion under load loses nothing that was acknowledged', async () => {
  const kept = []
  const revoked = []
  const { token } = await issue('writer')
  let on = true
  let refused = 0
  const writer = async (n) => {
    for (let i = 0; on; i++) {
      const name = `w${n}-${i}`
      const answer = await send('POST', '/destinations', { url, token, body: { name, provider: 's3', uri: `s3://bucket/${name}` } }).catch(() => ({ status: 0 }))
      if (answer.status === 201) kept.push(answer.json.id)
      else { refused++; await sleep(50) }
    }
  }
  const revoker = async () => {
    for (; on;) {
      const one = await issue().catch(() => null)
      if (one !== null && await sql('primary', `SELECT walwarden.revoke_token('${one.id}')`).catch(() => '') === 't') revoked.push(one.token)
      else await sleep(50)
    }
  }
  const load = [writer(0), writer(1), revoker()]
  try {
    await until('there is something to lose', async () => kept.length > 50 && revoked.length > 5)
    control('primary', '-m', 'immediate', 'stop')
    const before = kept.length
    await sleep(500)
    control('a', 'promote')
    await until('changes go on', async () => kept.length > before + 50)
  } finally {
    on = false
    await Promise.all(load)
  }
  assert.ok(refused > 0)
  await until('the other standby follows', async () => await sql('a', 'SELECT application_name FROM pg_stat_replication') === 'b')

  const stored = new Set((await sql('a', 'SELECT id FROM walwarden_internal.destination')).split('\n'))
  assert.deepEqual(kept.filter((id) => !stored.has(id)), [])
  for (const one of revoked) for (let i = 0; i < 2; i++) assert.equal((await read(one)).status, 401)
  assert.equal(await sql('a', 'SELECT bool_and(ok) FROM walwarden.verify_audit_chain()'), 't')
  // and goes on as it was: reads, uses on record, a revoke that binds on the other standby
  const last = await sql('a', "SELECT token_id || ' ' || token FROM walwarden.issue_token('scale', 'last', '{databases:read}')").then((text) => text.split(' '))
  for (let i = 0; i < 6; i++) assert.equal((await read(last[1])).status, 200)
  await until('uses are on record', async () => await sql('a', `SELECT uses FROM walwarden_internal.token_usage WHERE token_id = '${last[0]}'`) === '6')
  await sql('a', `SELECT walwarden.revoke_token('${last[0]}')`)
  for (let i = 0; i < 4; i++) assert.equal((await read(last[1])).status, 401)
  console.log(`# ${kept.length} changes and ${revoked.length} revokes acknowledged, ${refused} requests refused in between`)
})
