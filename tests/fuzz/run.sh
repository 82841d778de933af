#!/usr/bin/env bash
# Builds the fuzz targets, runs each for so many seconds (10 if none are given), and fails on any finding:
#
#   tests/fuzz/run.sh [SECONDS [TARGET ...]]
#
# With `build` in the place of SECONDS it runs none.
#
# BELAMY_FUZZ_SEED, a number, draws the same inputs again as far as that goes: then what is found is the last change's.
# BELAMY_FUZZ_RUNS ends each after so many executions instead. An input that takes 5 seconds is a finding; on a machine
# where others come first, BELAMY_FUZZ_TIMEOUT gives it more. Needs Rust, git and a C++ compiler, on Linux. What is found lies
# in artifacts/TARGET afterwards, what was learnt in corpus/TARGET: the next run begins with it.
set -euo pipefail
cd "$(dirname "$0")"
export seconds="${1:-10}"
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=($(basename -s .rs fuzz_targets/*.rs))

# What `cargo fuzz build` sets: sanitizers are not stable yet, and a stable compiler has to be told to take them. All
# crates have the sanitizer.
export RUSTC_BOOTSTRAP=1
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Zsanitizer=address --cfg fuzzing"
# Only what reads is watched for new paths.
export RUSTC_WRAPPER="$PWD/cover.sh"
# Without optimised kernels, which take a minute to build, weights takes 1.07 and checkpoint 1.15 of the time: they are worth
# it where much is run.
kernels=()
if [ -n "${BELAMY_FUZZ_RUNS:-}" ] || { [ "$seconds" != build ] && [ "$seconds" -ge 600 ]; }; then
  kernels=(--config profile.release.package.belamy-cpu.opt-level=1)
fi
began=$SECONDS
# libFuzzer with libfuzzer.patch, which says why.
manifest="$(cargo metadata --format-version 1 --locked --filter-platform "$host" |
  grep -o '"manifest_path":"[^"]*/libfuzzer-sys-[^"]*"' | cut -d'"' -f4)"
sources="$(dirname "$manifest")/libfuzzer"
mkdir -p "${CARGO_TARGET_DIR:-target}"
library="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/libfuzzer-patched"
if ! [ "$library/libfuzzer.a" -nt libfuzzer.patch ] || ! [ "$library/libfuzzer.a" -nt Cargo.lock ]; then
  patched=$(mktemp -d)
  cp "$sources"/*.{cpp,h,def} "$patched"
  # As outside of any repository: within one, git takes the paths of a patch from its top.
  GIT_CEILING_DIRECTORIES=$(dirname "$patched") git -C "$patched" apply "$PWD/libfuzzer.patch"
  printf '%s\n' "$patched"/*.cpp | xargs -P "$(nproc)" -I '{}' \
    "${CXX:-c++}" -O3 -g -fPIC -fno-omit-frame-pointer -std=c++17 -w -c '{}' -o '{}.o'
  mkdir -p "$library"
  rm -f "$library/libfuzzer.a"
  ar crs "$library/libfuzzer.a" "$patched"/*.o
  rm -rf "$patched"
fi
export CUSTOM_LIBFUZZER_PATH="$library/libfuzzer.a"
cargo build --quiet --release "${kernels[@]}" --target "$host" $(printf -- '--bin %s ' "${targets[@]}")
echo "built in $((SECONDS - began)) s"
[ "$seconds" != build ] || exit 0
export programs="${CARGO_TARGET_DIR:-target}/$host/release"

# Readers of paths are given files in memory; libFuzzer ends without removing them.
memory=/dev/shm
[ -d "$memory" ] && [ -w "$memory" ] || memory="${TMPDIR:-/tmp}"
BELAMY_FUZZ_FOLDER=$(mktemp -d "$memory/belamy-fuzz.XXXXXX")
export BELAMY_FUZZ_FOLDER
trap 'rm -rf "$BELAMY_FUZZ_FOLDER"' EXIT

# A panic is printed by libFuzzer with its stack; that of the panic itself would read whole files of symbols into memory.
export RUST_BACKTRACE=0
# Freed memory is watched until up to 256 KiB more have been freed, so that what is allocated lies in L2 (with 1 MiB .7 of
# the executions of checkpoint, .5 and .9 of weights, no fewer of showers); leaks are looked for by the limit on all memory.
# Who allocated what is not written down, memory is not filled, and places on the stack are not watched after their
# function has ended: each of these takes longer than most readers do, and Rust has no use for the last.
export ASAN_OPTIONS="detect_odr_violation=0:detect_leaks=0:quarantine_size_mb=0:\
thread_local_quarantine_size_kb=256:malloc_context_size=0:\
max_malloc_fill_size=0:detect_stack_use_after_return=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

one() {
  local target=$1 log="$BELAMY_FUZZ_FOLDER/$1.log" seeds="$BELAMY_FUZZ_FOLDER/$1.seeds"
  # The largest single piece of memory in MiB: what 4,096 bytes of that kind of file can rightly hold, and the doubling
  # of a growing vector. PNG packs whole images of the largest size that is read into a file as small; a packed byte of
  # HDF5 becomes a number of eight.
  local piece=4
  case $target in
    idx | archive | jpeg) piece=16 ;;
    showers) piece=64 ;;
    png) piece=128 ;;
  esac
  # The longest input: short ones are quicker, and descriptions say much in few bytes.
  local longest=4096
  case $target in
    cifar) longest=64 ;;
    state) longest=512 ;;
    idx | png | jpeg | showers | weights | checkpoint | plan) longest=1024 ;;
  esac
  # Inputs are taken from the corpus evenly, and are not replaced by smaller ones that reach the same: what libFuzzer
  # does for either after every execution takes a quarter of the time of short readers. (weights and checkpoint, 15
  # seconds each from one corpus: 1.40 and 1.30 times as many executions, and 3.7 and 1.4 % more features in all.)
  local even="-entropic=0 -reduce_inputs=0"
  # By the clock, or by the number of executions.
  local end=-max_total_time=$seconds
  [ -z "${BELAMY_FUZZ_RUNS:-}" ] || end=-runs=$BELAMY_FUZZ_RUNS
  mkdir -p "corpus/$target" "artifacts/$target"
  BELAMY_FUZZ_SEEDS=$seeds "$programs/$target" >"$log" 2>&1 </dev/null || { cat "$log"; return 1; }
  local status=0
  "$programs/$target" "corpus/$target" "$seeds" "$end" $even -max_len=$longest -timeout="${BELAMY_FUZZ_TIMEOUT:-5}" \
    -seed="${BELAMY_FUZZ_SEED:-0}" -rss_limit_mb=512 -malloc_limit_mb=$piece -dict="dictionaries/$target.dict" -artifact_prefix="artifacts/$target/" \
    -print_final_stats=1 >"$log" 2>&1 </dev/null || status=$?
  if [ $status -ne 0 ]; then
    grep -v '^#' "$log" | tail -n 60
    printf '%-12s FOUND something: see artifacts/%s\n' "$target" "$target"
    return 1
  fi
  stat() { sed -n "s/^stat::$1: *//p" "$log"; }
  printf '%-12s %11s executions, %6s a second, %s, at most %s MiB\n' "$target" "$(stat number_of_executed_units)" \
    "$(stat average_exec_per_sec)" "$(grep -o 'cov: .* corp: [0-9]*' "$log" | tail -n 1)" "$(stat peak_rss_mb)"
}
export -f one

printf '%s\n' "${targets[@]}" | xargs -P "${BELAMY_FUZZ_JOBS:-$(nproc)}" -I '{}' bash -c 'one {}' || {
  echo "fuzzing found something" >&2
  exit 1
}
