import { answered, api } from '../api/client'
import type { Kinds } from '../api/records'

export type VM = Kinds['vm']
export const acts = ['start', 'stop', 'restart', 'pause', 'resume', 'kill', 'delete'] as const
export type Act = (typeof acts)[number]

// sensible says whether an act would do something to a VM in its state.
export function sensible(act: Act, vm: VM): boolean {
  const phase = vm.status.phase
  const off = phase === 'stopped' || phase === 'crashed'
  switch (act) {
    case 'start':
      return off || vm.spec.power === 'stopped'
    case 'resume':
      return phase === 'paused'
    case 'pause':
      return phase === 'running'
    case 'delete':
      return !vm.deleting
    default:
      return !off && !vm.deleting
  }
}

// destructive acts are asked for twice.
export const destructive = (act: Act) => act === 'kill' || act === 'delete'

// perform asks the cloud to do it.
export function perform(act: Act, vm: VM): Promise<unknown> {
  const params = { path: { project: vm.project ?? '', name: vm.id } }
  switch (act) {
    case 'start':
      return answered(api.POST('/v1/projects/{project}/vms/{name}/start', { params }))
    case 'stop':
      return answered(api.POST('/v1/projects/{project}/vms/{name}/stop', { params, body: {} }))
    case 'kill':
      return answered(api.POST('/v1/projects/{project}/vms/{name}/stop', { params, body: { force: true } }))
    case 'restart':
      return answered(api.POST('/v1/projects/{project}/vms/{name}/restart', { params, body: {} }))
    case 'pause':
      return answered(api.POST('/v1/projects/{project}/vms/{name}/pause', { params }))
    case 'resume':
      return answered(api.POST('/v1/projects/{project}/vms/{name}/resume', { params }))
    case 'delete':
      return answered(api.DELETE('/v1/projects/{project}/vms/{name}', { params }))
  }
}
