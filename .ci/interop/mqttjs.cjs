// MQTT.js against one address: node mqttjs.cjs URL CA_FILE USER PASSWORD. Ends with 0 when every
// message came back, in both versions and at every QoS, sessions went on, and 5.0's properties held.
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const mqtt = require("mqtt");

const [url, caFile, username, password] = process.argv.slice(2);
const LARGE = Buffer.alloc(300_000, 7);
const base = { username, password, ca: readFileSync(caFile), reconnectPeriod: 0 };

/** A connected client with `next()`: what comes, one packet after the other. */
async function connect(options) {
  const client = mqtt.connect(url, { ...base, ...options });
  const packets = [];
  let wake = () => {};
  client.on("message", (_topic, _payload, packet) => {
    packets.push(packet);
    wake();
  });
  client.next = async () => {
    while (packets.length === 0) await new Promise((resolve) => (wake = resolve));
    return packets.shift();
  };
  client.isQuiet = async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    return packets.length === 0;
  };
  client.isResumed = await new Promise((resolve, reject) => {
    client.once("connect", (connack) => resolve(connack.sessionPresent));
    client.once("error", reject);
  });
  return client;
}

const brief = ({ qos, payload, retain }) => [qos, payload.toString(), retain];

async function exchanges(protocolVersion, topic) {
  const will = { topic: `${topic}/will`, payload: Buffer.from("gone"), qos: 1, retain: false };
  const maker = await connect({ protocolVersion, will });
  const client = await connect({ protocolVersion });
  await client.subscribeAsync(`${topic}/#`, { qos: 2 });
  for (const [n, payload] of [Buffer.from("0"), Buffer.from("1"), Buffer.from("2"), LARGE].entries()) {
    const qos = Math.min(n, 2);
    await maker.publishAsync(`${topic}/a`, payload, { qos, retain: qos === 1 });
    const packet = await client.next();
    assert.deepStrictEqual([packet.qos, packet.payload, packet.retain], [qos, payload, false]);
  }
  const late = await connect({ protocolVersion });
  await late.subscribeAsync(`${topic}/a`, { qos: 2 });
  assert.deepStrictEqual(brief(await late.next()), [1, "1", true]);
  maker.stream.destroy();
  assert.deepStrictEqual(brief(await client.next()), [1, "gone", false]);
  await Promise.all([client.endAsync(), late.endAsync(), maker.endAsync(true)]);

  await assert.rejects(connect({ protocolVersion, password: "wrong" }), (error) => {
    return error.code === (protocolVersion === 5 ? 0x86 : 4);
  });
}

async function session(protocolVersion, topic) {
  const properties = protocolVersion === 5 ? { sessionExpiryInterval: 300 } : undefined;
  const options = { protocolVersion, clientId: `keeper-${topic}`, clean: false, properties, resubscribe: false };
  const keeper = await connect(options);
  assert.strictEqual(keeper.isResumed, false);
  await keeper.subscribeAsync(topic, { qos: 2 });
  await keeper.endAsync();
  const maker = await connect({ protocolVersion });
  for (const qos of [1, 2, 1, 2]) await maker.publishAsync(topic, `waits ${qos}`, { qos });
  const again = await connect(options);
  assert.strictEqual(again.isResumed, true);
  const came = [];
  for (let n = 0; n < 4; n++) came.push(brief(await again.next()));
  // A QoS 2 message is shown when it has been released: between the two there is no order to see.
  came.sort(([one], [other]) => one - other);
  assert.deepStrictEqual(came, [1, 1, 2, 2].map((qos) => [qos, `waits ${qos}`, false]));
  assert(await again.isQuiet());
  await Promise.all([again.endAsync(), maker.endAsync()]);
}

async function version5(topic) {
  const one = await connect({ protocolVersion: 5, autoAssignTopicAlias: true,
    properties: { topicAliasMaximum: 4, receiveMaximum: 1 } });
  await one.subscribeAsync(`${topic}/a`, { qos: 2, properties: { subscriptionIdentifier: 7 } });
  const properties = {
    userProperties: { a: "1", b: ["2", "3"] }, responseTopic: `${topic}/b`, contentType: "text/plain",
    correlationData: Buffer.from([0, 255]), messageExpiryInterval: 60, payloadFormatIndicator: true,
  };
  // From the second on, topics are aliases on both ways.
  for (let n = 0; n < 3; n++) await one.publishAsync(`${topic}/a`, "all", { qos: 2, properties: { ...properties } });
  for (let n = 0; n < 3; n++) {
    const packet = await one.next();
    assert.strictEqual(packet.topic, n === 0 ? `${topic}/a` : "");
    const { userProperties, messageExpiryInterval, subscriptionIdentifier, topicAlias, ...rest } = packet.properties;
    const { userProperties: sent, messageExpiryInterval: _expiry, ...others } = properties;
    assert.deepStrictEqual({ ...userProperties }, sent);
    assert.deepStrictEqual({ ...rest }, others);
    assert(messageExpiryInterval > 0 && messageExpiryInterval <= 60 && topicAlias === 1);
    assert.strictEqual(subscriptionIdentifier, 7);
  }

  const members = [await connect({ protocolVersion: 5 }), await connect({ protocolVersion: 5 })];
  for (const member of members) await member.subscribeAsync(`$share/team/${topic}/jobs`, { qos: 1 });
  for (let n = 0; n < 6; n++) await one.publishAsync(`${topic}/jobs`, `${n}`, { qos: 1 });
  const jobs = [];
  for (const member of members) for (let n = 0; n < 3; n++) jobs.push((await member.next()).payload.toString());
  assert.deepStrictEqual(jobs.sort(), ["0", "1", "2", "3", "4", "5"]);
  for (const client of [one, ...members]) {
    assert(await client.isQuiet());
    await client.endAsync();
  }
}

async function main() {
  const name = `mqttjs/${new URL(url).protocol.replace(":", "")}`;
  for (const version of [4, 5]) {
    await exchanges(version, `${name}/${version}`);
    await session(version, `${name}/session/${version}`);
  }
  await version5(`${name}/five`);
}

setTimeout(() => {
  console.error("it took too long");
  process.exit(2);
}, 20_000).unref();
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
