/* load.c: puts a chat server under load and measures it, from one thread. `load --help` lists the options.
 *
 * FOLLOWERS hold a feed open, over WebSocket, server-sent events or long-poll. PUBLISHERS send messages over WebSocket;
 * every one of these is to reach every follower. What is sent and what comes back is described by templates and
 * prefixes on the command line, so that one program speaks to every server that is compared. In a template `%s` is the
 * message's stamp, `%i` the number of the connection, and `%c` the cursor that a long-poll goes on from.
 *
 * A STAMP is `TIME.NUMBER.PUBLISHER`, of fixed width: when the message was due (nanoseconds of CLOCK_MONOTONIC), which
 * one it is, and whose. Latency is counted from when a message was due, not from when it could be sent: a server that
 * makes its publishers wait does not look faster for it. By the number each follower knows what it missed or got twice.
 *
 * PHASES follow one another on the same connections, and each prints one line of JSON:
 *
 *     closed:W:SECONDS           W messages outstanding; one is done when all its copies have come
 *     fill:W:COUNT               the same, until COUNT messages are done
 *     open:R:SECONDS             R messages a second, whatever comes back
 *     pipelined:M:SECONDS        every publisher has M messages without an answer
 *     idle:SECONDS               nothing but waiting; what memory is held
 *     stalled:S:R:SECONDS:MOST   as `open`, by one publisher, while S further followers read nothing; then these read on,
 *                                for MOST seconds at most
 *     probe:MS:SECONDS           one connection sends a WebSocket ping, waits for the pong, and for MS milliseconds
 *
 * Setting up is measured first. A tenth of the followers comes before that, and stays: what a server does once, at its
 * first clients, belongs neither to the rate nor to the memory of a connection.
 *
 * An ANSWER is what a publisher gets for its message: an acknowledgement, or its own copy where a server has none.
 *
 * Everything goes to 127.0.0.1, and everything is bounded in time: a phase by its seconds, the whole by --limit.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND      1000000000ull
#define MILLISECOND 1000000ull
#define WARM_UP     (300 * MILLISECOND) /* the part of a phase that is not measured, at most half of the rest */
#define SETTLE      (200 * MILLISECOND) /* between setting up and looking at memory */
#define DRAIN       (4 * SECOND)        /* how long copies are waited for when a phase is over */
#define STALL       SECOND              /* without a copy for so long, what is outstanding is given up on */
#define OPENING     128                 /* connections that are being set up at once */
#define RING        (1u << 20)          /* messages that may be outstanding */
#define LARGEST     (8u << 20)          /* what may come as one piece: a frame, an event, an answer to a poll */

/* ---------------------------------------------------------------- options */

enum transport { WS, SSE, POLL };

static struct {
    int port, clients, publishers, pid, unanswered, limit;
    enum transport transport;
    bool all_join;
    const char *path;         /* what followers ask for */
    const char *publish_path; /* what publishers ask for; as followers when not given */
    const char *hello;        /* sent on every WebSocket when it is open */
    const char *ready;        /* what the frame begins with by which a feed is there; none: the handshake */
    const char *join;         /* sent by publishers when they are ready (with --all-join, by followers, too) */
    const char *joined;       /* what the answer to that begins with */
    const char *message;      /* what is published */
    const char *event;        /* what the frame begins with that brings it */
    const char *stamp;        /* what stands before the stamp there */
    const char *ack;          /* what an acknowledgement begins with, up to the stamp; none: the copy is the answer */
    const char *refusal;      /* what begins a frame that refuses a message */
    const char *gap;          /* what begins a frame that says that something was lost */
} options = {
    .clients = 1,
    .limit = 300,
    .path = "/",
    .hello = "",
    .ready = "",
    .join = "",
    .joined = "",
    .event = "",
    .stamp = "\"t\":\"",
    .message = "{\"t\":\"%s\"}",
    .ack = "",
    .refusal = "",
    .gap = "",
};

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static bool begins(const char *text, size_t size, const char *prefix) {
    size_t length = strlen(prefix);
    return length && size >= length && !memcmp(text, prefix, length);
}

/* ---------------------------------------------------------------- time and figures */

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* Durations in microseconds (of 1,024 ns), in steps of a 64th of their size. */
typedef struct {
    uint64_t count[64 * 48], total, largest;
} Histogram;

static void note(Histogram *h, uint64_t nanoseconds) {
    uint64_t value = nanoseconds >> 10;
    unsigned shift = value < 64 ? 0 : 63 - (unsigned)__builtin_clzll(value) - 6;
    unsigned place = value < 64 ? (unsigned)value : (shift + 1) * 64 + (unsigned)((value >> shift) & 63);
    if (place < 64 * 48) h->count[place]++;
    h->total++;
    if (nanoseconds > h->largest) h->largest = nanoseconds;
}

/* The quantile in milliseconds: the middle of the step that it lies in. */
static double quantile(const Histogram *h, double part) {
    uint64_t wanted = (uint64_t)(part * (double)h->total), seen = 0;
    for (unsigned place = 0; place < 64 * 48; place++) {
        seen += h->count[place];
        if (seen > wanted) {
            unsigned shift = place < 64 ? 0 : place / 64 - 1;
            double low = place < 64 ? place : (double)((uint64_t)(64 + place % 64) << shift);
            return (low + (double)(1ull << shift) / 2) * 1024 / 1e6;
        }
    }
    return (double)h->largest / 1e6;
}

/* A line of output is one JSON object: these write it field by field. */

static void begin_line(const char *phase) {
    printf("{\"phase\":\"%s\"", phase);
}

