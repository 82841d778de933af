#!/usr/bin/env bash
# What `run.sh` has cargo call in the compiler's place: adds counters to the crates that read. libFuzzer looks at all
# counters after every execution, and what kernels and layers do is of no interest to it.
#
# Cargo does not look into this file: after a change, begin with an empty target folder.
case " $* " in
  # A build script or a macro runs while building and is not linked with the fuzzer.
  *" -Zsanitizer=address "*) ;;
  *) exec "$@" ;;
esac
counters=(-Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-simplifycfg-branch-fold-threshold=0)
for flag in level=3 inline-8bit-counters pc-table; do
  counters+=("-Cllvm-args=-sanitizer-coverage-$flag")
done
# libFuzzer tries what numbers were compared with. It is told where formats are looked into, not where every byte or
# pixel is compared: telling takes longer than reading.
compares=-Cllvm-args=-sanitizer-coverage-trace-compares
case "$CARGO_PKG_NAME" in
  # Kernels read no files: without the sanitizer they are built in .7 of the time. What they allocate is watched
  # nevertheless, and whoever reads it.
  belamy-cpu)
    plain=()
    for argument in "$@"; do
      [ "$argument" = -Zsanitizer=address ] || plain+=("$argument")
    done
    exec "${plain[@]}"
    ;;
  # Large: in parts, so that all processors build it. A crate in parts is put together again by passes that would add
  # counters twice; without them it is a little slower.
  belamy-gan) exec "$@" "${counters[@]}" -Ccodegen-units=16 -Clto=off ;;
  hdf5-pure) exec "$@" "${counters[@]}" $compares -Ccodegen-units=16 -Clto=off ;;
  png) exec "$@" "${counters[@]}" $compares ;;
  belamy-fuzz | belamy-nn | fdeflate | flate2 | miniz_oxide | safetensors | serde_json | serde_spanned | toml | \
    toml_datetime | toml_parser | winnow | zune-core | zune-jpeg) exec "$@" "${counters[@]}" ;;
  *) exec "$@" ;;
esac
