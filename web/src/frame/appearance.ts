// Whether the console is light or dark: as chosen here, or else as the system is.

export type Appearance = 'light' | 'dark' | 'system'
const remembered = 'virga.appearance'
const system = window.matchMedia('(prefers-color-scheme: dark)')
const listeners = new Set<() => void>()

function chosen(): Appearance {
  const a = localStorage.getItem(remembered)
  return a === 'light' || a === 'dark' ? a : 'system'
}

system.addEventListener('change', () => listeners.forEach((f) => f()))

export const appearance = {
  chosen,
  isDark: () => (chosen() === 'system' ? system.matches : chosen() === 'dark'),
  choose(a: Appearance) {
    localStorage.setItem(remembered, a)
    listeners.forEach((f) => f())
  },
  subscribe(f: () => void) {
    listeners.add(f)
    return () => listeners.delete(f)
  },
}