static void print_count(const char *name, uint64_t value) {
    printf(",\"%s\":%llu", name, (unsigned long long)value);
}

static void print_figure(const char *name, double value) {
    printf(",\"%s\":%.4f", name, value);
}

static void print_histogram(const char *name, const Histogram *h) {
    static const struct {
        const char *name;
        double part;
    } quantiles[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}};
    if (!h->total) return;
    for (int i = 0; i < 3; i++) printf(",\"%s_%s_ms\":%.4f", name, quantiles[i].name, quantile(h, quantiles[i].part));
    printf(",\"%s_max_ms\":%.4f", name, (double)h->largest / 1e6);
}

static void end_line(void) {
    puts("}");
    fflush(stdout);
}

/* What a process and all that descend from it have used. */
typedef struct {
    double user, system; /* seconds of CPU */
    long memory;         /* kilobytes; pages that processes share count once (PSS) */
} Usage;

static void add_usage(int pid, Usage *sum) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    char *after = strrchr(text, ')');
    unsigned long user, system;
    if (!after || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return;
    double tick = (double)sysconf(_SC_CLK_TCK);
    sum->user += (double)user / tick;
    sum->system += (double)system / tick;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    if (!(file = fopen(path, "r"))) return;
    while (fgets(text, sizeof text, file))
        if (!strncmp(text, "Pss:", 4)) sum->memory += atol(text + 4);
    fclose(file);
}

static Usage usage(void) {
    enum { MOST = 32768, TREE = 256 };
    static int pids[MOST], parents[MOST];
    int found = 0, tree[TREE], size = 0;
    Usage sum = {0};
    DIR *proc = options.pid ? opendir("/proc") : NULL;
    if (!proc) return sum;
    struct dirent *entry;
    while ((entry = readdir(proc)) && found < MOST) {
        int pid = atoi(entry->d_name);
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = pid > 0 ? fopen(path, "r") : NULL;
        if (!file) continue;
        char text[512];
        size_t length = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[length] = 0;
        char *after = strrchr(text, ')'); /* a program's name may hold spaces and brackets */
        if (after && sscanf(after + 2, "%*c %d", &parents[found]) == 1) pids[found++] = pid;
    }
    closedir(proc);
    tree[size++] = options.pid;
    for (int i = 0; i < size; i++) {
        add_usage(tree[i], &sum);
        for (int j = 0; j < found; j++)
            if (parents[j] == tree[i] && size < TREE) tree[size++] = pids[j];
    }
    return sum;
}

static double own_cpu(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* ---------------------------------------------------------------- connections */

enum role { FOLLOWER, PUBLISHER, STALLED, PROBE };
enum state { NONE, CONNECTING, HANDSHAKE, GREETING, JOINING, OPEN, CLOSED };

typedef struct {
    int fd, number;
    enum role role;
    enum state state;
    bool writable_wanted;
    bool chunked;        /* an event stream's body comes in chunks (RFC 9112 §7.1) */
    bool told_gap;       /* the server has said that something is lost */
    long chunk;          /* bytes that are left of this chunk, its line end included; 0: a size comes next */
    long size;           /* the size so far as it was read; -1: none */
    char *rest, *unsent; /* of what came: a piece's beginning; of what goes: what the kernel has not taken */
    size_t rest_size, unsent_size;
    uint64_t next; /* the number of the message that should come next; 0: whatever comes */
    long unanswered;
    char cursor[160];
} Connection;

static struct {
    int epoll;
    Connection *all; /* followers, then publishers */
    int opened, failed, closed, followers;
    uint64_t sent;        /* messages, and the number of the newest: 1 is the first */
    uint64_t done;        /* those whose copies have all come */
    uint64_t outstanding; /* those of which some have not */
    uint64_t given_up;    /* the number up to which they are not waited for */
    uint64_t copies, answers, refused, missed, doubled, gaps, bytes, reads;
    uint64_t stalled_copies; /* those that stalled readers got are no copies otherwise */
    uint64_t arrival;        /* when what is being looked at came */
    uint64_t since, until;   /* what was due between counts for the histograms */
    uint64_t next_publisher;
    Histogram latency, answer, trip;
    uint32_t copies_of[RING];
} run;

static void watch(Connection *c, int operation) {
    struct epoll_event e = {.events = EPOLLIN | (c->writable_wanted ? EPOLLOUT : 0), .data.ptr = c};
    if (c->state == CONNECTING) e.events = EPOLLOUT;
    epoll_ctl(run.epoll, operation, c->fd, &e);
}

static void drop(Connection *c) {
    if (c->state == CLOSED) return;
    if (c->state == OPEN) {
        run.closed++;
        if (c->role == FOLLOWER) run.followers--;
    } else run.failed++;
    close(c->fd);
    free(c->rest);
    free(c->unsent);
    c->rest = c->unsent = NULL;
    c->rest_size = c->unsent_size = 0;
    c->state = CLOSED;
}

static void start(Connection *c, int number, enum role role) {
    *c = (Connection){.role = role, .number = number, .state = CONNECTING, .size = -1};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("no socket: %s (see ulimit -n)", strerror(errno));
    int on = 1, little = 4096;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (role == STALLED) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        drop(c);
        return;
    }
    watch(c, EPOLL_CTL_ADD);
}

