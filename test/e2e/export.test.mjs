// Exports: a bundle holds what its verifier needs, and is the same bytes for the same content.
// The hashes, proofs and signatures are checked here by code that shares nothing with the
// extension.
import assert from 'node:assert/strict'
import { test, before } from 'node:test'
import { createHash, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { allScopes, artifact, call, createDatabase, createOrg, issue, Node, passed, sql, sqlJson, unchecked } from './lib.mjs'

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const canonical = (value) => Array.isArray(value)
  ? `[${value.map(canonical)}]`
  : value && typeof value === 'object' ? `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)}}` : JSON.stringify(value)

// RFC 6962, section 2.1
const half = (n) => { let k = 1; while (2 * k < n) k *= 2; return k }
const mth = (leaves) => leaves.length === 1 ? leaves[0] : sha256('\x01', mth(leaves.slice(0, half(leaves.length))), mth(leaves.slice(half(leaves.length))))
const climb = (index, size, leaf, path) => {
  if (size === 1) return leaf
  const k = half(size)
  const sibling = path.pop()
  assert.ok(sibling, 'a hash is missing')
  return index < k ? sha256('\x01', climb(index, k, leaf, path), sibling) : sha256('\x01', sibling, climb(index - k, size - k, leaf, path))
}
const subproof = (m, leaves, whole) => {
  if (m === leaves.length) return whole ? [] : [mth(leaves)]
  const k = half(leaves.length)
  return m <= k ? [...subproof(m, leaves.slice(0, k), whole), mth(leaves.slice(k))] : [...subproof(m - k, leaves.slice(k), false), mth(leaves.slice(0, k))]
}

// A node with a key, which signs manifests and checkpoints.
class SigningNode extends Node {
  keys = generateKeyPairSync('ed25519')
  publicKey = Buffer.from(this.keys.publicKey.export({ format: 'jwk' }).x, 'base64url')

  async register () {
    this.registered ??= this.run(`SELECT walwarden.register_node('${this.name}', '1.0', '${this.publicKey.toString('base64')}')`)
    await this.registered
  }

  sign (text) { return sign(null, Buffer.from(text), this.keys.privateKey) }

  manifest (more) {
    const unsigned = { artifact, node: this.name, publicKey: this.publicKey.toString('base64'), ...more }
    return { ...unsigned, signature: this.sign(canonical(unsigned)).toString('base64') }
  }

  note (org, size, root) {
    const text = `walwarden/${org}\n${size}\n${root.toString('base64')}\n`
    const keyId = sha256(this.name, '\n\x01', this.publicKey).subarray(0, 4)
    return `${text}\n\u2014 ${this.name} ${Buffer.concat([keyId, this.sign(text)]).toString('base64')}\n`
  }

  publish (note) { return this.run(`SELECT walwarden.publish_checkpoint('${note}')`) }
}

let token, node, org, database
before(async () => {
  createOrg('export')
  token = issue('export', allScopes)
  node = new SigningNode('export')
  org = sql("SELECT id FROM walwarden_internal.org WHERE slug = 'export'")
  database = await createDatabase(token)
})

const backup = async (more = {}) => {
  await call('POST', `/databases/${database.id}/backups`, { token })
  const job = await node.completeBackup({ ...unchecked, manifest: node.manifest(more) })
  return job.job_id
}
const leaves = (size = 1e9) => sqlJson(`SELECT encode(hash, 'hex') AS hash FROM walwarden_internal.audit_entry WHERE org_id = '${org}' AND seq <= ${size} ORDER BY seq`)
  .map(({ hash }) => sha256('\x00', Buffer.from(hash, 'hex')))
const publish = async () => {
  const all = leaves()
  await node.publish(node.note(org, all.length, mth(all)))
  return all.length
}
const exported = (ids, more = {}, key = crypto.randomUUID()) => call('POST', '/evidence/exports', { token, key, body: { backupJobIds: ids, ...more } })

// The files of a bundle, after each has been checked.
function check (answer, ids) {
  assert.equal(answer.status, 202, answer.text)
  const { files, packageSha256 } = answer.json
  const paths = files.map(({ path }) => path)
  assert.deepEqual(paths, [...paths].sort())
  assert.equal(sha256(files.map(({ path, text }) => `${sha256(text).toString('hex')}  ${path}\n`).join('')).toString('hex'), packageSha256)
  const file = Object.fromEntries(files.map(({ path, text }) => [path, text]))

  const entries = file['chain.tsv'].split('\n').slice(0, -1).map((line) => {
    const [seq, prevHash, hash, body] = line.split('\t')
    assert.equal(sha256(prevHash, body).toString('hex'), hash)
    const parsed = JSON.parse(body)
    assert.equal(canonical(parsed), body)
    assert.deepEqual([parsed.payload.org, parsed.payload.seq], [org, Number(seq)])
    return { seq: Number(seq), hash: Buffer.from(hash, 'hex'), ...parsed }
  })
  assert.deepEqual(entries.map(({ seq }) => seq), entries.map(({ seq }) => seq).sort((a, b) => a - b))
  for (const id of ids) {
    const manifest = file[`backups/${id}.manifest.json`]
    const { signature, ...unsigned } = JSON.parse(manifest)
    assert.equal(canonical(JSON.parse(manifest)), manifest)
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(unsigned.publicKey, 'base64').toString('base64url') }, format: 'jwk' })
    assert.ok(verify(null, Buffer.from(canonical(unsigned)), key, Buffer.from(signature, 'base64')))
    const recorded = entries.filter((entry) => entry.jobId === id && entry.kind === 'evidence.recorded').at(-1)
    assert.equal(canonical(recorded.payload.after.manifest), manifest)
    assert.ok(entries.some(({ kind, payload }) => kind.startsWith('node.') && payload.after.publicKey === unsigned.publicKey), 'where the key was registered')
  }
  assert.equal(paths.filter((path) => path.startsWith('backups/')).length, ids.length)
  if (file.checkpoint === undefined) {
    assert.deepEqual(paths.filter((path) => /^proofs|^consistency/.test(path)), [])
    return { file, entries, size: 0 }
  }

  const [origin, sizeLine, root] = file.checkpoint.split('\n')
  const size = Number(sizeLine)
  assert.equal(origin, `walwarden/${org}`)
  assert.equal(root, mth(leaves(size)).toString('base64'))
  const covered = entries.filter(({ seq }) => seq <= size)
  assert.deepEqual(paths.filter((path) => path.startsWith('proofs/')).sort(), covered.map(({ seq }) => `proofs/${seq}`).sort())
  for (const { seq, hash } of covered) {
    const proof = file[`proofs/${seq}`]
    assert.ok(proof.startsWith(`c2sp.org/tlog-proof@v1\nindex ${seq - 1}\n`))
    assert.ok(proof.endsWith(`\n\n${file.checkpoint}`))
    const path = proof.slice(0, -file.checkpoint.length - 1).split('\n').slice(2, -1).map((line) => Buffer.from(line, 'base64'))
    assert.equal(climb(seq - 1, size, sha256('\x00', hash), path).toString('base64'), root)
    assert.deepEqual(path, [], 'no hash too many')
  }
  return { file, entries, size }
}

