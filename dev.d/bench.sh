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
  if [ "$*" = images ]; then
    say "on $(nproc) cores, Linux $(uname -r), stores on a fresh ext4"
    with_registry bench_images
    TUG_DATA_ROOT=$bench_dir/fs/store bench_end
    return
  fi
  cc -O2 -o "$bench_dir/floor" "$floor_source"
  mkdir "$bench_dir/fs/rootfs"
  "$DEVTOOL" unpack "$LAYOUT" busybox:latest "$bench_dir/fs/rootfs"
  say "on $(nproc) cores, Linux $(uname -r), stores on a fresh ext4"
  TUG_DATA_ROOT=$bench_dir/fs/data TUG_EXEC_ROOT=$bench_dir/exec \
    "$DEVTOOL" bench "$PRODUCT" "$bench_dir/floor" "$bench_dir/fs" "$CACHE/images/busybox.tar" "$@"
  bench_end
  trap - EXIT
}

bench_end() {
  TUG_DATA_ROOT=$bench_dir/fs/data TUG_EXEC_ROOT=$bench_dir/exec "$PRODUCT" system reset -f >/dev/null || true
  umount "$bench_dir/fs" || umount -l "$bench_dir/fs" || true
  rm -rf "$bench_dir"
}
