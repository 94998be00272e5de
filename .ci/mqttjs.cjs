// MQTT.js against one address: node mqttjs.cjs URL CA_FILE USER PASSWORD. Ends with 0 when every
// message came back, in both versions and at every QoS.
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const mqtt = require("mqtt");

const [url, caFile, username, password] = process.argv.slice(2);
const LARGE = Buffer.alloc(300_000, 7);

async function check(protocolVersion) {
  const options = { protocolVersion, username, password, ca: readFileSync(caFile), reconnectPeriod: 0 };
  const client = await mqtt.connectAsync(url, options);
  const topic = `mqttjs/${protocolVersion}`;
  const payloads = [Buffer.from("0"), Buffer.from("1"), Buffer.from("2"), LARGE];
  const heard = new Promise((resolve) => {
    const messages = [];
    client.on("message", (_topic, payload, packet) => {
      messages.push([packet.qos, payload]);
      if (messages.length === payloads.length) resolve(messages);
    });
  });
  await client.subscribeAsync(topic, { qos: 2 });
  for (const [qos, payload] of [...payloads.entries()]) {
    await client.publishAsync(topic, payload, { qos: Math.min(qos, 2) });
  }
  const expected = payloads.map((payload, qos) => [Math.min(qos, 2), payload]);
  assert.deepStrictEqual(await heard, expected);
  await client.endAsync();

  const wrong = mqtt.connectAsync(url, { ...options, password: "wrong" });
  await assert.rejects(wrong, (error) => error.code === (protocolVersion === 5 ? 0x86 : 4));
}

async function main() {
  for (const version of [4, 5]) await check(version);
}

setTimeout(() => process.exit(2), 20_000).unref();
main().catch((error) => {
  console.error(error);
  process.exit(1);
});
