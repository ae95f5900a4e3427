// Live changes: one stream of server-sent events for each kind on screen.

export interface Change {
  type: 'put' | 'delete'
  object: { id: string; name?: string }
}

interface Follower {
  // changed is told of changes, at most four times a second, and up to which revision they go.
  changed: (changes: Change[], upTo: number) => void
  // lost is told that changes were missed: everything has to be read again.
  lost: () => void
}

const gather = 250
const again = 2000

// watch follows a kind from the revision that is held, and goes on by itself when the server comes back.
export function watch(kind: string, held: () => number, f: Follower): () => void {
  let source: EventSource | undefined
  let timer: number | undefined
  let reopen: number | undefined
  let waiting: Change[] = []
  let upTo = 0
  let over = false

  const flush = () => {
    timer = undefined
    const changes = waiting
    waiting = []
    f.changed(changes, upTo)
  }
  const close = () => {
    source?.close()
    source = undefined
    window.clearTimeout(timer)
    window.clearTimeout(reopen)
    timer = reopen = undefined
    waiting = []
  }
  const open = () => {
    close()
    if (over) return
    source = new EventSource(`/v1/watch?kinds=${kind}&after=${held()}`)
    source.addEventListener('change', (e) => {
      const c = JSON.parse((e as MessageEvent<string>).data) as Change & { revision: number }
      waiting.push(c)
      upTo = c.revision
      timer ??= window.setTimeout(flush, gather)
    })
    source.addEventListener('error', (e) => {
      if (e instanceof MessageEvent) {
        // The server ended it, and says why: too late, or no right any more.
        close()
        if (!over) reopen = window.setTimeout(() => { f.lost(); open() }, again)
      } else if (source?.readyState === EventSource.CLOSED) {
        close()
        if (!over) reopen = window.setTimeout(open, again)
      }
    })
  }
  open()
  return () => {
    over = true
    close()
  }
}
