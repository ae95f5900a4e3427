import { Link } from '@tanstack/react-router'
import { Alert, Card, Col, Flex, Progress, Row, Skeleton, Statistic, Typography } from 'antd'
import { useTranslation } from 'react-i18next'
import { useRecords, useWho, type Kinds } from '../api/records'
import { Failure } from '../frame/Failure'
import { Name } from '../frame/Name'
import { useAmounts } from '../frame/amounts'
import { State } from '../frame/State'

const most = 12

// Overview says how much there is, and what needs somebody.
export function Overview() {
  const { t } = useTranslation()
  const { mib, number } = useAmounts()
  const operator = useWho().data?.right === 'admin'
  const vms = useRecords('vm')
  const hosts = useRecords('host')
  const alive = useRecords('liveness')
  const stores = useRecords('datastore')
  if (vms.error) return <Failure error={vms.error} retry={vms.retry} />
  if (vms.loading) return <Skeleton active />

  const states = new Map<string, number>()
  for (const vm of vms.items) states.set(vm.status.phase ?? 'pending', (states.get(vm.status.phase ?? 'pending') ?? 0) + 1)
  const running = vms.items.filter((v) => v.spec.power !== 'stopped')
  const cpus = hosts.items.reduce((n, h) => n + (h.status.inventory?.threads ?? 0), 0)
  const memory = hosts.items.reduce((n, h) => n + (h.status.inventory?.memoryMiB ?? 0), 0)
  const disk = stores.items.reduce((n, d) => n + d.status.capacityMiB, 0)
  const free = stores.items.reduce((n, d) => n + d.status.freeMiB, 0)
  const promisedCPUs = running.reduce((n, v) => n + v.spec.cpus, 0)
  const promisedMemory = running.reduce((n, v) => n + v.spec.memoryMiB, 0)

  return (
    <Flex vertical gap={20}>
      <Typography.Title level={1} style={{ fontSize: 22, margin: 0 }}>{t('overview.title')}</Typography.Title>
      <Row gutter={[16, 16]}>
        <Col xs={24} md={12} xl={6}>
          <Card size="small" title={t('overview.vms')}>
            <Statistic value={vms.items.length} />
            <Flex gap={12} wrap>
              {[...states].sort().map(([state, n]) => (
                <Link key={state} to="/vms" search={{ state }}>
                  <State of={state} /> {number(n)}
                </Link>
              ))}
            </Flex>
          </Card>
        </Col>
        {operator && (
          <>
            <Part title={t('overview.cpus')} used={promisedCPUs} of={cpus} text={t('overview.ofCPUs', { used: number(promisedCPUs), all: number(cpus) })} />
            <Part title={t('overview.memory')} used={promisedMemory} of={memory} text={t('overview.ofMemory', { used: mib(promisedMemory), all: mib(memory) })} />
            <Part title={t('overview.disk')} used={disk - free} of={disk} text={t('overview.ofDisk', { free: mib(free), all: mib(disk) })} />
          </>
        )}
      </Row>
      <Attention vms={vms.items} hosts={hosts.items} alive={alive.items} stores={stores.items} />
    </Flex>
  )
}

function Part({ title, used, of, text }: { title: string; used: number; of: number; text: string }) {
  const percent = of > 0 ? Math.round((used / of) * 100) : 0
  return (
    <Col xs={24} md={12} xl={6}>
      <Card size="small" title={title} style={{ height: '100%' }}>
        <Progress percent={percent} status={percent >= 90 ? 'exception' : 'normal'} aria-label={title} />
        <Typography.Text type="secondary">{text}</Typography.Text>
      </Card>
    </Col>
  )
}

interface Trouble {
  key: string
  severe: boolean
  text: React.ReactNode
}

// Attention lists what is not as specified, in the words of the cloud.
function Attention({ vms, hosts, alive, stores }: { vms: Kinds['vm'][]; hosts: Kinds['host'][]; alive: Kinds['liveness'][]; stores: Kinds['datastore'][] }) {
  const { t } = useTranslation()
  const called = new Map(hosts.map((h) => [h.id, h.name]))
  const all: Trouble[] = []
  for (const l of alive) {
    if (l.status.state && l.status.state !== 'alive' && called.has(l.spec.hostID)) {
      all.push({ key: l.id, severe: true, text: <><Link to="/hosts">{t('overview.host')} <Name of={called.get(l.spec.hostID)} /></Link>: <State of={l.status.state} /></> })
    }
  }
  for (const h of hosts) for (const p of h.status.problems ?? []) all.push({ key: h.id + p.kind, severe: true, text: <><Link to="/hosts">{t('overview.host')} <Name of={h.name} /></Link>: {p.message}</> })
  for (const d of stores) for (const p of d.status.problems ?? []) all.push({ key: d.id + p.kind, severe: true, text: <>{t('overview.datastore')} <Name of={d.name} />: {p.message}</> })
  for (const v of vms) {
    for (const p of v.status.problems ?? []) {
      all.push({
        key: v.id + p.kind, severe: false,
        text: <><Link to="/projects/$project/vms/$name" params={{ project: v.project ?? '', name: v.name }} search={{ tab: 'explain' }}>VM <Name of={v.name} /></Link>: {p.message}</>,
      })
    }
  }
  return (
    <section aria-label={t('overview.attention')}>
      <Typography.Title level={2} style={{ fontSize: 16, marginTop: 0 }}>{t('overview.attention')}</Typography.Title>
      <Flex vertical gap={8}>
        {all.length === 0 && <Alert type="success" showIcon title={t('overview.allWell')} />}
        {all.slice(0, most).map((x) => <Alert key={x.key} type={x.severe ? 'error' : 'warning'} showIcon title={x.text} />)}
        {all.length > most && <Typography.Text type="secondary">{t('overview.more', { count: all.length - most })}</Typography.Text>}
      </Flex>
    </section>
  )
}
