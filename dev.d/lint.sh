# ./dev lint: formatting, clippy, and the rules that no compiler checks.

lint_all() {
  cd "$ROOT"
  export CARGO_TARGET_DIR=$TARGET
  say "cargo fmt"
  cargo fmt --all --check || die "run cargo fmt"
  say "cargo clippy"
  cargo clippy --workspace --all-targets --quiet -- -D warnings || die "clippy"
  say "dependencies"
  small_crates
  say "sources"
  unsafe_in_one_place
  no_foreign_programs
  scripts
  licences
  big_files
  say "lint is clean"
}

# What runs as a monitor or as PID 1 must not be able to name these.
small_crates() {
  local crate heavy
  for crate in tug-monitor tug-runtime tug-net tug-sys; do
    heavy=$(cargo tree -p "$crate" -e normal --prefix none | awk '{print $1}' | sort -u \
      | grep -xE 'tokio|hyper|rustls|rusqlite|reqwest|oci-client' || true)
    [ -z "$heavy" ] || die "$crate depends on: $(echo $heavy)"
  done
}

unsafe_in_one_place() {
  local found
  found=$(grep -rnE 'unsafe (\{|fn|impl|extern)|(allow|expect)\(unsafe_code' crates --include=*.rs | grep -v '^crates/tug-sys/' || true)
  [ -z "$found" ] || die "unsafe code outside of tug-sys:
$found"
}

# No product path runs another program but tug itself, and credential helpers, whose protocol that is. Test code may; it is what follows #[cfg(test)] or stands in a
# file or folder of tests.
no_foreign_programs() {
  local file found
  found=$(find crates -path '*/src/*' -name '*.rs' ! -path 'crates/tug-test/*' ! -name 'tests.rs' ! -path '*/tests/*' -print0 \
    | xargs -0 awk 'FNR == 1 {test = 0} /#\[cfg\(test\)\]/ {test = 1} !test && !/^ *\/\// && /Command::new\(|libc::(system|popen)|posix_spawn/ {print FILENAME ":" FNR ": " $0}' \
    | grep -vE '^crates/tug-sys/src/launch.rs|^crates/tug-registry/src/credentials.rs|Command::new\(("/proc/self/exe"|&self.settings.exe)\)' || true)
  [ -z "$found" ] || die "a product path runs another program:
$found"
}

scripts() {
  local file
  for file in dev dev.d/*.sh .ci/run; do bash -n "$file" || die "$file does not parse"; done
  if command -v shellcheck >/dev/null; then
    shellcheck -s bash -S warning dev .ci/run dev.d/*.sh || die "shellcheck"
  else
    loud "skipped: shellcheck is not installed"
  fi
}

licences() {
  if [ -f deny.toml ] && cargo deny --version >/dev/null 2>&1; then
    cargo deny --log-level error check bans licenses sources || die "cargo deny"
  else
    loud "skipped: cargo deny (no deny.toml, or the program is not installed)"
  fi
}

big_files() {
  find crates -name '*.rs' -print0 | xargs -0 wc -l | awk '$2 != "total" && $1 > 500 {print "   " $1 " lines: " $2}' | sort -rn -k1 >&2
}
