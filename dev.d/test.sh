# ./dev test: every test of the workspace. The end-to-end ones (crates/tug-test) use the release binary.

test_all() {
  need_root test
  build_all
  make_images
  make_foreign
  run_tests "$@"
}

run_tests() {
  local status=0 skips before log
  skips=$(mktemp) log=$(mktemp)
  before=$(foreign_cgroups)
  say "running the tests"
  (
    cd "$ROOT" || exit 1
    export TUG_CACHE=$CACHE TUG_TEST_BINARY=$PRODUCT TUG_TEST_SKIPS=$skips CARGO_TARGET_DIR=$TARGET
    # A real Docker, where it runs: ./dev peers start.
    ! peers_alive "$PEERS/run" || export TUG_TEST_PEER_DOCKER=$PEERS/run/docker.sock
    unset RUSTFLAGS
    cargo nextest run --workspace --no-fail-fast "$@" 2>&1 | tee "$log"
    exit "${PIPESTATUS[0]}"
  ) || status=$?
  local leaked
  leaked=$(comm -13 <(echo "$before") <(foreign_cgroups))
  [ -z "$leaked" ] || { loud "cgroups left by the tests:"; echo "$leaked" >&2; status=1; }
  summary "$log" "$skips"
  rm -f "$skips" "$log"
  return $status
}

# cgroups of tug's containers, everybody's.
foreign_cgroups() { find /sys/fs/cgroup -mindepth 2 -maxdepth 3 -path '*/tug/*' -type d 2>/dev/null | sort; }

# A test that returned early because the machine lacks something has passed for the runner, not for us.
summary() {
  local ran passed failed skipped
  # Without a summary nothing was run: it did not compile.
  ran=$(sed 's/\x1b\[[0-9;]*m//g' "$1" | grep -Eo 'Summary .*' | tail -n 1) || return 0
  passed=$(grep -Eo '[0-9]+ passed' <<<"$ran" | head -n 1 | cut -d' ' -f1) || passed=0
  failed=$(grep -Eo '[0-9]+ (failed|timed out|exec failed)' <<<"$ran" | awk '{n += $1} END {print n + 0}') || failed=0
  skipped=$(sort -u "$2" | grep -c . || true)
  if [ "$skipped" -gt 0 ]; then
    loud "$skipped tests could not run here and did nothing:"
    sort -u "$2" >&2
  fi
  echo "$((${passed:-0} - skipped)) passed, ${failed:-0} failed, $skipped skipped"
}
