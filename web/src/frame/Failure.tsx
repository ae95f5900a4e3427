import { Button, Result } from 'antd'
import { useTranslation } from 'react-i18next'

// Failure says why a page cannot be shown, and what to do.
export function Failure({ error, retry }: { error?: unknown; retry?: () => void }) {
  const { t } = useTranslation()
  const why = error instanceof Error ? error.message : t('failure.noPage')
  return (
    <Result
      status={error ? 'warning' : '404'}
      title={t('failure.title')}
      subTitle={why}
      extra={<Button type="primary" onClick={retry ?? (() => location.reload())}>{t('failure.again')}</Button>}
    />
  )
}
