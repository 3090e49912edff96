// What sigstore's own verifier says of a bundle: the signed note of each proof, and that the
// entry is in the tree of RFC 6962 which the note names. It takes a leaf as the log has it, and a
// leaf here is the hash of an entry.
//
//     node sigstore.mjs MODULES VKEY BUNDLE    prints how many proofs hold; fails at the first that does not
import { createHash, createPublicKey } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'

const [modules, vkey, bundle] = process.argv.slice(2)
const require = createRequire(resolve(modules, 'x'))
const { verifyCheckpoint } = require('@sigstore/verify/dist/tlog/checkpoint.js')
const { verifyMerkleInclusion } = require('@sigstore/verify/dist/tlog/merkle.js')

const [, name, encoded] = /^(.+)\+[0-9a-f]{8}\+(.+)\n$/.exec(readFileSync(vkey, 'utf8'))
const key = Buffer.from(encoded, 'base64')
const log = {
  baseURL: name,
  logID: createHash('sha256').update(`${name}\n`).update(key).digest(),
  publicKey: createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key.subarray(1).toString('base64url') }, format: 'jwk' })
}
const hashes = new Map(readFileSync(`${bundle}/chain.tsv`, 'utf8').trimEnd().split('\n').map((line) => line.split('\t')).map(([seq, , hash]) => [seq, hash]))
const seqs = readdirSync(`${bundle}/proofs`)

for (const seq of seqs) {
  const proof = readFileSync(`${bundle}/proofs/${seq}`, 'utf8')
  const end = proof.indexOf('\n\n')
  const [, index, ...path] = proof.slice(0, end).split('\n')
  const entry = {
    canonicalizedBody: Buffer.from(hashes.get(seq), 'hex'),
    inclusionProof: {
      logIndex: index.replace('index ', ''),
      hashes: path.map((line) => Buffer.from(line, 'base64')),
      checkpoint: { envelope: proof.slice(end + 2) }
    }
  }
  if (entry.inclusionProof.logIndex !== `${seq - 1}`) throw new Error(`the proof of entry ${seq} is of another place`)
  verifyMerkleInclusion(entry, verifyCheckpoint(entry, [log]))
}
console.log(`${seqs.length} proofs hold`)
