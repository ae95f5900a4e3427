import { App, Button, Flex, Tooltip } from 'antd'
import { useTranslation } from 'react-i18next'
import { useWho } from '../api/records'
import { useAct } from '../frame/acts'
import { acts, destructive, perform, sensible, type Act, type VM } from './power'

// PowerButtons act on one VM, or on many. What would fail is disabled, and says why.
export function PowerButtons({ vms, only = acts, size }: { vms: VM[]; only?: readonly Act[]; size?: 'small' }) {
  const { t } = useTranslation()
  const { modal, message } = App.useApp()
  const act = useAct()
  const reader = useWho().data?.right === 'read'

  const run = async (a: Act) => {
    const them = vms.filter((v) => sensible(a, v))
    let done = 0
    for (const vm of them) if (await act(perform(a, vm))) done++
    if (them.length > 1) void message.info(t('acts.done', { done, all: them.length }))
  }
  const ask = (a: Act) => {
    if (!destructive(a)) return void run(a)
    const names = vms.map((v) => v.name).slice(0, 5).join(', ') + (vms.length > 5 ? ' …' : '')
    modal.confirm({
      title: t(a === 'kill' ? 'acts.sureKill' : 'acts.sureDelete', { count: vms.length }),
      content: names, okText: t(`acts.${a}`), okButtonProps: { danger: true }, autoFocusButton: 'cancel', onOk: () => run(a),
    })
  }
  return (
    <Flex gap={8} wrap>
      {only.map((a) => {
        const why = reader ? t('acts.reader') : vms.some((v) => sensible(a, v)) ? '' : t('acts.notNow', { state: vms.length === 1 ? vms[0].status.phase : '' })
        return (
          <Tooltip key={a} title={why}>
            <Button size={size} danger={destructive(a)} disabled={why !== ''} onClick={() => ask(a)}>{t(`acts.${a}`)}</Button>
          </Tooltip>
        )
      })}
    </Flex>
  )
}
