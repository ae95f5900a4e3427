import i18n from 'i18next'
import { initReactI18next } from 'react-i18next'
import en from './en.json'

export type Language = 'en' | 'zh-CN'
const remembered = 'virga.language'

declare module 'i18next' {
  interface CustomTypeOptions {
    defaultNS: 'words'
    resources: { words: typeof en }
  }
}

// preferred is the language that was chosen here, or else the browser's.
export function preferred(): Language {
  const chosen = localStorage.getItem(remembered)
  if (chosen === 'en' || chosen === 'zh-CN') return chosen
  return navigator.language.startsWith('zh') ? 'zh-CN' : 'en'
}

// speak changes the language; what is not English is fetched when it is wanted.
export async function speak(language: Language): Promise<void> {
  if (language === 'zh-CN' && !i18n.hasResourceBundle(language, 'words')) {
    i18n.addResourceBundle(language, 'words', (await import('./zh-CN.json')).default)
  }
  localStorage.setItem(remembered, language)
  document.documentElement.lang = language
  await i18n.changeLanguage(language)
}

export async function beginWords(): Promise<void> {
  await i18n.use(initReactI18next).init({
    lng: 'en', fallbackLng: 'en', ns: ['words'], defaultNS: 'words', resources: { en: { words: en } }, interpolation: { escapeValue: false },
  })
  await speak(preferred())
}
