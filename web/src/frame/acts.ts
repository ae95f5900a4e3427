import { App } from 'antd'
import { useTranslation } from 'react-i18next'
import { Refused } from '../api/client'

// useAct runs what a person asked for, and says in a sentence why it did not work.
export function useAct() {
  const { message, notification } = App.useApp()
  const { t } = useTranslation()
  return async (act: Promise<unknown>, done?: string): Promise<boolean> => {
    try {
      await act
      if (done) void message.success(done)
      return true
    } catch (e) {
      const lines = e instanceof Refused ? (e.problem.errors ?? []).map((x) => `${x.field}: ${x.message}`) : []
      notification.error({ title: t('failure.act'), description: [e instanceof Error ? e.message : String(e), ...lines].join('\n'), duration: 0, style: { whiteSpace: 'pre-line' } })
      return false
    }
  }
}
