import { Button, Flex, Form, Input, Modal, Popconfirm, Select, Table, Typography } from 'antd'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { answered, api, type Schemas } from '../api/client'
import { useRecords } from '../api/records'
import { useAct } from '../frame/acts'
import { Failure } from '../frame/Failure'
import { Name } from '../frame/Name'

type User = Schemas['User']
const roles = ['admin', 'member', 'viewer'] as const

// Users lists who signs in by a password.
export function Users() {
  const { t } = useTranslation()
  const act = useAct()
  const users = useRecords('user')
  const projects = useRecords('project')
  const [making, setMaking] = useState(false)
  const [setting, setSetting] = useState<User>()
  if (users.error) return <Failure error={users.error} retry={users.retry} />
  return (
    <>
      <Flex align="center" justify="space-between" style={{ marginBottom: 12 }}>
        <Typography.Title level={1} style={{ fontSize: 22, margin: 0 }}>{t('users.title')}</Typography.Title>
        <Button type="primary" onClick={() => setMaking(true)}>{t('users.create')}</Button>
      </Flex>
      <Table
        size="small" rowKey="id" loading={users.loading} dataSource={users.items} pagination={{ pageSize: 50, hideOnSinglePage: true }} scroll={{ x: 700 }}
        columns={[
          { title: t('users.name'), render: (_, u) => <Name of={u.name} /> },
          { title: t('users.role'), render: (_, u) => t(`role.${u.spec.role}`) },
          { title: t('users.project'), render: (_, u) => <Name of={projects.byID.get(u.spec.projectID ?? '')?.name} /> },
          { title: t('users.description'), render: (_, u) => u.spec.description },
          {
            title: '', key: 'act', width: 240,
            render: (_, u) => (
              <Flex gap={8}>
                <Button size="small" onClick={() => setSetting(u)}>{t('users.setPassword')}</Button>
                <Popconfirm title={t('users.sure')} okText={t('users.delete')} onConfirm={() => act(answered(api.DELETE('/v1/users/{name}', { params: { path: { name: u.id } } })))}>
                  <Button size="small" danger>{t('users.delete')}</Button>
                </Popconfirm>
              </Flex>
            ),
          },
        ]}
      />
      {making && <Make close={() => setMaking(false)} />}
      {setting && <SetPassword user={setting} close={() => setSetting(undefined)} />}
    </>
  )
}

function Make({ close }: { close: () => void }) {
  const { t } = useTranslation()
  const act = useAct()
  const projects = useRecords('project')
  const [form] = Form.useForm<{ name: string } & Schemas['UserSpec']>()
  const role = Form.useWatch('role', form)
  const make = async () => {
    const said = await form.validateFields().catch(() => undefined)
    if (!said) return
    const { name, ...spec } = said
    if (await act(answered(api.POST('/v1/users', { body: { name, spec } })), t('users.made'))) close()
  }
  return (
    <Modal open title={t('users.create')} okText={t('users.createIt')} onOk={() => void make()} onCancel={close}>
      <Form form={form} layout="vertical" requiredMark={false} initialValues={{ role: 'member' }}>
        <Form.Item name="name" label={t('users.name')} rules={[{ required: true, message: t('signIn.neededUser') }]}>
          <Input autoFocus autoComplete="off" />
        </Form.Item>
        <Form.Item name="role" label={t('users.role')}>
          <Select options={roles.map((r) => ({ value: r, label: t(`role.${r}`) }))} />
        </Form.Item>
        {role !== 'admin' && (
          <Form.Item name="projectID" label={t('users.project')} rules={[{ required: true, message: t('users.project') }]}>
            <Select options={projects.items.map((p) => ({ value: p.id, label: p.name }))} />
          </Form.Item>
        )}
        <Form.Item name="password" label={t('users.password')} rules={[{ required: true, min: 12, message: t('users.short') }]}>
          <Input.Password autoComplete="new-password" />
        </Form.Item>
        <Form.Item name="description" label={t('users.description')}>
          <Input />
        </Form.Item>
      </Form>
    </Modal>
  )
}

function SetPassword({ user, close }: { user: User; close: () => void }) {
  const { t } = useTranslation()
  const act = useAct()
  const [form] = Form.useForm<{ password: string }>()
  const set = async () => {
    const said = await form.validateFields().catch(() => undefined)
    if (!said) return
    const body = { spec: { password: said.password } } as Schemas['UserChange']
    if (await act(answered(api.PATCH('/v1/users/{name}', { params: { path: { name: user.id } }, body })), t('users.changed'))) close()
  }
  return (
    <Modal open title={<>{t('users.setPassword')}: <Name of={user.name} /></>} okText={t('users.set')} onOk={() => void set()} onCancel={close}>
      <Form form={form} layout="vertical" requiredMark={false}>
        <Form.Item name="password" label={t('users.fresh')} rules={[{ required: true, min: 12, message: t('users.short') }]}>
          <Input.Password autoComplete="new-password" autoFocus />
        </Form.Item>
      </Form>
    </Modal>
  )
}
