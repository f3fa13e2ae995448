# ./dev fuzz: every parser that eats foreign bytes, fed by libFuzzer for a while each. The counters that
# guide it are LLVM's own, which the stable compiler can be told to put in.

FUZZ_FLAGS=(
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
  -Ccodegen-units=1
)

fuzz_all() {
  local seconds=${1:-60} failed=() name corpus found
  shift || true
  command -v c++ >/dev/null || die "libFuzzer needs a C++ compiler: apt-get install g++"
  say "building the fuzz targets"
  (cd "$ROOT/fuzz" && RUSTFLAGS="${FUZZ_FLAGS[*]}" CARGO_TARGET_DIR=$TARGET/fuzz \
    cargo build --release --bins --target "$(uname -m)-unknown-linux-gnu") || die "the fuzz targets do not build"
  # shellcheck disable=SC2046
  [ $# -gt 0 ] || set -- $(fuzz_targets)
  for name; do
    corpus=$CACHE/fuzz/$name
    mkdir -p "$corpus"
    fuzz_seeds "$name" "$corpus"
    say "fuzzing $name for $seconds s"
    found=$(mktemp -d)
    if "$TARGET/fuzz/$(uname -m)-unknown-linux-gnu/release/$name" -max_total_time="$seconds" -timeout=10 \
      -rss_limit_mb=1024 -max_len=16384 -artifact_prefix="$found/" -print_final_stats=1 "$corpus" \
      >"$found/log" 2>&1; then
      sed -n 's/^stat::number_of_executed_units: */executed: /p; s/^stat::average_exec_per_sec: */per second: /p' "$found/log" >&2
      rm -rf "$found"
    else
      loud "$name failed; the input and the report are in $found"
      tail -n 30 "$found/log" >&2
      failed+=("$name")
    fi
  done
  [ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
}

fuzz_targets() { sed -n 's/^name = "\(.*\)"/\1/p' "$ROOT/fuzz/Cargo.toml" | grep -v '^tug-fuzz$'; }

# Something well-formed to begin with.
fuzz_seeds() {
  local name=$1 corpus=$2 scratch
  case $name in
    reference) printf 'localhost:5000/team/app:v1@sha256:%064d' 0 >"$corpus/full"; printf busybox >"$corpus/short" ;;
    manifest) printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064d","size":7,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}' 0 >"$corpus/index" ;;
    config) printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%064d"]}}' 0 >"$corpus/config"; printf 'linux/arm/v7' >"$corpus/platform" ;;
    challenge) printf 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a:pull", Basic realm="x"' >"$corpus/both" ;;
    template) printf '{{range $i, $v := .M.L}}{{if eq $i 1}}{{$v | printf "%%q"}}{{else}}{{.}}{{end}}{{end}}{{index .M "B"}}' >"$corpus/range" ;;
    dockerfile) printf '# syntax=docker/dockerfile:1\nARG V=1\nFROM a:${V:-2} AS b\nRUN --mount=type=cache,target=/x <<E\nls\nE\nCOPY --from=b --chown=1:1 a* /b/\nCMD ["x"]\n' >"$corpus/stages" ;;
    ignore) printf '# logs\n*.log\n**/tmp/*\n!a/b/[c-d]?.txt\n/build/\n' >"$corpus/rules" ;;
    words) printf '"${a:-x}" ${b:+y} \047$a\047 ${a#b*} ${a%%%%/d} ${a/c/e} \\$a' >"$corpus/operators" ;;
    git)
      printf '[h.lan]:22,*.lan,!x.lan ssh-rsa AAAA\n|1|AAAA|AAAA ssh-rsa AAAA\n@revoked * ssh-rsa AAAA\n' >"$corpus/known"
      printf 'https://me@h.lan/a.git?ref=v1&subdir=d%%20e&checksum=ab&submodules=0#v1:d' >"$corpus/address"
      scratch=$(mktemp -d)
      (cd "$scratch" && export HOME=$scratch GIT_CONFIG_NOSYSTEM=1 && git init -q . && mkdir d && seq 1 2000 >d/long && ln -s d l \
        && git add . && git -c user.name=n -c user.email=e commit -qm one && seq 1 2001 >long && git add . \
        && git -c user.name=n -c user.email=e commit -qm two && git -c user.name=n -c user.email=e tag -am t v1 \
        && git pack-objects -q --all --stdout </dev/null | head -c -20 >pack && id=$(git rev-parse HEAD) \
        && { git upload-pack --advertise-refs .; printf '\377\377'; cat pack; } >"$corpus/zero" \
        && { printf '000eversion 2\n0012fetch=shallow\n0000\377'; printf '%04x%s HEAD symref-target:refs/heads/a\n0000' $((4 + 40 + 33)) "$id"; printf '\377'; cat pack; } >"$corpus/two")
      rm -rf "$scratch"
      ;;
    tar)
      scratch=$(mktemp -d)
      (cd "$scratch" && mkdir -p d/e && echo hi >d/f && ln -s /etc/passwd d/l && ln d/f d/h && mkfifo d/p && touch d/.wh.x d/.wh..wh..opq \
        && tar --format=pax -cf "$corpus/pax.tar" d && tar --format=gnu -czf "$corpus/gnu.tar.gz" d)
      rm -rf "$scratch"
      ;;
  esac
}
