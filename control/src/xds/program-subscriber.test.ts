import { create, fromBinary } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { L7_TYPE_URLS, type TypeUrl } from "#lib/xds/types.ts";
import { DeltaDiscoveryRequestSchema, DeltaDiscoveryResponseSchema } from "#proto/discovery_pb.ts";
import { bytesOf } from "../../../test/helpers/outgoing-message.ts";
import { ResourceTable } from "../model/resource-table.ts";
import { ProgramSubscriber } from "./program-subscriber.ts";

const CLUSTER = "type.googleapis.com/weft.l7.Cluster";
const DESTINATION = "type.googleapis.com/weft.l7.Destination";

function bed() {
  const tables = new Map(L7_TYPE_URLS.map((type) => [type as TypeUrl, new ResourceTable(type, { versioned: true })]));
  const sent: string[] = [];
  const answers: unknown[] = [];
  const nonces: string[] = [];
  let room = Number.POSITIVE_INFINITY;
  const subscriber = new ProgramSubscriber({
    tables,
    outlet: {
      takesDeflate: false,
      write: (message) => {
        const response = fromBinary(DeltaDiscoveryResponseSchema, bytesOf(message));
        const { typeUrl, resources, removedResources, nonce } = response;
        nonces.push(nonce);
        const names = [...resources.map(({ name }) => name), ...removedResources.map((name) => `-${name}`)];
        sent.push(`${typeUrl.split(".").at(-1)} ${names.join(",")}`.trim());
        return --room > 0;
      },
      whenEmpty: (callback) => callback(),
    },
    streamId: "s",
    version: () => "1",
    onSent: () => {},
    onAnswer: (...answer) => answers.push(answer),
    onUnknown: (type) => answers.push(type),
  });
  const ask = (typeUrl: string, more = {}) =>
    subscriber.receive(create(DeltaDiscoveryRequestSchema, { typeUrl, ...more }));
  const table = (type: TypeUrl) => tables.get(type) as ResourceTable;
  const push = () => subscriber.push(new Map([...tables].map(([type, each]) => [type, each.takeChange()])));
  const limit = (responses: number) => {
    room = responses;
  };
  return { subscriber, sent, answers, nonces, ask, table, push, limit };
}

it("sends what is pointed to first and takes it away last", () => {
  const { sent, ask, table, push } = bed();
  for (const type of [DESTINATION, CLUSTER]) ask(type);
  expect(sent.splice(0)).toEqual(["Destination", "Cluster"]);
  table(DESTINATION).set("d", new Uint8Array([1]));
  table(CLUSTER).set("c", new Uint8Array([1]));
  push();
  expect(sent.splice(0)).toEqual(["Cluster c", "Destination d"]);
  table(CLUSTER).delete("c");
  table(DESTINATION).delete("d");
  push();
  expect(sent).toEqual(["Destination -d", "Cluster -c"]);
});

it("does not send again what the client has kept", () => {
  const { sent, ask, table } = bed();
  table(CLUSTER).set("c", new Uint8Array([1]));
  table(CLUSTER).set("new", new Uint8Array([2]));
  const version = table(CLUSTER).get("c")?.version ?? "";
  ask(CLUSTER, { initialResourceVersions: { c: version, gone: "x" } });
  expect(sent).toEqual(["Cluster new", "Cluster -gone"]);
});

it("says which resources an answer is about", () => {
  const { answers, nonces, ask, table, push } = bed();
  ask(CLUSTER);
  table(CLUSTER).set("c", new Uint8Array([1]));
  push();
  ask(CLUSTER, { responseNonce: nonces[0] });
  ask(CLUSTER, { responseNonce: nonces[1], errorDetail: { message: "c: bad" } });
  ask(CLUSTER, { responseNonce: nonces[1] });
  expect(answers).toEqual([
    [CLUSTER, [], undefined],
    [CLUSTER, ["c"], "c: bad"],
  ]);
});

it("holds back while the client does not read, and then sends the newest", () => {
  const { subscriber, sent, ask, table, push, limit } = bed();
  limit(1);
  ask(CLUSTER);
  table(CLUSTER).set("c", new Uint8Array([1]));
  push();
  table(CLUSTER).delete("c");
  table(CLUSTER).set("d", new Uint8Array([1]));
  push();
  expect(sent.splice(0)).toEqual(["Cluster"]);
  limit(9);
  subscriber.drained();
  expect(sent).toEqual(["Cluster d", "Cluster -c"]);
});

it("knows no other types", () => {
  const { answers, sent, ask } = bed();
  ask("type.googleapis.com/istio.workload.Address");
  expect(answers).toEqual(["type.googleapis.com/istio.workload.Address"]);
  expect(sent).toEqual([]);
});