test('without a checkpoint, a bundle has entries and manifests', async () => {
  const id = await backup()
  const answer = await exported([id])
  const { file, entries, size } = check(answer, [id])
  assert.equal(size, 0)
  assert.deepEqual(Object.keys(file), [`backups/${id}.manifest.json`, 'chain.tsv'])
  assert.deepEqual(entries.filter(({ jobId }) => jobId === id).map(({ kind }) => kind), ['backup.queued', 'backup.claimed', 'backup.running', 'backup.finalizing', 'evidence.recorded', 'backup.completed'])
})

test('with a checkpoint, each entry that it covers has a proof', async () => {
  const ids = [await backup({ n: 1 }), await backup({ n: 2 })]
  const size = await publish()
  const later = await backup({ n: 3 })
  const answer = await exported([later, ...ids])
  const bundle = check(answer, [...ids, later])
  assert.equal(bundle.size, size)
  assert.ok(bundle.entries.some(({ seq }) => seq > size), 'entries that are not covered yet')

  // the same content is the same bytes, in whatever order it is asked for
  const same = await exported([...ids, later])
  assert.deepEqual(same.json.files, answer.json.files)
  assert.equal(same.json.packageSha256, answer.json.packageSha256)
  assert.notEqual(same.json.exportId, answer.json.exportId)
})

