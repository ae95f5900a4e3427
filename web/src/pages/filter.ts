import type { VM } from '../vm/power'

// What is typed into the search of VMs: words, which are looked for in all that a row shows, and fields.
//   web state=running host!=h3 label:env=prod

export interface Row {
  vm: VM
  host: string
  image: string
  state: string
}

type Test = (r: Row) => boolean

const fields: Record<string, (r: Row) => string[]> = {
  name: (r) => [r.vm.name],
  state: (r) => [r.state],
  host: (r) => [r.host],
  image: (r) => [r.image],
  project: (r) => [r.vm.project ?? ''],
  address: (r) => r.vm.status.addresses ?? [],
}

export function parse(text: string): Test {
  const tests = text.split(/\s+/).filter(Boolean).map(one)
  return (r) => tests.every((t) => t(r))
}

function one(term: string): Test {
  const m = /^(?:(label):)?([^=!:]+)(!?=)(.*)$/.exec(term)
  if (m) {
    const [, label, key, sign, value] = m
    const wanted = value.toLowerCase().split(',')
    const differ = sign === '!='
    if (label) return (r) => (r.vm.labels?.[key] !== undefined && wanted.includes(r.vm.labels[key].toLowerCase())) !== differ
    const field = fields[key.toLowerCase()]
    if (field) return (r) => field(r).some((v) => wanted.includes(v.toLowerCase())) !== differ
  }
  const word = term.toLowerCase()
  return (r) =>
    r.vm.name.toLowerCase().includes(word) || (r.vm.project ?? '').toLowerCase().includes(word) || r.state.includes(word) || r.host.toLowerCase().includes(word) ||
    r.image.toLowerCase().includes(word) || (r.vm.status.addresses ?? []).some((a) => a.includes(word)) ||
    Object.entries(r.vm.labels ?? {}).some(([k, v]) => `${k}=${v}`.toLowerCase().includes(word))
}
