import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { Flex, Input, Select, Table, Typography, type TableColumnsType } from 'antd'
import { useDeferredValue, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { useRecords, useWho } from '../api/records'
import { Failure } from '../frame/Failure'
import { Name } from '../frame/Name'
import { State, type Phase } from '../frame/State'
import { useAmounts } from '../frame/amounts'
import { PowerButtons } from '../vm/PowerButtons'
import { parse, type Row } from './filter'

const states: Phase[] = ['running', 'stopped', 'paused', 'pending', 'starting', 'migrating', 'stopping', 'crashed', 'unknown', 'deleting']

// Vms lists VMs. What is searched for, the states and the order are in the address.
export function Vms() {
  const { t } = useTranslation()
  const { mib, ago } = useAmounts()
  const search = useSearch({ from: '/inside/vms' })
  const go = useNavigate({ from: '/vms' })
  const operator = useWho().data?.right === 'admin'
  const vms = useRecords('vm')
  const hosts = useRecords('host')
  const images = useRecords('image')
  const [typed, setTyped] = useState(search.q ?? '')
  const [picked, setPicked] = useState<string[]>([])
  const [box, height] = useHeight()

  useEffect(() => {
    const later = setTimeout(() => {
      if (typed !== (search.q ?? '')) void go({ search: (s) => ({ ...s, q: typed || undefined }), replace: true })
    }, 150)
    return () => clearTimeout(later)
  }, [typed, search.q, go])

  const rows = useMemo<Row[]>(
    () => vms.items.map((vm) => ({
      vm,
      host: hosts.byID.get(vm.status.hostID ?? '')?.name ?? '',
      image: images.byID.get(vm.spec.imageID ?? '')?.name ?? '',
      state: vm.status.phase ?? 'pending',
    })),
    [vms.items, hosts.byID, images.byID],
  )
  const asked = useDeferredValue(search.q ?? '')
  const shown = useMemo(() => {
    const fits = parse(asked)
    const wanted = search.state?.split(',')
    return rows.filter((r) => (!wanted || wanted.includes(r.state)) && fits(r))
  }, [rows, asked, search.state])

  if (vms.error) return <Failure error={vms.error} retry={vms.retry} />

  const by = (f: (r: Row) => string | number) => (a: Row, b: Row) => {
    const [x, y] = [f(a), f(b)]
    return typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true })
  }
  const [sortKey, falling] = search.sort?.startsWith('-') ? [search.sort.slice(1), true] : [search.sort, false]
  const column = (key: string, title: string, width: number, f: (r: Row) => string | number, render?: (r: Row) => React.ReactNode) => ({
    key, title, width, sorter: by(f), ellipsis: true, sortOrder: sortKey === key ? (falling ? 'descend' as const : 'ascend' as const) : null,
    render: (_: unknown, r: Row) => (render ? render(r) : f(r)),
  })
  const columns: TableColumnsType<Row> = [
    column('name', t('vm.name'), 200, (r) => r.vm.name, (r) => (
      <Link to="/projects/$project/vms/$name" params={{ project: r.vm.project ?? '', name: r.vm.name }}><Name of={r.vm.name} /></Link>
    )),
    column('state', t('vm.state'), 120, (r) => r.state, (r) => <State of={r.state} />),
    column('project', t('vm.project'), 130, (r) => r.vm.project ?? '', (r) => <Name of={r.vm.project} />),
    ...(operator ? [column('host', t('vm.host'), 120, (r) => r.host, (r) => <Name of={r.host} />)] : []),
    column('address', t('vm.address'), 130, (r) => r.vm.status.addresses?.[0] ?? ''),
    column('image', t('vm.image'), 130, (r) => r.image, (r) => <Name of={r.image} />),
    column('cpus', t('vm.cpus'), 90, (r) => r.vm.spec.cpus),
    column('memory', t('vm.memory'), 100, (r) => r.vm.spec.memoryMiB, (r) => <span className="numbers">{mib(r.vm.spec.memoryMiB)}</span>),
    column('created', t('vm.created'), 130, (r) => Date.parse(r.vm.created), (r) => ago(r.vm.created)),
  ]
  const there = picked.map((id) => vms.byID.get(id)).filter((v) => v !== undefined)

  return (
    <div className="fill">
      <Flex gap={12} align="center" wrap style={{ marginBottom: 12 }}>
        <Typography.Title level={1} style={{ fontSize: 22, margin: 0 }}>{t('vms.title')}</Typography.Title>
        <Input.Search
          allowClear value={typed} onChange={(e) => setTyped(e.target.value)} placeholder={t('vms.search')} aria-label={t('vms.search')} style={{ width: 360 }} id="search"
        />
        <Select
          mode="multiple" allowClear maxTagCount="responsive" style={{ minWidth: 200 }} placeholder={t('vms.anyState')} aria-label={t('vm.state')}
          value={search.state?.split(',') ?? []}
          options={states.map((s) => ({ value: s, label: t(`phase.${s}`) }))}
          onChange={(v: string[]) => void go({ search: (s) => ({ ...s, state: v.length ? v.join(',') : undefined }), replace: true })}
        />
        <Typography.Text type="secondary" role="status">{t('vms.shown', { shown: shown.length, all: vms.items.length })}</Typography.Text>
      </Flex>
      {there.length > 0 && (
        <Flex gap={12} align="center" wrap style={{ marginBottom: 12 }}>
          <Typography.Text strong>{t('vms.picked', { count: there.length })}</Typography.Text>
          <PowerButtons vms={there} size="small" />
        </Flex>
      )}
      <div ref={box} style={{ flex: 1, minHeight: 200 }}>
        <Table<Row>
          virtual size="small" rowKey={(r) => r.vm.id} columns={columns} dataSource={shown} loading={vms.loading} pagination={false}
          scroll={{ x: 1100, y: height }} rowSelection={{ selectedRowKeys: picked, onChange: (keys) => setPicked(keys as string[]), columnWidth: 40 }}
          locale={{ emptyText: vms.items.length ? t('vms.noneFits') : t('vms.none') }}
          onChange={(_p, _f, s) => {
            const one = Array.isArray(s) ? s[0] : s
            void go({ search: (q) => ({ ...q, sort: one.order ? (one.order === 'descend' ? '-' : '') + String(one.columnKey) : undefined }), replace: true })
          }}
        />
      </div>
    </div>
  )
}

// useHeight measures what is left for the rows of a table.
function useHeight(): [React.RefObject<HTMLDivElement | null>, number] {
  const box = useRef<HTMLDivElement>(null)
  const [height, setHeight] = useState(400)
  useLayoutEffect(() => {
    if (!box.current) return
    const o = new ResizeObserver(([e]) => setHeight(Math.max(160, Math.floor(e.contentRect.height) - 44)))
    o.observe(box.current)
    return () => o.disconnect()
  }, [])
  return [box, height]
}
