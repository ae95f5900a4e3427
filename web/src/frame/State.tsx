import { Badge } from 'antd'
import { useTranslation } from 'react-i18next'
import type en from '../words/en.json'

export type Phase = keyof typeof en.phase

const looks: Partial<Record<Phase, 'success' | 'processing' | 'default' | 'error' | 'warning'>> = {
  running: 'success', ready: 'success', alive: 'success', succeeded: 'success', active: 'success',
  starting: 'processing', migrating: 'processing', stopping: 'processing', pending: 'processing', deleting: 'processing', creating: 'processing', importing: 'processing', undoing: 'processing', waiting: 'processing',
  paused: 'warning', unknown: 'warning', cordoned: 'warning', maintenance: 'warning', unreachable: 'error',
  crashed: 'error', failed: 'error', lost: 'error',
}

// State shows a state by a word, and a colour beside it.
export function State({ of }: { of: string | undefined }) {
  const { t, i18n } = useTranslation()
  if (!of) return null
  const known = i18n.exists(`phase.${of}`)
  return <Badge status={looks[of as Phase] ?? 'default'} text={known ? t(`phase.${of as Phase}`) : of} />
}
