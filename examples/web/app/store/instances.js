// The instances and what is being done with them, as the feed tells it.
//
// Lists are by the instance's id: an instance has one operation at a time. An instance that is being created is not
// listed yet, but its name is known from the event that began it.

import { keyed } from "./keyed.js";

/** @import {Instance, InstanceEvent, Operation, ReceivedEvent} from "../cloudchat/types.js" */

/** What can be done with an instance in each state. */
const ACTIONS = { running: ["stop", "remove"], stopped: ["start", "remove"] };

/**
 * @param {string} state
 * @returns {readonly string[] | undefined} Undefined for a state that this page does not know: a newer server's.
 */
export const actionsOf = (state) =>
  Object.hasOwn(ACTIONS, state) ? ACTIONS[/** @type {keyof typeof ACTIONS} */ (state)] : undefined;

export class Instances {
  /** In the order of their creation. @type {Map<string, Instance>} */
  listed = new Map();
  /** Those that are being created. @type {Map<string, Instance>} */
  coming = new Map();
  /** The operations under way. @type {Map<string, Operation>} */
  operations = new Map();
  /** The last operation, where it failed. @type {Map<string, InstanceEvent>} */
  failures = new Map();

  /**
   * Begin anew.
   * @param {readonly Instance[]} listed
   * @param {readonly Operation[]} operations
   * @param {readonly InstanceEvent[]} worklog the newest events
   */
  replace(listed, operations, worklog) {
    this.listed = keyed(listed, (one) => one.id);
    this.operations = keyed(operations, (one) => one.instance);
    this.coming.clear();
    this.failures.clear();
    for (const event of worklog) {
      const { id } = event.instance;
      // What could not be created some day is no news: failures are shown of what is listed.
      if (this.listed.has(id)) this.#noteFailure(event);
      else if (event.type === "received" && this.operations.has(id)) this.coming.set(id, event.instance);
    }
  }

  /** @param {InstanceEvent} event @returns {string[]} the instances whose cards changed */
  apply(event) {
    const gone = this.#noteFailure(event);
    if (event.type === "received") this.#begin(event);
    else this.#end(event);
    return [event.instance.id, ...gone];
  }

  /** @param {ReceivedEvent} event */
  #begin({ instance, operation, by }) {
    const { id, command, received_at, expected } = operation;
    /** @type {Operation} */
    const view = { id, command, instance: instance.id, by, done: false, received_at };
    if (expected !== undefined) view.expected = expected;
    this.operations.set(instance.id, view);
    if (this.listed.has(instance.id)) this.listed.set(instance.id, { ...instance, operation });
    else this.coming.set(instance.id, instance);
  }

  /** @param {InstanceEvent} event */
  #end({ instance }) {
    this.operations.delete(instance.id);
    this.coming.delete(instance.id);
    if (instance.state === undefined) this.listed.delete(instance.id);
    else this.listed.set(instance.id, instance);
  }

  /** @param {InstanceEvent} event @returns {string[]} the instances whose failure made room */
  #noteFailure(event) {
    const { id, state } = event.instance;
    this.failures.delete(id);
    if (event.type !== "failed") return [];
    // Of what was never created only the last is kept: no later event would ever clear it away.
    const never = [...this.failures].filter(([, failure]) => failure.instance.state === undefined);
    const gone = state === undefined ? never.map(([other]) => other) : [];
    for (const other of gone) this.failures.delete(other);
    this.failures.set(id, event);
    return gone;
  }
}
