#!/bin/sh
# Run a command with the secrets of the container as variables: /run/secrets/openai_api_key becomes OPENAI_API_KEY. They
# are in no image, no configuration and no command line.
set -eu
for file in "${SECRETS:-/run/secrets}"/*; do
  [ -f "$file" ] || continue
  name=$(basename "$file" | tr '[:lower:]' '[:upper:]')
  value=$(cat "$file")
  export "$name=$value"
done
exec "$@"
