#!/usr/bin/env bash
# The trial with the tiers in containers: built, started, held to the same targets and the same answers, removed again.
# INFERENCE_TRIAL_SHORT=1 for the short form. The containers have names and ports of their own beside `docker compose up`.
set -euo pipefail
cd "$(dirname "$0")/.."
docker compose version >/dev/null 2>&1 || { echo "error: Docker with Compose is needed; see https://docs.docker.com/get-started/get-docker/" >&2; exit 2; }

profile=cpu
if docker info --format '{{json .Runtimes}}' | grep -q '"nvidia"'; then profile=gpu; fi
export COMPOSE_PROJECT_NAME=inference-tiers-trial COMPOSE_PROFILES=$profile,jobs
# Jobs are the worker's alone, so that a test sees it compute. Of .env nothing counts that would change what is judged.
export INFERENCE_JOBS_WORKERS=0 INFERENCE_JOBS_CONNECTION='' INFERENCE_API_KEYS='' INFERENCE_DEADLINE_MS='' INFERENCE_QUEUE_MAX=''
export INFERENCE_FUNCTION_PORT=${INFERENCE_FUNCTION_PORT:-8110}
export INFERENCE_CONTAINER_PORT=${INFERENCE_CONTAINER_PORT:-8111}
export INFERENCE_GPU_PORT=${INFERENCE_GPU_PORT:-8112}
function=http://127.0.0.1:$INFERENCE_FUNCTION_PORT
container=http://127.0.0.1:$INFERENCE_CONTAINER_PORT
gpu=http://127.0.0.1:$INFERENCE_GPU_PORT

finish() {
  status=$?
  trap - EXIT
  if [ "$status" -ne 0 ]; then
    echo "== what the containers said last"
    docker compose logs --no-color --tail 20 | sed 's/\x1b\[2K//' || true
  fi
  docker compose --progress quiet down --volumes --remove-orphans --timeout 30 || true
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

echo "== building"
docker compose build --quiet
echo "== starting, profile $profile"
docker compose --progress quiet up --detach --wait --wait-timeout 180
docker compose ps --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'

failed=0
echo "== the same answers"
INFERENCE_TEST_TIERS=function=$function,container=$container,gpu=$gpu .venv/bin/python -m pytest -q tests/contract tests/compose || failed=1

echo "== the same targets"
.venv/bin/tiers trial --running "function=$function" --running "container=$container" --running "gpu=$gpu" || failed=1
exit "$failed"
