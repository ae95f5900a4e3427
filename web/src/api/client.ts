import createClient from 'openapi-fetch'
import type { components, paths } from '../../.types/api'

export type Schemas = components['schemas']
export type Problem = Schemas['Problem']

// The session is in a cookie that the browser shows by itself.
export const api = createClient<paths>({ baseUrl: location.origin })

// Refused is an answer that is none: the server's own sentence says why.
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail)
  }
}

const leaving = new Set<() => void>()

// onSessionOver calls back when the server does not know this browser any more.
export function onSessionOver(f: () => void): () => void {
  leaving.add(f)
  return () => leaving.delete(f)
}

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

// answered gives what was answered, or throws why not.
export async function answered<T>(asked: Promise<Answer<T>>): Promise<T> {
  let a: Answer<T>
  try {
    a = await asked
  } catch {
    throw new Refused({ type: '', title: '', status: 0, kind: 'unavailable', detail: 'the server is not reached' })
  }
  if (a.response.ok) return a.data as T
  if (a.response.status === 401) leaving.forEach((f) => f())
  const p = a.error as Problem | undefined
  throw new Refused(p?.detail ? p : { type: '', title: '', status: a.response.status, kind: 'unavailable', detail: `the server answered ${a.response.status}` })
}
