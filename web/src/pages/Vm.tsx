import { Link, useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { Alert, Descriptions, Flex, Skeleton, Tabs, Tag, Typography } from 'antd'
import { lazy, Suspense } from 'react'
import { useTranslation } from 'react-i18next'
import { useRecords } from '../api/records'
import { Failure } from '../frame/Failure'
import { Name } from '../frame/Name'
import { State } from '../frame/State'
import { useAmounts } from '../frame/amounts'
import { vmTabs, type VmTab } from '../routes'
import { Events } from '../vm/Events'
import { Explain } from '../vm/Explain'
import { PowerButtons } from '../vm/PowerButtons'
import type { VM } from '../vm/power'

const Serial = lazy(() => import('../vm/Serial'))
const Screen = lazy(() => import('../vm/Screen'))

// Vm is the page of one VM.
export function Vm() {
  const { t } = useTranslation()
  const { project, name } = useParams({ from: '/inside/projects/$project/vms/$name' })
  const { tab = 'summary' } = useSearch({ from: '/inside/projects/$project/vms/$name' })
  const go = useNavigate({ from: '/projects/$project/vms/$name' })
  const vms = useRecords('vm')
  if (vms.error) return <Failure error={vms.error} retry={vms.retry} />
  if (vms.loading) return <Skeleton active />
  const vm = vms.items.find((v) => v.project === project && (v.name === name || v.id === name))
  if (!vm) return <Alert type="warning" showIcon title={t('vm.gone', { name })} description={<Link to="/vms">{t('vm.toList')}</Link>} />

  const content: Record<VmTab, () => React.ReactNode> = {
    summary: () => <Summary vm={vm} />,
    console: () => <Serial vm={vm} />,
    screen: () => <Screen vm={vm} />,
    explain: () => <Explain vm={vm} />,
    events: () => <Events about={vm.id} />,
  }
  return (
    <div className="fill">
      <Flex gap={12} align="center" wrap>
        <Typography.Title level={1} style={{ fontSize: 22, margin: 0 }}><Name of={vm.name} /></Typography.Title>
        <State of={vm.status.phase ?? 'pending'} />
        <div style={{ flex: 1 }} />
        <PowerButtons vms={[vm]} />
      </Flex>
      <Tabs activeKey={tab} onChange={(k) => void go({ search: { tab: k === 'summary' ? undefined : (k as VmTab) } })} items={vmTabs.map((k) => ({ key: k, label: t(`tabs.${k}`) }))} />
      <div style={{ flex: 1, minHeight: 0, display: 'flex', flexDirection: 'column' }}>
        <Suspense fallback={<Skeleton active />}>{content[tab]()}</Suspense>
      </div>
    </div>
  )
}

function Summary({ vm }: { vm: VM }) {
  const { t } = useTranslation()
  const { mib, time, ago } = useAmounts()
  const hosts = useRecords('host')
  const images = useRecords('image')
  const problems = vm.status.problems ?? []
  return (
    <Flex vertical gap={16}>
      {problems.map((p) => <Alert key={p.kind + p.message} type="warning" showIcon title={p.message} />)}
      <Descriptions
        bordered size="small" column={{ xs: 1, md: 2 }}
        items={[
          { key: 'description', label: t('vm.description'), children: vm.spec.description || '–', span: 'filled' },
          { key: 'project', label: t('vm.project'), children: <Name of={vm.project} /> },
          { key: 'host', label: t('vm.host'), children: <Name of={hosts.byID.get(vm.status.hostID ?? '')?.name ?? '–'} /> },
          { key: 'cpus', label: t('vm.cpus'), children: vm.spec.cpus },
          { key: 'memory', label: t('vm.memory'), children: mib(vm.spec.memoryMiB) },
          { key: 'image', label: t('vm.image'), children: <Name of={images.byID.get(vm.spec.imageID ?? '')?.name ?? '–'} /> },
          { key: 'address', label: t('vm.address'), children: vm.status.addresses?.join(', ') || '–' },
          { key: 'hostname', label: t('vm.hostname'), children: <Name of={vm.spec.hostname || vm.name} /> },
          { key: 'firmware', label: t('vm.firmware'), children: vm.spec.firmware ?? '–' },
          { key: 'started', label: t('vm.started'), children: vm.status.startedAt ? <span title={time(vm.status.startedAt)}>{ago(vm.status.startedAt)}</span> : '–' },
          { key: 'created', label: t('vm.created'), children: <span title={time(vm.created)}>{ago(vm.created)}</span> },
          { key: 'accelerator', label: t('vm.accelerator'), children: vm.status.accelerator ?? '–' },
          { key: 'id', label: t('vm.id'), children: <Typography.Text copyable>{vm.id}</Typography.Text> },
          { key: 'labels', label: t('vm.labels'), span: 'filled', children: Object.entries(vm.labels ?? {}).map(([k, v]) => <Tag key={k}>{k}={v}</Tag>) },
        ]}
      />
      <Devices vm={vm} />
    </Flex>
  )
}

function Devices({ vm }: { vm: VM }) {
  const { t } = useTranslation()
  const { mib } = useAmounts()
  const volumes = useRecords('volume')
  const ports = useRecords('port')
  const networks = useRecords('network')
  return (
    <Descriptions
      bordered size="small" column={1} title={t('vm.devices')}
      items={[
        ...(vm.status.disks ?? []).map((d) => {
          const v = volumes.byID.get(d.volumeID)
          return { key: d.name, label: d.name, children: `${mib(v?.status.sizeMiB ?? v?.spec.sizeMiB)} ${d.model} · ${t('vm.used', { used: mib(v?.status.usedMiB ?? 0) })}` }
        }),
        ...(vm.status.nics ?? []).map((n) => {
          const p = ports.byID.get(n.portID)
          return { key: n.name, label: n.name, children: [networks.byID.get(p?.spec.networkID ?? '')?.name, p?.status.address, p?.status.mac, n.model].filter(Boolean).join(' · ') }
        }),
      ]}
    />
  )
}
