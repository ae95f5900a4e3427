import { defineConfig, type Plugin } from 'vite'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

// licences writes what the parts of others want to be said: of each package that is in the build, its licence.
function licences(): Plugin {
  return {
    name: 'licences',
    generateBundle(_, bundle) {
      const packages = new Map<string, string>()
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== 'chunk') continue
        for (const id of chunk.moduleIds) {
          const found = /^(.*\/node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(id.replaceAll('\0', ''))
          if (found) packages.set(found[2], found[1])
        }
      }
      let text = 'The console is made with these packages.\n'
      for (const name of [...packages.keys()].sort()) {
        const folder = packages.get(name)!
        const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
        const file = readdirSync(folder).sort().find((f) => /^licen[cs]e/i.test(f) && !/\.(js|ts)$/.test(f))
        text += `\n---- ${name} ${about.version} (${typeof about.license === 'string' ? about.license : 'see below'})\n`
        if (file && existsSync(join(folder, file))) text += readFileSync(join(folder, file), 'utf8').trim() + '\n'
      }
      this.emitFile({ type: 'asset', fileName: 'LICENSES.txt', source: text })
    },
  }
}

export default defineConfig({
  plugins: [licences()],
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000,
    // The names are stable, so that a change of one line is a small change of what is checked in.
    rolldownOptions: {
      onLog: (level, log, next) => {
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') next(level, log)
      },
      output: {
        // Two parts that every page needs, by names that stay; what one page alone needs is beside it.
        codeSplitting: {
          groups: [
            { name: 'antd', test: /node_modules\/(antd|@ant-design|@rc-component)\/(?!.*locale\/zh)/ },
            { name: 'react', test: /node_modules\/(react|react-dom|scheduler|i18next|react-i18next|@tanstack)\// },
          ],
        },
        entryFileNames: 'assets/[name].js', chunkFileNames: 'assets/[name].js', assetFileNames: 'assets/[name][extname]' },
    },
  },
})
