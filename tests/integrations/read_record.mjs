// A reader of record files written from FORMAT.md alone: prints the events of one file as JSON lines.
//
//     node read_record.mjs FILE
//
// It knows no generated code, no .proto file and nothing of the library: the envelope is copied from FORMAT.md, every
// other type comes from the descriptors in the file. One segment; a StepBlock is printed as the event that it is.
// Exit code 0: all of the file was read; 3: it ends inside a frame, and what is whole before that was printed.

import fs from "node:fs";
import process from "node:process";
import zlib from "node:zlib";
import protobuf from "protobufjs";

// "Messages" of FORMAT.md, less what this reader does not look at. Context is decoded by the file's own descriptors.
const ENVELOPE = protobuf.parse(`syntax = "proto3";
message RecordFile { repeated Header header = 1; repeated Event event = 2; repeated EventBlock block = 3; }
message Event { uint32 type_id = 1; fixed64 time_unix_nano = 2; uint64 seq = 3; bytes context = 4; bytes payload = 5; }
message EventBlock {
  uint32 type_id = 1; uint32 events = 2; uint64 first_seq = 3; bytes seq_steps = 4;
  fixed64 first_time_unix_nano = 5; bytes time_steps = 6;
  repeated Column context = 7; repeated Column columns = 8; repeated bytes payloads = 9;
}
message Column {
  uint32 field = 1; uint32 type = 2; bytes doubles = 3; bytes floats = 4; sint64 first = 5;
  bytes ints = 6; bytes int_steps = 7; repeated string texts = 8; bytes indices = 9; bytes flags = 10;
}
message Header { repeated TypeEntry types = 17; bytes file_descriptor_set = 18; string definitions = 24; }
message TypeEntry { uint32 type_id = 1; string full_name = 2; }`, {keepCase: true}).root;

// What is needed of google/protobuf/descriptor.proto, which every protobuf has.
const DESCRIPTORS = protobuf.parse(`syntax = "proto2";
message Set { repeated File file = 1; }
message File { optional string name = 1; optional string package = 2; repeated Message message_type = 4; repeated Enum enum_type = 5;
  repeated Field extension = 7; optional string syntax = 12; }
message Message { optional string name = 1; repeated Field field = 2; repeated Message nested_type = 3;
  repeated Enum enum_type = 4; optional bytes options = 7; repeated Oneof oneof_decl = 8; }
message Oneof { optional string name = 1; }
message Field { optional string name = 1; optional int32 number = 3; optional int32 label = 4; optional int32 type = 5;
  optional string type_name = 6; optional int32 oneof_index = 9; optional bool proto3_optional = 17; }
message Enum { optional string name = 1; repeated Value value = 2; }
message Value { optional string name = 1; optional int32 number = 2; optional bytes options = 3; }
message MessageOptions { optional bool map_entry = 7; }`, {keepCase: true}).root;

const big = (number) => BigInt(number.toString());
const MAGIC_ZSTD = 0xfd2fb528, MAGIC_OURS = 0x184d2a57, DESC_BYTES = 64;
const REPEATED = 3, STRING = 9, GROUP = 10, MESSAGE = 11, BYTES = 12, ENUM = 14;

// --- pieces ("Frames") -----------------------------------------------------------------------------------------------

/** Yields the content of every zstd frame whose descriptor follows it, front to back. */
function* frames(file) {
  if (file.readUInt32LE(0) !== MAGIC_OURS || file.toString("latin1", 8, 16) !== "ESPERREC") throw new Error("no record");
  if (file.readUInt16LE(16) !== 1) throw new Error(`format version ${file.readUInt16LE(16)}`);
  let at = 0;
  while (at + 8 <= file.length) {
    const magic = file.readUInt32LE(at);
    if (magic !== MAGIC_ZSTD) {  // a skippable frame: nothing here that a reader from front to back needs
      if ((magic & 0xfffffff0) !== 0x184d2a50) throw new Error(`byte ${at} starts no frame`);
      at += 8 + file.readUInt32LE(at + 4);
      continue;
    }
    const desc = descriptorAfter(file, at);
    if (desc < 0) return false;
    const content = zlib.zstdDecompressSync(file.subarray(at, desc), {maxOutputLength: 4 << 20});
    if (content.length !== file.readUInt32LE(desc + 16)) throw new Error(`the frame at byte ${at} has another size`);
    yield {content, records: file.readUInt32LE(desc + 20)};
    at = desc + DESC_BYTES;
  }
  return at === file.length;
}

