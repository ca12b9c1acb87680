// A producer in JavaScript, written from docs/write-a-producer.md and nothing else: no code of ours, no Python.
//
//   node producer.mjs PROTOS DESCRIPTORS HOST:PORT RUN_ID EVENTS EVENTS_A_FRAME
//
// It emits acme.v1.BeamSearched, keeps each frame until it is durable, survives a collector that is killed, and prints
// a line of JSON when everything is durable. Node 24 for zstd and CRC-32 of its own standard library.
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import zlib from "node:zlib";
import { setTimeout as sleep } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const [protos, descriptorFile, address, runId, eventCount, perFrame] = process.argv.slice(2);

// --- messages -------------------------------------------------------------------------------------------------------

const root = new protobuf.Root();
root.resolvePath = (_, name) => (fs.existsSync(`${protos}/${name}`) ? `${protos}/${name}` : name);
root.loadSync(["esper_telemetry/v1/collector.proto", "acme/v1/beam.proto"], { keepCase: true });
const encode = (type, value) => {
  const known = root.lookupType(type);
  return Buffer.from(known.encode(known.fromObject(value)).finish());
};
const services = protoLoader.loadSync("esper_telemetry/v1/collector.proto", {
  includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
});
const Collector = grpc.loadPackageDefinition(services).esper_telemetry.v1.Collector;

// --- the schema -----------------------------------------------------------------------------------------------------

export function fingerprint(types, descriptors) {
  const hash = crypto.createHash("sha256");
  for (const { type_id, full_name } of [...types].sort((a, b) => a.type_id - b.type_id)) {
    const name = Buffer.from(full_name, "utf8");
    const entry = Buffer.alloc(8);
    entry.writeUInt32LE(type_id, 0);
    entry.writeUInt32LE(name.length, 4);
    hash.update(entry).update(name);
  }
  return hash.update(descriptors).digest();
}

function checkVectors() {
  const vectors = JSON.parse(fs.readFileSync(`${protos}/esper_telemetry/v1/producer_vectors.json`, "utf8"));
  for (const each of vectors.fingerprints) {
    const made = fingerprint(each.types, Buffer.from(each.file_descriptor_set, "hex")).toString("hex");
    if (made !== each.fingerprint) throw new Error(`${each.name}: ${made} is not ${each.fingerprint}`);
  }
  for (const each of vectors.descriptors) {
    const made = descriptor(each).toString("hex");
    if (made !== each.bytes) throw new Error(`${each.name}: ${made} is not ${each.bytes}`);
  }
  return vectors.fingerprints.length + vectors.descriptors.length;
}

// --- frames ---------------------------------------------------------------------------------------------------------

function descriptor({ compressed, raw, records, type_ids, first_seq, last_seq, min_time, max_time }) {
  const desc = Buffer.alloc(64);
  desc.write("572a4d18", 0, "hex");
  desc.writeUInt32LE(56, 4);
  desc.write("EFRM", 8, "latin1");
  desc.writeUInt32LE(compressed, 12);
  desc.writeUInt32LE(raw, 16);
  desc.writeUInt32LE(records, 20);
  desc.writeUInt32LE(type_ids.reduce((mask, id) => (mask | (1 << Math.min(id - 1, 31))) >>> 0, 0), 24);
  desc.writeBigUInt64LE(BigInt(first_seq), 28);
  desc.writeBigUInt64LE(BigInt(last_seq), 36);
  desc.writeBigUInt64LE(BigInt(min_time), 44);
  desc.writeBigUInt64LE(BigInt(max_time), 52);
  desc.writeUInt32LE(zlib.crc32(desc.subarray(0, 60)), 60);
  return desc;
}

function frameOf(events, first_seq, last_seq) {
  const raw = encode("esper_telemetry.v1.RecordFile", { event: events });
  const { ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag } = zlib.constants;
  const params = { [ZSTD_c_checksumFlag]: 1, [ZSTD_c_contentSizeFlag]: 1 };
  const compressed = zlib.zstdCompressSync(raw, { params, pledgedSrcSize: raw.length });
  const times = events.map((event) => BigInt(event.time_unix_nano));
  const bounds = {
    compressed: compressed.length, raw: raw.length, records: events.length, first_seq, last_seq,
    type_ids: events.map((event) => event.type_id), min_time: times[0], max_time: times.at(-1),
  };
  const payload = Buffer.concat([compressed, descriptor(bounds)]);
  return {
    first_seq, last_seq, count: events.length, raw_len: raw.length, crc32: zlib.crc32(payload), codec: "CODEC_ZSTD",
    payload,
  };
}

// --- one stream -----------------------------------------------------------------------------------------------------

