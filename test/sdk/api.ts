// The API as the flow calls it: a function for each operation of the document, with the
// types that openapi-typescript makes. The adapter of every other generator has to fit.
import type { components, operations } from './generated/openapi-typescript.js'

export type ApiError = components['schemas']['ApiError']
export type Operation = keyof operations

type Json<T> = T extends { content: { 'application/json': infer Content } } ? Content : void

// path, query, header and body of a request; those that the operation needs are required.
export type Input<O extends Operation> = Omit<operations[O]['parameters'], 'cookie'> &
  ([NonNullable<operations[O]['requestBody']>] extends [never] ? { body?: undefined }
    : undefined extends operations[O]['requestBody'] ? { body?: Json<NonNullable<operations[O]['requestBody']>> }
      : { body: Json<operations[O]['requestBody']> })

type Success<R> = { [Status in keyof R]: Status extends 200 | 201 | 202 | 204 ? Json<R[Status]> : never }[keyof R]

export type Api = { [O in Operation]: (input: Input<O>) => Promise<Success<operations[O]['responses']>> }

// What an adapter throws for a response of 400 or more.
export class Refused extends Error {
  constructor (readonly status: number, readonly body: ApiError) {
    super(`${status} ${body.error.message}`)
  }
}
