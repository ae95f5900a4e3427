// socketOf opens a websocket of bytes to a VM.
export function socketOf(project: string, id: string, what: 'console' | 'vnc'): WebSocket {
  const ws = new WebSocket(addressOf(project, id, what), ['binary'])
  ws.binaryType = 'arraybuffer'
  return ws
}

export const addressOf = (project: string, id: string, what: 'console' | 'vnc') =>
  `${location.protocol === 'http:' ? 'ws' : 'wss'}://${location.host}/v1/projects/${encodeURIComponent(project)}/vms/${id}/${what}`
