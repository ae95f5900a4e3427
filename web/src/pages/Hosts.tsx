import { Table, Typography } from 'antd'
import { useTranslation } from 'react-i18next'
import { useRecords } from '../api/records'
import { Failure } from '../frame/Failure'
import { Name } from '../frame/Name'
import { State } from '../frame/State'
import { useAmounts } from '../frame/amounts'

// Hosts lists the hardware.
export function Hosts() {
  const { t } = useTranslation()
  const { mib } = useAmounts()
  const hosts = useRecords('host')
  const alive = useRecords('liveness')
  const vms = useRecords('vm')
  if (hosts.error) return <Failure error={hosts.error} retry={hosts.retry} />
  const state = new Map(alive.items.map((l) => [l.spec.hostID, l.status.state]))
  const load = new Map<string, { vms: number; cpus: number; memory: number }>()
  for (const v of vms.items) {
    if (!v.status.instanceID || !v.status.hostID) continue
    const l = load.get(v.status.hostID) ?? { vms: 0, cpus: 0, memory: 0 }
    load.set(v.status.hostID, { vms: l.vms + 1, cpus: l.cpus + v.spec.cpus, memory: l.memory + v.spec.memoryMiB })
  }
  return (
    <>
      <Typography.Title level={1} style={{ fontSize: 22, marginTop: 0 }}>{t('hosts.title')}</Typography.Title>
      <Table
        size="small" rowKey="id" loading={hosts.loading} dataSource={hosts.items} pagination={{ pageSize: 100, hideOnSinglePage: true }} scroll={{ x: 900 }}
        columns={[
          { title: t('hosts.name'), render: (_, h) => <Name of={h.name} />, sorter: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }), defaultSortOrder: 'ascend' },
          { title: t('hosts.alive'), render: (_, h) => <State of={state.get(h.id)} /> },
          { title: t('hosts.mode'), render: (_, h) => <State of={h.spec.mode} /> },
          { title: t('hosts.vms'), render: (_, h) => load.get(h.id)?.vms ?? 0 },
          { title: t('hosts.cpus'), render: (_, h) => `${load.get(h.id)?.cpus ?? 0} / ${h.status.inventory?.threads ?? 0}` },
          { title: t('hosts.memory'), render: (_, h) => `${mib(load.get(h.id)?.memory ?? 0)} / ${mib(h.status.inventory?.memoryMiB ?? 0)}` },
          { title: t('hosts.version'), render: (_, h) => h.status.version },
          { title: t('hosts.problems'), render: (_, h) => (h.status.problems ?? []).map((p) => p.message).join('; ') },
        ]}
      />
    </>
  )
}
