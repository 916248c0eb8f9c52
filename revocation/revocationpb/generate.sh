#!/bin/sh
# Regenerates the Go code of revocation.proto with pinned tools, kept in the
# git-ignored .tools/ of the checkout. Running it again leaves no difference.
set -eu

GRPCIO_TOOLS=1.85.1
PROTOC_GEN_GO=v1.36.12
PROTOC_GEN_GO_GRPC=v1.6.2

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/.tools
python=$tools/protoc-$GRPCIO_TOOLS/bin/python

if ! "$python" -c 'import grpc_tools' 2>/dev/null; then
	python3 -m venv "$tools/protoc-$GRPCIO_TOOLS"
	"$python" -m pip install --quiet --disable-pip-version-check "grpcio-tools==$GRPCIO_TOOLS"
fi
GOBIN=$tools/bin
export GOBIN
cd "$root"
go install "google.golang.org/protobuf/cmd/protoc-gen-go@$PROTOC_GEN_GO"
go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$PROTOC_GEN_GO_GRPC"

cd "$here"
PATH=$GOBIN:$PATH "$python" -m grpc_tools.protoc -I. \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative \
	revocation.proto
