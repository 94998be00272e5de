#!/bin/sh
# What the devices of the four source systems send, word for word.
# HOST, MQTT_PORT, HTTP and API_KEY can be set; the defaults are Brooklet's.
set -eu
HOST=${HOST:-127.0.0.1}
MQTT_PORT=${MQTT_PORT:-1883}
HTTP=${HTTP:-http://127.0.0.1:8080}
API_KEY=${API_KEY:-your_secret_api_key_here}
publish() { mosquitto_pub -h "$HOST" -p "$MQTT_PORT" -q 1 "$@"; }

echo "AIOT service: rich and flat data, status, heartbeat"
publish -t "devices/test-device-uuid/data" -m '{
    "sensors": [
      {"sensor_name": "temperature", "value": 25.5, "unit": "°C"},
      {"sensor_name": "humidity", "value": 60, "unit": "%"}
    ],
    "status": {
      "ip_address": "192.168.1.100",
      "rssi": -50
    },
    "timestamp": "2025-12-19T14:30:00+08:00"
  }'
publish -t "devices/test-device-uuid/data" -m '{"temperature": 25.5, "humidity": 60, "light": 850}'
publish -t "devices/test-device-uuid/status" -m '{"status": "online", "battery": 95, "signal": "good"}'
publish -t "devices/test-device-uuid/heartbeat" -m '{"timestamp": "2025-12-19T14:30:00+08:00"}'

echo "Sleep blanket: data, status"
publish -t "sleep_blanket/device001/data" -m '{"temperature": 36.5, "heart_rate": 62}'
publish -t "sleep_blanket/device001/status" -m '{"status": "online"}'

echo "OEI-MS: a sensor behind a gateway, the gateway's status"
publish -t "sensors/1/7/data" -m '{"value": 21.5, "quality": "good"}'
publish -t "gateways/1/status" -m '{"status": "online"}'

echo "One plain number a topic"
publish -t "telemetry/tank/level" -m '17.25'

echo "ESP32 cabinet monitor, over HTTP"
curl -sS -X POST "$HTTP/api/telemetry" -H "X-API-Key: $API_KEY" -H 'Content-Type: application/json' -d '{
  "deviceId": "1234567890ABCDEF",
  "fwVersion": "1.4.0",
  "ip": "192.168.1.100",
  "uptimeSec": 3600,
  "tempC": 25.5
}'
echo

echo "AIOT service, over HTTP"
curl -sS -X POST "$HTTP/api/devices/data/upload" -H "X-API-Key: $API_KEY" \
  -H 'X-Device-ID: test-device-http' -H 'Content-Type: application/json' \
  -d '{"sensors": [{"sensor_name": "temperature", "value": 25.5, "unit": "°C"}]}'
echo
