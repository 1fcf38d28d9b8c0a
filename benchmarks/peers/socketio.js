// Socket.IO 4, over WebSocket alone: a message is emitted to all sockets.
const http = require('node:http').createServer()
const { Server } = require('socket.io')

const io = new Server(http, { transports: ['websocket'], pingInterval: 300_000, pingTimeout: 300_000 })
io.on('connection', socket => socket.on('m', message => io.emit('m', message)))
http.listen(Number(process.argv[2]), '127.0.0.1', 4096)
