import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { App as Notices, ConfigProvider, theme } from 'antd'
import type { Locale } from 'antd/es/locale'
import { useEffect, useState, useSyncExternalStore } from 'react'
import { useTranslation } from 'react-i18next'
import { Refused } from './api/client'
import { appearance } from './frame/appearance'
import { router } from './routes'

const queries = new QueryClient({
  defaultOptions: {
    queries: { retry: (n, e) => n < 3 && !(e instanceof Refused && e.problem.status >= 400 && e.problem.status < 500), refetchOnWindowFocus: false },
  },
})

// App is the whole console, in a language and in light or dark.
export function App() {
  const dark = useSyncExternalStore(appearance.subscribe, appearance.isDark)
  const { i18n } = useTranslation()
  const [locale, setLocale] = useState<Locale>()
  useEffect(() => {
    let current = true
    if (i18n.language === 'zh-CN') void import('antd/es/locale/zh_CN').then((m) => current && setLocale(m.default))
    else setLocale(undefined)
    return () => {
      current = false
    }
  }, [i18n.language])
  useEffect(() => {
    document.documentElement.style.colorScheme = dark ? 'dark' : 'light'
    document.body.style.background = dark ? '#000' : '#f5f5f5'
  }, [dark])
  return (
    <ConfigProvider
      locale={locale}
      button={{ autoInsertSpace: false }}
      theme={{
        algorithm: dark ? theme.darkAlgorithm : theme.defaultAlgorithm,
        token: {
          colorPrimary: '#1668dc',
          // Grey text that everybody can read: 4.5 to 1 and more.
          ...(dark
            ? { colorTextSecondary: 'rgba(255,255,255,.78)', colorTextDescription: 'rgba(255,255,255,.72)', colorTextTertiary: 'rgba(255,255,255,.66)', colorTextPlaceholder: 'rgba(255,255,255,.6)', colorTextDisabled: 'rgba(255,255,255,.55)' }
            : { colorTextSecondary: 'rgba(0,0,0,.72)', colorTextDescription: 'rgba(0,0,0,.66)', colorTextTertiary: 'rgba(0,0,0,.62)', colorTextPlaceholder: 'rgba(0,0,0,.6)', colorTextDisabled: 'rgba(0,0,0,.58)' }),
        },
      }}
    >
      <QueryClientProvider client={queries}>
        <Notices style={{ height: '100%' }}>
          <RouterProvider router={router} />
        </Notices>
      </QueryClientProvider>
    </ConfigProvider>
  )
}
