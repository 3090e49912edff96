// What tests do beside the API: SQL through psql, tokens, and a node that works on jobs.
import { execFile, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'

// Statements of the tests hold tokens as literals; a client of the API never does.
const quiet = { ...process.env, PGOPTIONS: '-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c client_min_messages=error' }
const psql = ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-f', '-']     // verbose: with the SQLSTATE

export function sql (text, env = {}) {
  return execFileSync('psql', psql, { input: text, env: { ...quiet, ...env }, encoding: 'utf8', maxBuffer: 1 << 28, stdio: ['pipe', 'pipe', 'pipe'] }).trim()
}

export function sqlAsync (text, env = {}) {
  return new Promise((resolve, reject) => {
    const child = execFile('psql', psql, { env: { ...quiet, ...env }, maxBuffer: 1 << 28 }, (error, out, err) =>
      error ? reject(new Error(err)) : resolve(out.trim()))
    child.stdin.end(text)
  })
}

export const sqlJson = (query) => JSON.parse(sql(`SELECT coalesce(json_agg(q), '[]') FROM (${query}) AS q`))

// Tokens, by SQL as an operator. They are given names, so that tests of one file
// do not meet those of another.
export function createOrg (slug) {
  sql(`SELECT walwarden.create_org('${slug}')`)
}

export function issue (org, scopes = [], more = '') {
  return sql(`SELECT token FROM walwarden.issue_token('${org}', 'e2e', '{${scopes.join(',')}}'::text[]${more})`)
}

export const allScopes = sqlJson('SELECT name FROM walwarden_internal.scope WHERE builtin').map((row) => row.name)

// A node of an org: claims jobs and moves them, as docs/runner-protocol.md shows it.
export class Node {
  constructor (org, token = issue(org, [], ", kind => 'node'"), name = randomUUID()) {
    this.token = token
    this.name = name
    // the role is of the cluster, what it is granted of the database
    sql("DO $$ BEGIN CREATE ROLE e2e_runner; EXCEPTION WHEN duplicate_object THEN NULL; END $$; SELECT walwarden.grant_runner('e2e_runner')")
  }

  // before the first job; once
  async register () {
    this.registered ??= this.run(`SELECT walwarden.register_node('${this.name}', '1.0')`)
    await this.registered
  }

  // statement: SQL whose single row is returned as JSON, or null
  async run (statement) {
    const out = await sqlAsync(`BEGIN; SET LOCAL ROLE e2e_runner;
      SELECT walwarden.authenticate('${this.token}') \\g /dev/null
      SELECT to_json(q) FROM (${statement}) AS q;
      COMMIT;`)
    return out === '' ? null : JSON.parse(out)
  }

  async claim (kinds = '{backup,restore,drill}', lease = '60 s') {
    await this.register()
    return this.run(`SELECT * FROM walwarden.claim_job('${kinds}', '${lease}')`)
  }

  report (job, state, detail = {}) {
    return this.run(`SELECT walwarden.report_job('${job.job_id}', ${job.fence}, '${state}', '${JSON.stringify(detail)}')`)
  }

  evidence (job, evidence) {
    return this.run(`SELECT walwarden.record_evidence('${job.job_id}', ${job.fence}, '${JSON.stringify(evidence)}')`)
  }

  async completeBackup (evidence = unchecked) {
    const job = await this.claim('{backup}')
    await this.report(job, 'running')
    await this.report(job, 'finalizing')
    await this.evidence(job, evidence)
    await this.report(job, 'completed', { artifact })
    return job
  }

  async failBackup () {
    const job = await this.claim('{backup}')
    await this.report(job, 'failed', { error: { class: 'io', message: 'disk full', retryable: false } })
    return job
  }
}

// What a backup of these tests leaves behind, and evidence of it that nobody has checked.
export const artifact = { name: 'base.tar', sizeBytes: 1, checksumSha256: 'a'.repeat(64) }
export const unchecked = { manifest: { artifact }, integrityVerification: { result: 'not_run', checkedAt: null, tool: null }, recoverableTo: '2026-11-20T00:00:00Z' }

export const passed = (from, to) => ({
  manifest: { files: 3, artifact },
  integrityVerification: { result: 'passed', checkedAt: '2026-11-20T12:00:00Z', tool: 'pg_verifybackup' },
  recoverableFrom: from,
  recoverableTo: to
})

// Holds the lock of an organisation until release() is called, or commit() with statements;
// resolves once it is held.
export function lockOrganisation (slug) {
  const child = spawn('psql', psql, { env: quiet, stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => child.on('close', resolve))
  child.stdin.write(`BEGIN; SELECT walwarden_internal.acquire_org_lock(id) FROM walwarden_internal.org WHERE slug = '${slug}';\n\\echo locked\n`)
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => { if (String(text).includes('locked')) resolve({ release: () => { child.stdin.end('ROLLBACK;'); return ended }, commit: (statements) => { child.stdin.end(`${statements}; COMMIT;`); return ended } }) })
    ended.then(() => reject(new Error('psql ended')))
  })
}
