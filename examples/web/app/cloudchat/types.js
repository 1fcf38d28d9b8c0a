// What goes over the wire and between the modules, for the type checker and for readers. Nothing is left at run time.

// -- what a server says

/**
 * Where a reader stands in the log, `<epoch>-<offset>`; "" is before everything that is known.
 * @typedef {string} Cursor
 */

/** @typedef {"ws" | "sse" | "poll"} TransportName */

/** @typedef {"create" | "start" | "stop" | "remove"} Order */

/**
 * @typedef {object} OperationRef
 * @property {string} id
 * @property {Order} command
 * @property {string} received_at RFC 3339, as all moments are.
 * @property {string} [expected] When it may be done.
 */

/**
 * @typedef {object} Instance
 * @property {string} id
 * @property {"running" | "stopped"} [state] Absent until it is created.
 * @property {string} [name]
 * @property {OperationRef} [operation] What is under way.
 * @property {string} [created_at]
 */

/**
 * @typedef {object} Operation
 * @property {string} id
 * @property {Order} command
 * @property {string} instance Its id.
 * @property {string | null} by
 * @property {boolean} done
 * @property {string} received_at
 * @property {string} [expected]
 * @property {string} [outcome]
 * @property {{reason: string, detail: string}} [error]
 * @property {string} [done_at]
 */

/** @typedef {{nickname: string, since: string}} Participant */

/** @typedef {{type: "joined", cursor: Cursor, at: string, nickname: string}} JoinedEvent */

/**
 * @typedef {{type: "left", cursor: Cursor, at: string, nickname: string,
 *   reason: "left" | "disconnected" | "kicked"}} LeftEvent
 */

/**
 * `ref` is the author's command id; a message that was redacted has no text.
 * @typedef {{type: "message", cursor: Cursor, at: string, nickname: string, text: string, ref?: string,
 *   redacted?: boolean}} MessageEvent
 */

/** @typedef {{type: "redacted", cursor: Cursor, at: string, message: Cursor, by: string | null}} RedactedEvent */

/**
 * @typedef {{type: "received", cursor: Cursor, at: string, command: Order, instance: Instance,
 *   operation: OperationRef, by: string | null, expected?: string}} ReceivedEvent
 */

/**
 * @typedef {{type: "created" | "started" | "stopped" | "removed", cursor: Cursor, at: string, instance: Instance,
 *   operation: OperationRef, by: string | null}} DoneEvent
 */

/**
 * @typedef {{type: "failed", cursor: Cursor, at: string, command: Order, instance: Instance, operation: OperationRef,
 *   by: string | null, reason: string, detail: string}} FailedEvent
 */

/** @typedef {JoinedEvent | LeftEvent | MessageEvent | RedactedEvent} ChatEvent */
/** @typedef {ReceivedEvent | DoneEvent | FailedEvent} InstanceEvent */

/** @typedef {{text: number, nickname: number, frame: number, unanswered: number}} Limits */

/**
 * @typedef {{type: "welcome", protocol: string, feed: string, cursor: Cursor, at: string, heartbeat: number,
 *   limits: Limits}} Welcome
 */

/**
 * @typedef {{type: "gap", after: string, reason: "retention" | "epoch" | "future" | "invalid"}} Gap
 */

/**
 * The state at `cursor`, or a part of it: with `more`, the lists go on in the next frame. Oldest first.
 * @typedef {{type: "snapshot", cursor: Cursor, participants?: Participant[], messages?: MessageEvent[],
 *   instances?: Instance[], operations?: Operation[], worklog?: InstanceEvent[], more?: boolean}} Snapshot
 */

/** @typedef {{type: "heartbeat", cursor: Cursor, at: string}} Heartbeat */
/** @typedef {{type: "closing", retry_after: number}} Closing */

/**
 * @typedef {object} Ack
 * @property {"ack"} type
 * @property {string} id
 * @property {Cursor} cursor Where the command's last event stands.
 * @property {string} [nickname]
 * @property {boolean} [resumed]
 * @property {OperationRef} [operation]
 * @property {Instance} [instance]
 */

/**
 * @typedef {object} Refusal
 * @property {"error"} type
 * @property {string | null} id
 * @property {string} code
 * @property {string} detail For people; may change.
 * @property {string[]} [suggestions] Nicknames that are free.
 * @property {OperationRef} [operation] What an instance is busy with.
 * @property {number} [retry_after] Seconds.
 */

/** @typedef {Ack | Refusal} Reply */
/** @typedef {Welcome | Gap | Snapshot | Heartbeat | Closing | ChatEvent | InstanceEvent} FeedFrame */
/** @typedef {FeedFrame | Reply} Frame */

// -- what a client says

