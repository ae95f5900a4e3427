import { DownOutlined } from '@ant-design/icons'
import RFB from '@novnc/novnc'
import { Alert, App, Button, Dropdown, Flex, Input } from 'antd'
import { useEffect, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { addressOf } from './socket'
import type { VM } from './power'

// typed sends a text as keystrokes: the guest needs no agent for it.
async function typed(rfb: RFB, text: string) {
  for (const c of text) {
    const point = c.codePointAt(0)!
    rfb.sendKey(c === '\n' ? 0xff0d : c === '\t' ? 0xff09 : point < 0x100 ? point : 0x01000000 | point, null)
    await new Promise((r) => setTimeout(r, 10)) // a guest loses what comes faster than it reads
  }
}

// Screen is the screen of a VM.
export default function Screen({ vm }: { vm: VM }) {
  const { t } = useTranslation()
  const { modal } = App.useApp()
  const box = useRef<HTMLDivElement>(null)
  const rfb = useRef<RFB>(null)
  const [state, setState] = useState<'opening' | 'open' | 'over'>('opening')
  const [turn, setTurn] = useState(0)
  const instance = vm.status.instanceID
  const project = vm.project ?? ''
  const id = vm.id

  useEffect(() => {
    if (!box.current || !instance) return
    setState('opening')
    const r = new RFB(box.current, addressOf(project, id, 'vnc'), { wsProtocols: ['binary'] })
    r.scaleViewport = true
    r.background = '#111'
    let gone = false
    r.addEventListener('connect', () => { setState('open'); r.focus() })
    r.addEventListener('disconnect', () => !gone && setState('over'))
    rfb.current = r
    return () => {
      gone = true
      rfb.current = null
      r.disconnect()
    }
  }, [project, id, instance, turn])

  const paste = () => {
    let text = ''
    modal.confirm({
      title: t('screen.paste'), icon: null, content: <Input.TextArea rows={5} autoFocus aria-label={t('screen.paste')} onChange={(e) => (text = e.target.value)} />,
      okText: t('screen.type'), onOk: () => rfb.current && typed(rfb.current, text),
    })
  }
  if (!instance) return <Alert type="info" showIcon title={t('console.off')} />
  return (
    <Flex vertical gap={8} style={{ flex: 1, minHeight: 0 }}>
      <Flex gap={8} wrap>
        <Button onClick={() => void box.current?.requestFullscreen()}>{t('screen.full')}</Button>
        <Button onClick={paste} disabled={state !== 'open'}>{t('screen.paste')}</Button>
        <Dropdown
          disabled={state !== 'open'}
          menu={{
            items: [
              { key: 'cad', label: 'Ctrl-Alt-Del', onClick: () => rfb.current?.sendCtrlAltDel() },
              ...[1, 2, 3, 4, 5, 6, 7].map((n) => ({
                key: `f${n}`, label: `Ctrl-Alt-F${n}`,
                onClick: () => {
                  const r = rfb.current
                  const keys: [number, string][] = [[0xffe3, 'ControlLeft'], [0xffe9, 'AltLeft'], [0xffbd + n, `F${n}`]]
                  keys.forEach(([sym, code]) => r?.sendKey(sym, code, true))
                  keys.reverse().forEach(([sym, code]) => r?.sendKey(sym, code, false))
                },
              })),
            ],
          }}
        >
          <Button icon={<DownOutlined />} iconPlacement="end">{t('screen.keys')}</Button>
        </Dropdown>
        {state === 'over' && <Button type="primary" onClick={() => setTurn((n) => n + 1)}>{t('console.again')}</Button>}
      </Flex>
      {state === 'over' && <Alert type="info" showIcon title={t('console.over')} />}
      <div className="screen" ref={box} />
    </Flex>
  )
}