/* Write what is unsent, as far as the kernel takes it. */
static void flush(Connection *c) {
    size_t gone = 0;
    while (gone < c->unsent_size) {
        ssize_t written = write(c->fd, c->unsent + gone, c->unsent_size - gone);
        if (written < 0 && errno == EAGAIN) break;
        if (written <= 0) {
            drop(c);
            return;
        }
        gone += (size_t)written;
    }
    c->unsent_size -= gone;
    if (c->unsent_size) memmove(c->unsent, c->unsent + gone, c->unsent_size);
    if (c->writable_wanted != (c->unsent_size > 0)) {
        c->writable_wanted = !c->writable_wanted;
        watch(c, EPOLL_CTL_MOD);
    }
}

static void send_bytes(Connection *c, const char *data, size_t size) {
    if (!(c->unsent = realloc(c->unsent, c->unsent_size + size))) die("out of memory");
    memcpy(c->unsent + c->unsent_size, data, size);
    c->unsent_size += size;
    flush(c);
}

/* Send a WebSocket frame of `opcode`. Its mask (RFC 6455 §5.3) is zero: it costs the server what any mask does. */
static void send_frame(Connection *c, int opcode, const char *text, size_t size) {
    char frame[4096 + 8];
    size_t head = size < 126 ? 2 : 4;
    if (size > 4096) die("a frame of %zu bytes", size);
    frame[0] = (char)(0x80 | opcode);
    frame[1] = (char)(0x80 | (size < 126 ? size : 126));
    if (head == 4) frame[2] = (char)(size >> 8), frame[3] = (char)size;
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, text, size);
    send_bytes(c, frame, head + 4 + size);
}

/* Fill a template in; returns the length. */
static size_t fill(char *out, size_t room, const char *template, const Connection *c, const char *stamp) {
    size_t size = 0;
    char number[16];
    snprintf(number, sizeof number, "%06d", c->number);
    for (; *template; template++) {
        const char *value = NULL;
        if (!strncmp(template, "%s", 2)) value = stamp;
        if (!strncmp(template, "%i", 2)) value = number;
        if (!strncmp(template, "%c", 2)) value = c->cursor;
        size_t length = value ? strlen(value) : 1;
        if (size + length >= room) die("a template is too long");
        memcpy(out + size, value ? value : template, length);
        size += length;
        if (value) template++;
    }
    out[size] = 0;
    return size;
}

static void send_template(Connection *c, const char *template, const char *stamp) {
    char text[4096];
    send_frame(c, 1, text, fill(text, sizeof text, template, c, stamp));
}

static bool is_websocket(const Connection *c) {
    return options.transport == WS || c->role == PUBLISHER || c->role == PROBE;
}

static void ask(Connection *c) {
    char text[4096], path[2048];
    bool publishes = c->role == PUBLISHER || c->role == PROBE;
    fill(path, sizeof path, publishes ? options.publish_path : options.path, c, "");
    const char *upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    int size = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", path, options.port,
                        is_websocket(c)            ? upgrade
                        : options.transport == SSE ? "Accept: text/event-stream\r\n"
                                                   : "");
    send_bytes(c, text, (size_t)size);
}

/* ---------------------------------------------------------------- what comes in */

static void opened(Connection *c) {
    c->state = OPEN;
    run.opened++;
    if (c->role == FOLLOWER) run.followers++;
}

/* A feed is there: join, where this connection is to. */
static void is_ready(Connection *c) {
    bool joins =
        *options.join && is_websocket(c) && (c->role == PUBLISHER || (c->role == FOLLOWER && options.all_join));
    if (joins) {
        c->state = JOINING;
        send_template(c, options.join, "");
    } else opened(c);
}

typedef struct {
    uint64_t due, number, publisher;
} Stamp;
#define STAMP "%016llu.%08llu.%06llu"
enum { STAMP_SIZE = 32 };

/* Read the stamp at the beginning of `text`; false where there is none. */
static bool read_stamp(const char *text, size_t size, Stamp *stamp) {
    uint64_t *parts[] = {&stamp->due, &stamp->number, &stamp->publisher};
    if (size < STAMP_SIZE || text[16] != '.' || text[25] != '.') return false;
    for (int part = 0; part < 3; part++, text++)
        for (*parts[part] = 0; *text >= '0' && *text <= '9'; text++)
            *parts[part] = *parts[part] * 10 + (uint64_t)(*text - '0');
    return true;
}

static void answered(Connection *c, uint64_t due) {
    c->unanswered--;
    run.answers++;
    if (due >= run.since && due < run.until) note(&run.answer, run.arrival - due);
}

/* One follower has got its copy of a message. */
static void delivered(Connection *c, const Stamp *stamp) {
    uint64_t number = stamp->number;
    /* Several publishers' messages may pass one another on their way to the server: no order is promised there. */
    if (options.publishers == 1) {
        if (number < c->next) {
            run.doubled++;
            return;
        }
        if (c->next && !c->told_gap) run.missed += number - c->next;
        c->next = number + 1;
    }
    if (c->role == STALLED) {
        run.stalled_copies++;
        return;
    }
    run.copies++;
    if (stamp->due >= run.since && stamp->due < run.until) note(&run.latency, run.arrival - stamp->due);
    if (number > run.given_up && ++run.copies_of[number % RING] == (uint32_t)run.followers)
        run.done++, run.outstanding--;
}

/* Look for a message's stamp in what brings it. */
static void take_event(Connection *c, const char *text, size_t size) {
    Stamp stamp;
    const char *found = memmem(text, size, options.stamp, strlen(options.stamp));
    if (!found) return;
    found += strlen(options.stamp);
    if (!read_stamp(found, (size_t)(text + size - found), &stamp)) return;
    if (c->role == FOLLOWER || c->role == STALLED) delivered(c, &stamp);
    else if (c->role == PUBLISHER && !*options.ack && stamp.publisher == (uint64_t)c->number) answered(c, stamp.due);
}

