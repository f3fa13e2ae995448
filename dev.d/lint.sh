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
  foreign_crates
  say "sources"
  unsafe_in_one_place
  no_foreign_programs
  scripts
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

# No product path runs another program but tug itself, credential helpers, whose protocol that is, what the
# user types into a toolbox inside of a container, and the empty program that asks the kernel for an emulator.
# Test code may; it is what follows #[cfg(test)] or stands in a file or folder of tests.
no_foreign_programs() {
  local file found
  found=$(find crates -path '*/src/*' -name '*.rs' ! -path 'crates/tug-test/*' ! -name 'tests.rs' ! -path '*/tests/*' -print0 \
    | xargs -0 awk 'FNR == 1 {test = 0} /#\[cfg\(test\)\]/ {test = 1} !test && !/^ *\/\// && /Command::new\(|libc::(system|popen)|posix_spawn/ {print FILENAME ":" FNR ": " $0}' \
    | grep -vE '^crates/tug-sys/src/launch.rs|^crates/tug-registry/src/credentials.rs|^crates/tug/src/toolbox.rs|^crates/tug-build/src/emulator.rs|Command::new\(("/proc/self/exe"|&self.settings.exe)\)' || true)
  [ -z "$found" ] || die "a product path runs another program:
$found"
}

# 2034 and 2154: the parts of ./dev share their variables. 2164: set -e ends it.
scripts() {
  command -v shellcheck >/dev/null || die "shellcheck is not installed: ./dev install"
  shellcheck -s bash -S warning -e SC2034,SC2154,SC2164 dev .ci/run dev.d/*.sh || die "shellcheck"
}

# Crates come from crates.io alone, under licences a static binary may be given away with, and in one
# version each, but for those named.
foreign_crates() {
  cargo metadata --format-version 1 --locked | python3 -c '
import json, re, sys
allowed = set("""bzip2-1.0.6 MIT MIT-0 Apache-2.0 BSD-2-Clause BSD-3-Clause ISC Zlib Unlicense CC0-1.0 Unicode-3.0
                 CDLA-Permissive-2.0 BSL-1.0 0BSD""".split())
def permits(text):
    text = re.sub(r"WITH [\w-]+", "", text).replace("/", " OR ")
    words = re.findall(r"[\w.+-]+|[()]", text)
    said = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    return eval(" ".join(said.get(word) or str(word in allowed) for word in words))
wrong = []
for crate in json.load(sys.stdin)["packages"]:
    name = crate["name"] + " " + crate["version"]
    if not crate["source"]:
        continue
    if crate["source"] != "registry+https://github.com/rust-lang/crates.io-index":
        wrong.append(name + " comes from " + crate["source"])
    if not permits(crate["license"] or "none"):
        wrong.append(name + " has the licence " + str(crate["license"]))
if wrong: sys.exit("\n".join(wrong))' || die "crates that may not be used"
  # base64: docker_credential has not moved on. syn: macros are, and are in no binary.
  local twice
  twice=$(cargo tree --workspace -e normal -d --depth 0 --prefix none | awk 'NF {print $1}' | sort -u | grep -vxE 'base64|syn' || true)
  [ -z "$twice" ] || die "crates in two versions: $(echo $twice)"
}

big_files() {
  find crates -name '*.rs' -print0 | xargs -0 wc -l | awk '$2 != "total" && $1 > 500 {print "   " $1 " lines: " $2}' | sort -rn -k1 >&2
}