test('an export is in the chain, and a replay is the same bytes whatever came since', async () => {
  const id = await backup()
  await publish()
  const key = crypto.randomUUID()
  const answer = await exported([id], {}, key)
  check(answer, [id])
  const entry = JSON.parse(sql(`SELECT body FROM walwarden_internal.audit_entry WHERE org_id = '${org}' AND seq = ${answer.json.auditSeq}`))
  assert.equal(entry.kind, 'evidence.exported')
  assert.equal(entry.payload.packageSha256, answer.json.packageSha256)
  assert.deepEqual(entry.payload.backupJobIds, [id])
  assert.equal(entry.payload.checkpoint.note, answer.json.files.find(({ path }) => path === 'checkpoint').text)
  assert.ok(Number(sql("SELECT max(length(body::text)) FROM walwarden_internal.idempotency_key WHERE body::text ~ '^.{0,3}auditSeq'")) < 50)

  const other = new SigningNode('export')
  await other.register()
  await other.run(`SELECT walwarden.record_evidence('${id}', (SELECT 1), '${JSON.stringify({ ...passed('2026-11-01T00:00:00Z', '2026-11-01T00:00:00Z'), manifest: JSON.parse(answer.json.files[0].text) })}')`)
  await call('POST', '/restores', { token, body: { databaseId: database.id, backupJobId: id, kind: 'drill', mode: 'new_database', target: 'x' } })
  await publish()
  const again = await exported([id], {}, key)
  assert.equal(again.headers['idempotency-replayed'], 'true')
  assert.equal(again.text, answer.text)

  const now = check(await exported([id]), [id])
  assert.ok(now.entries.some(({ kind }) => kind === 'restore.triggered'), 'what names the backup')
  assert.equal(now.entries.filter(({ kind }) => kind === 'evidence.recorded').length, 2)
})

test('a bundle proves that the chain begins with an older checkpoint', async () => {
  const id = await backup()
  const old = await publish()
  await backup()
  const size = await publish()
  for (const sinceSize of [1, 2, 3, old - 1, old, size - 1]) {
    const { file } = check(await exported([id], { sinceSize }), [id])
    const all = leaves(size)
    assert.equal(file.consistency, `old ${sinceSize}\nnew ${size}\n${subproof(sinceSize, all, true).map((hash) => hash.toString('base64') + '\n').join('')}`)
  }
  assert.equal(check(await exported([id], { sinceSize: size }), [id]).file.consistency, undefined, 'nothing to prove of the same size')
  const refused = await exported([id], { sinceSize: size + 1 })
  assert.equal(refused.status, 409, refused.text)
  assert.equal(refused.json.error.reason, 'no_checkpoint')
  for (const sinceSize of [0, -1, null, '2', 1.5, 2 ** 53]) {
    assert.equal((await exported([id], { sinceSize })).status, 400, `${sinceSize}`)
  }
})

test('a checkpoint whose root the chain does not have is left out', async () => {
  const id = await backup()
  const size = await publish()
  const liar = new SigningNode('export')
  await liar.register()
  const all = leaves()
  await liar.publish(liar.note(org, all.length, sha256('another chain')))
  const bundle = check(await exported([id]), [id])
  assert.equal(bundle.size, size, 'the largest that is true')
  await liar.publish(liar.note(org, leaves().length, mth(leaves())))
  assert.ok(check(await exported([id]), [id]).size > all.length, 'the node may be right later')
})

test('what cannot be exported', async () => {
  const id = await backup()
  assert.equal((await exported([id, crypto.randomUUID()])).status, 404)
  assert.equal((await exported([id, id])).status, 400)
  assert.equal((await exported([])).status, 400)
  assert.equal((await exported(Array.from({ length: 101 }, () => crypto.randomUUID()))).status, 400)
  // more than 4 MiB
  sql(`SELECT count(walwarden.append_audit('app.filled', jsonb_build_object('text', repeat('x', 60000)), '${id}', 'export')) FROM generate_series(1, 75)`)
  const before = Number(sql(`SELECT max(seq) FROM walwarden_internal.audit_entry WHERE org_id = '${org}'`))
  const refused = await exported([id])
  assert.equal(refused.status, 413, refused.text)
  assert.equal(refused.json.error.code, 'payload_too_large')
  assert.equal(Number(sql(`SELECT max(seq) FROM walwarden_internal.audit_entry WHERE org_id = '${org}'`)), before, 'and leaves nothing behind')
})
