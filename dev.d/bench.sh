# ./dev bench: tug beside the kernel's own cost (floor.c), in one run, as ratios. Other engines where
# they are installed and answer.

bench_all() {
  need_root bench
  build_all
  make_images
  local floor_source=$ROOT/../shared/bench/floor.c
  [ -f "$floor_source" ] || {
    loud "skipped: no floor.c at $floor_source, nothing to compare with"
    return
  }
  bench_dir=$(mktemp -d /tmp/tug-bench.XXXXXX)
  trap bench_end EXIT
  # A fresh file system: a store's cost must not depend on what the root file system went through.
  truncate -s 16G "$bench_dir/disk"
  mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$bench_dir/disk"
  mkdir "$bench_dir/fs"
  mount -o loop "$bench_dir/disk" "$bench_dir/fs"
  bench_peer
  say "on $(nproc) cores, Linux $(uname -r), stores on a fresh ext4, load $(cut -d' ' -f1-3 /proc/loadavg)"
  case $* in
    images) at_exit=bench_end with_registry bench_images ;;
    build) at_exit=bench_end with_registry bench_build ;;
    *)
      cc -O2 -o "$bench_dir/floor" "$floor_source"
      mkdir "$bench_dir/fs/rootfs"
      "$DEVTOOL" unpack "$LAYOUT" busybox:latest "$bench_dir/fs/rootfs"
      # Every engine loads what Docker can load.
      bench_tug load -q -i "$CACHE/images/busybox.tar"
      bench_tug save -o "$bench_dir/fs/busybox.tar" busybox
      TUG_DATA_ROOT=$bench_dir/fs/data TUG_EXEC_ROOT=$bench_dir/exec PATH=$bench_dir/peer:$PATH \
        "$DEVTOOL" bench "$PRODUCT" "$bench_dir/floor" "$bench_dir/fs" "$bench_dir/fs/busybox.tar" "$@"
      ;;
  esac
  bench_end
}

# A Docker of our own, where its tree is made, with its data on the same file system. Another one that answers
# here is not asked: its disk is another.
bench_peer() {
  if ! peers_there; then
    loud "no column for Docker: ./dev peers makes one"
    return
  fi
  peers_start "$bench_dir/peer" "$bench_dir/fs/docker"
  peers_client "$bench_dir/peer"
}
bench_has_docker() { [ -S "$bench_dir/peer/docker.sock" ]; }
bench_docker() { "$bench_dir/peer/docker" "$@" >/dev/null 2>&1; }

bench_end() {
  trap - EXIT
  [ ! -d "$bench_dir/peer" ] || peers_stop "$bench_dir/peer"
  local store
  for store in data store other; do
    [ ! -d "$bench_dir/fs/$store" ] \
      || TUG_DATA_ROOT=$bench_dir/fs/$store TUG_EXEC_ROOT=$bench_dir/exec "$PRODUCT" system reset -f >/dev/null || true
  done
  # What commands left to be done after them works there still.
  timeout 60 bash -c "$(declare -p bench_dir); $(declare -f bench_quiet); bench_quiet" || true
  umount "$bench_dir/fs" || umount -l "$bench_dir/fs" || true
  rm -rf "$bench_dir"
}
