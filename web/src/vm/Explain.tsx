import { useQuery } from '@tanstack/react-query'
import { Alert, Flex, Skeleton } from 'antd'
import { answered, api } from '../api/client'
import { Failure } from '../frame/Failure'
import type { VM } from './power'

// Explain says in words why a VM is as it is; it is asked anew whenever the VM changes.
export function Explain({ vm }: { vm: VM }) {
  const q = useQuery({
    queryKey: ['explain', vm.id, vm.revision],
    queryFn: () => answered(api.GET('/v1/explain/{kind}/{name}', { params: { path: { kind: 'vm', name: vm.id }, query: { project: vm.project } } })),
    placeholderData: (before) => before,
    refetchInterval: 5_000,
  })
  if (q.error) return <Failure error={q.error} retry={() => void q.refetch()} />
  if (!q.data) return <Skeleton active />
  return (
    <Flex vertical gap={8}>
      {(q.data.lines ?? []).map((l, i) => (
        <Alert key={i} className={`explain-${Math.min(l.depth, 3)}`} type={l.severity === 'info' ? 'info' : l.severity} showIcon title={l.text} />
      ))}
    </Flex>
  )
}
