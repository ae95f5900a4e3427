import { createRootRoute, createRoute, createRouter, lazyRouteComponent, Outlet, redirect } from '@tanstack/react-router'
import { answered, api, Refused } from './api/client'
import { Frame } from './frame/Frame'
import { Failure } from './frame/Failure'
import { SignIn } from './pages/SignIn'

const text = (x: unknown) => (typeof x === 'string' && x !== '' ? x : undefined)

const root = createRootRoute({ component: Outlet, errorComponent: ({ error }) => <Failure error={error} />, notFoundComponent: () => <Failure /> })

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  component: SignIn,
  validateSearch: (s: Record<string, unknown>): { next?: string } => ({ next: text(s.next) }),
})

// Everything else is for who is signed in.
const inside = createRoute({
  getParentRoute: () => root,
  id: 'inside',
  component: Frame,
  beforeLoad: async ({ location }) => {
    try {
      return { who: await answered(api.GET('/v1/whoami')) }
    } catch (e) {
      if (e instanceof Refused && e.problem.status === 401) throw redirect({ to: '/sign-in', search: { next: location.href } })
      throw e
    }
  },
  shouldReload: false,
})

const overview = createRoute({ getParentRoute: () => inside, path: '/', component: lazyRouteComponent(() => import('./pages/Overview'), 'Overview') })

export interface VmSearch {
  q?: string
  state?: string
  sort?: string
}
const vms = createRoute({
  getParentRoute: () => inside,
  path: '/vms',
  validateSearch: (s: Record<string, unknown>): VmSearch => ({ q: text(s.q), state: text(s.state), sort: text(s.sort) }),
  component: lazyRouteComponent(() => import('./pages/Vms'), 'Vms'),
})

export const vmTabs = ['summary', 'console', 'screen', 'explain', 'events'] as const
export type VmTab = (typeof vmTabs)[number]
const vm = createRoute({
  getParentRoute: () => inside,
  path: '/projects/$project/vms/$name',
  validateSearch: (s: Record<string, unknown>): { tab?: VmTab } => ({ tab: vmTabs.find((t) => t === s.tab) }),
  component: lazyRouteComponent(() => import('./pages/Vm'), 'Vm'),
})

const hosts = createRoute({ getParentRoute: () => inside, path: '/hosts', component: lazyRouteComponent(() => import('./pages/Hosts'), 'Hosts') })
const operations = createRoute({ getParentRoute: () => inside, path: '/operations', component: lazyRouteComponent(() => import('./pages/Operations'), 'Operations') })
const users = createRoute({ getParentRoute: () => inside, path: '/users', component: lazyRouteComponent(() => import('./pages/Users'), 'Users') })
const sessions = createRoute({ getParentRoute: () => inside, path: '/sessions', component: lazyRouteComponent(() => import('./pages/Sessions'), 'Sessions') })

export const router = createRouter({
  routeTree: root.addChildren([signIn, inside.addChildren([overview, vms, vm, hosts, operations, users, sessions])]),
  defaultErrorComponent: ({ error }) => <Failure error={error} />,
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
