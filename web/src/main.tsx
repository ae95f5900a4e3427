import { createRoot } from 'react-dom/client'
import { App } from './app'
import { beginWords } from './words'
import './page.css'

void beginWords().then(() => createRoot(document.getElementById('root')!).render(<App />))