/* Take one frame: of a WebSocket, or an event's data. */
static void take_frame(Connection *c, const char *text, size_t size) {
    Stamp stamp;
    if (c->state == GREETING) {
        if (begins(text, size, options.ready)) is_ready(c);
        return;
    }
    if (c->state == JOINING) {
        if (begins(text, size, options.joined)) opened(c);
        else if (begins(text, size, options.refusal)) die("a join was refused: %.*s", (int)size, text);
        return;
    }
    if (!*options.event || begins(text, size, options.event)) {
        take_event(c, text, size);
    } else if (begins(text, size, options.ack)) {
        size_t length = strlen(options.ack);
        if (read_stamp(text + length, size - length, &stamp)) answered(c, stamp.due);
    } else if (begins(text, size, options.refusal)) {
        if (!run.refused++) fprintf(stderr, "load: refused: %.*s\n", (int)size, text);
        c->unanswered--;
    } else if (begins(text, size, options.gap)) {
        run.gaps++;
        c->told_gap = true;
    }
}

/* Each of these takes the whole pieces at the beginning of `data` and returns where the rest begins. */

static char *take_websocket(Connection *c, char *data, char *end) {
    while (end - data >= 2 && c->state != CLOSED) {
        unsigned char *head = (unsigned char *)data;
        size_t size = head[1] & 127, length = size == 126 ? 4 : size == 127 ? 10 : 2;
        if ((size_t)(end - data) < length) break;
        if (length > 2)
            for (size_t i = size = 0; i < length - 2; i++) size = size << 8 | head[2 + i];
        if ((size_t)(end - data) < length + size) break;
        char *text = data + length;
        switch (head[0] & 15) {
        case 1: take_frame(c, text, size); break;
        case 8: drop(c); break;
        case 9: send_frame(c, 10, text, size); break;
        case 10:
            if (c->role == PROBE && size == sizeof(uint64_t)) {
                uint64_t sent;
                memcpy(&sent, text, sizeof sent);
                if (sent >= run.since) note(&run.trip, run.arrival - sent);
                c->unanswered = 0;
            }
        }
        data += length + size;
    }
    return data;
}

static char *take_events(Connection *c, char *data, char *end) {
    char *event_end;
    while ((event_end = memmem(data, (size_t)(end - data), "\n\n", 2))) {
        for (char *line = data, *next; line < event_end; line = next + 1) {
            next = memchr(line, '\n', (size_t)(event_end + 1 - line));
            if (begins(line, (size_t)(next - line), "data:")) {
                line += line[5] == ' ' ? 6 : 5;
                take_frame(c, line, (size_t)(next - line));
            }
        }
        data = event_end + 2;
    }
    return data;
}

/* An answer to a long-poll: all messages in it, then the cursor that stands at its end; and the next poll. */
static char *take_poll(Connection *c, char *data, char *end) {
    char *body, *found;
    while ((body = memmem(data, (size_t)(end - data), "\r\n\r\n", 4))) {
        body += 4;
        char *length = memmem(data, (size_t)(body - data), "content-length: ", 16);
        if (!begins(data, (size_t)(end - data), "HTTP/1.1 200") || !length) {
            fprintf(stderr, "load: a poll was answered %.60s\n", data);
            drop(c);
            return end;
        }
        char *last = body + atol(length + 16);
        if (last > end) break;
        for (char *at = body;
             c->state == OPEN && (at = memmem(at, (size_t)(last - at), options.event, strlen(options.event)));
             at += strlen(options.event))
            take_event(c, at, (size_t)(last - at));
        if (memmem(body, (size_t)(last - body), options.gap, strlen(options.gap))) run.gaps++, c->told_gap = true;
        if (c->state == GREETING) is_ready(c);
        const char *key = "\"cursor\":\"";
        char *cursor = NULL;
        for (char *at = last - strlen(key); at >= body && !cursor; at--)
            if (begins(at, (size_t)(last - at), key)) cursor = at + strlen(key);
        if (!cursor || !(found = memchr(cursor, '"', (size_t)(last - cursor)))) die("a poll's answer has no cursor");
        snprintf(c->cursor, sizeof c->cursor, "%.*s", (int)(found - cursor), cursor);
        data = last;
        ask(c);
        if (c->state == CLOSED) break;
    }
    return data;
}

/* Take the chunks' frames out of the `size` bytes that came, in place; returns how many are left. */
static size_t dechunk(Connection *c, char *data, size_t size) {
    size_t kept = 0;
    for (size_t at = 0; at < size;) {
        if (c->chunk > 0) {
            size_t part = size - at < (size_t)c->chunk ? size - at : (size_t)c->chunk;
            size_t body = c->chunk > 2 ? (size_t)c->chunk - 2 : 0; /* the last two bytes are the line end */
            size_t moved = part < body ? part : body;
            memmove(data + kept, data + at, moved);
            kept += moved;
            at += part;
            c->chunk -= (long)part;
        } else {
            char digit = data[at++];
            int value = digit >= '0' && digit <= '9'                 ? digit - '0'
                        : (digit | 32) >= 'a' && (digit | 32) <= 'f' ? (digit | 32) - 'a' + 10
                                                                     : -1;
            if (value >= 0) c->size = (c->size < 0 ? 0 : c->size) * 16 + value;
            else if (digit == '\n') c->chunk = c->size + 2, c->size = -1;
        }
    }
    return kept;
}

