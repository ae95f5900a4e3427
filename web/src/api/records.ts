import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useEffect, useMemo } from 'react'
import { answered, api, type Schemas } from './client'
import { watch } from './watch'

// The kinds that the console shows, and where each is listed.
export interface Kinds {
  vm: Schemas['VM']
  host: Schemas['Host']
  liveness: Schemas['Liveness']
  image: Schemas['Image']
  volume: Schemas['Volume']
  network: Schemas['Network']
  subnet: Schemas['Subnet']
  port: Schemas['Port']
  datastore: Schemas['Datastore']
  operation: Schemas['Operation']
  event: Schemas['Event']
  project: Schemas['Project']
  session: Schemas['Session']
  user: Schemas['User']
}
export type KindName = keyof Kinds

const lists: Record<KindName, string> = {
  vm: '/v1/vms', host: '/v1/hosts', liveness: '/v1/livenesses', image: '/v1/images', volume: '/v1/volumes', network: '/v1/networks',
  subnet: '/v1/subnets', port: '/v1/ports', datastore: '/v1/datastores', operation: '/v1/operations', event: '/v1/events', project: '/v1/projects', session: '/v1/sessions', user: '/v1/users',
}

// What a project's member does not see at all: an empty list is not asked for.
const operators = new Set<KindName>(['host', 'liveness', 'datastore', 'user'])

export interface Listed<K extends KindName> {
  items: Kinds[K][]
  byID: Map<string, Kinds[K]>
  loading: boolean
  error: unknown
  retry: () => void
}

interface Held<K extends KindName> {
  records: Map<string, Kinds[K]>
  revision: number
}

async function all<K extends KindName>(kind: K): Promise<Held<K>> {
  const records = new Map<string, Kinds[K]>()
  let page: string | undefined
  let revision = 0
  do {
    const got = await answered(api.GET(lists[kind] as '/v1/vms', { params: { query: { limit: 1000, page } } }))
    for (const r of got.items ?? []) records.set(r.id, r as unknown as Kinds[K])
    revision ||= got.revision // of the first page: a watch from there misses nothing
    page = got.nextPage
  } while (page)
  return { records, revision }
}

// useRecords gives all records of a kind that this person sees, and follows them.
export function useRecords<K extends KindName>(kind: K, wanted = true): Listed<K> {
  const queries = useQueryClient()
  const operator = useWho().data?.right === 'admin'
  const enabled = wanted && (operator || !operators.has(kind))
  const q = useQuery({ queryKey: ['records', kind], queryFn: () => all(kind), enabled, staleTime: Infinity, gcTime: 5_000 })
  const revision = q.data?.revision
  const listedAt = q.dataUpdatedAt
  const there = revision !== undefined
  useEffect(() => {
    if (!there || !enabled) return
    return watch(kind, () => queries.getQueryData<Held<K>>(['records', kind])?.revision ?? 0, {
      changed: (changes, upTo) =>
        queries.setQueryData<Held<K>>(['records', kind], (held) => {
          if (!held) return held
          const records = changes.length ? new Map(held.records) : held.records
          for (const c of changes) {
            if (c.type === 'delete') records.delete(c.object.id)
            else records.set(c.object.id, c.object as unknown as Kinds[K])
          }
          return { records, revision: upTo }
        }),
      lost: () => void queries.invalidateQueries({ queryKey: ['records', kind] }),
    })
  }, [kind, there, enabled, queries])
  const records = q.data?.records
  return useMemo(
    () => ({ items: records ? [...records.values()] : [], byID: records ?? new Map(), loading: enabled && q.isPending, error: q.error, retry: () => void q.refetch() }),
    // eslint-style lists of what matters: the map is replaced whenever a record changes
    [records, enabled, q.isPending, q.error, listedAt],
  )
}

// useWho gives who is signed in.
export function useWho() {
  return useQuery({ queryKey: ['who'], queryFn: () => answered(api.GET('/v1/whoami')), staleTime: 60_000, retry: false })
}