/** Returns where the descriptor is that states a frame from `start` up to itself; -1 if the file ends before it. */
function descriptorAfter(file, start) {
  const head = Buffer.from("572a4d18380000004546524d", "hex");
  for (let at = start; (at = file.indexOf(head, at + 1)) >= 0 && at + DESC_BYTES <= file.length;) {
    if (file.readUInt32LE(at + 12) !== at - start) continue;
    if (zlib.crc32(file.subarray(at, at + 60)) === file.readUInt32LE(at + 60)) return at;
  }
  return -1;
}

// --- blocks ("Blocks") -----------------------------------------------------------------------------------------------

/** Returns the events of a data frame in the order of their sequence numbers. */
function eventsOf(content) {
  const frame = ENVELOPE.lookupType("RecordFile").decode(content);
  const events = frame.event.map((event) => (
    {type: event.type_id, seq: big(event.seq), time: big(event.time_unix_nano), context: event.context,
      payload: event.payload}));
  for (const block of frame.block) {
    const count = block.events;
    const seqs = sums(big(block.first_seq), integers(block.seq_steps, count - 1, false));
    const times = sums(big(block.first_time_unix_nano), integers(block.time_steps, count - 1, true));
    if (block.payloads.length !== 0 && block.payloads.length !== count) throw new Error("payloads are missing");
    const contexts = messagesOf(block.context, count);
    const payloads = block.payloads.length ? block.payloads : messagesOf(block.columns, count);
    seqs.forEach((seq, i) => events.push(
      {type: block.type_id, seq, time: times[i], context: contexts[i], payload: payloads[i]}));
  }
  return events.sort((one, other) => (one.seq < other.seq ? -1 : 1));
}

function sums(first, steps) {
  let sum = first;
  return [first, ...steps.map((step) => (sum += step))];
}

/** Returns integers of one width: first the lowest bytes of all, last the highest. */
function integers(planes, count, signed) {
  const width = count ? planes.length / count : 1;
  if (!Number.isInteger(width) || width < 1 || width > 8 || planes.length !== width * count) {
    throw new Error(`${planes.length} bytes are no ${count} integers`);
  }
  return Array.from({length: count}, (_, i) => {
    let number = 0n;
    for (let place = width - 1; place >= 0; place--) number = number << 8n | BigInt(planes[place * count + i]);
    return signed ? BigInt.asIntN(8 * width, number) : number;
  });
}

/** Returns real numbers: all bytes but the two highest together, then the next-highest of all, then the highest. */
function reals(bytes, size, name) {
  const count = bytes.length / size, low = size - 2, view = new DataView(new ArrayBuffer(size));
  return Array.from({length: count}, (_, i) => {
    for (let place = 0; place < low; place++) view.setUint8(place, bytes[i * low + place]);
    view.setUint8(low, bytes[count * low + i]);
    view.setUint8(low + 1, bytes[count * (low + 1) + i]);
    return view[name](0, true);
  });
}

/** Returns a serialized message for each event: one field for each column. */
function messagesOf(columns, count) {
  const writers = Array.from({length: count}, () => protobuf.Writer.create());
  for (const column of columns) {
    const values = valuesOf(column, count);
    if (values.length !== count && values.length !== 1) throw new Error(`column ${column.field}: ${values.length} values`);
    const [wire, write] = WRITE[column.type];
    writers.forEach((writer, i) => {
      writer.uint32(column.field << 3 | wire);
      write(writer, values[values.length === 1 ? 0 : i]);
    });
  }
  return writers.map((writer) => writer.finish());
}

function valuesOf(column, count) {
  if (column.doubles.length) return reals(column.doubles, 8, "getFloat64");
  if (column.floats.length) return reals(column.floats, 4, "getFloat32");
  if (column.ints.length) return integers(column.ints, count, true);
  if (column.flags.length) return Array.from({length: count}, (_, i) => BigInt(column.flags[i >> 3] >> (i & 7) & 1));
  if (column.indices.length) return integers(column.indices, count, false).map((index) => column.texts[index]);
  if (column.texts.length) return column.texts;
  return sums(big(column.first), column.int_steps.length ? integers(column.int_steps, count - 1, true) : []);
}

// How protobuf writes a value, by the type of its field: wire type and writer.
const long = (value) => protobuf.util.Long.fromString(BigInt.asIntN(64, value).toString());
const varint = [0, (writer, value) => writer.int64(long(value))];
const zigzag = [0, (writer, value) => writer.sint64(long(value))];
const fixed64 = [1, (writer, value) => writer.sfixed64(long(value))];
const fixed32 = [5, (writer, value) => writer.sfixed32(Number(BigInt.asIntN(32, value)))];
const WRITE = {
  1: [1, (writer, value) => writer.double(value)], 2: [5, (writer, value) => writer.float(value)],
  3: varint, 4: varint, 5: varint, 6: fixed64, 7: fixed32, 8: varint,
  9: [2, (writer, value) => writer.string(value)],
  13: varint, 14: varint, 15: fixed32, 16: fixed64, 17: zigzag, 18: zigzag,
};

