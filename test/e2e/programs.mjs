// Variants of the running nginx and PostgREST: their configuration, changed.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { freePort, send, startProgram } from './lib.mjs'

const work = process.env.WORK
const children = []

export const stopPrograms = () => children.forEach((child) => child.kill())

// changes: pairs of a text or pattern, which nginx.conf must have, and what takes its place.
// Returns the address of REST v1 there.
export async function nginx (name, ...changes) {
  const port = await freePort()
  let config = readFileSync(`${work}/rest/nginx.conf`, 'utf8')
    .replace(/listen .*;/, `listen 127.0.0.1:${port};`)
    .replaceAll(`${work}/rest/nginx.pid`, `${work}/rest/${name}.pid`)
  for (const [from, to] of changes) {
    assert.ok(from instanceof RegExp ? from.test(config) : config.includes(from), `nginx.conf has no ${from}`)
    config = config.replaceAll(from, to)
  }
  writeFileSync(`${work}/rest/${name}.conf`, config)
  const url = new URL(`http://127.0.0.1:${port}/api/v1`)
  children.push(await startProgram(process.env.NGINX_BIN, ['-e', `${work}/rest/${name}-error.log`, '-c', `${work}/rest/${name}.conf`],
    () => send('GET', '/no/such', { url, prefix: '' }).then(() => true, () => false)))
  return url
}

// PostgREST and an nginx before it, which has proxyChanges. more: further lines of postgrest.conf.
export async function postgrest (name, { changes = [], more = '', proxyChanges = [] } = {}) {
  let config = readFileSync(`${work}/rest/postgrest.conf`, 'utf8').replaceAll('postgrest.sock', `${name}.sock`)
  for (const [from, to] of changes) config = config.replace(from, to)
  writeFileSync(`${work}/rest/${name}-postgrest.conf`, config + more)
  const url = await nginx(name, ['postgrest.sock', `${name}.sock`], ...proxyChanges)
  children.push(await startProgram(process.env.POSTGREST_BIN, [`${work}/rest/${name}-postgrest.conf`],
    () => send('GET', '/openapi.json', { url }).then((answer) => answer.status === 200, () => false)))
  return url
}
