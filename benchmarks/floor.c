/* floor.c: the least that a WebSocket fan-out can be. Whatever text frame one client sends, all get: one write() each.
 *
 *     floor PORT
 *
 * No HTTP parser, no events, no log, no backlog (what the kernel does not take is gone): whoever delivers each message
 * by itself can at best come close to this. What beats it has to write less often.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 70000, TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

/* The key that load.c sends is always the same, and so is what it is answered (RFC 6455 §4.2.2). */
static const char WELCOME[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int clients[CLIENTS], count;
static bool upgraded[CLIENTS]; /* by file descriptor */

static void forget(int fd) {
    for (int i = 0; i < count; i++)
        if (clients[i] == fd) clients[i] = clients[--count];
    upgraded[fd] = false;
    close(fd);
}

/* Unmask the frame at `data` into `frame` as a server sends it; returns its size, and where the next one begins. */
static size_t unmask(const unsigned char *data, unsigned char *frame, const unsigned char **next) {
    size_t size = data[1] & 127, head = 2;
    if (size == 126) size = (size_t)data[2] << 8 | data[3], head = 4;
    memcpy(frame, data, head);
    frame[1] &= 127;
    const unsigned char *mask = data + head, *text = mask + 4;
    for (size_t i = 0; i < size; i++) frame[head + i] = text[i] ^ mask[i & 3];
    *next = text + size;
    return head + size;
}

static void take(int fd, const unsigned char *data, const unsigned char *end) {
    static unsigned char frame[1 << 16];
    while (data < end) {
        int opcode = data[0] & 15;
        size_t size = unmask(data, frame, &data);
        if (opcode == TEXT) {
            for (int i = 0; i < count; i++)
                if (write(clients[i], frame, size) < 0) continue;
        } else if (opcode == PING) {
            frame[0] = 0x80 | PONG;
            if (write(fd, frame, size) < 0) return;
        } else if (opcode == CLOSE) {
            forget(fd);
            return;
        }
    }
}

int main(int arguments, char **argument) {
    static unsigned char buffer[1 << 16];
    struct epoll_event events[256], event = {.events = EPOLLIN};
    struct rlimit files;
    int on = 1;
    if (arguments != 2) return fputs("usage: floor PORT\n", stderr), 2;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argument[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096))
        return perror("floor"), 1;
    int epoll = epoll_create1(0);
    event.data.fd = listening;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
    for (;;) {
        int found = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < found; i++) {
            int fd = events[i].data.fd;
            if (fd == listening) {
                while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (fd >= CLIENTS) {
                        close(fd);
                        continue;
                    }
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    event.data.fd = fd;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            ssize_t size = read(fd, buffer, sizeof buffer);
            if (size <= 0) {
                forget(fd);
            } else if (!upgraded[fd]) {
                upgraded[fd] = true;
                clients[count++] = fd;
                if (write(fd, WELCOME, sizeof WELCOME - 1) < 0) forget(fd);
            } else take(fd, buffer, buffer + size);
        }
    }
}