// --- the schema in the headers ("Header") ----------------------------------------------------------------------------

/** Gives a bare file what it lacks, as far as this reader looks at it. */
function complete(file, lines) {
  const name = (one) => (one.name = lines.next().value.split(" ", 1)[0]);
  const message = (one) => {
    [one, ...one.field, ...one.oneof_decl].forEach(name);
    one.nested_type.forEach(message);
    one.enum_type.forEach(enumeration);
    one.field.forEach((field, i) => {
      if (!Object.hasOwn(field, "number")) field.number = i ? one.field[i - 1].number + 1 : 1;
      if (field.proto3_optional && !Object.hasOwn(field, "oneof_index")) {
        field.oneof_index = one.oneof_decl.push({name: `_${field.name}`}) - 1;
      }
    });
  };
  const enumeration = (one) => [one, ...one.value].forEach(name);
  lines.next();  // the name of the file
  file.message_type.forEach(message);
  file.enum_type.forEach(enumeration);
  file.extension.forEach(name);
  file.syntax ||= "proto3";
}

class Schema {
  constructor() {
    this.names = new Map();  // full names by type id
    this.types = new Map();  // messages and enums by full name, as `.package.Name`
    this.extensions = new Map();
  }

  add(header) {
    for (const entry of header.types) this.names.set(entry.type_id, entry.full_name);
    const lines = header.definitions.split("\n").values();
    for (const file of DESCRIPTORS.lookupType("Set").decode(header.file_descriptor_set).file) {
      if (!file.name) complete(file, lines);
      const scope = file.package ? `.${file.package}` : "";
      file.message_type.forEach((message) => this.addMessage(message, scope, file.syntax === "proto3"));
      file.enum_type.forEach((one) => this.types.set(`${scope}.${one.name}`, this.enumOf(one)));
      file.extension.forEach((field) => this.extensions.set(`${scope}.${field.name}`, field));
    }
  }

  addMessage(message, scope, implicit) {
    const name = `${scope}.${message.name}`;
    message.nested_type.forEach((one) => this.addMessage(one, name, implicit));
    message.enum_type.forEach((one) => this.types.set(`${name}.${one.name}`, this.enumOf(one)));
    const options = message.options ?? new Uint8Array();
    const isMap = DESCRIPTORS.lookupType("MessageOptions").decode(options).map_entry;
    const fields = new Map(message.field.map((field) => [field.number, field]));
    this.types.set(name, {fields, options, isMap, implicit});
  }

  enumOf(one) {
    return {name: one.name, values: one.value, labels: null};
  }

  /** Returns an option of a message or a value that is declared in the file, as a plain value, or undefined. */
  option(bytes, name) {
    const field = this.extensions.get(`.esper_telemetry.v1.${name}`);
    if (!field || !bytes) return undefined;
    return this.decode({fields: new Map([[field.number, field]]), implicit: false}, bytes)[field.name];
  }

  shortName(fullName) {
    const message = this.types.get(`.${fullName}`);
    return message ? this.option(message.options, "event")?.name || fullName : fullName;
  }

  label(one, number) {
    if (one.labels === null) {
      one.labels = new Map();
      const prefix = `${one.name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase()}_`;
      for (const value of one.values) {
        const name = value.name.startsWith(prefix) ? value.name.slice(prefix.length) : value.name;
        if (!one.labels.has(value.number)) one.labels.set(value.number, this.option(value.options, "label") || name);
      }
    }
    return one.labels.get(Number(number)) ?? number;
  }

