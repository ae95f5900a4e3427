import { Button, Popconfirm, Table, Tag, Typography } from 'antd'
import { useTranslation } from 'react-i18next'
import { answered, api } from '../api/client'
import { useRecords, useWho } from '../api/records'
import { useAct } from '../frame/acts'
import { Failure } from '../frame/Failure'
import { Name } from '../frame/Name'
import { useAmounts } from '../frame/amounts'

// Sessions lists who is signed in by a browser, and signs them out.
export function Sessions() {
  const { t } = useTranslation()
  const { time } = useAmounts()
  const act = useAct()
  const me = useWho().data?.sessionID
  const sessions = useRecords('session')
  if (sessions.error) return <Failure error={sessions.error} retry={sessions.retry} />
  return (
    <>
      <Typography.Title level={1} style={{ fontSize: 22, marginTop: 0 }}>{t('sessions.title')}</Typography.Title>
      <Table
        size="small" rowKey="id" loading={sessions.loading} dataSource={sessions.items} pagination={{ pageSize: 50, hideOnSinglePage: true }} scroll={{ x: 900 }}
        columns={[
          { title: t('sessions.user'), render: (_, s) => <><Name of={s.spec.user} /> {s.id === me && <Tag color="blue">{t('sessions.this')}</Tag>}</> },
          { title: t('sessions.role'), render: (_, s) => s.spec.role },
          { title: t('sessions.begun'), render: (_, s) => time(s.created) },
          { title: t('sessions.until'), render: (_, s) => time(s.spec.expires) },
          { title: t('sessions.from'), render: (_, s) => s.spec.from },
          { title: t('sessions.browser'), ellipsis: true, render: (_, s) => s.spec.browser },
          {
            title: '', key: 'act', width: 120,
            render: (_, s) => (
              <Popconfirm title={t('sessions.sure')} okText={t('sessions.end')} onConfirm={() => act(answered(api.DELETE('/v1/sessions/{name}', { params: { path: { name: s.id } } })))}>
                <Button size="small" danger>{t('sessions.end')}</Button>
              </Popconfirm>
            ),
          },
        ]}
      />
    </>
  )
}
