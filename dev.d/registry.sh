# Debian's docker-registry on loopback, its storage in .cache/registry.
#
# `./dev registry start` leaves one running until `./dev registry stop`. Whatever else needs a registry
# runs one of its own for as long as it needs it (with_registry), on the same storage.

REGISTRY_DIR=$CACHE/registry

# registry_launch DIR: starts one, writes DIR/pid and DIR/address.
registry_launch() {
  local dir=$1 program=$TOOLS/usr/bin/docker-registry tries
  [ -x "$program" ] || program=$(command -v docker-registry) || die "no docker-registry: ./dev install"
  mkdir -p "$dir" "$REGISTRY_DIR/storage"
  # Port 0: the kernel chooses a free one, the log tells which.
  cat >"$dir/config.yml" <<EOF
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $REGISTRY_DIR/storage}
  delete: {enabled: true}
http: {addr: 127.0.0.1:0}
EOF
  OTEL_TRACES_EXPORTER=none setsid "$program" serve "$dir/config.yml" </dev/null >"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  for ((tries = 0; tries < 200; tries++)); do
    if grep -so "listening on 127\.0\.0\.1:[0-9]*" "$dir/log" | grep -o '127.*' >"$dir/address"; then return; fi
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.05
  done
  cat "$dir/log" >&2
  die "the registry did not start"
}

# Still the process we started, and not another that got its number?
registry_alive() { [ -s "$1/pid" ] && grep -qzF "$1/config.yml" "/proc/$(cat "$1/pid")/cmdline" 2>/dev/null; }

registry_end() {
  registry_alive "$1" && kill "$(cat "$1/pid")"
  rm -f "$1/pid" "$1/address"
}

# with_registry COMMAND…: runs COMMAND… ADDRESS beside a registry that ends with it.
with_registry() {
  local dir status=0
  dir=$(mktemp -d)
  # What the caller has to do at the end comes after: a shell has one trap.
  # shellcheck disable=SC2064
  trap "registry_end '$dir'; rm -rf '$dir'; ${at_exit:-:}" EXIT
  registry_launch "$dir"
  "$@" "$(cat "$dir/address")" || status=$?
  registry_end "$dir"
  rm -rf "$dir"
  # shellcheck disable=SC2064
  trap "${at_exit:--}" EXIT
  return $status
}

registry_command() {
  case ${1:-} in
    start)
      if ! registry_alive "$REGISTRY_DIR"; then
        make_images
        registry_launch "$REGISTRY_DIR"
        push_images "$(cat "$REGISTRY_DIR/address")"
      fi
      echo "registry at $(cat "$REGISTRY_DIR/address"); use it: export TUG_MIRROR=http://$(cat "$REGISTRY_DIR/address")"
      ;;
    stop) registry_end "$REGISTRY_DIR" ;;
    *) die "usage: ./dev registry start|stop" ;;
  esac
}
