// Makes a client with each generator, from the document in generated/openapi.json, and an
// adapter for it: a file of one line for each operation, which only passes arguments on.
//
//     node generate.mjs URL      URL: where the API is served
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'

const url = process.argv[2]
const input = './generated/openapi.json'
const document = JSON.parse(readFileSync(input, 'utf8'))

// Each operation as adapters need it.
const resolve = (item) => item.$ref ? item.$ref.slice(2).split('/').reduce((at, part) => at[part], document) : item
const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => {
  const parameters = (operation.parameters ?? []).map(resolve)
  const content = operation.requestBody?.content['application/json']
  return {
    name: operation.operationId,
    path,
    method,
    change: method !== 'get',
    inPath: parameters.filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name),
    inQuery: parameters.some((parameter) => parameter.in === 'query'),
    inHeader: parameters.filter((parameter) => parameter.in === 'header').map((parameter) => parameter.name),
    bodyRequired: operation.requestBody?.required,
    body: content && content.schema.$ref.split('/').at(-1).replace(/^./, (letter) => letter.toLowerCase())
  }
}))

// For each generator: how it is called, and what its adapter says. ok: from a response to its
// content, or to an error; line: what stands for an operation.
const generators = {
  'openapi-typescript': {
    run: ['openapi-typescript', input, '--output', 'generated/openapi-typescript.d.ts'],
    head: `import createClient from 'openapi-fetch'
import type { paths } from '../openapi-typescript.js'

function ok<T> (answer: { data?: T, error?: ApiError, response: Response }): T {
  if (answer.error !== undefined) throw new Refused(answer.response.status, answer.error)
  return answer.data as T
}`,
    client: 'const client = createClient<paths>({ baseUrl: url, headers })',
    line: ({ name, path, method, body }) => body
      ? `async ({ body, ...params }) => ok(await client.${method.toUpperCase()}('${path}', { params, body }))`
      : `async (params) => ok(await client.${method.toUpperCase()}('${path}', { params }))`
  },
  'hey-api': {
    run: ['openapi-ts', '--silent', '--no-log-file', '--file', 'hey-api.config.mjs'],
    head: `import * as sdk from '../hey-api/index.js'
import { createClient } from '../hey-api/client/index.js'

function ok<T> (answer: { data?: T, error?: ApiError, response?: Response }): T {
  if (answer.error !== undefined) throw new Refused(answer.response?.status ?? 0, answer.error)
  return answer.data as T
}`,
    client: 'const client = createClient({ baseUrl: url, headers })',
    line: ({ name, inPath, inQuery, inHeader, body }) => {
      const members = ['client', inPath.length && 'path: input.path', inQuery && 'query: input.query', inHeader.length && 'headers: input.header', body && 'body: input.body']
      return `async (input) => ok(await sdk.${name}({ ${members.filter(Boolean).join(', ')} }))`
    }
  },
  oazapfts: {
    run: ['oazapfts', '--argumentStyle=object', input, 'generated/oazapfts.ts'],
    head: `import * as sdk from '../oazapfts.js'

function ok<A extends { status: number, data?: unknown }> (answer: A): Extract<A, { status: 200 | 201 | 202, data: unknown }>['data'] {
  if (answer.status >= 400) throw new Refused(answer.status, answer.data as ApiError)
  return answer.data as never
}`,
    client: 'const options = { baseUrl: url, headers }',
    line: ({ name, inPath, inQuery, inHeader, body }) => {
      const members = [...inPath.map((parameter) => `${parameter}: input.path.${parameter}`), inQuery && '...input.query',
        ...inHeader.map((parameter) => `${parameter.replace(/-/g, '').replace(/^./, (letter) => letter.toLowerCase())}: input.header?.['${parameter}']`), body && `${body}: input.body`].filter(Boolean)
      return members.length > 0 ? `async (input) => ok(await sdk.${name}({ ${members.join(', ')} }, options))` : `async () => ok(await sdk.${name}(options))`
    }
  },
  orval: {
    run: ['orval', '--config', 'orval.config.cjs'],
    env: { SDK_URL: url },
    head: `import * as sdk from '../orval.js'

function ok<A extends { status: number, data?: unknown }> (answer: A): Extract<A, { status: 200 | 201 | 202 | 204, data: unknown }>['data'] {
  if (answer.status >= 400) throw new Refused(answer.status, answer.data as ApiError)
  return answer.data as never
}`,
    client: 'const options = { headers }',
    line: ({ name, inPath, inQuery, inHeader, body, bodyRequired }) => {
      const given = [...inPath.map((parameter) => `input.path.${parameter}`), bodyRequired && 'input.body', inQuery && 'input.query', inHeader.length && 'input.header',
        body && !bodyRequired && 'input.body', 'options'].filter(Boolean)
      return `async (${given.length > 1 ? 'input' : ''}) => ok(await sdk.${name}(${given.join(', ')}))`
    }
  },
  'openapi-zod-client': {
    run: ['openapi-zod-client', input, '--output', 'generated/openapi-zod-client.ts'],
    head: `import { isAxiosError } from 'axios'
import { createApiClient } from '../openapi-zod-client.js'

async function ok<T> (answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    if (isAxiosError(cause) && cause.response) throw new Refused(cause.response.status, cause.response.data as ApiError)
    throw error
  }
}`,
    // axios has an empty text for a response without a body, where the client expects nothing;
    // and calls a body that is not there a form, which beside a session may be another site's
    client: `const client = createApiClient(url, {
    axiosConfig: {
      headers: { 'Content-Type': 'application/json', ...headers },
      transformResponse: (text: string) => text === '' ? undefined : JSON.parse(text)
    }
  })`,
    line: ({ name, change, inPath, inQuery, inHeader, body }) => {
      const config = [inPath.length && 'params: input.path', inQuery && 'queries: input.query', inHeader.length && 'headers: input.header'].filter(Boolean)
      const given = [change && (body ? 'input.body' : 'undefined'), config.length && `{ ${config.join(', ')} }`].filter(Boolean)
      return `(${given.some((text) => text.includes('input')) ? 'input' : ''}) => ok(client.${name}(${given.join(', ')}))`
    }
  }
}

mkdirSync('generated/adapters', { recursive: true })
for (const [name, { run: [program, ...args], env, head, client, line }] of Object.entries(generators)) {
  const { status, stdout, stderr } = spawnSync(`node_modules/.bin/${program}`, args, { encoding: 'utf8', env: { ...process.env, ...env } })
  if (status !== 0) throw new Error(`${program} failed:\n${stdout}${stderr}`)
  writeFileSync(`generated/adapters/${name}.ts`, `import { type Api, ApiError, Refused } from '../../api.js'
${head}

export function connect (url: string, headers: Record<string, string>): Api {
  ${client}
  return {
${operations.map((operation) => `    ${operation.name}: ${line(operation)}`).join(',\n')}
  }
}
`.replace('Api, ApiError', 'Api, type ApiError'))
}
