// Server-sent events by Node's own `http`: one write() to each response. A publisher comes over `ws` and gets its copy.
const http = require('node:http')
const { WebSocketServer } = require('ws')

const responses = new Set()
const server = http.createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  response.flushHeaders()
  responses.add(response)
  response.on('close', () => responses.delete(response))
})
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', socket => {
  socket.on('error', () => {})
  socket.on('message', data => {
    const event = `data: ${data}\n\n`
    for (const response of responses) response.write(event)
    socket.send(data.toString())
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1', 4096)
