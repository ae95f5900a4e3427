import { Form, Input, Modal } from 'antd'
import { useTranslation } from 'react-i18next'
import { answered, api } from '../api/client'
import { useAct } from './acts'

// ChangePassword changes one's own password.
export function ChangePassword({ close }: { close: () => void }) {
  const { t } = useTranslation()
  const [form] = Form.useForm<{ current: string; password: string }>()
  const act = useAct()
  const change = async () => {
    const body = await form.validateFields().catch(() => undefined)
    if (body && (await act(answered(api.POST('/v1/password', { body })), t('users.changed')))) close()
  }
  return (
    <Modal open title={t('frame.password')} okText={t('users.set')} onOk={() => void change()} onCancel={close}>
      <Form form={form} layout="vertical" requiredMark={false}>
        <Form.Item name="current" label={t('users.current')} rules={[{ required: true, message: t('signIn.neededPassword') }]}>
          <Input.Password autoComplete="current-password" autoFocus />
        </Form.Item>
        <Form.Item name="password" label={t('users.fresh')} rules={[{ required: true, min: 12, message: t('users.short') }]}>
          <Input.Password autoComplete="new-password" />
        </Form.Item>
      </Form>
    </Modal>
  )
}
