# ./dev demo: the main job, visibly. Stops at the first step that fails.

demo_all() {
  need_root demo
  build_all
  make_images
  with_registry demo_steps
}

# demo_steps ADDRESS
demo_steps() {
  demo_dir=$(mktemp -d /tmp/tug-demo.XXXXXX)
  demo_status=0
  push_images "$1"
  # In a bash of its own: whatever ends it, what follows cleans up; and `set -e` holds there, as it does
  # not in a function whose status is asked for.
  TUG_DATA_ROOT=$demo_dir/data TUG_EXEC_ROOT=$demo_dir/exec TUG_MIRROR=http://$1 TUG_CACHE=$CACHE CARGO_TARGET_DIR=$TARGET \
    bash -euo pipefail -c ". '$ROOT/dev.d/common.sh'; . '$ROOT/dev.d/demo.sh'; cd '$demo_dir'; demo_script" || demo_status=$?
  TUG_DATA_ROOT=$demo_dir/data TUG_EXEC_ROOT=$demo_dir/exec "$PRODUCT" system reset -f >/dev/null || demo_status=1
  grep -F "$demo_dir" /proc/self/mountinfo && demo_status=1
  grep -lsF "$demo_dir" /proc/[0-9]*/environ 2>/dev/null | grep -v "/$BASHPID/" && demo_status=1
  rm -rf "$demo_dir"
  [ "$demo_status" = 0 ] || die "the demonstration failed"
  say "done; nothing is left behind"
}

# Shows a command as a person would type it, then does it.
tug() {
  local line='$ tug' word
  for word; do
    case $word in
      *[!A-Za-z0-9_./:=@%+,-]* | '') line+=" '$word'" ;;
      *) line+=" $word" ;;
    esac
  done
  show "$line"
  "$PRODUCT" "$@"
}
show() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$1"; else printf '\n%s\n' "$1"; fi; }

demo_script() {
  say "images, from a registry on loopback that stands in for docker.io"
  tug pull busybox
  tug pull nginx
  tug images

  say "run, attached"
  tug run --rm busybox echo "hello from a container"
  tug run --rm busybox sh -c 'hostname; id -u; ip -o -4 address show eth0; ls /'
  echo typed | tug run --rm -i busybox cat
  tug run --rm busybox sh -c 'exit 42' || echo "exit code $?"
  say "with a terminal it would be: tug run -it --rm debian bash"

  say "run, detached, with a published port"
  tug run -d --name web -p 127.0.0.1::80 nginx
  local address
  address=$("$PRODUCT" port web 80)
  tug ps
  show "\$ curl http://$address/"
  page 50 "$address" | grep -F 'Welcome to nginx!'
  tug logs web
  "$PRODUCT" logs web 2>&1 | grep -q 'GET / HTTP/1.1'
  tug exec web nginx -v
  tug exec web sh -c 'cat /proc/1/comm; ip -o address 2>/dev/null || hostname -i'
  tug stop web
  tug ps -a
  tug rm web

  say "data that outlives containers"
  tug run --rm -v notes:/notes busybox sh -c 'date > /notes/today'
  tug run --rm -v notes:/notes:ro busybox cat /notes/today
  tug volume ls
  tug volume rm notes

  say "build a Node application"
  mkdir app
  cat >app/server.js <<'EOF'
const isOdd = require('is-odd');
require('http').createServer((_, res) => res.end(`3 is odd: ${isOdd(3)}\n`)).listen(3000);
EOF
  echo '{"name": "app", "version": "1.0.0", "dependencies": {"is-odd": "3.0.1"}}' >app/package.json
  # Where HTTPS goes through a proxy of the machine's, its authority is in the host's bundle.
  cat >app/Dockerfile <<'EOF'
FROM node
WORKDIR /app
COPY . /app
RUN --mount=type=secret,id=ca,target=/ca.pem NODE_EXTRA_CA_CERTS=/ca.pem npm install
EXPOSE 3000
CMD ["node", "server.js"]
EOF
  tug build -t app --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt app
  tug build -t app --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt app
  tug run -d --name app -p 127.0.0.1::3000 app
  address=$("$PRODUCT" port app 3000)
  show "\$ curl http://$address/"
  page 100 "$address" | grep -F '3 is odd: true'
  tug rm -f app

  say "wrong uses are explained"
  tug run --rm busybox nonesuch || echo "exit code $?"
  tug stop nobody || echo "exit code $?"
}

# page TRIES ADDRESS: what is served there, once it answers.
page() {
  local tries
  for ((tries = 0; tries < $1; tries++)); do
    curl -fsS "http://$2/" 2>/dev/null && return
    sleep 0.1
  done
  return 1
}
