// The small competitor: aedes as the broker, better-sqlite3 as the store, in one Node process.
//
//   node aedes.mjs PORT FILE commit   a commit a message, durable (FULL), before it is acknowledged
//   node aedes.mjs PORT FILE flush    acknowledged at once; a commit each 50 ms, NORMAL
import { createRequire } from "node:module";
import net from "node:net";
import path from "node:path";

const modules = createRequire(path.join(process.env.BROOKLET_NODE_MODULES, "x.js"));
const { Aedes } = modules("aedes");
const Database = modules("better-sqlite3");

const [port, file, mode] = process.argv.slice(2);
const database = new Database(file);
database.pragma("journal_mode = WAL");
database.pragma(`synchronous = ${mode === "commit" ? "FULL" : "NORMAL"}`);
database.exec(`CREATE TABLE IF NOT EXISTS reading
  (id INTEGER PRIMARY KEY, device TEXT NOT NULL, sensor TEXT NOT NULL, time INTEGER NOT NULL, value REAL);
  CREATE INDEX IF NOT EXISTS reading_time ON reading (device, sensor, time)`);
const insert = database.prepare("INSERT INTO reading (device, sensor, time, value) VALUES (?, ?, ?, ?)");
const store = database.transaction((messages) => {
  for (const { topic, payload, time } of messages) {
    const device = topic.split("/")[1];
    for (const [sensor, value] of Object.entries(JSON.parse(payload))) {
      if (typeof value === "number") insert.run(device, sensor, time, value);
    }
  }
});

const broker = await Aedes.createBroker({ concurrency: 1000 });
let waiting = [];
broker.authorizePublish = (_client, packet, done) => {
  const message = { topic: packet.topic, payload: packet.payload.toString(), time: Date.now() };
  try {
    if (mode === "commit") store([message]);
    else waiting.push(message);
    done(null);
  } catch (error) {
    done(error);
  }
};
if (mode !== "commit") {
  setInterval(() => {
    const messages = waiting;
    waiting = [];
    if (messages.length > 0) store(messages);
  }, 50);
}
net.createServer(broker.handle).listen(Number(port), "127.0.0.1");
