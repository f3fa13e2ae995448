# ./dev peers: a real Docker to compare with, without installing anything on this host.
#
#   ./dev peers                makes the tree .cache/peers/sid: Debian sid with docker.io, buildx and friends
#   ./dev peers start          dockerd in it; prints what to export
#   ./dev peers stop           ends it; nothing is left but its data
#   ./dev peers exec CMD…      runs CMD in dockerd's namespaces
#   ./dev peers docker ARGS…   the tree's client (with buildx) on the host, speaking to it
#   ./dev peers transcripts    asks it the commands of crates/tug-test/transcripts and writes its answers there
#   ./dev peers record         what Docker makes and says, for tests to read where it is not
#   ./dev peers wipe           removes dockerd's data
#   ./dev peers corpus [TOPIC…]  writes down what it makes of the corpus (crates/tug-test/corpus)
#
# dockerd lives in mount, pid, network, ipc and uts namespaces of its own, with the tree as root, read-only. To
# the outside it has: one veth link (10.213.N.0/30) and one nftables table that masquerades it, one cgroup
# in each hierarchy, the directory with its socket, the directory with its data. A registry on the storage
# of `./dev registry` listens on 127.0.0.1:5000 in its network and stands in for docker.io.

PEERS=$CACHE/peers
PEERS_TREE=$PEERS/sid
PEERS_SUITE=sid
PEERS_PACKAGES=(docker.io docker-cli docker-buildx runc containerd docker-registry skopeo umoci
  iptables iproute2 ca-certificates git xz-utils systemd-standalone-sysusers systemd-standalone-tmpfiles)

peers_command() {
  local verb=${1:-install}
  shift || true
  case $verb in
    install) peers_install ;;
    start) peers_install && peers_start "$PEERS/run" "$PEERS/data" && peers_say "$PEERS/run" ;;
    stop) peers_stop "$PEERS/run" ;;
    exec) peers_exec "$PEERS/run" "$@" ;;
    docker) peers_docker "$PEERS/run" "$@" ;;
    transcripts) build_all && peers_transcripts "$PEERS/run" ;;
    record) peers_install && peers_record ;;
    wipe) peers_alive "$PEERS/run" && die "it runs: ./dev peers stop"; rm -rf "$PEERS/data" ;;
    corpus) peers_corpus "$@" ;;
    *) die "usage: ./dev peers [install|start|stop|exec CMD…|docker ARGS…|transcripts|record|corpus [TOPIC…]|wipe]" ;;
  esac
}

# Into crates/tug-test/corpus/docker: what the corpus test compares with.
peers_corpus() {
  peers_install
  build_devtool
  peers_start "$PEERS/run" "$PEERS/data"
  "$DEVTOOL" corpus "$PEERS/run/docker" "$@"
}

# --- the tree --------------------------------------------------------------------------------------

peers_there() { [ "$(cat "$PEERS/recipe" 2>/dev/null)" = "${PEERS_PACKAGES[*]}" ]; }

peers_install() {
  need_root peers
  peers_there && return
  command -v debootstrap >/dev/null || install_all
  say "making $PEERS_TREE: Debian $PEERS_SUITE with Docker (log: $PEERS/log)"
  rm -rf "$PEERS_TREE" "$PEERS/recipe"
  mkdir -p "$PEERS"
  unshare --mount --propagation private bash -euo pipefail -c "
    $(declare -p PEERS PEERS_TREE PEERS_SUITE PEERS_PACKAGES DEBIAN_MIRROR)
    $(declare -f peers_tree slim)
    peers_tree" || die "no tree for the peers (log: $PEERS/log)"
  echo "${PEERS_PACKAGES[*]}" >"$PEERS/recipe"
}

peers_tree() {
  local tree=$PEERS_TREE
  exec >"$PEERS/log" 2>&1
  debootstrap --variant=minbase "$PEERS_SUITE" "$tree" "$DEBIAN_MIRROR"
  printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d" && chmod +x "$tree/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  mount -t proc proc "$tree/proc"
  mount --rbind /dev "$tree/dev"
  export DEBIAN_FRONTEND=noninteractive LC_ALL=C
  # A mirror that lags, or a clock that is ahead, is no reason to go without.
  chroot "$tree" apt-get update -qq -o Acquire::Check-Valid-Until=false
  chroot "$tree" apt-get install -qq -y --no-install-recommends "${PEERS_PACKAGES[@]}"
  umount "$tree/proc"
  umount -R "$tree/dev"
  slim "$tree"
  # A read-only root: every place to mount on must be there.
  mkdir -p "$tree/peer/run" "$tree/peer/data" "$tree/peer/storage" "$tree/peer/layout" "$tree/old"
  rm -rf "$tree/usr/share/doc" "$tree/usr/share/man" "$tree/usr/share/locale"
  : >"$tree/etc/resolv.conf"
  cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
}

# --- start and stop --------------------------------------------------------------------------------