  /** Returns the set fields of a message by name, as they are shown. */
  decode(type, bytes) {
    const found = new Map();  // raw values by number of the field
    const reader = protobuf.Reader.create(bytes);
    while (reader.pos < reader.len) {
      const tag = reader.uint32(), field = type.fields.get(tag >>> 3);
      if (field === undefined) {
        reader.skipType(tag & 7);
        continue;
      }
      if (!found.has(field.number)) found.set(field.number, []);
      const values = found.get(field.number);
      if ((tag & 7) === 2 && ![STRING, GROUP, MESSAGE, BYTES].includes(field.type)) {  // packed
        for (const end = reader.uint32() + reader.pos; reader.pos < end;) values.push(READ[field.type](reader));
      } else {
        values.push(READ[field.type](reader));
      }
    }
    const plain = {};
    for (const number of [...found.keys()].sort((one, other) => one - other)) {
      const field = type.fields.get(number), values = found.get(number);
      if (field.label === REPEATED) {
        const message = field.type === MESSAGE ? this.types.get(field.type_name) : null;
        const shown = values.map((value) => this.shown(field, value));
        plain[field.name] = message?.isMap ? this.mapOf(message, shown) : shown;
        continue;
      }
      const value = field.type === MESSAGE ? Buffer.concat(values) : values.at(-1);
      const hasPresence = !type.implicit || field.type === MESSAGE || Object.hasOwn(field, "oneof_index");
      const isZero = typeof value === "bigint" ? value === 0n : value === false || value === "" || Object.is(value, 0);  // -0 is set
      if (hasPresence || !(isZero || value.length === 0)) plain[field.name] = this.shown(field, value);
    }
    return plain;
  }

  mapOf(message, entries) {
    const [key, value] = [message.fields.get(1), message.fields.get(2)];
    const unset = (field) => (field.type === STRING ? "" : field.type === MESSAGE ? {} : field.type === 8 ? false
      : field.type === ENUM ? this.label(this.types.get(field.type_name), 0) : field.type === BYTES ? "" : field.type < 3 ? 0 : 0n);
    const pairs = entries.map((entry) => [entry.key ?? unset(key), entry.value ?? unset(value)]);
    pairs.sort(([one], [other]) => (one < other ? -1 : 1));
    return Object.fromEntries(pairs.map(([one, shown]) => [String(one), shown]));
  }

  shown(field, value) {
    if (field.type === MESSAGE) return this.decode(this.types.get(field.type_name), value);
    if (field.type === ENUM) return this.label(this.types.get(field.type_name), value);
    return field.type === BYTES ? Buffer.from(value).toString("base64") : value;
  }
}

// Whole numbers are bigint, real ones are number.
const READ = {
  1: (reader) => reader.double(), 2: (reader) => reader.float(), 3: (reader) => big(reader.int64()),
  4: (reader) => big(reader.uint64()), 5: (reader) => BigInt(reader.int32()), 6: (reader) => big(reader.fixed64()),
  7: (reader) => BigInt(reader.fixed32()), 8: (reader) => reader.bool(), 9: (reader) => reader.string(),
  11: (reader) => reader.bytes(), 12: (reader) => reader.bytes(), 13: (reader) => BigInt(reader.uint32()),
  14: (reader) => BigInt(reader.int32()), 15: (reader) => BigInt(reader.sfixed32()), 16: (reader) => big(reader.sfixed64()),
  17: (reader) => BigInt(reader.sint32()), 18: (reader) => big(reader.sint64()),
};

// --- lines ("JSON lines") --------------------------------------------------------------------------------------------

function json(value) {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) return JSON.stringify(String(value));
  if (Object.is(value, -0)) return "-0.0";
  if (Number.isInteger(value)) return /e/.test(String(value)) ? String(value) : `${value}.0`;  // whole numbers are bigint
  if (Array.isArray(value)) return `[${value.map(json).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}:${json(one)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

function rfc3339(nanos) {
  const seconds = nanos / 1_000_000_000n, rest = nanos % 1_000_000_000n;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${rest.toString().padStart(9, "0")}Z`;
}

function line(schema, event) {
  const fullName = schema.names.get(event.type) ?? `type:${event.type}`;
  const type = schema.types.get(`.${fullName}`);
  let payload;
  try {
    payload = schema.decode(type, event.payload);
  } catch {
    payload = {payload: Buffer.from(event.payload).toString("base64")};
  }
  const context = schema.decode(schema.types.get(".esper_telemetry.v1.Context"), event.context);
  const data = {...payload, ...context, ...payload};
  return json({type: schema.shortName(fullName), seq: event.seq, time: rfc3339(event.time), data});
}

function main(path) {
  const schema = new Schema(), walk = frames(fs.readFileSync(path)), lines = [];
  let step = walk.next();
  for (; !step.done; step = walk.next()) {
    const {content, records} = step.value;
    if (records === 0) {
      ENVELOPE.lookupType("RecordFile").decode(content).header.forEach((header) => schema.add(header));
      continue;
    }
    const events = eventsOf(content);
    if (events.length !== records) throw new Error(`${events.length} events, the descriptor states ${records}`);
    events.forEach((event) => lines.push(line(schema, event)));
  }
  process.stdout.write(lines.map((one) => `${one}\n`).join(""));
  return step.value ? 0 : 3;
}

process.exitCode = main(process.argv[2]);