/**
 * What to do; `id` is made up where it is missing.
 * @typedef {{id?: string} & (
 *   {type: "say", text: string} |
 *   {type: "redact", message: Cursor} |
 *   {type: "create", name?: string, spec?: object} |
 *   {type: "start" | "stop" | "remove", instance: string} |
 *   {type: "leave"} | {type: "ping"}
 * )} Wish
 */

/** @typedef {Wish & {id: string}} Command */
/** @typedef {{type: "join", id: string, nickname: string, token?: string, feed?: string}} Join */

// -- what a client tells its subscribers, besides the frames of the feed

/**
 * @typedef {object} Status
 * @property {"status"} type
 * @property {"connecting" | "open" | "waiting" | "offline" | "ended"} state
 * @property {TransportName} transport The one in use, or tried, or used last.
 * @property {boolean} shared Whether another tab holds the connection.
 * @property {number} [retryAt] While waiting: when it is tried again (ms since the epoch).
 * @property {"" | "lost" | "silent" | "restart" | "unreachable" | "barred" | "refused" | "ended"} why
 *   `barred`: it cannot be reached, or does not let this page's site in.
 * @property {string} detail English, for people; may be "".
 * @property {number} [closeCode]
 */

/** @typedef {{type: "nickname_lost", refusal: Refusal}} NicknameLost */
/** @typedef {{type: "joined_as", nickname: string, resumed: boolean}} JoinedAs */
/** @typedef {{type: "answered", command: Command, reply: Reply}} Answered */
/** @typedef {{type: "uncertain", command: Command}} Uncertain */

/** @typedef {FeedFrame | Status | NicknameLost | JoinedAs | Answered | Uncertain} Item */

/**
 * A place for strings that outlives the client: what it holds is kept current at every change.
 * @typedef {object} Memory
 * @property {(key: string) => string | null} get
 * @property {(key: string, value: string) => void} set
 * @property {(key: string) => void} delete
 */

// -- between the modules

/**
 * Why a connection ended: `code` as of a WebSocket (1006: it was lost); `retryAfter` is in seconds.
 * @typedef {{code: number, why: Status["why"], detail: string, retryAfter?: number}} End
 */

/**
 * What a connection tells. A `welcome` comes first; a second one says that a new feed took the place of the first, and
 * that nothing has been said on it yet. After `end` nothing comes, nor after `close` was called.
 * @typedef {object} Handlers
 * @property {(frame: Frame) => void} frame
 * @property {(end: End) => void} end
 * @property {() => void} [forgotten] The server did not know a token that a feed was to keep present: all join again.
 */

/**
 * One feed that is open, and the way up beside it. `shared` tells whether another tab holds the feed.
 * @typedef {object} Connection
 * @property {(commands: (Command | Join)[]) => void} send In order; what is lost is the session's matter.
 * @property {(code: number) => void} close 1000: for good, the nickname is free at once; 1001: it is not.
 * @property {boolean} shared
 */

/**
 * Opens connections to one server. `connect` returns at once; `welcome` or `end` says what came of it.
 * @typedef {object} Transport
 * @property {TransportName} name
 * @property {(after: Cursor, handlers: Handlers) => Connection} connect
 */

/**
 * What comes down, without a way up: the part of a connection over HTTP that tabs can share.
 * @typedef {object} Feed
 * @property {boolean} shared
 * @property {() => void} joined The client's own token has joined: from now on the feed is to keep it present.
 * @property {() => void} close
 */

/**
 * Opens feeds. `tokens` are those of the participations that the feed is to keep present from its beginning.
 * @typedef {(after: Cursor, tokens: string[], handlers: Handlers) => FeedSource} OpenFeed
 */

/**
 * A feed from the server. `present` says whose participations are to be kept present from now on, all of them; where that
 * takes another feed it returns false.
 * @typedef {object} FeedSource
 * @property {(tokens: string[]) => boolean} present
 * @property {() => void} close
 */

/**
 * Everything that is not computation, so that tests can have their own.
 * @typedef {object} Platform
 * @property {(input: string, init?: RequestInit) => Promise<Response>} fetch
 * @property {(new (url: string, protocols: string) => WebSocket) | undefined} WebSocket
 * @property {(callback: () => void, ms: number) => number} setTimeout
 * @property {(timer: number) => void} clearTimeout
 * @property {() => number} now Milliseconds since the epoch.
 * @property {() => number} random From 0 to 1.
 * @property {(bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>} getRandomValues
 * @property {LockManager | undefined} locks
 * @property {typeof BroadcastChannel | undefined} BroadcastChannel
 * @property {EventTarget | undefined} events Says `online`, `offline`, `pageshow`, `pagehide`.
 * @property {(EventTarget & {visibilityState: string}) | undefined} document Says `visibilitychange`.
 * @property {string} origin The site of the page; "" where there is none.
 * @property {() => boolean} online
 */

export {};
