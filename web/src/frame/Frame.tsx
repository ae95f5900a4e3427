import { CloudServerOutlined, DashboardOutlined, DesktopOutlined, LogoutOutlined, MoonOutlined, SunOutlined, TeamOutlined, TranslationOutlined, UnorderedListOutlined, UserOutlined } from '@ant-design/icons'
import { useQueryClient } from '@tanstack/react-query'
import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router'
import { Button, Dropdown, Flex, Grid, Layout, Menu, theme } from 'antd'
import { useEffect, useState, useSyncExternalStore } from 'react'
import { useTranslation } from 'react-i18next'
import { answered, api, onSessionOver } from '../api/client'
import { useWho } from '../api/records'
import { speak, type Language } from '../words'
import { appearance, type Appearance } from './appearance'
import { Name } from './Name'
import { useAct } from './acts'
import { ChangePassword } from './ChangePassword'

// Frame is around every page of who is signed in.
export function Frame() {
  const { t, i18n } = useTranslation()
  const { token } = theme.useToken()
  const where = useLocation()
  const go = useNavigate()
  const act = useAct()
  const queries = useQueryClient()
  const who = useWho()
  const wide = Grid.useBreakpoint().md ?? true
  const dark = useSyncExternalStore(appearance.subscribe, appearance.isDark)

  // A session that ends in the middle of something: the page stays in the address, and is opened again.
  useEffect(
    () =>
      onSessionOver(() => {
        queries.clear()
        if (location.pathname !== '/sign-in') void go({ to: '/sign-in', search: { next: location.pathname + location.search } })
      }),
    [go, queries],
  )

  const [changing, setChanging] = useState(false)
  const signOut = async () => {
    if (await act(answered(api.POST('/v1/sign-out')))) {
      queries.clear()
      void go({ to: '/sign-in' })
    }
  }
  const operator = who.data?.right === 'admin'
  const entries = [
    { key: '/', icon: <DashboardOutlined />, label: <Link to="/">{t('menu.overview')}</Link> },
    { key: '/vms', icon: <DesktopOutlined />, label: <Link to="/vms">{t('menu.vms')}</Link> },
    ...(operator ? [{ key: '/hosts', icon: <CloudServerOutlined />, label: <Link to="/hosts">{t('menu.hosts')}</Link> }] : []),
    { key: '/operations', icon: <UnorderedListOutlined />, label: <Link to="/operations">{t('menu.operations')}</Link> },
    ...(operator ? [{ key: '/users', icon: <TeamOutlined />, label: <Link to="/users">{t('menu.users')}</Link> }] : []),
    { key: '/sessions', icon: <UserOutlined />, label: <Link to="/sessions">{t('menu.sessions')}</Link> },
  ]
  const here = where.pathname.includes('/vms') ? '/vms' : '/' + where.pathname.split('/')[1]

  return (
    <Layout style={{ height: '100%' }}>
      <Layout.Header style={{ background: token.colorBgContainer, borderBottom: `1px solid ${token.colorBorderSecondary}`, paddingInline: 16, height: 48, lineHeight: '48px' }}>
        <Flex align="center" gap={12}>
          <Link to="/" style={{ fontWeight: 600, fontSize: 16, color: token.colorText, display: 'flex', alignItems: 'center', gap: 8 }}>
            <img src="/icon.svg" width={24} height={24} alt="" />
            Virga
          </Link>
          <div style={{ flex: 1 }} />
          <Dropdown trigger={['click']}
            menu={{
              selectedKeys: [i18n.language],
              onClick: ({ key }) => void speak(key as Language),
              items: [{ key: 'en', label: 'English' }, { key: 'zh-CN', label: '简体中文' }],
            }}
          >
            <Button type="text" icon={<TranslationOutlined />} aria-label={t('frame.language')} />
          </Dropdown>
          <Dropdown trigger={['click']}
            menu={{
              selectedKeys: [appearance.chosen()],
              onClick: ({ key }) => appearance.choose(key as Appearance),
              items: [{ key: 'light', label: t('frame.light') }, { key: 'dark', label: t('frame.dark') }, { key: 'system', label: t('frame.system') }],
            }}
          >
            <Button type="text" icon={dark ? <MoonOutlined /> : <SunOutlined />} aria-label={t('frame.appearance')} />
          </Dropdown>
          <Dropdown trigger={['click']} menu={{ items: [{ key: 'password', label: t('frame.password'), onClick: () => setChanging(true) }, { key: 'out', icon: <LogoutOutlined />, label: t('frame.signOut'), onClick: () => void signOut() }] }}>
            <Button type="text" icon={<UserOutlined />} aria-label={t('frame.account')}>
              {wide && <Name of={who.data?.user} />}
            </Button>
          </Dropdown>
        </Flex>
      </Layout.Header>
      <Layout style={{ flexDirection: wide ? 'row' : 'column', flex: 1, minHeight: 0 }}>
        <nav aria-label={t('frame.navigation')} style={{ background: token.colorBgContainer, width: wide ? 200 : undefined, flexShrink: 0 }}>
          <Menu mode={wide ? 'inline' : 'horizontal'} selectedKeys={[here]} items={entries} style={{ borderInlineEnd: 0 }} />
        </nav>
        <Layout.Content style={{ overflow: 'auto', padding: wide ? 20 : 12, minHeight: 0 }}>
          <main style={{ height: '100%' }}>
            <Outlet />
          </main>
        </Layout.Content>
      </Layout>
      {changing && <ChangePassword close={() => setChanging(false)} />}
    </Layout>
  )
}
