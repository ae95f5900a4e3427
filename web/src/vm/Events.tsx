import { Table } from 'antd'
import { useMemo } from 'react'
import { useTranslation } from 'react-i18next'
import { useRecords } from '../api/records'
import { Failure } from '../frame/Failure'
import { useAmounts } from '../frame/amounts'

// Events are what happened to one record, the latest first.
export function Events({ about }: { about: string }) {
  const { t } = useTranslation()
  const { time } = useAmounts()
  const events = useRecords('event')
  const rows = useMemo(() => events.items.filter((e) => e.spec.about.id === about).sort((a, b) => b.spec.at.localeCompare(a.spec.at)), [events.items, about])
  if (events.error) return <Failure error={events.error} retry={events.retry} />
  return (
    <Table
      size="small" rowKey="id" loading={events.loading} dataSource={rows} pagination={{ pageSize: 50, hideOnSinglePage: true }} scroll={{ x: 700 }}
      columns={[
        { title: t('event.when'), width: 200, render: (_, e) => time(e.spec.at) },
        { title: t('event.what'), render: (_, e) => e.spec.message },
        { title: t('event.by'), width: 140, render: (_, e) => e.spec.by },
      ]}
    />
  )
}
