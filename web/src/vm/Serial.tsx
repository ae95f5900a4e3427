import { FitAddon } from '@xterm/addon-fit'
import { Terminal } from '@xterm/xterm'
import '@xterm/xterm/css/xterm.css'
import { Alert, Button, Flex } from 'antd'
import { useEffect, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { socketOf } from './socket'
import type { VM } from './power'

const kept = 1000 // lines of the log of a VM that does not run

// Serial is the serial console of a VM, which begins with what was said last; of one that does not run, its log.
export default function Serial({ vm }: { vm: VM }) {
  const { t } = useTranslation()
  const box = useRef<HTMLDivElement>(null)
  const [over, setOver] = useState(false)
  const [turn, setTurn] = useState(0)
  const instance = vm.status.instanceID
  const project = vm.project ?? ''
  const id = vm.id

  useEffect(() => {
    if (!box.current) return
    const leaving = new AbortController()
    const term = new Terminal({ scrollback: 10_000, convertEol: false, cursorBlink: true, fontSize: 14 })
    const fit = new FitAddon()
    term.loadAddon(fit)
    term.open(box.current)
    fit.fit()
    const sized = new ResizeObserver(() => fit.fit())
    sized.observe(box.current)
    let ws: WebSocket | undefined
    const type = term.onData((text) => ws?.readyState === WebSocket.OPEN && ws.send(new TextEncoder().encode(text)))
    setOver(false)

    const begin = async () => {
      if (!instance) {
        setOver(true)
        const log = await fetch(`/v1/projects/${encodeURIComponent(project)}/vms/${id}/log?tail=${kept}`, { signal: leaving.signal }).catch(() => undefined)
        if (log?.ok) term.write(new Uint8Array(await log.arrayBuffer()))
        return
      }
      ws = socketOf(project, id, 'console')
      ws.onmessage = (e: MessageEvent<ArrayBuffer>) => term.write(new Uint8Array(e.data))
      ws.onopen = () => term.focus()
      ws.onclose = () => !leaving.signal.aborted && setOver(true)
    }
    void begin()
    return () => {
      leaving.abort()
      ws?.close()
      sized.disconnect()
      type.dispose()
      term.dispose()
    }
  }, [project, id, instance, turn])

  return (
    <Flex vertical gap={8} style={{ flex: 1, minHeight: 0 }}>
      {over && (
        <Alert
          type="info" showIcon title={instance ? t('console.over') : t('console.off')}
          action={instance && <Button size="small" onClick={() => setTurn((n) => n + 1)}>{t('console.again')}</Button>}
        />
      )}
      <div className="serial" ref={box} />
    </Flex>
  )
}
