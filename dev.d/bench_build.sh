# ./dev bench build: builds beside what their work costs at least (cp, sha256sum, cp -a) and, where the
# peers' tree is made, beside Docker with BuildKit, in one run, in turns.

BENCH_DOCKER_ROUNDS=${BENCH_DOCKER_ROUNDS:-3}

bench_build() { # ADDRESS
  "$DEVTOOL" push "$LAYOUT" "$1" busybox:latest >&2
  bench_tug pull -q "$1/library/busybox:latest"
  bench_tug tag "$1/library/busybox:latest" busybox
  ! bench_has_docker || bench_docker pull -q busybox
  mkdir "$bench_dir/fs/projects"
  bench_build_small
  bench_build_steps
  bench_build_fan
  bench_build_context
  bench_build_copy
}

# project NAME: a directory for a context; its Dockerfile from standard input.
project() { mkdir -p "$bench_dir/fs/projects/$1" && cat >"$bench_dir/fs/projects/$1/Dockerfile"; }

# builds NAME [OPTION…]: the times of tug into $TUG_TIMES and of Docker into $DOCKER_TIMES, in turns, each after
# `before tug|docker NAME`.
builds() {
  local round name=$1
  shift
  TUG_TIMES="" DOCKER_TIMES=""
  for ((round = 0; round < BENCH_ROUNDS; round++)); do
    before "$name" bench_tug
    took bench_tug build -q "$@" -t "$name" "$bench_dir/fs/projects/$name"; TUG_TIMES="$TUG_TIMES $TOOK"
    if bench_has_docker && [ "$round" -lt "$BENCH_DOCKER_ROUNDS" ]; then
      before "$name" bench_docker
      took bench_docker build -q "$@" -t "$name" "$bench_dir/fs/projects/$name"; DOCKER_TIMES="$DOCKER_TIMES $TOOK"
    fi
  done
}
before() { :; }

# built NAME LIMIT-MS: a row of the last builds against a number.
built() {
  # shellcheck disable=SC2086
  bench_most "$1" ms "$2" "$(median $TUG_TIMES)" "$DOCKER_TIMES"
}

bench_build_small() {
  project small <<'DOCKERFILE'
FROM busybox AS deps
WORKDIR /deps
COPY package.list .
RUN sort package.list >installed

FROM busybox AS build
WORKDIR /src
COPY --from=deps /deps/installed .
COPY src src
RUN cat src/* installed >app && chmod +x app

FROM busybox
ENV MODE=production
COPY --from=build /src/app /usr/bin/app
EXPOSE 8080
CMD ["app"]
DOCKERFILE
  local dir=$bench_dir/fs/projects/small number
  mkdir "$dir/src"
  for number in 1 2 3 4 5 6 7 8; do echo "line $number" >"$dir/src/$number.txt"; done
  printf '%s\n' b a c >"$dir/package.list"
  before() { "$2" builder prune -af; }
  builds small
  built "multi-stage, from nothing" 120
  before() { :; }
  builds small
  built "the same, all cached" 25
}

bench_build_steps() {
  local ten twenty
  { echo "FROM busybox"; bench_repeat 10 "RUN true"; } | project ten
  { echo "FROM busybox"; bench_repeat 20 "RUN true"; } | project twenty
  builds ten --no-cache
  built "10 x RUN true" 200
  # shellcheck disable=SC2086
  ten=$(median $TUG_TIMES)
  builds twenty --no-cache
  # shellcheck disable=SC2086
  twenty=$(median $TUG_TIMES)
  bench_most "one RUN true more" ms 20 "$(((twenty - ten) / 10))"
}

bench_repeat() { local n; for ((n = 0; n < $1; n++)); do echo "$2"; done; }

# stages NAME COUNT COMMAND: that many stages that need nothing of each other, and one that needs all.
stages() {
  local n
  {
    for ((n = 0; n < $2; n++)); do printf 'FROM busybox AS s%d\nRUN %s && echo %d >/done\n' "$n" "$3" "$n"; done
    echo "FROM scratch"
    for ((n = 0; n < $2; n++)); do echo "COPY --from=s$n /done /$n"; done
  } | project "$1"
}

bench_build_fan() {
  local wide row work="dd if=/dev/zero bs=1M count=80 2>/dev/null | sha256sum"
  stages sleepers 12 "sleep 0.5"
  builds sleepers --no-cache
  built "12 stages of sleep 0.5" 800
  stages wide 12 "$work"
  { echo "FROM busybox"; bench_repeat 12 "RUN $work"; } | project row
  builds row --no-cache
  row=$TUG_TIMES
  builds wide --no-cache
  # shellcheck disable=SC2086
  wide=$(median $TUG_TIMES) row=$(median $row)
  awk "BEGIN { printf \"%-28s tug %6d ms   in a row %6d ms   gain %5.2f   promised >= 1.7 x   %s%s\n\", \
    \"12 busy stages\", $wide, $row, $row / $wide, ($row / $wide >= 1.7) ? \"kept\" : \"NOT KEPT\", \"$(bench_docker_column "$wide" "$DOCKER_TIMES")\" }"
}

bench_build_context() {
  project files <<'DOCKERFILE'
FROM busybox
COPY kept /kept
COPY tree /tree
DOCKERFILE
  local dir=$bench_dir/fs/projects/files round floor=""
  echo kept >"$dir/kept"
  perl -e 'open(my $r, "<", "/dev/urandom"); for my $d (0..199) { mkdir "$ARGV[0]/$d"; for my $f (0..99) {
    read($r, my $bytes, 10_000); open(my $o, ">", "$ARGV[0]/$d/$f") or die; print $o $bytes; } }' "$(mkdir "$dir/tree" && echo "$dir/tree")"
  sync -f "$bench_dir/fs"
  sleep 3
  bench_tug build -q -t files "$dir"
  ! bench_has_docker || bench_docker build -q -t files "$dir"
  builds files
  built "20,000 files, unchanged" 120
  before() { echo "$EPOCHREALTIME" >>"$bench_dir/fs/projects/files/tree/100/50"; }
  builds files
  before() { :; }
  for ((round = 0; round < BENCH_ROUNDS; round++)); do
    rm -rf "$bench_dir/fs/copy"
    took cp -a "$dir/tree" "$bench_dir/fs/copy"; floor="$floor $TOOK"
  done
  rm -rf "$bench_dir/fs/copy"
  bench_row "the same, one changed" 1.5 "$TUG_TIMES" "$floor" "$DOCKER_TIMES"
}

bench_build_copy() {
  printf 'FROM scratch\nCOPY big /big\n' | project big
  local dir=$bench_dir/fs/projects/big round floor=""
  head -c 200000000 /dev/urandom >"$dir/big"
  builds big --no-cache
  for ((round = 0; round < BENCH_ROUNDS; round++)); do
    rm -f "$bench_dir/fs/copy"
    took bench_copy_floor "$dir/big" "$bench_dir/fs/copy"; floor="$floor $TOOK"
  done
  rm -f "$bench_dir/fs/copy"
  bench_row "COPY of 200 MB" 1.5 "$TUG_TIMES" "$floor" "$DOCKER_TIMES"
}
bench_copy_floor() { cp "$1" "$2" && sha256sum "$1" >/dev/null; }
