// Bun: uWebSockets inside, whose own publish() joins what goes to one socket.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  fetch (request, server) {
    if (!server.upgrade(request)) return new Response('a WebSocket is served here', { status: 426 })
  },
  websocket: {
    idleTimeout: 0,
    backpressureLimit: 64 << 20,
    perMessageDeflate: false,
    open (socket) { socket.subscribe('room') },
    message (socket, data) { server.publish('room', data) }
  }
})
