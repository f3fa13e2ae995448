# ./dev peers record: what a real Docker makes and says, into crates/tug-test/tests/data/docker-28, where the
# tests read it (README.md there says what is what).

peers_record() {
  local data=$ROOT/crates/tug-test/tests/data/docker-28 work part status=0
  work=$(mktemp -d /tmp/tug-record.XXXXXX)
  # A daemon of its own: what it lists must be these images and nothing else. And another one to speak: the
  # layers of a build are measured otherwise than loaded ones.
  for part in record_images record_words; do
    peers_start "$work/run" "$work/$part"
    peers_client "$work/run"
    # In a bash of its own: `set -e` does not hold in what is asked for its status.
    bash -euo pipefail -c "$(declare -f "$part"); $part \"\$@\"" bash "$data" "$work/run/docker" || status=$?
    peers_stop "$work/run"
    [ "$status" = 0 ] || break
  done
  rm -rf "$work"
  [ "$status" = 0 ] || die "recording failed"
  say "recorded: $(du -sh "$data" | cut -f1) in ${data#"$ROOT"/}"
}

# record_images DATA CLIENT: the archives.
record_images() {
  local data=$1 docker=$2 name
  export SOURCE_DATE_EPOCH=1704067200
  "$docker" build -q -t plain:1 -t plain:latest -t example.com:5000/team/other:2 --target plain -f "$data/Dockerfile" "$data/context" >&2
  "$docker" build -q -t layered --target layered -f "$data/Dockerfile" "$data/context" >&2
  "$docker" save plain layered example.com:5000/team/other:2 | gzip -9n >"$data/several.tar.gz"
  "$docker" create --name changed layered true >&2
  "$docker" cp "$data/context/dir" changed:/a/ >&2
  "$docker" commit -a "Some Body <some@body>" -m "a change" -c 'CMD ["sh", "-c", "true"]' -c 'LABEL x=1' changed committed:1 >&2
  "$docker" save committed:1 | gzip -9n >"$data/committed.tar.gz"
  "$docker" export changed | "$docker" import -c 'ENV A=B' -c 'WORKDIR /a' -m "from a file" - imported:1 >&2
  "$docker" save imported:1 | gzip -9n >"$data/imported.tar.gz"
  "$docker" rm changed >&2
  for name in plain:1 layered committed:1 imported:1; do
    "$docker" create --name tree "$name" true >&2
    "$docker" export tree | gzip -9n >"$data/${name%:*}.tree.tar.gz"
    "$docker" rm tree >&2
  done
}

# record_words DATA CLIENT: what is said of the archives' images once they are loaded.
record_words() {
  local data=$1 docker=$2 name
  for name in several committed imported; do "$docker" load -i "$data/$name.tar.gz"; done >"$data/load.txt"
  for name in plain:1 layered committed:1 imported:1; do
    "$docker" image inspect "$name" >"$data/${name%:*}.inspect.json"
    "$docker" image history --no-trunc --format json "$name" >"$data/${name%:*}.history.json"
    "$docker" image history --human=false --format 'table {{.ID}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}' "$name" >"$data/${name%:*}.history.txt"
  done
  # With a container and a volume, so that every section has a line.
  "$docker" create --name held -v kept:/kept plain:1 >&2
  "$docker" image ls --no-trunc --format json >"$data/ls.json"
  "$docker" image ls >"$data/ls.txt"
  "$docker" image ls --digests --no-trunc >"$data/ls-digests.txt"
  "$docker" system df --format json >"$data/df.json"
  "$docker" system df -v --format json >"$data/df-v.json"
  "$docker" system df >"$data/df.txt"
  "$docker" system df -v >"$data/df-v.txt"
  "$docker" tag plain:1 tagged:1
  "$docker" image inspect tagged:1 >"$data/tagged.inspect.json"
  "$docker" rm -v held >&2
}
