# ./dev bench images: pulling, saving, loading, importing and exporting one image of five layers and
# 640 MB, beside what the plain tools of the machine take for the same bytes, in one run, as ratios.
#
# The floor of a pull: for each layer `curl | pigz -dc (zstd -dc) | tee >(openssl dgst) | tar -x`, as
# many layers at once as there are cores.

BENCH_ROUNDS=${BENCH_ROUNDS:-5}   # of tug and the floors; of Docker, which takes its time, BENCH_DOCKER_ROUNDS

# Made once: one layer of two Debian trees, three of one, one of half a one.
bench_image() {
  local made=$CACHE/bench recipe kind number
  recipe=$(cat "$ROOT/dev.d/bench_images.sh" "$CACHE/images/recipe" | sha256sum)
  BENCH_LAYOUT=$made/oci
  [ "$(cat "$made/recipe" 2>/dev/null)" = "$recipe" ] && return
  say "making the image of the benchmark"
  rm -rf "$made"
  mkdir -p "$made/trees"
  "$DEVTOOL" unpack "$LAYOUT" debian:latest "$made/debian"
  for number in 1 2 3 4 5; do
    mkdir -p "$made/trees/$number/opt"
    if [ "$number" = 5 ]; then
      cp -a "$made/debian/usr/share" "$made/trees/$number/opt/$number"
    else
      cp -a "$made/debian" "$made/trees/$number/opt/$number"
    fi
    [ "$number" != 1 ] || cp -a "$made/debian" "$made/trees/$number/opt/more"
    touch -d @1704067200 "$made/trees/$number/opt"
  done
  for kind in gzip zstd; do
    "$DEVTOOL" layers "$BENCH_LAYOUT" "bench:$kind" "$kind" "$made/trees"/[1-5] || die "no image for the benchmark"
  done
  rm -rf "$made/trees" "$made/debian"
  echo "$recipe" >"$made/recipe"
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# took COMMAND…: milliseconds into $TOOK.
took() {
  local start end
  bench_quiet
  sync -f "$bench_dir/fs"
  start=${EPOCHREALTIME/./}
  "$@" || die "failed: $*"
  end=${EPOCHREALTIME/./}
  TOOK=$(((end - start) / 1000))
}

median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

# bench_row NAME LIMIT TUG-TIMES FLOOR-TIMES [DOCKER-TIMES [TIMES-FASTER]]
bench_row() {
  local tug floor ratio
  # shellcheck disable=SC2086
  tug=$(median $3) floor=$(median $4)
  ratio=$(awk "BEGIN { printf \"%.2f\", $tug / ($floor > 0 ? $floor : 1) }")
  printf '%-28s tug %6d ms   floor %6d ms   ratio %5s   promised <= %s x   %s%s\n' "$1" "$tug" "$floor" "$ratio" "$2" \
    "$(awk "BEGIN { print ($ratio <= $2) ? \"kept\" : \"NOT KEPT\" }")" "$(bench_docker_column "$tug" "${5:-}" "${6:-}")"
}

# bench_docker_column TUG DOCKER-TIMES [TIMES-FASTER]
bench_docker_column() {
  local docker
  [ -n "${2:-}" ] || return 0
  # shellcheck disable=SC2086
  docker=$(median $2)
  awk "BEGIN { x = $docker / ($1 > 0 ? $1 : 1); printf \"   Docker %d ms: %.1f x\", $docker, x
    if (\"${3:-}\" != \"\") printf \", promised >= ${3:-0} x: %s\", (x >= ${3:-0}) ? \"kept\" : \"NOT KEPT\" }"
}

bench_most() { # NAME UNIT LIMIT VALUE [DOCKER-TIMES]
  printf '%-28s tug %6s %s   promised <= %s %s   %s%s\n' "$1" "$4" "$2" "$3" "$2" \
    "$(awk "BEGIN { print ($4 <= $3) ? \"kept\" : \"NOT KEPT\" }")" "$(bench_docker_column "$4" "${5:-}")"
}

bench_floor_layer() { # URL DECOMPRESSOR DIRECTORY
  mkdir -p "$3"
  curl -sS "$1" | $2 -dc | tee >(openssl dgst -sha256 >"$3.digest") | tar -x --numeric-owner -C "$3"
}

bench_floor_pull() { # ADDRESS KIND DIRECTORY
  local tool=pigz
  [ "$2" = zstd ] && tool=zstd
  export -f bench_floor_layer
  local number=0 digest
  for digest in $(bench_blobs "$2"); do
    number=$((number + 1))
    printf '%s\n' "bench_floor_layer http://$1/v2/library/bench/blobs/$digest $tool $3/$number"
  done | xargs -d '\n' -P "$(nproc)" -n 1 bash -euo pipefail -c 'eval "$0"'
}

bench_blobs() { # KIND: digests of the layers
  local manifest
  manifest=$(tr '{' '\n' <"$BENCH_LAYOUT/index.json" | grep -F "\"bench:$1\"" -B 1 -A 1 | grep -o 'sha256:[0-9a-f]*' | head -n 1)
  # The configuration comes first in the file's order of keys; layers are what follows "layers".
  sed 's/.*"layers":\[//' "$BENCH_LAYOUT/blobs/sha256/${manifest#sha256:}" | grep -o 'sha256:[0-9a-f]*'
}

bench_tug() { "$PRODUCT" --data-root "$bench_dir/fs/store" --exec-root "$bench_dir/exec" "$@" >/dev/null; }
# What a command left to be done after it must not disturb, or be disturbed.
bench_quiet() { while pgrep -f "^tug-sweep $bench_dir/fs/" >/dev/null; do sleep 0.02; done; }
bench_wipe() { bench_quiet; rm -rf "$bench_dir/fs/store" "$bench_dir/fs/floor"; mkdir -p "$bench_dir/fs/floor"; }

bench_images() {
  bench_image
  "$DEVTOOL" push "$BENCH_LAYOUT" "$1" bench:gzip bench:zstd >&2
  bench_pulls "$1"
  bench_archives "$1"
  bench_small "$1"
}

bench_pulls() {
  local kind tug floor docker round
  for kind in gzip zstd; do
    tug="" floor="" docker=""
    for ((round = 0; round < BENCH_ROUNDS; round++)); do
      bench_wipe
      took bench_floor_pull "$1" "$kind" "$bench_dir/fs/floor"; floor="$floor $TOOK"
      bench_wipe
      took bench_tug pull -q "$1/library/bench:$kind"; tug="$tug $TOOK"
      if bench_has_docker && [ "$round" -lt "$BENCH_DOCKER_ROUNDS" ]; then
        # Both: their layers hold the same, so that one would be there already with the other.
        bench_docker image prune -af
        took bench_docker pull -q "127.0.0.1:5000/library/bench:$kind"; docker="$docker $TOOK"
      fi
    done
    bench_row "pull, $kind" 0.9 "$tug" "$floor" "$docker" 3
    bench_wipe
    bench_most "memory of a pull, $kind" MB 150 "$("$DEVTOOL" peak "$PRODUCT" --data-root "$bench_dir/fs/store" --exec-root "$bench_dir/exec" pull -q "$1/library/bench:$kind")"
  done
}

bench_archives() {
  local fs=$bench_dir/fs tug floor_create="" floor_extract="" save="" load="" import="" export="" round docker
  bench_wipe
  bench_tug pull -q "$1/library/bench:gzip"
  bench_tug tag "$1/library/bench:gzip" bench
  bench_tug create --name bench bench true
  bench_tug export -o "$fs/flat.tar" bench
  rm -rf "$fs/flat" && mkdir "$fs/flat" && tar -x --numeric-owner -C "$fs/flat" -f "$fs/flat.tar"
  bench_tug save -o "$fs/saved.tar" bench
  for ((round = 0; round < BENCH_ROUNDS; round++)); do
    rm -rf "$fs/out.tar"; took tar -c --numeric-owner -C "$fs/flat" -f "$fs/out.tar" .; floor_create="$floor_create $TOOK"
    rm -rf "$fs/out.tar"; took bench_tug save -o "$fs/out.tar" bench; save="$save $TOOK"
    rm -rf "$fs/out.tar"; took bench_tug export -o "$fs/out.tar" bench; export="$export $TOOK"
    rm -rf "$fs/out.tar" "$fs/floor"; mkdir "$fs/floor"
    took tar -x --numeric-owner -C "$fs/floor" -f "$fs/flat.tar"; floor_extract="$floor_extract $TOOK"
    rm -rf "$fs/floor" "$fs/other"
    took "$PRODUCT" --data-root "$fs/other" --exec-root "$bench_dir/exec2" load -q -i "$fs/saved.tar" >/dev/null; load="$load $TOOK"
    bench_quiet; rm -rf "$fs/other"
    took "$PRODUCT" --data-root "$fs/other" --exec-root "$bench_dir/exec2" import "$fs/flat.tar" flat >/dev/null; import="$import $TOOK"
    bench_quiet; rm -rf "$fs/other"
  done
  docker=(_ _ _ _)
  ! bench_has_docker || bench_docker_archives
  bench_row "save" 1.5 "$save" "$floor_create" "${docker[0]#_}"
  bench_row "export" 1.5 "$export" "$floor_create" "${docker[1]#_}"
  bench_row "load" 1.5 "$load" "$floor_extract" "${docker[2]#_}"
  bench_row "import" 1.5 "$import" "$floor_extract" "${docker[3]#_}"
  rm -rf "$fs"/{flat,flat.tar,saved.tar,out.tar}
}

# The same by Docker, into ${docker[@]}.
bench_docker_archives() {
  local round
  bench_docker pull -q 127.0.0.1:5000/library/bench:gzip
  bench_docker tag 127.0.0.1:5000/library/bench:gzip bench
  bench_docker create --name bench bench true
  for ((round = 0; round < BENCH_DOCKER_ROUNDS; round++)); do
    rm -f "$fs/out.tar"; took bench_docker save -o "$fs/out.tar" bench; docker[0]+=" $TOOK"
    rm -f "$fs/out.tar"; took bench_docker export -o "$fs/out.tar" bench; docker[1]+=" $TOOK"
    rm -f "$fs/out.tar"
  done
  bench_docker rm bench
  for ((round = 0; round < BENCH_DOCKER_ROUNDS; round++)); do
    bench_docker image prune -af
    took bench_docker load -q -i "$fs/saved.tar"; docker[2]+=" $TOOK"
    bench_docker image prune -af
    took bench_docker import "$fs/flat.tar" flat; docker[3]+=" $TOOK"
  done
  bench_docker load -q -i "$fs/saved.tar"
}

bench_small() {
  local tag="" commit="" docker_tag="" docker_commit="" round before free start
  "$DEVTOOL" push "$LAYOUT" "$1" busybox:latest >/dev/null
  bench_tug pull -q "$1/library/busybox:latest"
  bench_tug run --name small "$1/library/busybox:latest" sh -c 'echo hello >/etc/hello; mkdir /srv; echo x >/srv/x'
  for ((round = 0; round < 20; round++)); do
    took bench_tug tag bench "bench:$round"; tag="$tag $TOOK"
    took bench_tug commit small "small:$round"; commit="$commit $TOOK"
  done
  if bench_has_docker; then
    bench_docker pull -q busybox
    bench_docker run --name small busybox sh -c 'echo hello >/etc/hello; mkdir /srv; echo x >/srv/x'
    for ((round = 0; round < 20; round++)); do
      took bench_docker tag bench "bench:$round"; docker_tag="$docker_tag $TOOK"
      took bench_docker commit small "small:$round"; docker_commit="$docker_commit $TOOK"
    done
  fi
  # shellcheck disable=SC2086
  bench_most tag ms 6 "$(median $tag)" "$docker_tag"
  # shellcheck disable=SC2086
  bench_most "commit of a small change" ms 15 "$(median $commit)" "$docker_commit"
  bench_tug rm -f small bench
  sync -f "$bench_dir/fs"
  before=$(stat -f -c %f "$bench_dir/fs")
  took bench_tug rmi -f "$(bench_id "$1/library/bench:gzip")"
  start=$(now_ms)
  bench_most "rmi of 640 MB" ms 200 "$TOOK"
  while free=$(stat -f -c %f "$bench_dir/fs"); [ $(((free - before) * 4096 / 1000000)) -lt 550 ] && [ $(($(now_ms) - start)) -lt 20000 ]; do sleep 0.02; done
  bench_most "space back after it" ms 1000 "$(($(now_ms) - start))"
}

bench_id() { "$PRODUCT" --data-root "$bench_dir/fs/store" --exec-root "$bench_dir/exec" image inspect -f '{{.Id}}' "$1"; }