/* The head of the answer to the first request; returns where its body begins, NULL where it is not all there. */
static char *take_handshake(Connection *c, char *data, char *end, char **body_end) {
    char *body = memmem(data, (size_t)(end - data), "\r\n\r\n", 4);
    if (!body) return NULL;
    bool websocket = is_websocket(c);
    if (!begins(data, (size_t)(end - data), websocket ? "HTTP/1.1 101" : "HTTP/1.1 200")) {
        fprintf(stderr, "load: the handshake was answered %.60s\n", data);
        drop(c);
        return NULL;
    }
    body += 4;
    if (!websocket) {
        body[-1] = 0;
        c->chunked = strcasestr(data, "transfer-encoding: chunked");
        body[-1] = '\n';
        if (c->chunked) *body_end = body + dechunk(c, body, (size_t)(end - body));
    }
    c->state = GREETING;
    if (websocket && *options.hello) send_template(c, options.hello, "");
    if (c->role == PROBE) opened(c);
    else if (!*options.ready) is_ready(c);
    return body;
}

static void receive(Connection *c) {
    static char buffer[LARGEST + 1];
    if (c->rest_size) memcpy(buffer, c->rest, c->rest_size);
    ssize_t size = read(c->fd, buffer + c->rest_size, LARGEST - c->rest_size);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
        if (c->rest_size == LARGEST) die("what came as one piece is too large");
        drop(c);
        return;
    }
    run.arrival = now();
    run.bytes += (uint64_t)size;
    run.reads++;
    if (c->chunked) size = (ssize_t)dechunk(c, buffer + c->rest_size, (size_t)size);
    char *data = buffer, *end = buffer + c->rest_size + size;
    *end = 0;
    bool polls = options.transport == POLL && !is_websocket(c);
    if (polls && c->state == HANDSHAKE) c->state = GREETING;
    if (c->state == HANDSHAKE && !(data = take_handshake(c, data, end, &end))) data = buffer;
    if (c->state > HANDSHAKE && c->state != CLOSED)
        data = is_websocket(c) ? take_websocket(c, data, end)
               : polls         ? take_poll(c, data, end)
                               : take_events(c, data, end);
    if (c->state == CLOSED) return;
    size_t rest = (size_t)(end - data);
    if (rest > c->rest_size && !(c->rest = realloc(c->rest, rest))) die("out of memory");
    if (rest) memcpy(c->rest, data, rest);
    else free(c->rest), c->rest = NULL;
    c->rest_size = rest;
}

/* Wait until `until` at most, and take what has come. */
static void pump(uint64_t until) {
    struct epoll_event events[512];
    uint64_t moment = now(), left = until > moment ? until - moment : 0;
    struct timespec most = {.tv_sec = (time_t)(left / SECOND), .tv_nsec = (long)(left % SECOND)};
    int count = epoll_pwait2(run.epoll, events, 512, &most, NULL);
    for (int i = 0; i < count; i++) {
        Connection *c = events[i].data.ptr;
        if (c->state == CLOSED) continue;
        if (c->state == CONNECTING) {
            if (events[i].events & (EPOLLERR | EPOLLHUP)) {
                drop(c);
                continue;
            }
            c->state = HANDSHAKE;
            watch(c, EPOLL_CTL_MOD);
            ask(c);
            continue;
        }
        if (events[i].events & EPOLLOUT) flush(c);
        if (c->state != CLOSED && events[i].events & ~EPOLLOUT) receive(c);
    }
}

static void pump_for(uint64_t nanoseconds) {
    for (uint64_t until = now() + nanoseconds; now() < until;) pump(until);
}

/* ---------------------------------------------------------------- what goes out */

static bool has_room(const Connection *c, long most) {
    return c->state == OPEN && !c->unsent_size && (!most || c->unanswered < most);
}

/* Publish the message that was due at `due`, by `c`. */
static void publish(Connection *c, uint64_t due) {
    char stamp[64];
    run.copies_of[++run.sent % RING] = 0;
    run.outstanding++;
    c->unanswered++;
    snprintf(stamp, sizeof stamp, STAMP, (unsigned long long)due, (unsigned long long)run.sent,
             (unsigned long long)c->number);
    send_template(c, options.message, stamp);
}

/* Wait no longer for what is outstanding. */
static void give_up(void) {
    run.given_up = run.sent;
    run.outstanding = 0;
}

