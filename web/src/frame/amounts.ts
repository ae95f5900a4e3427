import { useTranslation } from 'react-i18next'

// useAmounts gives numbers, sizes and times as the chosen language writes them.
export function useAmounts() {
  const { i18n } = useTranslation()
  const l = i18n.language
  const number = new Intl.NumberFormat(l, { maximumFractionDigits: 1 })
  return {
    number: (n: number) => number.format(n),
    mib: (n: number | undefined) => {
      if (n === undefined) return ''
      const units = ['MiB', 'GiB', 'TiB', 'PiB']
      let i = 0
      while (n >= 1024 && i < units.length - 1) {
        n /= 1024
        i++
      }
      return `${number.format(n)} ${units[i]}`
    },
    time: (iso: string | undefined) => (iso ? new Intl.DateTimeFormat(l, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(iso)) : ''),
    ago: (iso: string | undefined) => {
      if (!iso) return ''
      const s = (Date.parse(iso) - Date.now()) / 1000
      const r = new Intl.RelativeTimeFormat(l, { numeric: 'auto' })
      for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]] as const) if (Math.abs(s) >= size) return r.format(Math.round(s / size), unit)
      return r.format(Math.round(s), 'second')
    },
  }
}
