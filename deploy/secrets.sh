#!/bin/sh
# Makes what compose.yaml needs and no repository may hold: an authority, Kafka's certificate by it, and a password.
#   deploy/secrets.sh [FOLDER]     (default: deploy/secrets, which git ignores; SIDESTREAM_SECRETS names another to compose)
# What is there stays as it is: remove the folder, and have everything restarted, to make new ones. Needs openssl.
# Only you can enter FOLDER; what lies in it is readable, for the containers run as users of their own.
set -eu
folder=${1:-$(dirname "$0")/secrets}
[ ! -d "$folder/kafka" ] || { echo "kept: $folder (remove it to make new ones)"; exit 0; }
making=$(mktemp -d) && trap 'rm -rf "$making"' EXIT
mkdir -p "$making/kafka" "$making/sidestream"
new_key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $new_key -days 3650 -subj "/CN=sidestream compose" -keyout "$making/ca.key" \
    -out "$making/sidestream/ca.pem" 2>/dev/null
openssl req $new_key -subj "/CN=kafka" -keyout "$making/kafka.key" -out "$making/kafka.csr" 2>/dev/null
echo "subjectAltName=DNS:kafka,DNS:localhost,IP:127.0.0.1" > "$making/names"
openssl x509 -req -in "$making/kafka.csr" -CA "$making/sidestream/ca.pem" -CAkey "$making/ca.key" -set_serial 1 \
    -days 825 -extfile "$making/names" -out "$making/kafka.crt" 2>/dev/null
cat "$making/kafka.key" "$making/kafka.crt" > "$making/kafka/kafka.pem"
password=$(openssl rand -hex 24)
printf %s "$password" > "$making/sidestream/kafka-password"
for listener in inside outside; do
    echo "listener.name.$listener.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required" \
        "user_sidestream=\"$password\";" >> "$making/kafka/server.properties"
done
mkdir -p "$folder"
chmod 700 "$folder"
chmod 755 "$making/kafka" "$making/sidestream"
chmod 644 "$making"/kafka/* "$making"/sidestream/*
mv "$making/sidestream" "$making/kafka" "$folder"
echo "made: $folder"
