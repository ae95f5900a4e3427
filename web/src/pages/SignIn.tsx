import { useQueryClient } from '@tanstack/react-query'
import { useRouter, useSearch } from '@tanstack/react-router'
import { Alert, Button, Card, Flex, Form, Input, Typography } from 'antd'
import { useEffect, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { answered, api, type Schemas } from '../api/client'

// inner is the address of a page of ours; what somebody else's link says is not followed.
function inner(next: string | undefined): string {
  try {
    const u = new URL(next ?? '/', location.origin)
    return u.origin === location.origin && u.pathname !== '/sign-in' ? u.pathname + u.search : '/'
  } catch {
    return '/'
  }
}

// SignIn takes a token, or the link that `virga up` printed.
export function SignIn() {
  const { t } = useTranslation()
  const { next } = useSearch({ from: '/sign-in' })
  const router = useRouter()
  const queries = useQueryClient()
  const [why, setWhy] = useState<string>()
  const [busy, setBusy] = useState(false)
  const [byToken, setByToken] = useState(false)
  const followed = useRef(false)

  const signIn = async (shown: Schemas['SignInRequest']) => {
    setBusy(true)
    setWhy(undefined)
    try {
      await answered(api.POST('/v1/sign-in', { body: shown }))
      queries.clear()
      await router.invalidate()
      router.history.push(inner(next))
    } catch (e) {
      setWhy(e instanceof Error ? e.message : String(e))
    } finally {
      setBusy(false)
    }
  }

  useEffect(() => {
    const secret = decodeURIComponent(location.hash.slice(1))
    if (!secret || followed.current) return
    followed.current = true // a link is good once
    history.replaceState(history.state, '', location.pathname + location.search)
    void signIn({ secret })
  })

  return (
    <Flex align="center" justify="center" style={{ minHeight: '100%', padding: 16 }}>
      <main style={{ width: '100%', maxWidth: 420 }}>
        <Card>
          <Typography.Title level={1} style={{ fontSize: 22, marginTop: 0 }}>{t('signIn.title')}</Typography.Title>
          <Typography.Paragraph type="secondary">{t('signIn.how')}</Typography.Paragraph>
          {why && <Alert type="error" title={why} showIcon style={{ marginBottom: 16 }} role="alert" />}
          <Form layout="vertical" requiredMark={false} onFinish={(shown: Schemas['SignInRequest']) => void signIn(byToken ? { secret: shown.secret?.trim() } : shown)}>
            {byToken ? (
              <Form.Item key="secret" name="secret" label={t('signIn.token')} rules={[{ required: true, message: t('signIn.needed') }]}>
                <Input.Password autoComplete="off" autoFocus spellCheck={false} />
              </Form.Item>
            ) : (
              <>
                <Form.Item key="user" name="user" label={t('signIn.user')} rules={[{ required: true, message: t('signIn.neededUser') }]}>
                  <Input autoComplete="username" autoFocus spellCheck={false} />
                </Form.Item>
                <Form.Item key="password" name="password" label={t('signIn.password')} rules={[{ required: true, message: t('signIn.neededPassword') }]}>
                  <Input.Password autoComplete="current-password" />
                </Form.Item>
              </>
            )}
            <Button type="primary" htmlType="submit" block loading={busy}>{t('signIn.go')}</Button>
            <Button type="link" block style={{ marginTop: 8 }} onClick={() => setByToken(!byToken)}>{t(byToken ? 'signIn.byPassword' : 'signIn.byToken')}</Button>
          </Form>
        </Card>
      </main>
    </Flex>
  )
}
