// Node `ws`: a message is sent on to all clients in a loop, as its own documentation has it.
const { WebSocketServer } = require('ws')

const server = new WebSocketServer({
  host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096, perMessageDeflate: false
})
server.on('connection', socket => {
  socket.on('error', () => {})
  socket.on('message', (data, binary) => {
    for (const client of server.clients) if (client.readyState === 1) client.send(data, { binary })
  })
})
