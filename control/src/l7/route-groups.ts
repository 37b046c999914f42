/**
 * The routes of a virtual host on the wire. Few go into the Destination itself. Many go into groups beside it, each named
 * by its content and cut where the content says (as rsync cuts files), so that an edit of one of thousands of routes makes
 * one other group and a short list of names; everything else is what a waypoint has already.
 */
import { hash } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { type Route, RouteGroupSchema, RouteSchema } from "#proto/l7_pb.ts";
import { Rope } from "./wire.ts";

/** Below this, a Destination with all its routes is no larger than a few groups. */
const GROUPED_FROM = 64;
/** One rule in so many ends a group: one of 64 characters that its digest may begin with. */
const LAST_OF_GROUP = "A";
const MAX_GROUP = 256;
/** 192 bits: nobody finds two contents of one name. */
const DIGEST_CHARACTERS = 32;
const HOST_ROUTES = 3;
const HOST_ROUTE_GROUPS = 4;
const GROUP_ROUTES = 2;

/** Routes that stay together: those of one rule. */
export interface EncodedRoutes {
  readonly messages: readonly Uint8Array[];
  readonly digest: string;
}

/** Takes groups that a host names. `content` is to be asked of those that are new. */
export type RouteGroupSink = (name: string, content: () => Uint8Array) => unknown;

export function encodeRoutes(routes: readonly Route[]): EncodedRoutes {
  const messages = routes.map((route) => toBinary(RouteSchema, route));
  // Fields of a group, not bare messages: two routes are not one that is as long as both.
  return { messages, digest: digestOf(fields(GROUP_ROUTES, messages).finish()) };
}

/** Appends `rules` to the fields of a VirtualHost. */
export function encodeHostRoutes(host: Rope, rules: readonly EncodedRoutes[], sink: RouteGroupSink): void {
  if (rules.length < GROUPED_FROM) {
    for (const { messages } of rules) for (const message of messages) host.field(HOST_ROUTES, message);
    return;
  }
  for (const group of groupsOf(rules)) {
    const name = digestOf(group.map(({ digest }) => digest).join(""));
    sink(name, () => {
      const head = new Rope().bytes(toBinary(RouteGroupSchema, { $typeName: "weft.l7.RouteGroup", name, routes: [] }));
      return fields(
        GROUP_ROUTES,
        group.flatMap(({ messages }) => messages),
        head,
      ).finish();
    });
    host.field(HOST_ROUTE_GROUPS, Buffer.from(name));
  }
}

function* groupsOf(rules: readonly EncodedRoutes[]): Generator<readonly EncodedRoutes[]> {
  let begin = 0;
  for (let at = 0; at < rules.length; at++) {
    const size = at + 1 - begin;
    if (size < MAX_GROUP && at + 1 < rules.length && !rules[at]?.digest.startsWith(LAST_OF_GROUP)) continue;
    yield rules.slice(begin, at + 1);
    begin = at + 1;
  }
}

function fields(number: number, messages: readonly Uint8Array[], rope = new Rope()): Rope {
  for (const message of messages) rope.field(number, message);
  return rope;
}

function digestOf(content: Uint8Array | string): string {
  return hash("sha256", content, "base64url").slice(0, DIGEST_CHARACTERS);
}