/* Publish by whoever of all publishers is the next that may; false: nobody may. */
static bool publish_any(uint64_t due) {
    for (int tried = 0; tried < options.publishers; tried++) {
        Connection *c = &run.all[options.clients + (int)(run.next_publisher++ % (uint64_t)options.publishers)];
        if (has_room(c, options.unanswered)) {
            publish(c, due);
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- phases */

/* What a phase has counted so far; two of these make a phase's figures. */
typedef struct {
    uint64_t at, sent, copies, answers, bytes, reads;
    double own;
    Usage usage;
} Counts;

static Counts count(void) {
    Counts c = {.usage = usage()};
    c.at = now();
    c.sent = run.sent, c.copies = run.copies, c.answers = run.answers, c.bytes = run.bytes, c.reads = run.reads;
    c.own = own_cpu();
    return c;
}

static void begin_measuring(Counts *from) {
    memset(&run.latency, 0, sizeof run.latency);
    memset(&run.answer, 0, sizeof run.answer);
    memset(&run.trip, 0, sizeof run.trip);
    *from = count();
    run.since = from->at;
    run.until = UINT64_MAX;
}

static bool unanswered(void) {
    for (int i = 0; i < options.publishers; i++)
        if (run.all[options.clients + i].state == OPEN && run.all[options.clients + i].unanswered > 0) return true;
    return false;
}

/* Wait for what is still on its way; returns the nanoseconds that took. */
static uint64_t drain(void) {
    uint64_t begun = now(), last = begun, seen = run.copies + run.answers;
    while ((run.outstanding || unanswered()) && now() < begun + DRAIN && now() < last + DRAIN / 8) {
        pump(now() + 10 * MILLISECOND);
        if (run.copies + run.answers != seen) seen = run.copies + run.answers, last = run.arrival;
    }
    give_up();
    for (int i = 0; i < options.publishers; i++) run.all[options.clients + i].unanswered = 0;
    return last > begun ? last - begun : 0;
}

static void print_phase(const char *name, const Counts *from, const Counts *to, uint64_t late, unsigned stalls) {
    double seconds = (double)(to->at - from->at) / 1e9;
    double copies = (double)(to->copies - from->copies), answers = (double)(to->answers - from->answers);
    double user = to->usage.user - from->usage.user, cpu = user + to->usage.system - from->usage.system;
    begin_line(name);
    print_count("clients", (uint64_t)run.followers);
    print_figure("seconds", seconds);
    print_figure("messages_s", (double)(to->sent - from->sent) / seconds);
    print_figure("deliveries_s", copies / seconds);
    print_figure("answers_s", answers / seconds);
    print_figure("server_busy", cpu / seconds);
    print_figure("load_busy", (to->own - from->own) / seconds);
    if (copies > 0) {
        print_figure("cpu_us", cpu * 1e6 / copies);
        print_figure("user_us", user * 1e6 / copies);
        print_figure("bytes", (double)(to->bytes - from->bytes) / copies);
        print_figure("copies_a_read", copies / (double)(to->reads - from->reads));
    }
    if (answers > 0) print_figure("answer_cpu_us", cpu * 1e6 / answers);
    print_histogram("latency", &run.latency);
    print_histogram("answer", &run.answer);
    print_figure("late_ms", (double)late / 1e6);
    print_count("stalls", stalls);
    print_count("missed", run.missed);
    print_count("doubled", run.doubled);
    print_count("gaps", run.gaps);
    print_count("refused", run.refused);
    print_count("closed", (uint64_t)run.closed);
    print_count("memory_kb", (uint64_t)to->usage.memory);
}

static uint64_t warm_up(double seconds) {
    uint64_t half = (uint64_t)(seconds * 1e9) / 2;
    return half < WARM_UP ? half : WARM_UP;
}

/* W messages outstanding, for `seconds` or until `most` are done. */
static void closed_loop(const char *name, uint64_t outstanding, double seconds, uint64_t most) {
    uint64_t started = now(), warm = started + warm_up(seconds), end = warm + (uint64_t)(seconds * 1e9);
    uint64_t enough = most ? run.done + most : UINT64_MAX, copies = run.copies, last = started;
    unsigned stalls = 0;
    bool measuring = most; /* where it ends by a count, all of it counts */
    Counts from, to;
    begin_measuring(&from);
    for (uint64_t moment; (moment = now()) < end && run.done < enough && run.followers;) {
        if (!measuring && moment >= warm) begin_measuring(&from), measuring = true;
        while (run.outstanding < outstanding && publish_any(now())) continue;
        pump(now() + 20 * MILLISECOND);
        if (run.copies != copies) copies = run.copies, last = moment;
        else if (moment - last > STALL) { /* some copy will never come */ stalls++;
            give_up();
            last = moment;
        }
    }
    to = count();
    run.until = to.at;
    print_phase(name, &from, &to, drain(), stalls);
    end_line();
}

/* R messages a second. Those that were due while no publisher had room are sent later, and count from when due. */
static void open_loop(const char *name, double rate, double seconds, bool more_follows) {
    uint64_t started = now(), warm = started + warm_up(seconds), end = warm + (uint64_t)(seconds * 1e9);
    uint64_t looked = started, sent = 0;
    double gap = 1e9 / rate;
    bool measuring = false;
    Counts from, to;
    Usage most = usage(), seen;
    begin_measuring(&from);
    for (uint64_t moment; (moment = now()) < end;) {
        if (!measuring && moment >= warm) begin_measuring(&from), measuring = true;
        uint64_t due = started + (uint64_t)((double)sent * gap);
        for (int burst = 0; due <= moment && burst < 64 && publish_any(due); burst++)
            due = started + (uint64_t)((double)++sent * gap);
        if (moment - looked > SECOND && (looked = moment, seen = usage()).memory > most.memory) most = seen;
        pump(due > moment ? due : moment + MILLISECOND);
        if (!run.followers) break;
    }
    to = count();
    run.until = to.at;
    uint64_t late = drain();
    if ((seen = usage()).memory > most.memory) most = seen;
    uint64_t offered = (uint64_t)((double)(end - started) * rate / 1e9);
    print_phase(name, &from, &to, late, 0);
    print_figure("rate", rate);
    print_count("unsent", offered > sent ? offered - sent : 0);
    print_count("most_memory_kb", (uint64_t)most.memory);
    if (!more_follows) end_line();
}

/* Every publisher has M messages unanswered. */
static void pipelined(const char *name, long most, double seconds) {
    uint64_t started = now(), warm = started + warm_up(seconds), end = warm + (uint64_t)(seconds * 1e9);
    bool measuring = false;
    Counts from, to;
    begin_measuring(&from);
    for (uint64_t moment; (moment = now()) < end;) {
        if (!measuring && moment >= warm) begin_measuring(&from), measuring = true;
        for (int i = 0; i < options.publishers; i++)
            for (Connection *c = &run.all[options.clients + i]; has_room(c, most);) publish(c, now());
        pump(now() + 20 * MILLISECOND);
    }
    to = count();
    run.until = to.at;
    print_phase(name, &from, &to, drain(), 0);
    end_line();
}

static long first_memory;
static int first_clients;

static void idle(const char *name, double seconds) {
    uint64_t begun = now();
    Usage from = usage();
    pump_for((uint64_t)(seconds * 1e9));
    Usage to = usage();
    double spent = (double)(now() - begun) / 1e9;
    int counted = run.followers - first_clients;
    begin_line(name);
    print_count("clients", (uint64_t)run.followers);
    print_count("memory_kb", (uint64_t)to.memory);
    print_figure("server_busy", (to.user + to.system - from.user - from.system) / spent);
    if (counted > 0) print_figure("memory_client", (double)(to.memory - first_memory) * 1024 / counted);
    end_line();
}

/* Some read nothing while the others are served. */
static void stalled(const char *name, int readers, double rate, double seconds, double most) {
    Connection *all = calloc((size_t)readers, sizeof *all);
    if (!all) die("out of memory");
    int before = run.opened, expected = run.opened + readers;
    for (int i = 0; i < readers; i++) start(&all[i], options.clients + options.publishers + i, STALLED);
    for (uint64_t until = now() + 10 * SECOND; run.opened < expected && now() < until;) pump(now() + 20 * MILLISECOND);
    int held = run.opened - before;
    uint64_t first = run.sent + 1;
    for (int i = 0; i < readers; i++) {
        if (all[i].state != OPEN) continue;
        all[i].next = options.publishers == 1 ? first : 0;
        epoll_ctl(run.epoll, EPOLL_CTL_DEL, all[i].fd, NULL);
    }
    uint64_t doubled = run.doubled, missed = run.missed;
    open_loop(name, rate, seconds, true);
    uint64_t last = run.sent;
    int roomy = 1 << 20, caught_up = 0, told = 0, lost = 0;
    for (int i = 0; i < readers; i++)
        if (all[i].state == OPEN) {
            setsockopt(all[i].fd, SOL_SOCKET, SO_RCVBUF, &roomy, sizeof roomy);
            watch(&all[i], EPOLL_CTL_ADD);
        }
    uint64_t begun = now(), end = begun + (uint64_t)(most * 1e9);
    for (bool waiting = true; waiting && now() < end;) {
        for (uint64_t look = now() + 50 * MILLISECOND; now() < look;) pump(look);
        waiting = false;
        for (int i = 0; i < readers; i++) waiting |= all[i].state == OPEN && all[i].next <= last && !all[i].told_gap;
    }
    for (int i = 0; i < readers; i++) {
        if (all[i].state == OPEN && all[i].told_gap) told++;
        else if (all[i].next > last) caught_up++;
        else if (all[i].state == CLOSED) lost++;
        if (all[i].state != CLOSED) close(all[i].fd);
        free(all[i].rest);
        free(all[i].unsent);
    }
    print_count("stalled", (uint64_t)held);
    print_count("caught_up", (uint64_t)caught_up);
    print_count("told_gap", (uint64_t)told);
    print_count("lost", (uint64_t)lost);
    print_count("disordered", run.doubled - doubled);
    print_count("stalled_missed", run.missed - missed);
    print_count("stalled_copies", run.stalled_copies);
    print_figure("catch_up_s", (double)(now() - begun) / 1e9);
    print_count("memory_after_kb", (uint64_t)usage().memory);
    end_line();
    free(all);
}

/* How long a server lets somebody wait who has nothing to do with its load. */
static void probe(const char *name, double pause, double seconds) {
    Connection *c = calloc(1, sizeof *c);
    if (!c) die("out of memory");
    start(c, 0, PROBE);
    for (uint64_t until = now() + 10 * SECOND; c->state != OPEN && now() < until;) pump(until);
    if (c->state != OPEN) die("the probe could not connect");
    run.since = now();
    for (uint64_t moment, end = run.since + (uint64_t)(seconds * 1e9); (moment = now()) < end && c->state == OPEN;) {
        c->unanswered = 1;
        send_frame(c, 9, (char *)&moment, sizeof moment);
        while (c->unanswered && c->state == OPEN && (now() < end || !run.trip.total)) pump(now() + 20 * MILLISECOND);
        pump_for((uint64_t)(pause * 1e6));
    }
    begin_line(name);
    print_count("trips", run.trip.total);
    print_histogram("trip", &run.trip);
    end_line();
}

static void run_phase(const char *phase) {
    char kind[16];
    double value[4] = {0, 0, 0, 0};
    int read = sscanf(phase, "%15[a-z]:%lf:%lf:%lf:%lf", kind, &value[0], &value[1], &value[2], &value[3]);
    if (read == 3 && !strcmp(kind, "closed")) closed_loop(phase, (uint64_t)value[0], value[1], 0);
    else if (read == 3 && !strcmp(kind, "fill"))
        closed_loop(phase, (uint64_t)value[0], options.limit, (uint64_t)value[1]);
    else if (read == 3 && !strcmp(kind, "open")) open_loop(phase, value[0], value[1], false);
    else if (read == 3 && !strcmp(kind, "pipelined")) pipelined(phase, (long)value[0], value[1]);
    else if (read == 2 && !strcmp(kind, "idle")) idle(phase, value[0]);
    else if (read == 5 && !strcmp(kind, "stalled")) stalled(phase, (int)value[0], value[1], value[2], value[3]);
    else if (read == 3 && !strcmp(kind, "probe")) probe(phase, value[0], value[1]);
    else die("no such phase: %s", phase);
}

/* ---------------------------------------------------------------- setting up */

/* Open the connections from `first` on, up to `end`; never many at once. */
static void open_connections(int first, int end, enum role role) {
    int begun = first, settled = run.opened + run.failed, base = settled;
    for (uint64_t last = now(); settled - base < end - first; settled = run.opened + run.failed) {
        while (begun < end && begun - first - (settled - base) < OPENING) {
            start(&run.all[begun], begun, role);
            begun++;
        }
        pump(now() + 100 * MILLISECOND);
        if (run.opened + run.failed != settled) last = now();
        else if (now() - last > 10 * SECOND) die("no connection was accepted for 10 seconds");
    }
}

static void set_up(void) {
    first_clients = options.clients / 10 ? options.clients / 10 : options.clients > 1;
    open_connections(0, first_clients, FOLLOWER);
    pump_for(SETTLE);
    Usage from = usage();
    first_memory = from.memory;
    uint64_t begun = now();
    open_connections(first_clients, options.clients, FOLLOWER);
    double seconds = (double)(now() - begun) / 1e9;
    int counted = options.clients - first_clients;
    Usage to = usage();
    open_connections(options.clients, options.clients + options.publishers, PUBLISHER);
    if (run.failed) fprintf(stderr, "load: %d connections failed\n", run.failed);
    for (int i = 0; i < options.publishers; i++)
        if (run.all[options.clients + i].state != OPEN) die("a publisher could not connect");
    pump_for(SETTLE);
    begin_line("setup");
    print_count("clients", (uint64_t)run.followers);
    print_count("failed", (uint64_t)run.failed);
    if (counted) {
        print_figure("connections_s", (double)counted / seconds);
        print_figure("cpu_us", (to.user + to.system - from.user - from.system) * 1e6 / counted);
    }
    print_count("memory_kb", (uint64_t)to.memory);
    end_line();
}

/* ---------------------------------------------------------------- main */

static struct {
    const char *name;
    const char **text;
    int *number;
    const char *help;
} known[] = {
    {"port", NULL, &options.port, "of the server at 127.0.0.1"},
    {"clients", NULL, &options.clients, "how many followers"},
    {"publishers", NULL, &options.publishers, "how many publishers"},
    {"pid", NULL, &options.pid, "the server's process, whose CPU and memory are read"},
    {"unanswered", NULL, &options.unanswered, "most messages that a publisher may have unanswered (0: any number)"},
    {"limit", NULL, &options.limit, "seconds until the program ends itself"},
    {"path", &options.path, NULL, "what followers ask for"},
    {"publish-path", &options.publish_path, NULL, "what publishers ask for"},
    {"hello", &options.hello, NULL, "sent on every WebSocket at first"},
    {"ready", &options.ready, NULL, "what the frame begins with by which a feed is there"},
    {"join", &options.join, NULL, "template: sent by publishers then"},
    {"joined", &options.joined, NULL, "what the answer to that begins with"},
    {"message", &options.message, NULL, "template: what is published"},
    {"event", &options.event, NULL, "what the frame begins with that brings it"},
    {"stamp", &options.stamp, NULL, "what stands before the stamp in it"},
    {"ack", &options.ack, NULL, "what an acknowledgement begins with, before its stamp"},
    {"refusal", &options.refusal, NULL, "what a refusal begins with"},
    {"gap", &options.gap, NULL, "what begins a frame that says that something is lost"},
};
enum { KNOWN = sizeof known / sizeof *known };

static int help(void) {
    puts("load --port PORT [OPTION VALUE]... PHASE...\n\n  --transport ws, sse or poll: the followers'\n  --all-join: "
         "followers join, too");
    for (int i = 0; i < KNOWN; i++) printf("  --%s %s\n", known[i].name, known[i].help);
    puts("\nphases: closed:W:S fill:W:COUNT open:R:S pipelined:M:S idle:S stalled:N:R:S:MOST probe:MS:S");
    return 0;
}

int main(int count, char **arguments) {
    int at = 1;
    for (; at < count && !strncmp(arguments[at], "--", 2); at++) {
        const char *name = arguments[at] + 2, *value = at + 1 < count ? arguments[at + 1] : NULL;
        if (!strcmp(name, "help")) return help();
        if (!strcmp(name, "all-join")) {
            options.all_join = true;
            continue;
        }
        if (!value) die("--%s needs a value", name);
        at++;
        int found = -1;
        for (int i = 0; i < KNOWN; i++)
            if (!strcmp(name, known[i].name)) found = i;
        if (!strcmp(name, "transport"))
            options.transport = !strcmp(value, "sse") ? SSE : !strcmp(value, "poll") ? POLL : WS;
        else if (found < 0) die("no such option: --%s", name);
        else if (known[found].text) *known[found].text = value;
        else *known[found].number = atoi(value);
    }
    if (!options.port) die("--port is needed");
    if (!options.publish_path) options.publish_path = options.path;
    alarm((unsigned)options.limit);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.all = calloc((size_t)(options.clients + options.publishers + 1), sizeof *run.all);
    if (run.epoll < 0 || !run.all) die("cannot start: %s", strerror(errno));
    run.until = UINT64_MAX;
    if (options.clients + options.publishers) set_up();
    for (; at < count; at++) run_phase(arguments[at]);
    return 0;
}