# The process whose namespaces are dockerd's, while it is the one that was started.
peers_alive() { [ -s "$1/pid" ] && grep -qzxF "tug-peer=$1" "/proc/$(cat "$1/pid")/cmdline" 2>/dev/null; }

# peers_start RUN DATA [OPTION…]: dockerd with its socket at RUN/docker.sock and its data root at DATA.
peers_start() {
  local run=$1 data=$2 pid tries gate
  shift 2
  need_root peers
  peers_alive "$run" && return
  [ ${#run} -lt 90 ] || die "$run is too long a path for a socket"
  [ -d "$run" ] && peers_clean "$run"
  mkdir -p "$run" "$data" "$REGISTRY_DIR/storage"
  mkfifo "$run/gate"
  { declare -p REGISTRY_DIR PEERS_TREE LAYOUT; declare -f peers_inside peers_cgroups; echo 'peers_inside "$@"'; } >"$run/inside"
  # unshare itself enters the new network; its child is PID 1 of the rest and takes the pivoted root.
  # What the shell has open (a lock, a terminal) must not stay open as long as dockerd runs.
  setsid unshare --mount --propagation private --net --ipc --uts --pid --fork --kill-child \
    bash -euo pipefail "$run/inside" "tug-peer=$run" "$run" "$data" "$@" </dev/null >"$run/log" 2>&1 3>&- 4>&- 9>&- &
  pid=$!
  disown "$pid"
  echo "$pid" >"$run/pid"
  peers_network "$run" "$pid" || { peers_stop "$run"; die "no network for a peer"; }
  # Opened for reading too: should the other side have died, this does not wait for it.
  exec {gate}<>"$run/gate" && cat "$run/number" >&"$gate"
  for ((tries = 0; tries < 600; tries++)); do
    if [ -S "$run/docker.sock" ] && curl -fsS -o /dev/null --unix-socket "$run/docker.sock" http://d/_ping 2>/dev/null; then
      exec {gate}>&-
      peers_images "$run"
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  exec {gate}>&-
  tail -n 30 "$run/log" >&2
  peers_stop "$run"
  die "dockerd did not start"
}

# The base images, where they are made, into the registry in its network: busybox there is busybox here.
peers_images() {
  local number=0 name digest curl
  [ -s "$LAYOUT/index.json" ] || { loud "no base images yet (./dev images): the peer's docker.io is as empty as the registry"; return; }
  while read -r name digest; do
    curl=(nsenter --net="/proc/$(cat "$1/pid")/ns/net" curl -fsSI -H 'Accept: application/vnd.oci.image.manifest.v1+json')
    [[ "$("${curl[@]}" "http://127.0.0.1:5000/v2/library/${name/://manifests/}" 2>/dev/null)" == *"$digest"* ]] \
      || peers_exec "$1" skopeo copy -q --preserve-digests --dest-tls-verify=false "oci:/peer/layout:@$number" "docker://127.0.0.1:5000/library/$name" >&2
    number=$((number + 1))
  done < <(jq -r '.manifests[] | "\(.annotations["io.containerd.image.name"]) \(.digest)"' "$LAYOUT/index.json")
}

# peers_network RUN PID: the link, and a table of its own that masquerades its subnet. The first number whose
# link is not there becomes that of the subnet, the link, the table and the cgroup.
peers_network() {
  local number link subnet out mtu tries
  for ((tries = 0; tries < 200; tries++)); do
    [ "$(readlink "/proc/$2/ns/net")" != "$(readlink /proc/self/ns/net)" ] && break
    sleep 0.02
  done
  out=$(ip -o route show default | grep -o 'dev [^ ]*' | head -n 1 | cut -d' ' -f2)
  mtu=$(cat "/sys/class/net/${out:-lo}/mtu")
  [ "$mtu" -le 1500 ] || mtu=1500
  for ((number = 1; ; number++)); do
    [ "$number" -lt 64 ] || return 1
    link=tugpeer$number subnet=10.213.$number
    ip link add "$link" mtu "$mtu" type veth peer name eth0 mtu "$mtu" netns "$2" 2>/dev/null && break
  done
  echo "$number" >"$1/number"
  ip address add "$subnet.1/30" dev "$link" && ip link set "$link" up && nft -f - <<NFT
table ip tug_peer_$number {
  chain after { type nat hook postrouting priority srcnat; ip saddr $subnet.0/30 oifname != "$link" masquerade; }
}
NFT
}

# Inside, before dockerd: PID 1 of the new pid namespace, in the new mount namespace.
peers_inside() {
  local run=$2 data=$3 number tree=$PEERS_TREE
  shift 3
  read -r number <"$run/gate"
  ip link set lo up
  ip address add "10.213.$number.2/30" dev eth0
  ip link set eth0 up
  ip route add default via "10.213.$number.1"
  echo 1 >/proc/sys/net/ipv4/ip_forward
  hostname "peer$number"
  mount --bind "$tree" "$tree"
  cd "$tree" || exit 1
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  peers_cgroups sys/fs/cgroup
  mount --rbind /dev dev
  mount --bind "$run" peer/run
  mount --bind "$data" peer/data
  mount --bind "$REGISTRY_DIR/storage" peer/storage
  [ ! -d "$LAYOUT" ] || mount --bind "$LAYOUT" peer/layout
  local place
  for place in run tmp root var/lib/docker-registry; do mkdir -p "$place" && mount -t tmpfs -o mode=1777 "$place" "$place"; done
  cp /etc/resolv.conf run/resolv.conf && mount --bind run/resolv.conf etc/resolv.conf
  mount -o remount,bind,ro .
  pivot_root . old
  cd /
  umount -l /old
  cat >/run/registry.yml <<'YAML'
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: /peer/storage}
  delete: {enabled: true}
http: {addr: 127.0.0.1:5000}
YAML
  export OTEL_TRACES_EXPORTER=none HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
  docker-registry serve /run/registry.yml >/peer/run/registry.log 2>&1 &
  exec tini-static -s -- dockerd --host unix:///peer/run/docker.sock --data-root /peer/data --exec-root /run/docker \
    --pidfile /run/docker.pid --storage-driver overlay2 --cgroup-parent "/tug-peer-$number" --mtu "$(cat /sys/class/net/eth0/mtu)" \
    --registry-mirror http://127.0.0.1:5000 --insecure-registry 127.0.0.1:5000 "$@"
}

# The hierarchies this kernel has mounted, mounted again: the host's directory of them stays as it is.
peers_cgroups() {
  local name options
  mount -t tmpfs -o mode=755 cgroup "$1"
  while read -r name options; do
    mkdir "$1/$name"
    mount -t cgroup -o "$options" cgroup "$1/$name"
  done < <(awk '$3 == "cgroup" { n = split($2, p, "/"); o = $4; gsub(/(^|,)(rw|ro|nosuid|nodev|noexec|relatime)/, "", o); sub(/^,/, "", o); print p[n], o }' /proc/self/mounts | sort -u)
  if grep -qE '^[^ ]+ /sys/fs/cgroup cgroup2 ' /proc/self/mounts; then umount "$1"; mount -t cgroup2 cgroup2 "$1"; fi
}

# PID 1 of the namespace, as the host numbers it.
peers_first() { local pid; pid=$(cat "$1/pid"); tr -d ' ' <"/proc/$pid/task/$pid/children"; }

peers_stop() {
  local run=$1 pid tries
  if peers_alive "$run"; then
    pid=$(cat "$run/pid")
    # dockerd is asked, through PID 1 of its namespace, which hands the signal on; unshare ends with it.
    kill -TERM "$(peers_first "$run")" 2>/dev/null || true
    for ((tries = 0; tries < 300; tries++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    # --kill-child: what is left in the pid namespace dies with unshare.
    kill -KILL "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
  fi
  [ ! -d "$run" ] || peers_clean "$run"
}

# What outlives the processes.
peers_clean() {
  local run=$1 number
  number=$(cat "$run/number" 2>/dev/null) || number=""
  if [ -n "$number" ]; then
    ip link delete "tugpeer$number" 2>/dev/null || true
    nft delete table ip "tug_peer_$number" 2>/dev/null || true
    find /sys/fs/cgroup -depth -type d -path "*/tug-peer-$number*" -exec rmdir {} + 2>/dev/null || true
    find /sys/fs/cgroup -maxdepth 2 -type d -name "tug-peer-$number" | grep . >&2 && loud "cgroups left"
  fi
  rm -rf "$run"
}

peers_exec() {
  local run=$1
  shift
  peers_alive "$run" || die "it does not run: ./dev peers start"
  nsenter --target "$(peers_first "$run")" --mount --net --ipc --uts --pid --root --wd "$@"
}

# The tree's client, run on the host: the host's own may lack buildx.
peers_docker() {
  local run=$1
  shift
  peers_client "$run" && "$run/docker" "$@"
}
peers_client() {
  mkdir -p "$1/config"
  echo "{\"cliPluginsExtraDirs\": [\"$PEERS_TREE/usr/libexec/docker/cli-plugins\"]}" >"$1/config/config.json"
  cat >"$1/docker" <<CLIENT
#!/bin/sh
export DOCKER_HOST=unix://$1/docker.sock DOCKER_CONFIG=$1/config
exec $PEERS_TREE/usr/bin/docker "\$@"
CLIENT
  chmod +x "$1/docker"
}
peers_say() {
  peers_client "$1"
  echo "export DOCKER_HOST=unix://$1/docker.sock"
  echo "client with buildx: $1/docker"
}

# What tug's answers are compared with; the tests need no Docker then.
peers_transcripts() {
  local transcript
  peers_client "$1"
  for transcript in "$ROOT"/crates/tug-test/transcripts/*.txt; do
    say "recording $(basename "$transcript")"
    "$ROOT/target/tug-dev" record "$1/docker" "$transcript" || die "cannot record $transcript"
  done
}
