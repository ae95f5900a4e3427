import { Button, Table, Typography } from 'antd'
import { useMemo } from 'react'
import { useTranslation } from 'react-i18next'
import { answered, api } from '../api/client'
import { useRecords } from '../api/records'
import { useAct } from '../frame/acts'
import { Failure } from '../frame/Failure'
import { Name } from '../frame/Name'
import { State } from '../frame/State'
import { useAmounts } from '../frame/amounts'

// Operations lists work that has an end, the latest first.
export function Operations() {
  const { t } = useTranslation()
  const { time } = useAmounts()
  const act = useAct()
  const operations = useRecords('operation')
  const rows = useMemo(() => [...operations.items].sort((a, b) => b.created.localeCompare(a.created)), [operations.items])
  if (operations.error) return <Failure error={operations.error} retry={operations.retry} />
  return (
    <>
      <Typography.Title level={1} style={{ fontSize: 22, marginTop: 0 }}>{t('operations.title')}</Typography.Title>
      <Table
        size="small" rowKey="id" loading={operations.loading} dataSource={rows} pagination={{ pageSize: 50, hideOnSinglePage: true }} scroll={{ x: 900 }}
        columns={[
          { title: t('operations.type'), render: (_, o) => o.spec.type },
          { title: t('operations.about'), render: (_, o) => <Name of={`${o.spec.target.kind} ${o.name}`} /> },
          { title: t('operations.state'), render: (_, o) => <State of={o.status.phase} /> },
          { title: t('operations.begun'), render: (_, o) => time(o.status.startedAt ?? o.created) },
          { title: t('operations.by'), render: (_, o) => <Name of={o.spec.by} /> },
          { title: t('operations.why'), render: (_, o) => o.status.why },
          {
            title: '', key: 'act',
            render: (_, o) => !o.status.endedAt && (
              <Button size="small" onClick={() => void act(answered(api.POST('/v1/projects/{project}/operations/{name}/cancel', { params: { path: { project: o.project ?? '', name: o.id } } })))}>
                {t('operations.cancel')}
              </Button>
            ),
          },
        ]}
      />
    </>
  )
}