// Sends what is not durable and resolves with "complete", or with the status that ended the stream.
function publish(client, producer) {
  return new Promise((resolve) => {
    const call = client.Publish();
    let welcome = null, next = 0, closed = false, beat = null;
    const inFlight = () => producer.spool.slice(0, next).filter((frame) => frame.last_seq > producer.accepted);
    const pump = () => {
      while (next < producer.spool.length) {
        const flying = inFlight(), frame = producer.spool[next];
        const bytes = flying.reduce((sum, each) => sum + each.payload.length, frame.payload.length);
        const { window_frames, window_bytes } = welcome.limits;
        if (flying.length && (flying.length >= window_frames || bytes > window_bytes)) return;
        call.write({ batch: frame });
        next += 1;
      }
      if (!closed) {
        closed = true;
        call.write({ close: { final_seq: producer.lastSeq, outcome: "CLOSE_OUTCOME_FINISHED" } });
        call.end(); // half-close: acks still come, and the collector ends the stream with OK
      }
    };
    call.on("data", (answer) => {
      if (answer.welcome) {
        welcome = answer.welcome;
        producer.settle(welcome.durable_seq);
        producer.accepted = welcome.durable_seq;
        beat = setInterval(() => closed || call.write({ heartbeat: {} }), welcome.heartbeat_ms);
        if (welcome.need_schema) call.write({ schema: { fingerprint: producer.fingerprint, header: producer.header } });
        pump();
      } else if (answer.ack) {
        const before = producer.spool.length;
        producer.settle(answer.ack.durable_seq);
        next -= before - producer.spool.length;
        producer.accepted = Math.max(producer.accepted, answer.ack.accepted_seq);
        if (answer.ack.resend_from) next = producer.spool.findIndex((frame) => frame.last_seq >= answer.ack.resend_from);
        pump();
      }
    });
    call.on("error", () => {}); // the status says it
    call.on("status", (status) => {
      clearInterval(beat);
      resolve(status.code === grpc.status.OK && producer.durable === producer.lastSeq ? "complete" : status);
    });
    call.write({
      hello: {
        min_protocol: 1, max_protocol: 1, run_id: runId, producer_id: producer.id, session_epoch: producer.epoch,
        schema_fingerprint: producer.fingerprint, first_available_seq: producer.spool[0]?.first_seq ?? 0,
        codecs: ["CODEC_ZSTD"], client: "acme-js/1.0", writer: "acme-js/1.0", labels: { language: "javascript" },
      },
    });
  });
}

// What is wrong with the client or its rights does not pass by itself.
const FINAL = new Set([grpc.status.FAILED_PRECONDITION, grpc.status.PERMISSION_DENIED, grpc.status.INVALID_ARGUMENT,
  grpc.status.ALREADY_EXISTS, grpc.status.UNAUTHENTICATED]);

async function main() {
  const vectors = checkVectors();
  const descriptors = fs.readFileSync(descriptorFile);
  const types = [{ type_id: 1, full_name: "acme.v1.BeamSearched" }];
  const start = BigInt(Date.now()) * 1_000_000n;
  const producer = {
    id: crypto.randomBytes(16), epoch: 0, durable: 0, accepted: 0, lastSeq: Number(eventCount), spool: [],
    fingerprint: fingerprint(types, descriptors),
    settle(seq) {
      this.durable = Math.max(this.durable, seq);
      this.spool = this.spool.filter((frame) => frame.last_seq > this.durable); // only durable frees it
    },
  };
  producer.header = {
    format_major: 1, format_minor: 0, file_id: crypto.randomBytes(16), run_id: runId, producer_id: producer.id,
    stream: "main", segment: 1, anchor_unix_nano: String(start), anchor_monotonic_nano: String(process.hrtime.bigint()),
    host: os.hostname(), pid: process.pid, writer: "acme-js/1.0", run_name: "beams", types,
    file_descriptor_set: descriptors,
  };
  for (let first = 1; first <= producer.lastSeq; first += Number(perFrame)) {
    const last = Math.min(first + Number(perFrame) - 1, producer.lastSeq);
    const events = [];
    for (let seq = first; seq <= last; seq += 1) {
      const payload = encode("acme.v1.BeamSearched", { width: seq % 7, search_time_ms: seq / 8 });
      events.push({ type_id: 1, seq, time_unix_nano: String(start + BigInt(seq) * 1000n), context: { step: seq }, payload });
    }
    producer.spool.push(frameOf(events, first, last));
  }
  const frames = producer.spool.length;
  let streams = 0;
  for (let pause = 100; ; pause = Math.min(2 * pause, 10_000)) {
    const client = new Collector(address, grpc.credentials.createInsecure()); // a fresh channel for each try
    producer.epoch += 1;
    const before = producer.durable;
    const ended = await publish(client, producer);
    client.close();
    streams += 1;
    if (ended === "complete") break;
    if (FINAL.has(ended.code)) throw new Error(`${ended.code}: ${ended.details}`);
    if (producer.durable > before) pause = 100;
    await sleep(Math.random() * pause); // full jitter
  }
  console.log(JSON.stringify({ durable: producer.durable, frames, streams, vectors }));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
